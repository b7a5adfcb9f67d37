//! A TCP stream that reads in large pieces and can be told to stop early.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

#[cfg(any(target_os = "linux", target_os = "android"))]
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;

#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::limits::SOCKET_UNSENT_BYTES;
use crate::limits::{Limits, SOCKET_READ_BYTES};

/// The stream under TLS.
#[derive(Debug)]
pub(crate) struct Socket {
    io: BufReader<TcpStream>,
    /// What a peer that is not authorized yet may still send.
    bytes_left: Option<usize>,
}

impl Socket {
    /// Sets the options that every connection has.
    pub(crate) fn new(stream: TcpStream, limits: &Limits) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            let socket = SockRef::from(&stream);
            let patience = limits
                .keepalive_idle
                .saturating_add(limits.keepalive_timeout);
            socket.set_tcp_user_timeout(Some(patience))?;
            socket.set_tcp_notsent_lowat(SOCKET_UNSENT_BYTES)?;
        }
        Ok(Self {
            io: BufReader::with_capacity(SOCKET_READ_BYTES, stream),
            bytes_left: Some(limits.unauthenticated_bytes_max),
        })
    }

    /// The peer is authorized: it may send as long as it likes.
    pub(crate) fn lift_byte_limit(&mut self) {
        self.bytes_left = None;
    }
}

impl AsyncRead for Socket {
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
        let filled_before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let read = buf.filled().len() - filled_before;
        self.bytes_left = Some(bytes_left.saturating_sub(read));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
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
