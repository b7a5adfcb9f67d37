//! What the roles agree on: addresses, keys, and the bytes of frames.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sealmoot_crypto::agreement::AgreementPublic;
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::frame::{Frame, Kind};
use sealmoot_rpc::noise::Target;
use sealmoot_rpc::payload::encode_hello;
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

/// Answers with the request.
pub(crate) const ECHO: u64 = 1;
/// Never answers.
pub(crate) const STUCK: u64 = 2;

/// Keys that the server admits.
pub(crate) const HONEST_SEED: u8 = 1;
pub(crate) const HOSTILE_SEED: u8 = 2;

/// Attackers' addresses, when they have many.
const SOURCES: u32 = 250;

/// Addresses of honest clients that the server has seen before any siege.
pub(crate) const KNOWN_SOURCES: u32 = 8;

/// A key that every role can make for itself; in this program nothing is secret.
pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&SecretArray::from_bytes([seed; 32]))
}

/// Where the server is, as the parent tells the other roles.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) tls: SocketAddr,
    pub(crate) noise: SocketAddr,
    pub(crate) noise_key: AgreementPublic,
}

/// The environment variable that carries it.
pub(crate) const FIELD: &str = "SIEGE_FIELD";

impl Field {
    /// One line: both addresses and the server's X25519 key in hexadecimal.
    pub(crate) fn line(&self) -> String {
        let key: String = self
            .noise_key
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{} {} {key}", self.tls, self.noise)
    }

    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (tls, noise, key) = (words.next()?, words.next()?, words.next()?);
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(key.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        Some(Self {
            tls: tls.parse().ok()?,
            noise: noise.parse().ok()?,
            noise_key: AgreementPublic::from_bytes(bytes),
        })
    }

    pub(crate) fn of_environment() -> Self {
        let line = std::env::var(FIELD).expect("the parent sets it");
        Self::parse(&line).expect("the parent writes it")
    }

    pub(crate) fn noise_target(&self) -> Target {
        Target::Ik {
            responder: self.noise_key,
        }
    }
}

/// Which addresses the attackers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sources {
    /// 250 addresses of 127.16.0.0/16: the cap per source does little.
    Many,
    /// One address.
    One,
    /// 250 addresses of 127.19.0.0/16, of attackers with an admitted key. Others
    /// do not come from there: where somebody was let in is known afterwards.
    Admitted,
    /// 8 addresses of 127.17.0.0/16: the honest that were here before.
    Known,
    /// Addresses of 127.18.0.0/16, each used once: the honest that were not.
    New,
}

impl Sources {
    pub(crate) fn parse(word: &str) -> Self {
        match word {
            "one" => Self::One,
            _ => Self::Many,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Many => "many",
            Self::One => "one",
            Self::Admitted => "admitted",
            Self::Known => "known",
            Self::New => "new",
        }
    }

    fn address(self, index: u32) -> Ipv4Addr {
        let (network, host) = match self {
            Self::Many => (16, 1 + index % SOURCES),
            Self::One => (16, 1),
            Self::Admitted => (19, 1 + index % SOURCES),
            Self::Known => (17, 1 + index % KNOWN_SOURCES),
            Self::New => (18, 1 + index % u32::from(u16::MAX)),
        };
        Ipv4Addr::from(u32::from(Ipv4Addr::new(127, network, 0, 0)) + host)
    }

    /// A connection from the address with this number. When it is dropped it is
    /// reset, so that attackers do not run out of ports.
    pub(crate) async fn connect(self, index: u32, to: SocketAddr) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(IpAddr::V4(self.address(index)), 0))?;
        let stream = socket.connect(to).await?;
        SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// A client's hello.
pub(crate) fn hello(statements: &[u8]) -> Vec<u8> {
    let payload = encode_hello(statements).expect("short enough");
    frame(Kind::Hello, 0, &payload)
}

/// A call without a timeout of its own.
pub(crate) fn call(number: u32, method: u64, body: &[u8]) -> Vec<u8> {
    let mut payload = vec![0; 4];
    payload.extend_from_slice(&method.to_le_bytes());
    payload.extend_from_slice(body);
    frame(Kind::Call, number, &payload)
}

fn frame(kind: Kind, call: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Frame {
        kind,
        flags: 0,
        code: 0,
        call,
        payload,
    }
    .encode(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_as_it_was_written() {
        let field = Field {
            tls: "127.0.0.1:1".parse().expect("an address"),
            noise: "127.0.0.1:2".parse().expect("an address"),
            noise_key: sealmoot_rpc::noise::StaticKey::generate()
                .expect("random source")
                .public(),
        };
        let read = Field::parse(&field.line()).expect("a field");
        assert_eq!(read.line(), field.line());
        assert!(Field::parse("127.0.0.1:1 127.0.0.1:2 00").is_none());
        assert!(Field::parse("").is_none());
    }

    #[test]
    fn one_source_is_one_and_many_are_many() {
        let distinct = |sources: Sources| {
            let mut all: Vec<_> = (0..1000).map(|index| sources.address(index)).collect();
            all.sort_unstable();
            all.dedup();
            all.len()
        };
        assert_eq!(distinct(Sources::One), 1);
        assert_eq!(distinct(Sources::Many), SOURCES as usize);
        assert_eq!(distinct(Sources::Known), KNOWN_SOURCES as usize);
        assert_eq!(distinct(Sources::New), 1000);
    }
}
