//! The ciphers as their libraries offer them, the key at hand, in place.

use std::hint::black_box;
use std::time::Instant;

use crate::measure::{Subject, data};

/// The associated data of every measured record: a name of ordinary length.
pub const ASSOCIATED_DATA: &[u8] = b"table 7, row 0000001";

/// Which cipher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cipher {
    /// AES-256-GCM.
    Aes256Gcm,
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305,
}

/// How many records of `size` bytes are opened between two looks at the clock:
/// enough that the look costs nothing, few enough to stay in the first cache.
#[must_use]
pub fn copies(size: usize) -> usize {
    (32 * 1024 / size).clamp(1, 32)
}

/// [`copies`], for subjects that need none.
#[must_use]
pub fn operations(size: usize) -> u32 {
    u32::try_from(copies(size)).unwrap_or(1)
}

/// A subject that opens prepared copies of `sealed`; putting the copies back is
/// left out of the time.
pub fn opening<'a>(
    sealed: Vec<u8>,
    size: usize,
    mut open: impl FnMut(&mut [u8]) + 'a,
) -> Subject<'a> {
    let mut copies: Vec<Vec<u8>> = vec![sealed.clone(); copies(size)];
    Subject::prepared(operations(size), move || {
        for copy in &mut copies {
            copy.copy_from_slice(&sealed);
        }
        let started = Instant::now();
        for copy in &mut copies {
            open(copy);
        }
        started.elapsed()
    })
}

fn nonce_of(counter: u64) -> [u8; 12] {
    let mut nonce = [0u8; 12];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    nonce
}

/// ring and aws-lc-rs offer the same names.
macro_rules! backend {
    ($name:ident, $library:ident, $documentation:literal) => {
        #[doc = $documentation]
        pub mod $name {
            use $library::aead::{
                AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
            };

            use super::*;

            fn key(cipher: Cipher) -> LessSafeKey {
                let algorithm = match cipher {
                    Cipher::Aes256Gcm => &AES_256_GCM,
                    Cipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
                };
                LessSafeKey::new(UnboundKey::new(algorithm, &data(32)).expect("32 bytes are a key"))
            }

            /// Seals `size` bytes in place, again and again, counting nonces.
            #[must_use]
            pub fn seal(
                cipher: Cipher,
                size: usize,
                associated_data: &'static [u8],
            ) -> Subject<'static> {
                let key = key(cipher);
                let mut buffer = data(size);
                let mut counter = 0;
                Subject::plain(operations(size), move || {
                    counter += 1;
                    let nonce = Nonce::assume_unique_for_key(nonce_of(counter));
                    let aad = Aad::from(associated_data);
                    let tag = key
                        .seal_in_place_separate_tag(nonce, aad, &mut buffer)
                        .expect("a short record");
                    black_box(tag.as_ref());
                })
            }

            /// Opens `size` bytes in place.
            #[must_use]
            pub fn open(
                cipher: Cipher,
                size: usize,
                associated_data: &'static [u8],
            ) -> Subject<'static> {
                let key = key(cipher);
                let mut sealed = data(size);
                let nonce = || Nonce::assume_unique_for_key(nonce_of(7));
                key.seal_in_place_append_tag(nonce(), Aad::from(associated_data), &mut sealed)
                    .expect("a short record");
                opening(sealed, size, move |record| {
                    let aad = Aad::from(associated_data);
                    let text = key.open_in_place(nonce(), aad, record).expect("it opens");
                    black_box(text);
                })
            }
        }
    };
}

backend!(by_ring, ring, "By ring.");
#[cfg(feature = "aws-lc")]
backend!(by_aws_lc, aws_lc_rs, "By AWS-LC.");

/// By the crate `chacha20poly1305`, whose XChaCha20-Poly1305 has long nonces.
pub mod by_rustcrypto {
    use chacha20poly1305::aead::{AeadInOut, KeyInit};
    use chacha20poly1305::{ChaCha20Poly1305, XChaCha20Poly1305};

    use super::*;

    fn keys() -> (ChaCha20Poly1305, XChaCha20Poly1305) {
        let key: [u8; 32] = data(32).try_into().expect("32 bytes");
        (
            ChaCha20Poly1305::new(&key.into()),
            XChaCha20Poly1305::new(&key.into()),
        )
    }

    /// Seals by ChaCha20-Poly1305.
    #[must_use]
    pub fn seal(size: usize) -> Subject<'static> {
        let (key, _) = keys();
        let mut buffer = data(size);
        let mut counter = 0;
        Subject::plain(operations(size), move || {
            counter += 1;
            let nonce = nonce_of(counter).into();
            let tag = key
                .encrypt_inout_detached(&nonce, ASSOCIATED_DATA, buffer.as_mut_slice().into())
                .expect("a short record");
            black_box(tag);
        })
    }

    /// Seals by XChaCha20-Poly1305.
    #[must_use]
    pub fn seal_extended(size: usize) -> Subject<'static> {
        let (_, key) = keys();
        let mut buffer = data(size);
        let mut nonce = [0u8; 24];
        Subject::plain(operations(size), move || {
            nonce[0] = nonce[0].wrapping_add(1);
            let tag = key
                .encrypt_inout_detached(
                    &nonce.into(),
                    ASSOCIATED_DATA,
                    buffer.as_mut_slice().into(),
                )
                .expect("a short record");
            black_box(tag);
        })
    }

    /// Opens by ChaCha20-Poly1305.
    #[must_use]
    pub fn open(size: usize) -> Subject<'static> {
        let (key, _) = keys();
        let mut sealed = data(size);
        let nonce = nonce_of(7).into();
        key.encrypt_in_place(&nonce, ASSOCIATED_DATA, &mut sealed)
            .expect("a short record");
        opening(sealed, size, move |record| {
            let (text, tag) = record.split_at_mut(size);
            let tag: [u8; 16] = (&*tag).try_into().expect("16 bytes");
            key.decrypt_inout_detached(&nonce, ASSOCIATED_DATA, text.into(), &tag.into())
                .expect("it opens");
        })
    }

    /// Opens by XChaCha20-Poly1305.
    #[must_use]
    pub fn open_extended(size: usize) -> Subject<'static> {
        let (_, key) = keys();
        let mut sealed = data(size);
        let nonce = [7u8; 24].into();
        key.encrypt_in_place(&nonce, ASSOCIATED_DATA, &mut sealed)
            .expect("a short record");
        opening(sealed, size, move |record| {
            let (text, tag) = record.split_at_mut(size);
            let tag: [u8; 16] = (&*tag).try_into().expect("16 bytes");
            key.decrypt_inout_detached(&nonce, ASSOCIATED_DATA, text.into(), &tag.into())
                .expect("it opens");
        })
    }
}
