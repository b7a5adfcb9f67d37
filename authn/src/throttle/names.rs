//! What buckets are called: keyed hashes, so that whoever reads the state learns
//! neither names nor addresses.

use std::net::{IpAddr, Ipv6Addr};

use sealmoot_crypto::digest::MacKey;
use sealmoot_crypto::kdf;
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::KeyId;
use sealmoot_rpc::channel::Origin;

use super::limits::{Rule, ThrottleLimits};
use crate::name::Name;
use crate::opaque::LoginSecrets;

/// Bits of an IPv6 address that name a source: what one machine or one household
/// gets at least.
const SOURCE_BITS: u32 = 64;
/// Bits of an IPv6 address that name a source where it is counted for an account:
/// a customer's whole allocation, or its 65,536 networks would each have tries of
/// their own.
const SITE_BITS: u32 = 48;

/// Where attempts come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// An address.
    Address(IpAddr),
    /// This machine, over no network, or from nobody knows where.
    Local,
}

impl Source {
    /// The source of a peer. An IPv4 address that is written as an IPv6 one is the
    /// IPv4 address.
    #[must_use]
    pub fn of(origin: &Origin) -> Self {
        match origin {
            Origin::Network(address) => Self::Address(address.ip().to_canonical()),
            Origin::Process(_) | Origin::Memory => Self::Local,
        }
    }

    /// The bytes that name it, of an IPv6 address its first `bits`.
    fn bytes(self, bits: u32) -> [u8; 17] {
        let mut bytes = [0; 17];
        match self {
            Self::Local => {}
            Self::Address(IpAddr::V4(address)) => {
                bytes[0] = 4;
                bytes[1..5].copy_from_slice(&address.octets());
            }
            Self::Address(IpAddr::V6(address)) => {
                bytes[0] = 6;
                let mask = u128::MAX << (128 - bits);
                let prefix = Ipv6Addr::from_bits(address.to_bits() & mask);
                bytes[1..].copy_from_slice(&prefix.octets());
            }
        }
        bytes
    }
}

/// The key of the hashes. It comes from the login secrets, so that the nodes of a
/// realm, and nobody else, call the same bucket by the same name.
pub struct ThrottleKey(MacKey);

impl ThrottleKey {
    /// The key of a realm.
    #[must_use]
    pub fn of(secrets: &LoginSecrets) -> Self {
        let secret = kdf::derive(secrets.encode().expose(), "authn throttle names", b"");
        Self(MacKey::from_secret(&secret))
    }

    /// The key of a node that has no login secrets yet. It admits nobody by these names:
    /// see [`Throttle::call_by`](super::Throttle::call_by).
    #[must_use]
    pub fn before_login_secrets() -> Self {
        Self(MacKey::from_secret(&SecretArray::from_bytes([0; 32])))
    }

    /// The hash of an account, whether there is one or not.
    pub(super) fn account(&self, user: &Name) -> AccountHash {
        first(&self.0.tag(&[b"account", user.as_str().as_bytes()]))
    }

    pub(super) fn source(&self, kind: Kind, source: Source) -> Slot {
        let tag = self.0.tag(&[b"source", &source.bytes(SOURCE_BITS)]);
        Slot(kind, first(&tag))
    }

    pub(super) fn account_from_source(&self, account: AccountHash, source: Source) -> Slot {
        let tag = self
            .0
            .tag(&[b"account from", &account, &source.bytes(SITE_BITS)]);
        Slot(Kind::AccountFromSource, joined(account, &tag))
    }

    pub(super) fn delegate(&self, key: &KeyId) -> Slot {
        let tag = self.0.tag(&[b"delegate", key.as_bytes()]);
        Slot(Kind::Delegate, first(&tag))
    }

    pub(super) fn account_with_key(&self, account: AccountHash, key: &KeyId) -> Slot {
        let tag = self.0.tag(&[b"account with", &account, key.as_bytes()]);
        Slot(Kind::AccountWithKey, joined(account, &tag))
    }
}

/// Names an account.
pub(super) type AccountHash = [u8; 8];
/// Names a bucket of its kind. One that belongs to an account begins with the
/// account's hash, so that all of an account can be found.
pub(super) type SlotHash = [u8; 16];

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Source = 1,
    AccountFromSource = 2,
    Account = 3,
    AccountWithKey = 4,
    SourceWithKey = 5,
    Overflow = 6,
    Code = 7,
    /// Behind the numbers of the record's other entries.
    Delegate = 11,
}

impl Kind {
    pub(super) const ALL: [Self; 8] = [
        Self::Source,
        Self::AccountFromSource,
        Self::Account,
        Self::AccountWithKey,
        Self::SourceWithKey,
        Self::Overflow,
        Self::Code,
        Self::Delegate,
    ];

    /// Its place in [`Kind::ALL`].
    pub(super) fn index(self) -> usize {
        match self {
            Self::Delegate => Self::ALL.len() - 1,
            other => other as usize - 1,
        }
    }

    pub(super) fn rule(self, limits: &ThrottleLimits) -> Rule {
        match self {
            Self::Source => limits.source,
            Self::AccountFromSource => limits.account_from_source,
            Self::Account => limits.account,
            Self::AccountWithKey => limits.account_with_key,
            Self::SourceWithKey => limits.source_with_key,
            Self::Overflow => limits.overflow,
            Self::Code => limits.code,
            Self::Delegate => limits.delegate,
        }
    }

    /// Whether its buckets' names begin with an account's.
    pub(super) fn is_of_an_account(self) -> bool {
        matches!(
            self,
            Self::AccountFromSource | Self::Account | Self::AccountWithKey | Self::Code
        )
    }
}

/// Names a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Slot(pub(super) Kind, pub(super) SlotHash);

impl Slot {
    pub(super) fn account(account: AccountHash) -> Self {
        Self(Kind::Account, joined(account, &[0; 32]))
    }

    /// What newcomers to the table of `kind` share while it is full.
    pub(super) fn overflow(kind: Kind) -> Self {
        let mut hash = [0; 16];
        hash[0] = kind as u8;
        Self(Kind::Overflow, hash)
    }
}

fn joined(account: AccountHash, tag: &[u8; 32]) -> SlotHash {
    let mut hash = [0; 16];
    hash[..8].copy_from_slice(&account);
    hash[8..].copy_from_slice(&tag[..8]);
    hash
}

fn first<const N: usize>(tag: &[u8; 32]) -> [u8; N] {
    const { assert!(N <= 32) };
    let mut hash = [0; N];
    hash.copy_from_slice(&tag[..N]);
    hash
}
