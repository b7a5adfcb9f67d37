//! Handlers that take their time, never read, or never end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::generated::decode_request;
use sealmoot_rpc::prost;
use sealmoot_rpc::{
    CallContext, MethodKind, RawReplies, RawRequests, ReplyFuture, Service, StreamFuture,
};

use tokio::sync::Semaphore;

use crate::common::Gauge;

/// Takes some milliseconds.
pub const SLOW: u64 = 101;
/// Reads a [`Nest`].
pub const NEST: u64 = 102;
/// A client's stream that is never read.
pub const UNREAD: u64 = 103;
/// A client's stream that is read to its end.
pub const READ: u64 = 104;
/// As many messages of so many bytes as can be sent.
pub const ENDLESS: u64 = 105;
/// A stream of replies without replies.
pub const SILENT: u64 = 106;
/// Says again what it hears.
pub const CHAT: u64 = 107;

/// Shields work that ends when it may, and waits for it.
pub const SHIELDS: u64 = 108;

/// As deep as it likes.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(prost_path = "::sealmoot_rpc::prost")]
pub struct Nest {
    #[prost(message, optional, boxed, tag = "1")]
    pub inner: Option<Box<Nest>>,
}

#[derive(Clone)]
pub struct Patient {
    pub running: Gauge,
    /// Calls of [`ENDLESS`] that began, whether they run or have ended.
    pub endless: Arc<AtomicUsize>,
    /// Work behind a shield.
    pub shielded: Gauge,
    /// What it waits for, each for one.
    pub go: Arc<Semaphore>,
}

impl Default for Patient {
    fn default() -> Self {
        Self {
            running: Gauge::default(),
            endless: Arc::default(),
            shielded: Gauge::default(),
            go: Arc::new(Semaphore::new(0)),
        }
    }
}

impl Service for Patient {
    fn methods(&self) -> &[u64] {
        &[SLOW, NEST, UNREAD, READ, ENDLESS, SILENT, CHAT, SHIELDS]
    }

    fn kind(&self, method: u64) -> MethodKind {
        match method {
            UNREAD | READ => MethodKind::ClientStream,
            ENDLESS | SILENT => MethodKind::ServerStream,
            CHAT => MethodKind::Bidirectional,
            _ => MethodKind::Unary,
        }
    }

    fn call(&self, context: CallContext, method: u64, body: Bytes) -> ReplyFuture {
        let running = self.running.enter();
        if method == SHIELDS {
            let shielded = self.shielded.enter();
            let go = Arc::clone(&self.go);
            return Box::pin(async move {
                let _running = running;
                let work = async move {
                    let _shielded = shielded;
                    let permit = go.acquire().await.expect("never closed");
                    permit.forget();
                };
                context.shield(work).await;
                Ok(body)
            });
        }
        Box::pin(async move {
            let _running = running;
            match method {
                SLOW => tokio::time::sleep(Duration::from_millis(20)).await,
                _ => drop(decode_request::<Nest>(body)?),
            }
            Ok(Bytes::new())
        })
    }

    fn client_stream(&self, _: CallContext, method: u64, mut requests: RawRequests) -> ReplyFuture {
        let running = self.running.enter();
        Box::pin(async move {
            let _running = running;
            if method == UNREAD {
                let () = std::future::pending().await;
            }
            let mut count: u64 = 0;
            while requests.next().await?.is_some() {
                count += 1;
            }
            Ok(Bytes::copy_from_slice(&count.to_le_bytes()))
        })
    }

    fn server_stream(
        &self,
        _: CallContext,
        method: u64,
        body: Bytes,
        mut replies: RawReplies,
    ) -> StreamFuture {
        let running = self.running.enter();
        if method == ENDLESS {
            self.endless.fetch_add(1, Ordering::SeqCst);
        }
        Box::pin(async move {
            let _running = running;
            if method == SILENT {
                let () = std::future::pending().await;
            }
            let bytes = <[u8; 4]>::try_from(&body[..]).map_or(0, u32::from_le_bytes);
            loop {
                // Each on its own, as a handler encodes them.
                replies.send(vec![7; bytes as usize]).await?;
            }
        })
    }

    fn bidirectional(
        &self,
        _: CallContext,
        _: u64,
        mut requests: RawRequests,
        mut replies: RawReplies,
    ) -> StreamFuture {
        let running = self.running.enter();
        Box::pin(async move {
            let _running = running;
            while let Some(request) = requests.next().await? {
                replies.send(request).await?;
            }
            Ok(())
        })
    }
}
