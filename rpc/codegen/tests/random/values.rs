//! Random messages of a type, and whether two of them say the same.

use protox::prost_reflect::prost::bytes::Bytes;
use protox::prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value,
};

use super::generator::SplitMix;

/// Messages within messages.
const DEPTH_MAX: usize = 3;

pub(crate) fn message(of: &MessageDescriptor, generator: &mut SplitMix) -> DynamicMessage {
    nested(of, 0, generator)
}

fn nested(of: &MessageDescriptor, depth: usize, generator: &mut SplitMix) -> DynamicMessage {
    let mut message = DynamicMessage::new(of.clone());
    for field in of.fields() {
        if generator.one_in(4) || (depth >= DEPTH_MAX && holds_message(&field)) {
            continue;
        }
        let value = if field.is_map() {
            let entry = field.kind();
            let entry = entry.as_message().expect("of a map");
            let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
            let entries = (0..generator.below(3)).map(|_| {
                let key = single(&key, depth, generator);
                let key = key.into_map_key().expect("a key's type");
                (key, single(&value, depth, generator))
            });
            Value::Map(entries.collect())
        } else if field.is_list() {
            let count = generator.below(4);
            Value::List(
                (0..count)
                    .map(|_| single(&field, depth, generator))
                    .collect(),
            )
        } else {
            single(&field, depth, generator)
        };
        message.set_field(&field, value);
    }
    message
}

fn holds_message(field: &FieldDescriptor) -> bool {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            matches!(entry.map_entry_value_field().kind(), Kind::Message(_))
        }
        Kind::Message(_) => true,
        _ => false,
    }
}

/// Small numbers above all: those fit into most types.
fn number(generator: &mut SplitMix) -> u64 {
    match generator.below(6) {
        0 => 0,
        1 | 2 => 1,
        3 => 1_000,
        4 => u64::MAX - generator.next() % 3,
        _ => generator.next(),
    }
}

fn single(field: &FieldDescriptor, depth: usize, generator: &mut SplitMix) -> Value {
    let bits = number(generator);
    // The lower half of the bits, whatever they say.
    #[allow(clippy::cast_possible_truncation)]
    let half = bits as u32;
    match field.kind() {
        Kind::Double => Value::F64(f64::from_bits(bits)),
        Kind::Float => Value::F32(f32::from_bits(half)),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(half.cast_signed()),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(bits.cast_signed()),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(half),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(bits),
        Kind::Bool => Value::Bool(bits % 2 == 1),
        Kind::String => Value::String(format!("ä{}", bits % 10)),
        Kind::Bytes => Value::Bytes(Bytes::copy_from_slice(&bits.to_le_bytes())),
        Kind::Enum(_) => Value::EnumNumber(half.cast_signed()),
        Kind::Message(of) => Value::Message(nested(&of, depth + 1, generator)),
    }
}

/// Compares the fields that both types have, and says how many values were the
/// same. What the reader's type cannot hold is passed over.
pub(crate) fn compare(sent: &DynamicMessage, read: &DynamicMessage) -> Result<usize, String> {
    let mut compared = 0;
    let of = read.descriptor();
    for field in sent.descriptor().fields() {
        let Some(there) = of.get_field(field.number()) else {
            continue;
        };
        let name = field.full_name();
        let has = (sent.has_field(&field), read.has_field(&there));
        let tells = field.supports_presence() && there.supports_presence();
        if (has.1 && !has.0) || (has.0 && !has.1 && tells) {
            return Err(format!("{name}: there {} and {}", has.0, has.1));
        }
        if has.0 {
            let (sent, read) = (sent.get_field(&field), read.get_field(&there));
            let same = values(&sent, &read, &there);
            compared += same.map_err(|difference| format!("{name}: {difference}"))?;
        }
    }
    Ok(compared)
}

/// All that was read was understood.
pub(crate) fn assert_nothing_unknown(message: &DynamicMessage) {
    assert_eq!(message.unknown_fields().count(), 0, "{message}");
}

fn values(sent: &Value, read: &Value, there: &FieldDescriptor) -> Result<usize, String> {
    let different = || Err(format!("{sent:?} was read as {read:?}"));
    let is_same = match (sent, read) {
        (Value::Message(sent), Value::Message(read)) => return compare(sent, read),
        (Value::List(sent), Value::List(read)) => {
            if sent.len() != read.len() {
                return different();
            }
            let pairs = sent.iter().zip(read);
            return pairs.map(|(sent, read)| values(sent, read, there)).sum();
        }
        (Value::Map(_), _) | (_, Value::Map(_)) => return entries(sent, read, there),
        (Value::F32(sent), Value::F32(read)) => sent.to_bits() == read.to_bits(),
        (Value::F64(sent), Value::F64(read)) => sent.to_bits() == read.to_bits(),
        _ => match (integer(sent), integer(read)) {
            (Some(was), Some(_)) if !fits(was, &there.kind()) => return Ok(0),
            (Some(was), Some(is)) => was == is,
            _ => sent == read,
        },
    };
    if is_same { Ok(1) } else { different() }
}

/// A map and a map, or a list of what could be its entries. Where two entries have
/// one key, a map keeps the later one; that is passed over.
fn entries(sent: &Value, read: &Value, there: &FieldDescriptor) -> Result<usize, String> {
    let Kind::Message(entry) = there.kind() else {
        return Err("no entries where a map was".to_owned());
    };
    let (Some(key_there), Some(value_there)) = (entry.get_field(1), entry.get_field(2)) else {
        return Ok(0);
    };
    let (Some(sent), Some(read)) = (pairs(sent), pairs(read)) else {
        return Ok(0);
    };
    let holds = |key: &Value| integer(key).is_none_or(|key| fits(key, &key_there.kind()));
    let is_twice = |index: usize| (0..index).any(|other| same_key(&sent[other].0, &sent[index].0));
    if !sent.iter().all(|(key, _)| holds(key)) || (0..sent.len()).any(is_twice) {
        return Ok(0);
    }
    if sent.len() != read.len() {
        return Err(format!("{sent:?} was read as {read:?}"));
    }
    let mut compared = 0;
    for (key, value) in &sent {
        let Some((_, found)) = read.iter().find(|(there, _)| same_key(key, there)) else {
            return Err(format!("{key:?} is gone"));
        };
        compared += values(value, found, &value_there)?;
    }
    Ok(compared)
}

/// Keys and values; `None` where the entries have lost one of the two.
fn pairs(value: &Value) -> Option<Vec<(Value, Value)>> {
    match value {
        Value::Map(map) => {
            let pairs = map.iter();
            let pairs = pairs.map(|(key, value)| (Value::from(key.clone()), value.clone()));
            Some(pairs.collect())
        }
        Value::List(list) => {
            let pair = |it: &Value| {
                let it = it.as_message()?;
                let part = |number| Some(it.get_field_by_number(number)?.into_owned());
                Some((part(1)?, part(2)?))
            };
            list.iter().map(pair).collect()
        }
        _ => None,
    }
}

fn same_key(left: &Value, right: &Value) -> bool {
    match (integer(left), integer(right)) {
        (Some(left), Some(right)) => left == right,
        _ => left == right,
    }
}

fn integer(value: &Value) -> Option<i128> {
    Some(match *value {
        Value::Bool(value) => value.into(),
        Value::I32(value) => value.into(),
        Value::I64(value) => value.into(),
        Value::U32(value) => value.into(),
        Value::U64(value) => value.into(),
        _ => return None,
    })
}

/// Whether a type holds a number.
fn fits(number: i128, kind: &Kind) -> bool {
    match kind {
        Kind::Bool => (0..=1).contains(&number),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => i32::try_from(number).is_ok(),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => i64::try_from(number).is_ok(),
        Kind::Uint32 | Kind::Fixed32 => u32::try_from(number).is_ok(),
        Kind::Uint64 | Kind::Fixed64 => u64::try_from(number).is_ok(),
        _ => false,
    }
}
