//! Which messages have one encoding, and which methods ask for it.

use std::collections::{BTreeMap, HashSet};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use heck::{ToSnakeCase, ToUpperCamelCase};
use prost_build::Module;
use protox::prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor, Value};

use crate::error::Error;
use crate::options::STRICT;

/// Types of this package are not generated: they are prost's own.
const WELL_KNOWN_PACKAGE: &str = "google.protobuf";

/// The one of them that is marked, because it is the type `()`.
const EMPTY: &str = "google.protobuf.Empty";

/// Why a message has no encoding of its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotDeterministic {
    /// The order of a map is nobody's.
    #[error("has a map, `{0}`, whose order is not determined")]
    Map(String),
    /// The member that is set is written where the lowest number of the oneof
    /// belongs, which may be before a lower one.
    #[error("has a oneof, `{oneof}`, whose numbers enclose that of `{field}`")]
    EnclosingOneof {
        /// The oneof.
        oneof: String,
        /// The field that stands between its numbers.
        field: String,
    },
    /// A request or reply that is one of prost's own types.
    #[error("is a well-known type, for which there is no mark: put it into a message")]
    WellKnown,
}

/// The methods with the option, by `package.Service/Method`.
pub(crate) fn methods(pool: &DescriptorPool) -> Result<HashSet<String>, Error> {
    let mut methods = HashSet::new();
    // Absent when no schema imports it.
    let Some(option) = pool.get_extension_by_name(STRICT) else {
        return Ok(methods);
    };
    for service in pool.services() {
        for method in service.methods() {
            if *method.options().get_extension(&option) != Value::Bool(true) {
                continue;
            }
            let path = format!("{}/{}", service.full_name(), method.name());
            for message in [method.input(), method.output()] {
                check(&message).map_err(|(message, why)| Error::Strict {
                    method: path.clone(),
                    message,
                    why,
                })?;
            }
            methods.insert(path);
        }
    }
    Ok(methods)
}

/// Marks the messages that have one encoding, behind what was generated.
pub(crate) fn append_markers(pool: &DescriptorPool, out_dir: &Path) -> io::Result<()> {
    let mut markers: BTreeMap<String, String> = BTreeMap::new();
    for message in pool.all_messages() {
        if message.is_map_entry() || check(&message).is_err() || message.full_name() == EMPTY {
            continue;
        }
        let marker = format!(
            "impl ::sealmoot_rpc::Deterministic for {} {{}}\n",
            rust_path(&message)
        );
        let package = message.package_name().to_owned();
        markers.entry(package).or_default().push_str(&marker);
    }
    for (package, markers) in markers {
        let name = Module::from_protobuf_package_name(&package).to_file_name_or("_");
        let mut file = OpenOptions::new().append(true).open(out_dir.join(name))?;
        file.write_all(b"// Messages with one encoding.\n")?;
        file.write_all(markers.as_bytes())?;
    }
    Ok(())
}

/// Whether a message has one encoding; if not, which one that it holds does not.
fn check(message: &MessageDescriptor) -> Result<(), (String, NotDeterministic)> {
    if message.package_name() == WELL_KNOWN_PACKAGE && message.full_name() != EMPTY {
        return Err((message.full_name().to_owned(), NotDeterministic::WellKnown));
    }
    let mut seen = HashSet::from([message.full_name().to_owned()]);
    let mut waiting = vec![message.clone()];
    while let Some(message) = waiting.pop() {
        if let Some(why) = fault(&message) {
            return Err((message.full_name().to_owned(), why));
        }
        for field in message.fields() {
            if let Kind::Message(held) = field.kind()
                && seen.insert(held.full_name().to_owned())
            {
                waiting.push(held);
            }
        }
    }
    Ok(())
}

/// What is wrong with a message itself.
fn fault(message: &MessageDescriptor) -> Option<NotDeterministic> {
    if let Some(field) = message.fields().find(FieldDescriptor::is_map) {
        return Some(NotDeterministic::Map(field.name().to_owned()));
    }
    for oneof in message.oneofs() {
        let numbers = || oneof.fields().map(|field| field.number());
        let (Some(first), Some(last)) = (numbers().min(), numbers().max()) else {
            continue;
        };
        let is_enclosed = |field: &FieldDescriptor| {
            let is_member = field.containing_oneof().as_ref() == Some(&oneof);
            !is_member && first < field.number() && field.number() < last
        };
        if let Some(field) = message.fields().find(is_enclosed) {
            return Some(NotDeterministic::EnclosingOneof {
                oneof: oneof.name().to_owned(),
                field: field.name().to_owned(),
            });
        }
    }
    None
}

/// What prost calls it, within its package.
fn rust_path(message: &MessageDescriptor) -> String {
    let mut path = identifier(message.name().to_upper_camel_case());
    let mut around = message.parent_message();
    while let Some(outer) = around {
        path = format!("{}::{path}", identifier(outer.name().to_snake_case()));
        around = outer.parent_message();
    }
    path
}

/// As prost-build escapes names that are keywords or begin with a digit.
fn identifier(name: String) -> String {
    match name.as_str() {
        "as" | "break" | "const" | "continue" | "else" | "enum" | "false" | "fn" | "for" | "if"
        | "impl" | "in" | "let" | "loop" | "match" | "mod" | "move" | "mut" | "pub" | "ref"
        | "return" | "static" | "struct" | "trait" | "true" | "type" | "unsafe" | "use"
        | "where" | "while" | "dyn" | "abstract" | "become" | "box" | "do" | "final" | "macro"
        | "override" | "priv" | "typeof" | "unsized" | "virtual" | "yield" | "async" | "await"
        | "try" | "gen" => format!("r#{name}"),
        "_" | "super" | "self" | "Self" | "extern" | "crate" => format!("{name}_"),
        _ if name.starts_with(char::is_numeric) => format!("_{name}"),
        _ => name,
    }
}
