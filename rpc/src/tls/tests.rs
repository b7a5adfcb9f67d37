use rustls::Error;
use sealmoot_crypto::signature::KeyRejected;

use super::*;

fn key() -> SigningKey {
    SigningKey::generate().expect("random source")
}

fn spki(key: &SigningKey) -> CertificateDer<'static> {
    CertificateDer::from(key.verifying_key().to_spki().to_vec())
}

fn spki_of_point(point: [u8; 32]) -> CertificateDer<'static> {
    let mut der = key().verifying_key().to_spki();
    der[12..].copy_from_slice(&point);
    CertificateDer::from(der.to_vec())
}

fn weak() -> Result<VerifyingKey, PeerKeyRejected> {
    Err(PeerKeyRejected::Key(KeyRejected::Weak))
}

#[test]
fn a_good_key_is_imported_in_its_own_form() {
    let key = key();
    let (raw, certificate) = (spki(&key), self_signed_certificate(&key));
    let public = Ok(key.verifying_key());
    assert_eq!(Form::RawPublicKey.import(&raw), public);
    assert_eq!(Form::Certificate.import(&certificate), public);
    assert_eq!(peer_key(Some(&[raw])), public.ok());
    assert_eq!(peer_key(Some(&[certificate])), public.ok());
}

#[test]
fn a_good_key_in_the_other_form_is_refused() {
    let key = key();
    assert_eq!(
        Form::RawPublicKey.import(&self_signed_certificate(&key)),
        Err(PeerKeyRejected::Key(KeyRejected::Malformed))
    );
    assert_eq!(
        Form::Certificate.import(&spki(&key)),
        Err(PeerKeyRejected::CertificateMalformed)
    );
}

#[test]
fn the_identity_point_is_refused_before_any_signature() {
    let mut identity = [0; 32];
    identity[0] = 1;
    assert_eq!(Form::RawPublicKey.import(&spki_of_point(identity)), weak());
}

#[test]
fn a_point_of_small_order_is_refused() {
    // y = -1, order two.
    let mut point = [0xff; 32];
    point[0] = 0xec;
    point[31] = 0x7f;
    assert_eq!(Form::RawPublicKey.import(&spki_of_point(point)), weak());
}

#[test]
fn neither_form_is_neither() {
    let neither = CertificateDer::from(vec![0x30, 0x82, 0x01, 0x00]);
    assert!(Form::RawPublicKey.import(&neither).is_err());
    assert!(Form::Certificate.import(&neither).is_err());
    assert_eq!(peer_key(Some(&[neither])), None);
    assert_eq!(peer_key(Some(&[])), None);
    assert_eq!(peer_key(None), None);
}

#[test]
fn a_chain_is_refused_in_either_form() {
    let key = key();
    assert_eq!(verifier::alone(&[]), Ok(()));
    for presented in [spki(&key), self_signed_certificate(&key)] {
        let chain = [presented.clone()];
        assert_eq!(verifier::alone(&chain), Err(PeerKeyRejected::Chain));
        assert_eq!(peer_key(Some(&[presented.clone(), presented])), None);
    }
}

#[test]
fn the_reason_of_a_refusal_survives_inside_the_error() {
    let Error::InvalidCertificate(rustls::CertificateError::Other(other)) =
        Error::from(PeerKeyRejected::Chain)
    else {
        panic!("another error");
    };
    assert_eq!(other.0.downcast_ref(), Some(&PeerKeyRejected::Chain));
}

#[test]
fn debug_of_the_configurations_tells_nothing() {
    let configs = ServerConfigs::new(&key()).expect("sound");
    assert_eq!(format!("{configs:?}"), "ServerConfigs { .. }");
}

/// The lists of types that a client's two extensions of RFC 7250 name, each
/// absent or present; what a server chooses is told by the form.
fn chosen(server_types: Option<&[u8]>, client_types: Option<&[u8]>) -> Form {
    let extension = |kind: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).expect("short");
        [&[0, kind, 0, length][..], content].concat()
    };
    let types = |kind: u8, types: Option<&[u8]>| {
        types.map_or(Vec::new(), |types| {
            let count = u8::try_from(types.len()).expect("short");
            extension(kind, &[&[count][..], types].concat())
        })
    };
    let extensions = [
        extension(43, &[2, 3, 4]),     // supported_versions: TLS 1.3
        extension(10, &[0, 2, 0, 29]), // supported_groups: x25519
        extension(13, &[0, 2, 8, 7]),  // signature_algorithms: ed25519
        extension(51, &[0, 0]),        // key_share: none
        types(19, client_types),
        types(20, server_types),
    ]
    .concat();
    let extensions_length = u8::try_from(extensions.len()).expect("short");
    let head = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 2, 1, 0, 0]].concat();
    let body = [&head[..], &[extensions_length], &extensions].concat();
    let length = u8::try_from(body.len()).expect("short");
    let record = [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat();

    let configs = ServerConfigs::new(&key()).expect("sound");
    let mut acceptor = rustls::server::Acceptor::default();
    acceptor.read_tls(&mut &record[..]).expect("memory");
    let accepted = acceptor
        .accept()
        .map_err(|(error, _)| error)
        .expect("well-formed")
        .expect("whole");
    let config = configs.choose(&accepted.client_hello());
    if Arc::ptr_eq(&config, &configs.raw) {
        Form::RawPublicKey
    } else {
        assert!(Arc::ptr_eq(&config, &configs.certificate));
        Form::Certificate
    }
}

#[test]
fn raw_keys_are_chosen_where_both_directions_offer_them_and_certificates_elsewhere() {
    const RAW: Option<&[u8]> = Some(&[2]);
    const X509: Option<&[u8]> = Some(&[0]);
    const BOTH: [Option<&[u8]>; 2] = [Some(&[0, 2]), Some(&[2, 0])];
    let offering = [RAW, BOTH[0], BOTH[1], Some(&[7, 2])];
    let lacking = [None, X509, Some(&[1]), Some(&[7])];
    for server_types in offering {
        for client_types in offering {
            assert_eq!(chosen(server_types, client_types), Form::RawPublicKey);
        }
        for other in lacking {
            assert_eq!(chosen(server_types, other), Form::Certificate);
            assert_eq!(chosen(other, server_types), Form::Certificate);
        }
    }
    for server_types in lacking {
        for client_types in lacking {
            assert_eq!(chosen(server_types, client_types), Form::Certificate);
        }
    }
}
