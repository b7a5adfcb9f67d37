//! A stream whose far end may not send for ever before it is known.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream with a bound on what is read from it, until the bound is lifted.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    io: S,
    bytes_left: Option<usize>,
}

impl<S> Metered<S> {
    pub(crate) fn new(io: S, bytes_max: usize) -> Self {
        Self {
            io,
            bytes_left: Some(bytes_max),
        }
    }

    /// The peer is authorized: it may send as long as it likes.
    pub(crate) fn lift_byte_limit(&mut self) {
        self.bytes_left = None;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(bytes_left) = self.bytes_left else {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        };
        if bytes_left == 0 {
            return Poll::Ready(Err(io::Error::other(
                "too many bytes before authentication",
            )));
        }
        let wanted = buf.remaining().min(bytes_left);
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(wanted));
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        buf.advance(read);
        self.bytes_left = Some(bytes_left - read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
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
