//! What a hostile TLS peer sends before, and instead of, a proof.

use std::sync::{Arc, LazyLock};

use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::crypto::ring::sign::any_eddsa_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{ClientConfig, ServerConfig};

use super::session::Side;
use super::tls::{CLIENT, CLIENT_CONFIG, SERVER_CONFIG, TlsSide, spki};
use crate::{Decoder, Outcome};

pub(super) const ALL: &[Decoder] = &[
    Decoder {
        name: "tls_client_hello",
        authenticates: false,
        samples: || vec![TlsSide::client(Arc::clone(&CLIENT_CONFIG)).take_output()],
        check: |bytes| {
            let mut server = TlsSide::server(Arc::clone(&SERVER_CONFIG));
            server.receive(bytes);
            let answer = server.take_output();
            assert_eq!(server.trust(), None);
            assert!(server.delivered().is_empty() && !server.ends_well());
            if server.consumed() == bytes.len() && !server.has_failed() && !answer.is_empty() {
                Outcome::Accepted
            } else {
                Outcome::Refused
            }
        },
    },
    Decoder {
        name: "tls_raw_key",
        authenticates: true,
        samples: || vec![spki(&CLIENT)],
        check: |bytes| {
            let (client, server) = hostile(bytes);
            let by_server = meet(client, Arc::clone(&SERVER_CONFIG));
            let by_client = meet(Arc::clone(&CLIENT_CONFIG), server);
            if by_server.1 && by_client.0 {
                assert!(bytes == spki(&CLIENT), "the client never showed that key");
                Outcome::Accepted
            } else {
                assert!(!by_server.1 && !by_client.0, "taken by one side only");
                Outcome::Refused
            }
        },
    },
];

/// Signs what it says with the key of [`CLIENT`], whatever key it shows.
static SIGNER: LazyLock<Arc<dyn SigningKey>> = LazyLock::new(|| {
    let pkcs8 = CLIENT.to_pkcs8_der();
    any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.expose())).expect("a good key")
});

/// Peers that show `bytes` as their raw public key.
fn hostile(bytes: &[u8]) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let shown = vec![CertificateDer::from(bytes.to_vec())];
    let certified = Arc::new(CertifiedKey::new(shown, Arc::clone(&SIGNER)));
    let mut client = ClientConfig::clone(&CLIENT_CONFIG);
    client.client_auth_cert_resolver = Arc::new(AlwaysResolvesClientRawPublicKeys::new(
        Arc::clone(&certified),
    ));
    let mut server = ServerConfig::clone(&SERVER_CONFIG);
    server.cert_resolver = Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified));
    (Arc::new(client), Arc::new(server))
}

/// Whether client and server trust each other in the end.
fn meet(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> (bool, bool) {
    let (mut client, mut server) = (TlsSide::client(client), TlsSide::server(server));
    server.receive(&client.take_output());
    client.receive(&server.take_output());
    server.receive(&client.take_output());
    (client.trust().is_some(), server.trust().is_some())
}
