//! The figures of throttling, and the bounds of its tables.

use crate::users::USERS_MAX;

/// Most buckets of one kind, for this node and again for each of its peers.
pub const TABLE_ENTRIES_MAX: usize = 65_536;
/// Most keys that are remembered as proven, for all accounts together.
pub const PROVEN_KEYS_MAX: usize = 131_072;
/// Most keys that are remembered as proven for one account.
pub const PROVEN_KEYS_PER_ACCOUNT_MAX: usize = 16;
/// How long a proven key is remembered, in milliseconds: 90 days.
pub const PROVEN_FOR_MS: u64 = 90 * 24 * 60 * 60 * 1000;
/// Most enrolments of second factors whose used codes are remembered, for all accounts
/// together: more than a realm has users.
pub const USED_ENROLMENTS_MAX: usize = 262_144;
/// Most enrolments of one account whose used codes are remembered.
pub const USED_ENROLMENTS_PER_ACCOUNT_MAX: usize = 8;
/// Most enrolments that a peer tells of and no record that is held here knows yet, for each
/// peer. An honest one tells of those whose record it got before this node.
pub(super) const UNCONFIRMED_PER_PEER_MAX: usize = 1024;
/// Most accounts of which is known what they log in with.
pub(super) const ACCOUNTS_MAX: usize = USERS_MAX;
/// Oldest and earliest statement *unlock* that is taken, in milliseconds from now.
pub const UNLOCK_AGE_MS_MAX: u64 = 10 * 60 * 1000;
/// Most entries of one record.
pub const RECORD_ENTRIES_MAX: usize = 1024;
/// Longest encoded record in bytes.
pub const THROTTLE_RECORD_LENGTH_MAX: usize = 13 + RECORD_ENTRIES_MAX * 41;
/// Changes that wait to be told to the peers; above it everything is told.
pub(super) const UNTOLD_MAX: usize = 16 * 1024;

/// How one kind of bucket fills, makes wait and empties.
///
/// In the long run a bucket admits no more than one attempt each `decay_ms` or
/// `wait_ms_max`, whichever is less: waits grow until they are as long as a charge
/// takes to decay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Charges above which attempts have to wait.
    pub free: u32,
    /// The first wait in milliseconds; each charge more doubles it.
    pub wait_ms_first: u64,
    /// The longest wait in milliseconds.
    pub wait_ms_max: u64,
    /// How long one charge takes to decay, in milliseconds.
    pub decay_ms: u64,
}

impl Rule {
    /// How long the next attempt waits when there are so many charges.
    pub(super) fn wait_ms(&self, charges: u64) -> u64 {
        let Some(doublings) = charges.checked_sub(u64::from(self.free)) else {
            return 0;
        };
        let factor = u32::try_from(doublings)
            .ok()
            .and_then(|shift| 1u64.checked_shl(shift))
            .unwrap_or(u64::MAX);
        self.wait_ms_first
            .saturating_mul(factor)
            .min(self.wait_ms_max)
    }

    /// Charges above which no more are counted: the wait is the longest by then, and
    /// who stops is forgiven after a bounded time.
    pub(super) fn charges_max(&self) -> u64 {
        let ratio = self.wait_ms_max / self.wait_ms_first.max(1);
        let doublings = u64::from(ratio.checked_ilog2().unwrap_or(0)) + 1;
        u64::from(self.free) + doublings
    }

    /// Time that `charges` take to decay, in milliseconds.
    pub(super) fn decay_of(&self, charges: u64) -> u64 {
        charges.saturating_mul(self.decay_ms.max(1))
    }

    fn scaled(mut self, numerator: u32, denominator: u32) -> Self {
        let free = u64::from(self.free) * u64::from(numerator) / u64::from(denominator.max(1));
        self.free = u32::try_from(free).unwrap_or(u32::MAX).max(1);
        self
    }
}

/// How often who may try. The default is explained in `authn/DESIGN.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThrottleLimits {
    /// Strangers of one source, whatever account they ask for.
    pub source: Rule,
    /// Strangers of one source who ask for one account.
    pub account_from_source: Rule,
    /// All strangers who ask for one account. Slower to fill than one source alone
    /// can fill it, or that source could shut everybody out.
    pub account: Rule,
    /// One proven key and its account.
    pub account_with_key: Rule,
    /// All proven keys of one source.
    pub source_with_key: Rule,
    /// Codes of a second factor, behind the right password: for one proven key, and for
    /// all strangers together. Whoever tries them knows the password; one code in some
    /// 330,000 hits.
    pub code: Rule,
    /// Passwords that one delegate of the root, and all below it, have nodes register.
    pub delegate: Rule,
    /// What newcomers share while a table is full.
    pub overflow: Rule,
}

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;

impl ThrottleLimits {
    /// Free attempts of strangers at one account from one source, by default.
    pub const ATTEMPTS: u32 = 5;
    /// Free attempts at codes of one account's second factor, by default.
    pub const CODES: u32 = 5;

    /// The limits with `attempts` free attempts of strangers at one account from one
    /// source instead of [`ThrottleLimits::ATTEMPTS`], and all other free attempts
    /// raised or lowered in proportion. For measurements: it weakens what passwords
    /// rest on.
    #[must_use]
    pub fn with_attempts(attempts: u32) -> Self {
        let scaled = |rule: Rule| rule.scaled(attempts, Self::ATTEMPTS);
        let limits = Self::default();
        Self {
            source: scaled(limits.source),
            account_from_source: scaled(limits.account_from_source),
            account: scaled(limits.account),
            account_with_key: scaled(limits.account_with_key),
            source_with_key: scaled(limits.source_with_key),
            code: scaled(limits.code),
            delegate: scaled(limits.delegate),
            overflow: scaled(limits.overflow),
        }
    }
}

impl Default for ThrottleLimits {
    fn default() -> Self {
        let rule = |free, wait_ms_max, decay_ms| Rule {
            free,
            wait_ms_first: SECOND,
            wait_ms_max,
            decay_ms,
        };
        Self {
            source: rule(100, 15 * MINUTE, MINUTE),
            account_from_source: rule(Self::ATTEMPTS, 15 * MINUTE, 15 * MINUTE),
            account: rule(60, 5 * MINUTE, MINUTE),
            account_with_key: rule(10, 15 * MINUTE, 5 * MINUTE),
            source_with_key: rule(1000, MINUTE, SECOND),
            code: rule(Self::CODES, 60 * MINUTE, 60 * MINUTE),
            delegate: rule(100, MINUTE, MINUTE),
            overflow: rule(200, SECOND, SECOND),
        }
    }
}
