//! Every decoder's check, on samples whole, flipped, cut, extended and spliced, and
//! on noise. The volume is a fuzzer's; this is the share that runs on stable Rust.

use sealmoot_crypto::random;
use sealmoot_decoders::{Decoder, Outcome, all};
use sealmoot_tests::random::Random;

/// Most bits of one sample that are flipped, one after another; of a longer sample
/// every n-th. (The tests of each module flip every bit of its own format.)
const FLIPS_MAX: usize = 1_024;
/// Changed samples of each decoder made at random.
const MUTATIONS: u32 = 500;

#[test]
fn samples_are_accepted() {
    for decoder in all() {
        for sample in (decoder.samples)() {
            let outcome = (decoder.check)(&sample);
            assert_eq!(outcome, Outcome::Accepted, "{}", decoder.name);
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    for decoder in all() {
        for sample in (decoder.samples)() {
            let step = 1 + sample.len() / FLIPS_MAX;
            for length in (0..sample.len()).step_by(step) {
                let outcome = (decoder.check)(&sample[..length]);
                assert_eq!(
                    outcome,
                    Outcome::Refused,
                    "{} cut to {length}",
                    decoder.name
                );
            }
        }
    }
}

#[test]
fn trailing_bytes_are_refused() {
    for decoder in all() {
        for mut sample in (decoder.samples)() {
            for byte in [0, b'A', 0xff] {
                sample.push(byte);
                let outcome = (decoder.check)(&sample);
                assert_eq!(outcome, Outcome::Refused, "{} and {byte}", decoder.name);
                sample.pop();
            }
        }
    }
}

#[test]
fn a_flipped_bit_is_refused_or_means_another_value() {
    for decoder in all() {
        let mut flips = 0;
        for mut sample in (decoder.samples)() {
            let bits = sample.len() * 8;
            for bit in (0..bits).step_by(1 + bits / FLIPS_MAX) {
                sample[bit / 8] ^= 1 << (bit % 8);
                let outcome = (decoder.check)(&sample);
                assert!(
                    outcome == Outcome::Refused || !decoder.authenticates,
                    "{} accepted bit {bit} flipped",
                    decoder.name
                );
                sample[bit / 8] ^= 1 << (bit % 8);
                flips += 1;
            }
        }
        println!("{}: {flips} flips", decoder.name);
    }
}

#[test]
fn noise_and_splices_are_refused_or_mean_another_value() {
    let seed: u64 = u64::from_le_bytes(random::array().expect("random"));
    println!("seed {seed:#x}");
    let mut generator = Random::new(seed);
    for decoder in all() {
        let samples = (decoder.samples)();
        for _ in 0..MUTATIONS {
            let mutated = mutate(&mut generator, &samples);
            if samples.contains(&mutated) {
                continue;
            }
            check_mutated(decoder, &mutated, seed);
        }
    }
}

fn check_mutated(decoder: &Decoder, mutated: &[u8], seed: u64) {
    let outcome = (decoder.check)(mutated);
    assert!(
        outcome == Outcome::Refused || !decoder.authenticates,
        "{} accepted {mutated:02x?}, seed {seed:#x}",
        decoder.name
    );
}

/// A sample with a few bytes changed, moved, cut out or put in, or noise.
fn mutate(generator: &mut Random, samples: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = samples[below(generator, samples.len())].clone();
    if below(generator, 8) == 0 {
        bytes = (0..below(generator, 200))
            .map(|_| byte(generator))
            .collect();
    }
    for _ in 0..=below(generator, 3) {
        let at = below(generator, bytes.len() + 1);
        match below(generator, 5) {
            0 if at < bytes.len() => bytes[at] = byte(generator),
            1 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][below(generator, 5)],
            2 => bytes.insert(at, byte(generator)),
            3 => {
                let end = at + below(generator, bytes.len() - at + 1);
                bytes.drain(at..end);
            }
            _ => {
                let other = &samples[below(generator, samples.len())];
                let from = below(generator, other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes
}

fn below(random: &mut Random, bound: usize) -> usize {
    random.below(bound as u64) as usize
}

fn byte(random: &mut Random) -> u8 {
    random.number() as u8
}
