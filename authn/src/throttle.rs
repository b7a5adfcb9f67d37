//! How often passwords may be tried: for each source, for each account, and for the
//! keys that have proved an account's password before.
//!
//! An attempt is *charged when it begins*, because a client that gives up behind the
//! challenge has tested a password all the same and the node never hears of it. A
//! proof that verifies takes the charge back. Too many charges make the next attempt
//! wait: first a second, then twice as long each time, up to a maximum; charges decay
//! with time. Attempts that are refused cost nothing and say nothing: whether the
//! user exists is not looked at.
//!
//! | Who asks | is judged by |
//! |---|---|
//! | a stranger | its source; the account from this source; the account from all strangers |
//! | a key that proved the account's password before | the account and this key; the proven keys of its source |
//!
//! Codes of a second factor are counted apart, because whoever tries them has proved the
//! password; and which of them were used is remembered here too, told to the peers and
//! kept like charges, so that none counts twice on any node.
//!
//! So strangers, however many they are, take nothing from somebody who comes with a
//! proven key. `authn/DESIGN.md` has the reasons, the figures and the format.
//!
//! [`Throttle`] decides, as a value that is told the time; [`LoginThrottle`] asks it
//! and makes what it decided durable in a [`ThrottleStore`].

mod accounts;
mod bucket;
mod guard;
mod limits;
mod names;
mod proven;
mod record;
mod state;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod used;

pub use accounts::Account;
pub use guard::{Begun, LoginThrottle};
pub use limits::{
    PROVEN_FOR_MS, PROVEN_KEYS_MAX, PROVEN_KEYS_PER_ACCOUNT_MAX, RECORD_ENTRIES_MAX, Rule,
    TABLE_ENTRIES_MAX, THROTTLE_RECORD_LENGTH_MAX, ThrottleLimits, UNLOCK_AGE_MS_MAX,
    USED_ENROLMENTS_MAX, USED_ENROLMENTS_PER_ACCOUNT_MAX,
};
pub use names::{Source, ThrottleKey};
pub use record::{ThrottlePart, parts};
pub use state::{Attempt, Refused, Throttle, Ticket, UnlockError};
pub use store::{NotDurable, StoreFuture, ThrottleStore, Volatile};
