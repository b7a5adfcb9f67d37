//! An authenticator app: codes by the clock (RFC 6238, SHA-1, six digits, 30 seconds), out
//! of the secret that people type into it. Made here a second time, so that it agrees with
//! other apps and not with ourselves.

use std::time::{SystemTime, UNIX_EPOCH};

/// How long a code is shown, in seconds.
pub const STEP_SECONDS: u64 = 30;

/// An app that was given a secret.
pub struct Authenticator(Vec<u8>);

impl Authenticator {
    /// Takes a secret in base32 (RFC 4648, section 6, without padding).
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn with_secret(base32: &str) -> Self {
        let (mut bits, mut held, mut secret) = (0_u32, 0, Vec::new());
        for symbol in base32.bytes() {
            let value = match symbol {
                b'A'..=b'Z' => symbol - b'A',
                b'2'..=b'7' => symbol - b'2' + 26,
                _ => panic!("{base32} is not base32"),
            };
            bits = bits << 5 | u32::from(value);
            held += 5;
            if held >= 8 {
                held -= 8;
                secret.push((bits >> held) as u8);
            }
        }
        Self(secret)
    }

    /// The code of now, or of so many steps from now.
    ///
    /// # Panics
    /// When the clock stands before 1970.
    #[must_use]
    pub fn code(&self, steps_from_now: i64) -> String {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.expect("after 1970").as_secs() / STEP_SECONDS;
        self.code_of(now.wrapping_add_signed(steps_from_now))
    }

    /// The code of a step since 1970.
    fn code_of(&self, step: u64) -> String {
        let tag = hmac_sha1(&self.0, &step.to_be_bytes());
        let offset = usize::from(tag[19] & 15);
        let number = tag[offset..offset + 4]
            .iter()
            .fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
    }
}

/// HMAC (RFC 2104) for keys of at most 64 bytes.
fn hmac_sha1(key: &[u8], message: &[u8]) -> [u8; 20] {
    let padded = |pad: u8| -> Vec<u8> {
        let key = key.iter().copied().chain(std::iter::repeat(0));
        key.take(64).map(|byte| byte ^ pad).collect()
    };
    let inner = sha1(&[padded(0x36), message.to_vec()].concat());
    sha1(&[padded(0x5c), inner.to_vec()].concat())
}

/// SHA-1 (RFC 3174).
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut state: [u32; 5] = [
        0x6745_2301,
        0xefcd_ab89,
        0x98ba_dcfe,
        0x1032_5476,
        0xc3d2_e1f0,
    ];
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend((message.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks(64) {
        let mut words: Vec<u32> = block
            .chunks(4)
            .map(|word| word.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
            .collect();
        for at in 16..80 {
            let mixed = words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16];
            words.push(mixed.rotate_left(1));
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (round, word) in words.into_iter().enumerate() {
            let (choice, constant) = match round / 20 {
                0 => (b & c | !b & d, 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => (b & c | b & d | c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let next = [a.rotate_left(5), choice, e, constant, word]
                .into_iter()
                .fold(0, u32::wrapping_add);
            (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_vectors_of_rfc_6238() {
        // Appendix B, SHA-1; the last six of eight digits.
        let app = Authenticator::with_secret("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_234_567_890, "005924"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(app.code_of(seconds / STEP_SECONDS), code);
        }
    }
}
