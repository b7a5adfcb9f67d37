//! The delegate's side of a registration.

use std::sync::Arc;
use std::time::Duration;

use sealmoot_crypto::random::RandomError;
use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::details::RetryAfter;
use sealmoot_rpc::{Code, Connector, Limits, Status};

use crate::cli::escaped;
use crate::fetch::Prover;
use crate::name::Name;
use crate::opaque::{
    ClientRegistration, ExportKey, OpaqueError, PasswordFile, REGISTRATION_REQUEST_LENGTH,
    Stretching,
};
use crate::pin::RealmPin;
use crate::presentation::Presentation;
use crate::proto::{LoginClient, RegisterRequest};
use crate::realm_id::RealmId;

/// How long one step with one node may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What comes of a registration: what a node will store, and what seals the user's key.
pub struct Registered {
    pub(crate) file: PasswordFile,
    pub(crate) export_key: ExportKey,
    pub(crate) stretching: Stretching,
}

/// Why a password was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// No node answered; of each address, why.
    #[error("no node answered that could register the password")]
    Unreachable(Vec<(String, String)>),
    /// A node refuses it.
    #[error("{0}")]
    Refused(String),
    /// Too many passwords were registered of late.
    #[error("too many passwords were registered; the next is admitted in {} s", .0.as_secs())]
    Throttled(Duration),
    /// What the node answered is no evaluation, or the password is too long.
    #[error(transparent)]
    Opaque(#[from] OpaqueError),
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Registers a password for `user` with the first node of `addresses` that answers. A
/// node that answers wrongly learns nothing of the password: nobody logs in with it then.
///
/// # Errors
/// [`RegisterError`].
pub async fn register_at(
    prover: &Prover,
    realm: RealmId,
    addresses: &[String],
    user: &Name,
    password: &[u8],
) -> Result<Registered, RegisterError> {
    let key = SigningKey::generate()?;
    let pin = RealmPin::new(realm, &Presentation::Anonymous);
    if let Err(error) = pin.know_roots(prover.roots()) {
        return Err(RegisterError::Refused(error.to_string()));
    }
    let pin = Arc::new(pin);
    let mut failures = Vec::new();
    let connector = match Connector::new(&key, pin, Limits::default()) {
        Ok(connector) => connector,
        Err(error) => {
            let failed = |address: &String| (address.clone(), error.to_string());
            return Err(RegisterError::Unreachable(
                addresses.iter().map(failed).collect(),
            ));
        }
    };
    let (client, message) = ClientRegistration::start(password)?;
    for address in addresses {
        match ask(&connector, prover, address, user, &message).await {
            Ok(answer) => {
                let stretching = Stretching::DEFAULT;
                let (file, export_key) = client.finish(&realm, user, stretching, &answer)?;
                return Ok(Registered {
                    file,
                    export_key,
                    stretching,
                });
            }
            Err(Unanswered::Final(error)) => return Err(error),
            Err(Unanswered::Failed(cause)) => failures.push((address.clone(), escaped(&cause))),
        }
    }
    Err(RegisterError::Unreachable(failures))
}

/// Why one node gave nothing.
enum Unanswered {
    /// No other will say otherwise.
    Final(RegisterError),
    Failed(String),
}

async fn ask(
    connector: &Connector,
    prover: &Prover,
    address: &str,
    user: &Name,
    message: &[u8; REGISTRATION_REQUEST_LENGTH],
) -> Result<Vec<u8>, Unanswered> {
    let connection = connector
        .connect(address, PATIENCE)
        .await
        .map_err(|error| Unanswered::Failed(error.cause()))?;
    let peer = connection.peer();
    let request = RegisterRequest {
        user: user.to_string(),
        message: message.to_vec().into(),
        proof: prover.prove(&peer.key_id(), peer.binding()).into(),
    };
    let reply = LoginClient::new(connection)
        .register(request, PATIENCE)
        .await;
    reply
        .map(|reply| reply.message.to_vec())
        .map_err(|status| judged(&status))
}

fn judged(status: &Status) -> Unanswered {
    let wait = status.detail::<RetryAfter>().and_then(Result::ok);
    match (status.code(), wait) {
        (Code::ResourceExhausted, Some(wait)) => Unanswered::Final(RegisterError::Throttled(
            Duration::from_millis(wait.milliseconds),
        )),
        (Code::PermissionDenied, _) => {
            Unanswered::Final(RegisterError::Refused(escaped(status.message())))
        }
        _ => Unanswered::Failed(status.message().to_owned()),
    }
}
