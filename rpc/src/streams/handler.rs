//! The handler's ends of a call with a stream, over bytes.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;

use crate::multiplexer::StreamKey;
use crate::serving::Link;
use crate::status::Status;

/// The requests of a call. Dropping it throws the rest away, and the caller
/// can go on sending; the call goes on.
pub struct RawRequests {
    link: Arc<Link>,
    key: StreamKey,
}

impl RawRequests {
    pub(crate) fn new(link: Arc<Link>, key: StreamKey) -> Self {
        Self { link, key }
    }

    /// The next message; `None` when the caller has finished. Dropping the
    /// future loses nothing.
    ///
    /// # Errors
    ///
    /// The call is over. A handler sees this only of a stream that it has
    /// given to another task: it is itself dropped then.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        poll_fn(|cx| self.link.poll_request(self.key, cx)).await
    }
}

impl Drop for RawRequests {
    fn drop(&mut self) {
        self.link.stop_reading(self.key);
    }
}

/// The replies of a call. They end when the handler does: well, or with its
/// failure, with which messages that have not left are dropped.
pub struct RawReplies {
    link: Arc<Link>,
    key: StreamKey,
}

impl RawReplies {
    pub(crate) fn new(link: Arc<Link>, key: StreamKey) -> Self {
        Self { link, key }
    }

    /// Queues a message, when there is credit for it.
    ///
    /// # Errors
    ///
    /// A message above
    /// [`Limits::message_bytes_max`](crate::Limits::message_bytes_max), and the
    /// call goes on; or the call is over, as with [`RawRequests::next`].
    pub async fn send(&mut self, message: impl Into<Bytes>) -> Result<(), Status> {
        let mut message = Some(message.into());
        poll_fn(|cx| self.link.poll_send(self.key, &mut message, cx)).await
    }
}

impl Drop for RawReplies {
    fn drop(&mut self) {
        self.link.stop_writing(self.key);
    }
}

macro_rules! opaque {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

opaque!(RawRequests, RawReplies);
