//! The first key of a chain: made where the chain is, sealed to the realm's audit key,
//! and forgotten there.
//!
//! The realm's audit key is an X25519 key that is derived from the storage key in the
//! realm's box, so whoever has the passphrase has it, and nobody else. Its public half
//! travels in each invite under the root's signature.

use sealmoot_crypto::hazmat::raw::import_box_key;
use sealmoot_crypto::kdf::{Label, derive_key};
use sealmoot_crypto::sealed_box::{self, Kem, OpenError, PrivateKey, PublicKey, SealError};
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::KeyId;

use crate::realm_id::RealmId;

/// Length of the realm's public audit key in bytes.
pub const AUDIT_KEY_LENGTH: usize = 32;
/// Length of a sealed first key in bytes.
pub const SEALED_FIRST_KEY_LENGTH: usize = Kem::X25519.overhead() + 32;

const LABEL: Label = Label::new("realm audit key");
const CONTEXT: &str = "audit/first-key";

/// What opens the first keys of a realm's chains.
#[must_use]
pub fn audit_key(storage_key: &SecretArray<32>, realm: &RealmId) -> PrivateKey {
    let secret = derive_key(storage_key, LABEL, realm.as_bytes());
    import_box_key(Kem::X25519, secret.expose())
        .expect("HKDF gives 32 bytes, and all zeros with probability 2^-256")
}

/// Seals a first key so that only the holder of the realm can open it, and only as that
/// of `owner`'s chain.
///
/// # Errors
/// When the random source fails.
pub fn seal(
    audit_key: &PublicKey,
    realm: &RealmId,
    owner: &KeyId,
    first_key: &SecretArray<32>,
) -> Result<Vec<u8>, SealError> {
    sealed_box::seal(audit_key, CONTEXT, &bound(realm, owner), first_key.expose())
}

/// Opens a first key.
///
/// # Errors
/// When it was sealed for another owner, to another realm, or changed.
pub fn open(
    audit_key: &PrivateKey,
    realm: &RealmId,
    owner: &KeyId,
    sealed: &[u8],
) -> Result<SecretArray<32>, OpenError> {
    let opened = sealed_box::open(audit_key, CONTEXT, &bound(realm, owner), sealed)?;
    SecretArray::from_slice(opened.expose()).ok_or(OpenError::Authentication)
}

fn bound(realm: &RealmId, owner: &KeyId) -> [u8; 64] {
    let mut bound = [0; 64];
    bound[..32].copy_from_slice(realm.as_bytes());
    bound[32..].copy_from_slice(owner.as_bytes());
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_key_opens_for_its_realm_and_its_owner_only() {
        let storage_key = SecretArray::from_bytes([3; 32]);
        let (realm, other_realm) = (RealmId::from_bytes([1; 32]), RealmId::from_bytes([2; 32]));
        let (owner, other) = (KeyId::from_bytes([4; 32]), KeyId::from_bytes([5; 32]));
        let key = audit_key(&storage_key, &realm);
        let first = SecretArray::from_bytes([6; 32]);
        let mut sealed = seal(&key.public_key(), &realm, &owner, &first).expect("sealed");
        assert_eq!(sealed.len(), SEALED_FIRST_KEY_LENGTH);
        let again = audit_key(&storage_key, &realm);
        assert!(
            open(&again, &realm, &owner, &sealed)
                .expect("opens")
                .same_as(&first)
        );
        assert!(open(&key, &realm, &other, &sealed).is_err());
        assert!(open(&key, &other_realm, &owner, &sealed).is_err());
        assert!(
            open(
                &audit_key(&storage_key, &other_realm),
                &realm,
                &owner,
                &sealed
            )
            .is_err()
        );
        sealed[40] ^= 1;
        assert!(open(&key, &realm, &owner, &sealed).is_err());
    }
}
