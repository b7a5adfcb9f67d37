//! Time-based one-time passwords (RFC 6238 over RFC 4226): HMAC-SHA-1, six digits,
//! thirty seconds, which is what authenticator apps agree on.
//!
//! SHA-1 is broken where collisions matter; HMAC rests on less, and of the app's side
//! there is no choice (RFC 6238, section 1.2; RFC 6194, section 3.3).

use std::fmt;

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sealmoot_crypto::random::RandomError;
use sealmoot_crypto::secret::{SecretArray, constant_time_equal};
use sha1::Sha1;
use zeroize::Zeroizing;

use crate::name::Name;

/// Length of a secret in bytes: an output of the hash (RFC 4226, section 4, R6).
pub const SECRET_LENGTH: usize = 20;
/// How many digits a code has.
pub const CODE_DIGITS: usize = 6;
/// How long a code is shown, in milliseconds (RFC 6238, section 4.1).
pub const STEP_MS: u64 = 30_000;
/// How many steps a clock may be off, either way, or a code be on its way (RFC 6238,
/// section 5.2).
pub const STEPS_OFF_MAX: u64 = 1;

const MODULUS: u32 = 10_u32.pow(CODE_DIGITS as u32);

/// The secret that an authenticator app and the nodes share.
pub struct TotpKey(SecretArray<SECRET_LENGTH>);

impl TotpKey {
    /// Makes a secret.
    ///
    /// # Errors
    /// When the random source fails.
    pub fn generate() -> Result<Self, RandomError> {
        Ok(Self(SecretArray::random()?))
    }

    /// The key with this secret.
    #[must_use]
    pub fn from_secret(secret: SecretArray<SECRET_LENGTH>) -> Self {
        Self(secret)
    }

    pub(super) fn expose(&self) -> &[u8; SECRET_LENGTH] {
        self.0.expose()
    }

    /// The code that an app shows at a time, in milliseconds since 1970.
    #[must_use]
    pub fn code_at(&self, now_ms: u64) -> Zeroizing<String> {
        Zeroizing::new(format!("{:06}", self.number(now_ms / STEP_MS)))
    }

    /// The step around `now_ms` whose code is `number`: the latest of them, which is
    /// the one to count as used.
    pub(super) fn step_of(&self, number: u32, now_ms: u64) -> Option<u64> {
        let now = now_ms / STEP_MS;
        let steps = now.saturating_sub(STEPS_OFF_MAX)..=now.saturating_add(STEPS_OFF_MAX);
        let mut found = None;
        // All are looked at: which of them it was is nobody's business.
        for step in steps {
            let expected = self.number(step).to_be_bytes();
            if constant_time_equal(&expected, &number.to_be_bytes()) {
                found = Some(step);
            }
        }
        found
    }

    /// The secret as an app takes it in by hand: base32 (RFC 4648, section 6).
    #[must_use]
    pub fn to_base32(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE32_NOPAD.encode(self.expose()))
    }

    /// The `otpauth://` address that apps read from a picture of it.
    #[must_use]
    pub fn to_uri(&self, realm: &Name, user: &Name) -> Zeroizing<String> {
        // Names need no escape in an address.
        Zeroizing::new(format!(
            "otpauth://totp/{realm}:{user}?secret={}&issuer={realm}",
            *self.to_base32()
        ))
    }

    fn number(&self, step: u64) -> u32 {
        truncated(&self.tag(step)) % MODULUS
    }

    fn tag(&self, step: u64) -> [u8; 20] {
        let mut mac =
            Hmac::<Sha1>::new_from_slice(self.expose()).expect("HMAC takes a key of any length");
        mac.update(&step.to_be_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for TotpKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TotpKey(redacted)")
    }
}

/// Dynamic truncation (RFC 4226, section 5.3).
fn truncated(tag: &[u8; 20]) -> u32 {
    let offset = usize::from(tag[19] & 0xf);
    let bytes: [u8; 4] = tag[offset..offset + 4]
        .try_into()
        .expect("an offset of at most 15 leaves four bytes");
    u32::from_be_bytes(bytes) & 0x7fff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published() -> TotpKey {
        TotpKey::from_secret(SecretArray::from_bytes(*b"12345678901234567890"))
    }

    #[test]
    fn published_vectors_of_rfc_4226() {
        // Appendix D: truncated value and code of counters 0 to 9.
        const VECTORS: [(u32, u32); 10] = [
            (1_284_755_224, 755_224),
            (1_094_287_082, 287_082),
            (137_359_152, 359_152),
            (1_726_969_429, 969_429),
            (1_640_338_314, 338_314),
            (868_254_676, 254_676),
            (1_918_287_922, 287_922),
            (82_162_583, 162_583),
            (673_399_871, 399_871),
            (645_520_489, 520_489),
        ];
        for (counter, (value, code)) in (0..).zip(VECTORS) {
            assert_eq!(truncated(&published().tag(counter)), value);
            assert_eq!(published().number(counter), code);
        }
    }

    #[test]
    fn published_vectors_of_rfc_6238() {
        // Appendix B, SHA-1: eight digits, of which six are ours.
        const VECTORS: [(u64, u32); 6] = [
            (59, 94_287_082),
            (1_111_111_109, 7_081_804),
            (1_111_111_111, 14_050_471),
            (1_234_567_890, 89_005_924),
            (2_000_000_000, 69_279_037),
            (20_000_000_000, 65_353_130),
        ];
        for (seconds, code) in VECTORS {
            let step = seconds * 1000 / STEP_MS;
            assert_eq!(truncated(&published().tag(step)) % 100_000_000, code);
            let six = format!("{:06}", code % MODULUS);
            assert_eq!(published().code_at(seconds * 1000).as_str(), six);
        }
    }

    #[test]
    fn an_app_reads_the_address() {
        let (realm, user) = ("acme".parse(), "alice".parse());
        let uri = published().to_uri(&realm.expect("a name"), &user.expect("a name"));
        assert_eq!(
            uri.as_str(),
            "otpauth://totp/acme:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=acme"
        );
    }

    #[test]
    fn time_before_the_first_step_is_no_fault() {
        let key = published();
        let number = key.number(0);
        assert_eq!(key.step_of(number, 0), Some(0));
        assert_eq!(key.step_of(key.number(5), 0), None);
        let last = u64::MAX / STEP_MS;
        assert_eq!(key.step_of(key.number(last + 1), u64::MAX), Some(last + 1));
    }
}
