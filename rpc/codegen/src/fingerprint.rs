//! SHA-256 of what matters of a service on the wire.
//!
//! Two programs whose fingerprints of a service are equal agree on every byte of
//! its calls. Left out is what never travels: comments, options but the guard of a
//! method, default values, reserved numbers, the order of declarations, and the
//! names of messages, fields, enums and enum values. The names of the service and
//! of its methods are in it, because the numbers of the methods follow from them.
//!
//! The hashed bytes are drawn in `rpc/DESIGN.md`.

use std::collections::{BTreeMap, HashMap};

use protox::prost_reflect::{
    EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, ServiceDescriptor,
    Syntax,
};
use sha2::{Digest, Sha256};

use crate::guard::{Guard, Guards};

/// Domain of the hash, so that it is no other's.
const DOMAIN: &str = "sealmoot schema fingerprint 1";

/// The fingerprint of a service.
pub(crate) fn fingerprint(service: &ServiceDescriptor, guards: &Guards) -> [u8; 32] {
    Sha256::digest(canonical(service, guards)).into()
}

/// What is hashed.
fn canonical(service: &ServiceDescriptor, guards: &Guards) -> Vec<u8> {
    let mut form = Form::default();
    form.text(DOMAIN);
    form.text(service.full_name());
    let mut methods: Vec<MethodDescriptor> = service.methods().collect();
    methods.sort_by(|left, right| left.name().cmp(right.name()));
    form.count(methods.len());
    let mut types = Types::default();
    for method in &methods {
        form.text(method.name());
        form.bytes.push(kind_number(method));
        form.bytes.push(guard_number(guards.of(method)));
        let (input, output) = (method.input(), method.output());
        form.number(types.visit(Type::Message(input)));
        form.number(types.visit(Type::Message(output)));
    }
    // Grows while it is read: a type is written when its turn comes, and what it
    // refers to has a turn of its own. So no schema recurses.
    let mut written = 0;
    let mut bodies = Form::default();
    while let Some(next) = types.in_order.get(written).cloned() {
        match next {
            Type::Message(message) => bodies.message(&message, &mut types),
            Type::Enum(numbers) => bodies.numbers(&numbers),
        }
        written += 1;
    }
    form.count(written);
    form.bytes.extend_from_slice(&bodies.bytes);
    form.bytes
}

/// Which directions are streams.
pub(crate) fn kind_number(method: &MethodDescriptor) -> u8 {
    match (method.is_client_streaming(), method.is_server_streaming()) {
        (false, false) => 1,
        (true, false) => 2,
        (false, true) => 3,
        (true, true) => 4,
    }
}

fn guard_number(guard: Guard) -> u8 {
    match guard {
        Guard::Unknown => 1,
        Guard::NoSideEffects => 2,
        Guard::Idempotent => 3,
        Guard::Once => 4,
    }
}

/// How often a field occurs, and how its presence is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    /// Absent is the default value.
    Implicit = 1,
    /// Absent is not the default value.
    Explicit = 2,
    Required = 3,
    Repeated = 4,
    /// Repeated, and many in one.
    Packed = 5,
}

impl Label {
    pub(crate) fn of(field: &FieldDescriptor) -> Self {
        // A map is a list of its entries.
        if field.is_list() || field.is_map() {
            if is_packed(field) {
                Self::Packed
            } else {
                Self::Repeated
            }
        } else if field.is_required() {
            Self::Required
        } else if field.supports_presence() {
            Self::Explicit
        } else {
            Self::Implicit
        }
    }

    /// What all decoders take for one: they take packed and other repeated fields
    /// alike, and presence is told by the same bytes.
    pub(crate) fn shape(self) -> Self {
        match self {
            Self::Implicit | Self::Explicit => Self::Explicit,
            Self::Repeated | Self::Packed => Self::Repeated,
            Self::Required => Self::Required,
        }
    }
}

/// Whether a repeated field is sent as many values in one. From the options: the
/// pool's own answer is from before they were read, and takes `packed = false` for
/// the default.
fn is_packed(field: &FieldDescriptor) -> bool {
    if matches!(field.kind(), Kind::String | Kind::Bytes | Kind::Message(_)) {
        return false;
    }
    let options = field.field_descriptor_proto().options.as_ref();
    options
        .and_then(|options| options.packed)
        .unwrap_or(field.parent_file().syntax() == Syntax::Proto3)
}

/// The number of a field's type in `google.protobuf.FieldDescriptorProto.Type`.
pub(crate) fn type_number(field: &FieldDescriptor) -> u8 {
    match field.kind() {
        Kind::Double => 1,
        Kind::Float => 2,
        Kind::Int64 => 3,
        Kind::Uint64 => 4,
        Kind::Int32 => 5,
        Kind::Fixed64 => 6,
        Kind::Fixed32 => 7,
        Kind::Bool => 8,
        Kind::String => 9,
        Kind::Message(_) if field.is_group() => 10,
        Kind::Message(_) => 11,
        Kind::Bytes => 12,
        Kind::Uint32 => 13,
        Kind::Enum(_) => 14,
        Kind::Sfixed32 => 15,
        Kind::Sfixed64 => 16,
        Kind::Sint32 => 17,
        Kind::Sint64 => 18,
    }
}

/// Of each field in a oneof, the oneof's smallest field number, which names it.
/// The oneof that stands for `optional` is none.
pub(crate) fn oneof_of(field: &FieldDescriptor) -> Option<u32> {
    let oneof = field.containing_oneof()?;
    if oneof.is_synthetic() {
        return None;
    }
    oneof.fields().map(|field| field.number()).min()
}

/// The fields by number.
pub(crate) fn fields_of(message: &MessageDescriptor) -> BTreeMap<u32, FieldDescriptor> {
    message
        .fields()
        .map(|field| (field.number(), field))
        .collect()
}

/// A type that is reached from a method.
#[derive(Clone)]
enum Type {
    Message(MessageDescriptor),
    Enum(EnumDescriptor),
}

impl Type {
    fn name(&self) -> &str {
        match self {
            Self::Message(message) => message.full_name(),
            Self::Enum(enumeration) => enumeration.full_name(),
        }
    }
}

/// The types that were reached, numbered from 1 in the order of the first visit:
/// so a type that refers to itself is written once, and names stay out.
#[derive(Default)]
struct Types {
    by_name: HashMap<String, u32>,
    in_order: Vec<Type>,
}

impl Types {
    fn visit(&mut self, visited: Type) -> u32 {
        if let Some(number) = self.by_name.get(visited.name()) {
            return *number;
        }
        let name = visited.name().to_owned();
        self.in_order.push(visited);
        let number = length(self.in_order.len());
        self.by_name.insert(name, number);
        number
    }

    fn of(&mut self, field: &FieldDescriptor) -> u32 {
        match field.kind() {
            Kind::Message(message) => self.visit(Type::Message(message)),
            Kind::Enum(enumeration) => self.visit(Type::Enum(enumeration)),
            _ => 0,
        }
    }
}

/// Bytes of the canonical form: numbers little-endian, texts and lists behind
/// their lengths.
#[derive(Default)]
struct Form {
    bytes: Vec<u8>,
}

impl Form {
    fn number(&mut self, number: u32) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    fn count(&mut self, count: usize) {
        self.number(length(count));
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn message(&mut self, message: &MessageDescriptor, types: &mut Types) {
        self.bytes.push(1);
        let fields = fields_of(message);
        self.count(fields.len());
        for (number, field) in &fields {
            self.number(*number);
            self.bytes.push(type_number(field));
            self.bytes.push(Label::of(field) as u8);
            // Field numbers begin at 1.
            self.number(oneof_of(field).unwrap_or(0));
            self.number(types.of(field));
        }
    }

    fn numbers(&mut self, enumeration: &EnumDescriptor) {
        self.bytes.push(2);
        let mut numbers: Vec<i32> = enumeration.values().map(|value| value.number()).collect();
        numbers.sort_unstable();
        // Several names may share a number.
        numbers.dedup();
        self.count(numbers.len());
        for number in numbers {
            self.bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
}

fn length(length: usize) -> u32 {
    u32::try_from(length).expect("a schema is smaller than four gigabytes")
}

#[cfg(test)]
mod tests;
