//! The one string a client has to pin.

use std::fmt;
use std::str::FromStr;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32m, Hrp};
use sealmoot_crypto::signature::{KeyId, VerifyingKey};

use crate::roots::Inception;

const PREFIX: Hrp = Hrp::parse_unchecked("moot");

/// A text that is no realm id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a realm id (moot1…, 63 characters): a character is wrong or missing")]
pub struct BadRealmId;

/// A realm's id, written in bech32m (BIP 350) with the prefix `moot`. It commits to the
/// realm's first root key and to the heir of that one ([`crate::roots`]).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RealmId(KeyId);

impl RealmId {
    /// The id of the realm whose root is `root` and that has no heir.
    #[must_use]
    pub fn without_heir(root: &VerifyingKey) -> Self {
        Inception::without_heir(*root).realm()
    }

    /// The same 32 bytes as an identity, where one is asked for.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.0
    }

    /// The identity's 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The id from its 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(KeyId::from_bytes(bytes))
    }

    /// The id's beginning and end, enough to tell realms apart by eye.
    #[must_use]
    pub fn short(&self) -> String {
        let text = self.to_string();
        format!("{}…{}", &text[..8], &text[text.len() - 4..])
    }
}

impl fmt::Display for RealmId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = bech32::encode::<Bech32m>(PREFIX, self.0.as_bytes())
            .expect("32 bytes are within bech32m's length");
        formatter.write_str(&text)
    }
}

impl fmt::Debug for RealmId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

impl FromStr for RealmId {
    type Err = BadRealmId;

    fn from_str(text: &str) -> Result<Self, BadRealmId> {
        let parsed = CheckedHrpstring::new::<Bech32m>(text).map_err(|_| BadRealmId)?;
        if parsed.hrp() != PREFIX {
            return Err(BadRealmId);
        }
        let bytes: Vec<u8> = parsed.byte_iter().collect();
        let id = Self::from_bytes(bytes.try_into().map_err(|_| BadRealmId)?);
        // One form only: upper case and loose padding bits are other texts.
        if id.to_string() != text {
            return Err(BadRealmId);
        }
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text_and_no_typo_does() {
        let id = RealmId::from_bytes([7; 32]);
        let text = id.to_string();
        assert!(text.starts_with("moot1") && text.len() == 63, "{text}");
        assert_eq!(text.parse(), Ok(id));
        for at in 0..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'q' { b'p' } else { b'q' };
            let wrong = String::from_utf8(wrong).expect("ASCII");
            if wrong != text {
                assert_eq!(wrong.parse::<RealmId>(), Err(BadRealmId), "{wrong}");
            }
            assert_eq!(text[..at].parse::<RealmId>(), Err(BadRealmId));
        }
        assert_eq!(text.to_uppercase().parse::<RealmId>(), Err(BadRealmId));
    }
}
