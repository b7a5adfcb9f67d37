//! Calls of `sealmoot-rpc` beside those of others, and beside what carries them.

pub mod allocations;
pub mod bulk;
pub mod ladder;
pub mod line;
pub mod raw;
pub mod sealmoot;
pub mod tarpc;
pub mod tonic;
pub mod unary;

use crate::channel::cores::Cores;
use line::Line;

/// Which line stands where in [`all`].
pub mod place {
    /// `sealmoot-rpc` over TLS.
    pub const TLS: usize = 0;
    /// Over Noise.
    pub const NOISE: usize = 1;
    /// Over a Unix socket.
    pub const UNIX: usize = 2;
    /// Over memory.
    pub const MEMORY: usize = 3;
    /// tonic over its own TLS.
    pub const TONIC: usize = 4;
    /// tarpc over tokio-rustls.
    pub const TARPC: usize = 5;
    /// Frames over tokio-rustls.
    pub const RAW_TLS: usize = 6;
    /// Frames over TCP.
    pub const RAW_TCP: usize = 7;
    /// How they are named, in this order.
    pub const NAMES: [&str; 8] = [
        "sealmoot TLS",
        "sealmoot Noise",
        "sealmoot Unix",
        "sealmoot memory",
        "tonic+TLS",
        "tarpc+TLS",
        "raw TLS",
        "raw TCP",
    ];
}

/// One connection of each, its server at the far end of `cores`.
///
/// # Panics
/// When the system gives no sockets, or a peer does not start.
#[must_use]
pub fn all(cores: &Cores) -> Vec<Box<dyn Line>> {
    let mut lines = sealmoot::open(cores);
    lines.push(tonic::open(cores));
    lines.push(tarpc::open(cores));
    lines.push(raw::open(cores, true));
    lines.push(raw::open(cores, false));
    lines
}

/// How busy the machine is, for a heading: others' work widens the spread.
fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or("unknown").to_owned()
}
