//! Keys on the command line: from files of OpenSSH, and from an ssh-agent.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use sealmoot_crypto::hazmat::openssh::{self, OPENSSH_LENGTH_MAX, OpenSshError};
use sealmoot_crypto::signature::{SigningKey, VerifyingKey};

use super::common::Duration;
use super::failure::{Code, Failure};
use super::terminal::escaped;
use crate::agent::{Agent, AgentError, AgentIdentity};
use crate::client_key::AgentKey;
use crate::files;
use crate::openssh::ED25519;
use crate::realm::KeyError;

/// Where an agent's socket is named.
const SOCKET_VARIABLE: &str = "SSH_AUTH_SOCK";
const MAKE_ONE: &str = "make one with: ssh-keygen -t ed25519";

/// A key in an ssh-agent.
#[derive(Debug, Clone, Default, Args)]
pub struct AgentArgs {
    /// Use an Ed25519 key of the ssh-agent at $SSH_AUTH_SOCK
    #[arg(long)]
    pub agent: bool,
    /// Which of the agent's keys, by its comment
    #[arg(long, value_name = "TEXT", requires = "agent")]
    pub comment: Option<String>,
    /// Which of the agent's keys, by its fingerprint (SHA256:…), as ssh-add -l prints it
    #[arg(
        long,
        value_name = "SHA256:…",
        requires = "agent",
        conflicts_with = "comment"
    )]
    pub fingerprint: Option<String>,
}

impl AgentArgs {
    /// The one Ed25519 key that is meant, and what the agent calls it.
    ///
    /// # Errors
    /// A [`Failure`] when there is no agent, no such key, or more than one.
    pub async fn choose(&self, patience: Duration) -> Result<(AgentKey, String), Failure> {
        let socket = std::env::var_os(SOCKET_VARIABLE)
            .filter(|socket| !socket.is_empty())
            .ok_or_else(|| {
                let message = format!("there is no ssh-agent: {SOCKET_VARIABLE} is not set");
                Failure::new(Code::Config, message)
                    .hint("eval \"$(ssh-agent)\", ssh-add FILE; or name a key file instead")
            })?;
        let agent = Agent::at(Path::new(&socket));
        let identities = agent.identities(patience).await?;
        let (key, comment) = choose(self, identities)?;
        Ok((AgentKey { agent, key }, comment))
    }

    fn selects(&self, identity: &AgentIdentity) -> bool {
        let named = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        named(&self.comment, &identity.comment) && named(&self.fingerprint, &identity.fingerprint)
    }
}

/// The private key in a file of OpenSSH, and its comment. Modes looser than 0600 are
/// refused.
///
/// # Errors
/// A [`Failure`] that says what is wrong with the file.
pub fn read_private_key(path: &Path) -> Result<(SigningKey, String), Failure> {
    let text = files::read_named_secret(path, OPENSSH_LENGTH_MAX)?;
    openssh::private_from_text(text.expose()).map_err(|error| key_failure(path, &error))
}

/// The public key in a `.pub` file of OpenSSH, and its comment.
///
/// # Errors
/// A [`Failure`] that says what is wrong with the file.
pub fn read_public_key(path: &Path) -> Result<(VerifyingKey, String), Failure> {
    let text = read_text(path)?;
    if is_private(&text) {
        let message = format!("{} is a private key", path.display());
        return Err(Failure::usage(message)
            .hint("name its public half, FILE.pub; ssh-keygen -y -f FILE prints it"));
    }
    openssh::public_from_line(&text).map_err(|error| key_failure(path, &error))
}

/// Whether a file says of itself that it holds a private key.
///
/// # Errors
/// A [`Failure`] when the file cannot be read.
pub fn holds_private_key(path: &Path) -> Result<bool, Failure> {
    read_text(path).map(|text| is_private(&text))
}

fn is_private(text: &str) -> bool {
    text.trim_start().starts_with("-----BEGIN") && text.contains("PRIVATE KEY-----")
}

fn read_text(path: &Path) -> Result<String, Failure> {
    let wrong = |what: &dyn std::fmt::Display| {
        Failure::new(Code::Config, format!("{}: {what}", path.display()))
    };
    let file = File::open(path).map_err(|error| wrong(&error))?;
    let mut bytes = Vec::new();
    file.take(OPENSSH_LENGTH_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| wrong(&error))?;
    String::from_utf8(bytes).map_err(|_| wrong(&"it is no key of OpenSSH").hint(MAKE_ONE))
}

fn key_failure(path: &Path, error: &OpenSshError) -> Failure {
    let failure = Failure::new(Code::Config, format!("{}: {error}", path.display()));
    match error {
        OpenSshError::Encrypted => {
            let message = format!("{}: the private key is encrypted", path.display());
            let file = PathBuf::from(path);
            Failure::new(Code::Config, message).hint(format!(
                "ssh-add {}, and then --agent instead of the file",
                file.display()
            ))
        }
        _ => failure.hint(MAKE_ONE),
    }
}

fn choose(
    args: &AgentArgs,
    identities: Vec<AgentIdentity>,
) -> Result<(VerifyingKey, String), Failure> {
    let selected: Vec<AgentIdentity> = identities
        .into_iter()
        .filter(|identity| args.selects(identity))
        .collect();
    let mut usable = selected
        .iter()
        .filter_map(|identity| identity.key.map(|key| (key, identity)));
    match (usable.next(), usable.next()) {
        (Some((key, identity)), None) => Ok((key, identity.comment.clone())),
        (Some(_), Some(_)) => {
            let known: Vec<String> = selected
                .iter()
                .filter(|identity| identity.key.is_some())
                .map(|identity| format!("{} ({})", identity.fingerprint, identity.comment))
                .collect();
            let message = format!("the agent holds several such keys: {}", known.join(", "));
            Err(Failure::usage(escaped(&message)).hint("choose one with --fingerprint SHA256:…"))
        }
        (None, _) => Err(match selected.first() {
            Some(other) => {
                let what = escaped(&other.key_type);
                Failure::new(
                    Code::Config,
                    format!("the agent's key is of type {what}; only {ED25519} is taken"),
                )
                .hint(MAKE_ONE)
            }
            None => Failure::new(Code::NotFound, "the agent holds no such key")
                .hint("ssh-add -l lists its keys; ssh-add FILE adds one"),
        }),
    }
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        let (code, hint) = match &error {
            AgentError::TimedOut(_) => (
                Code::Timeout,
                "it may wait for you to confirm or to touch a token; --timeout 20s gives more time",
            ),
            AgentError::Refused => (
                Code::Unauthenticated,
                "ssh-add -l lists its keys; it may be locked (ssh-add -X) or have asked and been told no",
            ),
            AgentError::Socket { .. } => (
                Code::Config,
                "SSH_AUTH_SOCK has to name the socket of an agent that runs",
            ),
            AgentError::MessageLength(_)
            | AgentError::UnexpectedMessage(_)
            | AgentError::Malformed(_)
            | AgentError::TooManyKeys(_)
            | AgentError::WrongSignature => (
                Code::Config,
                "SSH_AUTH_SOCK may name something else than an ssh-agent",
            ),
        };
        Self::new(code, error).hint(hint)
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Realm(error) => error.into(),
            KeyError::NoSuchKey { ref user, .. } => {
                let hint = format!("authctl cred list {user}");
                Self::new(Code::NotFound, error).hint(hint)
            }
            KeyError::EnrolledAlready { ref user } => {
                let hint = format!("authctl cred list {user}");
                Self::new(Code::Exists, error).hint(hint)
            }
            KeyError::TooManyKeys => {
                Self::usage(error).hint("revoke one that is not used: authctl cred revoke USER ID")
            }
            KeyError::Expired => Self::usage(error).hint("give it time: --ttl 90d"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(comment: &str, ed25519: bool) -> AgentIdentity {
        let key = SigningKey::generate().expect("random").verifying_key();
        AgentIdentity {
            key_type: if ed25519 { ED25519 } else { "ssh-rsa" }.to_owned(),
            key: ed25519.then_some(key),
            fingerprint: format!("SHA256:{comment}"),
            comment: comment.to_owned(),
        }
    }

    fn by(comment: Option<&str>, fingerprint: Option<&str>) -> AgentArgs {
        AgentArgs {
            agent: true,
            comment: comment.map(str::to_owned),
            fingerprint: fingerprint.map(str::to_owned),
        }
    }

    #[test]
    fn the_one_key_that_is_meant_is_chosen_and_no_other() {
        let keys = || {
            vec![
                identity("a", true),
                identity("b", true),
                identity("c", false),
            ]
        };
        let chosen = |args: &AgentArgs, keys| choose(args, keys).map(|(_, comment)| comment);
        assert_eq!(chosen(&by(Some("b"), None), keys()).expect("one"), "b");
        assert_eq!(
            chosen(&by(None, Some("SHA256:a")), keys()).expect("one"),
            "a"
        );
        let rest = keys().split_off(1);
        assert_eq!(chosen(&by(None, None), rest).expect("one usable"), "b");
        let code = |args: &AgentArgs, keys| chosen(args, keys).expect_err("refused").code;
        assert_eq!(code(&by(None, None), keys()), Code::Usage);
        assert_eq!(code(&by(Some("c"), None), keys()), Code::Config);
        assert_eq!(code(&by(Some("d"), None), keys()), Code::NotFound);
        assert_eq!(code(&by(None, None), vec![]), Code::NotFound);
    }

    #[test]
    fn files_that_are_no_ed25519_key_are_refused_by_what_they_are() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        let said = |content: &[u8]| {
            files::write(&path, content, files::Existing::Replace).expect("written");
            let public = read_public_key(&path).expect_err("refused");
            let private = read_private_key(&path).map(drop).expect_err("refused");
            (public.message, private.message)
        };
        let (public, _) = said(b"ssh-rsa AAAAB3NzaC1yc2E= bob");
        assert!(public.contains("\"ssh-rsa\"; only ssh-ed25519"), "{public}");
        let (public, _) = said(b"ecdsa-sha2-nistp256 AAAA bob");
        assert!(public.contains("\"ecdsa-sha2-nistp256\""), "{public}");
        let (public, private) = said(b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n");
        assert!(public.contains("is a private key"), "{public}");
        assert!(private.contains("not an OpenSSH key"), "{private}");
        let (public, _) = said(&[0xff, 0xfe]);
        assert!(public.contains("no key of OpenSSH"), "{public}");
        let (_, private) = said(&[b'x'; OPENSSH_LENGTH_MAX + 1]);
        assert!(private.contains("longer than"), "{private}");
    }
}
