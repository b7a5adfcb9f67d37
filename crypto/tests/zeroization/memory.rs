//! Looks for a secret in the memory of this process, by the files that Linux
//! offers for that.
//!
//! The searcher must not be what is found. It never holds the secret: a
//! [`Needle`] is made of products of the secret's eight-byte pieces with an odd
//! number, and what is read is multiplied before it is compared. Its buffers are
//! taken before a case runs, left out of the search and wiped after it.
//!
//! A freed piece of heap loses its first bytes to the allocator's lists, and
//! registers are spilled in pieces; so pieces are looked for, and put together.

use std::fs::File;
use std::hint::black_box;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use zeroize::Zeroize;

/// Odd, so that multiplication loses nothing.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
const PIECE: usize = 8;
const CHUNK: usize = 1 << 20;
const HITS_MAX: usize = 4096;
/// Room between the searcher's stack frames and a case's: what a case leaves
/// there must not be overwritten by the search itself.
const ROOM: usize = 128 * 1024;

/// A secret, as it can be looked for without being held.
#[derive(Clone)]
pub(crate) struct Needle {
    pieces: Vec<u64>,
    /// What the memory's words are combined with before they are compared. The secret
    /// is not: its masked words would stand in memory themselves.
    mask: u64,
}

impl Needle {
    /// The needle for a secret; its length is rounded down to whole pieces.
    pub(crate) fn of(secret: &[u8]) -> Self {
        Self::of_masked(secret, 0)
    }

    /// As [`Needle::of`], of every byte combined with `mask`: a padded key.
    pub(crate) fn of_masked(secret: &[u8], mask: u8) -> Self {
        Self {
            pieces: secret.chunks_exact(PIECE).map(scrambled).collect(),
            mask: u64::from_le_bytes([mask; PIECE]),
        }
    }

    /// A needle without mask as text.
    pub(crate) fn to_text(&self) -> String {
        let words: Vec<String> = self
            .pieces
            .iter()
            .map(|word| format!("{word:016x}"))
            .collect();
        words.join("-")
    }

    pub(crate) fn from_text(text: &str) -> Self {
        let parse = |word| u64::from_str_radix(word, 16).expect("hexadecimal");
        Self {
            pieces: text.split('-').map(parse).collect(),
            mask: 0,
        }
    }

    fn length(&self) -> usize {
        self.pieces.len() * PIECE
    }
}

fn word(piece: &[u8]) -> u64 {
    u64::from_le_bytes(piece.try_into().expect("a whole piece"))
}

fn scrambled(piece: &[u8]) -> u64 {
    black_box(word(piece).wrapping_mul(MULTIPLIER))
}

/// What of a secret is still in memory.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Residue {
    /// Places on this thread's stack that hold a part of it.
    pub(crate) on_stack: usize,
    /// Places elsewhere.
    pub(crate) elsewhere: usize,
    /// How many bytes the longest of those parts has.
    pub(crate) longest: usize,
    /// How many bytes there were to find.
    pub(crate) length: usize,
}

impl Residue {
    pub(crate) fn places(&self) -> usize {
        self.on_stack + self.elsewhere
    }

    /// Whether not even one piece is left.
    pub(crate) fn is_none(&self) -> bool {
        self.places() == 0
    }
}

impl std::fmt::Debug for Residue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{} on the stack, {} elsewhere, at most {} of {} bytes together",
            self.on_stack, self.elsewhere, self.longest, self.length
        )
    }
}

/// Searches the memory of this process.
pub(crate) struct Searcher {
    memory: File,
    maps: Vec<u8>,
    chunk: Vec<u8>,
    /// Where the secret would begin, and which piece of it is there.
    hits: Vec<(usize, usize)>,
}

impl Searcher {
    /// Takes all memory that a search needs, so that searching reuses none that
    /// a case freed.
    pub(crate) fn new() -> Self {
        Self {
            memory: File::open("/proc/self/mem").expect("Linux lets a process read itself"),
            maps: vec![0; 1 << 18],
            chunk: vec![0; CHUNK],
            hits: Vec::with_capacity(HITS_MAX),
        }
    }

    /// Runs `case` far down the stack and returns its result; what it leaves on
    /// the stack stays there for a search.
    #[inline(never)]
    pub(crate) fn run<T>(&self, case: impl FnOnce() -> T) -> T {
        let mut room = [0u8; ROOM];
        black_box(&mut room);
        let result = call(case);
        black_box(&mut room);
        result
    }

    /// What of `needle` this process holds now.
    #[inline(never)]
    pub(crate) fn search(&mut self, needle: &Needle) -> Residue {
        let maps = File::open("/proc/self/maps").expect("Linux lists a process's mappings");
        let mut length = 0;
        loop {
            let room = &mut self.maps[length..];
            let read = maps.read_at(room, length as u64).expect("readable");
            if read == 0 {
                break;
            }
            length += read;
        }
        assert!(length < self.maps.len(), "more mappings than foreseen");
        let here = black_box(&length) as *const usize as usize;
        let own = self.chunk.as_ptr() as usize;
        let own = own..own + self.chunk.len();
        let mut stack = 0..0;
        self.hits.clear();
        for line in self.maps[..length].split(|byte| *byte == b'\n') {
            let Some(region) = readable(line) else {
                continue;
            };
            if region.contains(&here) {
                stack = region.clone();
            }
            search_region(
                &self.memory,
                &mut self.chunk,
                &mut self.hits,
                region,
                &own,
                needle,
            );
        }
        self.chunk.as_mut_slice().zeroize();
        // Parts that lie as far from each other as in the secret are one place.
        self.hits.sort_unstable();
        self.hits.dedup();
        let mut residue = Residue {
            length: needle.length(),
            ..Residue::default()
        };
        for place in self.hits.chunk_by(|left, right| left.0 == right.0) {
            if stack.contains(&place[0].0) {
                residue.on_stack += 1;
            } else {
                residue.elsewhere += 1;
            }
            let mut run = 0;
            let mut expected = usize::MAX;
            for (_, piece) in place {
                run = if *piece == expected { run + 1 } else { 1 };
                expected = piece + 1;
                residue.longest = residue.longest.max(run * PIECE);
            }
        }
        residue
    }
}

#[inline(never)]
fn call<T>(case: impl FnOnce() -> T) -> T {
    let result = case();
    black_box(&result);
    result
}

/// The region of a line of `/proc/self/maps`, when it can be read and is memory.
fn readable(line: &[u8]) -> Option<Range<usize>> {
    let line = std::str::from_utf8(line).ok()?;
    if line.ends_with("[vsyscall]") || line.ends_with("[vvar]") || line.ends_with("[vvar_vclock]") {
        return None;
    }
    let (range, rest) = line.split_once(' ')?;
    if !rest.starts_with('r') {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    Some(start..usize::from_str_radix(end, 16).ok()?)
}

fn search_region(
    memory: &File,
    chunk: &mut [u8],
    hits: &mut Vec<(usize, usize)>,
    region: Range<usize>,
    own: &Range<usize>,
    needle: &Needle,
) {
    let mut at = region.start;
    while at + PIECE <= region.end {
        // The buffer itself is full of what was read last.
        if own.contains(&at) {
            at = own.end;
            continue;
        }
        let mut end = region.end.min(at + chunk.len());
        if at < own.start {
            end = end.min(own.start);
        }
        let length = end - at;
        // A mapping may have gone since it was listed.
        let Ok(read) = memory.read_at(&mut chunk[..length], at as u64) else {
            return;
        };
        if read < PIECE {
            return;
        }
        for (offset, window) in chunk[..read].windows(PIECE).enumerate() {
            let product = (word(window) ^ needle.mask).wrapping_mul(MULTIPLIER);
            for (piece, wanted) in needle.pieces.iter().enumerate() {
                if product == *wanted && hits.len() < HITS_MAX {
                    hits.push(((at + offset).wrapping_sub(piece * PIECE), piece));
                }
            }
        }
        if end == region.end || end == own.start {
            at = end;
        } else {
            // A piece may lie across two chunks.
            at += read - (PIECE - 1);
        }
    }
}
