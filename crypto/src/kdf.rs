//! Keys from keys: HKDF-SHA-256 (RFC 5869) with labels that keep uses apart.
//!
//! A label names what a key is for and is fixed in the program; `info` names the
//! instance (a file, a connection) and may be public. Different pairs give
//! independent keys, because the label carries its length. The secret that keys are
//! derived from is used for nothing else, and is never a password: derivation is
//! fast, so guessing passwords would be (see [`crate::passphrase_box`]).
//!
//! HKDF with a raw salt and info, as other systems' protocols prescribe it, stands in
//! [`crate::hazmat::standard`].
//!
//! ```
//! use sealmoot_crypto::{kdf::{Label, derive_key}, secret::SecretArray};
//! const SEAL: Label = Label::new("seal segments");
//! const NAME: Label = Label::new("name segments");
//! let root = SecretArray::random()?; // the one secret to be stored
//! let (seal_7, seal_8) = (derive_key(&root, SEAL, b"7"), derive_key(&root, SEAL, b"8"));
//! let name_7 = derive_key(&root, NAME, b"7");
//! assert!(!seal_7.same_as(&seal_8) && !seal_7.same_as(&name_7));
//! assert!(seal_7.same_as(&derive_key(&root, SEAL, b"7")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroize;

use crate::secret::{SecretArray, scrubbed};

/// Most bytes that one call expands to: HKDF's 255 blocks (RFC 5869, section 2.3).
pub const EXPANDED_LENGTH_MAX: usize = 255 * 32;

/// More output was asked for than HKDF gives.
///
/// ```
/// use sealmoot_crypto::kdf::{EXPANDED_LENGTH_MAX, ExpandTooLong, Label, expand_into};
/// use sealmoot_crypto::secret::SecretArray;
/// let mut output = vec![7; EXPANDED_LENGTH_MAX + 1];
/// let refused = expand_into(&SecretArray::random()?, Label::new("pads"), b"", &mut output);
/// assert_eq!(refused, Err(ExpandTooLong { length: 8161, maximum: 8160 }));
/// assert!(output.iter().all(|byte| *byte == 0)); // nothing to go on with by mistake
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes are more than the {maximum} that HKDF gives")]
pub struct ExpandTooLong {
    /// What was asked for.
    pub length: usize,
    /// What can be had: 255 blocks of the hash.
    pub maximum: usize,
}

/// What a derived key is for: 1 to 255 bytes of text, fixed in the program.
///
/// In a constant its length is checked when the program is compiled:
///
/// ```
/// use sealmoot_crypto::kdf::Label;
/// const LOG_SEGMENT: Label = Label::new("log segment");
/// ```
///
/// ```compile_fail
/// use sealmoot_crypto::kdf::Label;
/// const EMPTY: Label = Label::new("");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Label(&'static str);

impl Label {
    /// Takes a text.
    ///
    /// # Panics
    /// When `text` is empty or longer than 255 bytes; in a constant that is an
    /// error of the compiler.
    ///
    /// ```
    /// use sealmoot_crypto::{kdf::{Label, derive_key}, secret::SecretArray};
    /// const LOG: Label = Label::new("log");
    /// const LOGIN: Label = Label::new("login");
    /// let root = SecretArray::random()?;
    /// // A label carries its length, so it cannot run into what follows.
    /// assert!(!derive_key(&root, LOG, b"in").same_as(&derive_key(&root, LOGIN, b"")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn new(text: &'static str) -> Self {
        assert!(!text.is_empty(), "a label says what the key is for");
        assert!(text.len() <= 255, "a label has at most 255 bytes");
        Self(text)
    }

    /// The text.
    ///
    /// ```
    /// use sealmoot_crypto::kdf::Label;
    /// const LOG_SEGMENT: Label = Label::new("log segment");
    /// assert_eq!(LOG_SEGMENT.text(), "log segment");
    /// ```
    #[must_use]
    pub const fn text(self) -> &'static str {
        self.0
    }
}

/// A 256-bit key: `HKDF-SHA-256(salt = none, ikm = secret, info = label)`, where
/// the label is `"sealmoot/v1/" || len(context) || context || info`.
///
/// `context` names the use and is fixed in the code, `info` names the instance
/// (a file, a connection) and may be public. Different pairs give independent
/// keys, because the context carries its length.
///
/// Where the secret is a [`SecretArray`] use [`derive_key`], whose label is checked
/// when the program is compiled.
///
/// # Panics
/// When `context` is longer than 255 bytes, which only a change of the code can
/// cause.
///
/// ```
/// let root = [7u8; 32];
/// let a = sealmoot_crypto::kdf::derive(&root, "log segment", b"1");
/// let b = sealmoot_crypto::kdf::derive(&root, "log segment", b"2");
/// assert!(!a.same_as(&b));
/// ```
#[must_use]
pub fn derive(secret: &[u8], context: &'static str, info: &[u8]) -> SecretArray<32> {
    let length = u8::try_from(context.len()).expect("contexts are short literals");
    let mut key = SecretArray::zeros();
    scrubbed(|| {
        Hkdf::<Sha256>::new(None, secret)
            .expand_multi_info(
                &[b"sealmoot/v1/", &[length], context.as_bytes(), info],
                key.expose_mut(),
            )
            .expect("32 bytes are within HKDF's 255 blocks");
    });
    key
}

/// A 256-bit key from a key: [`derive()`] with a [`Label`] for its context.
///
/// ```
/// use sealmoot_crypto::{kdf::{Label, derive_key}, secret::SecretArray};
/// const LOG_SEGMENT: Label = Label::new("log segment");
/// let root = SecretArray::random()?;
/// let first = derive_key(&root, LOG_SEGMENT, &1u64.to_le_bytes());
/// let second = derive_key(&root, LOG_SEGMENT, &2u64.to_le_bytes());
/// assert!(!first.same_as(&second));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn derive_key(secret: &SecretArray<32>, label: Label, info: &[u8]) -> SecretArray<32> {
    derive(secret.expose(), label.0, info)
}

/// Fills `output` from a key:
/// `HKDF-SHA-256(salt = none, ikm = secret, info = label)`, where the label is
/// `"sealmoot/v1 expand/" || len(label) || label || len(output) || info` with the
/// output's length in 64 bits, little-endian.
///
/// HKDF's short outputs are the beginnings of its long ones. Here the length is part
/// of what is derived, so outputs of different lengths have nothing in common, and
/// none is a [`derive_key`] of the same label.
///
/// # Errors
/// [`ExpandTooLong`] above [`EXPANDED_LENGTH_MAX`]; `output` is then wiped.
///
/// ```
/// use sealmoot_crypto::{kdf::{Label, expand_into}, secret::SecretArray};
/// const PADS: Label = Label::new("pads");
/// let mut pads = SecretArray::from_bytes([0; 96]);
/// expand_into(&SecretArray::random()?, PADS, b"session 3", pads.expose_mut())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn expand_into(
    secret: &SecretArray<32>,
    label: Label,
    info: &[u8],
    output: &mut [u8],
) -> Result<(), ExpandTooLong> {
    let label_length = u8::try_from(label.0.len()).expect("checked when the label was made");
    let length = output.len();
    Hkdf::<Sha256>::new(None, secret.expose())
        .expand_multi_info(
            &[
                b"sealmoot/v1 expand/",
                &[label_length],
                label.0.as_bytes(),
                &(length as u64).to_le_bytes(),
                info,
            ],
            output,
        )
        .map_err(|_| {
            // A caller who overlooks the error must not go on with what stood there.
            output.zeroize();
            ExpandTooLong {
                length,
                maximum: EXPANDED_LENGTH_MAX,
            }
        })
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;
    use crate::testing::hex;

    const A: Label = Label::new("a");

    fn root() -> SecretArray<32> {
        SecretArray::from_bytes([1; 32])
    }

    fn expanded(label: Label, info: &[u8], length: usize) -> Vec<u8> {
        let mut output = vec![0; length];
        expand_into(&root(), label, info, &mut output).expect("short enough");
        output
    }

    #[test]
    fn context_and_info_do_not_run_into_each_other() {
        let root = [1u8; 32];
        assert!(!derive(&root, "ab", b"c").same_as(&derive(&root, "a", b"bc")));
        assert_ne!(
            expanded(Label::new("ab"), b"c", 32),
            expanded(Label::new("a"), b"bc", 32)
        );
    }

    // Computed once by an independent implementation (Python's hmac and hashlib), so
    // that neither label changes unseen: what was sealed under derived keys would no
    // longer open.
    #[test]
    fn the_labels_are_what_they_were() {
        assert_eq!(
            hex(derive_key(&root(), A, b"info").expose()),
            "e92a57fcaaa544fcf19476acb2eb7224ffcb8eaf376fc8a43b6fd652c67f3619"
        );
        assert_eq!(
            hex(&expanded(A, b"info", 40)),
            "9aa0d8edda9d4a8204f5439ad597a43c598960b6092dc061c44119baf916c31477f8b3938d9ef3c4"
        );
    }

    #[test]
    fn a_label_is_a_context() {
        assert!(derive_key(&root(), A, b"x").same_as(&derive(root().expose(), "a", b"x")));
        assert_eq!(A.text(), "a");
    }

    #[test]
    fn no_output_is_the_beginning_of_another() {
        let outputs: Vec<Vec<u8>> = [16, 31, 32, 33, 64, 8160]
            .into_iter()
            .map(|length| expanded(A, b"x", length))
            .collect();
        let key = derive_key(&root(), A, b"x");
        for (at, output) in outputs.iter().enumerate() {
            assert_ne!(output[..16], key.expose()[..16]);
            for other in &outputs[at + 1..] {
                assert_ne!(output[..16], other[..16]);
            }
        }
    }

    #[test]
    fn more_than_255_blocks_are_refused_and_wiped() {
        assert_eq!(expanded(A, b"", EXPANDED_LENGTH_MAX).len(), 8160);
        assert!(expanded(A, b"", 0).is_empty());
        let mut output = vec![0xff; EXPANDED_LENGTH_MAX + 1];
        assert_eq!(
            expand_into(&root(), A, b"", &mut output),
            Err(ExpandTooLong {
                length: 8161,
                maximum: 8160
            })
        );
        assert!(output.iter().all(|byte| *byte == 0));
    }

    #[test]
    #[should_panic(expected = "at most 255 bytes")]
    fn a_label_above_255_bytes_panics() {
        let text: &'static str = Box::leak("x".repeat(256).into_boxed_str());
        let _ = Label::new(text);
    }
}
