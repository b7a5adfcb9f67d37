//! X25519MLKEM768 (draft-ietf-tls-ecdhe-mlkem, IANA 0x11ec) for rustls.
//!
//! Recordings of today stay closed as long as either X25519 or ML-KEM-768
//! holds. Both shares, and both secrets, are joined with ML-KEM first:
//!
//! ```text
//! client share   encapsulation key (1184) || X25519 public key (32)
//! server share   ciphertext        (1088) || X25519 public key (32)
//! secret         ML-KEM secret       (32) || X25519 secret     (32)
//! ```

use rustls::crypto::{ActiveKeyExchange, CompletedKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::{Error, NamedGroup, PeerMisbehaved, ProtocolVersion};
use sealmoot_crypto::agreement::{AgreementKey, AgreementPublic};
use sealmoot_crypto::secret::SecretArray;

use crate::noise::hybrid::{
    CIPHERTEXT_BYTES, DecapsulationKey, ENCAPSULATION_KEY_BYTES, ENCAPSULATION_RANDOMNESS_BYTES,
    SEED_BYTES, SHARED_SECRET_BYTES, encapsulate,
};

/// How the memory of a process is searched, as the tests of the whole channel do.
#[cfg(all(test, target_os = "linux"))]
#[allow(dead_code, reason = "the tests of the whole channel use the rest")]
#[path = "../../tests/wiped/core.rs"]
mod core;
#[cfg(all(test, target_os = "linux"))]
#[path = "../../tests/wiped/ml_kem_secrets.rs"]
mod ml_kem_secrets;
#[cfg(all(test, target_os = "linux"))]
#[allow(dead_code, reason = "the tests of the whole channel use the rest")]
#[path = "../../tests/wiped/process.rs"]
mod process;
#[cfg(all(test, target_os = "linux"))]
mod wiped;

const X25519_BYTES: usize = 32;

/// To be put before X25519 in a provider's groups.
#[derive(Debug)]
pub(super) struct X25519MlKem768;

impl SupportedKxGroup for X25519MlKem768 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        Ok(Box::new(Active::from_randomness(&random()?, &random()?)))
    }

    fn start_and_complete(&self, client_share: &[u8]) -> Result<CompletedKeyExchange, Error> {
        complete_from_randomness(client_share, &random()?, &random()?)
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_3
    }
}

/// A client that has sent its share.
struct Active {
    kem: DecapsulationKey,
    agreement: AgreementKey,
    share: Vec<u8>,
}

impl Active {
    fn from_randomness(
        kem: &SecretArray<SEED_BYTES>,
        agreement: &SecretArray<X25519_BYTES>,
    ) -> Self {
        let kem = DecapsulationKey::from_seed(kem);
        let agreement = AgreementKey::from_bytes(agreement);
        let share = joined(&kem.encapsulation_key(), agreement.public().as_bytes());
        Self {
            kem,
            agreement,
            share,
        }
    }
}

/// The server's part, which has no second step.
fn complete_from_randomness(
    client_share: &[u8],
    kem: &SecretArray<ENCAPSULATION_RANDOMNESS_BYTES>,
    agreement: &SecretArray<X25519_BYTES>,
) -> Result<CompletedKeyExchange, Error> {
    let (key, public) = split::<ENCAPSULATION_KEY_BYTES>(client_share)?;
    let agreement = AgreementKey::from_bytes(agreement);
    let classical = agree(&agreement, public)?;
    let (ciphertext, post_quantum) = encapsulate(key, kem).map_err(|_| invalid_key_share())?;
    Ok(CompletedKeyExchange {
        group: NamedGroup::X25519MLKEM768,
        pub_key: joined(&ciphertext, agreement.public().as_bytes()),
        secret: secret(&post_quantum, &classical),
    })
}

impl ActiveKeyExchange for Active {
    fn complete(self: Box<Self>, server_share: &[u8]) -> Result<SharedSecret, Error> {
        let (ciphertext, public) = split::<CIPHERTEXT_BYTES>(server_share)?;
        let classical = agree(&self.agreement, public)?;
        Ok(secret(&self.kem.decapsulate(ciphertext), &classical))
    }

    /// X25519 alone, for a server that lacks the hybrid: from the same key, so
    /// that it costs neither a second one nor a round trip.
    fn hybrid_component(&self) -> Option<(NamedGroup, &[u8])> {
        Some((NamedGroup::X25519, &self.share[ENCAPSULATION_KEY_BYTES..]))
    }

    fn complete_hybrid_component(
        self: Box<Self>,
        server_share: &[u8],
    ) -> Result<SharedSecret, Error> {
        let public = server_share.try_into().map_err(|_| invalid_key_share())?;
        Ok(SharedSecret::from(
            agree(&self.agreement, public)?.expose().as_slice(),
        ))
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

/// Refuses public keys of low order, as TLS demands (RFC 8446, section 7.4.2).
fn agree(
    key: &AgreementKey,
    public: &[u8; X25519_BYTES],
) -> Result<SecretArray<X25519_BYTES>, Error> {
    key.agree(&AgreementPublic::from_bytes(*public))
        .map_err(|_| invalid_key_share())
}

/// The two parts of a share of exactly their lengths.
fn split<const N: usize>(share: &[u8]) -> Result<(&[u8; N], &[u8; X25519_BYTES]), Error> {
    share
        .split_first_chunk()
        .and_then(|(post_quantum, classical)| Some((post_quantum, classical.try_into().ok()?)))
        .ok_or_else(invalid_key_share)
}

fn joined(post_quantum: &[u8], classical: &[u8; X25519_BYTES]) -> Vec<u8> {
    [post_quantum, classical].concat()
}

/// rustls wipes it.
fn secret(
    post_quantum: &SecretArray<SHARED_SECRET_BYTES>,
    classical: &SecretArray<X25519_BYTES>,
) -> SharedSecret {
    let parts = [post_quantum.expose().as_slice(), classical.expose()];
    SharedSecret::from(parts.concat())
}

fn random<const N: usize>() -> Result<SecretArray<N>, Error> {
    SecretArray::random().map_err(|_| Error::FailedToGetRandomBytes)
}

fn invalid_key_share() -> Error {
    PeerMisbehaved::InvalidKeyShare.into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::crypto::ring;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
    use sealmoot_crypto::signature::SigningKey;

    use super::super::verifier::Form;
    use super::super::{ServerConfigs, client_config};
    use super::*;

    const LOW_ORDER: [u8; X25519_BYTES] = [0; X25519_BYTES];

    fn refused<T>(result: Result<T, Error>) {
        assert_eq!(result.err(), Some(invalid_key_share()));
    }

    /// Passes bytes to and fro until both are done, and tells the group.
    fn negotiate(client: ClientConfig, server: ServerConfig) -> (NamedGroup, NamedGroup) {
        let name = ServerName::try_from("peer").expect("a name");
        let mut client = ClientConnection::new(Arc::new(client), name).expect("client");
        let mut server = ServerConnection::new(Arc::new(server)).expect("server");
        let mut flights = 0;
        while client.is_handshaking() || server.is_handshaking() {
            flights += 1;
            assert!(
                flights <= 3,
                "one flight from each side and the client's end"
            );
            let mut wire = Vec::new();
            client.write_tls(&mut wire).expect("memory");
            server.read_tls(&mut &wire[..]).expect("memory");
            server.process_new_packets().expect("honest client");
            wire.clear();
            server.write_tls(&mut wire).expect("memory");
            client.read_tls(&mut &wire[..]).expect("memory");
            client.process_new_packets().expect("honest server");
        }
        let group = |group: Option<&dyn SupportedKxGroup>| group.expect("a group").name();
        (
            group(client.negotiated_key_exchange_group()),
            group(server.negotiated_key_exchange_group()),
        )
    }

    fn configs() -> (ClientConfig, ServerConfig) {
        let key = || SigningKey::generate().expect("random source");
        (
            (*client_config(&key()).expect("client")).clone(),
            (*ServerConfigs::new(&key()).expect("server").raw).clone(),
        )
    }

    fn classical_only(provider: &rustls::crypto::CryptoProvider) -> rustls::crypto::CryptoProvider {
        rustls::crypto::CryptoProvider {
            kx_groups: vec![ring::kx_group::X25519],
            ..provider.clone()
        }
    }

    /// Our configurations with the provider of a peer that lacks the hybrid.
    fn classical_client(config: &ClientConfig) -> ClientConfig {
        let key = SigningKey::generate().expect("random source");
        let provider = Arc::new(classical_only(config.crypto_provider()));
        (*super::super::client_config_with(&key, provider).expect("client")).clone()
    }

    fn classical_server(config: &ServerConfig) -> ServerConfig {
        let key = SigningKey::generate().expect("random source");
        let provider = Arc::new(classical_only(config.crypto_provider()));
        (*super::super::server_config_with(&key, Form::RawPublicKey, provider).expect("server"))
            .clone()
    }

    #[test]
    fn our_client_and_our_server_negotiate_the_hybrid() {
        let (client, server) = configs();
        let groups = negotiate(client, server);
        assert_eq!(
            groups,
            (NamedGroup::X25519MLKEM768, NamedGroup::X25519MLKEM768)
        );
    }

    // In as many flights: the X25519 share travels beside the hybrid's.
    #[test]
    fn a_server_without_the_hybrid_is_met_with_x25519() {
        let (client, server) = configs();
        let groups = negotiate(client, classical_server(&server));
        assert_eq!(groups, (NamedGroup::X25519, NamedGroup::X25519));
    }

    #[test]
    fn a_client_without_the_hybrid_is_met_with_x25519() {
        let (client, server) = configs();
        let groups = negotiate(classical_client(&client), server);
        assert_eq!(groups, (NamedGroup::X25519, NamedGroup::X25519));
    }

    #[test]
    fn both_sides_reach_one_secret_of_two_halves() {
        let active = X25519MlKem768.start().expect("random source");
        assert_eq!(active.pub_key().len(), 1184 + 32);
        let completed = X25519MlKem768
            .start_and_complete(active.pub_key())
            .expect("honest share");
        assert_eq!(completed.pub_key.len(), 1088 + 32);
        assert_eq!(completed.group, NamedGroup::X25519MLKEM768);
        let secret = active.complete(&completed.pub_key).expect("honest share");
        assert_eq!(secret.secret_bytes(), completed.secret.secret_bytes());
        assert_eq!(secret.secret_bytes().len(), 64);
    }

    // ML-KEM's secret first, as in the shares.
    #[test]
    fn the_secret_is_ml_kems_and_then_x25519s() {
        let active = X25519MlKem768.start().expect("random source");
        let (key, public) = split(active.pub_key()).expect("our own share");
        let (ciphertext, post_quantum) =
            encapsulate(key, &random().expect("random source")).expect("canonical");
        let agreement = AgreementKey::generate().expect("random source");
        let classical = agree(&agreement, public).expect("contributory");
        let answer = joined(&ciphertext, agreement.public().as_bytes());
        let secret = active.complete(&answer).expect("honest share");
        let expected = [*post_quantum.expose(), *classical.expose()].concat();
        assert_eq!(secret.secret_bytes(), expected);
    }

    #[test]
    fn the_classical_half_completes_alone() {
        let active = X25519MlKem768.start().expect("random source");
        let (group, share) = active.hybrid_component().expect("a component");
        assert_eq!(group, NamedGroup::X25519);
        let completed = ring::kx_group::X25519
            .start_and_complete(share)
            .expect("honest share");
        let secret = active
            .complete_hybrid_component(&completed.pub_key)
            .expect("honest share");
        assert_eq!(secret.secret_bytes(), completed.secret.secret_bytes());
    }

    #[test]
    fn shares_of_another_length_are_refused() {
        let share = X25519MlKem768.start().expect("random source");
        let share = share.pub_key();
        let longer = [share, &[0]].concat();
        for wrong in [&[][..], &share[..1184], &share[..1215], &longer] {
            refused(X25519MlKem768.start_and_complete(wrong));
        }
        for length in [0, 32, 1088, 1119, 1121, 1216] {
            let active = X25519MlKem768.start().expect("random source");
            refused(active.complete(&vec![9; length]));
            let active = X25519MlKem768.start().expect("random source");
            if length != 32 {
                refused(active.complete_hybrid_component(&vec![9; length]));
            }
        }
    }

    #[test]
    fn a_low_order_half_is_refused_by_either_side() {
        let active = X25519MlKem768.start().expect("random source");
        let mut share = active.pub_key().to_vec();
        let mut answer = X25519MlKem768
            .start_and_complete(&share)
            .expect("honest share")
            .pub_key;
        share[ENCAPSULATION_KEY_BYTES..].copy_from_slice(&LOW_ORDER);
        refused(X25519MlKem768.start_and_complete(&share));
        answer[CIPHERTEXT_BYTES..].copy_from_slice(&LOW_ORDER);
        refused(active.complete(&answer));
        let active = X25519MlKem768.start().expect("random source");
        refused(active.complete_hybrid_component(&LOW_ORDER));
    }

    #[test]
    fn a_non_canonical_encapsulation_key_is_refused() {
        let active = X25519MlKem768.start().expect("random source");
        let mut share = active.pub_key().to_vec();
        // The first coefficient becomes 4095, outside the field of 3329.
        share[0] = 0xff;
        share[1] |= 0x0f;
        refused(X25519MlKem768.start_and_complete(&share));
    }

    #[test]
    fn the_group_is_for_tls_13_alone() {
        assert!(X25519MlKem768.usable_for_version(ProtocolVersion::TLSv1_3));
        assert!(!X25519MlKem768.usable_for_version(ProtocolVersion::TLSv1_2));
    }
}
