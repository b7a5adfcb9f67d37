//! One side of a TLS connection, as a shell would drive it.
//!
//! Keys are fixed, but what rustls draws for each handshake comes from the system
//! through ring: the bytes of a program say what the attacker does, not what stands on
//! the wire. A fault that depends on such a draw needs more than one run to show again.

use std::io::{Read, Write};
use std::sync::{Arc, LazyLock};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::ALPN;
use sealmoot_rpc::frame::{Frame, Kind};
use sealmoot_rpc::tls;

use super::session::{Side, Trust};

pub(super) static CLIENT: LazyLock<SigningKey> = LazyLock::new(|| signing_key(1));
pub(super) static SERVER: LazyLock<SigningKey> = LazyLock::new(|| signing_key(2));

/// What this crate's clients and servers run with.
pub(super) static CLIENT_CONFIG: LazyLock<Arc<ClientConfig>> =
    LazyLock::new(|| tls::client_config(&CLIENT).expect("a good key"));
pub(super) static SERVER_CONFIG: LazyLock<Arc<ServerConfig>> = LazyLock::new(|| {
    let configs = tls::ServerConfigs::new(&SERVER).expect("a good key");
    configs.for_raw_keys()
});

/// Bytes that a side writes before it trusts, at most: what a stranger can make us send.
const UNTRUSTED_BYTES_MAX: usize = 4 * 1024;

fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&SecretArray::from_bytes([seed; 32]))
}

pub(super) fn spki(key: &SigningKey) -> Vec<u8> {
    key.verifying_key().to_spki().to_vec()
}

pub(super) struct TlsSide {
    connection: Connection,
    input: Vec<u8>,
    /// Of the input, what rustls has been given.
    fed: usize,
    /// Of that, whole records to which it did not object.
    consumed: usize,
    failed: bool,
    written: usize,
    plaintext: Vec<u8>,
    delivered: Vec<Vec<u8>>,
    trust: Option<Trust>,
    ends_well: bool,
    closed: bool,
}

impl TlsSide {
    pub(super) fn client(config: Arc<ClientConfig>) -> Self {
        // Nobody looks at the name: neither is it sent nor is it verified.
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(config, name).expect("a good configuration");
        Self::new(connection.into())
    }

    pub(super) fn server(config: Arc<ServerConfig>) -> Self {
        let connection = ServerConnection::new(config).expect("a good configuration");
        Self::new(connection.into())
    }

    fn new(connection: Connection) -> Self {
        Self {
            connection,
            input: Vec::new(),
            fed: 0,
            consumed: 0,
            failed: false,
            written: 0,
            plaintext: Vec::new(),
            delivered: Vec::new(),
            trust: None,
            ends_well: false,
            closed: false,
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Feeds a piece that ends no later than its record, so that it is known which
    /// bytes a change of state is due to.
    fn feed(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() && !self.failed {
            match self.connection.read_tls(&mut piece) {
                // Behind a close nothing is read.
                Ok(0) => return,
                Ok(_) => {}
                Err(_) => self.failed = true,
            }
            self.failed |= self.connection.process_new_packets().is_err();
            self.drain();
        }
    }

    fn drain(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.connection.reader().read(&mut buffer) {
                // Only behind the peer's close.
                Ok(0) => {
                    self.ends_well = self.plaintext.is_empty();
                    break;
                }
                Ok(length) => self.plaintext.extend_from_slice(&buffer[..length]),
                Err(_) => break,
            }
        }
        let mut taken = 0;
        while let Some((frame, consumed)) =
            Frame::decode(&self.plaintext[taken..]).expect("honest sides send frames")
        {
            self.delivered.push(frame.payload.to_vec());
            taken += consumed;
        }
        self.plaintext.drain(..taken);
    }

    fn believe(&mut self) {
        if self.trust.is_some() || self.failed || self.connection.is_handshaking() {
            return;
        }
        assert_eq!(self.connection.alpn_protocol(), Some(ALPN));
        let Some([key]) = self.connection.peer_certificates() else {
            panic!("one raw key is the whole chain");
        };
        // RFC 9266; the handshake is complete, so there are keys to export from.
        let binding = self
            .connection
            .export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[]))
            .expect("the handshake is complete");
        self.trust = Some(Trust {
            key: key.to_vec(),
            binding,
        });
    }
}

const RECORD_HEADER_BYTES: usize = 5;

/// Bytes of the record that `stream` begins with, when its header is whole.
fn record_bytes(stream: &[u8]) -> Option<usize> {
    let [_, _, _, l0, l1] = *stream.first_chunk()?;
    Some(RECORD_HEADER_BYTES + usize::from(u16::from_be_bytes([l0, l1])))
}

impl Side for TlsSide {
    const LENGTHS: [usize; 8] = [0, 1, 100, 17, 3_000, 16_000, 16_383, 16_384];

    fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while self.fed < self.input.len() && !self.failed && !self.ends_well {
            let record = record_bytes(&self.input[self.consumed..]);
            let end = record.map(|length| self.consumed + length);
            let to = end.unwrap_or(usize::MAX).min(self.input.len());
            let piece = self.input[self.fed..to].to_vec();
            self.feed(&piece);
            self.fed = to;
            if end == Some(to) && !self.failed {
                self.consumed = to;
                self.believe();
            }
        }
    }

    fn take_output(&mut self) -> Vec<u8> {
        let mut output = Vec::new();
        while self.connection.wants_write() {
            self.connection
                .write_tls(&mut output)
                .expect("a vector takes everything");
        }
        self.written += output.len();
        assert!(self.trust.is_some() || self.written <= UNTRUSTED_BYTES_MAX);
        output
    }

    /// As a chunk frame.
    fn say(&mut self, payload: &[u8]) -> bool {
        if self.trust.is_none() || self.failed || self.closed {
            return false;
        }
        let mut frame = Vec::new();
        Frame {
            kind: Kind::Chunk,
            flags: 0,
            code: 0,
            call: 1,
            payload,
        }
        .encode(&mut frame);
        let written = self.connection.writer().write_all(&frame);
        written.expect("the buffer was empty");
        true
    }

    fn rekey(&mut self) {
        if self.trust.is_some() && !self.failed && !self.closed {
            let refreshed = self.connection.refresh_traffic_keys();
            refreshed.expect("the handshake is complete");
        }
    }

    fn close(&mut self) -> bool {
        let can = self.trust.is_some() && !self.failed && !self.closed;
        if can {
            self.connection.send_close_notify();
            self.closed = true;
        }
        can
    }

    fn consumed(&self) -> usize {
        self.consumed
    }

    fn trust(&self) -> Option<&Trust> {
        self.trust.as_ref()
    }

    fn delivered(&self) -> &[Vec<u8>] {
        &self.delivered
    }

    fn ends_well(&self) -> bool {
        self.ends_well && !self.failed
    }

    /// What stands in the records, but for change_cipher_spec and plaintext alerts. TLS
    /// authenticates neither the headers of plaintext records, nor where one ends and the
    /// next begins, nor the change_cipher_spec and user_canceled that anyone may put
    /// between (RFC 8446, sections 5 to 5.2 and D.4); and rustls verifies encrypted
    /// records under the header that they should have, not under the one that came.
    fn authenticated(stream: &[u8]) -> Vec<u8> {
        const CHANGE_CIPHER_SPEC: u8 = 20;
        const ALERT: u8 = 21;
        const PLAINTEXT_ALERT_BYTES: usize = 2;
        let mut authenticated = Vec::new();
        let mut rest = stream;
        while let Some(record) = record_bytes(rest).and_then(|length| rest.split_off(..length)) {
            let content = &record[RECORD_HEADER_BYTES..];
            let unauthenticated = match record[0] {
                CHANGE_CIPHER_SPEC => true,
                ALERT => content.len() <= PLAINTEXT_ALERT_BYTES,
                _ => false,
            };
            if !unauthenticated {
                authenticated.extend_from_slice(content);
            }
        }
        authenticated
    }
}
