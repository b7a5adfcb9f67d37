//! A keyed chain over records: none is changed, dropped or moved unseen.
//!
//! For logs that must not be rewritten, not even by whoever takes over the machine
//! that writes them. Every record gets a [`Link`], to be stored beside it:
//!
//! ```text
//! link[i]    = HMAC-SHA-256(mac_key[i], "sealmoot/v1/hash chain" || chain id
//!                || i || link[i-1] || len(record) || record)
//! mac_key[i] = derive_key(key[i], "hash chain link", "")
//! key[i+1]   = derive_key(key[i], "hash chain next key", "")
//! ```
//!
//! with a chain id of 32 bytes, numbers in 64 bits, little-endian, and 32 zeros
//! before the first link.
//!
//! **The key moves on with every record, and the old one is wiped.** Who steals the
//! current key can invent what comes next, and nothing of what was. So the first key
//! is made elsewhere, or taken away once it was handed over: whoever keeps it on the
//! writing machine has a chain whose past can be rewritten by its thief.
//!
//! **Verification needs the first key,** or a later key and the head that goes with
//! it. The key of the verifier is as secret as the writer's: this is a chain for one
//! owner. Where strangers are to verify, sign heads ([`crate::signature`]) or use a
//! tree ([`crate::merkle`]).
//!
//! **A chain that was cut short is a valid chain.** That its end is missing shows only
//! against a [`Head`] kept elsewhere (with a peer, on paper, in another log), so a
//! [`Verifier`] does not begin without one. What was appended after that head was
//! taken can still be cut away unseen: how often heads are taken is the caller's
//! choice.
//!
//! After a crash the log may have records that the stored key and head do not know.
//! [`Chain::resume`] from what was stored and append the same records again: they get
//! the same links.
//!
//! ```
//! use sealmoot_crypto::{hash_chain::{Chain, Verifier}, secret::SecretArray};
//! let first_key = SecretArray::<32>::random()?;
//! let chain_id = [7; 32];
//!
//! let mut chain = Chain::start(&first_key, chain_id);
//! let mut log = Vec::new();
//! for record in ["alice logged in", "bob was refused"] {
//!     log.push((record, chain.append(record.as_bytes())?));
//! }
//! let kept_elsewhere = chain.head();
//!
//! let mut verifier = Verifier::start(&first_key, chain_id, kept_elsewhere);
//! for (record, link) in &log {
//!     verifier.check(record.as_bytes(), link)?;
//! }
//! verifier.finish()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::vec::Vec;

use core::fmt;

use crate::digest::MacKey;
use crate::encoding::{EncodingError, Reader, Writer};
use crate::kdf::{Label, derive_key};
use crate::secret::{SecretArray, constant_time_equal};

/// Length of a link in bytes.
pub const LINK_LENGTH: usize = 32;
/// Length of a chain id in bytes.
pub const CHAIN_ID_LENGTH: usize = 32;

const DOMAIN: &[u8] = b"sealmoot/v1/hash chain";
const LINK_KEY: Label = Label::new("hash chain link");
const NEXT_KEY: Label = Label::new("hash chain next key");
const HEAD_VERSION: u16 = 1;

/// The chain has 2^64 - 1 records, the most that a head can count.
///
/// ```
/// use sealmoot_crypto::hash_chain::{Chain, ChainFull, Head};
/// use sealmoot_crypto::secret::SecretArray;
/// let mut bytes = Head::EMPTY.to_bytes();
/// bytes[2..].fill(0xff); // 2^64 - 1 records
/// let mut chain = Chain::resume(&SecretArray::random()?, [7; 32], Head::from_bytes(&bytes)?);
/// assert_eq!(chain.append(b"one too many"), Err(ChainFull));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the chain is full")]
pub struct ChainFull;

/// What is wrong with a chain.
///
/// ```
/// use sealmoot_crypto::hash_chain::ChainError;
/// // That a log grew after its head was taken is no sign of tampering.
/// fn tampered_with(outcome: Result<(), ChainError>) -> bool {
///     !matches!(outcome, Ok(()) | Err(ChainError::Extended { .. }))
/// }
/// assert!(!tampered_with(Err(ChainError::Extended { present: 2, expected: 1 })));
/// assert!(tampered_with(Err(ChainError::Truncated { present: 1, expected: 2 })));
/// assert!(tampered_with(Err(ChainError::Broken { index: 0 })));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The record with this index, or its link, is not the one that was appended
    /// there: changed, moved, put in, or what stood before it was dropped.
    #[error("the chain is broken at record {index}")]
    Broken {
        /// The index, which counts from 0.
        index: u64,
    },
    /// Every link is good, and yet the chain does not go through the expected head:
    /// it was written anew by a holder of the key, or the head is another chain's.
    #[error("the chain differs from its head after {records} records")]
    HeadDiffers {
        /// How many records the expected head counts.
        records: u64,
    },
    /// The chain ends before the expected head: its end was cut off.
    #[error("the chain was cut short: {present} records of {expected}")]
    Truncated {
        /// How many records there are.
        present: u64,
        /// How many the expected head counts.
        expected: u64,
    },
    /// The walk began behind the expected head, so whether the chain goes through it
    /// was not seen: say where to begin before it.
    #[error("the walk began after {verified} records, behind the expected head at {expected}")]
    HeadBeforeStart {
        /// How many records the walk began after.
        verified: u64,
        /// How many the expected head counts.
        expected: u64,
    },
    /// The chain goes through the expected head, and on. No fault where a log was
    /// appended to after the head was taken; the rest is genuine unless the key was
    /// stolen.
    #[error("the chain goes on after its head: {present} records, {expected} expected")]
    Extended {
        /// How many records there are.
        present: u64,
        /// How many the expected head counts.
        expected: u64,
    },
}

/// The authentication code of one record in its place; no secret.
///
/// ```
/// use sealmoot_crypto::{hash_chain::Chain, secret::SecretArray};
/// let mut chain = Chain::start(&SecretArray::random()?, [7; 32]);
/// // The same record in another place has another link.
/// assert_ne!(chain.append(b"tick")?, chain.append(b"tick")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Link([u8; LINK_LENGTH]);

impl Link {
    /// Takes 32 bytes; whether they are a link shows when a chain is verified.
    ///
    /// ```
    /// use sealmoot_crypto::{hash_chain::{Chain, Link, Verifier}, secret::SecretArray};
    /// let key = SecretArray::random()?;
    /// let mut chain = Chain::start(&key, [7; 32]);
    /// let stored: [u8; 32] = *chain.append(b"first")?.as_bytes();
    /// let mut verifier = Verifier::start(&key, [7; 32], chain.head());
    /// verifier.check(b"first", &Link::from_bytes(stored))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn from_bytes(bytes: [u8; LINK_LENGTH]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    ///
    /// ```
    /// use sealmoot_crypto::{hash_chain::Chain, secret::SecretArray};
    /// let mut chain = Chain::start(&SecretArray::random()?, [7; 32]);
    /// let mut log = Vec::new(); // 32 bytes of link before each record
    /// log.extend_from_slice(chain.append(b"first")?.as_bytes());
    /// log.extend_from_slice(b"first");
    /// assert_eq!(&log[32..], b"first");
    /// assert_eq!(&log[..32], chain.head().link().as_bytes());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; LINK_LENGTH] {
        &self.0
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Link(")?;
        for byte in self.0 {
            write!(formatter, "{byte:02x}")?;
        }
        formatter.write_str(")")
    }
}

/// Where a chain ends: how many records it has, and the link of the last.
///
/// ```
/// use sealmoot_crypto::{hash_chain::{Chain, Head}, secret::SecretArray};
/// let mut chain = Chain::start(&SecretArray::random()?, [7; 32]);
/// assert_eq!(chain.head(), Head::EMPTY);
/// let link = chain.append(b"first")?;
/// let kept_elsewhere = chain.head();
/// assert_eq!((kept_elsewhere.records(), kept_elsewhere.link()), (1, link));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    records: u64,
    link: Link,
}

impl Head {
    /// Length of a head's encoding in bytes.
    pub const LENGTH: usize = 2 + 8 + LINK_LENGTH;

    /// The head of a chain without records.
    pub const EMPTY: Self = Self {
        records: 0,
        link: Link([0; LINK_LENGTH]),
    };

    /// How many records the chain has.
    ///
    /// ```
    /// use sealmoot_crypto::{hash_chain::Chain, secret::SecretArray};
    /// let mut chain = Chain::start(&SecretArray::random()?, [7; 32]);
    /// chain.append(b"first")?;
    /// chain.append(b"second")?;
    /// assert_eq!(chain.head().records(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The link of the last record, or 32 zeros when there is none.
    ///
    /// ```
    /// use sealmoot_crypto::{hash_chain::{Chain, Head}, secret::SecretArray};
    /// let mut chain = Chain::start(&SecretArray::random()?, [7; 32]);
    /// chain.append(b"first")?;
    /// let last = chain.append(b"second")?;
    /// assert_eq!(chain.head().link(), last);
    /// assert_eq!(Head::EMPTY.link().as_bytes(), &[0; 32]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn link(&self) -> Link {
        self.link
    }

    /// The head as bytes: version u16, records u64, link 32.
    ///
    /// ```
    /// use sealmoot_crypto::{hash_chain::{Chain, Head}, secret::SecretArray};
    /// let mut chain = Chain::start(&SecretArray::random()?, [7; 32]);
    /// chain.append(b"first")?;
    /// let on_paper = chain.head().to_bytes();
    /// assert_eq!(on_paper.len(), Head::LENGTH);
    /// assert_eq!(Head::from_bytes(&on_paper)?, chain.head());
    /// assert!(Head::from_bytes(&on_paper[1..]).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(Self::LENGTH);
        writer.u16(HEAD_VERSION);
        writer.u64(self.records);
        writer.fixed(&self.link.0);
        writer.finish()
    }

    /// The head that [`Head::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`EncodingError`] when the bytes are anything else.
    ///
    /// ```
    /// use sealmoot_crypto::hash_chain::Head;
    /// assert_eq!(Head::from_bytes(&Head::EMPTY.to_bytes())?, Head::EMPTY);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EncodingError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u16()?;
        if version != HEAD_VERSION {
            return Err(EncodingError::Unknown {
                what: "chain head version",
                value: u64::from(version),
            });
        }
        let head = Self {
            records: reader.u64()?,
            link: Link(reader.array()?),
        };
        reader.finish()?;
        if head.records == 0 && head != Self::EMPTY {
            return Err(EncodingError::Invalid(
                "the head of a chain without records has a link",
            ));
        }
        Ok(head)
    }
}

/// The writer's end of a chain.
///
/// ```
/// use sealmoot_crypto::{hash_chain::Chain, secret::SecretArray};
/// let mut chain = Chain::start(&SecretArray::random()?, [7; 32]);
/// chain.append(b"alice logged in")?;
/// chain.append(b"bob was refused")?;
/// assert_eq!(format!("{chain:?}"), "Chain(2 records, redacted)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Chain(State);

impl Chain {
    /// A chain without records. `chain_id` tells chains under one key apart: random,
    /// or a hash of a name. The caller's `first_key` is the caller's to take away.
    ///
    /// ```
    /// use sealmoot_crypto::{digest::sha256, hash_chain::Chain, secret::SecretArray};
    /// let key = SecretArray::random()?;
    /// let mut logins = Chain::start(&key, sha256(b"logins"));
    /// let mut payments = Chain::start(&key, sha256(b"payments"));
    /// // A record of one log cannot pass for one of the other.
    /// assert_ne!(logins.append(b"alice")?, payments.append(b"alice")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn start(first_key: &SecretArray<32>, chain_id: [u8; CHAIN_ID_LENGTH]) -> Self {
        Self::resume(first_key, chain_id, Head::EMPTY)
    }

    /// The chain that stood at `head` when [`Chain::key`] was `key`. The two are
    /// believed: store them sealed, and together.
    ///
    /// ```
    /// use sealmoot_crypto::{hash_chain::Chain, secret::SecretArray};
    /// let mut chain = Chain::start(&SecretArray::random()?, [7; 32]);
    /// chain.append(b"first")?;
    /// let mut resumed = Chain::resume(chain.key(), [7; 32], chain.head());
    /// assert_eq!(resumed.append(b"second")?, chain.append(b"second")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn resume(key: &SecretArray<32>, chain_id: [u8; CHAIN_ID_LENGTH], head: Head) -> Self {
        Self(State::new(key, chain_id, head))
    }

    /// Appends `record` and returns its link, to be stored with it. The key moves on.
    ///
    /// # Errors
    /// [`ChainFull`]; nothing was appended.
    ///
    /// ```
    /// use sealmoot_crypto::{hash_chain::Chain, secret::SecretArray};
    /// let mut chain = Chain::start(&SecretArray::random()?, [7; 32]);
    /// let mut log = Vec::new();
    /// for record in ["first", "second"] {
    ///     log.push((record, chain.append(record.as_bytes())?));
    /// }
    /// assert_eq!(log[1].1, chain.head().link());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append(&mut self, record: &[u8]) -> Result<Link, ChainFull> {
        let link = self.0.link(record).ok_or(ChainFull)?;
        self.0.advance(link);
        Ok(link)
    }

    /// Where the chain ends now. Worth something against truncation only in a place
    /// that whoever can cut the log cannot write to.
    ///
    /// ```
    /// use sealmoot_crypto::{hash_chain::{Chain, ChainError, Verifier}, secret::SecretArray};
    /// let key = SecretArray::random()?;
    /// let mut chain = Chain::start(&key, [7; 32]);
    /// chain.append(b"first")?;
    /// let sent_to_a_peer = chain.head();
    /// let log_without_records = Verifier::start(&key, [7; 32], sent_to_a_peer).finish();
    /// assert_eq!(log_without_records, Err(ChainError::Truncated { present: 0, expected: 1 }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn head(&self) -> Head {
        self.0.head
    }

    /// The key for the next record, for storing it sealed beside the head. It opens
    /// nothing that was appended before.
    ///
    /// ```
    /// use sealmoot_crypto::{hash_chain::Chain, keyset::Keyset, secret::SecretArray};
    /// let first_key = SecretArray::random()?;
    /// let mut chain = Chain::start(&first_key, [7; 32]);
    /// chain.append(b"first")?;
    /// assert!(!chain.key().same_as(&first_key)); // it moved on
    ///
    /// let keyset = Keyset::generate()?;
    /// let stored = keyset.seal("chain key", &chain.head().to_bytes(), chain.key().expose())?;
    /// assert_eq!(stored.len(), 32 + Keyset::OVERHEAD);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn key(&self) -> &SecretArray<32> {
        &self.0.key
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Chain({} records, redacted)",
            self.0.head.records
        )
    }
}

/// Walks a chain record by record and compares its end with a head kept elsewhere.
///
/// ```
/// use sealmoot_crypto::{hash_chain::{Chain, ChainError, Verifier}, secret::SecretArray};
/// let first_key = SecretArray::<32>::random()?;
/// let mut chain = Chain::start(&first_key, [7; 32]);
/// let link = chain.append(b"first")?;
/// chain.append(b"second")?;
///
/// // Every record that is left is genuine, and yet:
/// let mut verifier = Verifier::start(&first_key, [7; 32], chain.head());
/// verifier.check(b"first", &link)?;
/// let truncated = ChainError::Truncated { present: 1, expected: 2 };
/// assert_eq!(verifier.finish(), Err(truncated));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Verifier {
    state: State,
    expected: Head,
    /// The first fault; nothing after it is looked at.
    fault: Option<ChainError>,
}

impl Verifier {
    /// Before the first record of a chain whose first key and expected head are known.
    ///
    /// ```
    /// use sealmoot_crypto::{hash_chain::{Chain, ChainError, Verifier}, secret::SecretArray};
    /// let key = SecretArray::random()?;
    /// let mut chain = Chain::start(&key, [7; 32]);
    /// let link = chain.append(b"first")?;
    /// Verifier::start(&key, [7; 32], chain.head()).check(b"first", &link)?;
    /// let other_chain = Verifier::start(&key, [8; 32], chain.head()).check(b"first", &link);
    /// assert_eq!(other_chain, Err(ChainError::Broken { index: 0 }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn start(
        first_key: &SecretArray<32>,
        chain_id: [u8; CHAIN_ID_LENGTH],
        expected: Head,
    ) -> Self {
        Self::resume(first_key, chain_id, Head::EMPTY, expected)
    }

    /// After the record that `verified` ends with, with the key that followed it;
    /// both from a place that is trusted. What stands before is not looked at.
    ///
    /// ```
    /// use sealmoot_crypto::{hash_chain::{Chain, Verifier}, secret::SecretArray};
    /// let mut chain = Chain::start(&SecretArray::random()?, [7; 32]);
    /// chain.append(b"checked last month")?;
    /// let (key, verified) = (SecretArray::from_bytes(*chain.key().expose()), chain.head());
    /// let link = chain.append(b"new")?;
    ///
    /// let mut verifier = Verifier::resume(&key, [7; 32], verified, chain.head());
    /// verifier.check(b"new", &link)?;
    /// verifier.finish()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn resume(
        key: &SecretArray<32>,
        chain_id: [u8; CHAIN_ID_LENGTH],
        verified: Head,
        expected: Head,
    ) -> Self {
        let fault = (verified.records > expected.records).then_some(ChainError::HeadBeforeStart {
            verified: verified.records,
            expected: expected.records,
        });
        let mut verifier = Self {
            state: State::new(key, chain_id, verified),
            expected,
            fault,
        };
        verifier.compare_head();
        verifier
    }

    /// Checks the next record.
    ///
    /// # Errors
    /// [`ChainError::Broken`], [`ChainError::HeadDiffers`]; every later call gives
    /// the same error, because nothing behind a break can be told.
    ///
    /// ```
    /// use sealmoot_crypto::{hash_chain::{Chain, ChainError, Verifier}, secret::SecretArray};
    /// let key = SecretArray::random()?;
    /// let mut chain = Chain::start(&key, [7; 32]);
    /// let links = [chain.append(b"first")?, chain.append(b"second")?];
    /// let mut verifier = Verifier::start(&key, [7; 32], chain.head());
    /// verifier.check(b"first", &links[0])?;
    /// let changed = verifier.check(b"sec0nd", &links[1]);
    /// assert_eq!(changed, Err(ChainError::Broken { index: 1 }));
    /// // What was broken stays so.
    /// assert_eq!(verifier.check(b"second", &links[1]), changed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check(&mut self, record: &[u8], link: &Link) -> Result<(), ChainError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let index = self.state.head.records;
        let genuine = self
            .state
            .link(record)
            .is_some_and(|expected| constant_time_equal(&expected.0, &link.0));
        if genuine {
            self.state.advance(*link);
            self.compare_head();
        } else {
            self.fault = Some(ChainError::Broken { index });
        }
        self.fault.map_or(Ok(()), Err)
    }

    /// The head after the records that were checked.
    ///
    /// ```
    /// use sealmoot_crypto::{hash_chain::{Chain, Verifier}, secret::SecretArray};
    /// let key = SecretArray::random()?;
    /// let mut chain = Chain::start(&key, [7; 32]);
    /// let link = chain.append(b"first")?;
    /// let mut verifier = Verifier::start(&key, [7; 32], chain.head());
    /// assert_eq!(verifier.head().records(), 0);
    /// verifier.check(b"first", &link)?;
    /// assert_eq!(verifier.head(), chain.head());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn head(&self) -> Head {
        self.state.head
    }

    /// Ends the walk: `Ok` when the chain ended exactly at the expected head.
    ///
    /// # Errors
    /// [`ChainError`]: the first fault that was met, or [`ChainError::Truncated`], or
    /// [`ChainError::Extended`].
    ///
    /// ```
    /// use sealmoot_crypto::{hash_chain::{Chain, ChainError, Verifier}, secret::SecretArray};
    /// let key = SecretArray::random()?;
    /// let mut chain = Chain::start(&key, [7; 32]);
    /// let links = [chain.append(b"first")?, chain.append(b"second")?];
    /// let mut verifier = Verifier::start(&key, [7; 32], chain.head());
    /// verifier.check(b"first", &links[0])?;
    /// // The log ends here, and every link in it was good.
    /// let cut_off = ChainError::Truncated { present: 1, expected: 2 };
    /// assert_eq!(verifier.finish(), Err(cut_off));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn finish(self) -> Result<(), ChainError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let (present, expected) = (self.state.head.records, self.expected.records);
        match present.cmp(&expected) {
            core::cmp::Ordering::Less => Err(ChainError::Truncated { present, expected }),
            core::cmp::Ordering::Equal => Ok(()),
            core::cmp::Ordering::Greater => Err(ChainError::Extended { present, expected }),
        }
    }

    /// Once the walk stands where the expected head does, the links must be one.
    fn compare_head(&mut self) {
        let head = self.state.head;
        if head.records == self.expected.records
            && !constant_time_equal(&head.link.0, &self.expected.link.0)
        {
            self.fault = Some(ChainError::HeadDiffers {
                records: head.records,
            });
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Verifier({} records, redacted)",
            self.state.head.records
        )
    }
}

/// What writer and verifier have in common.
struct State {
    /// The key for the record after `head`.
    key: SecretArray<32>,
    chain_id: [u8; CHAIN_ID_LENGTH],
    head: Head,
}

impl State {
    fn new(key: &SecretArray<32>, chain_id: [u8; CHAIN_ID_LENGTH], head: Head) -> Self {
        let mut own = SecretArray::from_bytes([0; 32]);
        own.expose_mut().copy_from_slice(key.expose());
        Self {
            key: own,
            chain_id,
            head,
        }
    }

    /// The link that `record` has as the next one, or `None` when no further record
    /// can be counted.
    fn link(&self, record: &[u8]) -> Option<Link> {
        self.head.records.checked_add(1)?;
        let key = MacKey::from_secret(&derive_key(&self.key, LINK_KEY, b""));
        Some(Link(key.tag(&[
            DOMAIN,
            &self.chain_id,
            &self.head.records.to_le_bytes(),
            &self.head.link.0,
            &(record.len() as u64).to_le_bytes(),
            record,
        ])))
    }

    /// Steps behind the record that got `link`; the assignment drops the old key,
    /// which wipes it.
    fn advance(&mut self, link: Link) {
        self.key = derive_key(&self.key, NEXT_KEY, b"");
        self.head = Head {
            records: self.head.records + 1,
            link,
        };
    }
}

#[cfg(test)]
mod tests;
