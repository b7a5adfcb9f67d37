//! OpenSSH's keys: the public line and the private file.

use sealmoot_crypto::hazmat::openssh::{
    COMMENT_LENGTH_MAX, OPENSSH_LENGTH_MAX, OpenSshError, private_from_text, private_to_text,
    public_from_line, public_to_line,
};
use sealmoot_crypto::signature::KeyRejected;

use crate::kit::{
    Kit, flipped, longer, pem_lines, replaced, report, shorter, signing_key, spliced, with,
};

const ED25519: &[u8] = b"ssh-ed25519";
const LABEL: &str = "OPENSSH PRIVATE KEY";
/// How many letters ssh-keygen puts on a line.
const WIDTH: usize = 70;

#[test]
fn openssh() {
    report("openssh", family());
}

pub(crate) fn family() -> usize {
    let mut kit = Kit::new("openssh");
    lines(&mut kit);
    texts(&mut kit);
    files(&mut kit);
    private_parts(&mut kit);
    comments(&mut kit);
    kit.count()
}

fn malformed(fault: &'static str) -> impl Fn(&OpenSshError) -> bool {
    move |error| matches!(error, OpenSshError::Malformed(found) if *found == fault)
}

fn other_type(name: &'static str) -> impl Fn(&OpenSshError) -> bool {
    move |error| matches!(error, OpenSshError::OtherKeyType(found) if found == name)
}

const NO_TYPE: &str = "no type of key where one should stand";
const LENGTH: &str = "the key has another length";
const ENDS_EARLY: &str = "it ends early";
const NOT_BASE64: &str = "the key is not Base64";
const TRAILING: &str = "bytes follow the end";
const NOT_PEM: &str = "not exactly one block of PEM";

fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("short");
    [&length.to_be_bytes(), bytes].concat()
}

/// Standard Base64 of bytes that need no padding, by way of PEM's.
fn base64(bytes: &[u8]) -> String {
    assert!(bytes.len().is_multiple_of(3));
    let text = pem_lines("X", 64, bytes);
    text.lines().filter(|line| !line.starts_with('-')).collect()
}

fn blob(key_type: &[u8], key: &[u8]) -> Vec<u8> {
    [string(key_type), string(key)].concat()
}

fn lines(kit: &mut Kit) {
    let key = signing_key(3).verifying_key();
    let sample = public_to_line(&key, "alice").expect("short");
    let read = |line: &str| public_from_line(line);
    kit.accepted("a line", read(&sample));
    let of = |blob: &[u8]| read(&format!("ssh-ed25519 {}", base64(blob)));
    kit.accepted("a line by hand", of(&blob(ED25519, &key.to_bytes())));

    kit.refused("line: empty", read(""), malformed(NO_TYPE));
    kit.refused(
        "line: of an RSA key",
        read("ssh-rsa AAAAB3NzaC1yc2E alice"),
        other_type("ssh-rsa"),
    );
    let line = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY";
    kit.refused(
        "line: of a P-256 key",
        read(line),
        other_type("ecdsa-sha2-nistp256"),
    );
    let line = "sk-ssh-ed25519@openssh.com AAAA alice";
    kit.refused(
        "line: of a security key",
        read(line),
        other_type("sk-ssh-ed25519@openssh.com"),
    );
    let line = replaced(&sample, "ssh-ed25519 ", "ssh-ed25519-cert-v01@openssh.com ");
    kit.refused(
        "line: of a certificate",
        read(&line),
        other_type("ssh-ed25519-cert-v01@openssh.com"),
    );
    kit.refused(
        "line: of DSA",
        read("ssh-dss AAAAB3NzaC1kc3M"),
        other_type("ssh-dss"),
    );
    kit.refused(
        "line: the type in capitals",
        read(&sample.replace("ssh-e", "SSH-E")),
        malformed(NO_TYPE),
    );
    // What stands in a file of authorized keys may run a command.
    let options = format!("command=\"/bin/sh\" {sample}");
    kit.refused(
        "line: options before the key",
        read(&options),
        malformed(NO_TYPE),
    );
    kit.refused(
        "line: a space before",
        read(&format!(" {sample}")),
        malformed(NO_TYPE),
    );
    kit.refused(
        "line: a host before",
        read(&format!("example.org {sample}")),
        malformed(NO_TYPE),
    );
    kit.refused("line: a remark", read("# alice"), malformed(NO_TYPE));
    kit.refused("line: only a type", read("ssh-ed25519"), malformed(LENGTH));
    kit.refused(
        "line: two spaces",
        read(&replaced(&sample, "ssh-ed25519 ", "ssh-ed25519  ")),
        malformed(LENGTH),
    );
    let tab = replaced(&sample, "ssh-ed25519 ", "ssh-ed25519\t");
    kit.refused("line: a tab for a space", read(&tab), |error| {
        matches!(error, OpenSshError::Malformed(_))
    });
    kit.refused(
        "line: a letter of the key left out",
        read(&replaced(&sample, "AAAAC3", "AAAC3")),
        malformed(LENGTH),
    );
    kit.refused(
        "line: a letter of the key too many",
        read(&replaced(&sample, "AAAAC3", "AAAAAC3")),
        malformed(LENGTH),
    );
    kit.refused(
        "line: padding behind the key",
        read(&replaced(&sample, " alice", "= alice")),
        malformed(LENGTH),
    );
    kit.refused(
        "line: a letter that is none",
        read(&replaced(&sample, "AAAAC3", "AAA?C3")),
        malformed(NOT_BASE64),
    );
    kit.refused(
        "line: Base64 for addresses",
        read(&replaced(&sample, "AAAAC3", "AAA-C3")),
        malformed(NOT_BASE64),
    );
    kit.refused(
        "line: padding in the key",
        read(&replaced(&sample, "AAAAC3", "AAAAC=")),
        malformed(NOT_BASE64),
    );
    kit.refused(
        "line: another type inside",
        of(&blob(b"ssh-ed25518", &key.to_bytes())),
        other_type("ssh-ed25518"),
    );
    kit.refused(
        "line: no known type inside",
        of(&blob(b"abc-ed25519", &key.to_bytes())),
        malformed(NO_TYPE),
    );
    let little = with(&blob(ED25519, &key.to_bytes()), 0, &[11, 0, 0, 0]);
    kit.refused(
        "line: a length in little-endian",
        of(&little),
        malformed(ENDS_EARLY),
    );
    let good = blob(ED25519, &key.to_bytes());
    kit.refused(
        "line: a key length of 33",
        of(&with(&good, 18, &[33])),
        malformed(ENDS_EARLY),
    );
    kit.refused(
        "line: a key length of 31",
        of(&with(&good, 18, &[31])),
        malformed(LENGTH),
    );
    kit.refused(
        "line: a type length of 4 GiB",
        of(&with(&good, 0, &[0xff; 4])),
        malformed(ENDS_EARLY),
    );
    let weak = blob(ED25519, &[0; 32]);
    kit.refused("line: a weak key", of(&weak), |error| {
        matches!(error, OpenSshError::PublicKey(KeyRejected::Weak))
    });
    let mut none = [0; 32];
    none[0] = 2;
    kit.refused("line: no point", of(&blob(ED25519, &none)), |error| {
        matches!(error, OpenSshError::PublicKey(KeyRejected::NotCanonical))
    });
    let comment = |error: &OpenSshError| matches!(error, OpenSshError::Comment);
    kit.refused(
        "line: two lines",
        read(&format!("{sample}\n{sample}")),
        comment,
    );
    kit.refused(
        "line: an empty line behind",
        read(&format!("{sample}\n\n")),
        comment,
    );
    kit.refused(
        "line: a NUL in the comment",
        read(&format!("{sample}\0")),
        comment,
    );
    kit.refused(
        "line: a comment that clears the screen",
        read(&format!("{sample}\x1b[2J")),
        comment,
    );
    kit.refused(
        "line: a comment of 1025 bytes",
        read(&format!("{sample}{}", "x".repeat(COMMENT_LENGTH_MAX - 4))),
        comment,
    );
    let long = format!(
        "{sample}{}",
        "x".repeat(OPENSSH_LENGTH_MAX + 1 - sample.len())
    );
    kit.refused("line: 16 KiB and a byte", read(&long), |error| {
        matches!(error, OpenSshError::TooLong { length: 16_385 })
    });
}

/// The fields of a private file, to be changed one at a time.
struct File {
    magic: Vec<u8>,
    cipher: Vec<u8>,
    kdf: Vec<u8>,
    kdf_options: Vec<u8>,
    count: u32,
    public: Vec<u8>,
    private: Vec<u8>,
}

/// Those of the private part.
struct Private {
    checks: [u32; 2],
    key_type: Vec<u8>,
    public: Vec<u8>,
    seed_and_public: Vec<u8>,
    comment: Vec<u8>,
    padding: Vec<u8>,
}

impl Private {
    fn good() -> Self {
        let public = signing_key(3).verifying_key().to_bytes();
        Self {
            checks: [7, 7],
            key_type: ED25519.to_vec(),
            public: public.to_vec(),
            seed_and_public: [[3; 32], public].concat(),
            // Of a length that leaves five bytes of padding.
            comment: b"alice in".to_vec(),
            padding: Vec::new(),
        }
    }

    /// The bytes, with the padding that they need and then `padding`.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.unpadded();
        for count in 1.. {
            if bytes.len().is_multiple_of(8) {
                break;
            }
            bytes.push(count);
        }
        longer(&bytes, &self.padding)
    }

    fn unpadded(&self) -> Vec<u8> {
        [
            self.checks[0].to_be_bytes().to_vec(),
            self.checks[1].to_be_bytes().to_vec(),
            string(&self.key_type),
            string(&self.public),
            string(&self.seed_and_public),
            string(&self.comment),
        ]
        .concat()
    }
}

impl File {
    fn good() -> Self {
        let public = signing_key(3).verifying_key().to_bytes();
        Self {
            magic: b"openssh-key-v1\0".to_vec(),
            cipher: b"none".to_vec(),
            kdf: b"none".to_vec(),
            kdf_options: Vec::new(),
            count: 1,
            public: blob(ED25519, &public),
            private: Private::good().to_bytes(),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        [
            self.magic.clone(),
            string(&self.cipher),
            string(&self.kdf),
            string(&self.kdf_options),
            self.count.to_be_bytes().to_vec(),
            string(&self.public),
            string(&self.private),
        ]
        .concat()
    }
}

fn read_bytes(bytes: &[u8]) -> Result<String, OpenSshError> {
    let text = pem_lines(LABEL, WIDTH, bytes);
    private_from_text(text.as_bytes()).map(|(_, comment)| comment)
}

fn changed(change: impl FnOnce(&mut File)) -> Result<String, OpenSshError> {
    let mut file = File::good();
    change(&mut file);
    read_bytes(&file.to_bytes())
}

fn texts(kit: &mut Kit) {
    let bytes = File::good().to_bytes();
    let sample = pem_lines(LABEL, WIDTH, &bytes);
    let read = |text: &str| private_from_text(text.as_bytes());
    let not_pem = || malformed(NOT_PEM);
    kit.accepted("a file", read(&sample));
    kit.refused("text: empty", read(""), not_pem());
    kit.refused(
        "text: words before",
        read(&format!("alice\n{sample}")),
        not_pem(),
    );
    kit.refused(
        "text: two keys",
        read(&format!("{sample}{sample}")),
        not_pem(),
    );
    kit.refused(
        "text: no end",
        read(sample.split("-----END").next().unwrap_or_default()),
        not_pem(),
    );
    kit.refused(
        "text: lines of 64 letters",
        read(&pem_lines(LABEL, 64, &bytes)),
        not_pem(),
    );
    kit.refused(
        "text: a letter that is none",
        read(&replaced(&sample, "b3BlbnNz", "b3B!bnNz")),
        not_pem(),
    );
    kit.refused(
        "text: a key of PuTTY",
        read("PuTTY-User-Key-File-3: ssh-ed25519\n"),
        not_pem(),
    );
    let pkcs8 = pem_lines("PRIVATE KEY", WIDTH, &bytes);
    kit.refused(
        "text: the label of PKCS #8",
        read(&pkcs8),
        malformed("the PEM block is of another kind"),
    );
    let rsa = pem_lines("RSA PRIVATE KEY", WIDTH, &bytes);
    kit.refused(
        "text: the label of RSA",
        read(&rsa),
        malformed("the PEM block is of another kind"),
    );
    kit.refused(
        "text: 16 KiB and a byte",
        read(&"x".repeat(OPENSSH_LENGTH_MAX + 1)),
        |error| matches!(error, OpenSshError::TooLong { length: 16_385 }),
    );
}

fn files(kit: &mut Kit) {
    let magic = || malformed("the file does not begin with openssh-key-v1");
    let encrypted = |error: &OpenSshError| matches!(error, OpenSshError::Encrypted);
    kit.accepted("a file by hand", changed(|_| {}));
    kit.refused(
        "a magic of version 2",
        changed(|file| file.magic[13] = b'2'),
        magic(),
    );
    kit.refused(
        "a magic with a space for its NUL",
        changed(|file| file.magic[14] = b' '),
        magic(),
    );
    kit.refused("only half a magic", read_bytes(b"openssh"), magic());
    kit.refused(
        "only a magic",
        read_bytes(b"openssh-key-v1\0"),
        malformed(ENDS_EARLY),
    );
    kit.refused(
        "encrypted",
        changed(|file| {
            file.cipher = b"aes256-ctr".to_vec();
            file.kdf = b"bcrypt".to_vec();
            file.kdf_options = [string(&[9; 16]), vec![0, 0, 0, 16]].concat();
        }),
        encrypted,
    );
    kit.refused(
        "a cipher without a derivation",
        changed(|file| file.cipher = b"aes256-ctr".to_vec()),
        encrypted,
    );
    kit.refused(
        "a derivation without a cipher",
        changed(|file| file.kdf = b"bcrypt".to_vec()),
        encrypted,
    );
    kit.refused(
        "options without a passphrase",
        changed(|file| file.kdf_options = vec![0]),
        malformed("options without a passphrase"),
    );
    kit.refused("no keys", changed(|file| file.count = 0), |error| {
        matches!(error, OpenSshError::KeyCount(0))
    });
    kit.refused("two keys", changed(|file| file.count = 2), |error| {
        matches!(error, OpenSshError::KeyCount(2))
    });
    kit.refused(
        "2^32 - 1 keys",
        changed(|file| file.count = u32::MAX),
        |error| matches!(error, OpenSshError::KeyCount(u32::MAX)),
    );
    let public = |public: Vec<u8>| changed(|file| file.public = public);
    let own = signing_key(3).verifying_key().to_bytes();
    let other = signing_key(6).verifying_key().to_bytes();
    kit.refused(
        "an empty public key",
        public(Vec::new()),
        malformed(ENDS_EARLY),
    );
    kit.refused(
        "a public key of RSA",
        public(blob(b"ssh-rsa", &own)),
        other_type("ssh-rsa"),
    );
    kit.refused(
        "a public key of 31 bytes",
        public(blob(ED25519, &own[1..])),
        malformed(LENGTH),
    );
    kit.refused(
        "a byte behind the public key",
        public(longer(&blob(ED25519, &own), &[0])),
        malformed(TRAILING),
    );
    kit.refused(
        "another public key outside",
        public(blob(ED25519, &other)),
        |error| matches!(error, OpenSshError::PublicKeyDiffers),
    );
    kit.refused(
        "a weak public key",
        public(blob(ED25519, &[0; 32])),
        |error| matches!(error, OpenSshError::PublicKey(KeyRejected::Weak)),
    );
    let bytes = File::good().to_bytes();
    kit.refused(
        "a byte behind the file",
        read_bytes(&longer(&bytes, &[0])),
        malformed(TRAILING),
    );
    kit.refused(
        "a second private part",
        read_bytes(&longer(&bytes, &string(&[0; 8]))),
        malformed(TRAILING),
    );
    kit.refused(
        "the last byte left out",
        read_bytes(&shorter(&bytes, 1)),
        malformed(ENDS_EARLY),
    );
    let cipher_length = with(&bytes, 15, &[0xff; 4]);
    kit.refused(
        "a cipher's name of 4 GiB",
        read_bytes(&cipher_length),
        malformed(ENDS_EARLY),
    );
    kit.refused(
        "no private part",
        changed(|file| file.private.clear()),
        malformed(ENDS_EARLY),
    );
}

fn private_parts(kit: &mut Kit) {
    let part = |change: &dyn Fn(&mut Private)| {
        let mut private = Private::good();
        change(&mut private);
        changed(|file| file.private = private.to_bytes())
    };
    let check = |error: &OpenSshError| matches!(error, OpenSshError::CheckDiffers);
    let differs = |error: &OpenSshError| matches!(error, OpenSshError::PublicKeyDiffers);
    let padding = |error: &OpenSshError| matches!(error, OpenSshError::Padding);
    let comment = |error: &OpenSshError| matches!(error, OpenSshError::Comment);
    let other = signing_key(6).verifying_key().to_bytes();

    kit.refused(
        "check numbers that differ",
        part(&|private| private.checks[1] = 8),
        check,
    );
    kit.refused(
        "check numbers in two orders",
        part(&|private| private.checks[1] = 7 << 24),
        check,
    );
    kit.refused(
        "another type inside",
        part(&|private| private.key_type = b"ssh-rsa".to_vec()),
        other_type("ssh-rsa"),
    );
    kit.refused(
        "a type of P-256 inside",
        part(&|private| private.key_type = b"ecdsa-sha2-nistp256".to_vec()),
        other_type("ecdsa-sha2-nistp256"),
    );
    kit.refused(
        "no type inside",
        part(&|private| private.key_type.clear()),
        malformed(NO_TYPE),
    );
    kit.refused(
        "a type that is not text",
        part(&|private| private.key_type = vec![0xff; 4]),
        malformed(NO_TYPE),
    );
    kit.refused(
        "a type of 70 letters",
        part(&|private| private.key_type = [b"ssh-".to_vec(), vec![b'x'; 66]].concat()),
        malformed(NO_TYPE),
    );
    kit.refused(
        "a type that clears the screen",
        part(&|private| private.key_type = b"ssh-\x1b[2J".to_vec()),
        malformed(NO_TYPE),
    );
    kit.refused(
        "another public key inside",
        part(&|private| private.public = other.to_vec()),
        differs,
    );
    kit.refused(
        "no public key inside",
        part(&|private| private.public.clear()),
        differs,
    );
    kit.refused(
        "another public key behind the seed",
        part(&|private| private.seed_and_public = [[3; 32], other].concat()),
        differs,
    );
    kit.refused(
        "another seed",
        part(&|private| private.seed_and_public[0] ^= 1),
        differs,
    );
    kit.refused(
        "a seed without its public key",
        part(&|private| private.seed_and_public.truncate(32)),
        differs,
    );
    kit.refused(
        "a seed of 31 bytes",
        part(&|private| private.seed_and_public.truncate(31)),
        malformed("the private key is too short"),
    );
    kit.refused(
        "a comment of 1025 bytes",
        part(&|private| private.comment = vec![b'x'; 1025]),
        comment,
    );
    kit.refused(
        "a comment of two lines",
        part(&|private| private.comment = b"alice\nbob".to_vec()),
        comment,
    );
    kit.refused(
        "a comment that is not UTF-8",
        part(&|private| private.comment = vec![0xff]),
        comment,
    );
    kit.refused(
        "a comment with a delete",
        part(&|private| private.comment = vec![0x7f]),
        comment,
    );
    kit.refused(
        "a comment with a control of Latin-1",
        part(&|private| private.comment = vec![0xc2, 0x9b]),
        comment,
    );
    kit.refused(
        "a block of padding too many",
        part(&|private| private.padding = (6..14).collect()),
        padding,
    );
    kit.refused(
        "a byte of padding too many",
        part(&|private| private.padding = vec![6]),
        padding,
    );
    let good = Private::good();
    let (bytes, unpadded) = (good.to_bytes(), good.unpadded());
    assert_eq!(bytes[unpadded.len()..], [1, 2, 3, 4, 5]);
    let of = |bytes: Vec<u8>| changed(|file| file.private = bytes);
    kit.refused("no padding", of(unpadded.clone()), padding);
    kit.refused("padding of zeros", of(longer(&unpadded, &[0; 5])), padding);
    kit.refused(
        "padding from two upwards",
        of(with(&bytes, unpadded.len(), &[2, 3, 4, 5, 6])),
        padding,
    );
    kit.refused(
        "a bit of the padding",
        of(flipped(&bytes, bytes.len() - 1)),
        padding,
    );
    kit.refused(
        "cut off in the private part",
        of(bytes[..bytes.len() - 16].to_vec()),
        malformed(ENDS_EARLY),
    );
    let comment_at = unpadded.len() - good.comment.len() - 4;
    kit.refused(
        "no comment",
        of(spliced(
            &unpadded,
            comment_at..unpadded.len(),
            &[1, 2, 3, 4, 5, 6, 7, 8][..comment_at.next_multiple_of(8) - comment_at],
        )),
        malformed(ENDS_EARLY),
    );
    kit.refused(
        "a comment of 4 GiB",
        of(with(&bytes, comment_at, &[0xff; 4])),
        malformed(ENDS_EARLY),
    );
}

/// What is not written either.
fn comments(kit: &mut Kit) {
    let key = signing_key(3);
    let comment = |error: &OpenSshError| matches!(error, OpenSshError::Comment);
    let line = |comment: &str| public_to_line(&key.verifying_key(), comment);
    kit.refused(
        "writing a comment that is a second key",
        line("alice\nssh-ed25519 AAAA"),
        comment,
    );
    kit.refused(
        "writing a comment of 1025 bytes",
        line(&"x".repeat(1025)),
        comment,
    );
    kit.refused("writing a carriage return", line("alice\r"), comment);
    kit.refused(
        "writing a file with such a comment",
        private_to_text(&key, "a\0b"),
        comment,
    );
}
