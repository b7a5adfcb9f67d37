//! Logging in: a password or a key, a pinned realm, and a context at the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sealmoot_authn::cli::{Code, Failure};
use sealmoot_authn::client_key::ClientKey;
use sealmoot_authn::login::{
    self, Claimant, CodeSource, KeyLoginError, LoginError, NoCodes, SessionProof, WantedSession,
};
use sealmoot_authn::name::Name;
use sealmoot_authn::pin::{RealmPin, TrustedNode};
use sealmoot_authn::presentation::Presentation;
use sealmoot_authn::realm_id::RealmId;
use sealmoot_authn::records::RevokedNodesRecord;
use sealmoot_authn::roots::Roots;
use sealmoot_crypto::secret::SecretBytes;
use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::details::RetryAfter;
use sealmoot_rpc::{Code as StatusCode, ConnectError, Connection, Connector, Execution, Status};

use super::Context;
use super::failures;
use crate::node::authorizer::{KEY_REVOKED, NODE_REVOKED};

/// How long is waited before a node whose cluster is forming is asked again.
const FORMING_PAUSE: Duration = Duration::from_millis(50);

/// How long is waited before a busy node is asked again.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// What it takes to log in.
pub struct LoginRequest {
    /// The pinned realm.
    pub realm: RealmId,
    /// Any node, `host:port`.
    pub address: String,
    /// The user, valid as a name or not.
    pub user: String,
    /// What proves that it is the user.
    pub credential: LoginCredential,
    /// The key of an earlier session of the same user, if there is one: it has proved
    /// this account's password, so that strangers who try to do not stand in the way.
    pub key: Option<SigningKey>,
    /// How long the session may go unused; none for as long as it lasts.
    pub idle: Option<Duration>,
    /// What is known of nodes that are believed no more.
    pub revoked_nodes: Option<RevokedNodesRecord>,
    /// What is known of the realm's roots.
    pub roots: Option<Roots>,
    /// How long it may take.
    pub timeout: Duration,
}

/// What proves that it is the user.
pub enum LoginCredential {
    /// The password.
    Password(SecretBytes),
    /// A key that is enrolled for the user.
    Key(ClientKey),
}

/// Logs in with the given session key, or a fresh one, which from then on speaks for
/// the user. A user who has a second factor is refused a login by password; see
/// [`log_in_with_codes`].
///
/// # Errors
/// A [`Failure`]. Wrong password, unknown and disabled user are one and the same.
pub async fn log_in(request: &LoginRequest, now_ms: u64) -> Result<Context, Failure> {
    log_in_with_codes(request, &mut NoCodes, now_ms).await
}

/// Logs in as [`log_in`] does, with codes of the user's second factor from `codes` if the
/// node asks for them behind the password. The time that `codes` takes does not count.
///
/// # Errors
/// A [`Failure`]; that of a code says that the password was right.
pub async fn log_in_with_codes(
    request: &LoginRequest,
    codes: &mut impl CodeSource,
    now_ms: u64,
) -> Result<Context, Failure> {
    let former = request.key.as_ref().map(SigningKey::to_seed);
    let former = former.map(|seed| SigningKey::from_seed(&seed));
    let pinned = || {
        let pin = RealmPin::new(request.realm, &Presentation::Anonymous);
        if let Some(record) = &request.revoked_nodes {
            pin.know(record.clone());
        }
        if let Some(roots) = &request.roots {
            pin.know_roots(roots)
                .map_err(|error| Failure::new(Code::Integrity, error))?;
        }
        Ok::<_, Failure>(Arc::new(pin))
    };
    let pin = pinned()?;
    let fresh = || connect_with_fresh_key(pin.clone(), &request.address, request.timeout);
    let (key, connection) = match former {
        Some(key) => match connect(&key, pin.clone(), &request.address, request.timeout).await? {
            Some(connection) => (key, connection),
            None => fresh().await?,
        },
        None => fresh().await?,
    };
    let node = connection
        .peer()
        .claims::<TrustedNode>()
        .cloned()
        .ok_or_else(|| Failure::internal("the node was not judged"))?;
    // A name that cannot exist is refused like one that does not, but only after
    // the node's identity is known and without asking it.
    let user: Name = request
        .user
        .parse()
        .map_err(|_| match &request.credential {
            LoginCredential::Password(_) => refused(),
            LoginCredential::Key(_) => refused_key(),
        })?;
    let roots = &node.roots;
    let deadline = Instant::now() + request.timeout;
    let proof = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let session = WantedSession {
            key: key.verifying_key(),
            idle_ms: request.idle.map_or(0, whole_ms),
        };
        let who = Claimant {
            roots,
            user: &user,
            session,
        };
        let proved = prove(&connection, who, &request.credential, codes, now_ms, left);
        match proved.await {
            Ok(proof) => break proof,
            // Too many at once, or too often: it was not begun, so it can be asked
            // again if there is time for it.
            Err(NotProved::Busy(wait, _)) if left > wait => tokio::time::sleep(wait).await,
            Err(NotProved::Busy(_, failure) | NotProved::Failed(failure)) => return Err(failure),
        }
    };
    if proof.expires_ms <= now_ms {
        return Err(Failure::new(
            Code::Unauthenticated,
            format!(
                "{} made a session that is over already: its clock and this machine's differ",
                node.member.name
            ),
        )
        .hint("set the clocks right, or log in at another node"));
    }
    let mut addresses: Vec<String> = node
        .roster
        .members()
        .iter()
        .map(|member| member.address.clone())
        .collect();
    // The node that answered goes first: it is the one known to work.
    addresses.sort_by_key(|address| *address != node.member.address);
    Ok(Context {
        realm: request.realm,
        realm_name: node.roster.realm_name().clone(),
        user,
        session_seed: key.to_seed(),
        key_until_ms: proof.expires_ms,
        proof,
        addresses,
        roots: Some(node.roots.clone()),
    })
}

/// Milliseconds, rounded up: a limit that was asked for is not none.
fn whole_ms(duration: Duration) -> u64 {
    let whole = duration.as_nanos().div_ceil(1_000_000);
    u64::try_from(whole).unwrap_or(u64::MAX)
}

/// Whether somebody answers who could log the user in, before a person is asked for a
/// password; waits for a cluster that is just forming.
///
/// # Errors
/// A [`Failure`], as [`log_in`] would.
pub async fn reach(
    realm: RealmId,
    roots: Option<&Roots>,
    address: &str,
    timeout: Duration,
) -> Result<(), Failure> {
    let pin = RealmPin::new(realm, &Presentation::Anonymous);
    if let Some(roots) = roots {
        pin.know_roots(roots)
            .map_err(|error| Failure::new(Code::Integrity, error))?;
    }
    let pin = Arc::new(pin);
    let (_, connection) = connect_with_fresh_key(pin, address, timeout).await?;
    connection.close();
    Ok(())
}

async fn connect_with_fresh_key(
    pin: Arc<RealmPin>,
    address: &str,
    timeout: Duration,
) -> Result<(SigningKey, Connection), Failure> {
    let key = SigningKey::generate().map_err(Failure::internal)?;
    let connection = connect(&key, pin, address, timeout).await?;
    let connection =
        connection.ok_or_else(|| Failure::internal("the node says that a new key was revoked"))?;
    Ok((key, connection))
}

/// Connects; waits for a cluster that is just forming. None when the sessions of the
/// key were revoked: another has to be taken.
async fn connect(
    key: &SigningKey,
    pin: Arc<RealmPin>,
    address: &str,
    timeout: Duration,
) -> Result<Option<Connection>, Failure> {
    let connector = Connector::new(key, pin, super::limits()).map_err(Failure::internal)?;
    let deadline = Instant::now() + timeout;
    let mut forming = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match connector.connect(address, left).await {
            Ok(connection) => return Ok(Some(connection)),
            Err(ConnectError::Refused(refusal)) if refusal.details == KEY_REVOKED => {
                return Ok(None);
            }
            Err(ConnectError::Untrusted(refusal))
                if refusal.code == StatusCode::Unavailable && left > FORMING_PAUSE =>
            {
                forming = Some(ConnectError::Untrusted(refusal));
                tokio::time::sleep(FORMING_PAUSE).await;
            }
            // While it was asked once more: what it said before tells more.
            Err(error @ ConnectError::TimedOut { .. }) => {
                return Err(connect_failure(address, forming.as_ref().unwrap_or(&error)));
            }
            Err(error) => return Err(connect_failure(address, &error)),
        }
    }
}

/// How long a throttled login has to wait; none when it is not that.
fn retry_after(status: &Status) -> Option<Duration> {
    let after = status.detail::<RetryAfter>()?.ok()?;
    Some(Duration::from_millis(after.milliseconds))
}

fn throttled(wait: Duration) -> Failure {
    let seconds = wait.as_secs().max(1);
    Failure::new(
        Code::Throttled,
        format!("too many attempts to log in; the next is admitted in {seconds} s"),
    )
    .hint(format!(
        "wait, or give it the time with --timeout {}s; kv help throttled",
        seconds.saturating_add(5)
    ))
}

/// Why nothing was proved.
enum NotProved {
    /// The node has too much to do, or was tried too often: it may be asked again
    /// after this time.
    Busy(Duration, Failure),
    Failed(Failure),
}

async fn prove(
    connection: &Connection,
    who: Claimant<'_>,
    credential: &LoginCredential,
    codes: &mut impl CodeSource,
    now_ms: u64,
    timeout: Duration,
) -> Result<SessionProof, NotProved> {
    match credential {
        LoginCredential::Password(password) => {
            login::log_in_with_codes(connection, who, password, codes, now_ms, timeout)
                .await
                .map_err(login_failure)
        }
        // Possession of a key is something else than a password to begin with.
        LoginCredential::Key(key) => login::log_in_with_key(
            connection,
            who.roots,
            who.user,
            key,
            who.session,
            now_ms,
            timeout,
        )
        .await
        .map_err(key_failure),
    }
}

fn refused() -> Failure {
    Failure::new(Code::Unauthenticated, "wrong user or password")
        .hint("an administrator sets a new password with: authctl user passwd USER")
}

fn refused_key() -> Failure {
    Failure::new(Code::Unauthenticated, "wrong user or key")
        .hint("an administrator enrols a key with: authctl cred issue USER --public-key FILE.pub")
}

fn connect_failure(address: &str, error: &ConnectError) -> Failure {
    failures::final_connect_failure(address, error).unwrap_or_else(|| {
        let mut node = failures::unreachable(address, error);
        if let ConnectError::Untrusted(refusal) | ConnectError::Refused(refusal) = error
            && refusal.details == NODE_REVOKED
        {
            let message = format!("{address}: {}", refusal.message);
            return Failure::new(Code::Unauthenticated, message)
                .hint("log in at another node")
                .nodes(vec![node]);
        }
        if let ConnectError::Untrusted(refusal) = error
            && refusal.code == StatusCode::Unavailable
        {
            node.cause = refusal.message.to_string();
            let message = format!("{address}: {}", refusal.message);
            return Failure::new(Code::NotInitialised, message)
                .hint(
                    "each of its nodes has to join: kvd join NAME.invite --data DIR; \
                     kvd status --data DIR says how one is",
                )
                .nodes(vec![node]);
        }
        let code = match error {
            ConnectError::Untrusted(refusal) if refusal.code == StatusCode::Unauthenticated => {
                Code::Unauthenticated
            }
            ConnectError::Untrusted(_) => Code::NotInitialised,
            ConnectError::TimedOut { .. } => Code::Timeout,
            _ => Code::Unreachable,
        };
        Failure::new(code, format!("{address}: {}", error.cause()))
            .hint("is a node running there (kvd status --data DIR)? Or name another one")
            .nodes(vec![node])
    })
}

fn login_failure(error: LoginError) -> NotProved {
    NotProved::Failed(match error {
        LoginError::Refused => refused(),
        LoginError::CodeNeeded => Failure::new(Code::Unauthenticated, error)
            .hint("give one with --code-file FILE, --code-fd FD or --code-stdin"),
        LoginError::CodeRefused => Failure::new(Code::Unauthenticated, error).hint(
            "a code counts once, and for a minute: wait for the next one, see whether the \
             clocks are right, or use a recovery code",
        ),
        LoginError::NotEnrolled(_) => Failure::new(Code::Unauthenticated, error)
            .hint("an administrator enrols one with: authctl cred issue USER --totp"),
        LoginError::Status(status) => return status_failure(&status, refused),
        error @ LoginError::BadAnswer(_) => not_believed(error),
        error @ (LoginError::OutOfMemory | LoginError::Random(_)) => Failure::internal(error),
    })
}

fn key_failure(error: KeyLoginError) -> NotProved {
    NotProved::Failed(match error {
        KeyLoginError::Status(status) => return status_failure(&status, refused_key),
        error @ KeyLoginError::BadAnswer(_) => not_believed(error),
        KeyLoginError::Agent(error) => error.into(),
        error @ KeyLoginError::Random(_) => Failure::internal(error),
    })
}

fn status_failure(status: &Status, refused: fn() -> Failure) -> NotProved {
    let message = status.message().to_owned();
    NotProved::Failed(match status.code() {
        StatusCode::Unauthenticated => refused(),
        StatusCode::ResourceExhausted => {
            return match retry_after(status) {
                Some(wait) => NotProved::Busy(wait, throttled(wait)),
                None => NotProved::Busy(BUSY_PAUSE, Failure::new(Code::Busy, message)),
            };
        }
        // A node whose cluster has just formed may not have all that a login takes yet.
        StatusCode::Unavailable if status.execution() == Execution::NotStarted => {
            let failure = Failure::new(Code::Unreachable, message);
            return NotProved::Busy(FORMING_PAUSE, failure);
        }
        StatusCode::DeadlineExceeded => Failure::new(Code::Timeout, "the node did not answer"),
        _ => Failure::new(Code::Unreachable, message),
    })
}

fn not_believed(error: impl std::fmt::Display) -> Failure {
    Failure::new(Code::Unauthenticated, error)
        .hint("the node may be compromised; log in at another one")
}
