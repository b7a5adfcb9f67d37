//! Which library computes: ring, or with the feature `aws-lc` AWS-LC.
//!
//! Both give the same bytes, so what one sealed the other opens; a backend is
//! chosen where a key is made and stays with it. Where neither has an algorithm
//! (Ed25519's strict verification, X-Wing, BLAKE3) RustCrypto and its kin compute,
//! whatever was chosen.
//!
//! ```
//! use sealmoot_crypto::{backend::Backend, keyset::Keyset};
//! let mut keyset = Keyset::generate()?; // on the default backend
//! let sealed = keyset.seal("note", b"", b"text")?;
//! for backend in Backend::ALL {
//!     keyset = keyset.on(*backend);
//!     assert_eq!(keyset.open("note", b"", &sealed)?.expose(), b"text");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod aead;

/// A library that computes what this crate offers.
///
/// ```
/// use sealmoot_crypto::backend::Backend;
/// assert_eq!(Backend::default(), Backend::Ring);
/// assert!(Backend::ALL.contains(&Backend::Ring));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Backend {
    /// ring, and RustCrypto where ring has no such algorithm.
    #[default]
    Ring,
    /// AWS-LC: faster in bulk AES, X25519 and ML-KEM, slower to build.
    #[cfg(feature = "aws-lc")]
    AwsLc,
}

impl Backend {
    /// Every backend that this build has.
    pub const ALL: &'static [Self] = &[
        Self::Ring,
        #[cfg(feature = "aws-lc")]
        Self::AwsLc,
    ];
}

/// Whether the processor has instructions for AES and for GCM's multiplication.
/// Without them AES by tables is slow, or leaks its key by time, or both.
pub(crate) fn has_aes_instructions() -> bool {
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    {
        cpufeatures::new!(aes_and_multiplication, "aes", "pclmulqdq");
        aes_and_multiplication::get()
    }
    #[cfg(target_arch = "aarch64")]
    {
        cpufeatures::new!(aes_and_multiplication, "aes");
        aes_and_multiplication::get()
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
    {
        false
    }
}
