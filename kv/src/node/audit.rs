//! A node's audit log at work: what records, reads, and witnesses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use sealmoot_authn::audit::proto::{AuditClient, WitnessRequest};
use sealmoot_authn::audit::witness::{Alarm, Judgement, WITNESSED_BYTES_MAX, WitnessedHeads};
use sealmoot_authn::audit::{
    AuditRefused, Auditor, Event, HeadError, SignedHead, Subject, What, Who, queue,
};
use sealmoot_authn::name::Name;
use sealmoot_authn::roster::Roster;
use sealmoot_crypto::digest::MacKey;
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::{Code, Execution, Peer, Status};
use tokio::sync::watch;
use tracing::{error, warn};

use super::Cluster;
use super::authorizer::Trust;
use super::identity::Identity;
use super::startup::{OpenFailure, disk_failure};
use crate::audit::{
    AuditKey, AuditLog, AuditReader, OpenError, Owner, WITNESSED_FILE, names_key, spawn,
};
use crate::disk::{DirectoryDisk, Disk, DiskError};
use crate::log::sealed_file::{self, SealedFileKey, SealedFileReadError, SealedFileWriteError};

/// How often a node tells its peers where its log stands, when it changed.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long a peer may take to remember it.
const TELL_WITHIN: Duration = Duration::from_secs(5);
/// How long a node that stops takes to tell all of them.
const TELL_LAST_WITHIN: Duration = Duration::from_millis(500);

/// An audit log that was opened, before anything is recorded.
pub(super) struct OpenedAudit {
    log: AuditLog<DirectoryDisk>,
    key: Arc<AuditKey>,
    names: MacKey,
    disk: DirectoryDisk,
    sealed: SealedFileKey,
    witnessed: WitnessedHeads,
}

/// What the services of a node need of its audit log.
pub(super) struct NodeAudit {
    pub(super) auditor: Auditor,
    pub(super) reader: AuditReader<DirectoryDisk>,
    /// Raised when the node drains: nobody goes on following then.
    pub(super) draining: watch::Sender<bool>,
    witness: Mutex<Witness>,
    now_ms: fn() -> u64,
}

struct Witness {
    heads: WitnessedHeads,
    /// The alarms that are on record already.
    alarms: BTreeMap<Name, Alarm>,
    disk: DirectoryDisk,
    sealed: SealedFileKey,
}

/// Why a head was not remembered.
#[derive(Debug, thiserror::Error)]
pub(super) enum WitnessError {
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error("{alarm}")]
    Alarm { alarm: Alarm, first: bool },
    #[error(transparent)]
    Disk(#[from] SealedFileWriteError),
}

/// Makes the log of a node that answers its invite, and an empty memory of others.
pub(super) fn create(
    disk: &DirectoryDisk,
    root_key: &SecretArray<32>,
    identity: &Identity,
    audit_key: &sealmoot_crypto::sealed_box::PublicKey,
    now_ms: u64,
) -> Result<(), OpenFailure> {
    let failed = |error: &dyn std::fmt::Display| OpenFailure::Disk(error.to_string());
    let key = Arc::new(AuditKey::from_root(root_key));
    let mut log = AuditLog::create(disk.clone(), key, owner(identity), audit_key, now_ms)
        .map_err(|error| failed(&error))?;
    let name = identity.member().name.clone();
    let enrolled = Event::done(now_ms, What::NodeEnrolled, Who::Node, Subject::Node(name));
    log.append(&[enrolled], now_ms)
        .map_err(|error| failed(&error))?;
    let sealed = SealedFileKey::from_root(root_key);
    let nothing = WitnessedHeads::default().encode();
    sealed_file::write(disk, &sealed, WITNESSED_FILE, &nothing).map_err(|error| failed(&error))
}

/// Opens the log of a node, and what it remembers of others.
pub(super) fn open(
    disk: &DirectoryDisk,
    root_key: &SecretArray<32>,
    identity: &Identity,
    roster: Option<&Roster>,
) -> Result<OpenedAudit, OpenFailure> {
    let key = Arc::new(AuditKey::from_root(root_key));
    let log =
        AuditLog::open(disk.clone(), Arc::clone(&key), owner(identity)).map_err(
            |error| match error {
                OpenError::Damaged {
                    file, offset, what, ..
                } => OpenFailure::Integrity {
                    file,
                    what: format!("offset {offset}: {what}: failed authentication"),
                },
                OpenError::Disk(error) => disk_failure(error),
            },
        )?;
    let sealed = SealedFileKey::from_root(root_key);
    let bytes = read_witnessed(disk, &sealed)?;
    let key_of = |name: &Name| {
        let members = roster?.members();
        Some(members.iter().find(|member| member.name == *name)?.key)
    };
    let witnessed = WitnessedHeads::decode(&bytes, &identity.realm(), key_of).map_err(|error| {
        OpenFailure::Integrity {
            file: WITNESSED_FILE.to_owned(),
            what: error.to_string(),
        }
    })?;
    Ok(OpenedAudit {
        log,
        key,
        names: names_key(root_key),
        disk: disk.clone(),
        sealed,
        witnessed,
    })
}

/// Reads the sealed memory of others; nobody has believed the heads in it yet.
pub(super) fn read_witnessed<D: Disk>(
    disk: &D,
    sealed: &SealedFileKey,
) -> Result<Vec<u8>, OpenFailure> {
    match sealed_file::read(disk, sealed, WITNESSED_FILE, WITNESSED_BYTES_MAX) {
        Ok(bytes) => Ok(bytes.expose().to_vec()),
        Err(SealedFileReadError::Disk(error))
            if error.kind().is_some() || matches!(error, DiskError::Refused { .. }) =>
        {
            Err(disk_failure(error))
        }
        Err(error) => Err(OpenFailure::Integrity {
            file: WITNESSED_FILE.to_owned(),
            what: format!("{error}: failed authentication"),
        }),
    }
}

fn owner(identity: &Identity) -> Owner {
    Owner {
        realm: identity.realm(),
        key: SigningKey::from_seed(&identity.key.to_seed()),
    }
}

impl NodeAudit {
    /// Starts to record.
    pub(super) fn start(opened: OpenedAudit, now_ms: fn() -> u64) -> std::io::Result<Self> {
        let (auditor, submissions) = queue(opened.names);
        let published = spawn(opened.log, submissions, now_ms)?;
        Ok(Self {
            auditor,
            reader: AuditReader::new(opened.disk.clone(), opened.key, published),
            draining: watch::Sender::new(false),
            witness: Mutex::new(Witness {
                heads: opened.witnessed,
                alarms: BTreeMap::new(),
                disk: opened.disk,
                sealed: opened.sealed,
            }),
            now_ms,
        })
    }

    /// The time, for events.
    pub(super) fn now_ms(&self) -> u64 {
        (self.now_ms)()
    }

    /// Something that the node itself did, recorded durably.
    pub(super) async fn own(&self, what: What, detail: &str) -> Result<(), AuditRefused> {
        let event = Event::done((self.now_ms)(), what, Who::Node, Subject::Nothing);
        self.auditor.record(event.detail(detail)).await
    }

    /// The same, where there is nobody to refuse.
    pub(super) async fn own_or_log(&self, what: What, detail: &str) {
        if let Err(error) = self.own(what, detail).await {
            error!(%error, %what, "not recorded in the audit log");
        }
    }

    /// Remembers the head of another node durably; blocks on the disk.
    pub(super) fn witness(&self, node: &Name, head: SignedHead) -> Result<(), WitnessError> {
        let mut guard = self.lock();
        let witness = &mut *guard;
        let before = witness.heads.clone();
        match witness.heads.take(node, head) {
            Judgement::Same => Ok(()),
            Judgement::Newer => {
                let bytes = witness.heads.encode();
                let written =
                    sealed_file::write(&witness.disk, &witness.sealed, WITNESSED_FILE, &bytes);
                if written.is_err() {
                    witness.heads = before;
                }
                Ok(written?)
            }
            Judgement::Alarm(alarm) => {
                let first = witness.alarms.insert(node.clone(), alarm) != Some(alarm);
                Err(WitnessError::Alarm { alarm, first })
            }
        }
    }

    /// The heads that are remembered.
    pub(super) fn witnessed(&self) -> WitnessedHeads {
        self.lock().heads.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Witness> {
        self.witness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The head as it is now, signed.
    pub(super) fn head(&self, trust: &Trust) -> SignedHead {
        let published = self.reader.published();
        SignedHead::sign(
            &trust.identity.key,
            &trust.identity.realm(),
            published.chain_id,
            published.head,
            (self.now_ms)(),
        )
    }
}

/// Who is at the other end of a channel.
pub(super) fn who(peer: &Peer, user: Option<Name>) -> Who {
    Who::Peer {
        key: peer.key_id(),
        origin: peer.origin().to_string(),
        user,
    }
}

/// What somebody is told whose request cannot be recorded.
pub(super) fn unavailable(refused: AuditRefused, execution: Execution) -> Status {
    let code = match refused {
        AuditRefused::Busy => Code::ResourceExhausted,
        AuditRefused::NoRoom | AuditRefused::Failed => Code::Unavailable,
    };
    Status::new(code, execution, refused.to_string())
}

/// Tells the peers where this node's log stands, for as long as the cluster runs.
pub(super) async fn tell_peers(cluster: Weak<Cluster>, trust: Arc<Trust>, audit: Arc<NodeAudit>) {
    let mut told = BTreeMap::new();
    loop {
        let Some(cluster) = cluster.upgrade() else {
            return;
        };
        tell(&cluster, &trust, &audit, &mut told).await;
        drop(cluster);
        tokio::time::sleep(TELL_EVERY).await;
    }
}

/// Tells them a last time, so that what a node recorded before it was stopped cannot be
/// cut away while it is down.
pub(super) async fn tell_peers_last(cluster: &Cluster, trust: &Trust, audit: &NodeAudit) {
    let mut told = BTreeMap::new();
    let telling = tell(cluster, trust, audit, &mut told);
    if tokio::time::timeout(TELL_LAST_WITHIN, telling)
        .await
        .is_err()
    {
        warn!("not all peers were told where the audit log ends");
    }
}

/// Tells those that were not told since something was recorded.
async fn tell(
    cluster: &Cluster,
    trust: &Trust,
    audit: &NodeAudit,
    told: &mut BTreeMap<usize, u64>,
) {
    let records = audit.reader.published().head.records();
    for member in 0..cluster.quorums.members() {
        if member == cluster.links.me() || told.get(&member) == Some(&records) {
            continue;
        }
        let Ok(peer) = cluster.links.connection(member) else {
            continue;
        };
        let head = audit.head(trust);
        let request = WitnessRequest {
            head: head.bytes().to_vec().into(),
        };
        let client = AuditClient::new(peer.connection().clone());
        match client.witness(request, TELL_WITHIN).await {
            Ok(_) => {}
            Err(status) if status.code() == Code::FailedPrecondition => {
                let cause = status.message();
                warn!(cause, "a peer raised an alarm about this node");
            }
            Err(error) => {
                warn!(%error, "a peer was not told where the audit log stands");
                continue;
            }
        }
        told.insert(member, head.head().records());
    }
}
