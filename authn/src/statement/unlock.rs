//! That an account's failed attempts shall be forgotten.

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};

use super::{Body, read_name};
use crate::name::Name;

/// Kind *unlock*: the root has the nodes forget what strangers tried at an account,
/// up to when it was issued. A node takes it once ([`crate::throttle`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlock {
    /// The account.
    pub name: Name,
}

impl Unlock {
    /// What stands before the statement where records travel: no user record begins
    /// so.
    pub const TAG: u8 = 0x10;
}

impl Body for Unlock {
    const KIND: u8 = 10;
    const DOMAIN: &'static str = "statement/unlock";

    fn encode(&self, writer: &mut Writer) {
        writer.text(self.name.as_str());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        Ok(Self {
            name: read_name(reader)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use sealmoot_crypto::signature::SigningKey;

    use super::*;
    use crate::realm_id::RealmId;
    use crate::statement::{Claim, StatementError, User, Verified};

    #[test]
    fn an_unlocking_is_believed_from_the_root_in_its_realm_only() {
        let key = || SigningKey::generate().expect("random");
        let (root, user) = (key(), key());
        let realm = RealmId::without_heir(&root.verifying_key());
        let body = Unlock {
            name: "alice".parse().expect("a name"),
        };
        let issued = Verified::issue(&realm, &root, 5, body.clone());
        let claim = |bytes: &[u8]| Claim::<Unlock>::decode(bytes).expect("well formed");
        let verified = claim(issued.bytes()).verify(&realm, &root.verifying_key());
        let verified = verified.expect("the root's");
        assert_eq!((verified.body(), verified.issued_ms()), (&body, 5));

        let forged = Verified::issue(&realm, &user, 5, body.clone());
        let judged = claim(forged.bytes()).verify(&realm, &root.verifying_key());
        assert_eq!(judged.err(), Some(StatementError::WrongIssuer));
        let elsewhere = RealmId::without_heir(&user.verifying_key());
        let foreign = Verified::issue(&elsewhere, &root, 5, body);
        let judged = claim(foreign.bytes()).verify(&realm, &root.verifying_key());
        assert_eq!(judged.err(), Some(StatementError::WrongRealm));
        let mut flipped = issued.bytes().to_vec();
        flipped[70] ^= 1;
        let judged = claim(&flipped).verify(&realm, &root.verifying_key());
        assert_eq!(judged.err(), Some(StatementError::BadSignature));

        for length in 0..issued.bytes().len() {
            assert!(Claim::<Unlock>::decode(&issued.bytes()[..length]).is_err());
        }
        assert!(Claim::<User>::decode(issued.bytes()).is_err());
        let mut other = issued.bytes().to_vec();
        other[0] = User::KIND;
        assert!(Claim::<Unlock>::decode(&other).is_err());
    }
}
