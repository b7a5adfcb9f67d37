//! What a peer shows of itself: introductions and certificates.

use std::sync::LazyLock;

use rustls::pki_types::CertificateDer;
use sealmoot_rpc::ChannelBinding;
use sealmoot_rpc::channel::{INTRODUCTION_BYTES, Introduction, Role, Transport};
use sealmoot_rpc::limits::CERTIFICATE_BYTES_MAX;
use sealmoot_rpc::tls;

use super::genuine;
use super::tls::CLIENT;
use crate::{Decoder, Outcome};

const BINDING: ChannelBinding = ChannelBinding::from_bytes([3; 32]);

static INTRODUCTIONS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    vec![Introduction::make(&CLIENT, Transport::Noise, Role::Client, &BINDING).to_vec()]
});

pub(super) const ALL: &[Decoder] = &[
    Decoder {
        name: "introduction",
        authenticates: true,
        samples: || INTRODUCTIONS.clone(),
        check: |bytes| {
            let Ok(fixed) = <&[u8; INTRODUCTION_BYTES]>::try_from(bytes) else {
                return Outcome::Refused;
            };
            let judged = Introduction::verify(fixed, Transport::Noise, Role::Client, &BINDING);
            if let Ok(key) = judged {
                assert_eq!(key, CLIENT.verifying_key());
            }
            genuine(Outcome::of(&judged), bytes, &INTRODUCTIONS)
        },
    },
    Decoder {
        name: "peer_certificate",
        // Nothing in a certificate but the key is believed, and its own signature
        // is not looked at: a changed one may be taken, for the key that is in it.
        authenticates: false,
        samples: || {
            vec![
                tls::self_signed_certificate(&CLIENT).to_vec(),
                CLIENT.verifying_key().to_spki().to_vec(),
            ]
        },
        check: |bytes| {
            let Some(key) = tls::peer_key(Some(&[CertificateDer::from(bytes)])) else {
                return Outcome::Refused;
            };
            assert!(bytes.len() <= CERTIFICATE_BYTES_MAX);
            let spki = key.to_spki();
            assert!(bytes.windows(spki.len()).any(|window| window == spki));
            Outcome::Accepted
        },
    },
];
