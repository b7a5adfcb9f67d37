//! Recovery codes: for the day on which the authenticator app is gone.
//!
//! A code is 80 random bits as four groups of base32, `abcd-efgh-ijkl-mnop`; what is
//! kept of it is an HMAC. So many bits need no slow hash: nobody guesses them.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use sealmoot_crypto::digest::MacKey;
use sealmoot_crypto::random::RandomError;
use sealmoot_crypto::secret::{SecretArray, constant_time_equal};
use zeroize::Zeroizing;

use crate::opaque::LoginSecrets;

/// How many codes there are.
pub const RECOVERY_CODES: usize = 10;
/// Length of what is kept of a code, in bytes.
pub const TAG_LENGTH: usize = 32;
const CODE_LENGTH: usize = 10;
const TEXT_LENGTH: usize = 16;
const GROUP: usize = 4;

/// One code, on paper or just typed.
pub struct RecoveryCode(SecretArray<CODE_LENGTH>);

impl RecoveryCode {
    /// Reads a code as a person types it: in any case, with hyphens, blanks or
    /// nothing between the groups.
    #[must_use]
    pub fn parse(typed: &[u8]) -> Option<Self> {
        if typed.len() > super::CODE_LENGTH_MAX {
            return None;
        }
        let mut symbols = Zeroizing::new(Vec::with_capacity(TEXT_LENGTH));
        for byte in typed.iter().filter(|byte| !b" -".contains(byte)) {
            if symbols.len() == TEXT_LENGTH {
                return None;
            }
            symbols.push(byte.to_ascii_uppercase());
        }
        let bytes = Zeroizing::new(BASE32_NOPAD.decode(&symbols).ok()?);
        SecretArray::from_slice(&bytes).map(Self)
    }

    /// The code for a sheet of paper.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let symbols = Zeroizing::new(BASE32_NOPAD.encode(self.0.expose()));
        let mut text = Zeroizing::new(String::with_capacity(TEXT_LENGTH + TEXT_LENGTH / GROUP));
        for (index, symbol) in symbols.chars().enumerate() {
            if index > 0 && index % GROUP == 0 {
                text.push('-');
            }
            text.push(symbol.to_ascii_lowercase());
        }
        text
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RecoveryCode(redacted)")
    }
}

/// Makes a sheet of codes.
///
/// # Errors
/// When the random source fails.
pub(super) fn generate() -> Result<[RecoveryCode; RECOVERY_CODES], RandomError> {
    let mut codes = Vec::with_capacity(RECOVERY_CODES);
    for _ in 0..RECOVERY_CODES {
        codes.push(RecoveryCode(SecretArray::random()?));
    }
    Ok(codes.try_into().expect("as many were made"))
}

/// What turns a user's codes into what is kept of them.
pub(super) struct RecoveryKey(MacKey);

impl RecoveryKey {
    pub(super) fn of(secrets: &LoginSecrets, binding: &[u8]) -> Self {
        Self(MacKey::from_secret(
            &secrets.derive("recovery codes", binding),
        ))
    }

    pub(super) fn tag(&self, code: &RecoveryCode) -> [u8; TAG_LENGTH] {
        self.0.tag(&[code.0.expose()])
    }

    /// The place of a code on its sheet. All are looked at, in constant time each.
    pub(super) fn find(
        &self,
        code: &RecoveryCode,
        tags: &[[u8; TAG_LENGTH]; RECOVERY_CODES],
    ) -> Option<u8> {
        let tag = self.tag(code);
        let mut found = None;
        for (index, kept) in (0..).zip(tags) {
            if constant_time_equal(kept, &tag) {
                found = Some(index);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_reads_as_it_was_written() {
        for code in generate().expect("random") {
            let text = code.to_text();
            assert_eq!(text.len(), 19);
            let read = RecoveryCode::parse(text.as_bytes()).expect("a code");
            assert!(read.0.same_as(&code.0));
        }
        assert_eq!(
            *RecoveryCode(SecretArray::from_bytes([0; CODE_LENGTH])).to_text(),
            "aaaa-aaaa-aaaa-aaaa"
        );
    }

    #[test]
    fn what_is_no_code_is_refused() {
        for typed in [
            "",
            "aaaa-aaaa-aaaa-aaa",
            "aaaa-aaaa-aaaa-aaaaa",
            "aaaa-aaaa-aaaa-aaa1",
            "aaaa_aaaa_aaaa_aaaa",
            "aaaa-aaaa-aaaa-aaaé",
        ] {
            assert!(RecoveryCode::parse(typed.as_bytes()).is_none(), "{typed}");
        }
    }

    #[test]
    fn tags_differ_between_users() {
        let secrets = LoginSecrets::generate().expect("random");
        let code = RecoveryCode(SecretArray::random().expect("random"));
        let [alice, bob] = [b"alice", b"bobby"].map(|it| RecoveryKey::of(&secrets, it));
        assert_ne!(alice.tag(&code), bob.tag(&code));
        let mut sheet = [[0; TAG_LENGTH]; RECOVERY_CODES];
        sheet[7] = alice.tag(&code);
        assert_eq!(alice.find(&code, &sheet), Some(7));
        assert_eq!(bob.find(&code, &sheet), None);
    }
}
