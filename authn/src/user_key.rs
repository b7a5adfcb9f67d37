//! A user's own signing key, sealed so that nothing but the password opens it.
//!
//! ```text
//! offset length
//!      0     24  nonce
//!     24     32  the key's seed, encrypted by XAES-256-GCM
//!     56     16  tag
//! ```
//!
//! The key of the cipher is derived from OPAQUE's export key, which no server ever
//! sees, for the user in the realm; both are associated data besides. All sealed keys
//! have one length.

use sealmoot_crypto::aead::{RecordKey, SealError};
use sealmoot_crypto::kdf;
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::{SigningKey, VerifyingKey};

use crate::name::Name;
use crate::opaque::{ExportKey, user_binding};
use crate::realm_id::RealmId;

/// Length of a sealed user key in bytes.
pub const SEALED_USER_KEY_LENGTH: usize = 32 + RecordKey::OVERHEAD;

/// Seals the key of `user` in `realm`.
///
/// # Errors
/// When the random source fails.
///
/// # Panics
/// Never: the length of what is sealed does not vary.
pub fn seal(
    export_key: &ExportKey,
    realm: &RealmId,
    user: &Name,
    user_key: &SigningKey,
) -> Result<[u8; SEALED_USER_KEY_LENGTH], SealError> {
    let binding = user_binding(realm, user);
    let sealed = cipher(export_key, &binding).seal(&binding, user_key.to_seed().expose())?;
    Ok(sealed.try_into().expect("a seed has 32 bytes"))
}

/// Opens the key of `user` in `realm`; `None` when it is not `expected`, or opens
/// under another password, name or realm, or was changed.
#[must_use]
pub fn open(
    export_key: &ExportKey,
    realm: &RealmId,
    user: &Name,
    sealed: &[u8],
    expected: &VerifyingKey,
) -> Option<SigningKey> {
    if sealed.len() != SEALED_USER_KEY_LENGTH {
        return None;
    }
    let binding = user_binding(realm, user);
    let mut buffer = SecretArray::<SEALED_USER_KEY_LENGTH>::from_slice(sealed)?;
    let seed = cipher(export_key, &binding)
        .open(&binding, buffer.expose_mut())
        .ok()?;
    let key = SigningKey::from_seed(&SecretArray::from_slice(seed)?);
    (key.verifying_key() == *expected).then_some(key)
}

fn cipher(export_key: &ExportKey, binding: &[u8]) -> RecordKey {
    RecordKey::from_secret(&kdf::derive(export_key.expose(), "user key", binding))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    #[test]
    fn it_opens_for_its_user_in_its_realm_under_its_password_only() {
        let realm = RealmId::from_bytes([1; 32]);
        let (key, other) = (
            SigningKey::generate().expect("random"),
            SigningKey::generate().expect("random"),
        );
        let expected = key.verifying_key();
        let export_key = ExportKey::random().expect("random");
        let sealed = seal(&export_key, &realm, &name("alice"), &key).expect("sealed");
        let opens = |export_key: &ExportKey, realm: &RealmId, user: &str, sealed: &[u8]| {
            open(export_key, realm, &name(user), sealed, &expected).is_some()
        };
        assert!(opens(&export_key, &realm, "alice", &sealed));
        let stranger = ExportKey::random().expect("random");
        assert!(!opens(&stranger, &realm, "alice", &sealed));
        assert!(!opens(
            &export_key,
            &RealmId::from_bytes([2; 32]),
            "alice",
            &sealed
        ));
        assert!(!opens(&export_key, &realm, "bob", &sealed));
        for at in 0..sealed.len() {
            let mut changed = sealed;
            changed[at] ^= 1;
            assert!(!opens(&export_key, &realm, "alice", &changed), "{at}");
            assert!(!opens(&export_key, &realm, "alice", &sealed[..at]), "{at}");
        }
        let unexpected = other.verifying_key();
        assert!(open(&export_key, &realm, &name("alice"), &sealed, &unexpected).is_none());
    }
}
