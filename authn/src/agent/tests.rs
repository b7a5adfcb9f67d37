//! A real ssh-agent where there is one, and hostile ones.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use sealmoot_crypto::signature::SigningKey;

use super::*;
use crate::openssh::{ED25519, blob};

const PATIENCE: Duration = Duration::from_secs(60);
const DOMAIN: &str = "test/agent";

fn key() -> SigningKey {
    SigningKey::generate().expect("random")
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("short");
    [&length.to_be_bytes()[..], bytes].concat()
}

fn message(message_type: u8, contents: &[u8]) -> Vec<u8> {
    string(&[&[message_type][..], contents].concat())
}

fn signature_of(bytes: &[u8]) -> Vec<u8> {
    let blob = [string(ED25519.as_bytes()), string(bytes)].concat();
    message(14, &string(&blob))
}

/// An agent that answers whatever it is asked with these bytes, and then closes.
fn hostile(answer: Vec<u8>) -> (tempfile::TempDir, Agent) {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("agent");
    let listener = UnixListener::bind(&socket).expect("bound");
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            // The other side may have seen enough.
            let _ = stream.write_all(&answer);
        }
    });
    (directory, Agent::at(&socket))
}

async fn identities(answer: Vec<u8>) -> Result<Vec<AgentIdentity>, AgentError> {
    let (_directory, agent) = hostile(answer);
    agent.identities(PATIENCE).await
}

async fn sign(key: &SigningKey, answer: Vec<u8>) -> Result<Signature, AgentError> {
    let (_directory, agent) = hostile(answer);
    let key = key.verifying_key();
    agent.sign(&key, DOMAIN, b"message", PATIENCE).await
}

#[tokio::test]
async fn what_an_honest_agent_says_is_taken() {
    let key = key();
    let signature = key.sign(DOMAIN, b"message");
    let taken = sign(&key, signature_of(&signature.to_bytes())).await;
    assert_eq!(taken.expect("a signature"), signature);
    let rsa = string(b"ssh-rsa");
    let keys = [
        &2u32.to_be_bytes()[..],
        &string(&blob(&key.verifying_key())),
        &string(b"laptop"),
        &string(&rsa),
        &string(b"old \xff"),
    ]
    .concat();
    let identities = identities(message(12, &keys)).await.expect("two keys");
    assert_eq!(identities[0].key, Some(key.verifying_key()));
    assert_eq!(identities[0].comment, "laptop");
    assert_eq!(
        (identities[1].key_type.as_str(), identities[1].key),
        ("ssh-rsa", None)
    );
}

#[tokio::test]
async fn a_signature_that_is_not_by_the_key_over_the_bytes_is_refused() {
    let (key, other) = (key(), key());
    for (what, signature) in [
        ("another key's", other.sign(DOMAIN, b"message")),
        ("of another domain", key.sign("test/other", b"message")),
        ("over another message", key.sign(DOMAIN, b"massage")),
        ("made up", Signature::from_bytes([7; 64])),
    ] {
        let refused = sign(&key, signature_of(&signature.to_bytes())).await;
        assert!(matches!(refused, Err(AgentError::WrongSignature)), "{what}");
    }
}

#[tokio::test]
async fn malformed_signatures_are_refused_by_what_is_wrong() {
    let key = key();
    let good = key.sign(DOMAIN, b"message").to_bytes();
    let refused = |answer: Vec<u8>| async {
        match sign(&key, answer).await {
            Err(AgentError::Malformed(what)) => what,
            other => panic!("{other:?}"),
        }
    };
    for length in [0, 63, 65] {
        let answer = signature_of(&vec![0; length]);
        assert_eq!(refused(answer).await, "a signature of another length");
    }
    let rsa = [string(b"ssh-rsa"), string(&good)].concat();
    let answer = message(14, &string(&rsa));
    assert_eq!(refused(answer).await, "a signature of another type");
    let blob = [string(ED25519.as_bytes()), string(&good)].concat();
    let after = [string(&blob), vec![0]].concat();
    assert_eq!(refused(message(14, &after)).await, "bytes follow the end");
    let within = string(&[blob.clone(), vec![0]].concat());
    assert_eq!(refused(message(14, &within)).await, "bytes follow the end");
    let whole = string(&blob);
    for length in [0, 3, 4, 10, whole.len() - 1] {
        let answer = message(14, &whole[..length]);
        assert_eq!(refused(answer).await, "it ends early", "{length}");
    }
    // A length that would be four gigabytes asks for no memory.
    let answer = message(14, &[0xff; 8]);
    assert_eq!(refused(answer).await, "it ends early");
}

#[tokio::test]
async fn other_messages_than_the_one_asked_for_are_refused() {
    let key = key();
    assert!(matches!(
        sign(&key, message(5, &[])).await,
        Err(AgentError::Refused)
    ));
    assert!(matches!(
        identities(message(5, &[])).await,
        Err(AgentError::Refused)
    ));
    assert!(matches!(
        sign(&key, message(12, &[0; 4])).await,
        Err(AgentError::UnexpectedMessage(12))
    ));
    assert!(matches!(
        identities(message(14, &[])).await,
        Err(AgentError::UnexpectedMessage(14))
    ));
}

#[tokio::test]
async fn lengths_and_counts_beyond_the_maximum_are_refused_unread() {
    for length in [0, 256 * 1024 + 1, u32::MAX] {
        let answer = length.to_be_bytes().to_vec();
        assert!(
            matches!(identities(answer).await, Err(AgentError::MessageLength(found)) if found == length)
        );
    }
    for count in [1025, u32::MAX] {
        let answer = message(12, &count.to_be_bytes());
        assert!(
            matches!(identities(answer).await, Err(AgentError::TooManyKeys(found)) if found == count)
        );
    }
    let missing = message(12, &3u32.to_be_bytes());
    assert!(matches!(
        identities(missing).await,
        Err(AgentError::Malformed("it ends early"))
    ));
    let left_over = message(12, &[0, 0, 0, 0, 1]);
    assert!(matches!(
        identities(left_over).await,
        Err(AgentError::Malformed("bytes follow the end"))
    ));
}

#[tokio::test]
async fn a_weak_or_malformed_ed25519_key_is_none() {
    let weak = [string(ED25519.as_bytes()), string(&[0; 32])].concat();
    let short = [string(ED25519.as_bytes()), string(&[2; 31])].concat();
    for blob in [weak, short] {
        let keys = [&1u32.to_be_bytes()[..], &string(&blob), &string(b"")].concat();
        let found = identities(message(12, &keys)).await.expect("one key");
        assert_eq!(found[0].key, None);
    }
}

#[tokio::test]
async fn an_agent_that_closes_early_or_is_not_there_is_told() {
    for answer in [vec![], vec![0, 0], string(&[12; 9])[..8].to_vec()] {
        assert!(matches!(
            identities(answer).await,
            Err(AgentError::Socket { .. })
        ));
    }
    let directory = tempfile::tempdir().expect("a directory");
    let nobody = Agent::at(&directory.path().join("none"));
    assert!(matches!(
        nobody.identities(PATIENCE).await,
        Err(AgentError::Socket { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_says_nothing_is_given_up() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("agent");
    // Connections are accepted by the system and answered by nobody.
    let _listener = UnixListener::bind(&socket).expect("bound");
    let agent = Agent::at(&socket);
    let given_up = agent.identities(PATIENCE).await;
    assert!(matches!(given_up, Err(AgentError::TimedOut(PATIENCE))));
    let given_up = agent
        .sign(&key().verifying_key(), DOMAIN, b"message", PATIENCE)
        .await;
    assert!(matches!(given_up, Err(AgentError::TimedOut(PATIENCE))));
}

/// A real agent with a key in it; it ends with this.
struct Real {
    directory: tempfile::TempDir,
    child: Child,
}

impl Real {
    /// None where the tools are missing.
    fn start(test: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let child = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(directory.path().join("agent"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            eprintln!("SKIPPED {test}: there is no ssh-agent");
            return None;
        };
        let real = Self { directory, child };
        let deadline = Instant::now() + PATIENCE;
        // Its socket is there before it listens.
        while std::os::unix::net::UnixStream::connect(real.socket()).is_err() {
            assert!(Instant::now() < deadline, "the agent does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(real)
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("agent")
    }

    /// Makes a key with `ssh-keygen`, and adds it.
    fn add(&self, file: &str, key_type: &[&str]) -> String {
        let path = self.directory.path().join(file);
        let run = |program: &str, arguments: &[&std::ffi::OsStr]| {
            let status = Command::new(program)
                .args(arguments)
                .env("SSH_AUTH_SOCK", self.socket())
                .stderr(Stdio::null())
                .status();
            assert!(status.expect(program).success(), "{program}");
        };
        let mut arguments = vec!["-q".as_ref(), "-N".as_ref(), "".as_ref(), "-C".as_ref()];
        arguments.extend([file.as_ref(), "-f".as_ref(), path.as_os_str()]);
        arguments.extend(key_type.iter().map(std::ffi::OsStr::new));
        run("ssh-keygen", &arguments);
        run("ssh-add", &[path.as_os_str()]);
        std::fs::read_to_string(path.with_extension("pub")).expect("a public key")
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_real_agent_lists_its_keys_and_signs() {
    let Some(real) = Real::start("a_real_agent_lists_its_keys_and_signs") else {
        return;
    };
    let line = real.add("laptop", &["-t", "ed25519"]);
    real.add("old", &["-t", "ecdsa"]);
    let (public, _) = sealmoot_crypto::hazmat::openssh::public_from_line(&line).expect("a key");
    let agent = Agent::at(&real.socket());
    let identities = agent.identities(PATIENCE).await.expect("two keys");
    assert_eq!(identities.len(), 2);
    assert_eq!(identities[0].key, Some(public));
    assert_eq!(identities[0].comment, "laptop");
    assert_eq!(identities[1].key, None);
    assert_eq!(identities[1].key_type, "ecdsa-sha2-nistp256");
    let signature = agent.sign(&public, DOMAIN, b"message", PATIENCE).await;
    public
        .verify(DOMAIN, b"message", &signature.expect("signed"))
        .expect("by the key in the agent");
    // A key that it does not hold.
    let absent = agent
        .sign(&key().verifying_key(), DOMAIN, b"message", PATIENCE)
        .await;
    assert!(matches!(absent, Err(AgentError::Refused)));
}
