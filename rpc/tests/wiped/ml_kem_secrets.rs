//! The secrets inside ML-KEM-768 (FIPS 203), as they may lie in memory.

use ml_kem::array::Array;
#[allow(deprecated, reason = "the only way to see the expanded key")]
use ml_kem::{DecapsulationKey768, ExpandedKeyEncoding};

use super::core::Needle;

const VECTOR_BYTES: usize = 1152;

/// Of a key pair: seed, expanded key, the vector `s` as coefficients, and the
/// seed of the noise.
pub(crate) fn of_key(seed: &[u8; 64]) -> Vec<Needle> {
    #[allow(deprecated, reason = "the only way to see the expanded key")]
    let expanded = DecapsulationKey768::from_seed(Array(*seed)).to_expanded_bytes();
    let encoded = &expanded[..VECTOR_BYTES];
    // 12 bits each, two in three bytes (FIPS 203, algorithm 6).
    let coefficients: Vec<u8> = encoded
        .chunks_exact(3)
        .flat_map(|three| {
            let [a, b, c] = [three[0], three[1], three[2]].map(u16::from);
            [a | (b & 0x0f) << 8, b >> 4 | c << 4]
        })
        .flat_map(u16::to_le_bytes)
        .collect();
    // Algorithm 13: (rho, sigma) = G(d || k).
    let (rho, sigma) = halves(&sha3_512(&[&seed[..32], &[3]].concat()));
    let public_seed = &expanded[VECTOR_BYTES + VECTOR_BYTES..][..32];
    assert_eq!(rho, public_seed, "rho is public, so it can be compared");
    vec![
        Needle::new("ML-KEM seed d", &seed[..32]),
        Needle::new("ML-KEM seed z", &seed[32..]),
        Needle::new("ML-KEM vector s, encoded", encoded),
        Needle::new("ML-KEM vector s, coefficients", &coefficients),
        Needle::new("ML-KEM seed of the noise", &sigma),
    ]
}

/// Of an encapsulation of `message` to `key`: what it yields, and the seed of
/// its noise.
pub(crate) fn of_encapsulation(key: &[u8], message: &[u8; 32], secret: &[u8; 32]) -> Vec<Needle> {
    // Algorithm 17: (K, r) = G(m || H(ek)).
    let (computed, noise) = halves(&sha3_512(&[&message[..], &sha3_256(key)].concat()));
    assert_eq!(&computed, secret, "computed twice");
    vec![
        Needle::new("ML-KEM message", message),
        Needle::new("ML-KEM secret", secret),
        Needle::new("ML-KEM seed of the encapsulation's noise", &noise),
    ]
}

fn halves(digest: &[u8]) -> ([u8; 32], [u8; 32]) {
    let half = |at: usize| digest[at..at + 32].try_into().expect("64 bytes");
    (half(0), half(32))
}

fn sha3_256(input: &[u8]) -> Vec<u8> {
    sha3(input, 32)
}

fn sha3_512(input: &[u8]) -> Vec<u8> {
    sha3(input, 64)
}

/// FIPS 202: the sponge over Keccak-f\[1600\] with twice `output` as capacity.
fn sha3(input: &[u8], output: usize) -> Vec<u8> {
    let rate = 200 - 2 * output;
    let mut padded = input.to_vec();
    padded.push(0x06);
    padded.resize(padded.len().next_multiple_of(rate), 0);
    *padded.last_mut().expect("not empty") |= 0x80;
    let mut state = [0u64; 25];
    for block in padded.chunks_exact(rate) {
        for (lane, bytes) in state.iter_mut().zip(block.chunks_exact(8)) {
            *lane ^= u64::from_le_bytes(bytes.try_into().expect("8 bytes"));
        }
        permute(&mut state);
    }
    let bytes = state.into_iter().flat_map(u64::to_le_bytes);
    bytes.take(output).collect()
}

fn permute(state: &mut [u64; 25]) {
    // The round constants come out of the shift register of section 3.2.5.
    let mut register = 1u8;
    for _ in 0..24 {
        let mut parity = [0u64; 5];
        for (index, lane) in state.iter().enumerate() {
            parity[index % 5] ^= lane;
        }
        for (index, lane) in state.iter_mut().enumerate() {
            let x = index % 5;
            *lane ^= parity[(x + 4) % 5] ^ parity[(x + 1) % 5].rotate_left(1);
        }
        // rho and pi together, along the cycle of all lanes but the first.
        let (mut x, mut y, mut carried) = (1, 0, state[1]);
        for step in 0..24u32 {
            (x, y) = (y, (2 * x + 3 * y) % 5);
            let rotated = carried.rotate_left((step + 1) * (step + 2) / 2 % 64);
            carried = std::mem::replace(&mut state[x + 5 * y], rotated);
        }
        for row in state.chunks_exact_mut(5) {
            let old = [row[0], row[1], row[2], row[3], row[4]];
            for x in 0..5 {
                row[x] = old[x] ^ (!old[(x + 1) % 5] & old[(x + 2) % 5]);
            }
        }
        for bit in 0..7 {
            if register & 1 == 1 {
                state[0] ^= 1 << ((1 << bit) - 1);
            }
            let overflow = register >> 7 == 1;
            register = register << 1 ^ if overflow { 0x71 } else { 0 };
        }
    }
}
