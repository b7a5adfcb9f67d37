//! Trace contexts, as they come in metadata and go on.

use sealmoot_rpc::Metadata;
use sealmoot_rpc::bare::passed_on;
use sealmoot_rpc::trace::{TRACEPARENT, TRACESTATE, TRACESTATE_BYTES_MAX, TraceContext};

use crate::{Decoder, Outcome};

pub(super) const ALL: &[Decoder] = &[
    Decoder {
        name: "traceparent",
        authenticates: false,
        samples: || {
            [SAMPLED, NOT_SAMPLED]
                .map(|header| header.as_bytes().to_vec())
                .into()
        },
        check: |bytes| {
            let parsed = TraceContext::parse(bytes);
            assert_eq!(parsed.is_ok(), drawn(bytes), "{parsed:?}");
            let Ok(context) = parsed else {
                return Outcome::Refused;
            };
            let again = context.to_string();
            assert_eq!(TraceContext::parse(again.as_bytes()), Ok(context));
            assert_eq!(again.as_bytes()[2..53], bytes[2..53]);
            let flags = std::str::from_utf8(&bytes[53..55]).expect("digits");
            let flags = u8::from_str_radix(flags, 16).expect("digits");
            assert_eq!(context.is_sampled, flags % 2 == 1);
            // Of later versions more may stand behind.
            if bytes.starts_with(b"00-") {
                Outcome::Accepted
            } else {
                Outcome::Refused
            }
        },
    },
    Decoder {
        name: "tracestate",
        authenticates: false,
        // The header of a sound trace.
        samples: || {
            let longest = "a".repeat(TRACESTATE_BYTES_MAX - 4);
            ["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", &longest, ""]
                .map(|state| format!("{state} end").into_bytes())
                .into()
        },
        check: |bytes| {
            let mut received = Metadata::new();
            received.insert(TRACEPARENT, SAMPLED).expect("room");
            if received.insert(TRACESTATE, bytes).is_err() {
                return Outcome::Refused;
            }
            let sent = passed_on(&received, [0; 8]).expect("the trace goes on");
            let parent = sent.get(TRACEPARENT).expect("the trace goes on");
            let child = TraceContext::parse(parent).expect("sound");
            let context = TraceContext::parse(SAMPLED.as_bytes()).expect("sound");
            assert_eq!(child.trace_id, context.trace_id);
            assert_ne!(child.span_id, context.span_id);
            let state = sent.get(TRACESTATE);
            let may_go = bytes.len() <= TRACESTATE_BYTES_MAX
                && bytes
                    .iter()
                    .all(|byte| *byte == b' ' || byte.is_ascii_graphic());
            let wanted = Some(bytes).filter(|bytes| may_go && !bytes.is_empty());
            assert_eq!(state, wanted);
            assert_eq!(sent.iter().count(), 1 + usize::from(state.is_some()));
            if state.is_some_and(|state| state.ends_with(b" end")) {
                Outcome::Accepted
            } else {
                Outcome::Refused
            }
        },
    },
];

const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const NOT_SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fe";

/// Whether a header is one by W3C Trace Context Level 1, section 3.2, position by
/// position.
fn drawn(header: &[u8]) -> bool {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_in_place = |(position, byte): (usize, &u8)| match position {
        2 | 35 | 52 => *byte == b'-',
        0..=54 => is_digit(byte),
        // Whatever a later version has behind another separator.
        55 => *byte == b'-',
        _ => true,
    };
    let is_zero = |range: std::ops::Range<usize>| header[range].iter().all(|byte| *byte == b'0');
    header.len() >= 55
        && header.iter().enumerate().all(is_in_place)
        && !is_zero(3..35)
        && !is_zero(36..52)
        && !header.starts_with(b"ff")
        && (header.len() == 55 || !header.starts_with(b"00"))
}
