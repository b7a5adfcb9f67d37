//! Registering a password for a delegate's user (RFC 9807, section 5).
//!
//! A delegate has no login secrets. So a node answers its first message, as the realm's
//! own machine answers itself where the root is. What the node answers is an evaluation
//! of its secret function for one name and one blinded password; who has it can test that
//! one password against what a login of that name shows to strangers. So it is given for
//! names only that the delegate may sign, and as seldom as attempts to log in are.

mod client;

use std::sync::PoisonError;

use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{Code, Execution, Peer, Status};

use super::LoginService;
use crate::audit::{AuditRefused, Event, Subject, What, Who};
use crate::delegation::Chain;
use crate::fetch::{PROOF_LENGTH_MAX, verify_proof};
use crate::name::Name;
use crate::opaque::OpaqueError;
use crate::proto::{RegisterReply, RegisterRequest};

pub use client::{RegisterError, Registered, register_at};

/// Answers the first message of a registration.
pub(super) async fn serve(
    service: &LoginService,
    peer: &Peer,
    request: &RegisterRequest,
) -> Result<RegisterReply, Status> {
    let place = match &service.auditor {
        Some(auditor) => Some(auditor.place().map_err(unaudited)?),
        None => None,
    };
    let judged = judge(service, peer, request);
    let answered = match &judged {
        Ok((chain, user)) => answer(service, chain, user, &request.message).await,
        Err(status) => Err(status.clone()),
    };
    if let Some(place) = place {
        let event = event(service, peer, request, &judged, answered.as_ref().err());
        // On the disk before the answer leaves.
        place.record(event).await.map_err(unaudited)?;
    }
    answered.map(|message| RegisterReply {
        message: Bytes::copy_from_slice(&message),
    })
}

/// By which delegation, and for whom.
fn judge(
    service: &LoginService,
    peer: &Peer,
    request: &RegisterRequest,
) -> Result<(Chain, Name), Status> {
    let refused = |error: &dyn std::fmt::Display| {
        let (code, execution) = (Code::PermissionDenied, Execution::NotStarted);
        Status::new(code, execution, error.to_string())
    };
    let learnt = {
        let users = service.users.read();
        let users = users.unwrap_or_else(std::sync::PoisonError::into_inner);
        users.roots().cloned()
    };
    let given = service.roots.clone();
    let roots = learnt
        .filter(|learnt| {
            given
                .as_ref()
                .is_some_and(|given| given.realm() == learnt.realm())
        })
        .or(given)
        .ok_or_else(|| refused(&"this node registers no passwords"))?;
    if request.proof.len() > PROOF_LENGTH_MAX {
        return Err(refused(&"the proof is too long"));
    }
    let node = service.node_key.verifying_key().key_id();
    let chain = verify_proof(&request.proof, &roots, &node, peer.binding())
        .map_err(|error| refused(&error))?
        .ok_or_else(|| refused(&"the root registers passwords with its own secrets"))?;
    let user: Name = request.user.parse().map_err(|error| refused(&error))?;
    chain
        .check_now((service.now_ms)())
        .and_then(|()| chain.check_name(&user))
        .map_err(|error| refused(&error))?;
    let users = service.users.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(revocations) = users.revocations_record() {
        revocations.check(&chain).map_err(|error| refused(&error))?;
    }
    let held = users.record(&user);
    let issuer = held.map(|held| held.chain().map(Chain::path).unwrap_or_default());
    // Somebody else's password would be guessed by it, and could not be set anyhow.
    if issuer.is_some_and(|issuer| !issuer.lies_within(&chain.path())) {
        let message = format!("user {user} belongs to the root or to another delegate");
        return Err(refused(&message));
    }
    drop(users);
    Ok((chain, user))
}

async fn answer(
    service: &LoginService,
    chain: &Chain,
    user: &Name,
    message: &[u8],
) -> Result<[u8; crate::opaque::REGISTRATION_RESPONSE_LENGTH], Status> {
    // Who delegates further gets no more by it.
    let first = chain.delegations().next().unwrap_or_else(|| chain.last());
    let delegate = first.key.key_id();
    service.throttle.begin_registration(&delegate, user).await?;
    let answered = service
        .secrets
        .answer_registration(&service.realm, user, message);
    answered.map_err(|error: OpaqueError| {
        Status::new(
            Code::InvalidArgument,
            Execution::Executed,
            error.to_string(),
        )
    })
}

fn event(
    service: &LoginService,
    peer: &Peer,
    request: &RegisterRequest,
    judged: &Result<(Chain, Name), Status>,
    refused: Option<&Status>,
) -> Event {
    let who = Who::Peer {
        key: peer.key_id(),
        origin: peer.origin().to_string(),
        user: None,
    };
    let subject = match (judged, &service.auditor) {
        (Ok((_, user)), _) => Subject::User(user.clone()),
        // Whatever it was, it may be a password in the wrong place.
        (Err(_), Some(auditor)) => auditor.unknown_name(request.user.as_bytes()),
        (Err(_), None) => Subject::Nothing,
    };
    let event = Event::done((service.now_ms)(), What::PasswordRegistered, who, subject);
    let by = judged.as_ref().map_or_else(
        |_| String::new(),
        |(chain, _)| format!("delegate {} ({})", chain.last().name, chain.path()),
    );
    match refused {
        Some(status) => event.refused().detail(match by.as_str() {
            "" => status.message().to_owned(),
            by => format!("{by}: {}", status.message()),
        }),
        None => event.detail(by),
    }
}

fn unaudited(refused: AuditRefused) -> Status {
    let code = match refused {
        AuditRefused::Busy => Code::ResourceExhausted,
        AuditRefused::NoRoom | AuditRefused::Failed => Code::Unavailable,
    };
    Status::new(code, Execution::NotStarted, refused.to_string())
}
