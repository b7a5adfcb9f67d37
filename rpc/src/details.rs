//! Typed details of a failed call.
//!
//! A status carries bytes for the caller's program. Where they are typed, they
//! are one `sealmoot.rpc.v1.Details`, drawn in
//! `rpc/proto/sealmoot/rpc/v1/details.proto`: messages of any type, each with
//! its full name.
//!
//! ```
//! use sealmoot_rpc::details::{BadRequest, FieldViolation};
//! use sealmoot_rpc::{Code, Execution, Status};
//!
//! let status = Status::new(Code::InvalidArgument, Execution::NotStarted, "bad field")
//!     .with_detail(&BadRequest {
//!         violations: vec![FieldViolation {
//!             field: "count".to_owned(),
//!             reason: "must not be zero".to_owned(),
//!         }],
//!     })?;
//! // At the caller:
//! let detail = status.detail::<BadRequest>().expect("one of that type")?;
//! assert_eq!(detail.violations[0].field, "count");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod messages;

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost::{DecodeError, Message, Name};

pub use messages::{BadRequest, FieldViolation, RetryAfter};

use crate::limits::{STATUS_DETAILS_BYTES_MAX, STATUS_DETAILS_MAX};
use crate::status::Status;
use messages::Detail;

/// The number of `Details.details`.
const DETAILS_TAG: u32 = 1;

impl Status {
    /// The same failure with one more message for the caller's program; in place
    /// of one of its type, if there is one.
    ///
    /// # Errors
    ///
    /// [`DetailError`]. Clone a status that must not be lost with it.
    pub fn with_detail<M: Message + Name>(self, message: &M) -> Result<Self, DetailError> {
        let name = M::full_name();
        let mut details = match entries(self.details()) {
            Some(entries) => entries,
            None => return Err(DetailError::OtherDetails),
        };
        details.retain(|detail| detail.name != name);
        details.push(Detail {
            name,
            value: message.encode_to_vec(),
        });
        if details.len() > STATUS_DETAILS_MAX {
            return Err(DetailError::TooMany);
        }
        let encoded = messages::Details { details }.encode_to_vec();
        if encoded.len() > STATUS_DETAILS_BYTES_MAX {
            return Err(DetailError::TooLong(encoded.len()));
        }
        Ok(self.with_details(encoded))
    }

    /// The message of this type that came with the failure. `None` where there is
    /// none, or where the details are no typed ones.
    ///
    /// What comes from a peer is its word, like the status.
    ///
    /// # Errors
    ///
    /// One of that name that does not decode.
    pub fn detail<M: Message + Name + Default>(&self) -> Option<Result<M, DecodeError>> {
        if self.details().is_empty() {
            return None;
        }
        let name = M::full_name();
        let mut entries = entries(self.details())?.into_iter();
        let found = entries.find(|detail| detail.name == name)?;
        Some(M::decode(&*found.value))
    }
}

/// Why a detail was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DetailError {
    /// More than [`STATUS_DETAILS_MAX`].
    #[error("more than {STATUS_DETAILS_MAX} details")]
    TooMany,
    /// So many bytes where [`STATUS_DETAILS_BYTES_MAX`] are allowed.
    #[error("{0} bytes of details; {STATUS_DETAILS_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// The status has details that are no typed ones.
    #[error("the status has details of another form")]
    OtherDetails,
}

/// Of details that are typed, those there are. Counted while they are read: a
/// peer could else make two bytes each into many times as much memory.
fn entries(mut details: &[u8]) -> Option<Vec<Detail>> {
    if details.len() > STATUS_DETAILS_BYTES_MAX {
        return None;
    }
    let mut entries = Vec::new();
    while !details.is_empty() {
        let (tag, wire_type) = decode_key(&mut details).ok()?;
        if tag != DETAILS_TAG {
            // Of a later version.
            skip_field(wire_type, tag, &mut details, DecodeContext::default()).ok()?;
            continue;
        }
        if wire_type != WireType::LengthDelimited || entries.len() == STATUS_DETAILS_MAX {
            return None;
        }
        let length = usize::try_from(decode_varint(&mut details).ok()?).ok()?;
        let (entry, behind) = details.split_at_checked(length)?;
        entries.push(Detail::decode(entry).ok()?);
        details = behind;
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::status::{Code, Execution};

    fn status() -> Status {
        Status::new(Code::Unavailable, Execution::NotStarted, "busy")
    }

    fn raw(details: Vec<u8>) -> Status {
        status().with_details(details)
    }

    fn violations(field: &str) -> BadRequest {
        let violation = FieldViolation {
            field: field.to_owned(),
            reason: String::new(),
        };
        BadRequest {
            violations: vec![violation],
        }
    }

    const SOON: RetryAfter = RetryAfter { milliseconds: 300 };

    #[test]
    fn the_layout_is_the_published_one() {
        let status = status().with_detail(&SOON).expect("room");
        let mut expected = vec![0x0a, 33, 0x0a, 26];
        expected.extend(b"sealmoot.rpc.v1.RetryAfter");
        expected.extend([0x12, 3, 0x08, 0xac, 0x02]);
        assert_eq!(status.details(), &expected);
    }

    #[test]
    fn details_of_several_types_are_found_by_type() {
        let status = status()
            .with_detail(&SOON)
            .and_then(|status| status.with_detail(&violations("a")))
            .and_then(|status| status.with_detail(&violations("b")))
            .expect("room");
        assert_eq!(status.detail(), Some(Ok(SOON)));
        assert_eq!(status.detail(), Some(Ok(violations("b"))), "the later one");
        assert_eq!(status.detail::<FieldViolation>(), None);
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.execution(), Execution::NotStarted);
    }

    #[test]
    fn details_that_are_not_typed_hold_none_and_take_none() {
        for bytes in [
            &b"why"[..],
            b"\xff",
            b"\x0a\x05abc",
            b"\x08\x01",
            b"\x0a\x01\xff",
        ] {
            let status = raw(bytes.to_vec());
            assert_eq!(status.detail::<RetryAfter>(), None, "{bytes:?}");
            let refused = status.with_detail(&SOON);
            assert_eq!(refused, Err(DetailError::OtherDetails), "{bytes:?}");
        }
        assert_eq!(status().detail::<RetryAfter>(), None);
    }

    #[test]
    fn a_detail_that_does_not_decode_is_said_so() {
        let detail = Detail {
            name: RetryAfter::full_name(),
            value: vec![0x08],
        };
        let details = messages::Details {
            details: vec![detail],
        };
        let found = raw(details.encode_to_vec()).detail::<RetryAfter>();
        assert!(matches!(found, Some(Err(_))));
    }

    #[test]
    fn fields_of_a_later_version_are_passed_over() {
        let mut bytes = status()
            .with_detail(&SOON)
            .expect("room")
            .details()
            .to_vec();
        bytes.extend([0x10, 0x01]);
        assert_eq!(raw(bytes).detail(), Some(Ok(SOON)));
    }

    fn many(count: usize) -> Status {
        let details = (0..count)
            .map(|number| Detail {
                name: format!("t{number}"),
                value: Vec::new(),
            })
            .collect();
        raw(messages::Details { details }.encode_to_vec())
    }

    #[test]
    fn too_many_details_are_not_sent_and_not_read() {
        let full = many(STATUS_DETAILS_MAX - 1)
            .with_detail(&SOON)
            .expect("room");
        assert_eq!(full.detail(), Some(Ok(SOON)));
        assert!(
            full.clone().with_detail(&SOON).is_ok(),
            "in place of itself"
        );
        let refused = full.with_detail(&violations("a"));
        assert_eq!(refused, Err(DetailError::TooMany));
        // The smallest ones that fit into a status.
        let flood = [0x0a, 0x00].repeat(STATUS_DETAILS_BYTES_MAX / 2);
        assert_eq!(entries(&flood), None);
        assert!(entries(many(STATUS_DETAILS_MAX).details()).is_some());
        assert_eq!(entries(many(STATUS_DETAILS_MAX + 1).details()), None);
    }

    #[test]
    fn too_long_details_are_not_added() {
        let long = violations(&"x".repeat(STATUS_DETAILS_BYTES_MAX));
        let refused = status().with_detail(&long);
        assert!(matches!(refused, Err(DetailError::TooLong(_))));
        let bytes = Bytes::from(vec![0x10; STATUS_DETAILS_BYTES_MAX + 2]);
        assert_eq!(entries(&bytes), None);
    }

    #[test]
    fn details_cut_short_are_none() {
        let status = status().with_detail(&SOON).expect("room");
        let details = status.details();
        for length in 1..details.len() {
            assert_eq!(entries(&details[..length]), None, "{length}");
        }
    }
}
