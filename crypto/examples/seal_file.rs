//! Seals and opens files.
//!
//! ```text
//! seal_file keygen NAME               writes NAME.keys, NAME.key and NAME.pub
//! seal_file seal [--to NAME.pub]... [--keyset NAME.keys]... [--passphrase FILE] IN OUT
//! seal_file open [--key NAME | --keyset NAME.keys | --passphrase FILE] IN OUT
//! ```
//!
//! A passphrase is the first line of FILE (`/dev/fd/3`), by default of standard input.
//! NAME.keys is a keyset in the clear; NAME.key is a private key sealed to it.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, IsTerminal, Read, Write, stderr};
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitCode;

use sealmoot_crypto::keyset::Keyset;
use sealmoot_crypto::password::{Cost, PASSWORD_LENGTH_MAX};
use sealmoot_crypto::sealed_box::{Kem, PrivateKey, PublicKey};
use sealmoot_crypto::sealed_file::{self, Opener, Recipients};
use sealmoot_crypto::secret::SecretBytes;
use sealmoot_crypto::stream::Progress;

const CONTEXT: &str = "seal_file";

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Default)]
struct Arguments {
    to: Vec<String>,
    keysets: Vec<String>,
    key: Option<String>,
    passphrase: Option<String>,
    files: Vec<String>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seal_file: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<()> {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let mut arguments = Arguments::default();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--to" => arguments.to.push(value()?),
            "--keyset" => arguments.keysets.push(value()?),
            "--key" => arguments.key = Some(value()?),
            "--passphrase" => arguments.passphrase = Some(value()?),
            _ if word.starts_with("--") => return Err(format!("{word} is not known").into()),
            _ => arguments.files.push(word),
        }
    }
    match (command.as_str(), arguments.files.as_slice()) {
        (_, [input, output]) if input == output => Err("IN and OUT are the same file".into()),
        ("keygen", [name]) => keygen(name),
        ("seal", [input, output]) => into_file(output, |file| seal(&arguments, input, file)),
        ("open", [input, output]) => into_file(output, |file| open(&arguments, input, file)),
        _ => Err("keygen NAME, seal [...] IN OUT, or open [...] IN OUT".into()),
    }
}

fn keygen(name: &str) -> Outcome<()> {
    let (keyset, key) = (Keyset::generate()?, PrivateKey::generate(Kem::XWing)?);
    let sealed = key.seal_to(&Recipients::new().keyset(&keyset), CONTEXT)?;
    let mut private = OpenOptions::new();
    private.write(true).create_new(true).mode(0o600);
    let mut keys = private.open(format!("{name}.keys"))?;
    keys.write_all(keyset.to_secret_bytes().expose())?;
    fs::write(format!("{name}.key"), sealed)?;
    fs::write(format!("{name}.pub"), key.public_key().to_bytes())?;
    Ok(())
}

fn seal(arguments: &Arguments, input: &str, output: File) -> Outcome<()> {
    let public_keys = each(&arguments.to, |name| {
        Ok(PublicKey::from_bytes(Kem::XWing, &fs::read(name)?)?)
    })?;
    let keysets = each(&arguments.keysets, keyset)?;
    let recipients = public_keys
        .iter()
        .fold(Recipients::new(), Recipients::public_key);
    let mut recipients = keysets.iter().fold(recipients, Recipients::keyset);
    let passphrase;
    if arguments.passphrase.is_some() || (public_keys.is_empty() && keysets.is_empty()) {
        passphrase = read_passphrase(arguments)?;
        recipients = recipients.passphrase(passphrase.expose(), Cost::RFC_9106_LOW_MEMORY);
    }
    sealed_file::seal_stream(&recipients, CONTEXT, opened(input)?, output, progress())?;
    Ok(())
}

fn open(arguments: &Arguments, input: &str, output: File) -> Outcome<()> {
    let (keys, key, passphrase);
    let opener = if let Some(name) = &arguments.key {
        keys = keyset(&format!("{name}.keys"))?;
        let stored = fs::read(format!("{name}.key"))?;
        key = PrivateKey::open_from(&Opener::keyset(&keys), CONTEXT, &stored)?;
        Opener::private_key(&key)
    } else if let Some(name) = arguments.keysets.first() {
        keys = keyset(name)?;
        Opener::keyset(&keys)
    } else {
        passphrase = read_passphrase(arguments)?;
        Opener::passphrase(passphrase.expose())
    };
    sealed_file::open_stream(&opener, CONTEXT, opened(input)?, output, progress())?;
    Ok(())
}

fn each<T>(names: &[String], load: fn(&str) -> Outcome<T>) -> Outcome<Vec<T>> {
    names.iter().map(|name| load(name)).collect()
}

fn keyset(name: &str) -> Outcome<Keyset> {
    let bytes = SecretBytes::new(fs::read(name)?);
    Ok(Keyset::from_secret_bytes(bytes.expose())?)
}

fn read_passphrase(arguments: &Arguments) -> Outcome<SecretBytes> {
    let file = File::open(arguments.passphrase.as_deref().unwrap_or("/dev/stdin"))?;
    let mut line = Vec::with_capacity(PASSWORD_LENGTH_MAX + 1);
    BufReader::new(file.take(PASSWORD_LENGTH_MAX as u64 + 1)).read_until(b'\n', &mut line)?;
    line.pop_if(|byte| *byte == b'\n');
    if line.is_empty() {
        return Err("the passphrase is empty".into());
    }
    Ok(SecretBytes::new(line))
}

fn opened(input: &str) -> Outcome<(File, Option<u64>)> {
    let file = File::open(input).map_err(|error| format!("{input}: {error}"))?;
    let length = file.metadata()?.len();
    Ok((file, Some(length)))
}

/// Fills OUT under another name and renames it when it is whole: a part is not to pass
/// for the whole, nor to replace what was there. What is no file (`/dev/null`) is
/// written to directly.
fn into_file(output: &str, fill: impl FnOnce(File) -> Outcome<()>) -> Outcome<()> {
    let named = |error| format!("{output}: {error}");
    if fs::metadata(output).is_ok_and(|there| !there.is_file()) {
        return fill(File::create(output).map_err(named)?);
    }
    let part = format!("{output}.part");
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&part);
    let file = file.map_err(|error| format!("{part}: {error}"))?;
    let done = (file.try_clone().map_err(Into::into))
        .and_then(fill)
        .and_then(|()| Ok(file.sync_all()?))
        .and_then(|()| Ok(fs::rename(&part, output).map_err(named)?));
    if done.is_err() {
        fs::remove_file(&part)?;
    }
    done
}

fn progress() -> impl FnMut(Progress) {
    let (shown, mut before) = (stderr().is_terminal(), None);
    move |progress| {
        let percent = progress.bytes_done * 100 / progress.bytes_total.unwrap_or(0).max(1);
        if shown && before.replace(percent) != Some(percent) {
            eprint!("\r{percent} %");
        }
    }
}
