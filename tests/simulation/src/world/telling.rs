//! Messages in words for people, and as numbers for the trace.

use sealmoot_kv::message::{Reply, Request};

pub(super) fn summary(request: &Request) -> String {
    let text = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
    match request {
        Request::Prepare { key, ballot } => format!("prepare {} {ballot:?}", text(key)),
        Request::Accept {
            key, ballot, state, ..
        } => {
            format!(
                "accept {} {ballot:?} revision {}",
                text(key),
                state.revision
            )
        }
        Request::Read { key, .. } => format!("read {}", text(key)),
        other => format!("{other:?}"),
    }
}

pub(super) fn reply_summary(reply: &Reply) -> String {
    match reply {
        Reply::Holds {
            accepted,
            state,
            floor,
            ..
        } => {
            format!(
                "holds {accepted:?} revision {} floor {floor:?}",
                state.revision
            )
        }
        other => format!("{other:?}"),
    }
}

/// Tells answers apart in the trace.
pub(super) fn digest_of(reply: &Reply) -> u64 {
    match reply {
        Reply::Holds {
            accepted, state, ..
        } => accepted.clock.0 ^ state.revision << 48,
        Reply::Accepted { .. } => 1,
        Reply::Refused { standing } => standing.clock.0 ^ 2 << 60,
        Reply::ClockTooFar { clock } => clock.0 ^ 3 << 60,
        _ => 4,
    }
}
