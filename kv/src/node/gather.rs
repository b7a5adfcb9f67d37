//! The shell around [`Gathering`]: asks the nodes of the call again and again
//! until the roster is whole.

use std::sync::PoisonError;
use std::time::Duration;

use sealmoot_authn::name::Name;
use sealmoot_authn::roster::Roster;
use sealmoot_crypto::signature::Signature;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{Code, ConnectError, Connector};
use tracing::debug;

use super::Shared;
use super::authorizer::{Claims, INVITE_INVALID, INVITE_USED};
use super::identity::IDENTITY_FILE;
use super::membership::{GatherError, Gathering};
use crate::disk::DirectoryDisk;
use crate::log::sealed_file::{self, SealedFileKey, SealedFileWriteError};
use crate::proto::{Countersignature, EnrolmentClient, Gathered};

const ROUND_EVERY: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(1);

/// Why the nodes of a call do not form a cluster.
#[derive(Debug, thiserror::Error)]
pub enum GatherFailure {
    /// Two machines hold the same invite.
    #[error("{0}")]
    Used(String),
    /// The invite is of another realm or call than the nodes at its addresses.
    #[error("{0}")]
    Invalid(String),
    /// The invite's time ran out before all nodes had come.
    #[error("the invite expired before all nodes of the call had enrolled")]
    Expired,
    /// What is countersigned could not be made durable.
    #[error(transparent)]
    Disk(#[from] SealedFileWriteError),
}

/// How far a cluster is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// How many nodes of the call have enrolled.
    pub enrolled: usize,
    /// How many there are.
    pub total: usize,
    /// The names of those that have not.
    pub missing: Vec<String>,
}

impl Shared {
    /// Takes what a peer has gathered.
    ///
    /// # Errors
    /// [`GatherError`]; a second key for a name also stops this node's own
    /// gathering.
    pub(super) fn learn(&self, told: &Gathered) -> Result<(), GatherError> {
        let identity = &self.trust.identity;
        let mut gathering = self.lock();
        for bytes in &told.enrolments {
            match gathering.add_enrolment(identity, bytes) {
                Ok(true) => self.news.send_modify(|count| *count += 1),
                Ok(false) => {}
                Err(error) => {
                    if self.trust.roster().is_none()
                        && matches!(error, GatherError::SecondKey { .. })
                    {
                        self.refused.send_replace(Some(error.clone()));
                    }
                    return Err(error);
                }
            }
        }
        for told in &told.countersignatures {
            let (Ok(name), Ok(bytes)) = (told.name.parse(), <[u8; 64]>::try_from(&*told.signature))
            else {
                continue;
            };
            if gathering.add_countersignature(&name, Signature::from_bytes(bytes)) {
                self.news.send_modify(|count| *count += 1);
            }
        }
        *self
            .trust
            .enrolled
            .write()
            .unwrap_or_else(PoisonError::into_inner) = gathering.enrolments().cloned().collect();
        Ok(())
    }

    /// What this node has gathered.
    pub(super) fn tell(&self) -> Gathered {
        let gathering = self.lock();
        Gathered {
            enrolments: gathering
                .enrolments()
                .map(|enrolment| Bytes::copy_from_slice(enrolment.bytes()))
                .collect(),
            countersignatures: gathering
                .countersignatures()
                .map(|(name, signature)| Countersignature {
                    name: name.to_string(),
                    signature: Bytes::copy_from_slice(&signature.to_bytes()),
                })
                .collect(),
        }
    }

    /// The names of the call that have not enrolled.
    fn missing(&self) -> Vec<String> {
        let gathering = self.lock();
        let members = &self.trust.identity.call.body().members;
        let enrolled = |name: &Name| {
            gathering
                .enrolments()
                .any(|known| known.body().name == *name)
        };
        members
            .iter()
            .filter(|member| !enrolled(&member.name))
            .map(|member| member.name.to_string())
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Gathering> {
        self.gathering
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gathers until every node has countersigned one list.
///
/// # Errors
/// [`GatherFailure`].
pub(super) async fn gather(
    shared: &Shared,
    connector: &Connector,
    disk: &DirectoryDisk,
    sealed: &SealedFileKey,
    progress: &mut impl FnMut(&Progress),
) -> Result<Roster, GatherFailure> {
    let identity = &shared.trust.identity;
    let total = identity.call.body().members.len();
    let mut told = 0;
    let mut news = shared.news.subscribe();
    loop {
        if let Some(error) = shared.refused.borrow().clone() {
            return Err(GatherFailure::Used(error.to_string()));
        }
        countersign(shared, disk, sealed)?;
        if let Some(roster) = shared.lock().roster() {
            return Ok(roster);
        }
        // A list that is countersigned is as good as formed: all who are on it
        // came in time, and only their signatures are still on the way.
        let late = (shared.trust.now_ms)() >= identity.call.body().expires_ms;
        if late && !shared.lock().is_countersigned() {
            return Err(GatherFailure::Expired);
        }
        for member in &identity.call.body().members {
            if member.name != identity.member().name {
                exchange(shared, connector, &member.address).await?;
            }
        }
        let enrolled = shared.lock().enrolled();
        if enrolled != told {
            told = enrolled;
            progress(&Progress {
                enrolled,
                total,
                missing: shared.missing(),
            });
        }
        let formed = countersign(shared, disk, sealed)? || shared.lock().roster().is_some();
        if !formed {
            // The next round comes at once when a peer has told something new.
            let _ = tokio::time::timeout(ROUND_EVERY, news.changed()).await;
        }
    }
}

/// Countersigns the list once it is whole; says whether it was just now.
///
/// The list is durable before the signature exists: a node that forgot what it
/// countersigned could be brought to countersign another list.
fn countersign(
    shared: &Shared,
    disk: &DirectoryDisk,
    sealed: &SealedFileKey,
) -> Result<bool, GatherFailure> {
    let identity = &shared.trust.identity;
    let mut gathering = shared.lock();
    let Some(list) = gathering.complete_list(identity) else {
        return Ok(false);
    };
    let written = identity.with(list, identity.login.clone());
    sealed_file::write(disk, sealed, IDENTITY_FILE, written.encode().expose())?;
    gathering
        .countersign(identity)
        .map_err(|error| GatherFailure::Used(error.to_string()))?;
    Ok(true)
}

async fn exchange(
    shared: &Shared,
    connector: &Connector,
    address: &str,
) -> Result<(), GatherFailure> {
    let connection = match connector.connect(address, PATIENCE).await {
        Ok(connection) => connection,
        Err(error) => return judge_refusal(address, &error),
    };
    let replaced = matches!(
        connection.peer().claims::<Claims>(),
        Some(Claims::Anonymous)
    );
    let client = EnrolmentClient::new(connection);
    let answer = client.exchange(shared.tell(), PATIENCE).await;
    if replaced {
        // Whatever was answered: the cluster has formed without this node.
        let name = &shared.trust.identity.member().name;
        let what = format!("{address}: another machine has enrolled as {name}");
        return Err(GatherFailure::Used(what));
    }
    match answer {
        Ok(told) => match shared.learn(&told) {
            Ok(()) => Ok(()),
            Err(error @ GatherError::SecondKey { .. }) => {
                Err(GatherFailure::Used(error.to_string()))
            }
            Err(error) => {
                debug!(address, %error, "a peer's list is not believed");
                Ok(())
            }
        },
        // The peer knows another key for a name of the call.
        Err(status) if status.code() == Code::FailedPrecondition => {
            Err(GatherFailure::Used(status.message().to_owned()))
        }
        Err(status) => {
            debug!(address, %status, "exchange failed");
            Ok(())
        }
    }
}

/// A peer that is not there yet is waited for; one that refuses for a reason that
/// will not go away ends the join.
fn judge_refusal(address: &str, error: &ConnectError) -> Result<(), GatherFailure> {
    debug!(address, %error, "no connection");
    let (ConnectError::Refused(refusal) | ConnectError::Untrusted(refusal)) = error else {
        return Ok(());
    };
    let what = format!("{address}: {}", refusal.message.escape_debug());
    match &*refusal.details {
        INVITE_USED => Err(GatherFailure::Used(what)),
        INVITE_INVALID => Err(GatherFailure::Invalid(what)),
        _ => Ok(()),
    }
}
