//! The client's side of a login by key.

use std::time::{Duration, Instant};

use sealmoot_crypto::random::{self, RandomError};
use sealmoot_crypto::signature::{Signature, VerifyingKey};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{Connection, ReplyStream, Status};

use super::{CHALLENGE_DOMAIN, NONCE_LENGTH, PROOF_DOMAIN, Transcript};
use crate::agent::AgentError;
use crate::client_key::ClientKey;
use crate::login::{SessionProof, WantedSession};
use crate::name::Name;
use crate::proto::prove_key_reply::Step as ReplyStep;
use crate::proto::prove_key_request::Step as RequestStep;
use crate::proto::{
    LoginClient, ProveKeyChallenge, ProveKeyOutcome, ProveKeyProof, ProveKeyReply, ProveKeyRequest,
    ProveKeyStart,
};
use crate::roots::Roots;
use crate::session::latest_end;
use crate::statement::{Body, Claim, Receipt, Session, Unsigned};
use crate::users::verify_user;

/// Why a login by key failed.
#[derive(Debug, thiserror::Error)]
pub enum KeyLoginError {
    /// The node refused, or could not be asked. Unknown user, disabled user, unknown
    /// and expired key are one and the same.
    #[error(transparent)]
    Status(#[from] Status),
    /// What the node answered is not what an honest node answers.
    #[error("the node's answer is not to be believed: {0}")]
    BadAnswer(String),
    /// The agent that holds the key did not sign.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Logs in over `connection`, whose client key is that of `session`, with a key that is
/// enrolled for `user`: from then on the session's speaks for the user, with the
/// rights of that key.
///
/// `key` signs twice, the proof and the session, within `timeout` as all the rest.
///
/// # Errors
/// [`KeyLoginError`].
pub async fn log_in_with_key(
    connection: &Connection,
    roots: &Roots,
    user: &Name,
    key: &ClientKey,
    session: impl Into<WantedSession>,
    now_ms: u64,
    timeout: Duration,
) -> Result<SessionProof, KeyLoginError> {
    let session = session.into();
    let deadline = Instant::now() + timeout;
    let left = || deadline.saturating_duration_since(Instant::now());
    let client = Client {
        roots: roots.clone(),
        node_key: *connection.peer().key(),
        transcript: Transcript {
            realm: roots.realm(),
            node: connection.peer().key_id(),
            channel: *connection.peer().binding(),
            session: session.key.key_id(),
            user: user.clone(),
            key: key.verifying_key().key_id(),
            lifetime_ms: 0,
            client_nonce: random::array()?,
            // Until the challenge comes.
            node_nonce: [0; NONCE_LENGTH],
            expires_ms: 0,
        },
        key: key.verifying_key(),
        session,
    };
    let login = LoginClient::new(connection.clone());
    let (mut requests, mut replies) = login.prove_key(timeout).await?;
    requests
        .send(&request(RequestStep::Start(client.start())))
        .await?;
    let ReplyStep::Challenge(challenge) = next(&mut replies).await? else {
        return Err(bad(&"no challenge came"));
    };
    let message = client.answer(&challenge)?;
    let signature = key.sign(PROOF_DOMAIN, &message, left()).await?;
    let proof = ProveKeyProof {
        signature: Bytes::copy_from_slice(&signature.to_bytes()),
    };
    requests.send(&request(RequestStep::Proof(proof))).await?;
    requests.finish();
    let ReplyStep::Outcome(outcome) = next(&mut replies).await? else {
        return Err(bad(&"no outcome came"));
    };
    let (session, expires_ms) = client.session(&outcome, now_ms)?;
    let signature = key.sign(Session::DOMAIN, session.bytes(), left()).await?;
    let session = session.attach(&signature).map_err(|error| bad(&error))?;
    Ok(SessionProof {
        session: session.bytes().to_vec(),
        receipt: outcome.receipt.to_vec(),
        expires_ms,
        must_change: false,
    })
}

/// What the client knows itself, and by which it judges what the node says.
pub(super) struct Client {
    pub(super) roots: Roots,
    pub(super) node_key: VerifyingKey,
    pub(super) transcript: Transcript,
    pub(super) key: VerifyingKey,
    pub(super) session: WantedSession,
}

impl Client {
    pub(super) fn start(&self) -> ProveKeyStart {
        ProveKeyStart {
            user: self.transcript.user.to_string(),
            key: Bytes::copy_from_slice(self.transcript.key.as_bytes()),
            nonce: Bytes::copy_from_slice(&self.transcript.client_nonce),
            lifetime_ms: self.transcript.lifetime_ms,
        }
    }

    /// What the key has to sign, when the node has proved itself over the same
    /// transcript. Nothing is signed for a node that has not.
    pub(super) fn answer(&self, challenge: &ProveKeyChallenge) -> Result<Vec<u8>, KeyLoginError> {
        let transcript = Transcript {
            node_nonce: (&*challenge.nonce)
                .try_into()
                .map_err(|_| bad(&"its nonce has another length"))?,
            expires_ms: challenge.expires_ms,
            ..self.transcript.clone()
        };
        let signature = <[u8; 64]>::try_from(&*challenge.signature)
            .map(Signature::from_bytes)
            .map_err(|_| bad(&"its signature has another length"))?;
        self.node_key
            .verify(CHALLENGE_DOMAIN, &transcript.challenge(), &signature)
            .map_err(|_| bad(&"its signature is not over this login"))?;
        Ok(transcript.proof(&signature))
    }

    /// The session that the key has to sign, and until when it will hold.
    pub(super) fn session(
        &self,
        outcome: &ProveKeyOutcome,
        now_ms: u64,
    ) -> Result<(Unsigned<Session>, u64), KeyLoginError> {
        let (realm, user) = (self.transcript.realm, &self.transcript.user);
        let statement = verify_user(&outcome.user, &self.roots).map_err(|error| bad(&error))?;
        let enrolled = Some(statement.body())
            .filter(|body| body.name == *user)
            .and_then(|body| body.enrolled_with(&self.key))
            .ok_or_else(|| bad(&"the user statement does not have the key"))?;
        let receipt = Claim::<Receipt>::decode(&outcome.receipt)
            .and_then(|claim| claim.verify(&realm, &self.node_key))
            .map_err(|error| bad(&error))?;
        let receipt = receipt.body();
        let of_this_login = receipt.user == *user
            && receipt.user_key == self.key
            && receipt.session_key == self.session.key;
        if !of_this_login {
            return Err(bad(&"the receipt is for another login"));
        }
        let expires_ms = enrolled.bound(receipt.expires_ms);
        if receipt.expires_ms > latest_end(now_ms) {
            return Err(bad(
                &"the session would last longer than any may, or a clock is wrong",
            ));
        }
        let session = Session {
            user: user.clone(),
            session_key: self.session.key,
            expires_ms,
            idle_ms: self.session.idle_ms,
        };
        let session = Unsigned::new(&realm, &self.key, now_ms, session);
        Ok((session, expires_ms))
    }
}

async fn next(replies: &mut ReplyStream<ProveKeyReply>) -> Result<ReplyStep, KeyLoginError> {
    replies
        .next()
        .await?
        .and_then(|reply| reply.step)
        .ok_or_else(|| bad(&"it ended before the login did"))
}

fn request(step: RequestStep) -> ProveKeyRequest {
    ProveKeyRequest { step: Some(step) }
}

fn bad(what: &dyn std::fmt::Display) -> KeyLoginError {
    KeyLoginError::BadAnswer(what.to_string())
}
