//! From a directory and a key to a node that can start, or a verdict on what is
//! damaged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sealmoot_authn::delegation::SerialPath;
use sealmoot_authn::ended::{ENDED_TAG, Ended};
use sealmoot_authn::files::{self, FileError, Lock};
use sealmoot_authn::invite::{Invite, SealedPart};
use sealmoot_authn::parallel;
use sealmoot_authn::records::{RecordName, SignedRecord, Standing};
use sealmoot_authn::roots::{Roots, RootsError};
use sealmoot_authn::roster::{Roster, RosterError};
use sealmoot_authn::statement::{Enrolment, Verified};
use sealmoot_authn::throttle::{Throttle, ThrottleKey, ThrottleLimits};
use sealmoot_authn::users::{RecordError, UserDirectory};
use sealmoot_crypto::encoding::EncodingError;
use sealmoot_crypto::random::{self, RandomError};
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::SigningKey;

use tracing::warn;

use super::audit::{self, OpenedAudit};
use super::identity::{
    IDENTITY_BYTES_MAX, IDENTITY_FILE, Identity, IdentityError, create_root_key, read_root_key,
    root_key_candidates,
};
use super::{sealed_part, set_aside};
use crate::attest::Attestations;
use crate::audit::{AuditKey, WITNESSED_FILE};
use crate::checkpoint::{self, Changes, LoadError};
use crate::disk::{DirectoryDisk, DirectoryError, Disk, DiskError};
use crate::log::sealed_file::{self, SealedFileKey, SealedFileReadError, SealedFileWriteError};
use crate::log::{
    self, CreateError, Damage, DamageKind, Log, LogBase, LogKey, LogOptions, OpenError,
    VerifyError, looks_sealed_with,
};
use crate::quorum::Quorums;
use crate::record::{Record, RefillStage};
use crate::replica::Replay;
use crate::storage::{self, StorageError, StorageKeys, StorageOptions, Tree};

/// Where a running node says which process it is.
pub const PID_FILE: &str = "kvd.pid";
/// How many signed records are verified before they are put in their place.
const RECORDS_AT_ONCE: usize = 4096;
/// [`Opened::revocations_within`], unless it is changed.
pub const REVOCATIONS_WITHIN: Duration = Duration::from_secs(60);
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A directory that was opened, ready to start.
pub struct Opened {
    /// Who the node is.
    pub identity: Identity,
    /// Its cluster, if it has formed.
    pub roster: Option<Roster>,
    /// Its users, and the realm's roles.
    pub users: UserDirectory,
    /// What was tried at its logins; its limits may be changed before the start.
    pub throttle: Throttle,
    /// How long ago it may have compared its records with a quorum and still serve
    /// sessions; may be changed before the start.
    pub revocations_within: Duration,
    /// How long after one scrub of the checkpoints the next begins.
    pub scrub_every: Duration,
    pub(super) disk: DirectoryDisk,
    pub(super) sealed: SealedFileKey,
    /// What the invite sealed, until it was opened.
    pub(super) sealed_part: Option<SealedPart>,
    pub(super) log: Log<DirectoryDisk>,
    pub(super) tree: Tree<DirectoryDisk>,
    pub(super) changes: Changes,
    pub(super) replay: Replay,
    pub(super) attestations: Attestations,
    /// The latest time that the log knows of, in milliseconds since 1970.
    pub(super) time_ms: u64,
    pub(super) audit: OpenedAudit,
    pub(super) lock: Arc<Lock>,
}

impl Opened {
    /// Whether the node lost what it held and has to take it from its peers.
    #[must_use]
    pub fn is_refilling(&self) -> bool {
        self.replay.is_refilling()
    }

    /// The lock of the directory, which is held as long as the node runs and this is kept.
    #[must_use]
    pub fn lock(&self) -> Arc<Lock> {
        Arc::clone(&self.lock)
    }
}

/// How long after one scrub the next begins.
pub const SCRUB_EVERY: Duration = Duration::from_secs(600);

/// Why a directory was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenFailure {
    /// There is no node in it.
    #[error("{} holds no node", .0.display())]
    NotInitialised(PathBuf),
    /// There is a node in it already.
    #[error("{} holds a node already", .0.display())]
    Exists(PathBuf),
    /// There is something else in it.
    #[error("{} is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// No key on this machine opens it.
    #[error("no key on this machine opens {}", .0.display())]
    Locked(PathBuf),
    /// Another process has it.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// Others can get at it.
    #[error(transparent)]
    Directory(DirectoryError),
    /// What the log or a checkpoint holds is damaged or missing; peers have it too.
    #[error("{file}: {what}")]
    Data {
        /// The file.
        file: String,
        /// What is wrong, and where.
        what: String,
    },
    /// What is stored and no other node has fails authentication.
    #[error("{file}: {what}")]
    Integrity {
        /// The file.
        file: String,
        /// What is wrong, and where.
        what: String,
    },
    /// Too few other nodes hold what this one does.
    #[error("in a cluster of {0} nodes there are too few others to take everything from")]
    Alone(usize),
    /// A file beside the data could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A data file is not the node's alone, or no file at all.
    #[error("{0}")]
    Refused(String),
    /// The disk failed.
    #[error("{0}")]
    Disk(String),
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// What came of answering an invite.
pub enum Enrolled {
    /// The directory is new and a node now.
    Fresh,
    /// The directory had answered this invite before; nothing was changed.
    Resumed,
}

/// Answers an invite: makes the node's keys and its directory.
///
/// `invite_file` is where the invite lies, for a later start to destroy it. The root key
/// goes to `key_file`, which must not exist, unless the directory
/// answered this very invite before.
///
/// # Errors
/// [`OpenFailure`].
pub fn enrol(
    invite: &Invite,
    invite_file: &Path,
    directory: &Path,
    key_file: &Path,
    config: &Path,
    now_ms: u64,
) -> Result<Enrolled, OpenFailure> {
    if directory.join(IDENTITY_FILE).exists() {
        let named = key_file.exists().then_some(key_file);
        let opened = open(directory, named, config)?;
        let same = opened.identity.call.bytes() == invite.call().bytes()
            && opened.identity.member().name == invite.member().name;
        if !same || opened.roster.is_some() {
            return Err(OpenFailure::Exists(directory.to_owned()));
        }
        return Ok(Enrolled::Resumed);
    }
    files::ensure_directory(directory)?;
    check_empty(directory)?;
    files::make_private(directory)?;
    let lock = lock(directory)?;
    // Another process may have made a node here while this one waited.
    check_empty(directory)?;
    let disk = open_disk(directory)?;
    let key_directory = match key_file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    files::ensure_directory(key_directory)?;
    let root_key = create_root_key(key_file)?;
    let outcome = make_node(invite, invite_file, &disk, &root_key, now_ms);
    if outcome.is_err() {
        // Nothing was sealed under it that anybody has heard of: an enrolment that
        // failed leaves neither key nor data in the way of the next.
        let _ = files::remove(key_file);
        for name in files::names(directory).unwrap_or_default() {
            let _ = files::remove(&directory.join(name));
        }
    }
    drop(lock);
    outcome.map(|()| Enrolled::Fresh)
}

/// An empty directory that was made beforehand becomes the node's own. One with other
/// things in it may be anything, a home directory too.
fn check_empty(directory: &Path) -> Result<(), OpenFailure> {
    let others = files::names(directory)?
        .into_iter()
        .any(|name| !matches!(name.as_str(), "kvd.log" | "lock"));
    if others {
        return Err(OpenFailure::NotEmpty(directory.to_owned()));
    }
    Ok(())
}

fn make_node(
    invite: &Invite,
    invite_file: &Path,
    disk: &DirectoryDisk,
    root_key: &SecretArray<32>,
    now_ms: u64,
) -> Result<(), OpenFailure> {
    let key = SigningKey::generate()?;
    let answer = Enrolment {
        call_id: invite.call().body().id,
        name: invite.member().name.clone(),
        node_key: key.verifying_key(),
    };
    let incarnation = u64::from_le_bytes(random::array()?) >> 1;
    let identity = Identity {
        key,
        roots: invite.roots().clone(),
        login: None,
        share: invite.share().clone(),
        call: invite.call().clone(),
        enrolment: Verified::issue(&invite.realm(), invite.key(), now_ms, answer),
        incarnation,
        invite: std::path::absolute(invite_file).ok(),
        countersigned: Vec::new(),
    };
    Log::create(
        disk.clone(),
        LogKey::from_root(root_key),
        incarnation,
        LogOptions::default(),
    )
    .map_err(create_failure)?;
    let mut tree = open_tree(disk, root_key)?;
    tree.settle(0).map_err(storage_failure)?;
    let sealed = SealedFileKey::from_root(root_key);
    sealed_part::write(disk, &sealed, invite.sealed()).map_err(write_failure)?;
    audit::create(disk, root_key, &identity, invite.audit_key(), now_ms)?;
    // Last: a directory is a node when it has this file.
    sealed_file::write(disk, &sealed, IDENTITY_FILE, identity.encode().expose())
        .map_err(write_failure)
}

/// Opens a node's directory: finds its key, authenticates and replays its log.
///
/// # Errors
/// [`OpenFailure`].
pub fn open(
    directory: &Path,
    key_file: Option<&Path>,
    config: &Path,
) -> Result<Opened, OpenFailure> {
    let (lock, disk) = take(directory)?;
    let root_key = find_root_key(&disk, directory, key_file, config)?;
    let sealed = SealedFileKey::from_root(&root_key);
    let identity = read_identity(&disk, &sealed)?;
    set_aside::check_begun(directory)?;

    let mut replay = Replay::default();
    let mut attestations = Attestations::default();
    let mut newest = NewestRecords::new();
    let mut ended = Vec::new();
    let sealed_part = if identity.login.is_some() {
        // A crash may have come between opening it and this.
        sealed_part::remove(&disk).map_err(disk_failure)?;
        None
    } else {
        Some(sealed_part::read(&disk, &sealed, &identity)?)
    };
    let login = identity.login.as_deref();
    let names = login.map_or_else(ThrottleKey::before_login_secrets, ThrottleKey::of);
    let mut throttle = Throttle::new(names, ThrottleLimits::default());
    let mut roster = None;
    let mut time_ms = 0;
    let mut roots = identity.roots.clone();
    let mut take_record = |record: Record| -> Result<(), ReplayError> {
        match record {
            Record::Roster(bytes) => roster = Some(Roster::decode_formed(&bytes, &roots)?),
            // Whether it is to be believed depends on the roster.
            Record::Signed(bytes) if bytes.first() == Some(&ENDED_TAG) => ended.push(bytes),
            Record::Signed(bytes) => {
                let (name, standing) = SignedRecord::claimed(&bytes, &roots)?;
                let versions = standing.delegations().to_vec();
                let by = (name, standing.path().clone(), versions);
                let held = newest.get(&by);
                if held.is_none_or(|(held, _)| *held < standing) {
                    newest.insert(by, (standing, bytes));
                }
            }
            Record::Roots(bytes) => {
                roots.take(&bytes)?;
            }
            Record::Throttle(bytes) => throttle.replay(&bytes)?,
            Record::Time(heard_ms) => time_ms = time_ms.max(heard_ms),
            Record::Attested { node, attested } => attestations.replay(node, attested),
            record @ (Record::Accepted { .. }
            | Record::Ceiling(_)
            | Record::Condemned { .. }
            | Record::Removed { .. }
            | Record::Incarnation(_)
            | Record::Epoch { .. }
            | Record::Floors { .. }
            | Record::Refill(_)) => replay.record(record),
        }
        Ok(())
    };
    let mut tree = open_tree(&disk, &root_key)?;
    if tree.is_new() {
        return Err(storage_failure(storage::both_missing()));
    }
    let mut changes = Changes::new(identity.roots.clone());
    checkpoint::load(&tree.view(), &mut changes, &mut take_record)
        .map_err(|error| load_failure(directory, error))?;
    let log = Log::open_behind(
        disk.clone(),
        LogKey::from_root(&root_key),
        LogOptions::default(),
        tree.base(),
        &mut |number, bytes| {
            // What a segment holds that begins before the checkpoint's end is in it.
            if number <= tree.flushed() {
                return Ok(());
            }
            let record = Record::decode(bytes)?;
            changes.note(number, &record, &Bytes::copy_from_slice(bytes));
            take_record(record)
        },
    )
    .map_err(|error| open_failure(directory, error))?;
    tree.settle(log.position().records)
        .map_err(storage_failure)?;
    for damage in tree.damages() {
        warn!(%damage, "made good");
    }
    // The list of nodes was durable before the login secrets were: a log without it is not
    // the one that this node began with.
    if identity.login.is_some() && roster.is_none() && !replay.is_refilling() {
        return Err(OpenFailure::Data {
            file: "log".to_owned(),
            what: "it does not hold the list of nodes that it held".to_owned(),
        });
    }
    let mut users = believed(newest, &roots).map_err(|error| OpenFailure::Data {
        file: "log".to_owned(),
        what: ReplayError::from(error).to_string(),
    })?;
    let time_ms = time_ms.max(replay.clock().ms());
    if let Some(roster) = &roster {
        // What a node made that is of the roster no longer makes no session either.
        let believe = |bytes: &Vec<u8>| Ok::<_, RecordError>(Ended::decode(bytes, roster).ok());
        for ended in parallel::try_map(&ended, believe)
            .into_iter()
            .flatten()
            .flatten()
        {
            users.ended_mut().apply(ended);
        }
        users.ended_mut().forget_past(time_ms);
    }
    renew_passing(
        &mut changes,
        log.position().records,
        throttle.all(time_ms),
        users.ended().iter(),
    );
    let audit = audit::open(&disk, &root_key, &identity, roster.as_ref())?;
    Ok(Opened {
        audit,
        identity,
        roster,
        users,
        throttle,
        revocations_within: REVOCATIONS_WITHIN,
        scrub_every: SCRUB_EVERY,
        time_ms,
        disk,
        sealed,
        sealed_part,
        log,
        tree,
        changes,
        replay,
        attestations,
        lock: Arc::new(lock),
    })
}

/// Gives up what a stopped node's log and checkpoints hold: moves them into a directory of
/// their own within the node's, whose name is returned, and begins a log that says that the
/// node has to take everything from its peers. Its identity and its audit log stay.
///
/// Done again after a crash, it goes on where it was.
///
/// # Errors
/// [`OpenFailure`]; [`OpenFailure::Alone`] in a cluster of fewer than three nodes.
pub fn begin_anew(
    directory: &Path,
    key_file: Option<&Path>,
    config: &Path,
) -> Result<String, OpenFailure> {
    let (_lock, disk) = take(directory)?;
    let root_key = find_root_key(&disk, directory, key_file, config)?;
    let identity = read_identity(&disk, &SealedFileKey::from_root(&root_key))?;
    let members = identity.call.body().members.len();
    if members - 1 < Quorums::majority(members).prepare() {
        return Err(OpenFailure::Alone(members));
    }
    let aside = set_aside::move_files(directory)?;
    let incarnation = u64::from_le_bytes(random::array()?) >> 1;
    let mut log = Log::create(
        disk.clone(),
        LogKey::from_root(&root_key),
        incarnation,
        LogOptions::default(),
    )
    .map_err(create_failure)?;
    let record = Record::Refill(RefillStage::Unfenced).encode();
    let _durable = log
        .commit(&[record])
        .map_err(|error| OpenFailure::Disk(error.to_string()))?;
    let mut tree = open_tree(&disk, &root_key)?;
    tree.settle(0).map_err(storage_failure)?;
    // Last: until then it is not to be taken for a node that never voted.
    set_aside::end(directory)?;
    Ok(aside)
}

/// Of what passes with time, what still counts is written anew.
fn renew_passing<'a>(
    changes: &mut Changes,
    number: u64,
    throttle: Vec<Vec<u8>>,
    ended: impl Iterator<Item = &'a Ended>,
) {
    changes.drop_passing();
    let ended = ended.map(|ended| Record::Signed(ended.bytes().to_vec()));
    let throttle = throttle.into_iter().map(Record::Throttle);
    for record in ended.chain(throttle) {
        changes.note(number, &record, &record.encode().into());
    }
}

fn open_tree(
    disk: &DirectoryDisk,
    root_key: &SecretArray<32>,
) -> Result<Tree<DirectoryDisk>, OpenFailure> {
    let keys = StorageKeys::from_root(SecretArray::from_bytes(*root_key.expose()));
    Tree::open(disk.clone(), keys, &StorageOptions::default()).map_err(storage_failure)
}

fn storage_failure(error: StorageError) -> OpenFailure {
    match error {
        StorageError::Damaged { file, what } => OpenFailure::Data {
            file,
            what: format!("{what}: failed authentication"),
        },
        StorageError::Disk(error) => disk_failure(error),
        error @ (StorageError::Failed(_) | StorageError::TooLong { .. }) => {
            OpenFailure::Disk(error.to_string())
        }
    }
}

fn load_failure(directory: &Path, error: LoadError<ReplayError>) -> OpenFailure {
    match error {
        LoadError::Storage(error) => storage_failure(error),
        error @ (LoadError::Entry(_) | LoadError::Refused(_)) => OpenFailure::Data {
            file: directory.display().to_string(),
            what: format!("the checkpoint: {error}"),
        },
    }
}

/// The newest record of each name under each delegation and version of it: which of these
/// count is known only when the revocations are.
type NewestRecords = BTreeMap<(RecordName, SerialPath, Vec<u64>), (Standing, Vec<u8>)>;

/// The users and roles of a log. The signatures are verified again though the log
/// authenticates: a record that a node goes by is one that it verified in this life, and
/// on all processors, only the newest of each, that is a few seconds for a hundred
/// thousand users.
fn believed(newest: NewestRecords, roots: &Roots) -> Result<UserDirectory, RecordError> {
    // The revocations first, as in a realm's directory: what counts of several issuers'
    // records is known only then.
    let (first, others): (Vec<_>, Vec<_>) = newest
        .into_iter()
        .partition(|((name, ..), _)| *name == RecordName::Revocations);
    let newest = first.into_iter().chain(others);
    let newest: Vec<(Standing, Vec<u8>)> = newest.map(|(_, record)| record).collect();
    let mut users = UserDirectory::default();
    for portion in newest.chunks(RECORDS_AT_ONCE) {
        for record in parallel::try_map(portion, |(_, bytes)| SignedRecord::decode(bytes, roots))? {
            users.apply_signed(record);
        }
    }
    // Last: all that is in the log was taken before a later root was known.
    if users.learn_roots(roots).is_err() {
        unreachable!("a directory that knows no roots takes any");
    }
    Ok(users)
}

/// Reads the identity of a node, running or not, without taking its directory.
///
/// # Errors
/// [`OpenFailure`].
pub fn reads_identity(
    directory: &Path,
    key_file: Option<&Path>,
    config: &Path,
) -> Result<Identity, OpenFailure> {
    let path = directory.join(IDENTITY_FILE);
    if !path.exists() {
        return Err(OpenFailure::NotInitialised(directory.to_owned()));
    }
    let content = files::read_secret(&path, IDENTITY_BYTES_MAX + 1024)?;
    for candidate in root_key_candidates(key_file, config) {
        let Some(root_key) = read_candidate(&candidate, key_file.is_some())? else {
            continue;
        };
        let disk = crate::disk::MemoryDisk::new();
        disk.set_bytes(IDENTITY_FILE, content.expose().to_vec());
        let sealed = SealedFileKey::from_root(&root_key);
        match read_identity(&disk, &sealed) {
            Err(OpenFailure::Integrity { .. }) => {}
            outcome => return outcome,
        }
    }
    Err(OpenFailure::Locked(directory.to_owned()))
}

/// What a verification found.
#[derive(Debug)]
pub struct Verification {
    /// Damaged places; none for a sound directory.
    pub damaged: Vec<DamagedPlace>,
    /// How many bytes were authenticated.
    pub bytes: u64,
    /// How many records the log has.
    pub records: u64,
}

/// One damaged place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedPlace {
    /// The file.
    pub file: String,
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
    /// What is wrong.
    pub what: String,
}

/// Authenticates every byte of a stopped node's data.
///
/// # Errors
/// [`OpenFailure`]; damage is no error, it is the result.
pub fn verify(
    directory: &Path,
    key_file: Option<&Path>,
    config: &Path,
) -> Result<Verification, OpenFailure> {
    let (_lock, disk) = take(directory)?;
    let root_key = find_root_key(&disk, directory, key_file, config)?;
    let mut damaged = Vec::new();
    let identity_path = directory.join(IDENTITY_FILE);
    let identity_bytes = std::fs::metadata(&identity_path).map_or(0, |metadata| metadata.len());
    let (mut bytes, mut records) = (identity_bytes, 0);
    let sealed = SealedFileKey::from_root(&root_key);
    let part_bytes = sealed_part::length(&disk).map_err(disk_failure)?;
    let verified = read_identity(&disk, &sealed)
        .map_err(|error| (error, identity_bytes))
        .and_then(|identity| {
            // One that was opened is removed at the next start, and read by nobody.
            if identity.login.is_none() {
                bytes += part_bytes;
                sealed_part::read(&disk, &sealed, &identity)
                    .map_err(|error| (error, part_bytes))?;
            }
            Ok(())
        });
    match verified {
        Ok(()) => {}
        Err((OpenFailure::Integrity { file, what }, length)) => damaged.push(DamagedPlace {
            file,
            offset: 0,
            length,
            what,
        }),
        Err((other, _)) => return Err(other),
    }
    bytes += verify_audit(&disk, directory, &root_key, &mut damaged)?;
    let keys = StorageKeys::from_root(SecretArray::from_bytes(*root_key.expose()));
    let runs = storage::verify(&disk, &keys).map_err(storage_failure)?;
    bytes += runs.bytes;
    for damage in runs.damages {
        let StorageError::Damaged { file, what } = damage else {
            continue;
        };
        let length = std::fs::metadata(directory.join(&file)).map_or(0, |found| found.len());
        damaged.push(DamagedPlace {
            file,
            offset: 0,
            length,
            what,
        });
    }
    // Without a manifest nobody knows which segments should be there: what is there of them is
    // verified.
    let is_base_known = runs.base.is_some();
    let base = runs.base.flatten();
    match log::verify_behind(&disk, &LogKey::from_root(&root_key), base.as_ref()) {
        Ok(report) => {
            bytes += report.bytes;
            records = report.records.max(runs.flushed);
            let of_the_log = report.damages.into_iter();
            let of_the_log =
                of_the_log.filter(|damage| is_base_known || damage.what != DamageKind::Missing);
            damaged.extend(of_the_log.map(|damage| DamagedPlace {
                file: damage.file,
                offset: damage.offset,
                length: damage.length,
                what: damage.what.to_string(),
            }));
        }
        Err(VerifyError::Missing) if !is_base_known => {}
        Err(VerifyError::Missing) => damaged.push(DamagedPlace {
            file: first_segment(base.as_ref()),
            offset: 0,
            length: 0,
            what: "the log is missing".to_owned(),
        }),
        Err(VerifyError::Disk(error)) => return Err(disk_failure(error)),
    }
    Ok(Verification {
        damaged,
        bytes,
        records,
    })
}

/// The name of the first segment of a log that begins there.
fn first_segment(base: Option<&LogBase>) -> String {
    let number = base.map_or(1, LogBase::first_segment);
    format!("{}{number:08}", log::SEGMENT_PREFIX)
}

/// Authenticates the audit log and what is remembered of others'; gives the number of
/// bytes.
fn verify_audit(
    disk: &DirectoryDisk,
    directory: &Path,
    root_key: &SecretArray<32>,
    damaged: &mut Vec<DamagedPlace>,
) -> Result<u64, OpenFailure> {
    let (damages, mut bytes) =
        crate::audit::verify(disk, &AuditKey::from_root(root_key)).map_err(disk_failure)?;
    damaged.extend(damages.into_iter().map(|damage| DamagedPlace {
        file: damage.file,
        offset: damage.offset,
        length: damage.length,
        what: damage.what.to_owned(),
    }));
    let witnessed = directory.join(WITNESSED_FILE);
    let length = std::fs::metadata(&witnessed).map_or(0, |metadata| metadata.len());
    bytes += length;
    match audit::read_witnessed(disk, &SealedFileKey::from_root(root_key)) {
        Ok(_) => {}
        Err(OpenFailure::Integrity { file, what }) => damaged.push(DamagedPlace {
            file,
            offset: 0,
            length,
            what,
        }),
        Err(error) => return Err(error),
    }
    Ok(bytes)
}

#[derive(Debug, thiserror::Error)]
enum ReplayError {
    #[error("a record does not decode: {0}")]
    Record(#[from] EncodingError),
    #[error("the roster is not to be believed: {0}")]
    Roster(#[from] RosterError),
    #[error("the realm's roots are not to be believed: {0}")]
    Roots(#[from] RootsError),
    #[error("a user record is not to be believed: {0}")]
    User(#[from] RecordError),
}

fn take(directory: &Path) -> Result<(Lock, DirectoryDisk), OpenFailure> {
    let is_node = directory.join(IDENTITY_FILE).exists()
        || files::names(directory)
            .unwrap_or_default()
            .iter()
            .any(|name| name.starts_with(log::SEGMENT_PREFIX));
    if !is_node {
        return Err(OpenFailure::NotInitialised(directory.to_owned()));
    }
    let lock = lock(directory)?;
    let disk = open_disk(directory)?;
    Ok((lock, disk))
}

/// Takes the directory's lock, waiting a moment for a process that is just dying.
///
/// Whoever wrote `kvd.pid` is gone then, and its number may belong to anybody by
/// now: nobody must send a signal to it.
fn lock(directory: &Path) -> Result<Lock, OpenFailure> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    let lock = loop {
        match files::try_lock(&directory.join("lock"))? {
            Some(lock) => break lock,
            None if Instant::now() >= deadline => {
                return Err(OpenFailure::InUse(directory.to_owned()));
            }
            None => std::thread::sleep(LOCK_PAUSE),
        }
    };
    match files::remove(&directory.join(PID_FILE)) {
        Ok(()) | Err(FileError::Missing(_)) => Ok(lock),
        Err(error) => Err(error.into()),
    }
}

/// Opens the directory's files, waiting a moment for a thread of a process that is just
/// dying: the files have a lock of their own, which goes with the last of them.
fn open_disk(directory: &Path) -> Result<DirectoryDisk, OpenFailure> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match DirectoryDisk::open(directory) {
            Err(DirectoryError::InUse { path }) if Instant::now() >= deadline => {
                return Err(OpenFailure::InUse(path));
            }
            Err(DirectoryError::InUse { .. }) => std::thread::sleep(LOCK_PAUSE),
            Err(error) => return Err(OpenFailure::Directory(error)),
            Ok(disk) => return Ok(disk),
        }
    }
}

/// The first key on this machine that opens anything in the directory. Looking
/// at the log as well as at the identity tells a missing key from a damaged file.
fn find_root_key(
    disk: &DirectoryDisk,
    directory: &Path,
    key_file: Option<&Path>,
    config: &Path,
) -> Result<SecretArray<32>, OpenFailure> {
    for candidate in root_key_candidates(key_file, config) {
        let Some(root_key) = read_candidate(&candidate, key_file.is_some())? else {
            continue;
        };
        let sealed = SealedFileKey::from_root(&root_key);
        let opens_identity =
            sealed_file::read(disk, &sealed, IDENTITY_FILE, IDENTITY_BYTES_MAX).is_ok();
        let opens = opens_identity
            || looks_sealed_with(disk, &LogKey::from_root(&root_key)).map_err(disk_failure)?;
        if opens {
            return Ok(root_key);
        }
    }
    Err(OpenFailure::Locked(directory.to_owned()))
}

/// Reads a candidate; one that nobody named and that is not there is passed over.
fn read_candidate(path: &Path, named: bool) -> Result<Option<SecretArray<32>>, OpenFailure> {
    match read_root_key(path) {
        Err(FileError::Missing(_)) if !named => Ok(None),
        outcome => Ok(outcome?),
    }
}

fn read_identity<D: Disk>(disk: &D, sealed: &SealedFileKey) -> Result<Identity, OpenFailure> {
    let integrity = |what: String| OpenFailure::Integrity {
        file: IDENTITY_FILE.to_owned(),
        what,
    };
    let bytes =
        sealed_file::read(disk, sealed, IDENTITY_FILE, IDENTITY_BYTES_MAX).map_err(|error| {
            match error {
                SealedFileReadError::Disk(error @ DiskError::TooLong { .. }) => {
                    integrity(error.to_string())
                }
                SealedFileReadError::Disk(error) => disk_failure(error),
                error => integrity(format!("{error}: failed authentication")),
            }
        })?;
    Identity::decode(bytes.expose()).map_err(|error: IdentityError| integrity(error.to_string()))
}

pub(super) fn disk_failure(error: DiskError) -> OpenFailure {
    match error {
        DiskError::Refused { .. } => OpenFailure::Refused(error.to_string()),
        error => OpenFailure::Disk(error.to_string()),
    }
}

fn create_failure(error: CreateError) -> OpenFailure {
    OpenFailure::Disk(error.to_string())
}

fn write_failure(error: SealedFileWriteError) -> OpenFailure {
    OpenFailure::Disk(error.to_string())
}

fn open_failure(directory: &Path, error: OpenError<ReplayError>) -> OpenFailure {
    match error {
        OpenError::Damaged(damage) => {
            let Damage { ref file, .. } = damage;
            OpenFailure::Data {
                file: file.clone(),
                what: format!("{damage}: failed authentication"),
            }
        }
        OpenError::Missing => OpenFailure::Data {
            file: "log-00000001".to_owned(),
            what: "the log is missing".to_owned(),
        },
        OpenError::NothingOpens { file } => OpenFailure::Data {
            file,
            what: "no group of the log opens: failed authentication".to_owned(),
        },
        OpenError::Record { number, source } => OpenFailure::Data {
            file: directory.display().to_string(),
            what: format!("record {number}: {source}"),
        },
        OpenError::Disk(error) => disk_failure(error),
        OpenError::Append(error) => OpenFailure::Disk(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealmoot_authn::delegation::Chain;
    use sealmoot_authn::name::Name;
    use sealmoot_authn::realm_id::RealmId;
    use sealmoot_authn::records::RevocationsRecord;
    use sealmoot_authn::statement::{Delegation, Powers, Revocation, Revocations, User};
    use sealmoot_authn::users::UserRecord;

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    #[test]
    fn files_that_a_dying_process_holds_are_waited_for_and_those_of_a_living_one_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let narrow = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(directory.path(), narrow).expect("narrowed");
        let held = DirectoryDisk::open(directory.path()).expect("opened");
        assert!(matches!(
            open_disk(directory.path()),
            Err(OpenFailure::InUse(path)) if path == directory.path()
        ));
        let dying = std::thread::spawn(move || {
            std::thread::sleep(LOCK_PAUSE * 3);
            drop(held);
        });
        open_disk(directory.path()).expect("opened when the other is gone");
        dying.join().expect("gone");
    }

    /// Bob as a delegate of the root made him under this serial.
    fn bob_by(root: &SigningKey, serial: u64, version: u64, enabled: bool) -> UserRecord {
        let delegate = SigningKey::generate().expect("random");
        let delegation = Delegation {
            name: name(&format!("d{serial}")),
            key: delegate.verifying_key(),
            serial,
            version: 1,
            powers: Powers {
                users: true,
                delegations: false,
            },
            grants: vec!["app/*:r".parse().expect("a grant")],
            valid_from_ms: 1,
            expires_ms: 100,
        };
        let user = User {
            name: name("bob"),
            version,
            enabled,
            deleted: false,
            roles: Vec::new(),
            user_key: None,
            keys: Vec::new(),
            second_factor: None,
        };
        let public = root.verifying_key();
        let user = Verified::issue(&RealmId::without_heir(&public), &delegate, 20, user);
        let chain = Chain::issue(None, root, &Roots::sole(public), delegation, 1).expect("issued");
        UserRecord::by_delegate(chain, user, None).expect("within")
    }

    fn revoked(root: &SigningKey, serial: u64, lowest_version: u64) -> RevocationsRecord {
        let entry = Revocation {
            lowest_version,
            reason: String::new(),
        };
        let revocations = Revocations {
            version: 1,
            entries: [(SerialPath::of([serial]), entry)].into(),
        };
        let realm = RealmId::without_heir(&root.verifying_key());
        RevocationsRecord::new(Verified::issue(&realm, root, 1, revocations))
    }

    fn newest(records: &[SignedRecord]) -> NewestRecords {
        let entry = |record: &SignedRecord| {
            let standing = record.standing();
            let versions = standing.delegations().to_vec();
            let by = (record.name(), standing.path().clone(), versions);
            (by, (standing, record.encode()))
        };
        records.iter().map(entry).collect()
    }

    #[test]
    fn a_restart_keeps_the_younger_delegates_user_where_the_elder_was_revoked() {
        let root = SigningKey::generate().expect("random");
        for lowest_version in [2, Revocation::FOR_GOOD] {
            let log = [
                bob_by(&root, 1, 9, true).into(),
                bob_by(&root, 2, 1, true).into(),
                revoked(&root, 1, lowest_version).into(),
            ];
            let users =
                believed(newest(&log), &Roots::sole(root.verifying_key())).expect("believed");
            let bob = users.active(&name("bob"), 50).expect("the younger's");
            assert_eq!(bob.user().version, 1, "{lowest_version}");
        }
    }

    #[test]
    fn a_restart_forgets_no_version_of_a_user_whose_delegation_was_narrowed() {
        let root = SigningKey::generate().expect("random");
        let disabled = bob_by(&root, 1, 3, false);
        let log = [disabled.clone().into(), revoked(&root, 1, 2).into()];
        let users = believed(newest(&log), &Roots::sole(root.verifying_key())).expect("believed");
        assert!(users.record(&name("bob")).is_none());
        let kept: Vec<u64> = users
            .records_behind()
            .map(|record| record.user().version)
            .collect();
        assert_eq!(kept, [3]);
        assert!(!users.wants(&RecordName::User(name("bob")), &disabled.standing()));
    }
}
