//! The node's side of a login by key.

use std::sync::PoisonError;

use sealmoot_crypto::random;
use sealmoot_crypto::signature::{KeyId, Signature, VerifyingKey};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{Code, Execution, Peer, Replies, Requests, Status};
use tokio::time::timeout;

use super::{CHALLENGE_DOMAIN, CHALLENGE_LIFETIME_MS, PROOF_DOMAIN, Transcript};
use crate::audit::Attempt;
use crate::login::PROOF_WITHIN;
use crate::login::service::{LoginService, granted_lifetime_ms};
use crate::name::Name;
use crate::proto::prove_key_reply::Step as ReplyStep;
use crate::proto::prove_key_request::Step as RequestStep;
use crate::proto::{
    ProveKeyChallenge, ProveKeyOutcome, ProveKeyProof, ProveKeyReply, ProveKeyRequest,
    ProveKeyStart,
};
use crate::statement::{Receipt, Verified};

/// A challenge that waits for its proof. It is used up by the one proof that is
/// judged, and ends with the call.
pub(super) struct Pending {
    transcript: Transcript,
    node_signature: Signature,
    session_key: VerifyingKey,
}

/// Answers one call of `Login.ProveKey`.
pub(in crate::login) async fn serve(
    service: &LoginService,
    peer: &Peer,
    now_ms: fn() -> u64,
    mut requests: Requests<ProveKeyRequest>,
    mut replies: Replies<ProveKeyReply>,
) -> Result<(), Status> {
    let mut attempt = Attempt::begin(service.auditor.as_ref(), peer, now_ms)?;
    match judge(
        service,
        peer,
        now_ms,
        (&mut requests, &mut replies),
        &mut attempt,
    )
    .await
    {
        Ok(outcome) => {
            // On the disk before the receipt leaves.
            attempt.succeeded().await?;
            send(&mut replies, ReplyStep::Outcome(outcome)).await
        }
        Err(status) => {
            attempt.refused().await?;
            Err(status)
        }
    }
}

/// All steps but the last message.
async fn judge(
    service: &LoginService,
    peer: &Peer,
    now_ms: fn() -> u64,
    (requests, replies): (&mut Requests<ProveKeyRequest>, &mut Replies<ProveKeyReply>),
    attempt: &mut Attempt,
) -> Result<ProveKeyOutcome, Status> {
    let Some(RequestStep::Start(start)) = next(requests).await? else {
        return Err(refused());
    };
    let (pending, challenge) = service.key_challenge(peer, &start, now_ms())?;
    send(replies, ReplyStep::Challenge(challenge)).await?;
    let Some(RequestStep::Proof(proof)) = next(requests).await? else {
        return Err(refused());
    };
    // Not looked up before the proof: the challenge must not tell who exists.
    attempt.named(&start.user, service.known(&start.user));
    service.key_outcome(pending, &proof, now_ms())
}

impl LoginService {
    /// Challenges whoever asks. Users and keys are not looked at before the proof, so
    /// the challenge cannot tell who exists.
    pub(super) fn key_challenge(
        &self,
        peer: &Peer,
        start: &ProveKeyStart,
        now_ms: u64,
    ) -> Result<(Pending, ProveKeyChallenge), Status> {
        // What has not the form of a name or of an id is nobody's, as everybody can
        // see.
        let user: Name = start.user.parse().map_err(|_| refused())?;
        let key = <[u8; 32]>::try_from(&*start.key).map_err(|_| refused())?;
        let transcript = Transcript {
            realm: self.realm,
            node: self.node_key.verifying_key().key_id(),
            channel: *peer.binding(),
            session: peer.key_id(),
            user,
            key: KeyId::from_bytes(key),
            lifetime_ms: start.lifetime_ms,
            client_nonce: (&*start.nonce).try_into().map_err(|_| refused())?,
            node_nonce: random::array().map_err(|_| no_randomness())?,
            expires_ms: now_ms.saturating_add(CHALLENGE_LIFETIME_MS),
        };
        let node_signature = self
            .node_key
            .sign(CHALLENGE_DOMAIN, &transcript.challenge());
        let challenge = ProveKeyChallenge {
            nonce: Bytes::copy_from_slice(&transcript.node_nonce),
            expires_ms: transcript.expires_ms,
            signature: Bytes::copy_from_slice(&node_signature.to_bytes()),
        };
        let pending = Pending {
            transcript,
            node_signature,
            session_key: *peer.key(),
        };
        Ok((pending, challenge))
    }

    /// Judges the proof, by the record as it is now.
    pub(super) fn key_outcome(
        &self,
        pending: Pending,
        proof: &ProveKeyProof,
        now_ms: u64,
    ) -> Result<ProveKeyOutcome, Status> {
        let Pending {
            transcript,
            node_signature,
            session_key,
        } = pending;
        let signature = <[u8; 64]>::try_from(&*proof.signature).map_err(|_| refused())?;
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        let found = users.active(&transcript.user, now_ms).and_then(|record| {
            let mut keys = record.user().keys.iter();
            let key = keys.find(|enrolled| enrolled.key.key_id() == transcript.key)?;
            key.holds_at(now_ms).then_some((record, key))
        });
        // Where there is no key to judge by, the work is the same with one that never
        // signs in this domain.
        let key = found.map_or_else(|| self.node_key.verifying_key(), |(_, found)| found.key);
        let proved = key
            .verify(
                PROOF_DOMAIN,
                &transcript.proof(&node_signature),
                &Signature::from_bytes(signature),
            )
            .is_ok();
        let in_time = now_ms < transcript.expires_ms;
        let (record, enrolled) = found.filter(|_| proved && in_time).ok_or_else(refused)?;
        let granted_ms = granted_lifetime_ms(transcript.lifetime_ms);
        let receipt = Receipt {
            user: transcript.user,
            user_key: enrolled.key,
            session_key,
            expires_ms: enrolled.bound(now_ms.saturating_add(granted_ms)),
        };
        let receipt = Verified::issue(&self.realm, &self.node_key, now_ms, receipt);
        Ok(ProveKeyOutcome {
            receipt: Bytes::copy_from_slice(receipt.bytes()),
            user: record.user_proof().into(),
        })
    }
}

/// The next message of the client. One that does not decode or does not come ends
/// like a wrong key.
async fn next(requests: &mut Requests<ProveKeyRequest>) -> Result<Option<RequestStep>, Status> {
    match timeout(PROOF_WITHIN, requests.next()).await {
        Ok(Ok(request)) => Ok(request.and_then(|request| request.step)),
        Ok(Err(_)) | Err(_) => Err(refused()),
    }
}

async fn send(replies: &mut Replies<ProveKeyReply>, step: ReplyStep) -> Result<(), Status> {
    replies.send(&ProveKeyReply { step: Some(step) }).await
}

/// All that a client is told, whatever was wrong.
fn refused() -> Status {
    Status::new(
        Code::Unauthenticated,
        Execution::Executed,
        "wrong user or key",
    )
}

fn no_randomness() -> Status {
    Status::new(
        Code::Internal,
        Execution::Executed,
        "the random source failed",
    )
}
