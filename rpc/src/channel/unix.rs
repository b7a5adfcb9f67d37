//! A Unix domain socket as a channel, within one machine.
//!
//! Nothing is encrypted: the kernel carries the bytes, and root reads what it
//! likes anyway. Two things are checked. The kernel says as which user the
//! process at the other end runs (`SO_PEERCRED`), so nobody else's process can
//! stand at the path or call. And each side proves its Ed25519 key by an
//! introduction over two fresh nonces:
//!
//! ```text
//! client ->  "SMU" ver=1  nonce 32            36 bytes
//! server <-  "SMU" ver=1  nonce 32            36 bytes
//! server <-  introduction                     97 bytes
//! client ->  introduction                     97 bytes
//!
//! binding = SHA-256("sealmoot unix channel 1" || client's 36 || server's 36
//!                   || client's user u32 || server's user u32)
//! ```
//!
//! Each side puts in its own user and the kernel's word for the other's, so a
//! process of a third user, allowed or not, cannot stand between the two and
//! pass this on. One of either's own user can, and read along; it could as well
//! trace that side. Two sides in user namespaces that number users differently
//! do not agree and get no channel.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use sealmoot_crypto::digest::sha256;
use sealmoot_crypto::random::RandomError;
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::VerifyingKey;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::UnixStream;

use super::error::ChannelError;
use super::introduction::{INTRODUCTION_BYTES, Introduction, Role};
use super::metered::Metered;
use super::{Channel, Credentials, Identity, Origin, Transport};
use crate::limits::Limits;
use crate::peer::ChannelBinding;

/// Bytes of the first message of each side.
pub const UNIX_GREETING_BYTES: usize = 4 + 32;

const MAGIC: [u8; 4] = [b'S', b'M', b'U', 1];
const BINDING_LABEL: &[u8] = b"sealmoot unix channel 1";

/// As which users the process at the other end may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedUsers(Vec<u32>);

impl AllowedUsers {
    /// The user of this process, and root, who can become that user.
    #[must_use]
    pub fn own() -> Self {
        Self(vec![0, own_user()])
    }

    /// These and no others, by number.
    pub fn these(users: impl IntoIterator<Item = u32>) -> Self {
        Self(users.into_iter().collect())
    }

    /// Whether a process of this user is allowed.
    #[must_use]
    pub fn contains(&self, user: u32) -> bool {
        self.0.contains(&user)
    }
}

/// A Unix domain socket whose far end runs as an allowed user and proved an
/// Ed25519 key.
#[derive(Debug)]
pub struct UnixChannel {
    stream: Metered<UnixStream>,
    peer_key: VerifyingKey,
    binding: ChannelBinding,
    credentials: Credentials,
}

impl UnixChannel {
    /// Opens a channel over `stream` as `identity`, to a server that runs as
    /// one of `users`. Callers put a deadline around it.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn connect(
        identity: &Identity,
        stream: UnixStream,
        users: &AllowedUsers,
        limits: &Limits,
    ) -> Result<Self, ChannelError> {
        let credentials = allowed(&stream, users)?;
        let mut stream = Metered::new(stream, limits.unauthenticated_bytes_max);
        let own = greeting()?;
        write(&mut stream, &own).await?;
        let theirs = hear_greeting(&mut stream).await?;
        let binding = binding((&own, own_user()), (&theirs, credentials.user));
        // The server first: whoever has not even a key learns nothing of ours.
        let peer_key = hear_introduction(&mut stream, Role::Server, &binding).await?;
        introduce(&mut stream, identity, Role::Client, &binding).await?;
        Ok(Self {
            stream,
            peer_key,
            binding,
            credentials,
        })
    }

    /// The other side of [`UnixChannel::connect`].
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn accept(
        identity: &Identity,
        stream: UnixStream,
        users: &AllowedUsers,
        limits: &Limits,
    ) -> Result<Self, ChannelError> {
        let credentials = allowed(&stream, users)?;
        let mut stream = Metered::new(stream, limits.unauthenticated_bytes_max);
        let theirs = hear_greeting(&mut stream).await?;
        let own = greeting()?;
        let binding = binding((&theirs, credentials.user), (&own, own_user()));
        let introduction =
            Introduction::make(identity.signing(), Transport::Unix, Role::Server, &binding);
        write(&mut stream, &[&own[..], &introduction[..]].concat()).await?;
        let peer_key = hear_introduction(&mut stream, Role::Client, &binding).await?;
        Ok(Self {
            stream,
            peer_key,
            binding,
            credentials,
        })
    }
}

fn allowed(stream: &UnixStream, users: &AllowedUsers) -> Result<Credentials, ChannelError> {
    let told = stream.peer_cred().map_err(ChannelError::Io)?;
    let credentials = Credentials {
        user: told.uid(),
        group: told.gid(),
        process: told.pid(),
    };
    if !users.contains(credentials.user) {
        return Err(ChannelError::WrongUser(credentials.user));
    }
    Ok(credentials)
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn greeting() -> Result<[u8; UNIX_GREETING_BYTES], RandomError> {
    let mut bytes = [0; UNIX_GREETING_BYTES];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4..].copy_from_slice(SecretArray::<32>::random()?.expose());
    Ok(bytes)
}

/// Of each side its greeting and the user as which it runs.
fn binding(
    (client, client_user): (&[u8; UNIX_GREETING_BYTES], u32),
    (server, server_user): (&[u8; UNIX_GREETING_BYTES], u32),
) -> ChannelBinding {
    let users = [client_user.to_le_bytes(), server_user.to_le_bytes()];
    let transcript = [BINDING_LABEL, client, server, &users[0], &users[1]].concat();
    ChannelBinding::from_bytes(sha256(&transcript))
}

async fn hear_greeting(
    stream: &mut Metered<UnixStream>,
) -> Result<[u8; UNIX_GREETING_BYTES], ChannelError> {
    let mut bytes = [0; UNIX_GREETING_BYTES];
    // Alone, so that something else that says less and waits is known for that.
    let (magic, nonce) = bytes.split_at_mut(MAGIC.len());
    stream.read_exact(magic).await.map_err(ChannelError::Io)?;
    if magic != MAGIC {
        return Err(ChannelError::NotSealmoot);
    }
    stream.read_exact(nonce).await.map_err(ChannelError::Io)?;
    Ok(bytes)
}

async fn introduce(
    stream: &mut Metered<UnixStream>,
    identity: &Identity,
    role: Role,
    binding: &ChannelBinding,
) -> Result<(), ChannelError> {
    let bytes = Introduction::make(identity.signing(), Transport::Unix, role, binding);
    write(stream, &bytes).await
}

async fn hear_introduction(
    stream: &mut Metered<UnixStream>,
    role: Role,
    binding: &ChannelBinding,
) -> Result<VerifyingKey, ChannelError> {
    let mut bytes = [0; INTRODUCTION_BYTES];
    stream
        .read_exact(&mut bytes)
        .await
        .map_err(ChannelError::Io)?;
    Ok(Introduction::verify(
        &bytes,
        Transport::Unix,
        role,
        binding,
    )?)
}

async fn write(stream: &mut Metered<UnixStream>, bytes: &[u8]) -> Result<(), ChannelError> {
    stream.write_all(bytes).await.map_err(ChannelError::Io)
}

impl Channel for UnixChannel {
    fn peer_key(&self) -> VerifyingKey {
        self.peer_key
    }

    fn binding(&self) -> ChannelBinding {
        self.binding
    }

    fn origin(&self) -> Origin {
        Origin::Process(self.credentials)
    }

    fn transport(&self) -> Transport {
        Transport::Unix
    }

    fn lift_byte_limit(&mut self) {
        self.stream.lift_byte_limit();
    }
}

impl AsyncRead for UnixChannel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for UnixChannel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
