//! Stored passwords: PHC strings of Argon2id.

use alloc::string::{String, ToString};

use core::fmt;

use phc::{Ident, Output, ParamsString, PasswordHash, Salt};

use super::{Arena, Cost, HASH_LENGTH, Limits, PasswordError, SALT_LENGTH, argon2id};
use crate::random;
use crate::secret::constant_time_equal;

/// Longest PHC string taken, in bytes.
pub const PHC_LENGTH_MAX: usize = 512;

/// What is wrong with a text that should be a PHC string of Argon2id.
///
/// ```
/// use sealmoot_crypto::password::{PasswordError, PasswordRecord, PhcFault};
/// let fault = |text| match PasswordRecord::from_phc(text) {
///     Err(PasswordError::Malformed(fault)) => Some(fault),
///     _ => None,
/// };
/// let of_another_algorithm = "$argon2i$v=19$m=65536,t=2,p=1$c2FsdHNhbHQ$aGFzaA";
/// assert_eq!(fault(of_another_algorithm), Some(PhcFault::Algorithm));
/// assert_eq!(fault("hunter2"), Some(PhcFault::Fields));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PhcFault {
    /// It is longer than [`PHC_LENGTH_MAX`] bytes.
    #[error("it is longer than {PHC_LENGTH_MAX} bytes")]
    TooLong,
    /// It is not five fields with a `$` before each.
    #[error("it is not five fields with a $ before each")]
    Fields,
    /// The first field is not `argon2id`.
    #[error("its algorithm is not argon2id")]
    Algorithm,
    /// The second field is not `v=19`.
    #[error("its version is not v=19")]
    Version,
    /// The third field is not `m=`, `t=` and `p=` with a decimal number each.
    #[error("its parameters are not m, t and p in decimal, in this order")]
    Parameters,
    /// The fourth field is not 8 to 48 bytes in unpadded base64.
    #[error("its salt is not 8 to 48 bytes in unpadded base64")]
    Salt,
    /// The fifth field is not 32 bytes in unpadded base64.
    #[error("its hash is not 32 bytes in unpadded base64")]
    Hash,
}

/// A stored password: Argon2id version 19, a cost within [`Limits`], a salt, and 32
/// bytes of hash.
///
/// Records made here have a salt of 16 bytes. Those of other programs are read
/// with 8 to 48, so that a server can take over its users' records; shorter salts
/// than 16 show in [`PasswordRecord::needs_rehash`].
///
/// ```
/// use sealmoot_crypto::password::PasswordRecord;
/// # let cost = sealmoot_crypto::password::Cost { memory_kib: 8, passes: 1, lanes: 1 };
/// let record = PasswordRecord::hash(b"correct horse", cost)?;
/// let again = PasswordRecord::hash(b"correct horse", cost)?;
/// assert_ne!(record.to_phc(), again.to_phc()); // another salt
/// assert!(PasswordRecord::from_phc(&record.to_phc())?.verify(b"correct horse")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct PasswordRecord {
    cost: Cost,
    salt: Salt,
    hash: [u8; HASH_LENGTH],
}

impl PasswordRecord {
    /// Hashes `password` under a fresh salt, within [`Limits::OWN`].
    ///
    /// # Errors
    /// [`PasswordError::TooLong`], [`PasswordError::TooCostly`],
    /// [`PasswordError::InvalidCost`], [`PasswordError::OutOfMemory`],
    /// [`PasswordError::Random`].
    ///
    /// ```
    /// use sealmoot_crypto::password::{Cost, PasswordRecord};
    /// let record = PasswordRecord::hash(b"correct horse", Cost::OWASP)?;
    /// assert!(record.verify(b"correct horse")?);
    /// assert!(!record.verify(b"battery staple")?);
    /// # Ok::<(), sealmoot_crypto::password::PasswordError>(())
    /// ```
    pub fn hash(password: &[u8], cost: Cost) -> Result<Self, PasswordError> {
        Self::hash_in(password, cost, &mut Arena::default())
    }

    /// As [`PasswordRecord::hash`], in memory that is kept for the next time.
    ///
    /// # Errors
    /// As [`PasswordRecord::hash`].
    pub fn hash_in(password: &[u8], cost: Cost, arena: &mut Arena) -> Result<Self, PasswordError> {
        let salt: [u8; SALT_LENGTH] = random::array()?;
        let hash = *argon2id(password, &salt, cost, &Limits::OWN, arena)?.expose();
        Ok(Self::new(cost, &salt, hash))
    }

    /// The record of a user that does not exist: its salt and hash are random, so no
    /// password matches, and finding that out takes as long as with a real record of
    /// this cost.
    ///
    /// A server that answers at once when it knows no such user tells strangers which
    /// users it has. Keep one such record and compare with it instead.
    ///
    /// # Errors
    /// [`PasswordError::TooCostly`], [`PasswordError::InvalidCost`],
    /// [`PasswordError::Random`].
    ///
    /// ```
    /// use sealmoot_crypto::password::{Cost, PasswordRecord};
    /// let nobody = PasswordRecord::of_nobody(Cost::OWASP)?;
    /// assert!(!nobody.verify(b"password")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of_nobody(cost: Cost) -> Result<Self, PasswordError> {
        cost.params(&Limits::OWN, HASH_LENGTH)?;
        let salt: [u8; SALT_LENGTH] = random::array()?;
        Ok(Self::new(cost, &salt, random::array()?))
    }

    /// Whether `password` is the one; takes as long either way.
    ///
    /// # Errors
    /// [`PasswordError::TooLong`], [`PasswordError::OutOfMemory`].
    pub fn verify(&self, password: &[u8]) -> Result<bool, PasswordError> {
        self.verify_in(password, &mut Arena::default())
    }

    /// As [`PasswordRecord::verify`], in memory that is kept for the next time: page
    /// faults otherwise cost a fifth of a comparison, and an allocator may never
    /// give back what many threads took one after another.
    ///
    /// # Errors
    /// As [`PasswordRecord::verify`].
    pub fn verify_in(&self, password: &[u8], arena: &mut Arena) -> Result<bool, PasswordError> {
        // Whoever made or read this record has admitted its cost.
        let hash = argon2id(password, &self.salt, self.cost, &Limits::OWN, arena)?;
        Ok(constant_time_equal(hash.expose(), &self.hash))
    }

    /// What the record cost, and a comparison costs.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// Whether the record should be made anew when next its password is at hand: its
    /// cost is another than `wanted`, dearer or cheaper, or its salt is shorter than
    /// those made here.
    ///
    /// ```
    /// use sealmoot_crypto::password::{Cost, PasswordRecord};
    /// let record = PasswordRecord::hash(b"correct horse", Cost::OWASP)?;
    /// assert!(!record.needs_rehash(Cost::OWASP));
    /// assert!(record.needs_rehash(Cost::SERVER));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn needs_rehash(&self, wanted: Cost) -> bool {
        self.cost != wanted || self.salt.len() < SALT_LENGTH
    }

    /// The record as a PHC string:
    /// `$argon2id$v=19$m=MEMORY,t=PASSES,p=LANES$SALT$HASH`, numbers in decimal, bytes
    /// in unpadded base64.
    #[must_use]
    pub fn to_phc(&self) -> String {
        let mut params = ParamsString::new();
        let cost = [
            ("m", self.cost.memory_kib),
            ("t", self.cost.passes),
            ("p", self.cost.lanes),
        ];
        for (name, value) in cost {
            params
                .add_decimal(name, value)
                .expect("three short parameters fit");
        }
        PasswordHash {
            algorithm: Ident::new_unwrap("argon2id"),
            version: Some(19),
            params,
            salt: Some(self.salt),
            hash: Some(Output::new(&self.hash).expect("32 bytes are a hash")),
        }
        .to_string()
    }

    /// Parses a PHC string whose cost [`Limits::DEFAULT`] admits.
    ///
    /// # Errors
    /// [`PasswordError::Malformed`], [`PasswordError::TooCostly`],
    /// [`PasswordError::InvalidCost`].
    pub fn from_phc(text: &str) -> Result<Self, PasswordError> {
        Self::from_phc_within(text, &Limits::DEFAULT)
    }

    /// Parses a PHC string whose cost `limits` and [`Limits::OWN`] admit. There is one
    /// text for a record: no other order of parameters, no leading zero, no padding.
    ///
    /// # Errors
    /// As [`PasswordRecord::from_phc`].
    ///
    /// ```
    /// use sealmoot_crypto::password::{Cost, Limits, PasswordError, PasswordRecord};
    /// let text = PasswordRecord::hash(b"correct horse", Cost::OWASP)?.to_phc();
    /// let tight = Limits { memory_kib: 8 * 1024, ..Limits::DEFAULT };
    /// assert!(PasswordRecord::from_phc_within(&text, &Limits::DEFAULT).is_ok());
    /// let refused = PasswordRecord::from_phc_within(&text, &tight);
    /// assert!(matches!(refused, Err(PasswordError::TooCostly)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_phc_within(text: &str, limits: &Limits) -> Result<Self, PasswordError> {
        if text.len() > PHC_LENGTH_MAX {
            return Err(PhcFault::TooLong.into());
        }
        let mut fields = text.split('$');
        let mut field = || fields.next().ok_or(PhcFault::Fields);
        let (before, algorithm, version) = (field()?, field()?, field()?);
        let (parameters, salt, hash) = (field()?, field()?, field()?);
        if !before.is_empty() || fields.next().is_some() {
            return Err(PhcFault::Fields.into());
        }
        if algorithm != "argon2id" {
            return Err(PhcFault::Algorithm.into());
        }
        if version != "v=19" {
            return Err(PhcFault::Version.into());
        }
        let cost = parse_cost(parameters).ok_or(PhcFault::Parameters)?;
        if !Limits::OWN.admits(cost) {
            return Err(PasswordError::TooCostly);
        }
        cost.params(limits, HASH_LENGTH)?;
        let salt = Salt::from_b64(salt).map_err(|_| PhcFault::Salt)?;
        let hash = Output::decode(hash)
            .ok()
            .and_then(|hash| <[u8; HASH_LENGTH]>::try_from(hash.as_bytes()).ok())
            .ok_or(PhcFault::Hash)?;
        Ok(Self { cost, salt, hash })
    }

    fn new(cost: Cost, salt: &[u8; SALT_LENGTH], hash: [u8; HASH_LENGTH]) -> Self {
        let salt = Salt::new(salt).expect("16 bytes are a salt");
        Self { cost, salt, hash }
    }
}

impl fmt::Debug for PasswordRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PasswordRecord({:?}, redacted)", self.cost)
    }
}

/// Does the work of comparing `password` with a record of this cost, and answers
/// `false`: for a user that does not exist, whom a quicker answer would give away.
/// [`PasswordRecord::of_nobody`] is the same as a record.
///
/// # Errors
/// As [`PasswordRecord::hash`].
///
/// ```
/// use sealmoot_crypto::password::{Cost, PasswordRecord, verify_nobody};
/// let stored: Option<PasswordRecord> = None;
/// let right = match stored {
///     Some(record) => record.verify(b"guess")?,
///     None => verify_nobody(b"guess", Cost::SERVER)?,
/// };
/// assert!(!right);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify_nobody(password: &[u8], cost: Cost) -> Result<bool, PasswordError> {
    PasswordRecord::of_nobody(cost)?.verify(password)
}

fn parse_cost(text: &str) -> Option<Cost> {
    let mut parts = text.split(',');
    let mut number = |prefix| {
        let digits = parts.next()?.strip_prefix(prefix)?;
        // `parse` would take a sign and leading zeros: further texts of one value.
        let canonical = digits == "0" || !digits.starts_with(['0', '+']);
        digits.parse::<u32>().ok().filter(|_| canonical)
    };
    let cost = Cost {
        memory_kib: number("m=")?,
        passes: number("t=")?,
        lanes: number("p=")?,
    };
    parts.next().is_none().then_some(cost)
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::super::{LANES_MAX, MEMORY_KIB_MAX, PASSES_MAX, PASSWORD_LENGTH_MAX};
    use super::*;

    const CHEAP: Cost = Cost {
        memory_kib: 64,
        passes: 1,
        lanes: 1,
    };
    /// The record that the malformed ones are made of.
    const SAMPLE: &str = "$argon2id$v=19$m=64,t=1,p=1$AAECAwQFBgcICQoLDA0ODw\
                          $AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    /// What [`PasswordRecord::from_phc`] says is wrong with `text`.
    fn refusal(text: &str) -> PasswordError {
        PasswordRecord::from_phc(text).expect_err(text)
    }

    #[test]
    fn a_record_survives_its_text_form() {
        let record = PasswordRecord::hash(b"pw", CHEAP).expect("hashes");
        let text = record.to_phc();
        assert!(text.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{text}");
        let again = PasswordRecord::from_phc(&text).expect("parses");
        assert_eq!(again.to_phc(), text);
        assert!(again.verify(b"pw").expect("compares"));
        assert!(!again.verify(b"pv").expect("compares"));
        assert!(!again.verify(b"").expect("compares"));
    }

    #[test]
    fn the_empty_password_is_one_like_any_other() {
        let record = PasswordRecord::hash(b"", CHEAP).expect("hashes");
        assert!(record.verify(b"").expect("compares"));
        assert!(!record.verify(b"\0").expect("compares"));
    }

    #[test]
    fn malformed_texts_are_refused_each_for_its_fault() {
        PasswordRecord::from_phc(SAMPLE).expect("the sample parses");
        let put = |from: &str, to: &str| {
            let text = SAMPLE.replacen(from, to, 1);
            assert_ne!(text, SAMPLE, "{from} stands in the sample");
            text
        };
        let head = "$argon2id$v=19$m=64,t=1,p=1";
        let salt = "AAECAwQFBgcICQoLDA0ODw";
        let hash = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
        let cases = [
            ("empty", String::new(), PhcFault::Fields),
            ("a dollar", "$".to_owned(), PhcFault::Fields),
            (
                "no dollar before it",
                SAMPLE[1..].to_owned(),
                PhcFault::Fields,
            ),
            ("text before it", format!("x{SAMPLE}"), PhcFault::Fields),
            ("space before it", format!(" {SAMPLE}"), PhcFault::Fields),
            ("a dollar behind it", format!("{SAMPLE}$"), PhcFault::Fields),
            ("a sixth field", format!("{SAMPLE}$AAAA"), PhcFault::Fields),
            ("no hash", format!("{head}${salt}"), PhcFault::Fields),
            ("no salt, no hash", head.to_owned(), PhcFault::Fields),
            ("no version", put("$v=19", ""), PhcFault::Fields),
            (
                "bcrypt",
                "$2b$10$abcdefghijklmnopqrstuv".to_owned(),
                PhcFault::Fields,
            ),
            ("only dollars", "$$$$$".to_owned(), PhcFault::Algorithm),
            ("argon2i", put("argon2id", "argon2i"), PhcFault::Algorithm),
            ("argon2d", put("argon2id", "argon2d"), PhcFault::Algorithm),
            (
                "upper case",
                put("argon2id", "Argon2id"),
                PhcFault::Algorithm,
            ),
            ("scrypt", put("argon2id", "scrypt"), PhcFault::Algorithm),
            ("no algorithm", put("argon2id", ""), PhcFault::Algorithm),
            ("version 16", put("v=19", "v=16"), PhcFault::Version),
            ("version 20", put("v=19", "v=20"), PhcFault::Version),
            ("version 019", put("v=19", "v=019"), PhcFault::Version),
            ("version 0x13", put("v=19", "v=0x13"), PhcFault::Version),
            (
                "version without a name",
                put("v=19", "19"),
                PhcFault::Version,
            ),
            (
                "version without a value",
                put("v=19", "v="),
                PhcFault::Version,
            ),
            (
                "order of parameters",
                put("m=64,t=1", "t=1,m=64"),
                PhcFault::Parameters,
            ),
            (
                "a fourth parameter",
                put("p=1", "p=1,x=2"),
                PhcFault::Parameters,
            ),
            (
                "a key id",
                put("p=1", "p=1,keyid=AAAA"),
                PhcFault::Parameters,
            ),
            (
                "associated data",
                put("p=1", "p=1,data=AAAA"),
                PhcFault::Parameters,
            ),
            (
                "a parameter twice",
                put("t=1", "m=64"),
                PhcFault::Parameters,
            ),
            ("no lanes", put(",p=1", ""), PhcFault::Parameters),
            ("no memory", put("m=64,", ""), PhcFault::Parameters),
            ("an empty number", put("t=1", "t="), PhcFault::Parameters),
            ("a leading zero", put("t=1", "t=01"), PhcFault::Parameters),
            ("a sign", put("t=1", "t=+1"), PhcFault::Parameters),
            (
                "a negative number",
                put("t=1", "t=-1"),
                PhcFault::Parameters,
            ),
            ("a fraction", put("m=64", "m=64.0"), PhcFault::Parameters),
            ("hexadecimal", put("m=64", "m=0x40"), PhcFault::Parameters),
            ("a space", put("m=64", "m= 64"), PhcFault::Parameters),
            ("33 bits", put("m=64", "m=4294967296"), PhcFault::Parameters),
            (
                "another script's digit",
                put("t=1", "t=\u{661}"),
                PhcFault::Parameters,
            ),
            ("a trailing comma", put("p=1", "p=1,"), PhcFault::Parameters),
            (
                "semicolons",
                put("m=64,t=1", "m=64;t=1"),
                PhcFault::Parameters,
            ),
            ("an empty salt", put(salt, ""), PhcFault::Salt),
            ("a salt of 7 bytes", put(salt, "AAECAwQFBg"), PhcFault::Salt),
            (
                "a salt of 49 bytes",
                put(salt, &"A".repeat(66)),
                PhcFault::Salt,
            ),
            (
                "a padded salt",
                put(salt, "AAECAwQFBgcICQoLDA0ODw=="),
                PhcFault::Salt,
            ),
            (
                "stray bits in the salt",
                put("0ODw$", "0ODx$"),
                PhcFault::Salt,
            ),
            (
                "a salt of 1 modulo 4",
                put(salt, "AAECAwQFBgcIC"),
                PhcFault::Salt,
            ),
            (
                "url-safe salt",
                put(salt, "AAECAwQFBgcICQoLDA0O_w"),
                PhcFault::Salt,
            ),
            ("a space in the salt", put("AAEC", "AA C"), PhcFault::Salt),
            ("an empty hash", put(hash, ""), PhcFault::Hash),
            ("a hash of 31 bytes", put("Hh8", "Hg"), PhcFault::Hash),
            ("a hash of 16 bytes", put(hash, salt), PhcFault::Hash),
            ("a hash of 33 bytes", put("Hh8", "Hh8A"), PhcFault::Hash),
            (
                "a hash of 64 bytes",
                put(hash, &"A".repeat(86)),
                PhcFault::Hash,
            ),
            ("a padded hash", format!("{SAMPLE}="), PhcFault::Hash),
            ("stray bits in the hash", put("Hh8", "Hh9"), PhcFault::Hash),
            (
                "a line feed behind it",
                format!("{SAMPLE}\n"),
                PhcFault::Hash,
            ),
            (
                "a null byte behind it",
                format!("{SAMPLE}\0"),
                PhcFault::Hash,
            ),
            (
                "too long",
                format!("{SAMPLE}{}", "A".repeat(400)),
                PhcFault::Hash,
            ),
            (
                "far too long",
                format!("{SAMPLE}{}", "A".repeat(512)),
                PhcFault::TooLong,
            ),
        ];
        for (name, text, fault) in cases {
            match refusal(&text) {
                PasswordError::Malformed(found) => assert_eq!(found, fault, "{name}: {text}"),
                other => std::panic!("{name}: {other}"),
            }
        }
    }

    #[test]
    fn costs_above_the_limits_are_refused_before_memory_is_reserved() {
        for (name, parameters) in [
            ("4 TiB", "m=4294967295,t=1,p=1".to_owned()),
            ("memory", format!("m={},t=1,p=1", MEMORY_KIB_MAX + 1)),
            ("passes", format!("m=64,t={},p=1", PASSES_MAX + 1)),
            ("lanes", format!("m=1024,t=1,p={}", LANES_MAX + 1)),
            ("memory times passes", format!("m={MEMORY_KIB_MAX},t=3,p=1")),
            (
                "every number",
                "m=4294967295,t=4294967295,p=4294967295".to_owned(),
            ),
        ] {
            let text = SAMPLE.replace("m=64,t=1,p=1", &parameters);
            assert!(matches!(refusal(&text), PasswordError::TooCostly), "{name}");
        }
    }

    #[test]
    fn limits_of_the_caller_replace_the_default_ones() {
        let high = SAMPLE.replace("m=64,t=1,p=1", "m=2097152,t=1,p=4");
        assert!(matches!(refusal(&high), PasswordError::TooCostly));
        let record = PasswordRecord::from_phc_within(&high, &Limits::OWN).expect("admitted");
        assert_eq!(record.cost(), Cost::RFC_9106_HIGH_MEMORY);
        // What no limits can lift: a record must not outgrow what it is verified within.
        let endless = Limits {
            memory_kib: u32::MAX,
            passes: u32::MAX,
            lanes: u32::MAX,
            work_kib: u64::MAX,
        };
        let higher = SAMPLE.replace("m=64,t=1,p=1", "m=2097153,t=1,p=4");
        assert!(matches!(
            PasswordRecord::from_phc_within(&higher, &endless),
            Err(PasswordError::TooCostly)
        ));
    }

    #[test]
    fn costs_that_argon2_does_not_know_are_refused() {
        for (name, parameters) in [
            ("no pass", "m=64,t=0,p=1"),
            ("no lane", "m=64,t=1,p=0"),
            ("no memory", "m=0,t=1,p=1"),
            ("7 KiB", "m=7,t=1,p=1"),
            ("less than 8 KiB a lane", "m=31,t=1,p=4"),
        ] {
            let text = SAMPLE.replace("m=64,t=1,p=1", parameters);
            assert!(
                matches!(refusal(&text), PasswordError::InvalidCost),
                "{name}"
            );
        }
        let nothing = Cost {
            memory_kib: 0,
            passes: 0,
            lanes: 0,
        };
        assert!(matches!(
            PasswordRecord::hash(b"pw", nothing),
            Err(PasswordError::InvalidCost)
        ));
        assert!(matches!(
            PasswordRecord::of_nobody(nothing),
            Err(PasswordError::InvalidCost)
        ));
    }

    #[test]
    fn every_changed_bit_is_refused_or_another_record() {
        for bit in 0..SAMPLE.len() * 8 {
            let mut bytes = SAMPLE.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(text) = String::from_utf8(bytes) else {
                continue;
            };
            if let Ok(record) = PasswordRecord::from_phc(&text) {
                assert_eq!(record.to_phc(), text, "one record has one text");
            }
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        for length in 0..SAMPLE.len() {
            assert!(matches!(
                refusal(&SAMPLE[..length]),
                PasswordError::Malformed(_)
            ));
        }
    }

    #[test]
    fn a_rehash_is_due_at_every_other_cost_and_for_short_salts() {
        let record = PasswordRecord::from_phc(SAMPLE).expect("parses");
        assert!(!record.needs_rehash(CHEAP));
        for (memory_kib, passes, lanes) in [(63, 1, 1), (65, 1, 1), (64, 2, 1), (64, 1, 2)] {
            assert!(record.needs_rehash(Cost {
                memory_kib,
                passes,
                lanes
            }));
        }
        let short = SAMPLE.replace("AAECAwQFBgcICQoLDA0ODw$", "AAECAwQFBgc$");
        let short = PasswordRecord::from_phc(&short).expect("parses");
        assert!(short.needs_rehash(CHEAP));
    }

    #[test]
    fn nobody_has_a_password() {
        let nobody = PasswordRecord::of_nobody(CHEAP).expect("random");
        assert_eq!(nobody.cost(), CHEAP);
        for password in [b"".as_slice(), b"password"] {
            assert!(!nobody.verify(password).expect("compares"));
            assert!(!verify_nobody(password, CHEAP).expect("compares"));
        }
        let again = PasswordRecord::of_nobody(CHEAP).expect("random");
        assert_ne!(nobody.to_phc(), again.to_phc());
    }

    #[test]
    fn an_arena_serves_one_cost_after_another() {
        let mut arena = Arena::default();
        let dear = Cost {
            memory_kib: 256,
            ..CHEAP
        };
        for cost in [CHEAP, dear, CHEAP, dear] {
            let record = PasswordRecord::hash_in(b"pw", cost, &mut arena).expect("hashes");
            assert!(record.verify_in(b"pw", &mut arena).expect("compares"));
            assert!(record.verify(b"pw").expect("compares"));
            assert!(!record.verify_in(b"pv", &mut arena).expect("compares"));
        }
    }

    #[test]
    fn an_endless_password_is_refused() {
        let long = vec![b'a'; PASSWORD_LENGTH_MAX + 1];
        let record = PasswordRecord::hash(&long[1..], CHEAP).expect("as long as can be");
        assert!(record.verify(&long[1..]).expect("compares"));
        assert!(matches!(record.verify(&long), Err(PasswordError::TooLong)));
        assert!(matches!(
            PasswordRecord::hash(&long, CHEAP),
            Err(PasswordError::TooLong)
        ));
        assert!(matches!(
            verify_nobody(&long, CHEAP),
            Err(PasswordError::TooLong)
        ));
    }

    #[test]
    fn debug_shows_no_salt_and_no_hash() {
        let text = format!("{:?}", PasswordRecord::from_phc(SAMPLE).expect("parses"));
        assert!(
            text.contains("redacted") && !text.contains("AAEC"),
            "{text}"
        );
    }
}
