//! Random schemas with random changes: where the build says that two versions get
//! along, messages of either mean the same to the other; where it gives them one
//! fingerprint, they are the same bytes.
#![allow(missing_docs)]

mod random;

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use protox::prost_reflect::prost::Message;
use protox::prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use sealmoot_rpc_codegen::{Builder, Error};

use random::generator::SplitMix;
use random::schema::Schema;
use random::values;

/// Pairs of versions.
const ROUNDS: usize = 300;

/// Messages of each side that are read by the other, for each pair.
const MESSAGES: usize = 8;

#[test]
fn versions_that_get_along_read_each_others_messages_as_what_was_meant() {
    let seed = match std::env::var("EVOLUTION_SEED") {
        Ok(seed) => seed.parse().expect("EVOLUTION_SEED is a number"),
        Err(_) => {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            u64::from(since.expect("behind 1970").subsec_nanos())
        }
    };
    println!("EVOLUTION_SEED={seed}");
    let mut generator = SplitMix(seed);
    let mut counts = Counts::default();
    for _ in 0..ROUNDS {
        round(&mut generator, &mut counts);
    }
    println!("{counts:?}");
    // Of neither so few that nothing would be seen.
    assert!(counts.accepted > ROUNDS / 10, "{counts:?}");
    assert!(counts.refused > ROUNDS / 10, "{counts:?}");
    assert!(counts.same > ROUNDS / 30, "{counts:?}");
    assert!(counts.values > ROUNDS, "{counts:?}");
}

#[derive(Debug, Default)]
struct Counts {
    accepted: usize,
    refused: usize,
    /// Of those that were accepted, pairs with one fingerprint.
    same: usize,
    /// Values that were compared.
    values: usize,
}

fn round(generator: &mut SplitMix, counts: &mut Counts) {
    let earlier = Schema::random(generator);
    let present = earlier.changed(generator);
    let (earlier, present) = (earlier.text(), present.text());
    let dir = tempfile::tempdir().expect("a directory");
    let is_same = match is_same_fingerprint(dir.path(), &earlier, &present) {
        Ok(is_same) => is_same,
        Err(Error::Incompatible { .. }) => {
            // One fingerprint would let programs call each other unasked.
            let prints = ["earlier", "present"].map(|version| alone(dir.path(), version));
            assert_ne!(prints[0], prints[1], "{earlier}\n{present}");
            counts.refused += 1;
            return;
        }
        Err(error) => panic!("{error}\n{earlier}\n{present}"),
    };
    counts.accepted += 1;
    counts.same += usize::from(is_same);
    let pools = ["earlier", "present"].map(|version| pool(&dir.path().join(version)));
    for is_request in [true, false] {
        let [earlier_type, present_type] = pools.each_ref().map(|pool| of_method(pool, is_request));
        for _ in 0..MESSAGES {
            for (from, to) in [
                (&earlier_type, &present_type),
                (&present_type, &earlier_type),
            ] {
                let sent = values::message(from, generator);
                let bytes = sent.encode_to_vec();
                let read = DynamicMessage::decode(to.clone(), &bytes[..]);
                let read = read.unwrap_or_else(|error| {
                    panic!("{error}: {bytes:02x?}\n{earlier}\n{present}");
                });
                match values::compare(&sent, &read) {
                    Ok(compared) => counts.values += compared,
                    Err(difference) => {
                        panic!("{difference}\n{sent}\n{read}\n{earlier}\n{present}")
                    }
                }
                if is_same {
                    values::assert_nothing_unknown(&read);
                    // The order of a map's entries is nobody's.
                    if !earlier.contains("map<") && !present.contains("map<") {
                        assert_eq!(read.encode_to_vec(), bytes, "{earlier}\n{present}");
                    }
                }
            }
        }
    }
}

/// Whether the two have one fingerprint, if they get along.
fn is_same_fingerprint(root: &Path, earlier: &str, present: &str) -> Result<bool, Error> {
    for (version, text) in [("earlier", earlier), ("present", present)] {
        fs::create_dir(root.join(version)).expect("writable");
        fs::write(root.join(version).join("shop.proto"), text).expect("writable");
    }
    let out = root.join("out");
    fs::create_dir(&out).expect("writable");
    of_version(root, "present")
        .earlier(root.join("earlier/shop.proto"))
        .compile_into(&out)?;
    let fingerprints = fingerprints(&out);
    assert!((1..=2).contains(&fingerprints.len()), "{fingerprints:?}");
    Ok(fingerprints.len() == 1)
}

fn alone(root: &Path, version: &str) -> String {
    let out = root.join(format!("{version}-alone"));
    fs::create_dir(&out).expect("writable");
    let built = of_version(root, version).compile_into(&out);
    built.expect("a sound schema");
    fingerprints(&out).remove(0)
}

fn of_version(root: &Path, version: &str) -> Builder {
    let include = root.join(version);
    Builder::new(&[include.join("shop.proto")], &[include])
}

/// In the code that was generated: the present one first.
fn fingerprints(out: &Path) -> Vec<String> {
    let code = fs::read_to_string(out.join("shop.v1.rs")).expect("generated");
    let behind = code.split("Fingerprint::from_bytes([").skip(1);
    let bytes = behind.map(|rest| rest.split(']').next().expect("an end"));
    bytes.map(ToOwned::to_owned).collect()
}

fn pool(dir: &Path) -> DescriptorPool {
    let set = protox::compile(["shop.proto"], [dir]).expect("it was compiled before");
    DescriptorPool::from_file_descriptor_set(set).expect("a sound set")
}

fn of_method(pool: &DescriptorPool, is_request: bool) -> MessageDescriptor {
    let service = pool.get_service_by_name("shop.v1.Store").expect("there");
    let method = service.methods().next().expect("one");
    if is_request {
        method.input()
    } else {
        method.output()
    }
}
