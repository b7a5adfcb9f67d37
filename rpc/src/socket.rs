//! What every TCP connection is set to.

use std::io;

#[cfg(any(target_os = "linux", target_os = "android"))]
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::limits::Limits;
#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::limits::SOCKET_UNSENT_BYTES;

/// Sets the options that every connection has.
pub(crate) fn tune(stream: &TcpStream, limits: &Limits) -> io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let socket = SockRef::from(stream);
        // Not the heartbeats' two seconds: the system counts a full window on
        // the other side as silence too.
        socket.set_tcp_user_timeout(Some(limits.write_stall))?;
        socket.set_tcp_notsent_lowat(SOCKET_UNSENT_BYTES)?;
    }
    Ok(())
}
