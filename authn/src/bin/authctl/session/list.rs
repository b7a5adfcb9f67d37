//! `authctl session list`.

use sealmoot_authn::cli::{Failure, escaped, rfc3339};
use sealmoot_authn::name::Name;
use sealmoot_authn::session::client::{SeenSession, SeenSessions};
use sealmoot_authn::statement::RevokedSessions;
use sealmoot_crypto::signature::KeyId;
use serde_json::{Value, json};

use super::{ListArgs, ask};
use crate::Context;
use crate::realm::select;

/// Digits of an id that people are shown.
const SHORT_LENGTH: usize = 12;

pub(super) fn run(args: &ListArgs, context: &Context<'_>) -> Result<(), Failure> {
    let seen = ask::sessions(args.user.as_ref(), args.context.as_deref(), context)?;
    if seen.iter().len() == 0 {
        context
            .output
            .notice("no node has seen a session that holds");
    }
    let data: Vec<Value> = seen.iter().map(describe).collect();
    let data = Value::Array(data);
    context.output.result("sessions", &data, || table(&seen))
}

/// What is revoked by the realm on this machine.
pub(super) fn revoked(context: &Context<'_>) -> Result<(), Failure> {
    let realm = select(context)?;
    let revoked = realm.revoked_sessions()?;
    let revoked = revoked.map_or_else(RevokedSessions::default, |record| record.revoked().clone());
    if revoked.keys().len() + revoked.users().len() == 0 {
        context.output.notice("no session is revoked");
    }
    let sessions = revoked
        .keys()
        .map(|(key, until)| json!({"id": key.to_string(), "until": rfc3339(until)}));
    let users = revoked
        .users()
        .map(|(user, before)| json!({"user": user.as_str(), "before": rfc3339(before)}));
    let data = json!({
        "sessions": sessions.collect::<Vec<_>>(),
        "users": users.collect::<Vec<_>>(),
    });
    context.output.result("revoked", &data, || {
        let sessions = revoked
            .keys()
            .map(|(key, until)| format!("session {key}  remembered until {}", rfc3339(until)));
        let users = revoked
            .users()
            .map(|(user, before)| format!("all of {user} before {}", rfc3339(before)));
        sessions.chain(users).collect::<Vec<_>>().join("\n")
    })
}

/// The beginning of an id.
pub(super) fn short(key: &KeyId) -> String {
    key.to_string().chars().take(SHORT_LENGTH).collect()
}

fn made_by(session: &SeenSession) -> String {
    let label = session.made_by.as_ref();
    label.map_or_else(|| "password".to_owned(), |label| format!("key {label}"))
}

fn describe((key, session): (&KeyId, &SeenSession)) -> Value {
    let idle = (session.idle_ms != 0).then_some(session.idle_ms / 1000);
    json!({
        "id": key.to_string(),
        "user": session.user.as_str(),
        "made_by": made_by(session),
        "issued": rfc3339(session.issued_ms),
        "expires": rfc3339(session.expires_ms),
        "idle_seconds": idle,
        "last_seen": rfc3339(session.last_used_ms),
        "from": session.origin,
        "nodes": session.nodes.iter().map(Name::as_str).collect::<Vec<_>>(),
    })
}

fn table(seen: &SeenSessions) -> String {
    let head = [
        "ID",
        "USER",
        "MADE BY",
        "ISSUED",
        "EXPIRES",
        "LAST SEEN",
        "FROM",
        "NODES",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(seen.iter().map(|(key, session)| {
        let nodes: Vec<&str> = session.nodes.iter().map(Name::as_str).collect();
        [
            short(key),
            session.user.to_string(),
            // What a node says may be anything.
            escaped(&made_by(session)),
            rfc3339(session.issued_ms),
            rfc3339(session.expires_ms),
            rfc3339(session.last_used_ms),
            escaped(&session.origin),
            nodes.join(","),
        ]
    }));
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}
