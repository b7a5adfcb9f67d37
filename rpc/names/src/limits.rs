//! Every bound of the name service.

use std::time::Duration;

use sealmoot_rpc::limits::binding::RECORD_BYTES_MAX;

/// Names that a service keeps, at most, expired ones included: their serials are
/// the floors below which nothing is taken.
pub const BOOK_NAMES_MAX: usize = 16_384;

/// Names under the prefix of one rule, unless the rule says otherwise.
pub const RULE_NAMES_MAX: usize = 1024;

/// Bytes of the records of all names together, at most.
pub const BOOK_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Names in the answer to one listing, at most.
pub const LIST_PAGE_MAX: usize = 1000;

/// Watches at one service, at most.
pub const WATCHES_MAX: usize = 4096;

/// Watches of one identity, at most, over all its connections.
pub const WATCHES_PER_PEER_MAX: usize = 64;

/// Publishes that wait for the disk, at most. The next is turned away as busy.
pub const PUBLISHES_WAITING_MAX: usize = 256;

/// Bytes of a log, at most: a longer one is not read.
pub const LOG_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A log that is no longer than this is not rewritten, whatever is in it.
pub const LOG_REWRITE_BYTES_MIN: usize = 64 * 1024;

/// Damaged logs that are kept aside, at most. Then the operator has to look.
pub const ASIDE_FILES_MAX: usize = 16;

/// How long one question to a name service may take: less than the patience of
/// whoever asks, so that another can be asked behind it.
pub const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long one publish may take.
pub const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a name service that did not take a record is left alone; twice as
/// long after each further failure.
pub const PUBLISH_RETRY_FIRST: Duration = Duration::from_millis(250);

/// How long at most. Never beyond the next renewal.
pub const PUBLISH_RETRY_MAX: Duration = Duration::from_secs(30);

/// How long a publisher that waits does not look at the clock.
pub const CLOCK_LOOK: Duration = Duration::from_secs(30);

/// The shortest validity that a publisher gives its records. A shorter one would
/// have it sign and publish without pause.
pub const VALIDITY_MIN: Duration = Duration::from_secs(3);

/// The longest: a year.
pub const VALIDITY_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

// What a rewritten log grows to before it is rewritten again can be read back.
const _: () = assert!(
    2 * LOG_REWRITE_BYTES_MIN
        + 2 * (BOOK_BYTES_MAX + BOOK_NAMES_MAX * 64)
        + PUBLISHES_WAITING_MAX * (RECORD_BYTES_MAX + 64)
        < LOG_BYTES_MAX
);
