//! Sessions that ended themselves: taken at one node, told to the others, and learnt
//! from them by whoever was away.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use sealmoot_authn::audit::{Event, Place, Subject, What, Who};
use sealmoot_authn::ended::{ENDED_OF_NODE_MAX, Ended, EndedError};
use sealmoot_authn::parallel;
use sealmoot_authn::session::proto::{EndedRequest, SessionsClient, TakeEndedRequest};
use sealmoot_authn::statement::NODES_MAX;
use sealmoot_crypto::signature::KeyId;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{Code, Execution, Status};
use tracing::debug;

use super::audit::{NodeAudit, unavailable};
use super::authorizer::Trust;
use super::{Cluster, links};
use crate::record::Record;

/// Most ends in one message between nodes.
pub(super) const ENDED_A_PAGE: usize = 256;
/// Most pages of one peer in a row: as many as the fullest table has.
const PAGES_MAX: usize = NODES_MAX * ENDED_OF_NODE_MAX / ENDED_A_PAGE;
/// How long the other nodes may take to hold an end, while somebody waits who logs out.
const TELL_WITHIN: Duration = Duration::from_secs(2);
/// How long a peer may take for one page.
const LEARN_WITHIN: Duration = Duration::from_secs(5);

/// Believes the end of a session.
///
/// # Errors
/// A refusal, also of one that would be remembered for too long.
pub(super) fn believe(trust: &Trust, record: &[u8]) -> Result<Ended, Status> {
    let roster = trust.roster().ok_or_else(|| {
        let message = "the cluster has not formed yet";
        Status::new(Code::Unavailable, Execution::NotStarted, message)
    })?;
    let ended = Ended::decode(record, &roster).map_err(|error| refused(&error))?;
    match ended.check_now(trust.clock.now_ms()) {
        Err(error @ EndedError::TooLong) => Err(refused(&error)),
        // What is over already does no harm, and is not remembered.
        _ => Ok(ended),
    }
}

/// Makes the end of the session durable here and at the peers within reach, and goes by
/// it from then on; returns how many nodes hold it.
///
/// It counts here last: the answer has to get through to whoever logs out, whose
/// connection this very end closes.
///
/// # Errors
/// When it cannot be recorded or the disk fails.
pub(super) async fn end(
    cluster: &Cluster,
    trust: &Trust,
    audit: &NodeAudit,
    ended: Ended,
    who: Who,
) -> Result<usize, Status> {
    let place = audit
        .auditor
        .place()
        .map_err(|refused| unavailable(refused, Execution::NotStarted))?;
    let record = Bytes::copy_from_slice(ended.bytes());
    let kept = cluster.engine.append(vec![Record::Signed(record.to_vec())]);
    kept.await.map_err(|error| failed(&error))?;
    let held = 1 + tell(cluster, &record).await;
    let subject = Subject::User(ended.user().clone());
    let detail = format!("session {}, held by {held} nodes", ended.key());
    let event = Event::done(audit.now_ms(), What::SessionEnded, who, subject).detail(detail);
    let recorded = place.submit(event).durable().await;
    recorded.map_err(|refused| unavailable(refused, Execution::MaybeExecuted))?;
    // Nothing is waited for between this and the answer.
    change(trust, |users| users.ended_mut().apply(ended));
    Ok(held)
}

/// Tells all peers within reach; returns how many of them hold it.
async fn tell(cluster: &Cluster, record: &Bytes) -> usize {
    let telling: Vec<_> = (0..cluster.quorums.members())
        .filter_map(|member| cluster.links.connection(member).ok())
        .map(|peer| {
            let client = SessionsClient::new(peer.connection().clone());
            let request = TakeEndedRequest {
                records: vec![record.clone()],
            };
            tokio::spawn(async move { client.take_ended(request, TELL_WITHIN).await })
        })
        .collect();
    let mut held = 0;
    for told in telling {
        match told.await {
            Ok(Ok(_)) => held += 1,
            // It learns of it when it compares what it holds.
            Ok(Err(error)) => debug!(%error, "a peer does not hold the end of a session"),
            Err(error) => debug!(%error, "telling a peer of the end of a session failed"),
        }
    }
    held
}

/// Takes what a peer holds; returns how much of it was new. Durable when it returns.
///
/// # Errors
/// When one is not to be believed, cannot be recorded, or the disk fails.
pub(super) async fn take(
    cluster: &Cluster,
    trust: &Arc<Trust>,
    audit: &NodeAudit,
    records: Vec<Bytes>,
) -> Result<u32, Status> {
    if records.is_empty() {
        return Ok(0);
    }
    if records.len() > ENDED_A_PAGE {
        let message = "more ends of sessions than fit one message";
        return Err(Status::new(
            Code::InvalidArgument,
            Execution::NotStarted,
            message,
        ));
    }
    let believing = Arc::clone(trust);
    let verify = move || parallel::try_map(&records, |record| believe(&believing, record));
    let believed = tokio::task::spawn_blocking(verify).await;
    let believed = believed.map_err(|error| failed(&error))??;
    let places: Vec<Place> = believed
        .iter()
        .map(|_| audit.auditor.place())
        .collect::<Result<_, _>>()
        .map_err(|refused| unavailable(refused, Execution::NotStarted))?;
    let now_ms = trust.clock.now_ms();
    let newer: Vec<Ended> = change(trust, |users| {
        let still = believed
            .into_iter()
            .filter(|ended| ended.check_now(now_ms).is_ok());
        still
            .filter(|ended| users.ended_mut().apply(ended.clone()))
            .collect()
    });
    let kept = newer.iter().map(|ended| ended.bytes().to_vec());
    let kept = cluster.engine.append(kept.map(Record::Signed).collect());
    kept.await.map_err(|error| failed(&error))?;
    trust.cut_ended();
    for (place, ended) in places.into_iter().zip(&newer) {
        let subject = Subject::User(ended.user().clone());
        let event = Event::done(audit.now_ms(), What::SessionEnded, Who::Node, subject);
        let detail = format!("session {}", ended.key());
        let recorded = place.submit(event.detail(detail)).durable().await;
        recorded.map_err(|refused| unavailable(refused, Execution::MaybeExecuted))?;
    }
    Ok(u32::try_from(newer.len()).unwrap_or(u32::MAX))
}

/// Learns from a peer which sessions ended that hold here; returns how many they were.
///
/// # Errors
/// As [`take`], and when the peer does not answer.
pub(super) async fn learn_from(
    peer: &links::Peer,
    cluster: &Cluster,
    trust: &Arc<Trust>,
    audit: &NodeAudit,
) -> Result<u32, Status> {
    let client = SessionsClient::new(peer.connection().clone());
    let (digest, buckets) = {
        let users = trust.users.read().unwrap_or_else(PoisonError::into_inner);
        (users.ended().digest(), users.ended().digests())
    };
    let mut request = EndedRequest {
        digest: Bytes::copy_from_slice(&digest),
        ..EndedRequest::default()
    };
    if !client.ended(request.clone(), LEARN_WITHIN).await?.differs {
        return Ok(0);
    }
    request.buckets = buckets.into();
    let mut taken = 0;
    for _ in 0..PAGES_MAX {
        let reply = client.ended(request.clone(), LEARN_WITHIN).await?;
        let last = match reply.records.last() {
            Some(last) if reply.more => Some(believe(trust, last)?),
            _ => None,
        };
        taken += take(cluster, trust, audit, reply.records).await?;
        match last {
            Some(last) if request.after < last.key().as_bytes()[..] => {
                request.after = Bytes::copy_from_slice(last.key().as_bytes());
            }
            _ => break,
        }
    }
    Ok(taken)
}

/// One page of what this node holds and the asker does not, and whether there is more.
///
/// # Errors
/// When the request is malformed.
pub(super) fn page(trust: &Trust, request: &EndedRequest) -> Result<(Vec<Bytes>, bool), Status> {
    let malformed = |what| Status::new(Code::InvalidArgument, Execution::NotStarted, what);
    let after = match &*request.after {
        [] => None,
        bytes => {
            let bytes = <[u8; 32]>::try_from(bytes);
            Some(KeyId::from_bytes(
                bytes.map_err(|_| malformed("after is no key id"))?,
            ))
        }
    };
    let users = trust.users.read().unwrap_or_else(PoisonError::into_inner);
    let mut differing = users
        .ended()
        .differing(&request.buckets, after.as_ref())
        .ok_or_else(|| malformed("buckets are not as many digests as there are buckets"))?;
    let records = differing.by_ref().take(ENDED_A_PAGE);
    let records = records.map(|ended| Bytes::copy_from_slice(ended.bytes()));
    let records: Vec<Bytes> = records.collect();
    let more = differing.next().is_some();
    Ok((records, more))
}

/// Forgets what can concern no session any more.
pub(super) fn forget_past(trust: &Trust) {
    let now_ms = trust.clock.now_ms();
    let users = trust.users.read().unwrap_or_else(PoisonError::into_inner);
    let has_past = users.ended().has_past(now_ms);
    drop(users);
    if has_past {
        change(trust, |users| users.ended_mut().forget_past(now_ms));
    }
}

fn change<R>(
    trust: &Trust,
    change: impl FnOnce(&mut sealmoot_authn::users::UserDirectory) -> R,
) -> R {
    let mut users = trust.users.write().unwrap_or_else(PoisonError::into_inner);
    change(&mut users)
}

fn refused(error: &EndedError) -> Status {
    Status::new(
        Code::PermissionDenied,
        Execution::NotStarted,
        error.to_string(),
    )
}

fn failed(error: &impl std::fmt::Display) -> Status {
    Status::new(
        Code::Unavailable,
        Execution::MaybeExecuted,
        error.to_string(),
    )
}
