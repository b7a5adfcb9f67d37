//! What the libraries that compute for this crate leave of a key, as a table.
//!
//! Their state does not wipe itself (ring) or lies where no allocator reaches
//! it (the stack). The figures are printed and not judged: whoever runs the tests
//! sees them, and `crypto/DESIGN.md` states them.

use std::hint::black_box;
use std::process::Command;

use sealmoot_crypto::aead::RecordKey;
use sealmoot_crypto::backend::Backend;
use sealmoot_crypto::keyset::{Algorithm, Keyset};
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::{kdf, random};
use zeroize::Zeroize;

use super::memory::{Needle, Residue, Searcher};

const HELPER: &str = "SEALMOOT_ZEROIZATION_HELPER";

/// One line of the table.
pub(crate) struct Line {
    pub(crate) what: String,
    pub(crate) residue: Residue,
}

/// Measures and prints.
pub(crate) fn table(title: &str) -> Vec<Line> {
    let mut lines = vec![];
    let mut line = |what: String, residue| lines.push(Line { what, residue });
    line("a plain Vec, dropped".into(), plain_vec());
    line("a plain array on the stack".into(), plain_array());
    for cipher in [&ring::aead::AES_256_GCM, &ring::aead::CHACHA20_POLY1305] {
        let boxed = ring_key(cipher, true);
        line(
            format!("ring {cipher:?} key, on the stack"),
            ring_key(cipher, false),
        );
        line(format!("ring {cipher:?} key, boxed"), boxed);
    }
    #[cfg(feature = "aws-lc")]
    for (name, cipher) in [
        ("AES_256_GCM", &aws_lc_rs::aead::AES_256_GCM),
        ("CHACHA20_POLY1305", &aws_lc_rs::aead::CHACHA20_POLY1305),
    ] {
        line(
            format!("aws-lc {name} key, on the stack"),
            aws_lc_key(cipher),
        );
    }
    for backend in Backend::ALL {
        line(
            format!("the record key itself after seal and open on {backend:?}"),
            used_record_key(*backend),
        );
        line(
            format!("derived key after one RecordKey::seal on {backend:?}"),
            record_key(*backend, false),
        );
        line(
            format!("derived key after RecordKey::open on {backend:?}"),
            record_key(*backend, true),
        );
        for algorithm in [Algorithm::Xaes256Gcm, Algorithm::XChaCha20Poly1305] {
            line(
                format!("derived key after Keyset::seal, {algorithm:?} on {backend:?}"),
                keyset(*backend, algorithm),
            );
        }
    }
    println!("{title}");
    for line in &lines {
        println!("  {:<66} {:?}", line.what, line.residue);
    }
    lines
}

fn plain_vec() -> Residue {
    let mut searcher = Searcher::new();
    let needle = searcher.run(|| {
        let mut secret = vec![0u8; 64];
        random::fill(&mut secret).expect("randomness");
        Needle::of(&secret)
    });
    searcher.search(&needle)
}

fn plain_array() -> Residue {
    let mut searcher = Searcher::new();
    let needle = searcher.run(|| {
        let mut secret = [0u8; 64];
        random::fill(&mut secret).expect("randomness");
        Needle::of(black_box(&secret))
    });
    searcher.search(&needle)
}

fn ring_key(algorithm: &'static ring::aead::Algorithm, boxed: bool) -> Residue {
    use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey};
    let mut searcher = Searcher::new();
    let needle = searcher.run(|| {
        let secret = SecretArray::<32>::random().expect("randomness");
        let make = || LessSafeKey::new(UnboundKey::new(algorithm, secret.expose()).expect("32"));
        let mut text = [7u8; 64];
        let mut seal = |key: &LessSafeKey| {
            let nonce = Nonce::assume_unique_for_key([0; 12]);
            let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut text);
            black_box(tag.expect("short").as_ref());
        };
        if boxed {
            seal(black_box(&Box::new(make())));
        } else {
            seal(black_box(&make()));
        }
        Needle::of(secret.expose())
    });
    searcher.search(&needle)
}

#[cfg(feature = "aws-lc")]
fn aws_lc_key(algorithm: &'static aws_lc_rs::aead::Algorithm) -> Residue {
    use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey};
    let mut searcher = Searcher::new();
    let needle = searcher.run(|| {
        let secret = SecretArray::<32>::random().expect("randomness");
        let key = LessSafeKey::new(UnboundKey::new(algorithm, secret.expose()).expect("32"));
        let mut text = [7u8; 64];
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut text);
        black_box(tag.expect("short").as_ref());
        drop(black_box(key));
        Needle::of(secret.expose())
    });
    searcher.search(&needle)
}

fn used_record_key(backend: Backend) -> Residue {
    let mut searcher = Searcher::new();
    let needle = searcher.run(|| {
        let secret = SecretArray::<32>::random().expect("randomness");
        let key = RecordKey::from_secret_on(backend, &secret);
        let mut sealed = key.seal(b"", &[7; 64]).expect("sealed");
        black_box(key.open(b"", &mut sealed).expect("opens"));
        Needle::of(secret.expose())
    });
    searcher.search(&needle)
}

/// The key that one record's nonce makes of the record key.
fn record_key(backend: Backend, open: bool) -> Residue {
    let root: [u8; 32] = random::array().expect("randomness");
    let sealed = RecordKey::from_secret(&SecretArray::from_bytes(root)).seal(b"", &[7; 64]);
    let mut sealed = sealed.expect("sealed");
    let mut searcher = Searcher::new();
    // What sealing it left is not of this nonce; opening meets the same one.
    searcher.run(|| {
        let key = RecordKey::from_secret_on(backend, &SecretArray::from_bytes(root));
        if open {
            key.open(b"", &mut sealed).expect("opens");
        } else {
            sealed = key.seal(b"", &[7; 64]).expect("sealed");
        }
    });
    let needle = ask_helper("xaes", &root, &sealed[..24]);
    searcher.search(&needle)
}

fn keyset(backend: Backend, algorithm: Algorithm) -> Residue {
    let master: [u8; 32] = random::array().expect("randomness");
    let number = match algorithm {
        Algorithm::Xaes256Gcm => 1,
        Algorithm::XChaCha20Poly1305 => 2,
    };
    let stored = stored_keyset(&[(7, 2, number, master)]);
    let keyset = Keyset::from_secret_bytes(&stored)
        .expect("valid")
        .on(backend);
    let mut searcher = Searcher::new();
    let sealed = searcher.run(|| keyset.seal("test", b"", &[7; 64]).expect("sealed"));
    let derivation = ["keyset xaes", "keyset xchacha"][usize::from(number) - 1];
    let needle = ask_helper(derivation, &master, &sealed[6..30]);
    searcher.search(&needle)
}

/// A keyset as it is stored (`crypto/DESIGN.md`): id, state, algorithm, key.
pub(crate) fn stored_keyset(keys: &[(u32, u8, u8, [u8; 32])]) -> Vec<u8> {
    let mut bytes = vec![1, 0];
    bytes.extend_from_slice(&u32::try_from(keys.len()).expect("few").to_le_bytes());
    for (id, state, algorithm, master) in keys {
        bytes.extend_from_slice(&id.to_le_bytes());
        bytes.extend_from_slice(&[*state, *algorithm]);
        bytes.extend_from_slice(master);
    }
    bytes
}

/// Has another process compute a key and tell how to look for it: computing it
/// here would leave what is looked for.
pub(crate) fn ask_helper(derivation: &str, key: &[u8; 32], nonce: &[u8]) -> Needle {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let request = format!("{derivation}/{}/{}", hex(key), hex(nonce));
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "helper_process", "--nocapture"])
        .env(HELPER, request)
        .output()
        .expect("the helper runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let words = text
        .lines()
        .find_map(|line| line.split_once("needle: "))
        .unwrap_or_else(|| panic!("the helper says: {text}"));
    Needle::from_text(words.1.split_whitespace().next().expect("a needle"))
}

/// The other side of [`ask_helper`]; does nothing unless it is asked.
pub(crate) fn help() {
    let Ok(request) = std::env::var(HELPER) else {
        return;
    };
    let mut parts = request.split('/');
    let mut part = || parts.next().expect("three parts");
    let unhex = |text: &str| -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal"))
            .collect()
    };
    let (derivation, key, nonce) = (part(), unhex(part()), unhex(part()));
    let sealing = |number| *kdf::derive(&key, "committing seal", &[number]).expose();
    let key_array: [u8; 32] = key.as_slice().try_into().expect("32 bytes");
    if derivation == "arena" {
        println!("needle: {}", arena_block(&key, &nonce).to_text());
        return;
    }
    let derived = match derivation {
        "xaes" => xaes(&key_array, &nonce),
        "keyset xaes" => xaes(&sealing(1), &nonce),
        "keyset xchacha" => xchacha(&sealing(2), &nonce),
        "keyset sealing key" => sealing(nonce[0]),
        "keyset commitment key" => *kdf::derive(&key, "committing commitment", &[]).expose(),
        other => panic!("no derivation {other}"),
    };
    println!("needle: {}", Needle::of(&derived).to_text());
}

/// The last block that Argon2id leaves at the cost of the cases.
fn arena_block(password: &[u8], salt: &[u8]) -> Needle {
    use argon2::{Algorithm, Argon2, Block, Params, Version};
    let params = Params::new(64, 1, 1, Some(32)).expect("a valid cost");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut blocks = vec![Block::default(); argon2.params().block_count()];
    let mut hash = [0u8; 32];
    argon2
        .hash_password_into_with_memory(password, salt, &mut hash, &mut blocks)
        .expect("stretched");
    let words: &[u64] = blocks.last().expect("64 blocks").as_ref();
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    Needle::of(&bytes[..64])
}

/// The AES-256-GCM key of a nonce: C2SP, XAES-256-GCM.
fn xaes(key: &[u8; 32], nonce: &[u8]) -> [u8; 32] {
    use aes::cipher::{BlockCipherEncrypt, KeyInit};
    let cipher = aes::Aes256::new(&(*key).into());
    let mut block = aes::Block::default();
    cipher.encrypt_block(&mut block);
    let doubled = u128::from_be_bytes(block.0) << 1;
    let subkey = (doubled ^ if block[0] >> 7 == 1 { 0x87 } else { 0 }).to_be_bytes();
    let mut derived = [0u8; 32];
    for (half, counter) in derived.chunks_exact_mut(16).zip([1, 2]) {
        block.fill(0);
        block[1] = counter;
        block[2] = b'X';
        block[4..].copy_from_slice(&nonce[..12]);
        block
            .iter_mut()
            .zip(subkey)
            .for_each(|(byte, mask)| *byte ^= mask);
        cipher.encrypt_block(&mut block);
        half.copy_from_slice(&block);
    }
    block.zeroize();
    derived
}

/// The ChaCha20 key of a nonce: draft-irtf-cfrg-xchacha-03, section 2.3.
fn xchacha(key: &[u8; 32], nonce: &[u8]) -> [u8; 32] {
    let head: [u8; 16] = nonce[..16].try_into().expect("16 bytes");
    chacha20::hchacha::<chacha20::R20>(&(*key).into(), &head.into()).0
}
