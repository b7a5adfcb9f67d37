//! Logging in: a password becomes a receipt, and the user's own key a session.
//!
//! The node compares the password and issues a *receipt* for the key of the
//! channel. The client opens its user's key with the same password and signs a
//! *session* for that key. A reconnect shows both and costs no password work.
//!
//! A wrong password, an unknown user and a disabled user take the same path: one
//! Argon2id comparison, one message.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use sealmoot_crypto::passphrase_box;
use sealmoot_crypto::password::{Arena, Cost, PasswordError, PasswordRecord};
use sealmoot_crypto::secret::{SecretArray, SecretBytes};
use sealmoot_crypto::signature::{SigningKey, VerifyingKey};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{CallContext, Code, Connection, Execution, Status};
use tokio::sync::Semaphore;

use crate::name::Name;
use crate::proto::{LogInReply, LogInRequest, Login, LoginClient};
use crate::realm::{USER_KEY_CONTEXT, user_key_binding};
use crate::realm_id::RealmId;
use crate::session::SESSION_LIFETIME_MS;
use crate::statement::{Claim, Receipt, Session, User, Verified};
use crate::users::UserDirectory;

/// The users that a node knows, shared by its services.
pub type SharedUsers = Arc<RwLock<UserDirectory>>;

/// How many passwords a node compares at a time.
const COMPARISONS_AT_ONCE: usize = 2;
/// How many wait for their turn; more are told that the node is busy.
const COMPARISONS_WAITING_MAX: usize = 64;
/// Longest session that a client may ask for, in milliseconds.
const LIFETIME_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1000;

/// The login service of a node.
pub struct LoginService {
    realm: RealmId,
    node_key: Arc<SigningKey>,
    users: SharedUsers,
    turns: Arc<Semaphore>,
    /// One for each turn, so that memory does not depend on how many log in.
    arenas: Arc<Mutex<Vec<Arena>>>,
    waiting: Arc<Semaphore>,
    /// Compared when there is no such user, so that the work is the same.
    nobody: PasswordRecord,
    now_ms: fn() -> u64,
}

impl LoginService {
    /// The service of the node with `node_key`.
    ///
    /// # Errors
    /// When the random source fails.
    pub fn new(
        realm: RealmId,
        node_key: Arc<SigningKey>,
        users: SharedUsers,
        now_ms: fn() -> u64,
    ) -> Result<Self, PasswordError> {
        let unguessable = SecretArray::<32>::random()?;
        Ok(Self {
            realm,
            node_key,
            users,
            turns: Arc::new(Semaphore::new(COMPARISONS_AT_ONCE)),
            arenas: Arc::default(),
            waiting: Arc::new(Semaphore::new(COMPARISONS_WAITING_MAX)),
            nobody: PasswordRecord::hash(unguessable.expose(), Cost::OWASP)?,
            now_ms,
        })
    }

    async fn compare(&self, record: PasswordRecord, password: Bytes) -> Result<bool, Status> {
        let busy = || {
            Status::new(
                Code::ResourceExhausted,
                Execution::NotStarted,
                "too many logins at once",
            )
        };
        let _place = self.waiting.try_acquire().map_err(|_| busy())?;
        let turns = Arc::clone(&self.turns);
        let turn = turns.acquire_owned().await.map_err(|_| busy())?;
        // The permit moves into the work: a client that goes away must not make
        // room for more work than there is memory for.
        let arenas = Arc::clone(&self.arenas);
        tokio::task::spawn_blocking(move || {
            let take = || arenas.lock().unwrap_or_else(PoisonError::into_inner);
            let mut arena = take().pop().unwrap_or_default();
            let password = SecretBytes::new(password.to_vec());
            let matches = record
                .verify_in(password.expose(), &mut arena)
                .unwrap_or(false);
            // Before the turn ends, so that there are never more than turns.
            take().push(arena);
            drop(turn);
            matches
        })
        .await
        .map_err(|_| Status::new(Code::Internal, Execution::MaybeExecuted, "hashing failed"))
    }
}

impl Login for LoginService {
    async fn log_in(
        &self,
        context: CallContext,
        request: LogInRequest,
    ) -> Result<LogInReply, Status> {
        let record = request.user.parse::<Name>().ok().and_then(|name| {
            self.users
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .active(&name)
                .cloned()
        });
        let stored = record.as_ref().map_or_else(
            || self.nobody.clone(),
            |record| record.credential().body().password.clone(),
        );
        let matches = self.compare(stored, request.password).await?;
        let (Some(record), true) = (record, matches) else {
            return Err(refused());
        };
        let now_ms = (self.now_ms)();
        let lifetime_ms = match request.lifetime_ms {
            0 => SESSION_LIFETIME_MS,
            asked => asked.min(LIFETIME_MS_MAX),
        };
        let receipt = Receipt {
            user: record.user().name.clone(),
            user_key: record.user().user_key,
            session_key: *context.peer().key(),
            expires_ms: now_ms.saturating_add(lifetime_ms),
        };
        let receipt = Verified::issue(&self.realm, &self.node_key, now_ms, receipt);
        Ok(LogInReply {
            receipt: Bytes::copy_from_slice(receipt.bytes()),
            user: Bytes::copy_from_slice(record.user_statement().bytes()),
            sealed_key: Bytes::copy_from_slice(&record.credential().body().sealed_key),
        })
    }
}

fn refused() -> Status {
    Status::new(
        Code::Unauthenticated,
        Execution::Executed,
        "wrong user or password",
    )
}

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The node refused, or could not be asked.
    #[error(transparent)]
    Status(#[from] Status),
    /// What the node answered is not what an honest node answers.
    #[error("the node's answer is not to be believed: {0}")]
    BadAnswer(String),
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
}

/// Logs in over `connection`, whose client key is `session_key`: from then on
/// that key speaks for the user.
///
/// # Errors
/// [`LoginError`].
pub async fn log_in(
    connection: &Connection,
    root: &VerifyingKey,
    user: &Name,
    password: &SecretBytes,
    session_key: &VerifyingKey,
    now_ms: u64,
    timeout: Duration,
) -> Result<SessionProof, LoginError> {
    let request = LogInRequest {
        user: user.to_string(),
        password: Bytes::copy_from_slice(password.expose()),
        lifetime_ms: 0,
    };
    let reply = LoginClient::new(connection.clone())
        .log_in(request, timeout)
        .await?;

    let realm = RealmId::of(root);
    let bad = |what: &dyn std::fmt::Display| LoginError::BadAnswer(what.to_string());
    let user_key = Claim::<User>::decode(&reply.user)
        .and_then(|claim| claim.verify(&realm, root))
        .map_err(|error| bad(&error))?
        .body()
        .user_key;
    let receipt = Claim::<Receipt>::decode(&reply.receipt).map_err(|error| bad(&error))?;
    let expires_ms = receipt.claimed().expires_ms;
    let seed = passphrase_box::open(
        password.expose(),
        USER_KEY_CONTEXT,
        &user_key_binding(&realm, user),
        &reply.sealed_key,
    )
    .map_err(|error| bad(&error))?;
    let user_signing_key = SecretArray::from_slice(seed.expose())
        .map(|seed| SigningKey::from_seed(&seed))
        .filter(|key| key.verifying_key() == user_key)
        .ok_or_else(|| bad(&"the sealed key is not the user's"))?;
    let session = Session {
        user: user.clone(),
        session_key: *session_key,
        expires_ms,
    };
    let session = Verified::issue(&realm, &user_signing_key, now_ms, session);
    Ok(SessionProof {
        session: session.bytes().to_vec(),
        receipt: reply.receipt.to_vec(),
        expires_ms,
    })
}
