//! Where secrets come from: a prompt, a file, a descriptor, standard input; never
//! an argument or the environment.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::Args;
use sealmoot_crypto::passphrase;
use sealmoot_crypto::password::strength;
use sealmoot_crypto::secret::SecretBytes;
use zeroize::Zeroizing;

use super::failure::{Code, Failure};
use super::terminal::{escaped, is_terminal};
use crate::files::{self, FileError};
use crate::realm::Realm;

/// Longest secret taken from outside, in bytes.
const SECRET_LENGTH_MAX: usize = 1024;
/// Longest answer to a question that is looked at, in bytes.
const ANSWER_LENGTH_MAX: usize = 4096;
/// How often two answers that have to be the same may differ.
const MISMATCHES_MAX: usize = 3;
/// A secret that guards a realm shall score at least this much of 4.
const STRENGTH_WANTED: u8 = 3;
/// Words of a generated secret: 77 bits.
const GENERATED_WORDS: usize = 6;

/// Standard input, which can be given to one purpose only.
#[derive(Debug, Default)]
pub struct StandardInput {
    taken_by: Option<&'static str>,
}

impl StandardInput {
    /// Takes it for `purpose`.
    ///
    /// # Errors
    /// A usage failure when it was taken before.
    pub fn take(&mut self, purpose: &'static str) -> Result<(), Failure> {
        match self.taken_by.replace(purpose) {
            None => Ok(()),
            Some(other) => Err(Failure::usage(format!(
                "standard input cannot be both {other} and {purpose}"
            ))),
        }
    }
}

/// The passphrase of the realm's root key.
#[derive(Debug, Clone, Default, Args)]
pub struct PassphraseArgs {
    /// Read the realm's passphrase from this file
    #[arg(
        long,
        value_name = "FILE",
        env = "SEALMOOT_PASSPHRASE_FILE",
        hide_env_values = true
    )]
    pub passphrase_file: Option<PathBuf>,
    /// Read the realm's passphrase from this file descriptor
    #[arg(long, value_name = "FD")]
    pub passphrase_fd: Option<u32>,
    /// Read the realm's passphrase from standard input
    #[arg(long)]
    pub passphrase_stdin: bool,
}

/// The passphrase that something gets instead of the realm's own.
#[derive(Debug, Clone, Default, Args)]
pub struct NewPassphraseArgs {
    /// Ask for a new passphrase
    #[arg(long, conflicts_with_all = ["new_passphrase_file", "new_passphrase_fd", "new_passphrase_stdin"])]
    pub new_passphrase: bool,
    /// Read the new passphrase from this file
    #[arg(long, value_name = "FILE")]
    pub new_passphrase_file: Option<PathBuf>,
    /// Read the new passphrase from this file descriptor
    #[arg(long, value_name = "FD")]
    pub new_passphrase_fd: Option<u32>,
    /// Read the new passphrase from standard input
    #[arg(long)]
    pub new_passphrase_stdin: bool,
}

/// The passphrase of a realm's heir, where it is another than the realm's.
#[derive(Debug, Clone, Default, Args)]
pub struct HeirPassphraseArgs {
    /// Read the heir's passphrase, if it is another than the realm's, from this file
    #[arg(long, value_name = "FILE")]
    pub heir_passphrase_file: Option<PathBuf>,
    /// Read the heir's passphrase from this file descriptor
    #[arg(long, value_name = "FD")]
    pub heir_passphrase_fd: Option<u32>,
    /// Read the heir's passphrase from standard input
    #[arg(long)]
    pub heir_passphrase_stdin: bool,
}

impl From<&HeirPassphraseArgs> for SecretArgs {
    fn from(args: &HeirPassphraseArgs) -> Self {
        Self {
            what: "Heir's passphrase",
            flag: "heir-passphrase",
            file: args.heir_passphrase_file.clone(),
            descriptor: args.heir_passphrase_fd,
            stdin: args.heir_passphrase_stdin,
            generated: false,
        }
    }
}

impl NewPassphraseArgs {
    /// The secret, if a new one is wanted at all.
    #[must_use]
    pub fn wanted(&self) -> Option<SecretArgs> {
        let secret = SecretArgs {
            what: "New passphrase",
            flag: "new-passphrase",
            file: self.new_passphrase_file.clone(),
            descriptor: self.new_passphrase_fd,
            stdin: self.new_passphrase_stdin,
            generated: false,
        };
        (self.new_passphrase || secret.is_given()).then_some(secret)
    }
}

/// A user's password.
#[derive(Debug, Clone, Default, Args)]
pub struct PasswordArgs {
    /// Read the password from this file
    #[arg(
        long,
        value_name = "FILE",
        env = "SEALMOOT_PASSWORD_FILE",
        hide_env_values = true
    )]
    pub password_file: Option<PathBuf>,
    /// Read the password from this file descriptor
    #[arg(long, value_name = "FD")]
    pub password_fd: Option<u32>,
    /// Read the password from standard input
    #[arg(long)]
    pub password_stdin: bool,
}

/// A code of a second factor.
#[derive(Debug, Clone, Default, Args)]
pub struct CodeArgs {
    /// Read the code of the second factor, if one is asked for, from this file
    #[arg(long, value_name = "FILE")]
    pub code_file: Option<PathBuf>,
    /// Read the code of the second factor from this file descriptor
    #[arg(long, value_name = "FD")]
    pub code_fd: Option<u32>,
    /// Read the code of the second factor from standard input
    #[arg(long)]
    pub code_stdin: bool,
}

/// One secret and its possible sources, whatever it is called.
#[derive(Debug, Clone)]
pub struct SecretArgs {
    what: &'static str,
    flag: &'static str,
    file: Option<PathBuf>,
    descriptor: Option<u32>,
    stdin: bool,
    generated: bool,
}

impl From<&PassphraseArgs> for SecretArgs {
    fn from(args: &PassphraseArgs) -> Self {
        Self {
            what: "Passphrase",
            flag: "passphrase",
            file: args.passphrase_file.clone(),
            descriptor: args.passphrase_fd,
            stdin: args.passphrase_stdin,
            generated: false,
        }
    }
}

impl From<&PasswordArgs> for SecretArgs {
    fn from(args: &PasswordArgs) -> Self {
        Self {
            what: "Password",
            flag: "password",
            file: args.password_file.clone(),
            descriptor: args.password_fd,
            stdin: args.password_stdin,
            generated: false,
        }
    }
}

impl From<&CodeArgs> for SecretArgs {
    fn from(args: &CodeArgs) -> Self {
        Self {
            what: "Code",
            flag: "code",
            file: args.code_file.clone(),
            descriptor: args.code_fd,
            stdin: args.code_stdin,
            generated: false,
        }
    }
}

impl SecretArgs {
    /// The same, made up on the spot if `generate`.
    #[must_use]
    pub fn generated(self, generate: bool) -> Self {
        Self {
            generated: generate,
            ..self
        }
    }

    /// Checks that at most one source is named, and claims standard input.
    ///
    /// # Errors
    /// A usage failure.
    pub fn check(&self, input: &mut StandardInput) -> Result<(), Failure> {
        // A file named by the environment gives way to a flag on the command line.
        let named = usize::from(self.descriptor.is_some())
            + usize::from(self.stdin)
            + usize::from(self.generated)
            + usize::from(self.file.is_some() && !self.file_is_from_environment());
        if named > 1 {
            return Err(Failure::usage(format!(
                "give one source of the {0} only: --{0}-file, --{0}-fd, --{0}-stdin or --generate",
                self.flag
            )));
        }
        if self.stdin || self.descriptor == Some(0) {
            input.take(match self.flag {
                "password" => "the password",
                "new-passphrase" => "the new passphrase",
                "heir-passphrase" => "the heir's passphrase",
                "code" => "the code",
                _ => "the passphrase",
            })?;
        }
        Ok(())
    }

    /// Whether a source is named, so that nobody has to be asked.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.file.is_some() || self.descriptor.is_some() || self.stdin || self.generated
    }

    /// Whether a source is named on the command line, and not by the environment only.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.descriptor.is_some()
            || self.stdin
            || (self.file.is_some() && !self.file_is_from_environment())
    }

    /// Checks that the secret can be had: a source is named, or somebody can be
    /// asked.
    ///
    /// # Errors
    /// A usage failure.
    pub fn check_obtainable(&self, no_input: bool) -> Result<(), Failure> {
        if self.is_given() || (is_terminal() && !no_input) {
            return Ok(());
        }
        let why = if no_input {
            "--no-input forbids to ask"
        } else {
            "there is no terminal to ask at"
        };
        Err(
            Failure::usage(format!("no {} given, and {why}", self.flag)).hint(format!(
                "--{0}-file FILE, --{0}-fd FD or --{0}-stdin",
                self.flag
            )),
        )
    }

    /// The secret from its named source, or from a prompt.
    ///
    /// # Errors
    /// A usage failure when there is neither a source nor a terminal, or the
    /// secret is empty or too long; a configuration failure when the source
    /// cannot be read.
    pub fn obtain(&self, no_input: bool) -> Result<SecretBytes, Failure> {
        let secret = if self.is_given() {
            self.read_source()?
        } else {
            self.prompt(no_input, &format!("{}: ", self.what))?
        };
        self.refuse_empty(secret)
    }

    /// The same; whoever is asked is told before what the secret is for. It stands on a
    /// line of its own: scripts wait for the prompt as it is.
    ///
    /// # Errors
    /// As [`SecretArgs::obtain`].
    pub fn obtain_for(&self, what: &str, no_input: bool) -> Result<SecretBytes, Failure> {
        self.say_what_for(what, no_input);
        self.obtain(no_input)
    }

    /// The passphrase of a realm.
    ///
    /// # Errors
    /// As [`SecretArgs::obtain`].
    pub fn obtain_for_realm(&self, realm: &Realm, no_input: bool) -> Result<SecretBytes, Failure> {
        self.obtain_for(&format!("realm {}", realm.name()), no_input)
    }

    fn say_what_for(&self, what: &str, no_input: bool) {
        if !self.is_given() && !no_input && is_terminal() {
            eprintln!("({})", escaped(what));
        }
    }

    /// What is to be said of a secret that was not typed, and so not judged at a
    /// prompt, if it is easily guessed.
    #[must_use]
    pub fn weakness(&self, secret: &SecretBytes) -> Option<String> {
        let judged = !self.is_given() || self.generated;
        let strength = strength_of(secret);
        (!judged && strength.score < STRENGTH_WANTED)
            .then(|| format!("the {} is easily guessed: {strength}", self.flag))
    }

    /// A new secret: from its named source, or typed twice at a prompt.
    ///
    /// # Errors
    /// As [`SecretArgs::obtain`], and a usage failure when the two differ.
    pub fn obtain_new(&self, no_input: bool) -> Result<SecretBytes, Failure> {
        if self.is_given() {
            return self.refuse_empty(self.read_source()?);
        }
        self.asked_twice(no_input, || {
            let first = self.prompt(no_input, &format!("{}: ", self.what))?;
            self.refuse_empty(first)
        })
    }

    /// The same; whoever is asked is told before what the secret is for.
    ///
    /// # Errors
    /// As [`SecretArgs::obtain_new`].
    pub fn obtain_new_for(&self, what: &str, no_input: bool) -> Result<SecretBytes, Failure> {
        self.say_what_for(what, no_input);
        self.obtain_new(no_input)
    }

    /// A new passphrase: from its named source, or from a prompt at which an
    /// empty answer generates one, shown once and its last word typed back.
    ///
    /// # Errors
    /// As [`SecretArgs::obtain_new`].
    pub fn obtain_new_or_generate(&self, no_input: bool) -> Result<SecretBytes, Failure> {
        if self.is_given() {
            return self.refuse_empty(self.read_source()?);
        }
        let question = format!("{} (empty = generate): ", self.what);
        let first = self.prompt(no_input, &question)?;
        if !first.is_empty() {
            let mut first = Some(first);
            return self.asked_twice(no_input, || match first.take() {
                Some(first) => Ok(first),
                None => {
                    let again = self.prompt(no_input, &format!("{}: ", self.what))?;
                    self.refuse_empty(again)
                }
            });
        }
        let generated = generate()?;
        let text = String::from_utf8_lossy(generated.expose());
        eprint!("Generated \"{text}\" (shown once). Type the last word: ");
        let typed = read_answer()?;
        if !ends_with_word(&text, typed.trim()) {
            return Err(Failure::usage(
                "that is not the last word; nothing was made",
            ));
        }
        drop(text);
        Ok(generated)
    }

    /// What `ask` yields, typed once more; who mistypes is asked again.
    fn asked_twice(
        &self,
        no_input: bool,
        mut ask: impl FnMut() -> Result<SecretBytes, Failure>,
    ) -> Result<SecretBytes, Failure> {
        for mismatches in 1.. {
            let first = ask()?;
            let question = format!("{}     Again: ", strength_of(&first));
            let second = self.prompt(no_input, &question)?;
            if first.expose() == second.expose() {
                return Ok(first);
            }
            if mismatches == MISMATCHES_MAX {
                break;
            }
            eprintln!("The two differ; once more.");
        }
        Err(Failure::usage("the two differ; nothing was changed"))
    }

    fn refuse_empty(&self, secret: SecretBytes) -> Result<SecretBytes, Failure> {
        if secret.is_empty() {
            return Err(Failure::usage(format!("the {} is empty", self.flag)));
        }
        Ok(secret)
    }

    fn file_is_from_environment(&self) -> bool {
        let variable = match self.flag {
            "password" => "SEALMOOT_PASSWORD_FILE",
            _ => "SEALMOOT_PASSPHRASE_FILE",
        };
        let flag = format!("--{}-file", self.flag);
        std::env::var_os(variable).is_some()
            && !std::env::args_os().any(|argument| argument.to_string_lossy().starts_with(&flag))
    }

    fn read_source(&self) -> Result<SecretBytes, Failure> {
        if self.generated {
            return generate();
        }
        if self.stdin {
            return read_line_end(unbuffered_stdin()?, self.flag);
        }
        let path = match (&self.descriptor, &self.file) {
            (Some(descriptor), _) => PathBuf::from(format!("/proc/self/fd/{descriptor}")),
            (None, Some(path)) => path.clone(),
            (None, None) => return Err(Failure::internal("no source was given")),
        };
        let read = if self.descriptor.is_some() {
            read_descriptor(&path, self.flag)
        } else {
            match files::read_named_secret(&path, SECRET_LENGTH_MAX + 2) {
                Err(FileError::TooLong { .. }) => Err(too_long(self.flag)),
                read => read.map_err(Failure::from),
            }
        };
        read.and_then(|bytes| without_line_end(bytes, self.flag))
    }

    fn prompt(&self, no_input: bool, question: &str) -> Result<SecretBytes, Failure> {
        self.check_obtainable(no_input)?;
        let typed = rpassword::prompt_password_with_config(question, prompt_config())
            .map_err(|error| terminal_failure(&error))?;
        without_line_end(SecretBytes::new(typed.into_bytes()), self.flag)
    }
}

/// A code, or nothing, typed at the terminal.
///
/// # Errors
/// When the terminal fails, or far too much was typed.
pub fn prompt_code(question: &str) -> Result<SecretBytes, Failure> {
    SecretArgs::from(&CodeArgs::default()).prompt(false, question)
}

/// A line that somebody typed at the terminal.
///
/// # Errors
/// A usage failure when the input ended without one (Ctrl-D).
pub fn read_answer() -> Result<String, Failure> {
    let mut typed = Vec::new();
    let (mut stdin, mut byte) = (unbuffered_stdin()?, [0]);
    // Byte by byte: what is behind the line answers another question.
    while typed.len() < ANSWER_LENGTH_MAX && !typed.ends_with(b"\n") {
        match stdin.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => typed.extend(byte),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(terminal_failure(&error)),
        }
    }
    if typed.is_empty() {
        eprintln!();
        return Err(no_answer());
    }
    String::from_utf8(typed).map_err(|_| Failure::usage("the answer is no text"))
}

/// Standard input without the buffer that the standard library keeps as long as the
/// process lives, and with it whatever went through.
fn unbuffered_stdin() -> Result<File, Failure> {
    let own = io::stdin().as_fd().try_clone_to_owned();
    own.map(File::from)
        .map_err(|error| Failure::new(Code::Config, format!("standard input: {error}")))
}

/// Why nobody answered: the end of the input is an answer too, and no fault.
fn terminal_failure(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return no_answer();
    }
    Failure::internal(format!("the terminal: {error}"))
}

fn no_answer() -> Failure {
    Failure::usage("no answer was given; nothing was changed")
}

/// How guessable a typed secret is, and what to do about it when it is. It is told,
/// not enforced: who types it may know better than a dictionary.
struct Strength {
    score: u8,
    warning: Option<String>,
}

impl fmt::Display for Strength {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "strength {}/4", self.score)?;
        match &self.warning {
            Some(warning) => write!(formatter, " ({warning})"),
            None => Ok(()),
        }
    }
}

fn strength_of(secret: &SecretBytes) -> Strength {
    let text = Zeroizing::new(String::from_utf8_lossy(secret.expose()).into_owned());
    let strength = strength::estimate(&text, &[]);
    Strength {
        score: strength.score,
        warning: strength.warning.map(|warning| warning.to_string()),
    }
}

/// A generated secret of six words.
///
/// # Errors
/// When the random source fails.
pub(crate) fn generate() -> Result<SecretBytes, Failure> {
    passphrase::generate(GENERATED_WORDS).map_err(Failure::internal)
}

impl PassphraseArgs {
    /// A generated passphrase of six words.
    ///
    /// # Errors
    /// When the random source fails.
    pub fn generate() -> Result<SecretBytes, Failure> {
        generate()
    }
}

fn read_descriptor(path: &Path, flag: &str) -> Result<SecretBytes, Failure> {
    let file = File::open(path)
        .map_err(|error| Failure::usage(format!("--{flag}-fd cannot be read: {error}")))?;
    read_bounded(file, flag)
}

fn read_line_end(source: impl Read, flag: &str) -> Result<SecretBytes, Failure> {
    read_bounded(source, flag).and_then(|bytes| without_line_end(bytes, flag))
}

fn read_bounded(source: impl Read, flag: &str) -> Result<SecretBytes, Failure> {
    let mut bytes = Vec::with_capacity(SECRET_LENGTH_MAX + 3);
    source
        .take(SECRET_LENGTH_MAX as u64 + 3)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::new(Code::Config, format!("the {flag}: {error}")))?;
    Ok(SecretBytes::new(bytes))
}

/// One line end after a secret belongs to the file, not to the secret.
fn without_line_end(bytes: SecretBytes, flag: &str) -> Result<SecretBytes, Failure> {
    let secret = bytes.expose();
    let secret = secret.strip_suffix(b"\n").unwrap_or(secret);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    if secret.len() > SECRET_LENGTH_MAX {
        return Err(too_long(flag));
    }
    // Another line is not part of a secret either, and whoever wrote it may have meant
    // any of them.
    if secret.contains(&b'\n') {
        return Err(Failure::usage(format!("the {flag} has more than one line"))
            .hint(format!("leave one line: the {flag} and nothing else")));
    }
    Ok(SecretBytes::new(secret.to_vec()))
}

fn too_long(flag: &str) -> Failure {
    Failure::usage(format!("a {flag} has at most {SECRET_LENGTH_MAX} bytes"))
}

/// Dots for what is typed, at the controlling terminal; where a process has a
/// terminal but does not belong to it, at standard input and error.
fn prompt_config() -> rpassword::Config {
    let config = rpassword::ConfigBuilder::new().password_feedback_mask('·');
    if File::open("/dev/tty").is_ok() {
        return config.build();
    }
    config
        .input_file_path("/dev/stdin")
        .output_file_path("/dev/stderr")
        .build()
}

/// Whether `word` is the last of `passphrase`; some words of the list have a
/// hyphen themselves, and may be typed with or without what precedes it.
fn ends_with_word(passphrase: &str, word: &str) -> bool {
    !word.is_empty()
        && passphrase
            .strip_suffix(word)
            .is_some_and(|rest| rest.ends_with('-'))
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        let code = match error {
            FileError::Exists(_) => Code::Exists,
            FileError::Unconfirmed { .. } => Code::OutcomeUnknown,
            FileError::Missing(_)
            | FileError::LooseMode { .. }
            | FileError::TooLong { .. }
            | FileError::Io { .. } => Code::Config,
        };
        Self::new(code, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(bytes: &[u8]) -> Vec<u8> {
        without_line_end(SecretBytes::new(bytes.to_vec()), "password")
            .expect("short")
            .expose()
            .to_vec()
    }

    #[test]
    fn one_line_end_is_not_part_of_a_secret() {
        assert_eq!(stripped(b"pw"), b"pw");
        assert_eq!(stripped(b"pw\n"), b"pw");
        assert_eq!(stripped(b"pw\r\n"), b"pw");
        assert_eq!(stripped(b" pw "), b" pw ");
    }

    #[test]
    fn a_secret_of_two_lines_is_refused() {
        for two in [&b"pw\nother"[..], b"pw\n\n", b"\npw", b"pw\r\nother\r\n"] {
            let secret = SecretBytes::new(two.to_vec());
            let refused = without_line_end(secret, "password").map(drop);
            let refused = refused.expect_err("two lines");
            assert_eq!(refused.code, Code::Usage);
            assert!(refused.message.contains("more than one line"));
        }
    }

    #[test]
    fn the_end_of_the_input_is_no_fault_of_the_program() {
        let ended = terminal_failure(&io::ErrorKind::UnexpectedEof.into());
        assert_eq!(ended.code, Code::Usage);
        assert!(ended.message.contains("no answer was given"));
        let broken = terminal_failure(&io::ErrorKind::PermissionDenied.into());
        assert_eq!(broken.code, Code::Internal);
    }

    #[test]
    fn a_weak_secret_that_nobody_typed_is_told() {
        let given = SecretArgs::from(&PassphraseArgs {
            passphrase_fd: Some(3),
            ..PassphraseArgs::default()
        });
        let weak = SecretBytes::new(b"letmein".to_vec());
        let told = given.weakness(&weak).expect("weak");
        assert!(told.contains("strength 0/4"), "{told}");
        let strong = SecretBytes::new(b"hip roast boring snake mention".to_vec());
        assert_eq!(given.weakness(&strong), None);
        // A person was shown the strength at the prompt.
        let typed = SecretArgs::from(&PassphraseArgs::default());
        assert_eq!(typed.weakness(&weak), None);
    }

    #[test]
    fn the_last_word_may_have_a_hyphen() {
        assert!(ends_with_word("hip-roast-east", "east"));
        assert!(ends_with_word("hip-roast-drop-down", "drop-down"));
        assert!(ends_with_word("hip-roast-drop-down", "down"));
        for wrong in ["", "ast", "roast", "EAST", "hip-roast-east"] {
            assert!(!ends_with_word("hip-roast-east", wrong), "{wrong:?}");
        }
    }

    #[test]
    fn an_endless_secret_is_refused() {
        let long = SecretBytes::new(vec![b'a'; SECRET_LENGTH_MAX + 1]);
        assert!(without_line_end(long, "password").is_err());
    }

    #[test]
    fn standard_input_serves_one_purpose() {
        let mut input = StandardInput::default();
        let passphrase = PassphraseArgs {
            passphrase_stdin: true,
            ..PassphraseArgs::default()
        };
        let password = PasswordArgs {
            password_stdin: true,
            ..PasswordArgs::default()
        };
        assert!(SecretArgs::from(&passphrase).check(&mut input).is_ok());
        let refused = SecretArgs::from(&password)
            .check(&mut input)
            .expect_err("taken");
        assert_eq!(refused.code, Code::Usage);
        let descriptor = PasswordArgs {
            password_fd: Some(0),
            ..PasswordArgs::default()
        };
        assert!(SecretArgs::from(&descriptor).check(&mut input).is_err());
    }

    #[test]
    fn a_secret_has_one_source() {
        let both = PasswordArgs {
            password_fd: Some(3),
            password_stdin: true,
            ..PasswordArgs::default()
        };
        let one = PasswordArgs {
            password_fd: Some(3),
            ..PasswordArgs::default()
        };
        for secret in [
            SecretArgs::from(&both),
            SecretArgs::from(&one).generated(true),
        ] {
            assert!(secret.check(&mut StandardInput::default()).is_err());
        }
    }
}
