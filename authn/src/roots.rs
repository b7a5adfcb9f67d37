//! The keys that have spoken for a realm, one after the other.
//!
//! A realm begins with an [`Inception`]: its first root key, and the identity of the key
//! that comes next, the *heir*, which nobody has seen yet. The realm's id commits to both.
//! So whoever steals a root key can sign what the root signs, and cannot name an heir:
//! a [`Handover`] counts only if the key that it names is the one that was committed to,
//! and if that key countersigned it. Each handover commits to the next heir in turn.
//!
//! A handover names the calls of former roots that stay valid. Whoever has a former root
//! key makes no cluster with it that anybody believes who knows the handover.
//!
//! ```text
//! roots record   u8 6 | inception 64 | number of handovers u32, at most 16, then each:
//!                length u32, statement | countersignature 64
//! inception      root public key 32 | KeyId of the heir 32
//! realm id       SHA-256 of "sealmoot realm inception 1" | KeyId of the root 32 |
//!                KeyId of the heir 32
//! ```
//!
//! The countersignature is the new root's, in the domain `statement/handover-heir`, over
//! the whole statement. A record has at most [`ROOTS_LENGTH_MAX`] bytes and travels in
//! handshakes.

use std::sync::Arc;

use sealmoot_crypto::digest::{Sha256, sha256};
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::signature::{KeyId, Signature, SigningKey, VerifyingKey};

use crate::realm_id::RealmId;
use crate::statement::{
    Body, Call, Claim, HANDOVER_LENGTH_MAX, HANDOVERS_MAX, Handover, StatementError, Verified,
    read_key,
};

/// First byte among the records of all kinds.
pub const ROOTS_TAG: u8 = 6;
/// Domain of the new root's signature.
const HEIR_DOMAIN: &str = "statement/handover-heir";
const INCEPTION_CONTEXT: &[u8] = b"sealmoot realm inception 1";
/// Bytes of an inception.
pub const INCEPTION_LENGTH: usize = 64;
/// Longest roots record in bytes.
pub const ROOTS_LENGTH_MAX: usize =
    1 + INCEPTION_LENGTH + 4 + HANDOVERS_MAX * (4 + HANDOVER_LENGTH_MAX + 64);
const _: () = assert!(ROOTS_LENGTH_MAX <= 14 * 1024);

/// Why keys were not believed to be a realm's roots.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootsError {
    /// The bytes are no roots record.
    #[error("not a roots record: {0}")]
    Malformed(#[from] EncodingError),
    /// It begins otherwise than the pinned realm.
    #[error("it belongs to realm {found}, not to {pinned}")]
    WrongRealm {
        /// The realm that was expected.
        pinned: RealmId,
        /// The realm that the record is of.
        found: RealmId,
    },
    /// A handover is not by the root before it.
    #[error("handover {number}: {error}")]
    Statement {
        /// Which handover.
        number: u64,
        /// What is wrong with it.
        error: StatementError,
    },
    /// A handover has another number than its place.
    #[error("handover {expected} says that it is handover {found}")]
    WrongNumber {
        /// Its place.
        expected: u64,
        /// Its number.
        found: u64,
    },
    /// The new root is not the key that was committed to before.
    #[error("handover {0} names a key that is not the heir")]
    NotTheHeir(u64),
    /// The new root did not sign.
    #[error("handover {0} is not countersigned by the heir")]
    NotCountersigned(u64),
    /// A root hands over to itself or to a former one.
    #[error("handover {0} names a key that was root already")]
    RootAgain(u64),
    /// Two handovers with one number: somebody has a root key and its heir who should not.
    #[error("fork: there is another handover {0} than the one known")]
    Fork(u64),
    /// No more handovers fit.
    #[error("a realm is handed over at most {HANDOVERS_MAX} times")]
    TooMany,
}

/// What a realm begins with, and its id commits to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inception {
    /// The first root key.
    pub root: VerifyingKey,
    /// The identity of the next one.
    pub heir: KeyId,
}

impl Inception {
    /// A realm that is never handed over: nobody has a key with such an identity.
    #[must_use]
    pub fn without_heir(root: VerifyingKey) -> Self {
        Self {
            root,
            heir: KeyId::from_bytes([0; 32]),
        }
    }

    /// The realm's id.
    #[must_use]
    pub fn realm(&self) -> RealmId {
        let mut hasher = Sha256::new();
        hasher.update(INCEPTION_CONTEXT);
        hasher.update(self.root.key_id().as_bytes());
        hasher.update(self.heir.as_bytes());
        RealmId::from_bytes(hasher.finish())
    }

    /// Writes its bytes.
    pub fn write(&self, writer: &mut Writer) {
        writer.fixed(&self.root.to_bytes());
        writer.fixed(self.heir.as_bytes());
    }

    /// Reads an inception.
    ///
    /// # Errors
    /// When the root key is malformed.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        Ok(Self {
            root: read_key(reader)?,
            heir: KeyId::from_bytes(reader.array()?),
        })
    }
}

/// All roots of one realm, as far as they are known, verified. Cheap to clone.
#[derive(Clone)]
pub struct Roots(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    inception: Inception,
    realm: RealmId,
    handovers: Vec<Handed>,
}

/// One handover, verified.
#[derive(Clone)]
struct Handed {
    statement: Verified<Handover>,
    countersignature: Signature,
}

/// One handover as it stands in a record.
struct Part<'a> {
    statement: &'a [u8],
    countersignature: [u8; 64],
}

impl Roots {
    /// The roots of a realm that was never handed over.
    #[must_use]
    pub fn first(inception: Inception) -> Self {
        Self(Arc::new(Inner {
            realm: inception.realm(),
            inception,
            handovers: Vec::new(),
        }))
    }

    /// The only root of a realm without an heir.
    #[must_use]
    pub fn sole(root: VerifyingKey) -> Self {
        Self::first(Inception::without_heir(root))
    }

    /// Reads a roots record and believes it if it belongs to `pinned` and every handover
    /// in it verifies.
    ///
    /// # Errors
    /// [`RootsError`].
    pub fn decode(bytes: &[u8], pinned: &RealmId) -> Result<Self, RootsError> {
        let (inception, parts) = parse(bytes)?;
        check_realm(&inception, pinned)?;
        let mut inner = Inner {
            inception,
            realm: *pinned,
            handovers: Vec::with_capacity(parts.len()),
        };
        for part in &parts {
            let handed = inner.verify(part)?;
            inner.handovers.push(handed);
        }
        Ok(Self(Arc::new(inner)))
    }

    /// The same of whatever realm the record is of: for who goes on to compare its id, or
    /// believes who brought it.
    ///
    /// # Errors
    /// [`RootsError`].
    pub fn decode_unpinned(bytes: &[u8]) -> Result<Self, RootsError> {
        let realm = parse(bytes)?.0.realm();
        Self::decode(bytes, &realm)
    }

    /// How many handovers a record claims, unbelieved: nothing is verified.
    ///
    /// # Errors
    /// When the bytes are no roots record.
    pub fn claimed(bytes: &[u8]) -> Result<u64, RootsError> {
        Ok(parse(bytes)?.1.len() as u64)
    }

    /// Takes the handovers of a record that are not known yet; says whether there were
    /// any. What is known is compared and not verified again, and nothing is taken when
    /// one is not believed.
    ///
    /// # Errors
    /// [`RootsError`]; [`RootsError::Fork`] where the record goes another way.
    pub fn take(&mut self, bytes: &[u8]) -> Result<bool, RootsError> {
        let (inception, parts) = parse(bytes)?;
        check_realm(&inception, &self.0.realm)?;
        for (index, (part, held)) in parts.iter().zip(&self.0.handovers).enumerate() {
            let same = part.statement == held.statement.bytes()
                && part.countersignature == held.countersignature.to_bytes();
            if !same {
                return Err(RootsError::Fork(index as u64 + 1));
            }
        }
        let known = self.0.handovers.len();
        if parts.len() <= known {
            return Ok(false);
        }
        let mut inner = (*self.0).clone();
        for part in &parts[known..] {
            let handed = inner.verify(part)?;
            inner.handovers.push(handed);
        }
        self.0 = Arc::new(inner);
        Ok(true)
    }

    /// Hands the realm over: `former` has to be the current root's key and `heir` the one
    /// that was committed to. `calls` of former roots stay valid.
    ///
    /// # Errors
    /// [`RootsError`] when nobody would believe it.
    pub fn hand_over(
        &self,
        former: &SigningKey,
        heir: &SigningKey,
        next_heir: KeyId,
        calls: &[[u8; 32]],
        now_ms: u64,
    ) -> Result<Self, RootsError> {
        let root = heir.verifying_key();
        let number = self.number() + 1;
        // A root that cannot be: the realm could never be handed over again.
        let mut keys = self.0.keys().chain(std::iter::once(&root));
        if keys.any(|key| key.key_id() == next_heir) {
            return Err(RootsError::RootAgain(number + 1));
        }
        let mut calls = calls.to_vec();
        calls.sort_unstable();
        calls.dedup();
        if calls.len() > crate::statement::HANDOVER_CALLS_MAX {
            return Err(EncodingError::Invalid("too many calls stay valid").into());
        }
        let body = Handover {
            number,
            root,
            heir: next_heir,
            calls,
        };
        let statement = Verified::issue(&self.0.realm, former, now_ms, body);
        let countersignature = heir.sign(HEIR_DOMAIN, statement.bytes());
        // As everybody else will judge it.
        let handed = self.0.verify(&Part {
            statement: statement.bytes(),
            countersignature: countersignature.to_bytes(),
        })?;
        let mut inner = (*self.0).clone();
        inner.handovers.push(handed);
        Ok(Self(Arc::new(inner)))
    }

    /// The realm.
    #[must_use]
    pub fn realm(&self) -> RealmId {
        self.0.realm
    }

    /// What the realm began with.
    #[must_use]
    pub fn inception(&self) -> &Inception {
        &self.0.inception
    }

    /// The key that speaks for the realm now, as far as is known here.
    #[must_use]
    pub fn current(&self) -> &VerifyingKey {
        let last = self.0.handovers.last();
        last.map_or(&self.0.inception.root, |handed| {
            &handed.statement.body().root
        })
    }

    /// The identity of the key that comes next.
    #[must_use]
    pub fn heir(&self) -> &KeyId {
        self.0.heir()
    }

    /// How often the realm was handed over: the number of the current root.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0.handovers.len() as u64
    }

    /// When the current root took over, by the former's clock; none for the first.
    #[must_use]
    pub fn since_ms(&self) -> Option<u64> {
        let last = self.0.handovers.last();
        last.map(|handed| handed.statement.issued_ms())
    }

    /// The root with this number; 0 is the first.
    #[must_use]
    pub fn key(&self, number: u64) -> Option<&VerifyingKey> {
        self.0.keys().nth(usize::try_from(number).ok()?)
    }

    /// Which of the roots this key is.
    #[must_use]
    pub fn number_of(&self, key: &VerifyingKey) -> Option<u64> {
        let place = self.0.keys().position(|root| root == key);
        place.map(|place| place as u64)
    }

    /// Believes a claim if one of the roots issued it; and says which.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn verify<B: Body>(&self, claim: Claim<B>) -> Result<(Verified<B>, u64), StatementError> {
        let number = self.number_of(claim.issuer());
        let issuer = number.and_then(|number| self.key(number));
        let issuer = *issuer.unwrap_or_else(|| self.current());
        let verified = claim.verify(&self.0.realm, &issuer)?;
        Ok((verified, number.unwrap_or_else(|| self.number())))
    }

    /// Whether a call that a root issued still makes a cluster: the current root's does,
    /// and of a former root's those that the last handover names.
    #[must_use]
    pub fn is_call_valid(&self, call: &Verified<Call>) -> bool {
        let Some(last) = self.0.handovers.last() else {
            return true;
        };
        let handover = last.statement.body();
        call.issuer_bytes() == handover.root.to_bytes()
            || handover.calls.binary_search(&sha256(call.bytes())).is_ok()
    }

    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(ROOTS_TAG);
        self.0.inception.write(&mut writer);
        writer.count(self.0.handovers.len());
        for handed in &self.0.handovers {
            writer.bytes(handed.statement.bytes());
            writer.fixed(&handed.countersignature.to_bytes());
        }
        writer.finish()
    }

    /// A digest of all of it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        sha256(&self.encode())
    }
}

impl std::fmt::Debug for Roots {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "root {} of {}", self.number(), self.0.realm)
    }
}

impl Inner {
    fn keys(&self) -> impl Iterator<Item = &VerifyingKey> {
        let later = self.handovers.iter();
        let later = later.map(|handed| &handed.statement.body().root);
        std::iter::once(&self.inception.root).chain(later)
    }

    fn heir(&self) -> &KeyId {
        let last = self.handovers.last();
        last.map_or(&self.inception.heir, |handed| &handed.statement.body().heir)
    }

    /// Believes the next handover, behind those that are held.
    fn verify(&self, part: &Part<'_>) -> Result<Handed, RootsError> {
        let number = self.handovers.len() as u64 + 1;
        if self.handovers.len() == HANDOVERS_MAX {
            return Err(RootsError::TooMany);
        }
        let statement = |error| RootsError::Statement { number, error };
        let claim = Claim::<Handover>::decode(part.statement).map_err(statement)?;
        let claimed = claim.claimed();
        // What costs nothing comes first: strangers bring these.
        if claimed.number != number {
            return Err(RootsError::WrongNumber {
                expected: number,
                found: claimed.number,
            });
        }
        if claimed.root.key_id() != *self.heir() {
            return Err(RootsError::NotTheHeir(number));
        }
        if self.keys().any(|key| *key == claimed.root) {
            return Err(RootsError::RootAgain(number));
        }
        let former = *self.keys().last().unwrap_or(&self.inception.root);
        let verified = claim.verify(&self.realm, &former).map_err(statement)?;
        let countersignature = Signature::from_bytes(part.countersignature);
        let heir = verified.body().root;
        heir.verify(HEIR_DOMAIN, verified.bytes(), &countersignature)
            .map_err(|_| RootsError::NotCountersigned(number))?;
        Ok(Handed {
            statement: verified,
            countersignature,
        })
    }
}

fn check_realm(inception: &Inception, pinned: &RealmId) -> Result<(), RootsError> {
    let found = inception.realm();
    if found != *pinned {
        return Err(RootsError::WrongRealm {
            pinned: *pinned,
            found,
        });
    }
    Ok(())
}

fn parse(bytes: &[u8]) -> Result<(Inception, Vec<Part<'_>>), RootsError> {
    let mut reader = Reader::new(bytes);
    let tag = reader.u8()?;
    if tag != ROOTS_TAG {
        return Err(EncodingError::Unknown {
            what: "kind of record",
            value: u64::from(tag),
        }
        .into());
    }
    let inception = Inception::read(&mut reader)?;
    let count = reader.count(HANDOVERS_MAX).map_err(|error| match error {
        EncodingError::TooLong { .. } => RootsError::TooMany,
        error => error.into(),
    })?;
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        parts.push(Part {
            statement: reader.bytes(HANDOVER_LENGTH_MAX)?,
            countersignature: reader.array()?,
        });
    }
    reader.finish()?;
    Ok((inception, parts))
}

#[cfg(test)]
pub(crate) mod tests;
