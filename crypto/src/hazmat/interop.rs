//! Key files exchanged with `openssl` and `ssh-keygen`, where these are installed.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::prelude::v1::*;
use std::println;
use std::process::{Command, Stdio};

use super::{der, openssh, pem, raw, sign_unframed, verify_unframed};
use crate::agreement::AgreementKey;
use crate::random;
use crate::signature::{Signature, SigningKey};
use crate::testing::hex;

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name: [u8; 8] = random::array().expect("random");
        let path = std::env::temp_dir().join(format!("sealmoot-interop-{}", hex(&name)));
        std::fs::create_dir(&path).expect("a new folder");
        Self(path)
    }

    /// Writes a file that nobody else may read, as `ssh-keygen` demands.
    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.join(name);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).expect("a new file");
        file.write_all(bytes).expect("written");
        self.path(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).expect("the tool wrote it")
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").into()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a tool printed, or `None` after saying that `test` is skipped because there
/// is no such tool here.
fn run(test: &str, tool: &str, arguments: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    match output {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("SKIPPED {test}: {tool} is not installed");
            None
        }
        output => {
            let output = output.expect("the tool runs");
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{tool} {arguments:?}: {told}");
            Some(output.stdout)
        }
    }
}

#[test]
fn openssl_reads_our_keys_and_we_read_its() {
    const TEST: &str = "openssl_reads_our_keys_and_we_read_its";
    let openssl = |arguments: &[&str]| run(TEST, "openssl", arguments);
    let Some(made) = openssl(&["genpkey", "-algorithm", "ed25519"]) else {
        return;
    };
    let folder = Folder::new();
    let public_of = |file: &str| openssl(&["pkey", "-in", file, "-pubout"]).expect("there");

    // Its key, ours; our public key, its.
    let theirs = pem::signing_key_from_pem(&made).expect("its key");
    assert_eq!(pem::signing_key_to_pem(&theirs).expose(), made);
    let file = folder.write("theirs.pem", &made);
    let public = pem::verifying_key_from_pem(&public_of(&file)).expect("its public key");
    assert_eq!(public, theirs.verifying_key());

    let ours = SigningKey::generate().expect("random");
    let file = folder.write("ours.pem", pem::signing_key_to_pem(&ours).expose());
    let text = pem::verifying_key_to_pem(&ours.verifying_key());
    assert_eq!(public_of(&file), text.as_bytes());

    // Signatures both ways.
    let message = folder.write("message", b"a message");
    let public = folder.write("public.pem", text.as_bytes());
    let signature = sign_unframed(&ours, b"a message").expect("not framed");
    let signed = folder.write("signed", &signature.to_bytes());
    openssl(&[
        "pkeyutl", "-verify", "-pubin", "-inkey", &public, "-rawin", "-in", &message, "-sigfile",
        &signed,
    ]);
    let made = openssl(&[
        "pkeyutl", "-sign", "-inkey", &file, "-rawin", "-in", &message,
    ]);
    let made: [u8; 64] = made.expect("there").try_into().expect("64 bytes");
    assert_eq!(made, signature.to_bytes());
    let made = Signature::from_bytes(made);
    assert_eq!(
        verify_unframed(&ours.verifying_key(), b"a message", &made),
        Ok(())
    );

    // An encrypted key is recognised.
    let locked = openssl(&[
        "pkey",
        "-in",
        &file,
        "-aes256",
        "-passout",
        "pass:correct horse",
    ]);
    assert_eq!(
        pem::signing_key_from_pem(&locked.expect("there")).err(),
        Some(pem::PemError::Encrypted)
    );
    // So is another algorithm's, whose text is longer.
    let rsa = openssl(&[
        "genpkey",
        "-algorithm",
        "rsa",
        "-pkeyopt",
        "rsa_keygen_bits:2048",
    ]);
    assert_eq!(
        pem::signing_key_from_pem(&rsa.expect("there")).err(),
        Some(pem::PemError::Der(der::DerError::OtherAlgorithm))
    );
}

#[test]
fn openssl_agrees_with_us() {
    const TEST: &str = "openssl_agrees_with_us";
    let openssl = |arguments: &[&str]| run(TEST, "openssl", arguments);
    let Some(made) = openssl(&["genpkey", "-algorithm", "x25519"]) else {
        return;
    };
    let folder = Folder::new();
    let theirs = pem::agreement_key_from_pem(&made).expect("its key");
    assert_eq!(pem::agreement_key_to_pem(&theirs).expose(), made);
    let their_file = folder.write("theirs.pem", &made);
    let public = openssl(&["pkey", "-in", &their_file, "-pubout"]).expect("there");
    let their_public = pem::agreement_public_from_pem(&public).expect("its public key");
    assert_eq!(their_public, theirs.public());

    let ours = AgreementKey::generate().expect("random");
    let our_file = folder.write(
        "ours.pem",
        pem::agreement_public_to_pem(&ours.public()).as_bytes(),
    );
    let shared = openssl(&[
        "pkeyutl",
        "-derive",
        "-inkey",
        &their_file,
        "-peerkey",
        &our_file,
    ]);
    let own = ours.agree(&their_public).expect("contributory");
    assert_eq!(shared.expect("there"), own.expose());
}

#[test]
fn ssh_keygen_reads_our_keys_and_we_read_its() {
    const TEST: &str = "ssh_keygen_reads_our_keys_and_we_read_its";
    let keygen = |arguments: &[&str]| run(TEST, "ssh-keygen", arguments);
    let folder = Folder::new();
    let file = folder.path("theirs");
    let make = ["-q", "-t", "ed25519", "-C", "a comment", "-f", &file];
    let Some(_) = keygen(&[&make[..], &["-N", ""]].concat()) else {
        return;
    };

    let (theirs, comment) = openssh::private_from_text(&folder.read("theirs")).expect("its key");
    assert_eq!(comment, "a comment");
    let line = String::from_utf8(folder.read("theirs.pub")).expect("UTF-8");
    let (public, comment) = openssh::public_from_line(&line).expect("its public key");
    assert_eq!(public, theirs.verifying_key());
    assert_eq!(comment, "a comment");
    assert_eq!(
        openssh::public_to_line(&public, "a comment").expect("short"),
        line.trim_end()
    );

    // Ours, of every padding; it prints the public key and the comment.
    let key = raw::import_signing_key(&[7; 32]).expect("a key");
    for length in 0..9 {
        let comment = "c".repeat(length);
        let text = openssh::private_to_text(&key, &comment).expect("random");
        let file = folder.write(&format!("ours{length}"), text.expose());
        let printed = keygen(&["-y", "-f", &file]).expect("there");
        let printed = String::from_utf8(printed).expect("UTF-8");
        let line = openssh::public_to_line(&key.verifying_key(), &comment).expect("short");
        assert_eq!(printed.trim_end(), line);
        // Read, and written again by itself: it takes a passphrase, and gives it back.
        let change = ["-q", "-p", "-f", &file];
        keygen(&[&change[..], &["-N", "correct horse"]].concat());
        let locked = openssh::private_from_text(&folder.read(&format!("ours{length}")));
        assert!(matches!(locked, Err(openssh::OpenSshError::Encrypted)));
        keygen(&[&change[..], &["-P", "correct horse", "-N", ""]].concat());
        let (again, told) =
            openssh::private_from_text(&folder.read(&format!("ours{length}"))).expect("a key");
        assert_eq!(again.verifying_key(), key.verifying_key());
        assert_eq!(told, comment);
    }

    // RSA's private key is refused by name.
    let file = folder.path("rsa");
    keygen(&["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", &file]);
    assert!(matches!(
        openssh::private_from_text(&folder.read("rsa")),
        Err(openssh::OpenSshError::OtherKeyType(name)) if name == "ssh-rsa"
    ));
}
