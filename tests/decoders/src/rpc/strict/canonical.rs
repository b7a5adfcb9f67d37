//! The one encoding of a message, told from its bytes alone: by a table of its
//! fields and the rules of the wire (the Protocol Buffers guide, "Encoding"),
//! without decoding it into anything.

/// Messages within messages.
pub(super) const DEPTH_MAX: usize = 100;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Double,
    Float,
    /// `int32` and enums: sign-extended to ten bytes where negative.
    Int32,
    /// `int64` and `uint64`.
    Varint64,
    /// `uint32` and the zigzag of `sint32`.
    Varint32,
    Fixed32,
    Fixed64,
    Bool,
    String,
    Bytes,
    Message,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Label {
    /// The default value is left out.
    Implicit,
    /// Any value, at most once.
    Optional,
    Required,
    /// One value after another, each with its key.
    Repeated,
    /// All values behind one key.
    Packed,
    /// One member at most.
    Oneof,
}

fn field(number: u64) -> Option<(Kind, Label)> {
    use Kind::*;
    use Label::*;
    Some(match number {
        1 => (Double, Implicit),
        2 => (Float, Implicit),
        3 | 16 => (Int32, Implicit),
        4 | 6 | 8 => (Varint64, Implicit),
        5 | 7 => (Varint32, Implicit),
        9 | 11 => (Fixed32, Implicit),
        10 | 12 => (Fixed64, Implicit),
        13 | 100_000 => (Bool, Implicit),
        14 => (String, Implicit),
        15 => (Bytes, Implicit),
        17 => (Message, Optional),
        18 | 22 => (Int32, Optional),
        19 => (Float, Optional),
        20 => (String, Optional),
        21 => (Bytes, Optional),
        23 | 28 => (Int32, Packed),
        24 => (Varint64, Packed),
        25 => (Bool, Packed),
        26 => (Double, Packed),
        27 => (Fixed32, Packed),
        29 => (Varint32, Repeated),
        30 => (String, Repeated),
        31 => (Bytes, Repeated),
        32 => (Message, Repeated),
        33 => (Varint64, Oneof),
        34 => (String, Oneof),
        35 => (Message, Oneof),
        36 => (Double, Oneof),
        37 => (Fixed32, Required),
        _ => return None,
    })
}

pub(super) fn is_canonical(bytes: &[u8]) -> bool {
    message(bytes, 0).is_some()
}

fn message(mut bytes: &[u8], depth: usize) -> Option<()> {
    let (mut last, mut has_required, mut has_chosen) = (0, false, false);
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let (number, wire_type) = (key >> 3, key & 7);
        let (kind, label) = field(number)?;
        let may_repeat = label == Label::Repeated;
        if number < last || (number == last && !may_repeat) {
            return None;
        }
        last = number;
        if label == Label::Oneof && std::mem::replace(&mut has_chosen, true) {
            return None;
        }
        has_required |= label == Label::Required;
        let is_default = if label == Label::Packed {
            let mut values = (wire_type == 2).then(|| delimited(&mut bytes))??;
            let is_empty = values.is_empty();
            while !values.is_empty() {
                value(kind, &mut values, depth)?;
            }
            is_empty
        } else {
            if wire_type != wire_type_of(kind) {
                return None;
            }
            value(kind, &mut bytes, depth)? && label == Label::Implicit
        };
        if is_default {
            return None;
        }
    }
    has_required.then_some(())
}

fn wire_type_of(kind: Kind) -> u64 {
    match kind {
        Kind::Int32 | Kind::Varint64 | Kind::Varint32 | Kind::Bool => 0,
        Kind::Double | Kind::Fixed64 => 1,
        Kind::String | Kind::Bytes | Kind::Message => 2,
        Kind::Float | Kind::Fixed32 => 5,
    }
}

/// Takes one value, and says whether it is the default.
fn value(kind: Kind, bytes: &mut &[u8], depth: usize) -> Option<bool> {
    Some(match kind {
        Kind::Int32 => {
            let number = varint(bytes)?.cast_signed();
            i32::try_from(number).ok()? == 0
        }
        Kind::Varint64 => varint(bytes)? == 0,
        Kind::Varint32 => u32::try_from(varint(bytes)?).ok()? == 0,
        Kind::Bool => match varint(bytes)? {
            0 => true,
            1 => false,
            _ => return None,
        },
        // A negative zero counts as the default, too.
        Kind::Float => u32::from_le_bytes(fixed(bytes)?) << 1 == 0,
        Kind::Double => u64::from_le_bytes(fixed(bytes)?) << 1 == 0,
        Kind::Fixed32 => fixed::<4>(bytes)? == [0; 4],
        Kind::Fixed64 => fixed::<8>(bytes)? == [0; 8],
        Kind::String => std::str::from_utf8(delimited(bytes)?).ok()?.is_empty(),
        Kind::Bytes => delimited(bytes)?.is_empty(),
        Kind::Message => {
            let inner = delimited(bytes)?;
            if depth == DEPTH_MAX {
                return None;
            }
            message(inner, depth + 1)?;
            false
        }
    })
}

fn fixed<const BYTES: usize>(bytes: &mut &[u8]) -> Option<[u8; BYTES]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}

fn delimited<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(bytes)?).ok()?;
    bytes.split_off(..length)
}

/// The shortest form of a number of 64 bits.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let length = 1 + bytes.iter().position(|byte| *byte < 0x80)?;
    let digits = bytes.split_off(..length)?;
    let is_padded = length > 1 && digits[length - 1] == 0;
    if length > 10 || is_padded || (length == 10 && digits[9] > 1) {
        return None;
    }
    let group = |(place, byte): (usize, &u8)| u64::from(*byte & 0x7f) << (7 * place);
    Some(digits.iter().enumerate().map(group).sum())
}
