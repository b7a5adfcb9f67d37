//! Strict decoding of a message with a field of every type.

mod canonical;

use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::prost::{Enumeration, Message, Oneof};
use sealmoot_rpc::{Deterministic, StrictError, decode_strict};

use crate::{Decoder, Outcome};

pub(super) const ALL: &[Decoder] = &[Decoder {
    name: "strict",
    authenticates: false,
    samples: || {
        let last = Everything {
            last: true,
            ..Everything::default()
        };
        let nested = Everything {
            message: Some(Box::new(full())),
            messages: vec![full(), Everything::default()],
            choice: Some(Choice::Message(Box::new(last.clone()))),
            ..full()
        };
        [last, full(), nested].map(|it| it.encode_to_vec()).into()
    },
    check: |bytes| {
        let decoded = decode_strict::<Everything>(Bytes::copy_from_slice(bytes));
        let is_canonical = canonical::is_canonical(bytes);
        assert_eq!(decoded.is_ok(), is_canonical, "{decoded:?}");
        match decoded {
            Ok(message) => {
                assert_eq!(message.encode_to_vec(), bytes);
                // A message may end behind any field.
                if message.last {
                    return Outcome::Accepted;
                }
            }
            // The encoding of what was read is one that is taken.
            Err(StrictError::NotDeterministic) => {
                let message = Everything::decode(bytes).expect("a message");
                let again = message.encode_to_vec();
                assert_ne!(again, bytes);
                let taken = decode_strict::<Everything>(again.clone().into()).expect("its own");
                // Compared as bytes: there are values that are not equal to themselves.
                assert_eq!(taken.encode_to_vec(), again);
            }
            Err(StrictError::Decode(_)) => assert!(Everything::decode(bytes).is_err()),
            Err(other) => panic!("{other:?}"),
        }
        Outcome::Refused
    },
}];

/// What a schema can say but groups, and maps, which have no one encoding.
/// [`canonical`] has the same table by hand.
#[derive(Clone, PartialEq, Message)]
#[prost(prost_path = "sealmoot_rpc::prost")]
struct Everything {
    #[prost(double, tag = "1")]
    double: f64,
    #[prost(float, tag = "2")]
    float: f32,
    #[prost(int32, tag = "3")]
    int32: i32,
    #[prost(int64, tag = "4")]
    int64: i64,
    #[prost(uint32, tag = "5")]
    uint32: u32,
    #[prost(uint64, tag = "6")]
    uint64: u64,
    #[prost(sint32, tag = "7")]
    sint32: i32,
    #[prost(sint64, tag = "8")]
    sint64: i64,
    #[prost(fixed32, tag = "9")]
    fixed32: u32,
    #[prost(fixed64, tag = "10")]
    fixed64: u64,
    #[prost(sfixed32, tag = "11")]
    sfixed32: i32,
    #[prost(sfixed64, tag = "12")]
    sfixed64: i64,
    #[prost(bool, tag = "13")]
    bool: bool,
    #[prost(string, tag = "14")]
    string: String,
    #[prost(bytes = "bytes", tag = "15")]
    bytes: Bytes,
    #[prost(enumeration = "Colour", tag = "16")]
    colour: i32,
    #[prost(message, optional, boxed, tag = "17")]
    message: Option<Box<Everything>>,
    #[prost(int32, optional, tag = "18")]
    maybe_int32: Option<i32>,
    #[prost(float, optional, tag = "19")]
    maybe_float: Option<f32>,
    #[prost(string, optional, tag = "20")]
    maybe_string: Option<String>,
    #[prost(bytes = "bytes", optional, tag = "21")]
    maybe_bytes: Option<Bytes>,
    #[prost(enumeration = "Colour", optional, tag = "22")]
    maybe_colour: Option<i32>,
    #[prost(int32, repeated, tag = "23")]
    int32s: Vec<i32>,
    #[prost(sint64, repeated, tag = "24")]
    sint64s: Vec<i64>,
    #[prost(bool, repeated, tag = "25")]
    bools: Vec<bool>,
    #[prost(double, repeated, tag = "26")]
    doubles: Vec<f64>,
    #[prost(sfixed32, repeated, tag = "27")]
    sfixed32s: Vec<i32>,
    #[prost(enumeration = "Colour", repeated, tag = "28")]
    colours: Vec<i32>,
    #[prost(uint32, repeated, packed = "false", tag = "29")]
    unpacked: Vec<u32>,
    #[prost(string, repeated, tag = "30")]
    strings: Vec<String>,
    #[prost(bytes = "bytes", repeated, tag = "31")]
    many_bytes: Vec<Bytes>,
    #[prost(message, repeated, tag = "32")]
    messages: Vec<Everything>,
    #[prost(oneof = "Choice", tags = "33, 34, 35, 36")]
    choice: Option<Choice>,
    #[prost(fixed32, required, tag = "37")]
    required: u32,
    // A key of two bytes more.
    #[prost(bool, tag = "100000")]
    last: bool,
}

#[derive(Clone, PartialEq, Oneof)]
#[prost(prost_path = "sealmoot_rpc::prost")]
enum Choice {
    #[prost(uint64, tag = "33")]
    Number(u64),
    #[prost(string, tag = "34")]
    Text(String),
    #[prost(message, tag = "35")]
    Message(Box<Everything>),
    #[prost(double, tag = "36")]
    Double(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[prost(prost_path = "sealmoot_rpc::prost")]
#[repr(i32)]
enum Colour {
    None = 0,
    Red = 1,
    Below = -1,
}

/// No map, and no oneof around another field.
impl Deterministic for Everything {}

fn full() -> Everything {
    Everything {
        double: -0.5,
        float: f32::NAN,
        int32: -1,
        int64: i64::MIN,
        uint32: u32::MAX,
        uint64: u64::MAX,
        sint32: i32::MIN,
        sint64: i64::MAX,
        fixed32: 1,
        fixed64: 2,
        sfixed32: -3,
        sfixed64: -4,
        bool: true,
        string: "völlig".to_owned(),
        bytes: Bytes::from_static(&[0, 0xff]),
        colour: Colour::Below.into(),
        message: Some(Box::default()),
        maybe_int32: Some(0),
        maybe_float: Some(-0.0),
        maybe_string: Some(String::new()),
        maybe_bytes: Some(Bytes::new()),
        maybe_colour: Some(Colour::None.into()),
        int32s: vec![0, -1, 1, 300],
        sint64s: vec![0, i64::MIN],
        bools: vec![false, true],
        doubles: vec![0.0, -0.0],
        sfixed32s: vec![-1],
        // An unknown one among them.
        colours: vec![Colour::Red.into(), 77],
        unpacked: vec![0, 0],
        strings: vec![String::new(), "a".to_owned()],
        many_bytes: vec![Bytes::new()],
        messages: vec![Everything::default()],
        choice: Some(Choice::Text(String::new())),
        required: 0,
        last: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_taken(change: impl FnOnce(&mut Everything)) -> bool {
        let mut message = Everything::default();
        change(&mut message);
        let bytes = message.encode_to_vec();
        let is_taken = decode_strict::<Everything>(bytes.clone().into()).is_ok();
        assert_eq!(canonical::is_canonical(&bytes), is_taken);
        is_taken
    }

    /// Each member of the oneof, which the samples show only in part.
    #[test]
    fn every_member_of_the_oneof_is_taken_alone() {
        for choice in [
            Choice::Number(0),
            Choice::Text("a".to_owned()),
            Choice::Message(Box::default()),
            Choice::Double(0.0),
        ] {
            assert!(is_taken(|it| it.choice = Some(choice)));
        }
    }

    #[test]
    fn messages_within_messages_are_taken_as_deep_as_they_are_read_and_no_deeper() {
        let deep = |levels: usize| {
            is_taken(|it| {
                for _ in 0..levels {
                    let inner = std::mem::take(it);
                    it.message = Some(Box::new(inner));
                }
            })
        };
        assert!(deep(canonical::DEPTH_MAX));
        assert!(!deep(canonical::DEPTH_MAX + 1));
    }
}
