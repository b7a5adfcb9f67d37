//! A second factor beside a password: codes by the clock, and codes on paper.
//!
//! Whoever enrols gets a secret for an authenticator app ([`totp`], RFC 6238) and ten
//! recovery codes ([`recovery`]). What checks them is sealed in the user statement
//! under a key that is derived from the realm's login secrets: with either alone,
//! records or login secrets, nobody makes a code.
//!
//! ```text
//! offset length  in the statement
//!      0      8  id of this enrolment, random
//!      8     24  nonce
//!     32    341  sealed, by XAES-256-GCM:
//!                  1  version, 1
//!                 20  secret of the time-based codes
//!                320  ten times HMAC-SHA-256 of a recovery code
//!    373     16  tag
//! ```
//!
//! Realm, user and id are in the derivation of the keys and in the associated data.
//!
//! No code counts twice: [`used`] is what nodes remember of the codes that were used,
//! and how two nodes put together what they know.
//!
//! ```
//! use sealmoot_authn::opaque::LoginSecrets;
//! use sealmoot_authn::second_factor::{SecondFactor, Used};
//! # use sealmoot_authn::realm_id::RealmId;
//! # let (realm, alice) = (RealmId::from_bytes([1; 32]), "alice".parse()?);
//! let secrets = LoginSecrets::generate()?;
//! let (sealed, enrolled) = SecondFactor::enrol(&secrets, &realm, &alice)?;
//! let now_ms = 1_800_000_000_000;
//! let code = enrolled.totp.code_at(now_ms);
//!
//! let factor = SecondFactor::open(&secrets, &realm, &alice, &sealed)?;
//! let mut used = Used::default();
//! let proven = factor.prove(code.as_bytes(), &used, now_ms)?;
//! used.take(proven, now_ms);
//! assert!(factor.prove(code.as_bytes(), &used, now_ms).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod recovery;
pub mod totp;
pub mod used;

use std::fmt;

use sealmoot_crypto::aead::{RecordKey, SealError};
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::random::RandomError;
use sealmoot_crypto::secret::{SecretArray, SecretBytes};

use crate::name::Name;
use crate::opaque::{LoginSecrets, user_binding};
use crate::realm_id::RealmId;
use crate::statement::CredentialId;

use recovery::{RECOVERY_CODES, RecoveryCode, RecoveryKey};
use totp::{CODE_DIGITS, TotpKey};

pub use used::{Proven, Used};

const VERSION: u8 = 1;
const CONTENT_LENGTH: usize = 1 + totp::SECRET_LENGTH + RECOVERY_CODES * recovery::TAG_LENGTH;
/// Length of what is sealed of a second factor, in bytes.
const SEALED_LENGTH: usize = CONTENT_LENGTH + RecordKey::OVERHEAD;
/// Longest text that is looked at as a code, in bytes.
pub const CODE_LENGTH_MAX: usize = 32;

/// Why a second factor was not enrolled or not opened.
#[derive(Debug, thiserror::Error)]
pub enum SecondFactorError {
    /// It was sealed for another user or realm or by other login secrets, or changed.
    #[error("the second factor is damaged, or belongs to another user or realm")]
    Closed,
    /// What was sealed is of another version.
    #[error("the second factor is malformed: {0}")]
    Malformed(#[from] EncodingError),
    /// It could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// A second factor as it stands in the user statement: only the nodes open it.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecondFactor {
    id: CredentialId,
    sealed: [u8; SEALED_LENGTH],
}

/// Why a code was not taken. To a peer all of it is one refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// It is neither six digits nor a recovery code.
    #[error("not a code: six digits, or a recovery code")]
    Malformed,
    /// No such code holds now.
    #[error("wrong code")]
    Wrong,
    /// It was used before, or a later one was.
    #[error("the code was used already")]
    UsedAlready,
    /// There is no room to remember that it was used: a code that could be used twice
    /// is not taken at all.
    #[error("no more used codes can be remembered")]
    NoRoom,
}

/// What the user takes home, shown once.
pub struct Enrolled {
    /// For the authenticator app.
    pub totp: TotpKey,
    /// For a sheet of paper; each works once.
    pub recovery: [RecoveryCode; RECOVERY_CODES],
}

impl Enrolled {
    /// Whether an app that was given the secret shows this code around `now_ms`: to
    /// find out before anything depends on it.
    #[must_use]
    pub fn confirms(&self, typed: &[u8], now_ms: u64) -> bool {
        digits(typed).is_some_and(|number| self.totp.step_of(number, now_ms).is_some())
    }
}

/// What a node checks codes by.
pub struct SecondFactor {
    id: CredentialId,
    totp: TotpKey,
    recovery_key: RecoveryKey,
    recovery: [[u8; recovery::TAG_LENGTH]; RECOVERY_CODES],
}

impl SecondFactor {
    /// Makes a second factor for `user` of `realm`: what goes into the user's
    /// statement, and what the user takes home.
    ///
    /// # Errors
    /// [`SecondFactorError::Random`], [`SecondFactorError::Seal`].
    ///
    /// # Panics
    /// Never: the length of what is sealed does not vary.
    pub fn enrol(
        secrets: &LoginSecrets,
        realm: &RealmId,
        user: &Name,
    ) -> Result<(SealedSecondFactor, Enrolled), SecondFactorError> {
        let id = CredentialId::random()?;
        let binding = binding(realm, user, id);
        let totp = TotpKey::generate()?;
        let recovery = recovery::generate()?;
        let recovery_key = RecoveryKey::of(secrets, &binding);
        let mut writer = Writer::with_capacity(CONTENT_LENGTH);
        writer.u8(VERSION);
        writer.fixed(totp.expose());
        for code in &recovery {
            writer.fixed(&recovery_key.tag(code));
        }
        let content = SecretBytes::new(writer.finish());
        let sealed = cipher(secrets, &binding).seal(&binding, content.expose())?;
        let sealed = sealed
            .try_into()
            .expect("a second factor has one length only");
        let sealed = SealedSecondFactor { id, sealed };
        Ok((sealed, Enrolled { totp, recovery }))
    }

    /// Opens what the statement of `user` holds.
    ///
    /// # Errors
    /// [`SecondFactorError::Closed`], [`SecondFactorError::Malformed`].
    pub fn open(
        secrets: &LoginSecrets,
        realm: &RealmId,
        user: &Name,
        factor: &SealedSecondFactor,
    ) -> Result<Self, SecondFactorError> {
        let binding = binding(realm, user, factor.id);
        let mut buffer = SecretArray::from_bytes(factor.sealed);
        let content = cipher(secrets, &binding)
            .open(&binding, buffer.expose_mut())
            .map_err(|_| SecondFactorError::Closed)?;
        let mut reader = Reader::new(content);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(EncodingError::Unknown {
                what: "version of a second factor",
                value: u64::from(version),
            }
            .into());
        }
        let totp = TotpKey::from_secret(SecretArray::from_bytes(reader.array()?));
        let mut recovery = [[0; recovery::TAG_LENGTH]; RECOVERY_CODES];
        for tag in &mut recovery {
            *tag = reader.array()?;
        }
        reader.finish()?;
        Ok(Self {
            id: factor.id,
            totp,
            recovery_key: RecoveryKey::of(secrets, &binding),
            recovery,
        })
    }

    /// The enrolment's id: codes that were used under another one do not count.
    #[must_use]
    pub fn id(&self) -> CredentialId {
        self.id
    }

    /// Judges a code as a person typed it. Whoever is proven must be told to
    /// [`Used::take`], durably, before anything follows from it.
    ///
    /// # Errors
    /// [`CodeError`].
    pub fn prove(&self, typed: &[u8], used: &Used, now_ms: u64) -> Result<Proven, CodeError> {
        let proven = match digits(typed) {
            Some(number) => self.totp.step_of(number, now_ms).map(Proven::Step),
            None => {
                let code = RecoveryCode::parse(typed).ok_or(CodeError::Malformed)?;
                let place = self.recovery_key.find(&code, &self.recovery);
                place.map(Proven::Recovery)
            }
        };
        let proven = proven.ok_or(CodeError::Wrong)?;
        if used.holds(proven) {
            return Err(CodeError::UsedAlready);
        }
        Ok(proven)
    }
}

impl SealedSecondFactor {
    /// The enrolment's id.
    #[must_use]
    pub fn id(&self) -> CredentialId {
        self.id
    }

    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.fixed(&self.id.to_bytes());
        writer.fixed(&self.sealed);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        Ok(Self {
            id: CredentialId::from_bytes(reader.array()?),
            sealed: reader.array()?,
        })
    }
}

impl fmt::Debug for SealedSecondFactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SealedSecondFactor({})", self.id)
    }
}

impl fmt::Debug for SecondFactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecondFactor(redacted)")
    }
}

/// Realm, user and enrolment: what is sealed for one opens for no other.
fn binding(realm: &RealmId, user: &Name, id: CredentialId) -> Vec<u8> {
    let mut binding = user_binding(realm, user);
    binding.extend_from_slice(&id.to_bytes());
    binding
}

/// The number of a time-based code, if it looks like one: six digits, blanks apart.
fn digits(typed: &[u8]) -> Option<u32> {
    if typed.len() > CODE_LENGTH_MAX {
        return None;
    }
    let digits = typed.iter().filter(|byte| **byte != b' ');
    let all = digits.clone().all(u8::is_ascii_digit);
    (all && digits.clone().count() == CODE_DIGITS)
        .then(|| digits.fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
}

fn cipher(secrets: &LoginSecrets, binding: &[u8]) -> RecordKey {
    RecordKey::from_secret(&secrets.derive("second factor", binding))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;
    const STEP_MS: u64 = 30_000;

    struct Fixture {
        secrets: LoginSecrets,
        realm: RealmId,
        alice: Name,
        sealed: SealedSecondFactor,
        enrolled: Enrolled,
    }

    impl Fixture {
        fn new() -> Self {
            let secrets = LoginSecrets::generate().expect("random");
            let realm = RealmId::from_bytes([1; 32]);
            let alice: Name = "alice".parse().expect("a name");
            let (sealed, enrolled) =
                SecondFactor::enrol(&secrets, &realm, &alice).expect("enrolled");
            Self {
                secrets,
                realm,
                alice,
                sealed,
                enrolled,
            }
        }

        fn factor(&self) -> SecondFactor {
            SecondFactor::open(&self.secrets, &self.realm, &self.alice, &self.sealed)
                .expect("opens")
        }

        fn code(&self, at_ms: u64) -> Vec<u8> {
            self.enrolled.totp.code_at(at_ms).as_bytes().to_vec()
        }
    }

    #[test]
    fn a_code_works_once_and_no_earlier_one_after_it() {
        let fixture = Fixture::new();
        let factor = fixture.factor();
        let mut used = Used::default();
        let proven = factor
            .prove(&fixture.code(NOW), &used, NOW)
            .expect("the code of now");
        used.take(proven, NOW);
        for at in [NOW, NOW - STEP_MS] {
            assert_eq!(
                factor.prove(&fixture.code(at), &used, NOW),
                Err(CodeError::UsedAlready)
            );
        }
        let next = factor.prove(&fixture.code(NOW + STEP_MS), &used, NOW);
        assert_eq!(next, Ok(Proven::Step(NOW / STEP_MS + 1)));
    }

    #[test]
    fn a_code_of_two_steps_ago_or_ahead_is_wrong() {
        let fixture = Fixture::new();
        let used = Used::default();
        let factor = fixture.factor();
        for at in [NOW - 2 * STEP_MS, NOW + 2 * STEP_MS, 0] {
            // One in half a million hits by chance.
            let hits = [NOW - STEP_MS, NOW, NOW + STEP_MS].map(|near| fixture.code(near));
            if !hits.contains(&fixture.code(at)) {
                assert_eq!(
                    factor.prove(&fixture.code(at), &used, NOW),
                    Err(CodeError::Wrong)
                );
            }
        }
    }

    #[test]
    fn each_recovery_code_works_once_however_it_is_typed() {
        let fixture = Fixture::new();
        let factor = fixture.factor();
        let mut used = Used::default();
        for (index, code) in fixture.enrolled.recovery.iter().enumerate() {
            let typed = code.to_text();
            let shouted = typed.to_uppercase().replace('-', " ");
            let proven = factor
                .prove(shouted.as_bytes(), &used, NOW)
                .expect("unused");
            assert_eq!(proven, Proven::Recovery(index as u8));
            used.take(proven, NOW);
            assert_eq!(
                factor.prove(typed.as_bytes(), &used, NOW),
                Err(CodeError::UsedAlready)
            );
        }
    }

    #[test]
    fn what_is_no_code_is_refused_as_that() {
        let fixture = Fixture::new();
        let factor = fixture.factor();
        let used = Used::default();
        let long = "1".repeat(CODE_LENGTH_MAX + 1);
        for typed in [
            "",
            "12345",
            "1234567",
            "12345a",
            "１２３４５６",
            "abcd-efgh",
            &long,
        ] {
            assert_eq!(
                factor.prove(typed.as_bytes(), &used, NOW),
                Err(CodeError::Malformed),
                "{typed:?}"
            );
        }
        let other = Fixture::new();
        let stranger = other.enrolled.recovery[0].to_text();
        assert_eq!(
            factor.prove(stranger.as_bytes(), &used, NOW),
            Err(CodeError::Wrong)
        );
    }

    #[test]
    fn it_opens_for_its_user_its_realm_and_its_secrets_only() {
        let fixture = Fixture::new();
        let bob: Name = "bob".parse().expect("a name");
        let elsewhere = RealmId::from_bytes([2; 32]);
        let other = LoginSecrets::generate().expect("random");
        for (secrets, realm, user) in [
            (&fixture.secrets, &fixture.realm, &bob),
            (&fixture.secrets, &elsewhere, &fixture.alice),
            (&other, &fixture.realm, &fixture.alice),
        ] {
            let opened = SecondFactor::open(secrets, realm, user, &fixture.sealed);
            assert!(matches!(opened, Err(SecondFactorError::Closed)));
        }
        let mut writer = Writer::new();
        fixture.sealed.encode(&mut writer);
        let bytes = writer.finish();
        // The id is in the clear, and bound all the same.
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let changed = SealedSecondFactor::decode(&mut Reader::new(&changed)).expect("as long");
            let opened =
                SecondFactor::open(&fixture.secrets, &fixture.realm, &fixture.alice, &changed);
            assert!(matches!(opened, Err(SecondFactorError::Closed)), "{place}");
        }
    }

    #[test]
    fn codes_of_a_former_enrolment_are_wrong() {
        let fixture = Fixture::new();
        let (sealed, enrolled) =
            SecondFactor::enrol(&fixture.secrets, &fixture.realm, &fixture.alice)
                .expect("enrolled again");
        let factor = SecondFactor::open(&fixture.secrets, &fixture.realm, &fixture.alice, &sealed)
            .expect("opens");
        let used = Used::default();
        let paper = enrolled.recovery[0].to_text();
        assert!(factor.prove(paper.as_bytes(), &used, NOW).is_ok());
        let old = fixture.enrolled.recovery[0].to_text();
        assert_eq!(
            factor.prove(old.as_bytes(), &used, NOW),
            Err(CodeError::Wrong)
        );
        let hits = [NOW - STEP_MS, NOW, NOW + STEP_MS].map(|near| enrolled.totp.code_at(near));
        if hits.iter().all(|hit| hit.as_bytes() != fixture.code(NOW)) {
            assert_eq!(
                factor.prove(&fixture.code(NOW), &used, NOW),
                Err(CodeError::Wrong)
            );
        }
    }

    #[test]
    fn an_app_with_another_secret_does_not_confirm() {
        let (fixture, other) = (Fixture::new(), Fixture::new());
        assert!(fixture.enrolled.confirms(&fixture.code(NOW), NOW + STEP_MS));
        let hits = [NOW - STEP_MS, NOW, NOW + STEP_MS].map(|near| fixture.code(near));
        assert_eq!(
            fixture.enrolled.confirms(&other.code(NOW), NOW),
            hits.contains(&other.code(NOW))
        );
        // Paper says nothing about the app.
        let paper = fixture.enrolled.recovery[0].to_text();
        assert!(!fixture.enrolled.confirms(paper.as_bytes(), NOW));
    }
}
