//! Schemas as values, so that they can be changed, and as text.

use std::fmt::Write;

use super::generator::SplitMix;

/// Types whose bytes mean the same to each other, as far as values fit.
const MEANINGS: &[&[&str]] = &[
    &["int32", "int64", "uint32", "uint64", "bool"],
    &["sint32", "sint64"],
    &["fixed32", "sfixed32"],
    &["fixed64", "sfixed64"],
    &["float"],
    &["double"],
    &["string"],
    &["bytes"],
    &["E0"],
    &["E1"],
];

/// Few, so that a number that was given up is taken again.
const NUMBERS: &[u32] = &[1, 2, 3, 4, 5, 15, 16, 2047, 2048];

#[derive(Clone, Debug)]
pub(crate) struct Schema {
    messages: Vec<Message>,
    /// Of the requests, of the replies.
    streams: [bool; 2],
}

#[derive(Clone, Debug)]
struct Message {
    name: String,
    fields: Vec<Field>,
}

#[derive(Clone, Debug)]
struct Field {
    number: u32,
    name: String,
    kind: Kind,
    label: Label,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Scalar(&'static str),
    /// By its place among the messages.
    Message(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    Implicit,
    Optional,
    Repeated,
    Unpacked,
    /// One of two.
    Oneof(usize),
    /// With a key of this type.
    Map(&'static str),
}

impl Schema {
    /// The request is the first message, the reply the second.
    pub(crate) fn random(generator: &mut SplitMix) -> Self {
        let count = 2 + generator.below(3);
        let mut schema = Self {
            messages: (0..count)
                .map(|index| Message {
                    name: format!("M{index}"),
                    fields: Vec::new(),
                })
                .collect(),
            streams: [generator.one_in(4), generator.one_in(4)],
        };
        for index in 0..count {
            for _ in 0..1 + generator.below(5) {
                schema.add_field(index, generator);
            }
        }
        schema
    }

    /// The next version.
    pub(crate) fn changed(&self, generator: &mut SplitMix) -> Self {
        let mut next = self.clone();
        if generator.one_in(50) {
            let direction = &mut next.streams[generator.below(2)];
            *direction = !*direction;
        }
        for _ in 0..1 + generator.below(4) {
            next.change(generator);
        }
        next
    }

    fn change(&mut self, generator: &mut SplitMix) {
        let message = generator.below(self.messages.len());
        let count = self.messages[message].fields.len();
        let kind = random_kind(self.messages.len(), generator);
        let index = generator.below(count.max(1));
        match generator.below(12) {
            0 | 1 => return self.add_field(message, generator),
            2 => return self.messages[message].name.push('x'),
            3 => return self.map_to_list(message, index),
            _ if count == 0 => return,
            _ => {}
        }
        let fields = &mut self.messages[message].fields;
        let field = &mut fields[index];
        match generator.below(9) {
            0 | 1 => drop(fields.remove(index)),
            2 => field.name.push('x'),
            3 => {
                let other = generator.below(count);
                fields.swap(index, other);
            }
            4 => field.kind = kind,
            5 => field.label = random_label(field.kind, generator),
            _ => {
                if let Kind::Scalar(name) = field.kind {
                    let group = MEANINGS.iter().find(|group| group.contains(&name));
                    let group = group.expect("each type is in one");
                    field.kind = Kind::Scalar(generator.pick(group));
                }
            }
        }
    }

    fn add_field(&mut self, message: usize, generator: &mut SplitMix) {
        let kind = random_kind(self.messages.len(), generator);
        let label = random_label(kind, generator);
        let number = generator.pick(NUMBERS);
        let fields = &mut self.messages[message].fields;
        if fields.iter().all(|field| field.number != number) {
            fields.push(Field {
                number,
                name: format!("f{number}"),
                kind,
                label,
            });
        }
    }

    /// A map as the list of entries that it is on the wire.
    fn map_to_list(&mut self, message: usize, index: usize) {
        let entry = self.messages.len();
        let Some(field) = self.messages[message].fields.get_mut(index) else {
            return;
        };
        let Label::Map(key) = field.label else {
            return;
        };
        let part = |number: u32, kind| Field {
            number,
            name: format!("f{number}"),
            kind,
            label: Label::Implicit,
        };
        let fields = vec![part(1, Kind::Scalar(key)), part(2, field.kind)];
        (field.kind, field.label) = (Kind::Message(entry), Label::Repeated);
        self.messages.push(Message {
            name: format!("M{entry}"),
            fields,
        });
    }

    pub(crate) fn text(&self) -> String {
        let mut text = "syntax = \"proto3\"; package shop.v1;\n".to_owned();
        let names: Vec<&str> = self.messages.iter().map(|it| it.name.as_str()).collect();
        let [requests, replies] = self.streams.map(|is| if is { "stream " } else { "" });
        let service = format!(
            "service Store {{ rpc Put({requests}{}) returns ({replies}{}); }}\n",
            names[0], names[1]
        );
        text.push_str(&service);
        text.push_str("enum E0 { A = 0; B = 1; C = -1; }\nenum E1 { D = 0; F = 1; }\n");
        for message in &self.messages {
            writeln!(text, "message {} {{", message.name).expect("a string takes all");
            message.write(&names, &mut text);
            text.push_str("}\n");
        }
        text
    }
}

impl Message {
    fn write(&self, names: &[&str], text: &mut String) {
        for choice in 0..2 {
            let members = self.fields.iter();
            let members: Vec<&Field> = members
                .filter(|field| field.label == Label::Oneof(choice))
                .collect();
            if !members.is_empty() {
                let all: String = members.iter().map(|field| field.text(names)).collect();
                writeln!(text, "  oneof choice{choice} {{\n{all}  }}").expect("a string takes all");
            }
        }
        for field in &self.fields {
            if !matches!(field.label, Label::Oneof(_)) {
                text.push_str(&field.text(names));
            }
        }
    }
}

impl Field {
    fn text(&self, names: &[&str]) -> String {
        let kind = match self.kind {
            Kind::Scalar(name) => name,
            Kind::Message(index) => names[index],
        };
        let can_be_packed = match self.kind {
            Kind::Scalar(name) => !matches!(name, "string" | "bytes"),
            Kind::Message(_) => false,
        };
        let kind = match self.label {
            Label::Implicit | Label::Oneof(_) => kind.to_owned(),
            Label::Optional => format!("optional {kind}"),
            Label::Repeated | Label::Unpacked => format!("repeated {kind}"),
            Label::Map(key) => format!("map<{key}, {kind}>"),
        };
        let option = match self.label {
            Label::Unpacked if can_be_packed => " [packed = false]",
            _ => "",
        };
        format!("    {kind} {} = {}{option};\n", self.name, self.number)
    }
}

fn random_kind(messages: usize, generator: &mut SplitMix) -> Kind {
    if generator.one_in(4) {
        Kind::Message(generator.below(messages))
    } else {
        let group = generator.pick(MEANINGS);
        Kind::Scalar(generator.pick(group))
    }
}

fn random_label(kind: Kind, generator: &mut SplitMix) -> Label {
    match generator.below(8) {
        0 | 1 => Label::Optional,
        2 => Label::Repeated,
        3 if matches!(kind, Kind::Scalar(_)) => Label::Unpacked,
        4 | 5 => Label::Oneof(generator.below(2)),
        6 => Label::Map(generator.pick(&["int32", "int64", "bool", "string", "sint32"])),
        _ => Label::Implicit,
    }
}
