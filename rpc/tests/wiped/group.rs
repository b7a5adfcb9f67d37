//! X25519MLKEM768 for the test's own end of a TLS connection, which tells the
//! secrets that both ends then share.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ml_kem::array::Array;
use ml_kem::kem::{Decapsulate, KeyExport};
use ml_kem::{DecapsulationKey768, EncapsulationKey768};
use rustls::crypto::{ActiveKeyExchange, CompletedKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::{Error, KeyLog, NamedGroup};
use sealmoot_crypto::agreement::{AgreementKey, AgreementPublic};
use sealmoot_crypto::random;

/// Every secret of a connection that both ends have, by name.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Arc<Mutex<Vec<Named>>>);

/// A secret and what it is called.
pub(crate) type Named = (String, Vec<u8>);

impl Secrets {
    pub(crate) fn take(&self) -> Vec<Named> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, name: &str, secret: &[u8]) {
        let mut secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.push((name.to_owned(), secret.to_vec()));
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secrets")
    }
}

impl KeyLog for Secrets {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        self.add(label, secret);
    }
}

/// The group; rustls wants it for ever, so a test leaks one.
#[derive(Debug)]
pub(crate) struct Telling(pub(crate) Secrets);

impl Telling {
    fn joined(&self, post_quantum: &[u8], classical: &[u8]) -> SharedSecret {
        let joined = [post_quantum, classical].concat();
        self.0.add("ML-KEM secret", post_quantum);
        self.0.add("X25519 secret", classical);
        SharedSecret::from(joined)
    }
}

impl SupportedKxGroup for Telling {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let seed: [u8; 64] = random::array().expect("random source");
        let kem = DecapsulationKey768::from_seed(Array(seed));
        let agreement = AgreementKey::generate().expect("random source");
        let mut share = kem.encapsulation_key().to_bytes().to_vec();
        share.extend_from_slice(agreement.public().as_bytes());
        Ok(Box::new(Started {
            group: Self(self.0.clone()),
            kem,
            agreement,
            share,
        }))
    }

    fn start_and_complete(&self, share: &[u8]) -> Result<CompletedKeyExchange, Error> {
        let (key, public) = share.split_last_chunk::<32>().expect("an honest client");
        let key = EncapsulationKey768::new(&key.try_into().expect("its length")).expect("honest");
        let message: [u8; 32] = random::array().expect("random source");
        let (ciphertext, post_quantum) = key.encapsulate_deterministic(&Array(message));
        let agreement = AgreementKey::generate().expect("random source");
        let classical = agreement.agree(&AgreementPublic::from_bytes(*public));
        let mut answer = ciphertext.to_vec();
        answer.extend_from_slice(agreement.public().as_bytes());
        Ok(CompletedKeyExchange {
            group: self.name(),
            pub_key: answer,
            secret: self.joined(&post_quantum, classical.expect("honest").expose()),
        })
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }
}

struct Started {
    group: Telling,
    kem: DecapsulationKey768,
    agreement: AgreementKey,
    share: Vec<u8>,
}

impl ActiveKeyExchange for Started {
    fn complete(self: Box<Self>, answer: &[u8]) -> Result<SharedSecret, Error> {
        let (ciphertext, public) = answer.split_last_chunk::<32>().expect("an honest server");
        let post_quantum = self
            .kem
            .decapsulate(&ciphertext.try_into().expect("its length"));
        let classical = self.agreement.agree(&AgreementPublic::from_bytes(*public));
        Ok(self
            .group
            .joined(&post_quantum, classical.expect("honest").expose()))
    }

    fn pub_key(&self) -> &[u8] {
        &self.share
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }
}
