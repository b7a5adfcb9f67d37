//! The node's side of a login.

use std::hint::black_box;
use std::sync::{Arc, PoisonError};

use sealmoot_crypto::signature::{SigningKey, VerifyingKey};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{CallContext, Code, Execution, Peer, Replies, Requests, Status};
use tokio::time::timeout;

use super::decoys::Decoys;
use super::{LOGIN_WITHIN, PROOF_WITHIN, SharedUsers, key, register, second_factor};
use crate::audit::{Attempt, Auditor};
use crate::name::Name;
use crate::opaque::{
    KE2_LENGTH, LoginContext, LoginSecrets, OpaqueError, PasswordFile, ServerLogin, Stretching,
};
use crate::proto::log_in_reply::Step as ReplyStep;
use crate::proto::log_in_request::Step as RequestStep;
use crate::proto::{
    LogInAgain, LogInChallenge, LogInOutcome, LogInProof, LogInReply, LogInRequest, LogInStart,
    Login, ProveKeyReply, ProveKeyRequest, RegisterReply, RegisterRequest,
};
use crate::realm_id::RealmId;
use crate::roots::Roots;
use crate::second_factor::SealedSecondFactor;
use crate::session::{LIFETIME_MS_MAX, SESSION_LIFETIME_MS};
use crate::statement::{CredentialId, Receipt, Verified};
use crate::throttle::{Begun, LoginThrottle};

/// The login service of a node.
pub struct LoginService {
    pub(super) realm: RealmId,
    pub(super) node_key: Arc<SigningKey>,
    pub(super) users: SharedUsers,
    pub(super) secrets: Arc<LoginSecrets>,
    pub(super) throttle: Arc<LoginThrottle>,
    decoys: Decoys,
    pub(super) now_ms: fn() -> u64,
    pub(super) auditor: Option<Auditor>,
    /// The realm's roots, where delegates may have passwords registered.
    pub(super) roots: Option<Roots>,
}

/// A login that waits for its proof.
pub(super) struct Pending {
    server: ServerLogin,
    user: Name,
    /// The user's key when the login began; none for a user who could not log in.
    user_key: Option<VerifyingKey>,
    session_key: VerifyingKey,
    lifetime_ms: u64,
    /// How the client was told to stretch, when it has to begin anew for that.
    anew: Option<Stretching>,
}

/// A login whose password was proved.
pub(super) struct Proved {
    pub(super) user: Name,
    user_key: Option<VerifyingKey>,
    session_key: VerifyingKey,
    lifetime_ms: u64,
}

/// What becomes of a login whose password was proved.
pub(super) enum Judged {
    /// All that was asked for is proved.
    Outcome(LogInOutcome),
    /// The user has a second factor, and no code of it was given.
    CodeNeeded(Box<SealedSecondFactor>),
    /// A role of the user needs a second factor, and the user has none.
    NotEnrolled(Name),
}

/// What is known of a user before the password is proved.
struct Found {
    /// The user's key; none for a user who cannot log in.
    user_key: Option<VerifyingKey>,
    stretching: Stretching,
    /// The user's, or the decoy.
    file: PasswordFile,
}

impl LoginService {
    /// The service of the node with `node_key`, which answers with the realm's login
    /// secrets as often as `throttle` admits.
    #[must_use]
    pub fn new(
        realm: RealmId,
        node_key: Arc<SigningKey>,
        users: SharedUsers,
        secrets: Arc<LoginSecrets>,
        throttle: Arc<LoginThrottle>,
        now_ms: fn() -> u64,
    ) -> Self {
        Self {
            realm,
            node_key,
            users,
            decoys: Decoys::new(&secrets),
            secrets,
            throttle,
            now_ms,
            auditor: None,
            roots: None,
        }
    }

    /// The same, which registers passwords for delegates of these roots too, and of those that its users' directory has learnt since.
    #[must_use]
    pub fn registering_for_delegates_of(mut self, roots: Roots) -> Self {
        self.roots = Some(roots);
        self
    }

    /// The same, with every login recorded before it is answered.
    #[must_use]
    pub fn audited(mut self, auditor: Auditor) -> Self {
        self.auditor = Some(auditor);
        self
    }

    /// Answers the first message. What the login is bound to is what this node knows
    /// itself: its own key, the channel, and the key that the peer proved there.
    pub(super) fn challenge(
        &self,
        peer: &Peer,
        user: Name,
        start: &LogInStart,
    ) -> Result<(Pending, LogInChallenge), Status> {
        // Where the password was imported the client has to begin anew with its hash.
        // This answer is then to nothing: else a login would be two guesses.
        let found = self.find(&user, |stretching| !stretching.is_imported());
        let anew = found.stretching.is_imported();
        let (server, message) = self.answer(peer, &user, &found.file, &start.message)?;
        let pending = Pending {
            server,
            user,
            user_key: found.user_key,
            session_key: *peer.key(),
            lifetime_ms: granted_lifetime_ms(start.lifetime_ms),
            anew: anew.then_some(found.stretching),
        };
        Ok((pending, challenge(found.stretching, &message)))
    }

    /// Answers the start anew, which a login has once, and only where the first answer
    /// asked for it.
    pub(super) fn challenge_again(
        &self,
        peer: &Peer,
        pending: Pending,
        again: &LogInAgain,
    ) -> Result<(Pending, LogInChallenge), Status> {
        let stretching = pending.anew.ok_or_else(refused)?;
        // A user who was changed meanwhile is refused in the end, by the key.
        let found = self.find(&pending.user, |found| found == stretching);
        let (server, message) = self.answer(peer, &pending.user, &found.file, &again.message)?;
        let pending = Pending {
            server,
            anew: None,
            ..pending
        };
        Ok((pending, challenge(stretching, &message)))
    }

    /// Looks a user up. Users who cannot log in, and those for whose stretching it is
    /// not `wanted` now, have the decoy's file; who does not exist, or has no password,
    /// has a stretching that was made up, which is made up for all. One file is copied for whomever: all of it
    /// has to take as long.
    fn find(&self, user: &Name, wanted: impl Fn(Stretching) -> bool) -> Found {
        let place = self.decoys.place(user);
        let now_ms = (self.now_ms)();
        let (class, found) = {
            let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
            let own = users.record(user);
            // Who has no record is looked up in another's: to fetch a record from memory
            // takes half a microsecond.
            let found = own.or_else(|| users.stand_in(place)).and_then(|record| {
                let credential = record.credential()?.body();
                let active = record.user().enabled
                    && !record.user().deleted
                    && record.issuer_holds_at(now_ms);
                let user_key = active.then_some(credential.user_key);
                let file =
                    Some(&credential.password).filter(|_| active && wanted(credential.stretching));
                Some((user_key, credential.stretching, file))
            });
            let found = black_box(found).filter(|_| own.is_some());
            let (user_key, stretching, file) = match found {
                Some((user_key, stretching, file)) => (user_key, Some(stretching), file),
                None => (None, None, None),
            };
            let file = file.unwrap_or(self.decoys.file()).clone();
            (users.stretching_at(place), (user_key, stretching, file))
        };
        let made_up = self.decoys.stretching(user, class);
        let (user_key, stretching, file) = found;
        Found {
            user_key,
            stretching: stretching.unwrap_or(made_up),
            file,
        }
    }

    fn answer(
        &self,
        peer: &Peer,
        user: &Name,
        file: &PasswordFile,
        message: &[u8],
    ) -> Result<(ServerLogin, [u8; KE2_LENGTH]), Status> {
        let context = LoginContext {
            realm: self.realm,
            node: self.node_key.verifying_key().key_id(),
            channel: *peer.binding(),
            session: peer.key_id(),
            user: user.clone(),
        };
        ServerLogin::start(&self.secrets, Some(file), context, message)
            .map_err(|error| coarse(&error))
    }

    /// Judges the proof, for users who do not exist too.
    pub(super) fn proved(&self, pending: Pending, proof: &LogInProof) -> Result<Proved, Status> {
        let Pending {
            server,
            user,
            user_key,
            session_key,
            lifetime_ms,
            anew: _,
        } = pending;
        server
            .finish(&proof.message)
            .map_err(|error| coarse(&error))?;
        Ok(Proved {
            user,
            user_key,
            session_key,
            lifetime_ms,
        })
    }

    /// Whether what was proved is enough: the password, and a code of the enrolment
    /// `code` if there is one.
    pub(super) fn judge(
        &self,
        proved: &Proved,
        code: Option<CredentialId>,
        now_ms: u64,
    ) -> Result<Judged, Status> {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        // The user may have been disabled, or given another password, meanwhile.
        let record = users.active(&proved.user, now_ms).ok_or_else(refused)?;
        let credential = record
            .credential()
            .map(Verified::body)
            .filter(|credential| Some(credential.user_key) == proved.user_key)
            .ok_or_else(refused)?;
        // As it is now: an enrolment that came meanwhile counts, and one that went, too.
        match &record.user().second_factor {
            Some(factor) if code != Some(factor.id()) => {
                return Ok(Judged::CodeNeeded(factor.clone()));
            }
            Some(_) => {}
            None => {
                let roles = &record.user().roles;
                if let Some(role) = users.roles().second_factor_needed_by(roles) {
                    return Ok(Judged::NotEnrolled(role.clone()));
                }
            }
        }
        let receipt = Receipt {
            user: proved.user.clone(),
            user_key: credential.user_key,
            session_key: proved.session_key,
            expires_ms: now_ms.saturating_add(proved.lifetime_ms),
        };
        let receipt = Verified::issue(&self.realm, &self.node_key, now_ms, receipt);
        Ok(Judged::Outcome(LogInOutcome {
            receipt: Bytes::copy_from_slice(receipt.bytes()),
            user: record.user_proof().into(),
            sealed_key: Bytes::copy_from_slice(&credential.sealed_key),
            must_change: credential.must_change,
        }))
    }
}

impl Login for LoginService {
    async fn log_in(
        &self,
        context: CallContext,
        mut requests: Requests<LogInRequest>,
        mut replies: Replies<LogInReply>,
    ) -> Result<(), Status> {
        let mut attempt = Attempt::begin(self.auditor.as_ref(), context.peer(), self.now_ms)?;
        match self
            .steps(&context, &mut requests, &mut replies, &mut attempt)
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

    async fn prove_key(
        &self,
        context: CallContext,
        requests: Requests<ProveKeyRequest>,
        replies: Replies<ProveKeyReply>,
    ) -> Result<(), Status> {
        key::serve(self, context.peer(), self.now_ms, requests, replies).await
    }

    async fn register(
        &self,
        context: CallContext,
        request: RegisterRequest,
    ) -> Result<RegisterReply, Status> {
        register::serve(self, context.peer(), &request).await
    }
}

impl LoginService {
    /// All steps but the last message.
    async fn steps(
        &self,
        context: &CallContext,
        requests: &mut Requests<LogInRequest>,
        replies: &mut Replies<LogInReply>,
        attempt: &mut Attempt,
    ) -> Result<LogInOutcome, Status> {
        let password = self.password(context, requests, replies, attempt);
        // Before the password is proved nobody may take as long as for a code.
        let (proved, mut begun) = timeout(LOGIN_WITHIN, password)
            .await
            .map_err(|_| refused())??;
        let outcome = match self.judge(&proved, None, (self.now_ms)())? {
            Judged::Outcome(outcome) => outcome,
            Judged::NotEnrolled(role) => {
                let status = second_factor::not_enrolled(&role);
                attempt.because(status.message());
                return Err(status);
            }
            Judged::CodeNeeded(factor) => {
                attempt.because("the password was proved, and no code that counts came");
                let code = self.codes(&factor, &proved, &mut begun, requests, replies, attempt);
                let code = code.await?;
                match self.judge(&proved, Some(code), (self.now_ms)())? {
                    Judged::Outcome(outcome) => outcome,
                    // The user was enrolled anew meanwhile: this was not a code of it.
                    Judged::CodeNeeded(_) | Judged::NotEnrolled(_) => {
                        return Err(second_factor::refused());
                    }
                }
            }
        };
        // Only now: whoever knows the password has still to be kept from the codes.
        self.throttle.proved(begun).await;
        Ok(outcome)
    }

    /// The steps through which the password is proved.
    async fn password(
        &self,
        context: &CallContext,
        requests: &mut Requests<LogInRequest>,
        replies: &mut Replies<LogInReply>,
        attempt: &mut Attempt,
    ) -> Result<(Proved, Begun), Status> {
        let Some(RequestStep::Start(start)) = next(requests).await? else {
            return Err(refused());
        };
        attempt.named(&start.user, self.known(&start.user));
        // What is no name is nobody's, as everybody can see.
        let user: Name = start.user.parse().map_err(|_| refused())?;
        // Before any work and whoever the user is: with the challenge the client can
        // test a password, and need not tell. Once, because of the two challenges of a
        // login that begins anew nothing opens the first.
        let begun = self.throttle.begin(context.peer(), &user).await?;
        let (mut pending, challenge) = self.challenge(context.peer(), user, &start)?;
        send(replies, ReplyStep::Challenge(challenge)).await?;
        let mut step = next(requests).await?;
        if let Some(RequestStep::Again(again)) = &step {
            let challenge;
            (pending, challenge) = self.challenge_again(context.peer(), pending, again)?;
            send(replies, ReplyStep::Challenge(challenge)).await?;
            step = next(requests).await?;
        }
        let Some(RequestStep::Proof(proof)) = step else {
            return Err(refused());
        };
        Ok((self.proved(pending, &proof)?, begun))
    }

    /// The user of this name, disabled and deleted ones included.
    pub(super) fn known(&self, typed: &str) -> Option<Name> {
        let name: Name = typed.parse().ok()?;
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        users.record(&name).is_some().then_some(name)
    }
}

/// How long a session lasts for which `asked_ms` was asked.
pub(super) fn granted_lifetime_ms(asked_ms: u64) -> u64 {
    match asked_ms {
        0 => SESSION_LIFETIME_MS,
        asked => asked.min(LIFETIME_MS_MAX),
    }
}

fn challenge(stretching: Stretching, message: &[u8; KE2_LENGTH]) -> LogInChallenge {
    LogInChallenge {
        stretching: stretching.to_bytes().into(),
        message: Bytes::copy_from_slice(message),
    }
}

/// The next message of the client. One that does not decode ends like a wrong
/// password, and so does one that does not come.
async fn next(requests: &mut Requests<LogInRequest>) -> Result<Option<RequestStep>, Status> {
    match timeout(PROOF_WITHIN, requests.next()).await {
        Ok(Ok(request)) => Ok(request.and_then(|request| request.step)),
        Ok(Err(_)) | Err(_) => Err(refused()),
    }
}

pub(super) async fn send(replies: &mut Replies<LogInReply>, step: ReplyStep) -> Result<(), Status> {
    replies.send(&LogInReply { step: Some(step) }).await
}

/// All that a client is told, whatever was wrong.
fn refused() -> Status {
    Status::new(
        Code::Unauthenticated,
        Execution::Executed,
        "wrong user or password",
    )
}

fn coarse(error: &OpaqueError) -> Status {
    match error {
        // The machine's fault, and no matter of who exists.
        OpaqueError::Random(_) => Status::new(
            Code::Internal,
            Execution::Executed,
            "the random source failed",
        ),
        OpaqueError::Malformed
        | OpaqueError::Reflected
        | OpaqueError::Refused
        | OpaqueError::Stretching => refused(),
    }
}
