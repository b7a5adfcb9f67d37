//! Logging in: a password, a pinned realm, and a context at the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sealmoot_authn::cli::{Code, Failure};
use sealmoot_authn::login;
use sealmoot_authn::name::Name;
use sealmoot_authn::pin::{RealmPin, TrustedNode};
use sealmoot_authn::presentation::Presentation;
use sealmoot_authn::realm_id::RealmId;
use sealmoot_crypto::secret::SecretBytes;
use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::{Code as StatusCode, ConnectError, Connection, Connector};

use super::context::Context;
use super::failures;

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
    /// The password.
    pub password: SecretBytes,
    /// How long it may take.
    pub timeout: Duration,
}

/// Logs in with a fresh key, which from then on speaks for the user.
///
/// # Errors
/// A [`Failure`]. Wrong password, unknown and disabled user are one and the same.
pub async fn log_in(request: &LoginRequest, now_ms: u64) -> Result<Context, Failure> {
    let key = SigningKey::generate().map_err(Failure::internal)?;
    let pin = Arc::new(RealmPin::new(request.realm, &Presentation::Anonymous));
    let connector = Connector::new(&key, pin, super::limits()).map_err(Failure::internal)?;
    let connection = connect(&connector, request).await?;
    let node = connection
        .peer()
        .claims::<TrustedNode>()
        .cloned()
        .ok_or_else(|| Failure::internal("the node was not judged"))?;
    // A name that cannot exist is refused like one that does not, but only after
    // the node's identity is known and without asking it.
    let user: Name = request.user.parse().map_err(|_| refused())?;
    let root = node.roster.root();
    let deadline = Instant::now() + request.timeout;
    let proof = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let session_key = key.verifying_key();
        let password = &request.password;
        let outcome = login::log_in(
            &connection,
            root,
            &user,
            password,
            &session_key,
            now_ms,
            left,
        )
        .await;
        match outcome {
            Ok(proof) => break proof,
            // Too many at once: it was not begun, so it can be asked again.
            Err(login::LoginError::Status(status))
                if status.code() == StatusCode::ResourceExhausted && left > BUSY_PAUSE =>
            {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            Err(error) => return Err(login_failure(error)),
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
        proof,
        addresses,
    })
}

/// Connects; waits for a cluster that is just forming.
async fn connect(connector: &Connector, request: &LoginRequest) -> Result<Connection, Failure> {
    let deadline = Instant::now() + request.timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match connector.connect(&request.address, left).await {
            Ok(connection) => return Ok(connection),
            Err(ConnectError::Untrusted(refusal))
                if refusal.code == StatusCode::Unavailable && left > FORMING_PAUSE =>
            {
                tokio::time::sleep(FORMING_PAUSE).await;
            }
            Err(error) => return Err(connect_failure(&request.address, &error)),
        }
    }
}

fn refused() -> Failure {
    Failure::new(Code::Unauthenticated, "wrong user or password")
        .hint("an administrator sets a new password with: authctl user passwd USER")
}

fn connect_failure(address: &str, error: &ConnectError) -> Failure {
    failures::final_connect_failure(address, error).unwrap_or_else(|| {
        let code = match error {
            ConnectError::Untrusted(refusal) if refusal.code == StatusCode::Unauthenticated => {
                Code::Unauthenticated
            }
            ConnectError::Untrusted(_) => Code::NotInitialised,
            ConnectError::TimedOut { .. } => Code::Timeout,
            _ => Code::Unreachable,
        };
        Failure::new(code, format!("{address}: {}", error.cause()))
            .nodes(vec![failures::unreachable(address, error)])
    })
}

fn login_failure(error: login::LoginError) -> Failure {
    match error {
        login::LoginError::Status(status) => match status.code() {
            StatusCode::Unauthenticated => refused(),
            StatusCode::ResourceExhausted => Failure::new(Code::Busy, status.message().to_owned()),
            StatusCode::DeadlineExceeded => Failure::new(Code::Timeout, "the node did not answer"),
            _ => Failure::new(Code::Unreachable, status.message().to_owned()),
        },
        error @ login::LoginError::BadAnswer(_) => Failure::new(Code::Unauthenticated, error)
            .hint("the node may be compromised; log in at another one"),
    }
}
