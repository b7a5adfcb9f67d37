//! Keys and signatures that a TLS peer may present, and why they are refused:
//! in memory, so that each side's own error is seen.
#![allow(missing_docs)]

mod hostile;

use std::sync::Arc;

use hostile::{
    Ended, FORMS, Forger, Form, Identity, Serving, certificate_around, element, forge, handshake,
    key, rejected, ring_accepts, sign, spki_of, unhex, weak_points,
};
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, SignatureScheme};
use sealmoot_crypto::signature::{KeyRejected, SigningKey};
use sealmoot_rpc::limits::CERTIFICATE_BYTES_MAX;
use sealmoot_rpc::tls::{
    PeerKeyRejected, ServerConfigs, channel_binding, client_config, peer_key,
    self_signed_certificate,
};

const MALFORMED: PeerKeyRejected = PeerKeyRejected::Key(KeyRejected::Malformed);

fn ours(key: &SigningKey) -> ServerConfigs {
    ServerConfigs::new(key).expect("sound")
}

/// A hostile client against our server.
fn against_our_server(form: Form, identity: Identity) -> Ended {
    let client = Arc::new(hostile::client(form, identity));
    handshake(client, Serving::Ours(&ours(&key())), |_, _, _| ())
}

/// A hostile server against our client.
fn against_our_client(identity: Identity) -> Ended {
    let client = client_config(&key()).expect("sound");
    let server = hostile::server(Form::Raw, identity);
    handshake(client, Serving::Other(server), |_, _, _| ())
}

/// Both directions, in both forms where there are both, and our side's error.
fn everywhere(identity: impl Fn(Form) -> Identity) -> Vec<(String, Error)> {
    let mut errors: Vec<_> = FORMS
        .into_iter()
        .map(|form| {
            let ended = against_our_server(form, identity(form));
            (format!("our server, {form:?}"), ended.server_error())
        })
        .collect();
    let ended = against_our_client(identity(Form::Raw));
    errors.push(("our client".to_owned(), ended.client_error()));
    errors
}

// What makes all refusals below mean something.
#[test]
fn an_honest_peer_of_either_form_is_known_by_its_key() {
    for form in FORMS {
        let (server_key, client_key) = (key(), key());
        let (server, client) = (server_key.verifying_key(), client_key.verifying_key());
        let config = hostile::client(form, Identity::honest(form, client_key));
        let ended = handshake(
            Arc::new(config),
            Serving::Ours(&ours(&server_key)),
            |_, _, _| (),
        );
        let (at_client, at_server) = (
            ended.client.expect("complete"),
            ended.server.expect("complete"),
        );
        assert_eq!(peer_key(at_server.peer_certificates()), Some(client));
        assert_eq!(peer_key(at_client.peer_certificates()), Some(server));
        assert_eq!(at_server.alpn_protocol(), Some(sealmoot_rpc::ALPN));
        assert_eq!(
            channel_binding(&at_client).expect("complete"),
            channel_binding(&at_server).expect("complete")
        );
    }
    let server_key = key();
    let server = server_key.verifying_key();
    let ended = against_our_client(Identity::honest(Form::Raw, server_key));
    let at_client = ended.client.expect("complete");
    assert_eq!(peer_key(at_client.peer_certificates()), Some(server));
}

// Under a key of small order anybody makes signatures that ring verifies.
#[test]
fn a_weak_key_is_refused_before_its_signature_is_looked_at() {
    for point in weak_points() {
        let identity = move |form: Form| Identity {
            entries: vec![form.enclose(&spki_of(&point))],
            signer: Forger::new(move |message| forge(&point, message)),
        };
        for (place, error) in everywhere(identity) {
            match rejected(&error) {
                Some(PeerKeyRejected::Key(KeyRejected::Weak | KeyRejected::NotCanonical)) => {}
                other => panic!("{place}, {point:02x?}: {other:?}, {error}"),
            }
        }
    }
}

#[test]
fn without_a_strict_import_every_weak_key_would_be_admitted() {
    for point in weak_points() {
        for form in FORMS {
            let weak = || Identity {
                entries: vec![form.enclose(&spki_of(&point))],
                signer: Forger::new(move |message| {
                    let forged = forge(&point, message);
                    assert!(ring_accepts(&point, message, &forged));
                    forged
                }),
            };
            let client = Arc::new(hostile::client(form, weak()));
            let server = hostile::server(form, weak());
            let ended = handshake(client, Serving::Other(server), |_, _, _| ());
            assert!(ended.client.is_ok(), "{form:?}, {point:02x?}");
            assert!(ended.server.is_ok(), "{form:?}, {point:02x?}");
        }
    }
}

#[test]
fn a_point_in_a_second_encoding_or_none_is_refused() {
    let mut second = [0xff; 32];
    (second[0], second[31]) = (0xf0, 0x7f);
    for point in [second, [2; 32]] {
        let identity = |form: Form| Identity::presenting(vec![form.enclose(&spki_of(&point))]);
        for (place, error) in everywhere(identity) {
            let expected = PeerKeyRejected::Key(KeyRejected::NotCanonical);
            assert_eq!(rejected(&error), Some(expected), "{place}: {error}");
        }
    }
}

/// Name, bytes in the place of the `SubjectPublicKeyInfo`, and whether a
/// certificate around them is still one.
fn malformed_keys() -> Vec<(&'static str, Vec<u8>, bool)> {
    let good = key().verifying_key().to_spki().to_vec();
    let with = |at: usize, byte: u8| {
        let mut changed = good.clone();
        changed[at] = byte;
        changed
    };
    let algorithm = &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70][..];
    let bits = |key: &[u8]| element(0x03, &[&[0], key].concat());
    let info = |algorithm: &[u8], key: &[u8]| element(0x30, &[algorithm, &bits(key)].concat());
    let p256 = "3059301306072a8648ce3d020106082a8648ce3d030107034200\
        046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
        4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
    let rsa = [
        &unhex("30820122300d06092a864886f70d01010105000382010f003082010a0282010100")[..],
        &[0xc5; 256],
        &unhex("0203010001"),
    ]
    .concat();
    vec![
        ("P-256", unhex(p256), true),
        ("RSA", rsa, true),
        ("X25519", with(8, 0x6e), true),
        ("Ed448's identifier", with(8, 0x71), true),
        ("another identifier", with(6, 0x2a), true),
        ("unused bits", with(11, 1), true),
        (
            "parameters",
            info(&[0x30, 7, 6, 3, 0x2b, 0x65, 0x70, 5, 0], &good[12..]),
            true,
        ),
        ("31 bytes", info(algorithm, &good[12..43]), true),
        (
            "33 bytes",
            info(algorithm, &[&good[12..], &[0]].concat()),
            true,
        ),
        ("no key", info(algorithm, &[]), true),
        ("an empty sequence", vec![0x30, 0], true),
        ("truncated", good[..43].to_vec(), false),
        ("a byte behind", [&good[..], &[0]].concat(), false),
        ("twice", [&good[..], &good[..]].concat(), false),
        (
            "a length in two bytes",
            [&[0x30, 0x81, 0x2a], &good[2..]].concat(),
            false,
        ),
        ("another tag", with(0, 0x31), false),
        ("the bare 32 bytes", good[12..].to_vec(), false),
        ("nothing", Vec::new(), false),
    ]
}

#[test]
fn a_malformed_key_is_refused_by_name() {
    for (name, spki, certificate_is_sound) in malformed_keys() {
        let identity = |form: Form| Identity::presenting(vec![form.enclose(&spki)]);
        for (place, error) in everywhere(identity) {
            let expected = if place.contains("Certificate") && !certificate_is_sound {
                PeerKeyRejected::CertificateMalformed
            } else {
                MALFORMED
            };
            assert_eq!(rejected(&error), Some(expected), "{name}, {place}: {error}");
        }
    }
}

#[test]
fn the_other_form_than_the_agreed_one_is_refused() {
    let swapped = |form: Form| {
        let other = match form {
            Form::Raw => Form::Certificate,
            Form::Certificate => Form::Raw,
        };
        Identity {
            entries: vec![other.present(&key())],
            signer: Forger::honest(key()),
        }
    };
    for (place, error) in everywhere(swapped) {
        let expected = if place.contains("Certificate") {
            PeerKeyRejected::CertificateMalformed
        } else {
            MALFORMED
        };
        assert_eq!(rejected(&error), Some(expected), "{place}: {error}");
    }
}

#[test]
fn a_chain_of_two_is_refused() {
    for second_is_the_first in [true, false] {
        let chain = |form: Form| {
            let (first, second) = (key(), key());
            let second = form.present(if second_is_the_first { &first } else { &second });
            Identity {
                entries: vec![form.present(&first), second],
                signer: Forger::honest(first),
            }
        };
        for (place, error) in everywhere(chain) {
            let expected = Some(PeerKeyRejected::Chain);
            assert_eq!(rejected(&error), expected, "{place}: {error}");
        }
    }
}

#[test]
fn an_empty_list_is_refused() {
    for (place, error) in everywhere(|_| Identity::presenting(Vec::new())) {
        assert_eq!(error, Error::NoCertificatesPresented, "{place}");
    }
}

/// A certificate of `key` padded by an extension to `length` bytes.
fn padded(key: &SigningKey, length: usize) -> Vec<u8> {
    // 1.3.6.1.4.1.0, not critical.
    let extension = |padding: usize| {
        let identifier = element(0x06, &[0x2b, 6, 1, 4, 1, 0]);
        let value = element(0x04, &vec![7; padding]);
        element(0x30, &[identifier, value].concat())
    };
    (0..=length)
        .rev()
        .map(|padding| certificate_around(&key.verifying_key().to_spki(), &extension(padding)))
        .find(|certificate| certificate.len() == length)
        .expect("a padding that fits")
}

#[test]
fn a_certificate_of_the_greatest_size_is_taken_and_a_greater_one_refused() {
    let presenting = |length: usize| {
        let key = key();
        Identity {
            entries: vec![padded(&key, length).into()],
            signer: Forger::honest(key),
        }
    };
    let ended = against_our_server(Form::Certificate, presenting(CERTIFICATE_BYTES_MAX));
    ended.server.expect("admitted");
    for length in [CERTIFICATE_BYTES_MAX + 1, 20_000, 60_000] {
        let error = against_our_server(Form::Certificate, presenting(length)).server_error();
        let expected = Some(PeerKeyRejected::CertificateTooLong);
        assert_eq!(rejected(&error), expected, "{length} bytes: {error}");
    }
}

#[test]
fn a_message_beyond_what_tls_may_hold_is_refused() {
    let huge = |_| Identity::presenting(vec![vec![0x30; 70_000].into()]);
    for (place, error) in everywhere(huge) {
        assert!(
            matches!(
                error,
                Error::InvalidMessage(
                    InvalidMessage::HandshakePayloadTooLarge
                        | InvalidMessage::CertificatePayloadTooLarge
                )
            ),
            "{place}: {error:?}"
        );
    }
}

#[test]
fn an_unknown_critical_extension_is_refused_and_any_other_means_nothing() {
    let with = |critical: &[u8]| {
        let key = key();
        let identifier = element(0x06, &[0x2b, 6, 1, 4, 1, 0]);
        let extension = element(
            0x30,
            &[&identifier, critical, &element(0x04, b"anything")].concat(),
        );
        let certificate = certificate_around(&key.verifying_key().to_spki(), &extension);
        Identity {
            entries: vec![certificate.into()],
            signer: Forger::honest(key),
        }
    };
    let taken = against_our_server(Form::Certificate, with(&[]));
    taken.server.expect("admitted");
    let error = against_our_server(Form::Certificate, with(&[1, 1, 0xff])).server_error();
    let expected = Some(PeerKeyRejected::CertificateMalformed);
    assert_eq!(rejected(&error), expected, "{error}");
}

#[test]
fn a_certificate_with_a_false_own_signature_is_its_keys_all_the_same() {
    let key = key();
    let public = key.verifying_key();
    let mut certificate = self_signed_certificate(&key).to_vec();
    *certificate.last_mut().expect("not empty") ^= 1;
    let identity = Identity {
        entries: vec![certificate.into()],
        signer: Forger::honest(key),
    };
    let server = against_our_server(Form::Certificate, identity).server;
    let server = server.expect("the handshake's signature counts");
    assert_eq!(peer_key(server.peer_certificates()), Some(public));
}

type Forgery = fn(&SigningKey, &[u8]) -> Vec<u8>;

/// Signatures that a forger tries for a key it holds, by name.
fn forgeries() -> Vec<(&'static str, Forgery)> {
    fn other_role(message: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(&message[..98]);
        let text = if text.contains("server") {
            text.replace("server", "client")
        } else {
            text.replace("client", "server")
        };
        [text.as_bytes(), &message[98..]].concat()
    }
    vec![
        ("by another key", |_, message| {
            sign(&hostile::key(), message)
        }),
        ("in the other role", |key, message| {
            let other = other_role(message);
            assert_ne!(other, message);
            assert_eq!(other.len(), message.len());
            sign(key, &other)
        }),
        ("of another transcript", |key, message| {
            let mut other = message.to_vec();
            *other.last_mut().expect("not empty") ^= 1;
            sign(key, &other)
        }),
        ("of the transcript alone", |key, message| {
            sign(key, &message[98..])
        }),
        ("with a flipped bit", |key, message| {
            let mut signature = sign(key, message);
            signature[40] ^= 1;
            signature
        }),
        ("with the order added to S", |key, message| {
            let order = unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
            let mut signature = sign(key, message);
            let mut carry = 0;
            for (digit, addend) in signature[32..].iter_mut().zip(order) {
                let sum = u16::from(*digit) + u16::from(addend) + carry;
                *digit = sum as u8;
                carry = sum >> 8;
            }
            signature
        }),
        ("a byte short", |key, message| {
            sign(key, message)[..63].to_vec()
        }),
        ("a byte long", |key, message| {
            [sign(key, message), vec![0]].concat()
        }),
        ("empty", |_, _| Vec::new()),
        ("of zeros", |_, _| vec![0; 64]),
    ]
}

#[test]
fn a_false_signature_is_refused() {
    for (name, forgery) in forgeries() {
        let identity = |form: Form| {
            let key = key();
            Identity {
                entries: vec![form.present(&key)],
                signer: Forger::new(move |message| forgery(&key, message)),
            }
        };
        for (place, error) in everywhere(identity) {
            assert_eq!(
                error,
                Error::InvalidCertificate(CertificateError::BadSignature),
                "{name}, {place}"
            );
        }
    }
}

#[test]
fn a_signature_scheme_other_than_ed25519_is_refused() {
    for scheme in [
        SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::RSA_PKCS1_SHA256,
        SignatureScheme::ED448,
        SignatureScheme::Unknown(0x0807 + 0x100),
    ] {
        let identity = |form: Form| {
            let mut identity = Identity::honest(form, key());
            identity.signer.scheme = scheme;
            identity
        };
        for (place, error) in everywhere(identity) {
            assert_eq!(
                error,
                Error::InvalidCertificate(CertificateError::BadSignature),
                "{scheme:?}, {place}"
            );
        }
    }
}

#[test]
fn the_refused_learn_nothing_of_the_reason() {
    let chain = {
        let key = key();
        Identity::presenting(vec![Form::Raw.present(&key), Form::Raw.present(&key)])
    };
    let weak = Identity::presenting(vec![Form::Raw.enclose(&spki_of(&weak_points()[0]))]);
    for identity in [chain, weak] {
        let error = against_our_server(Form::Raw, identity).client_error();
        let alert = AlertDescription::CertificateUnknown;
        assert_eq!(error, Error::AlertReceived(alert));
    }
}

#[test]
fn our_client_takes_no_certificate() {
    // Agreed on certificates, which the client never offered.
    for own in FORMS {
        let server = hostile::mixed_server(
            Form::Certificate,
            own,
            Identity::honest(Form::Certificate, key()),
        );
        let client = client_config(&key()).expect("sound");
        let ended = handshake(client, Serving::Other(server), |_, _, _| ());
        ended.assert_neither("certificate");
    }
}

// rustls could serve mixtures by further configurations; we refuse them.
#[test]
fn raw_keys_for_one_direction_alone_are_refused() {
    for (own, other) in [
        (Form::Raw, Form::Certificate),
        (Form::Certificate, Form::Raw),
    ] {
        let client = hostile::mixed_client(own, other, Identity::honest(own, key()));
        let ended = handshake(Arc::new(client), Serving::Ours(&ours(&key())), |_, _, _| ());
        ended.assert_neither("mixture");
        assert_eq!(
            ended.client_error(),
            Error::AlertReceived(AlertDescription::HandshakeFailure)
        );
    }
}
