//! The memory of another process, captured, and the search in it.
//!
//! Captured by `gcore` where there is one, so with every thread's registers;
//! else by reading the process's memory, without them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::sync::Once;

use super::process::{remove, temporary};

/// A part of a secret counts from this many bytes on, wherever in the secret
/// it begins at a multiple of it; so any run of twice as many is found.
const PIECE: usize = 8;

/// Something that must not be found, and what it is called.
#[derive(Clone)]
pub(crate) struct Needle {
    pub(crate) name: String,
    bytes: Vec<u8>,
}

impl Needle {
    pub(crate) fn new(name: impl Into<String>, bytes: &[u8]) -> Self {
        assert!(bytes.len() >= PIECE, "too short to be looked for");
        Self {
            name: name.into(),
            bytes: bytes.to_vec(),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What kind of memory something was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Of the thread that did the work.
    Stack,
    Heap,
    /// A library's or the program's own variables, or another thread's stack.
    Elsewhere,
    Registers,
}

/// A secret, or part of it, that is still there.
#[derive(Clone)]
pub(crate) struct Finding {
    pub(crate) name: String,
    pub(crate) place: Place,
    /// How many bytes of it in a row.
    pub(crate) longest: usize,
    region: String,
    address: usize,
}

impl fmt::Debug for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}: {} bytes, {:?} {:#x} {}",
            self.name, self.longest, self.place, self.address, self.region
        )
    }
}

struct Segment {
    start: usize,
    bytes: Vec<u8>,
    is_registers: bool,
}

struct Mapping {
    range: Range<usize>,
    /// Permissions and name.
    label: String,
}

/// A process's memory.
pub(crate) struct Core {
    segments: Vec<Segment>,
    mappings: Vec<Mapping>,
    stack: usize,
}

impl Core {
    /// Of process `process`, in which `stack` is an address on the stack of
    /// interest.
    pub(crate) fn of(process: u32, stack: usize) -> Self {
        let mappings = mappings(process);
        let segments = by_gcore(process).unwrap_or_else(|| by_reading(process, &mappings));
        assert!(
            segments.iter().any(|segment| segment.holds(stack)),
            "the core lacks the stack"
        );
        Self {
            segments,
            mappings,
            stack,
        }
    }

    /// Every part of every needle, each place once.
    pub(crate) fn search(&self, needles: &[Needle]) -> Vec<Finding> {
        let mut pieces: HashMap<u64, Vec<(usize, usize)>> = HashMap::new();
        // Most of memory is passed over by its next two bytes alone.
        let mut heads = vec![false; 1 << 16];
        for (number, needle) in needles.iter().enumerate() {
            for (index, piece) in needle.bytes.chunks_exact(PIECE).enumerate() {
                heads[usize::from(u16::from_le_bytes([piece[0], piece[1]]))] = true;
                pieces
                    .entry(word(piece))
                    .or_default()
                    .push((number, index * PIECE));
            }
        }
        // Parts that lie as far from each other as in the secret are one place.
        let mut hits: BTreeMap<(usize, usize), (Vec<usize>, bool)> = BTreeMap::new();
        for segment in &self.segments {
            for (at, window) in segment.bytes.windows(PIECE).enumerate() {
                if !heads[usize::from(u16::from_le_bytes([window[0], window[1]]))] {
                    continue;
                }
                for (number, offset) in pieces.get(&word(window)).into_iter().flatten() {
                    let start = (segment.start + at).wrapping_sub(*offset);
                    let hit = hits.entry((*number, start)).or_default();
                    hit.0.push(*offset);
                    hit.1 = segment.is_registers;
                }
            }
        }
        hits.into_iter()
            .map(|((number, start), (mut offsets, in_registers))| {
                offsets.sort_unstable();
                let address = start.wrapping_add(offsets[0]);
                let (place, region) = self.place(address, in_registers);
                Finding {
                    name: needles[number].name.clone(),
                    place,
                    longest: longest_run(&offsets),
                    region,
                    address,
                }
            })
            .collect()
    }

    fn place(&self, address: usize, in_registers: bool) -> (Place, String) {
        if in_registers {
            return (Place::Registers, String::new());
        }
        let Some(mapping) = self
            .mappings
            .iter()
            .find(|mapping| mapping.range.contains(&address))
        else {
            return (Place::Elsewhere, "not mapped".to_owned());
        };
        let place = if mapping.range.contains(&self.stack) {
            Place::Stack
        } else if mapping.label.ends_with("[heap]") || !mapping.label.contains(['/', '[']) {
            Place::Heap
        } else {
            Place::Elsewhere
        };
        (place, mapping.label.clone())
    }
}

impl Segment {
    fn holds(&self, address: usize) -> bool {
        !self.is_registers && (self.start..self.start + self.bytes.len()).contains(&address)
    }
}

fn word(piece: &[u8]) -> u64 {
    u64::from_le_bytes(piece.try_into().expect("a whole piece"))
}

fn longest_run(offsets: &[usize]) -> usize {
    let mut longest = 0;
    let mut run = 0;
    let mut expected = usize::MAX;
    for offset in offsets {
        run = if *offset == expected {
            run + PIECE
        } else {
            PIECE
        };
        expected = offset + PIECE;
        longest = longest.max(run);
    }
    longest
}

/// The readable mappings of a process, from `/proc`.
fn mappings(process: u32) -> Vec<Mapping> {
    let text = std::fs::read_to_string(format!("/proc/{process}/maps"))
        .expect("Linux lists a child's mappings");
    let parse = |line: &str| {
        let mut fields = line.split_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let permissions = fields.next()?;
        let name = fields.nth(3).unwrap_or("");
        let readable = permissions.starts_with('r') && !name.starts_with("[v");
        readable.then_some(())?;
        Some(Mapping {
            range: usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?,
            label: format!("{permissions} {name}"),
        })
    };
    text.lines().filter_map(parse).collect()
}

fn by_reading(process: u32, mappings: &[Mapping]) -> Vec<Segment> {
    static SAY: Once = Once::new();
    SAY.call_once(|| eprintln!("SKIPPED the registers: gcore captures nothing here"));
    let memory = File::open(format!("/proc/{process}/mem")).expect("a parent may read its child");
    mappings
        .iter()
        .map(|mapping| {
            let mut bytes = vec![0; mapping.range.len()];
            memory
                .read_exact_at(&mut bytes, mapping.range.start as u64)
                .expect("a stopped child's mapping stays");
            Segment {
                start: mapping.range.start,
                bytes,
                is_registers: false,
            }
        })
        .collect()
}

fn by_gcore(process: u32) -> Option<Vec<Segment>> {
    let prefix = temporary("core");
    let path = prefix.with_file_name(format!(
        "{}.{process}",
        prefix.file_name()?.to_str().expect("a name of ours")
    ));
    let status = Command::new("gcore")
        .args(["-o".as_ref(), prefix.as_os_str()])
        .arg(process.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .ok()?;
    let core = std::fs::read(&path).ok();
    remove(&path);
    segments(&core.filter(|_| status.success())?)
}

/// The loaded segments and the notes of a 64-bit little-endian ELF core.
fn segments(core: &[u8]) -> Option<Vec<Segment>> {
    const LOADED: u32 = 1;
    const NOTES: u32 = 4;
    core.starts_with(b"\x7fELF\x02\x01").then_some(())?;
    let half = |at: usize| Some(u16::from_le_bytes(core.get(at..at + 2)?.try_into().ok()?));
    let wide = |at: usize| {
        let bytes = core.get(at..at + 8)?.try_into().ok()?;
        usize::try_from(u64::from_le_bytes(bytes)).ok()
    };
    let (table, entry_bytes, count) = (wide(32)?, usize::from(half(54)?), half(56)?);
    let mut segments = vec![];
    for number in 0..usize::from(count) {
        let entry = table + number * entry_bytes;
        let kind = u32::from_le_bytes(core.get(entry..entry + 4)?.try_into().ok()?);
        let (offset, start, length) = (wide(entry + 8)?, wide(entry + 16)?, wide(entry + 32)?);
        if kind == LOADED || kind == NOTES {
            segments.push(Segment {
                start,
                bytes: core.get(offset..offset + length)?.to_vec(),
                is_registers: kind == NOTES,
            });
        }
    }
    Some(segments)
}
