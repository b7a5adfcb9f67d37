//! The client's side of a login.

use std::future::Future;
use std::time::Duration;

use sealmoot_crypto::random::RandomError;
use sealmoot_crypto::secret::SecretBytes;
use sealmoot_crypto::signature::VerifyingKey;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{Code, Connection, Execution, ReplyStream, RequestSink, Status};
use tokio::time::{Instant, timeout_at};

use super::code::{CodeAsked, CodeSource, NoCodes};
use super::{CODE_TRIES, CODES_WITHIN};
use crate::name::Name;
use crate::opaque::{ClientLogin, ExportKey, LoginContext, OpaqueError, Stretching};
use crate::proto::log_in_reply::Step as ReplyStep;
use crate::proto::log_in_request::Step as RequestStep;
use crate::proto::{
    LogInAgain, LogInCode, LogInOutcome, LogInProof, LogInReply, LogInRequest, LogInStart,
    LoginClient,
};
use crate::roots::Roots;
use crate::session;
use crate::statement::{Claim, Receipt, Session, Verified};
use crate::user_key;
use crate::users::verify_user;

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Wrong password, unknown or disabled user: the client noticed it, or the node
    /// would have.
    #[error("wrong user or password")]
    Refused,
    /// The password was right, and a code of the user's second factor is needed, which
    /// there was none of.
    #[error("the password was right; a code of the second factor is needed")]
    CodeNeeded,
    /// The password was right, and the code was not accepted: wrong, too old, or used
    /// before.
    #[error("the password was right; the code was not accepted")]
    CodeRefused,
    /// The password was right, but a role of the user needs a second factor, and none is
    /// enrolled.
    #[error("the password was right, but {0}")]
    NotEnrolled(String),
    /// The node refused, or could not be asked.
    #[error(transparent)]
    Status(#[from] Status),
    /// What the node answered is not what an honest node answers.
    #[error("the node's answer is not to be believed: {0}")]
    BadAnswer(String),
    /// The password could not be stretched on this machine.
    #[error("there is not enough memory to stretch the password")]
    OutOfMemory,
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// A session, as a client keeps it beside its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionProof {
    /// The session statement.
    pub session: Vec<u8>,
    /// The node's receipt.
    pub receipt: Vec<u8>,
    /// Until when they hold, in milliseconds since 1970.
    pub expires_ms: u64,
    /// Whether the node says that the password is to be changed. Nobody signed that: it
    /// is advice, and not kept.
    pub must_change: bool,
}

/// The session that a login is to make.
#[derive(Debug, Clone, Copy)]
pub struct WantedSession {
    /// The key that is to speak for the user: the client's in the channel.
    pub key: VerifyingKey,
    /// How long the session may go unused, in milliseconds; 0 without end.
    pub idle_ms: u64,
}

impl From<&VerifyingKey> for WantedSession {
    fn from(key: &VerifyingKey) -> Self {
        Self {
            key: *key,
            idle_ms: 0,
        }
    }
}

/// Logs in over `connection`, whose client key is that of `session`: from then on
/// that key speaks for the user. A user who has a second factor is refused; see
/// [`log_in_with_codes`].
///
/// # Errors
/// [`LoginError`].
pub async fn log_in(
    connection: &Connection,
    roots: &Roots,
    user: &Name,
    password: &SecretBytes,
    session: impl Into<WantedSession>,
    now_ms: u64,
    timeout: Duration,
) -> Result<SessionProof, LoginError> {
    let who = Claimant {
        roots,
        user,
        session: session.into(),
    };
    log_in_with_codes(connection, who, password, &mut NoCodes, now_ms, timeout).await
}

/// Who wants to log in, and with which key.
#[derive(Debug, Clone, Copy)]
pub struct Claimant<'a> {
    /// The realm's roots.
    pub roots: &'a Roots,
    /// The user.
    pub user: &'a Name,
    /// The session, of the client key of the connection.
    pub session: WantedSession,
}

/// Logs in as [`log_in`] does, and gives the node codes of the user's second factor from
/// `codes` if it asks for them.
///
/// The password does not leave this machine. Stretching it takes memory and time on a
/// thread of its own (see [`Stretching::DEFAULT`]). It is not broken off when `timeout`
/// ends, but what it was for is then: nothing follows it. The time that `codes` takes
/// does not count.
///
/// # Errors
/// [`LoginError`].
pub async fn log_in_with_codes(
    connection: &Connection,
    who: Claimant<'_>,
    password: &SecretBytes,
    codes: &mut impl CodeSource,
    now_ms: u64,
    timeout: Duration,
) -> Result<SessionProof, LoginError> {
    let Claimant {
        roots,
        user,
        session,
    } = who;
    let mut deadline = Instant::now() + timeout;
    let context = LoginContext {
        realm: roots.realm(),
        node: connection.peer().key_id(),
        channel: *connection.peer().binding(),
        session: session.key.key_id(),
        user: user.clone(),
    };
    // The call lasts longer than its steps may take, because of the codes.
    let client = LoginClient::new(connection.clone());
    let call = client.log_in(timeout.saturating_add(CODES_WITHIN));
    let (mut requests, mut replies) = within(deadline, call).await?;
    let password = prove_password(&mut requests, &mut replies, context, password);
    let export_key = match within(deadline, password).await {
        Err(LoginError::Refused) => {
            // The node cannot know that the password was wrong. To say so costs nothing,
            // and tells its audit log this login from one that was left by whoever
            // guesses.
            requests.finish();
            let _ = within(deadline, next(&mut replies)).await;
            return Err(LoginError::Refused);
        }
        proved => proved?,
    };
    let mut tries = 0;
    let outcome = loop {
        let code = match within(deadline, next(&mut replies)).await {
            Ok(ReplyStep::Outcome(outcome)) => break outcome,
            Ok(ReplyStep::CodeNeeded(needed)) => {
                // A node must not lead a person on to type one code after the other.
                if tries == CODE_TRIES {
                    return Err(bad(&"it asks for more codes than a login has"));
                }
                let asked = CodeAsked {
                    again: tries > 0,
                    tries_left: needed.tries_left.min(CODE_TRIES - tries),
                };
                tries += 1;
                let begun = Instant::now();
                let code = codes.code(asked).await;
                deadline += begun.elapsed();
                code.ok_or(match asked.again {
                    true => LoginError::CodeRefused,
                    false => LoginError::CodeNeeded,
                })?
            }
            Ok(ReplyStep::Challenge(_)) => return Err(bad(&"no outcome came")),
            Err(LoginError::Status(status)) => return Err(behind_the_password(status, tries)),
            Err(error) => return Err(error),
        };
        let step = RequestStep::Code(LogInCode {
            code: Bytes::copy_from_slice(code.expose()),
        });
        // One that the node takes no longer is answered by why it does not.
        let _ = within(deadline, requests.send(&request(step))).await;
    };
    requests.finish();
    let node = connection.peer().key();
    make_session(&outcome, roots, node, user, session, &export_key, now_ms)
}

/// The steps through which the password is proved.
async fn prove_password(
    requests: &mut RequestSink<LogInRequest>,
    replies: &mut ReplyStream<LogInReply>,
    context: LoginContext,
    password: &SecretBytes,
) -> Result<ExportKey, LoginError> {
    let (mut client, message) = ClientLogin::start(password.expose(), context.clone())?;
    let start = LogInStart {
        user: context.user.to_string(),
        message: Bytes::copy_from_slice(&message),
        lifetime_ms: 0,
    };
    requests.send(&request(RequestStep::Start(start))).await?;
    let (stretching, mut answer) = challenge(replies).await?;
    if stretching.is_imported() {
        // OPAQUE's password is the hash of the typed one, and only now it is known which.
        // The first answer was to the typed one, and nothing opens it.
        let typed = SecretBytes::new(password.expose().to_vec());
        let hash = move || stretching.password(typed.expose());
        let hash = tokio::task::spawn_blocking(hash)
            .await
            .map_err(|_| internal())??;
        let message;
        (client, message) = ClientLogin::start(hash.expose(), context)?;
        let again = LogInAgain {
            message: Bytes::copy_from_slice(&message),
        };
        requests.send(&request(RequestStep::Again(again))).await?;
        let same;
        (same, answer) = challenge(replies).await?;
        if same != stretching {
            return Err(bad(&"its second challenge is another"));
        }
    }
    let finish = move || client.finish(stretching, &answer);
    let finished = tokio::task::spawn_blocking(finish)
        .await
        .map_err(|_| internal())?;
    let (message, export_key, _) = finished?;
    let proof = LogInProof {
        message: Bytes::copy_from_slice(&message),
    };
    requests.send(&request(RequestStep::Proof(proof))).await?;
    Ok(export_key)
}

/// Opens the user's key and signs the session with it, after what the node says was
/// checked: what is signed here, other nodes believe.
pub(super) fn make_session(
    outcome: &LogInOutcome,
    roots: &Roots,
    node: &VerifyingKey,
    user: &Name,
    session: impl Into<WantedSession>,
    export_key: &ExportKey,
    now_ms: u64,
) -> Result<SessionProof, LoginError> {
    let WantedSession {
        key: session_key,
        idle_ms,
    } = session.into();
    let realm = roots.realm();
    let statement = verify_user(&outcome.user, roots).map_err(|error| bad(&error))?;
    if statement.body().name != *user {
        return Err(bad(&"it is the statement of another user"));
    }
    let user_key = statement
        .body()
        .user_key
        .ok_or_else(|| bad(&"the user has no password"))?;
    let receipt = Claim::<Receipt>::decode(&outcome.receipt)
        .and_then(|claim| claim.verify(&realm, node))
        .map_err(|error| bad(&error))?;
    let receipt = receipt.body();
    let same =
        receipt.user == *user && receipt.user_key == user_key && receipt.session_key == session_key;
    if !same {
        return Err(bad(&"the receipt is for somebody or something else"));
    }
    // A node must not talk a client into a session for ever.
    let expires_ms = receipt.expires_ms;
    if expires_ms > session::latest_end(now_ms) {
        return Err(bad(
            &"the session would last longer than any may, or a clock is wrong",
        ));
    }
    let signing_key = user_key::open(export_key, &realm, user, &outcome.sealed_key, &user_key)
        .ok_or_else(|| bad(&"the sealed key is not the user's"))?;
    let session = Session {
        user: user.clone(),
        session_key,
        expires_ms,
        idle_ms,
    };
    let session = Verified::issue(&realm, &signing_key, now_ms, session);
    Ok(SessionProof {
        session: session.bytes().to_vec(),
        receipt: outcome.receipt.to_vec(),
        expires_ms,
        must_change: outcome.must_change,
    })
}

impl From<OpaqueError> for LoginError {
    fn from(error: OpaqueError) -> Self {
        match error {
            OpaqueError::Refused => Self::Refused,
            OpaqueError::Malformed | OpaqueError::Reflected => bad(&error),
            OpaqueError::Stretching => Self::OutOfMemory,
            OpaqueError::Random(error) => Self::Random(error),
        }
    }
}

/// What a refusal means that comes behind the proof of the password.
fn behind_the_password(status: Status, tries: u32) -> LoginError {
    match status.code() {
        Code::Unauthenticated if tries > 0 => LoginError::CodeRefused,
        Code::FailedPrecondition => LoginError::NotEnrolled(status.message().to_owned()),
        _ => status.into(),
    }
}

/// What `step` comes to, if that is before the time is up.
async fn within<T, E: Into<LoginError>>(
    deadline: Instant,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, LoginError> {
    match timeout_at(deadline, step).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err(LoginError::Status(Status::new(
            Code::DeadlineExceeded,
            Execution::MaybeExecuted,
            "the node did not answer in time",
        ))),
    }
}

/// The next message of the node, which has to be a challenge.
async fn challenge(
    replies: &mut ReplyStream<LogInReply>,
) -> Result<(Stretching, Bytes), LoginError> {
    let ReplyStep::Challenge(challenge) = next(replies).await? else {
        return Err(bad(&"no challenge came"));
    };
    let stretching = Stretching::from_bytes(&challenge.stretching).map_err(|error| bad(&error))?;
    Ok((stretching, challenge.message))
}

async fn next(replies: &mut ReplyStream<LogInReply>) -> Result<ReplyStep, LoginError> {
    replies
        .next()
        .await?
        .and_then(|reply| reply.step)
        .ok_or_else(|| bad(&"it ended before the login did"))
}

fn request(step: RequestStep) -> LogInRequest {
    LogInRequest { step: Some(step) }
}

fn bad(what: &dyn std::fmt::Display) -> LoginError {
    LoginError::BadAnswer(what.to_string())
}

fn internal() -> Status {
    Status::new(
        Code::Internal,
        Execution::MaybeExecuted,
        "stretching the password failed",
    )
}
