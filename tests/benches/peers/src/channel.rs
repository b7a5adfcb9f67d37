//! The channels of `sealmoot-rpc` beside what does the same work.

pub mod calls;
pub mod certificates;
pub mod connect;
pub mod cores;
pub mod handshake;
pub mod parties;
pub mod raw_keys;
pub mod record;
pub mod snow;
pub mod stream;
