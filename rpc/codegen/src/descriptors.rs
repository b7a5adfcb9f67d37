//! The schema itself, for those who ask a server about it.

use std::collections::BTreeSet;

use protox::prost_reflect::prost::Message;
use protox::prost_reflect::prost::encoding::{WireType, encode_key, encode_varint};
use protox::prost_reflect::prost_types::FileDescriptorProto;
use protox::prost_reflect::{DescriptorPool, DynamicMessage, FileDescriptor, ReflectMessage};

/// What the file of a package's descriptors is called.
pub(crate) fn file_name(package: &str) -> String {
    format!("{package}.descriptors.bin")
}

/// A `google.protobuf.FileDescriptorSet` of the package's files and all that they
/// import, each behind what it imports, without comments.
pub(crate) fn of_package(pool: &DescriptorPool, package: &str) -> Vec<u8> {
    let mut wanted = BTreeSet::new();
    let mut waiting: Vec<FileDescriptor> = pool
        .files()
        .filter(|file| file.package_name() == package)
        .collect();
    while let Some(file) = waiting.pop() {
        if wanted.insert(file.name().to_owned()) {
            waiting.extend(file.dependencies());
        }
    }
    let mut set = Vec::new();
    // A pool has each file behind its imports.
    for file in pool.files().filter(|file| wanted.contains(file.name())) {
        let file = without_comments(&file);
        encode_key(1, WireType::LengthDelimited, &mut set);
        encode_varint(file.len() as u64, &mut set);
        set.extend_from_slice(&file);
    }
    set
}

/// By reflection: the generated types would lose options that extensions define.
fn without_comments(file: &FileDescriptor) -> Vec<u8> {
    let form = FileDescriptorProto::default().descriptor();
    let mut file = DynamicMessage::decode(form, file.encode_to_vec().as_slice())
        .expect("a file descriptor of a pool is sound");
    file.clear_field_by_name("source_code_info");
    file.encode_to_vec()
}
