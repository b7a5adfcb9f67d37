//! Where `kv login` gets the codes of a second factor: where it was told to, or from
//! whoever sits at the terminal.

use sealmoot_authn::cli::{Code, Failure, SecretArgs};
use sealmoot_authn::login::{CodeAsked, CodeSource};
use sealmoot_crypto::secret::SecretBytes;
use tokio::sync::oneshot;

/// Asks for codes, or reads the one that was given.
pub(crate) struct Codes {
    source: SecretArgs,
    no_input: bool,
    /// The code that was given, once it was read: a login that a busy node refuses is
    /// begun anew, and standard input has it once only.
    given: Option<SecretBytes>,
    failure: Option<Failure>,
}

impl Codes {
    pub(crate) fn new(source: SecretArgs, no_input: bool) -> Self {
        Self {
            source,
            no_input,
            given: None,
            failure: None,
        }
    }

    /// Why a code could not be had.
    pub(crate) fn into_failure(self) -> Option<Failure> {
        self.failure
    }
}

impl CodeSource for Codes {
    async fn code(&mut self, asked: CodeAsked) -> Option<SecretBytes> {
        // One that was given is given once.
        if asked.again && self.source.is_given() {
            return None;
        }
        if let Some(given) = &self.given {
            return Some(copied(given));
        }
        if asked.again {
            eprintln!("not accepted, {} more to try", asked.tries_left);
        }
        let (source, no_input) = (self.source.clone(), self.no_input);
        let (answer, answered) = oneshot::channel();
        // A thread of its own and none of the runtime's: whoever interrupts the question
        // is not to wait until it is answered.
        std::thread::spawn(move || drop(answer.send(source.obtain(no_input))));
        let ended = || {
            Err(Failure::new(
                Code::Internal,
                "the question was not answered",
            ))
        };
        match answered.await.unwrap_or_else(|_| ended()) {
            Ok(code) => {
                if self.source.is_given() {
                    self.given = Some(copied(&code));
                }
                Some(code)
            }
            Err(failure) => {
                self.failure = Some(failure);
                None
            }
        }
    }
}

fn copied(code: &SecretBytes) -> SecretBytes {
    SecretBytes::new(code.expose().to_vec())
}
