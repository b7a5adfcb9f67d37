//! TLS handshakes and the channels behind them, with an attacker on the wire. The
//! program is what reproduces a fault, see `tls`.

use std::sync::{Arc, LazyLock};

use rustls::ClientConfig;

use super::session::{self, Session, undisturbed};
use super::tls::{CLIENT, CLIENT_CONFIG, SERVER, SERVER_CONFIG, TlsSide, spki};
use crate::{Decoder, Outcome};

pub(super) const ALL: &[Decoder] = &[Decoder {
    name: "tls_session",
    authenticates: false,
    samples: || {
        [Setup::Plain, Setup::Small]
            .map(|setup| undisturbed(setup as u8, FLIGHTS))
            .into()
    },
    check: |bytes| {
        let Some((number, program)) = bytes.split_first() else {
            return Outcome::Refused;
        };
        let setup = match number {
            0 => Setup::Plain,
            1 => Setup::Small,
            2 => Setup::OtherProtocol,
            _ => return Outcome::Refused,
        };
        session::run(setup.session(), &RECORDED, program)
    },
}];

/// The client's hello, the server's flight, the client's.
const FLIGHTS: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Setup {
    Plain = 0,
    /// The client cuts its messages into records of few bytes.
    Small = 1,
    /// The client names another application protocol.
    OtherProtocol = 2,
}

static SMALL: LazyLock<Arc<ClientConfig>> =
    LazyLock::new(|| changed(|config| config.max_fragment_size = Some(200)));
static OTHER_PROTOCOL: LazyLock<Arc<ClientConfig>> =
    LazyLock::new(|| changed(|config| config.alpn_protocols = vec![b"sealmoot/2".to_vec()]));

static RECORDED: LazyLock<[Vec<u8>; 2]> =
    LazyLock::new(|| session::record(Setup::Plain.session(), &undisturbed(0, FLIGHTS)[1..]));

impl Setup {
    fn session(self) -> Session<TlsSide> {
        let client = match self {
            Self::Plain => &CLIENT_CONFIG,
            Self::Small => &SMALL,
            Self::OtherProtocol => &OTHER_PROTOCOL,
        };
        Session {
            sides: [
                TlsSide::client(Arc::clone(client)),
                TlsSide::server(Arc::clone(&SERVER_CONFIG)),
            ],
            keys: [spki(&CLIENT), spki(&SERVER)],
            belong_together: self != Self::OtherProtocol,
        }
    }
}

fn changed(change: impl FnOnce(&mut ClientConfig)) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(&CLIENT_CONFIG);
    change(&mut config);
    Arc::new(config)
}
