//! Ed25519 keys in OpenSSH's formats: the line `ssh-ed25519 AAAA... comment` and the
//! unencrypted "OPENSSH PRIVATE KEY" (OpenSSH, `PROTOCOL.key`; RFC 8709).
//!
//! ```text
//! file    "openssh-key-v1" 0 || string cipher "none" || string kdf "none"
//!         || string kdf options "" || u32 number of keys 1
//!         || string public key || string private part
//! public  string "ssh-ed25519" || string key (32)
//! private u32 check || u32 the same check || string "ssh-ed25519"
//!         || string public key (32) || string seed (32) and public key (32)
//!         || string comment || 1, 2, 3, .. up to a multiple of 8 bytes
//! ```
//!
//! with big-endian numbers, a string being a 32-bit length and its bytes.
//!
//! The public key stands there three times. All three must be the one that comes of
//! the seed: software that signs with the seed and hashes another public key gives
//! its private key away with the signature.
//!
//! ```
//! use sealmoot_crypto::{hazmat::openssh, signature::SigningKey};
//! let key = SigningKey::generate()?;
//! let id_ed25519 = openssh::private_to_text(&key, "alice@example")?;
//! let id_ed25519_pub = openssh::public_to_line(&key.verifying_key(), "alice@example")?;
//!
//! let (key, _) = openssh::private_from_text(id_ed25519.expose())?;
//! let (public, comment) = openssh::public_from_line(&id_ed25519_pub)?;
//! assert_eq!((key.verifying_key(), comment.as_str()), (public, "alice@example"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use pem_rfc7468::{Base64Decoder, Base64Encoder};
use zeroize::Zeroizing;

use super::pem::{decode_block, encode_block};
use crate::random::{self, RandomError};
use crate::secret::{SecretArray, SecretBytes, constant_time_equal};
use crate::signature::{KeyRejected, SigningKey, VerifyingKey};

/// Most bytes of text that are looked at. An Ed25519 key has some 400; long RSA keys
/// still fit, so that they can be refused by name.
pub const OPENSSH_LENGTH_MAX: usize = 16 * 1024;
/// Most bytes of a comment.
pub const COMMENT_LENGTH_MAX: usize = 1024;

const LABEL: &str = "OPENSSH PRIVATE KEY";
/// `ssh-keygen` breaks lines after 70 characters, where RFC 7468 has 64.
const LINE_WIDTH: usize = 70;
const MAGIC: &[u8] = b"openssh-key-v1\0";
const ED25519: &str = "ssh-ed25519";
/// Block size of the cipher "none", to which the private part is padded.
const BLOCK: usize = 8;
/// Length of the public key with its type: two strings.
const PUBLIC_LENGTH: usize = 4 + ED25519.len() + 4 + 32;
/// The same in Base64, without padding because it is a multiple of three.
const PUBLIC_BASE64_LENGTH: usize = PUBLIC_LENGTH / 3 * 4;
const _: () = assert!(PUBLIC_LENGTH.is_multiple_of(3));

/// Why a text was not taken for a key, or a key not written.
///
/// ```
/// use sealmoot_crypto::hazmat::openssh::{self, OpenSshError};
/// match openssh::public_from_line("ssh-rsa AAAAB3NzaC1yc2E= bob@example") {
///     Err(OpenSshError::OtherKeyType(name)) => assert_eq!(name, "ssh-rsa"),
///     other => unreachable!("{other:?}"),
/// }
/// let no_key = openssh::private_from_text(b"my key");
/// assert!(matches!(no_key, Err(OpenSshError::Malformed(_))));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum OpenSshError {
    /// More than [`OPENSSH_LENGTH_MAX`] bytes.
    #[error("{length} bytes are more than the maximum of {OPENSSH_LENGTH_MAX}")]
    TooLong {
        /// How many there are.
        length: usize,
    },
    /// Not in OpenSSH's format.
    #[error("not an OpenSSH key: {0}")]
    Malformed(&'static str),
    /// The private key is encrypted.
    #[error("the private key is encrypted; `ssh-keygen -p -f FILE` removes the passphrase")]
    Encrypted,
    /// A key of another type: "ssh-rsa", "ecdsa-sha2-nistp256", or one kept in a
    /// hardware token, "sk-ssh-ed25519@openssh.com".
    #[error("a key of type {0:?}; only ssh-ed25519 is taken")]
    OtherKeyType(String),
    /// The file holds another number of keys than one.
    #[error("{0} keys in one file; only one is taken")]
    KeyCount(u32),
    /// The two check numbers differ. In an encrypted file that is how a wrong
    /// passphrase shows; here the file is damaged.
    #[error("the check numbers of the private key differ")]
    CheckDiffers,
    /// The public keys in the file are not all the one that belongs to the seed.
    #[error("the public keys in the file are not the private key's")]
    PublicKeyDiffers,
    /// The bytes up to a multiple of 8 are not 1, 2, 3, ..
    #[error("the padding of the private key is wrong")]
    Padding,
    /// A comment that is too long, has a control character or is not UTF-8. It would
    /// become a second line of a file of keys.
    #[error("a comment is one line of at most {COMMENT_LENGTH_MAX} bytes")]
    Comment,
    /// The public key is weak or has a second encoding.
    #[error(transparent)]
    PublicKey(#[from] KeyRejected),
    /// The check numbers could not be drawn.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// The key and the comment of a line `ssh-ed25519 AAAA... comment`, as in a `.pub`
/// file. Lines with options, as in `authorized_keys`, are refused: an option limits
/// the key, and would be lost.
///
/// # Errors
/// [`OpenSshError`].
///
/// ```
/// use sealmoot_crypto::{hazmat::openssh, signature::SigningKey};
/// let key = SigningKey::generate()?.verifying_key();
/// let line = openssh::public_to_line(&key, "alice@example")?;
/// let (again, comment) = openssh::public_from_line(&line)?;
/// assert_eq!((again, comment.as_str()), (key, "alice@example"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn public_from_line(line: &str) -> Result<(VerifyingKey, String), OpenSshError> {
    within_maximum(line.as_bytes())?;
    let line = line.strip_suffix('\n').unwrap_or(line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let mut fields = line.splitn(3, ' ');
    let key_type = fields.next().unwrap_or_default();
    if key_type != ED25519 {
        return Err(other_type(key_type.as_bytes()));
    }
    let base64 = fields.next().unwrap_or_default();
    let comment = checked_comment(fields.next().unwrap_or_default().as_bytes())?;
    if base64.len() != PUBLIC_BASE64_LENGTH {
        return Err(OpenSshError::Malformed("the key has another length"));
    }
    let mut blob = [0u8; PUBLIC_LENGTH];
    Base64Decoder::new(base64.as_bytes())
        .and_then(|mut decoder| decoder.decode(&mut blob).map(drop))
        .map_err(|_| OpenSshError::Malformed("the key is not Base64"))?;
    Ok((public_key(&blob)?, comment.to_owned()))
}

/// The line `ssh-ed25519 AAAA... comment`, without a line end; without a comment it
/// ends with the key.
///
/// # Errors
/// [`OpenSshError::Comment`].
///
/// ```
/// use sealmoot_crypto::{hazmat::openssh::{self, OpenSshError}, signature::SigningKey};
/// let key = SigningKey::generate()?.verifying_key();
/// let line = openssh::public_to_line(&key, "alice@example")?;
/// assert!(line.starts_with("ssh-ed25519 AAAA") && line.ends_with(" alice@example"));
/// // It would become a second line of a file of keys.
/// let refused = openssh::public_to_line(&key, "alice\nssh-ed25519 AAAA");
/// assert!(matches!(refused, Err(OpenSshError::Comment)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn public_to_line(key: &VerifyingKey, comment: &str) -> Result<String, OpenSshError> {
    const FITS: &str = "the room is the key's";
    let comment = checked_comment(comment.as_bytes())?;
    let mut room = [0u8; PUBLIC_BASE64_LENGTH];
    let mut encoder = Base64Encoder::new(&mut room).expect(FITS);
    encoder.encode(&public_blob(key)).expect(FITS);
    let base64 = encoder.finish().expect(FITS);
    Ok(match comment {
        "" => format!("{ED25519} {base64}"),
        _ => format!("{ED25519} {base64} {comment}"),
    })
}

/// The key and the comment of an unencrypted private key file.
///
/// # Errors
/// [`OpenSshError`].
///
/// ```
/// use sealmoot_crypto::{hazmat::openssh, signature::SigningKey};
/// let key = SigningKey::generate()?;
/// let text = openssh::private_to_text(&key, "alice@example")?;
/// let (again, comment) = openssh::private_from_text(text.expose())?;
/// assert_eq!(again.verifying_key(), key.verifying_key());
/// assert_eq!(comment, "alice@example");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn private_from_text(text: &[u8]) -> Result<(SigningKey, String), OpenSshError> {
    within_maximum(text)?;
    let (label, bytes) = decode_block(text, LINE_WIDTH)
        .ok_or(OpenSshError::Malformed("not exactly one block of PEM"))?;
    if label != LABEL {
        return Err(OpenSshError::Malformed("the PEM block is of another kind"));
    }
    let mut file = Fields(bytes.strip_prefix(MAGIC).ok_or(OpenSshError::Malformed(
        "the file does not begin with openssh-key-v1",
    ))?);
    let (cipher, kdf, kdf_options) = (file.string()?, file.string()?, file.string()?);
    if cipher != b"none" || kdf != b"none" {
        return Err(OpenSshError::Encrypted);
    }
    if !kdf_options.is_empty() {
        return Err(OpenSshError::Malformed("options without a passphrase"));
    }
    match file.u32()? {
        1 => {}
        count => return Err(OpenSshError::KeyCount(count)),
    }
    let public = public_key(file.string()?)?;
    let private = file.string()?;
    file.finish()?;
    private_part(private, &public)
}

/// An unencrypted private key file: to be kept from everybody else (0600), as
/// `ssh-keygen -N ""` writes it.
///
/// # Errors
/// [`OpenSshError::Comment`], [`OpenSshError::Random`].
///
/// ```
/// use sealmoot_crypto::{hazmat::openssh, signature::SigningKey};
/// let key = SigningKey::generate()?;
/// let text = openssh::private_to_text(&key, "")?;
/// assert!(text.expose().starts_with(b"-----BEGIN OPENSSH PRIVATE KEY-----\n"));
/// let (again, comment) = openssh::private_from_text(text.expose())?;
/// assert!(again.to_seed().same_as(&key.to_seed()) && comment.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn private_to_text(key: &SigningKey, comment: &str) -> Result<SecretBytes, OpenSshError> {
    let comment = checked_comment(comment.as_bytes())?;
    let check: [u8; 4] = random::array()?;
    let public = key.verifying_key();
    // One exact allocation, so that no half-grown copy of the key is left behind.
    let mut private = Zeroizing::new(Vec::with_capacity(256 + comment.len()));
    private.extend_from_slice(&check);
    private.extend_from_slice(&check);
    private.extend_from_slice(&public_blob(&public));
    private.extend_from_slice(&64u32.to_be_bytes());
    private.extend_from_slice(key.to_seed().expose());
    private.extend_from_slice(&public.to_bytes());
    push_string(&mut private, comment.as_bytes());
    for padding in 1.. {
        if private.len().is_multiple_of(BLOCK) {
            break;
        }
        private.push(padding);
    }
    let mut file = Zeroizing::new(Vec::with_capacity(256 + private.len()));
    file.extend_from_slice(MAGIC);
    push_string(&mut file, b"none");
    push_string(&mut file, b"none");
    push_string(&mut file, b"");
    file.extend_from_slice(&1u32.to_be_bytes());
    push_string(&mut file, &public_blob(&public));
    push_string(&mut file, &private);
    Ok(SecretBytes::new(encode_block(LABEL, LINE_WIDTH, &file)))
}

fn private_part(part: &[u8], public: &VerifyingKey) -> Result<(SigningKey, String), OpenSshError> {
    if !part.len().is_multiple_of(BLOCK) {
        return Err(OpenSshError::Padding);
    }
    let mut fields = Fields(part);
    if fields.u32()? != fields.u32()? {
        return Err(OpenSshError::CheckDiffers);
    }
    let key_type = fields.string()?;
    if key_type != ED25519.as_bytes() {
        return Err(other_type(key_type));
    }
    let copy = fields.string()?;
    let (seed, second_copy) = fields
        .string()?
        .split_at_checked(32)
        .ok_or(OpenSshError::Malformed("the private key is too short"))?;
    let seed = SecretArray::from_slice(seed).expect("it was split there");
    let key = SigningKey::from_seed(&seed);
    let own = key.verifying_key();
    let own_bytes = own.to_bytes();
    let both =
        constant_time_equal(copy, &own_bytes) && constant_time_equal(second_copy, &own_bytes);
    if *public != own || !both {
        return Err(OpenSshError::PublicKeyDiffers);
    }
    let comment = checked_comment(fields.string()?)?.to_owned();
    let padding = fields.0;
    if padding.len() >= BLOCK
        || padding
            .iter()
            .zip(1u8..)
            .any(|(byte, count)| *byte != count)
    {
        return Err(OpenSshError::Padding);
    }
    Ok((key, comment))
}

/// The Ed25519 key of a public key with its type.
fn public_key(blob: &[u8]) -> Result<VerifyingKey, OpenSshError> {
    let mut fields = Fields(blob);
    let key_type = fields.string()?;
    if key_type != ED25519.as_bytes() {
        return Err(other_type(key_type));
    }
    let key = <&[u8; 32]>::try_from(fields.string()?)
        .map_err(|_| OpenSshError::Malformed("the key has another length"))?;
    fields.finish()?;
    Ok(VerifyingKey::from_bytes(key)?)
}

fn public_blob(key: &VerifyingKey) -> [u8; PUBLIC_LENGTH] {
    let mut blob = [0u8; PUBLIC_LENGTH];
    let (key_type, rest) = blob.split_at_mut(4 + ED25519.len());
    key_type[3] = ED25519.len() as u8;
    key_type[4..].copy_from_slice(ED25519.as_bytes());
    rest[3] = 32;
    rest[4..].copy_from_slice(&key.to_bytes());
    blob
}

fn within_maximum(text: &[u8]) -> Result<(), OpenSshError> {
    match text.len() {
        length if length > OPENSSH_LENGTH_MAX => Err(OpenSshError::TooLong { length }),
        _ => Ok(()),
    }
}

/// The error that names another type of key, when that is what it is.
fn other_type(name: &[u8]) -> OpenSshError {
    const NAME_LENGTH_MAX: usize = 64;
    let known = [&b"ssh-"[..], b"ecdsa-", b"sk-"];
    match core::str::from_utf8(name) {
        Ok(name)
            if name.len() <= NAME_LENGTH_MAX
                && name.bytes().all(|byte| byte.is_ascii_graphic())
                && known
                    .iter()
                    .any(|prefix| name.as_bytes().starts_with(prefix)) =>
        {
            OpenSshError::OtherKeyType(name.to_string())
        }
        _ => OpenSshError::Malformed("no type of key where one should stand"),
    }
}

fn checked_comment(comment: &[u8]) -> Result<&str, OpenSshError> {
    core::str::from_utf8(comment)
        .ok()
        .filter(|text| text.len() <= COMMENT_LENGTH_MAX && !text.chars().any(char::is_control))
        .ok_or(OpenSshError::Comment)
}

fn push_string(bytes: &mut Vec<u8>, string: &[u8]) {
    let length = u32::try_from(string.len()).expect("keys and comments are short");
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(string);
}

/// Numbers and strings of SSH's encoding (RFC 4251, section 5), borrowed: no length
/// asks for memory.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn u32(&mut self) -> Result<u32, OpenSshError> {
        let (bytes, rest) = self
            .0
            .split_first_chunk()
            .ok_or(OpenSshError::Malformed("it ends early"))?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    fn string(&mut self) -> Result<&'a [u8], OpenSshError> {
        let length = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        let (string, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(OpenSshError::Malformed("it ends early"))?;
        self.0 = rest;
        Ok(string)
    }

    fn finish(self) -> Result<(), OpenSshError> {
        match self.0 {
            [] => Ok(()),
            _ => Err(OpenSshError::Malformed("bytes follow the end")),
        }
    }
}

#[cfg(test)]
mod tests;
