//! Whether two versions of a service get along on the wire, both ways: a client
//! of either with a server of either.
//!
//! That is decided as the Protocol Buffers guide has it ("Updating A Message
//! Type"), and more strictly where the guide allows what changes the meaning of
//! bytes: a string stays a string, a message a message, an enum an enum, and one
//! value does not become many.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;

use protox::prost_reflect::{
    FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, ServiceDescriptor,
};

use crate::fingerprint::{Label, fields_of, kind_number, oneof_of, type_number};
use crate::guard::{Guard, Guards, path_of};

/// A change with which two versions of a schema do not get along.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Incompatibility {
    /// A service is gone.
    #[error("the service {service} was removed")]
    ServiceRemoved {
        /// Its full name.
        service: String,
    },
    /// A method is gone.
    #[error("the method {method} was removed")]
    MethodRemoved {
        /// As `package.Service/Method`.
        method: String,
    },
    /// A request or a reply became a stream, or none.
    #[error("the method {method} has other streams than it had")]
    Streams {
        /// As `package.Service/Method`.
        method: String,
    },
    /// One version promises that the method may be called twice, the other does
    /// not: whoever believes the one would call the other's server twice.
    #[error("the method {method} has an `idempotency_level` in one version alone")]
    Promise {
        /// As `package.Service/Method`.
        method: String,
    },
    /// A field's type has another form or another meaning.
    #[error("{field} was {earlier} and is {present}")]
    Type {
        /// Where.
        field: FieldPlace,
        /// As in a schema.
        earlier: &'static str,
        /// As in a schema.
        present: &'static str,
    },
    /// One value became many, or many one.
    #[error("{field} is repeated in one version alone")]
    Repeated {
        /// Where.
        field: FieldPlace,
    },
    /// A field is required in one version and not in the other, or not there: one
    /// side sends messages that the other refuses.
    #[error("{field} is required in one version alone")]
    Required {
        /// Where.
        field: FieldPlace,
    },
    /// A field came to a oneof, or left one, or went to another.
    #[error("{field} is not in the same oneof as before")]
    Oneof {
        /// Where.
        field: FieldPlace,
    },
}

/// A field, as the present schema calls it, or the earlier one where it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPlace {
    /// The message's full name.
    pub message: String,
    /// The field's number.
    pub number: u32,
    /// The field's name.
    pub name: String,
}

impl fmt::Display for FieldPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            message,
            number,
            name,
        } = self;
        write!(formatter, "field {number} (`{name}`) of {message}")
    }
}

/// One version of a service.
#[derive(Clone, Copy)]
pub(crate) struct Version<'a> {
    pub(crate) service: &'a ServiceDescriptor,
    pub(crate) guards: &'a Guards,
}

/// Refuses a present version with which the earlier one does not get along. What
/// is in one version alone is no obstacle: who does not know a field skips it, and
/// who does not know a method says so before anything has happened.
pub(crate) fn check(earlier: Version<'_>, present: Version<'_>) -> Result<(), Incompatibility> {
    let mut pairs = Pairs::default();
    let in_present: HashMap<String, MethodDescriptor> = present
        .service
        .methods()
        .map(|method| (method.name().to_owned(), method))
        .collect();
    for old in earlier.service.methods() {
        let method = path_of(&old);
        let Some(new) = in_present.get(old.name()) else {
            return Err(Incompatibility::MethodRemoved { method });
        };
        if kind_number(&old) != kind_number(new) {
            return Err(Incompatibility::Streams { method });
        }
        let may_act_twice = |guard| matches!(guard, Guard::NoSideEffects | Guard::Idempotent);
        if may_act_twice(earlier.guards.of(&old)) != may_act_twice(present.guards.of(new)) {
            return Err(Incompatibility::Promise { method });
        }
        pairs.add(old.input(), new.input());
        pairs.add(old.output(), new.output());
    }
    // What a pair refers to has a turn of its own: so no schema recurses.
    while let Some((old, new)) = pairs.waiting.pop_front() {
        check_message(&old, &new, &mut pairs)?;
    }
    Ok(())
}

/// Pairs of messages that stand in each other's place, each once.
#[derive(Default)]
struct Pairs {
    seen: HashSet<(String, String)>,
    waiting: VecDeque<(MessageDescriptor, MessageDescriptor)>,
}

impl Pairs {
    fn add(&mut self, old: MessageDescriptor, new: MessageDescriptor) {
        let names = (old.full_name().to_owned(), new.full_name().to_owned());
        if self.seen.insert(names) {
            self.waiting.push_back((old, new));
        }
    }
}

fn check_message(
    old: &MessageDescriptor,
    new: &MessageDescriptor,
    pairs: &mut Pairs,
) -> Result<(), Incompatibility> {
    let (old_fields, new_fields) = (fields_of(old), fields_of(new));
    for (number, field) in old_fields.iter().chain(&new_fields) {
        let is_shared = old_fields.contains_key(number) && new_fields.contains_key(number);
        if field.is_required() && !is_shared {
            let field = place(field);
            return Err(Incompatibility::Required { field });
        }
    }
    // Which oneof became which, both ways: fields that exclude each other in one
    // version do so in the other.
    let (mut became, mut was) = (HashMap::new(), HashMap::new());
    for (number, old) in &old_fields {
        let Some(new) = new_fields.get(number) else {
            continue;
        };
        check_field(old, new)?;
        let (old_oneof, new_oneof) = (oneof_of(old), oneof_of(new));
        let is_same = match (old_oneof, new_oneof) {
            (None, None) => true,
            (Some(old), Some(new)) => {
                *became.entry(old).or_insert(new) == new && *was.entry(new).or_insert(old) == old
            }
            _ => false,
        };
        if !is_same {
            let field = place(new);
            return Err(Incompatibility::Oneof { field });
        }
        if let (Kind::Message(old), Kind::Message(new)) = (old.kind(), new.kind()) {
            pairs.add(old, new);
        }
    }
    Ok(())
}

fn check_field(old: &FieldDescriptor, new: &FieldDescriptor) -> Result<(), Incompatibility> {
    let field = place(new);
    let (old_type, new_type) = (type_number(old), type_number(new));
    if old_type != new_type && meaning(old_type) != meaning(new_type) {
        return Err(Incompatibility::Type {
            field,
            earlier: type_name(old_type),
            present: type_name(new_type),
        });
    }
    match (Label::of(old).shape(), Label::of(new).shape()) {
        (old, new) if old == new => Ok(()),
        (Label::Repeated, _) | (_, Label::Repeated) => Err(Incompatibility::Repeated { field }),
        _ => Err(Incompatibility::Required { field }),
    }
}

/// Types of one meaning read each other's bytes as the same value, as far as it
/// fits: the first of them stands for all.
fn meaning(type_number: u8) -> u8 {
    match type_number {
        // int32, int64, uint32, uint64, bool: plain varints.
        3 | 4 | 5 | 8 | 13 => 3,
        // sint32, sint64: zigzag varints.
        17 | 18 => 17,
        // fixed32, sfixed32.
        7 | 15 => 7,
        // fixed64, sfixed64.
        6 | 16 => 6,
        other => other,
    }
}

fn type_name(type_number: u8) -> &'static str {
    match type_number {
        1 => "double",
        2 => "float",
        3 => "int64",
        4 => "uint64",
        5 => "int32",
        6 => "fixed64",
        7 => "fixed32",
        8 => "bool",
        9 => "string",
        10 => "a group",
        11 => "a message",
        12 => "bytes",
        13 => "uint32",
        14 => "an enum",
        15 => "sfixed32",
        16 => "sfixed64",
        17 => "sint32",
        _ => "sint64",
    }
}

fn place(field: &FieldDescriptor) -> FieldPlace {
    FieldPlace {
        message: field.parent_message().full_name().to_owned(),
        number: field.number(),
        name: field.name().to_owned(),
    }
}
