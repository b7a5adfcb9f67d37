//! A server's connections, for the recorder of the `metrics` crate; nothing
//! without the feature `metrics`. The names stand at `Measured`.

/// A connection stands.
pub(crate) fn connection_opened() {
    #[cfg(feature = "metrics")]
    metrics::gauge!("sealmoot_rpc_server_connections_open").increment(1.0);
}

/// It is over.
pub(crate) fn connection_closed() {
    #[cfg(feature = "metrics")]
    metrics::gauge!("sealmoot_rpc_server_connections_open").decrement(1.0);
}

/// One came to nothing before a call could be made.
pub(crate) fn handshake_failed(reason: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!("sealmoot_rpc_server_handshakes_failed_total", "reason" => reason)
        .increment(1);
    let _ = reason;
}
