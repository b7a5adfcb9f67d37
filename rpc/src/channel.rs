//! An ordered stream of bytes to one peer that has proved its key.
//!
//! Whatever carries it, a channel says the same three things: which Ed25519 key
//! its peer holds, what names this channel and no other, and where the bytes
//! come from. Calls look the same over each.
//!
//! | Channel | For | Who can read it | A call costs, beside its bytes |
//! |---|---|---|---|
//! | [`TlsChannel`] | networks; peers of every language | nobody; between two of ours, no later quantum computer | two passes of a cipher, two system calls a side |
//! | [`NoiseChannel`] | networks, both ends Sealmoot; fewer bytes, no X.509 anywhere | nobody; no later quantum computer, unless both sides switch the hybrid off | the same |
//! | [`UnixChannel`] | one machine | root, and whoever runs as one of the two users | two system calls a side |
//! | [`MemoryChannel`] | one process | this process | a copy and a wake |
//!
//! What every channel promises:
//!
//! - The peer held the private half of [`Channel::peer_key`] when the channel
//!   was opened, in this channel and not in a recording of another. (In memory,
//!   its [`Identity`].)
//! - Bytes come whole, in order, once, or the channel ends with an error.
//! - The end of the stream is the peer's own word ([`TlsChannel`],
//!   [`NoiseChannel`]). Over the other two it also follows from the peer's
//!   death, so what travels in them must say by itself where it ends. Frames do.
//!
//! ```
//! use sealmoot_crypto::signature::SigningKey;
//! use sealmoot_rpc::channel::{Channel, Identity, MemoryChannel};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (alice, bob) = (SigningKey::generate()?, SigningKey::generate()?);
//! let (mut near, mut far) = MemoryChannel::pair(&Identity::new(&alice)?, &Identity::new(&bob)?)?;
//! assert_eq!(near.peer_key(), bob.verifying_key());
//! assert_eq!(near.binding(), far.binding());
//!
//! near.write_all(b"hello").await?;
//! let mut heard = [0; 5];
//! far.read_exact(&mut heard).await?;
//! assert_eq!(&heard, b"hello");
//! # Ok(())
//! # }
//! ```

mod error;
mod identity;
mod introduction;
mod memory;
mod metered;
mod noise;
mod tls;
#[cfg(unix)]
mod unix;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;

use sealmoot_crypto::signature::VerifyingKey;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::peer::ChannelBinding;

pub use error::ChannelError;
pub use identity::Identity;
pub use introduction::{INTRODUCTION_BYTES, Introduction, IntroductionRefused, Role};
pub use memory::MemoryChannel;
pub use noise::NoiseChannel;
pub use tls::TlsChannel;
#[cfg(unix)]
pub use unix::{AllowedUsers, UNIX_GREETING_BYTES, UnixChannel};

/// See the [module](self).
pub trait Channel: AsyncRead + AsyncWrite + Send + Unpin {
    /// The key whose possession the peer proved in this channel.
    fn peer_key(&self) -> VerifyingKey;

    /// What names this channel and no other, equal on both sides.
    fn binding(&self) -> ChannelBinding;

    /// Where the peer's bytes come from; no identity.
    fn origin(&self) -> Origin;

    /// How the bytes travel.
    fn transport(&self) -> Transport;

    /// The peer is authorized, so from now on it may send as much as it likes.
    /// Until then a channel that a stranger can open ends after
    /// [`Limits::unauthenticated_bytes_max`](crate::Limits::unauthenticated_bytes_max).
    fn lift_byte_limit(&mut self);
}

/// How the bytes of a channel travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TLS 1.3 (RFC 8446).
    Tls,
    /// The Noise Protocol Framework.
    Noise,
    /// A Unix domain socket, in clear within the machine.
    Unix,
    /// Memory of this process.
    Memory,
}

/// Where a peer's bytes come from. Not who it is: that is its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An address; on a client's side the one it dialled.
    Network(SocketAddr),
    /// A process of this machine, by the kernel's word (`SO_PEERCRED`).
    Process(Credentials),
    /// This process.
    Memory,
}

/// What the kernel says of the process at the other end of a Unix socket, as
/// it was when that end connected or began to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Effective user.
    pub user: u32,
    /// Effective group.
    pub group: u32,
    /// Process, where the system tells. It may have ended and its number been
    /// given to another.
    pub process: Option<i32>,
}

impl fmt::Display for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tls => "TLS",
            Self::Noise => "Noise",
            Self::Unix => "Unix socket",
            Self::Memory => "memory",
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => address.fmt(formatter),
            Self::Process(credentials) => match credentials.process {
                Some(process) => {
                    write!(formatter, "process {process} of user {}", credentials.user)
                }
                None => write!(formatter, "a process of user {}", credentials.user),
            },
            Self::Memory => formatter.write_str("this process"),
        }
    }
}

impl<C: Channel + ?Sized> Channel for Box<C> {
    fn peer_key(&self) -> VerifyingKey {
        (**self).peer_key()
    }

    fn binding(&self) -> ChannelBinding {
        (**self).binding()
    }

    fn origin(&self) -> Origin {
        (**self).origin()
    }

    fn transport(&self) -> Transport {
        (**self).transport()
    }

    fn lift_byte_limit(&mut self) {
        (**self).lift_byte_limit();
    }
}
