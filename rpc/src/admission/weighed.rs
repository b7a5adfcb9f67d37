//! A stream whose bytes are noted while its far end is a stranger.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Seat;

/// See the module.
#[derive(Debug)]
pub(crate) struct WeighedStream<S> {
    io: S,
    /// Nothing once the far end is no stranger any more.
    pub(super) seat: Option<Arc<Seat>>,
}

impl<S> WeighedStream<S> {
    pub(super) fn new(io: S, seat: Option<Arc<Seat>>) -> Self {
        Self { io, seat }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WeighedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self
            .seat
            .as_ref()
            .is_some_and(|seat| seat.has_read_enough())
        {
            // In the next turn.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let filled_before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        if let Some(seat) = &self.seat
            && !seat.weigh(buf.filled().len() - filled_before)
        {
            self.seat = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WeighedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
