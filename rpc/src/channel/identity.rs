//! Who this side is, in the form that each transport needs.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use sealmoot_crypto::signature::{KeyId, SigningKey, VerifyingKey};
use tokio_rustls::TlsConnector;

use crate::connector::ConfigError;
use crate::noise::StaticKey;
use crate::tls;

/// One Ed25519 key, ready to be proved on every transport.
///
/// Clones share it; it is wiped with the last of them, as are the copies that
/// sign for TLS.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    signing: SigningKey,
    verifying: VerifyingKey,
    static_key: Arc<StaticKey>,
    tls_client: Arc<ClientConfig>,
    tls_server: tls::Acceptor,
}

impl Identity {
    /// With a throwaway X25519 key for Noise, as old as this identity. That
    /// suffices for whoever opens channels, and hides from a recording of IK
    /// which client it was. Whoever is to be found by IK or KK needs one that lasts:
    /// [`Identity::with_static_key`].
    ///
    /// # Errors
    /// A random source that fails, or a key that TLS does not take.
    pub fn new(key: &SigningKey) -> Result<Self, ConfigError> {
        let static_key = StaticKey::generate().map_err(ConfigError::Random)?;
        Self::with_static_key(key, Arc::new(static_key))
    }

    /// With an X25519 key that others know beforehand.
    ///
    /// It need not be named under the Ed25519 key by a statement to be worth
    /// something: in each channel the Ed25519 key signs the handshake in which
    /// the X25519 key was proved.
    ///
    /// # Errors
    /// A key that TLS does not take.
    pub fn with_static_key(
        key: &SigningKey,
        static_key: Arc<StaticKey>,
    ) -> Result<Self, ConfigError> {
        Ok(Self(Arc::new(Inner {
            signing: SigningKey::from_seed(&key.to_seed()),
            verifying: key.verifying_key(),
            static_key,
            tls_client: tls::client_config(key)?,
            tls_server: tls::Acceptor::new(key)?,
        })))
    }

    /// The public half, which channels show to peers.
    #[must_use]
    pub fn key(&self) -> VerifyingKey {
        self.0.verifying
    }

    /// The identity that follows from it.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.0.verifying.key_id()
    }

    /// The key that Noise agrees with.
    #[must_use]
    pub fn static_key(&self) -> &Arc<StaticKey> {
        &self.0.static_key
    }

    pub(super) fn signing(&self) -> &SigningKey {
        &self.0.signing
    }

    pub(super) fn tls_connector(&self) -> TlsConnector {
        TlsConnector::from(Arc::clone(&self.0.tls_client))
    }

    pub(super) fn tls_acceptor(&self) -> &tls::Acceptor {
        &self.0.tls_server
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Identity(of {})", self.key_id())
    }
}
