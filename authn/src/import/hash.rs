//! A stored hash: a PHC string of Argon2id, or something else with a name.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sealmoot_crypto::password::{Cost, PHC_LENGTH_MAX};
use sealmoot_crypto::secret::SecretBytes;

use crate::opaque::{BadStretching, Stretching};

/// What is wrong with a hash. It says nothing of the hash itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashFault {
    /// It is of a known kind that cannot be imported.
    #[error(
        "{0} hashes cannot be imported, only Argon2id; give the user a password: authctl user add"
    )]
    Kind(&'static str),
    /// It is of no kind that is known; it may be a password in clear.
    #[error("it is no hash of a known kind; only PHC strings of Argon2id can be imported")]
    Unknown,
    /// It is longer than any PHC string of Argon2id.
    #[error("the hash is longer than {PHC_LENGTH_MAX} bytes")]
    TooLong,
    /// It has not the fields of a PHC string of Argon2id version 19.
    #[error("the hash is not $argon2id$v=19$m=…,t=…,p=…$SALT$HASH")]
    Fields,
    /// Salt or hash is not canonical base64 without padding.
    #[error("salt or hash is not base64 without padding")]
    Base64,
    /// It costs more than a client computes, or its salt or length is out of bounds.
    #[error(
        "the hash costs more than clients compute (256 MiB, 1 GiB in all, 16 passes, 16 lanes), \
         or its salt has not 8 to 48 bytes, or it has not 16 to 64 itself"
    )]
    Bounds,
}

/// A hash that can be imported.
#[derive(Clone)]
pub struct ImportedHash {
    stretching: Stretching,
    hash: Vec<u8>,
}

impl ImportedHash {
    /// Takes a stored hash.
    ///
    /// # Errors
    /// [`HashFault`].
    pub fn parse(text: &str) -> Result<Self, HashFault> {
        let Some(fields) = text.strip_prefix("$argon2id$") else {
            return Err(kind_of(text).map_or(HashFault::Unknown, HashFault::Kind));
        };
        if text.len() > PHC_LENGTH_MAX {
            return Err(HashFault::TooLong);
        }
        let mut fields = fields.split('$');
        let mut field = || fields.next().ok_or(HashFault::Fields);
        let (version, parameters, salt, hash) = (field()?, field()?, field()?, field()?);
        if version != "v=19" || fields.next().is_some() {
            return Err(HashFault::Fields);
        }
        let cost = cost_of(parameters).ok_or(HashFault::Fields)?;
        let decode = |text: &str| STANDARD_NO_PAD.decode(text).map_err(|_| HashFault::Base64);
        let (salt, hash) = (decode(salt)?, decode(hash)?);
        let stretching = Stretching::imported(cost, &salt, hash.len())
            .map_err(|BadStretching| HashFault::Bounds)?;
        Ok(Self { stretching, hash })
    }

    /// How a client computes it.
    #[must_use]
    pub fn stretching(&self) -> Stretching {
        self.stretching
    }

    /// The hash: OPAQUE's password. Whoever has it can log in.
    #[must_use]
    pub fn secret(&self) -> SecretBytes {
        SecretBytes::new(self.hash.clone())
    }
}

impl fmt::Debug for ImportedHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "ImportedHash({:?}, redacted)",
            self.stretching.cost()
        )
    }
}

/// `m=…,t=…,p=…` in this order, decimal, without leading zeros.
fn cost_of(text: &str) -> Option<Cost> {
    let mut parts = text.split(',');
    let mut number = |prefix: &str| {
        let digits = parts.next()?.strip_prefix(prefix)?;
        let canonical = !digits.starts_with(['0', '+']);
        digits.parse::<u32>().ok().filter(|_| canonical)
    };
    let cost = Cost {
        memory_kib: number("m=")?,
        passes: number("t=")?,
        lanes: number("p=")?,
    };
    parts.next().is_none().then_some(cost)
}

/// The name of a hash that cannot be imported.
fn kind_of(text: &str) -> Option<&'static str> {
    const PREFIXES: [(&str, &str); 34] = [
        ("$argon2i$", "Argon2i"),
        ("$argon2d$", "Argon2d"),
        ("argon2$", "Django's Argon2"),
        ("$2$", "bcrypt"),
        ("$2a$", "bcrypt"),
        ("$2b$", "bcrypt"),
        ("$2x$", "bcrypt"),
        ("$2y$", "bcrypt"),
        ("bcrypt", "Django's bcrypt"),
        ("$apr1$", "Apache's MD5 (apr1)"),
        ("$1$", "MD5 crypt"),
        ("$md5", "Sun's MD5"),
        ("{SHA}", "SHA-1"),
        ("{SSHA}", "salted SHA-1"),
        ("{SHA256}", "SHA-256"),
        ("{SSHA256}", "salted SHA-256"),
        ("{SHA512}", "SHA-512"),
        ("{SSHA512}", "salted SHA-512"),
        ("{MD5}", "MD5"),
        ("{SMD5}", "salted MD5"),
        ("{CRYPT}", "crypt"),
        ("{PLAIN}", "clear text and not"),
        ("$sha1$", "SHA-1 crypt"),
        ("$5$", "SHA-256 crypt"),
        ("$6$", "SHA-512 crypt"),
        ("$7$", "scrypt"),
        ("$scrypt$", "scrypt"),
        ("scrypt", "scrypt"),
        ("SCRYPT", "scrypt"),
        ("$y$", "yescrypt"),
        ("$gy$", "gost-yescrypt"),
        ("$pbkdf2", "PBKDF2"),
        ("pbkdf2", "PBKDF2"),
        ("$P$", "phpass"),
    ];
    let known = PREFIXES
        .iter()
        .find(|(prefix, _)| text.starts_with(prefix))
        .map(|(_, name)| *name);
    let crypt_character = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/');
    known.or_else(|| {
        // Only its form gives it away, and a password in clear may have that form too.
        let is_crypt = text.len() == 13 && text.bytes().all(crypt_character);
        is_crypt.then_some("DES crypt")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: &str = "AAECAwQFBgcICQoLDA0ODw";
    const HASH: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    fn fault(text: &str) -> HashFault {
        ImportedHash::parse(text).expect_err(text)
    }

    #[test]
    fn a_phc_string_yields_salt_cost_and_hash() {
        let text = format!("$argon2id$v=19$m=64,t=2,p=3${SALT}${HASH}");
        let parsed = ImportedHash::parse(&text).expect("a hash");
        assert_eq!(parsed.secret().expose(), (0..32).collect::<Vec<u8>>());
        let cost = Cost {
            memory_kib: 64,
            passes: 2,
            lanes: 3,
        };
        let salt: Vec<u8> = (0..16).collect();
        let expected = Stretching::imported(cost, &salt, 32).expect("admitted");
        assert_eq!(parsed.stretching(), expected);
        assert!(!format!("{parsed:?}").contains("31"));
    }

    #[test]
    fn other_kinds_are_refused_by_name() {
        for (text, kind) in [
            ("$2y$05$abc", "bcrypt"),
            ("$2b$12$abc", "bcrypt"),
            ("$apr1$salt$hash", "Apache's MD5 (apr1)"),
            ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA-1"),
            ("{SSHA}abc", "salted SHA-1"),
            ("$1$salt$hash", "MD5 crypt"),
            ("$5$salt$hash", "SHA-256 crypt"),
            ("$6$salt$hash", "SHA-512 crypt"),
            ("$y$j9T$salt$hash", "yescrypt"),
            ("$7$hash", "scrypt"),
            ("$scrypt$ln=17,r=8,p=1$salt$hash", "scrypt"),
            ("$pbkdf2-sha256$29000$salt$hash", "PBKDF2"),
            ("pbkdf2_sha256$600000$salt$hash", "PBKDF2"),
            ("$argon2i$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaA", "Argon2i"),
            ("$argon2d$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaA", "Argon2d"),
            ("rqXexS6ZhobKA", "DES crypt"),
        ] {
            assert_eq!(fault(text), HashFault::Kind(kind), "{text}");
        }
        for text in ["", "hunter2", "$", "$argon2id", "$3$x$y", "argon2id$v=19"] {
            assert_eq!(fault(text), HashFault::Unknown, "{text}");
        }
    }

    #[test]
    fn malformed_and_excessive_hashes_are_refused() {
        let long = "A".repeat(PHC_LENGTH_MAX);
        for (version, parameters, salt, hash, expected) in [
            ("v=16", "m=64,t=1,p=1", SALT, HASH, HashFault::Fields),
            ("m=64,t=1,p=1", SALT, HASH, "", HashFault::Fields),
            ("v=19", "t=1,m=64,p=1", SALT, HASH, HashFault::Fields),
            ("v=19", "m=064,t=1,p=1", SALT, HASH, HashFault::Fields),
            ("v=19", "m=+64,t=1,p=1", SALT, HASH, HashFault::Fields),
            ("v=19", "m=64,t=1", SALT, HASH, HashFault::Fields),
            ("v=19", "m=64,t=1,p=1,data=x", SALT, HASH, HashFault::Fields),
            (
                "v=19",
                "m=4294967296,t=1,p=1",
                SALT,
                HASH,
                HashFault::Fields,
            ),
            ("v=19", "m=64,t=1,p=1", "AA==", HASH, HashFault::Base64),
            ("v=19", "m=64,t=1,p=1", "A_", HASH, HashFault::Base64),
            ("v=19", "m=64,t=1,p=1", SALT, "AB", HashFault::Base64),
            ("v=19", "m=64,t=1,p=1", "", HASH, HashFault::Bounds),
            (
                "v=19",
                "m=64,t=1,p=1",
                "AAAAAAAAAA",
                HASH,
                HashFault::Bounds,
            ),
            ("v=19", "m=64,t=1,p=1", SALT, "AAAA", HashFault::Bounds),
            ("v=19", "m=7,t=1,p=1", SALT, HASH, HashFault::Bounds),
            ("v=19", "m=64,t=17,p=1", SALT, HASH, HashFault::Bounds),
            ("v=19", "m=256,t=1,p=17", SALT, HASH, HashFault::Bounds),
            ("v=19", "m=262145,t=1,p=1", SALT, HASH, HashFault::Bounds),
            ("v=19", "m=262144,t=5,p=1", SALT, HASH, HashFault::Bounds),
            ("v=19", "m=64,t=1,p=1", SALT, &long, HashFault::TooLong),
        ] {
            let text = format!("$argon2id${version}${parameters}${salt}${hash}");
            assert_eq!(fault(&text), expected, "{text}");
        }
        let text = format!("$argon2id$v=19$m=64,t=1,p=1${SALT}${HASH}");
        assert_eq!(fault(&format!("{text}$")), HashFault::Fields);
        assert_eq!(fault(&format!("{text} ")), HashFault::Base64);
    }
}
