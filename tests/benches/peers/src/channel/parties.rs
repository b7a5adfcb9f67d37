//! The two ends of every measured channel, and the provider that both TLS
//! stacks compute with.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::channel::{Identity, Origin};
use sealmoot_rpc::noise::{Acceptance, Hash, Hybrid, Options, Pattern, Suite, Target};
use sealmoot_rpc::{Limits, tls};

/// Who connects, and who is connected to.
pub struct Parties {
    /// The side that connects.
    pub client: Identity,
    /// The other.
    pub server: Identity,
    /// The defaults.
    pub limits: Limits,
}

impl Parties {
    /// Two fresh identities.
    ///
    /// # Panics
    /// When the operating system has no randomness.
    #[must_use]
    pub fn new() -> Self {
        let identity = || Identity::new(&signing_key()).expect("a sound key");
        Self {
            client: identity(),
            server: identity(),
            limits: Limits::default(),
        }
    }

    /// Whom the client looks for by Noise.
    #[must_use]
    pub fn target(&self, pattern: Pattern) -> Target {
        let responder = self.server.static_key().public();
        match pattern {
            Pattern::Xx => Target::Xx {
                responder: Some(responder),
            },
            Pattern::Ik => Target::Ik { responder },
            Pattern::Kk => Target::Kk { responder },
        }
    }

    /// A server that takes `suite` from the client and nothing else.
    #[must_use]
    pub fn acceptance(&self, suite: Suite) -> Acceptance {
        Acceptance {
            suites: vec![suite],
            kk_initiator: Some(self.client.static_key().public()),
            ..Acceptance::default()
        }
    }
}

impl Default for Parties {
    fn default() -> Self {
        Self::new()
    }
}

/// A fresh Ed25519 key.
///
/// # Panics
/// When the operating system has no randomness.
#[must_use]
pub fn signing_key() -> SigningKey {
    SigningKey::generate().expect("randomness")
}

/// A suite by SHA-256 or BLAKE2s.
#[must_use]
pub const fn suite(pattern: Pattern, hash: Hash, hybrid: Hybrid) -> Suite {
    Suite {
        pattern,
        hash,
        hybrid,
    }
}

/// What a client of `suite` chooses.
#[must_use]
pub fn options(suite: Suite) -> Options {
    Options {
        hash: suite.hash,
        hybrid: suite.hybrid,
        ..Options::default()
    }
}

/// Where a stream without an address comes from.
#[must_use]
pub fn nowhere() -> Origin {
    Origin::Network(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

/// What Sealmoot gives rustls: ring, and our X25519MLKEM768 before X25519.
///
/// # Panics
/// When the operating system has no randomness.
#[must_use]
pub fn our_provider() -> CryptoProvider {
    let config = tls::client_config(&signing_key()).expect("a sound key");
    CryptoProvider::clone(config.crypto_provider())
}

/// The same without the hybrid.
#[must_use]
pub fn classical_provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![ring::kx_group::X25519],
        ..our_provider()
    }
}

/// The same with one cipher suite.
#[must_use]
pub fn provider_with(suite: rustls::SupportedCipherSuite) -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![suite],
        ..our_provider()
    }
}

/// AWS-LC instead of ring, its own hybrid group before its X25519.
#[cfg(feature = "aws-lc")]
#[must_use]
pub fn aws_lc_provider() -> CryptoProvider {
    use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
    CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_256_GCM_SHA384],
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519],
        ..default_provider()
    }
}

/// Shared by configurations.
#[must_use]
pub fn shared(provider: CryptoProvider) -> Arc<CryptoProvider> {
    Arc::new(provider)
}
