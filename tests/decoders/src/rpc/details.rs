//! Typed details of a status, which are a peer's bytes.

use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::details::{BadRequest, DetailError, FieldViolation, RetryAfter};
use sealmoot_rpc::limits::{STATUS_DETAILS_BYTES_MAX, STATUS_DETAILS_MAX};
use sealmoot_rpc::prost::{Message, Name};
use sealmoot_rpc::{Code, Execution, Status};

use crate::{Decoder, Outcome};

pub(super) const ALL: &[Decoder] = &[Decoder {
    name: "details",
    authenticates: false,
    samples: || {
        let one = status(&[]).with_detail(&SOON).expect("room");
        let two = status(&[])
            .with_detail(&violation())
            .and_then(|status| status.with_detail(&SOON))
            .expect("room");
        // A field of a later version before them.
        let later = [&[0x10, 0x01][..], two.details()].concat();
        let others = (1..STATUS_DETAILS_MAX).map(|number| Detail {
            name: format!("t{number}"),
            value: Vec::new(),
        });
        let details = others.collect();
        let full = status(&Details { details }.encode_to_vec());
        let full = full.with_detail(&SOON).expect("room");
        let all = [&one, &two, &full].map(|it| it.details().to_vec());
        [&all[..], &[later]].concat()
    },
    check: |bytes| {
        let status = status(bytes);
        let soon = status.detail::<RetryAfter>();
        let bad = status.detail::<BadRequest>();
        let count = typed(bytes);
        if count.is_none() {
            assert_eq!((&soon, &bad), (&None, &None));
        }
        match status.clone().with_detail(&FIRST) {
            Ok(more) => {
                let count = count.expect("others take none");
                assert!(more.details().len() <= STATUS_DETAILS_BYTES_MAX);
                let after = typed(more.details()).expect("typed");
                // One more, or one in place of all that had its type.
                assert!((1..=count + 1).contains(&after) && after <= STATUS_DETAILS_MAX);
                assert_eq!(more.detail(), Some(Ok(FIRST)));
                // What has another type stays.
                assert_eq!(more.detail(), bad);
                // Said again, nothing changes.
                let same = more.clone().with_detail(&FIRST).expect("as before");
                assert_eq!(same, more);
                // The others are as they were.
                let (code, execution) = (more.code(), more.execution());
                assert_eq!((code, execution), (status.code(), status.execution()));
            }
            Err(DetailError::OtherDetails) => assert_eq!(count, None),
            Err(DetailError::TooMany) => assert_eq!(count, Some(STATUS_DETAILS_MAX)),
            Err(DetailError::TooLong(length)) => {
                assert!(length > STATUS_DETAILS_BYTES_MAX);
                // Its own text is two dozen bytes.
                assert!(bytes.len() + 64 > STATUS_DETAILS_BYTES_MAX);
            }
            Err(other) => panic!("{other:?}"),
        }
        // Details may end behind any.
        let end = status_end();
        if soon == Some(Ok(SOON)) && bytes.ends_with(&end) {
            Outcome::Accepted
        } else {
            Outcome::Refused
        }
    },
}];

const SOON: RetryAfter = RetryAfter { milliseconds: 300 };
const FIRST: RetryAfter = RetryAfter { milliseconds: 1 };

fn violation() -> BadRequest {
    let violation = FieldViolation {
        field: "items.count".to_owned(),
        reason: "must not be zero".to_owned(),
    };
    BadRequest {
        violations: vec![violation],
    }
}

fn status(details: &[u8]) -> Status {
    Status::new(Code::Unavailable, Execution::NotStarted, "busy")
        .with_details(Bytes::copy_from_slice(details))
}

/// The last entry of all samples.
fn status_end() -> Vec<u8> {
    let value = SOON.encode_to_vec();
    let name = RetryAfter::full_name();
    let mut entry = Vec::new();
    for (tag, text) in [(0x0a, name.as_bytes()), (0x12, &value)] {
        entry.push(tag);
        entry.push(u8::try_from(text.len()).expect("short"));
        entry.extend_from_slice(text);
    }
    entry
}

/// How many entries there are, if these are details that are read: told from the
/// message as a library reads it.
fn typed(bytes: &[u8]) -> Option<usize> {
    if bytes.len() > STATUS_DETAILS_BYTES_MAX {
        return None;
    }
    let details = Details::decode(bytes).ok()?.details.len();
    (details <= STATUS_DETAILS_MAX).then_some(details)
}

/// As `rpc/proto/sealmoot/rpc/v1/details.proto` draws it.
#[derive(Clone, PartialEq, Eq, Message)]
#[prost(prost_path = "sealmoot_rpc::prost")]
struct Details {
    #[prost(message, repeated, tag = "1")]
    details: Vec<Detail>,
}

#[derive(Clone, PartialEq, Eq, Message)]
#[prost(prost_path = "sealmoot_rpc::prost")]
struct Detail {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}
