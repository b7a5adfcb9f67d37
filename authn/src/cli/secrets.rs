//! Where secrets come from: a prompt, a file, a descriptor, standard input; never
//! an argument or the environment.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use sealmoot_crypto::passphrase;
use sealmoot_crypto::password::strength;
use sealmoot_crypto::secret::SecretBytes;
use zeroize::Zeroizing;

use super::failure::{Code, Failure};
use super::terminal::is_terminal;
use crate::files::{self, FileError};

/// Longest secret taken from outside, in bytes.
const SECRET_LENGTH_MAX: usize = 1024;
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

    /// A new secret: from its named source, or typed twice at a prompt.
    ///
    /// # Errors
    /// As [`SecretArgs::obtain`], and a usage failure when the two differ.
    pub fn obtain_new(&self, no_input: bool) -> Result<SecretBytes, Failure> {
        if self.is_given() {
            return self.refuse_empty(self.read_source()?);
        }
        let first = self.prompt(no_input, &format!("{}: ", self.what))?;
        let first = self.refuse_empty(first)?;
        self.confirm(no_input, first)
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
            return self.confirm(no_input, first);
        }
        let generated = generate()?;
        let text = String::from_utf8_lossy(generated.expose());
        eprint!("Generated \"{text}\" (shown once). Type the last word: ");
        let mut typed = String::new();
        io::stdin()
            .read_line(&mut typed)
            .map_err(|error| Failure::internal(format!("the terminal: {error}")))?;
        if !ends_with_word(&text, typed.trim()) {
            return Err(Failure::usage(
                "that is not the last word; nothing was made",
            ));
        }
        drop(text);
        Ok(generated)
    }

    fn confirm(&self, no_input: bool, first: SecretBytes) -> Result<SecretBytes, Failure> {
        let question = format!("{}     Again: ", strength_of(&first));
        let second = self.prompt(no_input, &question)?;
        if first.expose() != second.expose() {
            return Err(Failure::usage("the two differ; nothing was changed"));
        }
        Ok(first)
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
            return read_line_end(io::stdin().lock(), self.flag);
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
            .map_err(|error| Failure::internal(format!("the terminal: {error}")))?;
        without_line_end(SecretBytes::new(typed.into_bytes()), self.flag)
    }
}

/// How guessable a typed secret is, and what to do about it when it is. It is told,
/// not enforced: who types it may know better than a dictionary.
fn strength_of(secret: &SecretBytes) -> String {
    let text = Zeroizing::new(String::from_utf8_lossy(secret.expose()).into_owned());
    let strength = strength::estimate(&text, &[]);
    let mut told = format!("strength {}/4", strength.score);
    if let Some(warning) = strength.warning {
        told.push_str(&format!(" ({warning})"));
    }
    told
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
    let file = std::fs::File::open(path)
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
    Ok(SecretBytes::new(secret.to_vec()))
}

fn too_long(flag: &str) -> Failure {
    Failure::usage(format!("a {flag} has at most {SECRET_LENGTH_MAX} bytes"))
}

/// Dots for what is typed, at the controlling terminal; where a process has a
/// terminal but does not belong to it, at standard input and error.
fn prompt_config() -> rpassword::Config {
    let config = rpassword::ConfigBuilder::new().password_feedback_mask('·');
    if std::fs::File::open("/dev/tty").is_ok() {
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
        assert_eq!(stripped(b"pw\n\n"), b"pw\n");
        assert_eq!(stripped(b" pw "), b" pw ");
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
