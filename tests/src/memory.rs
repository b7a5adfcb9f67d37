//! What is in the memory of a process, and would be in its core file.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use ed25519_dalek::SigningKey;

use crate::files::{contains, walk};
use crate::home::Home;

const PAGE: usize = 4096;
const KEY: usize = 32;
/// Keys are random: but for one in a hundred thousand they are as mixed as this. Nearly
/// all else in a memory is not, which spares computing its public key.
const DIFFERENT_BYTES_MIN: usize = 23;
const HIGH_BYTES_MIN: usize = 4;

/// The memory of a process with its registers, as `gcore` takes it.
pub struct Memory(Vec<u8>);

impl Memory {
    /// That of a running process; none where `gcore` captures nothing: it is not there,
    /// or the test does not run as root, which it takes since these programs are not
    /// dumpable.
    ///
    /// # Panics
    /// When the core that was taken cannot be read.
    #[must_use]
    pub fn of(home: &Home, pid: u32) -> Option<Self> {
        let path = home.path("core");
        let mut gcore = Command::new("gcore");
        let taken = gcore.arg("-o").arg(&path).arg(pid.to_string()).output();
        if !taken.is_ok_and(|taken| taken.status.success()) {
            return None;
        }
        let path = home.path(format!("core.{pid}"));
        let core = fs::read(&path).expect("gcore wrote it");
        fs::remove_file(path).expect("removed");
        let mut content = Vec::new();
        for segment in written(&core).expect("gcore writes cores of ELF, 64 bits") {
            // Most of it is what a password's hash was computed in, wiped.
            let used = segment.chunks(PAGE).filter(|page| **page != [0; PAGE]);
            used.for_each(|page| content.extend_from_slice(page));
        }
        Some(Self(content))
    }

    /// Whether these bytes are there.
    #[must_use]
    pub fn holds(&self, needle: &[u8]) -> bool {
        contains(&self.0, needle)
    }

    /// Whether this text is there, as it is or in hexadecimal digits.
    #[must_use]
    pub fn holds_in_any_form(&self, secret: &[u8]) -> bool {
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let upper = hex.to_uppercase();
        self.holds(secret) || self.holds(hex.as_bytes()) || self.holds(upper.as_bytes())
    }

    /// The private keys (seeds of Ed25519) that are there, as bytes or in hexadecimal
    /// digits, of public keys that are among `public`. Neither side has to be known.
    #[must_use]
    pub fn seeds_of(&self, public: &PublicKeys) -> HashSet<[u8; KEY]> {
        let bytes = self.0.array_windows_of::<KEY>().copied();
        let digits = self.0.array_windows_of::<{ 2 * KEY }>();
        let digits = digits.filter_map(from_hex);
        let candidates: HashSet<[u8; KEY]> = bytes.chain(digits).filter(looks_random).collect();
        candidates
            .into_iter()
            .filter(|seed| {
                let key = SigningKey::from_bytes(seed).verifying_key();
                public.0.contains(key.as_bytes())
            })
            .collect()
    }
}

/// All that may be a public key.
pub struct PublicKeys(HashSet<[u8; KEY]>);

impl PublicKeys {
    /// Whatever stands in the files below a directory and is as long as a key.
    ///
    /// # Panics
    /// When they cannot be read.
    #[must_use]
    pub fn below(directory: &Path) -> Self {
        let contents = walk(directory).into_iter().map(fs::read);
        let contents = contents.map(|content| content.expect("a file"));
        Self(
            contents
                .flat_map(|content| {
                    let windows = content.array_windows_of::<KEY>().copied();
                    windows.collect::<Vec<_>>()
                })
                .collect(),
        )
    }
}

/// The segments of a core that the process could write to, and the notes, in which the
/// registers are. The rest is the programs themselves, as they lie in their files.
fn written(core: &[u8]) -> Option<Vec<&[u8]>> {
    const NOTE: u64 = 4;
    const LOAD: u64 = 1;
    const WRITABLE: u64 = 2;
    let number = |at: usize, length: usize| {
        let bytes = core.get(at..at.checked_add(length)?)?;
        let number = bytes.iter().rev();
        Some(number.fold(0u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    let place = |at: usize, length: usize| usize::try_from(number(at, length)?).ok();
    let (headers, size, count) = (place(32, 8)?, place(54, 2)?, place(56, 2)?);
    let mut segments = Vec::new();
    for header in (0..count).map(|index| headers + index * size) {
        let (kind, flags) = (number(header, 4)?, number(header + 4, 4)?);
        let (offset, length) = (place(header + 8, 8)?, place(header + 32, 8)?);
        if kind == NOTE || (kind == LOAD && flags & WRITABLE != 0) {
            segments.push(core.get(offset..offset.checked_add(length)?)?);
        }
    }
    Some(segments)
}

trait Windows {
    fn array_windows_of<const N: usize>(&self) -> impl Iterator<Item = &[u8; N]>;
}

impl Windows for [u8] {
    fn array_windows_of<const N: usize>(&self) -> impl Iterator<Item = &[u8; N]> {
        self.windows(N)
            .map(|window| window.try_into().expect("so long"))
    }
}

fn looks_random(bytes: &[u8; KEY]) -> bool {
    let mut seen = [0u128; 2];
    for byte in bytes {
        seen[usize::from(byte >> 7)] |= 1 << (byte & 0x7f);
    }
    let different: u32 = seen.iter().map(|half| half.count_ones()).sum();
    let high = bytes.iter().filter(|byte| **byte >= 0x80).count();
    different as usize >= DIFFERENT_BYTES_MIN && high >= HIGH_BYTES_MIN
}

fn from_hex(digits: &[u8; 2 * KEY]) -> Option<[u8; KEY]> {
    let mut bytes = [0; KEY];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let value = digit(pair[0])? * 16 + digit(pair[1])?;
        *byte = u8::try_from(value).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u8; KEY] = *b"0123456789abcdefghijklmnopqr\xf0\xf1\xf2\xf3";

    fn public() -> PublicKeys {
        let key = SigningKey::from_bytes(&SEED).verifying_key();
        PublicKeys(HashSet::from([key.to_bytes()]))
    }

    fn memory(content: &[u8]) -> Memory {
        Memory([b"before", content, b"behind"].concat())
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_private_key_is_found_by_its_public_one() {
        let forms = [SEED.to_vec(), hex(&SEED).into_bytes()];
        for form in forms {
            let found = memory(&form).seeds_of(&public());
            assert_eq!(found, HashSet::from([SEED]));
        }
    }

    #[test]
    fn other_bytes_are_no_private_key() {
        let mut other = SEED;
        other[31] ^= 1;
        for content in [&other[..], &SEED[..31], hex(&other).as_bytes(), &[7; 99]] {
            assert!(memory(content).seeds_of(&public()).is_empty());
        }
    }

    #[test]
    fn a_secret_is_found_in_each_form() {
        let secret = b"jkl\xfa";
        for form in [&b"jkl\xfa"[..], b"6a6b6cfa", b"6A6B6CFA"] {
            assert!(memory(form).holds_in_any_form(secret));
        }
        for other in [&b"jkl"[..], b"6a6b6cf", b"JKL\xfa"] {
            assert!(!memory(other).holds_in_any_form(secret));
        }
    }
}
