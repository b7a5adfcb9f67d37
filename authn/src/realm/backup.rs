//! A realm in one file, and back.
//!
//! ```text
//! offset length
//!      0      4  "SMRB"
//!      4      1  version, 5
//!      5    4+n  the realm's file `realm`
//!    9+n    4+m  its file `root.sealed`; sealed anew where the backup has a
//!                passphrase of its own
//! 13+n+m    4+r  the realm's roots (see `roots.rs`)
//! 17+n+m+r       to the end: a stream under a key derived from the storage key that
//!                the passphrase box holds; its associated data is all of the above
//!
//! in the stream
//!            8  made, milliseconds since 1970
//!          4+n  the file `login.sealed`
//!            1  whether there are named roles; then 4+n their record
//!            1  whether sessions were revoked; then 4+n the record
//!            1  whether there are revocations; then 4+n their record
//!            1  whether nodes were revoked; then 4+n the record
//!          4    number of delegations, then each 4+n the chain, in order of path
//!          4    number of users, then each 4+n the record, in order of name
//!          4    number of calls, then each 4+n the statement, in order of id
//!          4+n  the file `audit.log`
//! ```
//!
//! Where the realm has an approver, all of that waits for the approval
//! ([`crate::approval`]): the passphrase opens nothing before.
//!
//! Left out is `heir.sealed`: a backup that held it would, with its passphrase, be the
//! realm's next root too. And left out is `untold`: which nodes know what is not to be believed of a realm that was
//! lost. A restored realm begins with all of it untold to all its nodes.
//!
//! Nothing is believed before the stream has authenticated whole: a backup that was
//! cut, changed or put together from two is refused. Everything in it is then checked
//! against the root like the files of a realm.
//!
//! # What an older backup brings back, and what not
//!
//! Nodes hold by the highest version of a record, whoever brings it: a restored realm
//! does not roll them back. So that its *next* changes hold too, a restored realm has
//! a file `restored`, and gives no change a version below the one in it, which lies
//! above all that the lost realm can have given:
//!
//! ```text
//! 0  1  version, 1
//! 1  8  the lowest version that a change may get
//! 9 64  the root's signature over bytes 0..9 in the domain "realm-restored"
//! ```

use std::path::Path;

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::kdf::{Label, derive_key};
use sealmoot_crypto::random::RandomError;
use sealmoot_crypto::secret::{SecretArray, SecretBytes};
use sealmoot_crypto::signature::Signature;
use sealmoot_crypto::stream::{self, Options, StreamKey};

use super::{
    LOGIN_FILE_BYTES, OpenRealm, Public, REALM_FILE_MAX, ROOT_FILE_MAX, Realm, RealmError,
    RealmKeys, call_file, damaged, make_directory,
    nodes::nodes_of,
    open_login, parse_realm, under_approval,
    untold::{self, UNTOLD_FILE},
};
use crate::approval::{Act, Approver, LAYER_OVERHEAD_MAX, Waiting};
use crate::audit::local::{self, AuditSecrets, LOCAL_BYTES_MAX, LOCAL_FILE};
use crate::audit::{Event, Subject, What, Who};
use crate::delegation::{CHAIN_BYTES_MAX, Chain};
use crate::files::{self, FileError};
use crate::name::Name;
use crate::parallel;
use crate::realm_id::RealmId;
use crate::records::{
    RecordName, RevocationsRecord, RevokedNodesRecord, RevokedSessionsRecord, RolesRecord,
    SIGNED_RECORD_LENGTH_MAX,
};
use crate::roots::{ROOTS_LENGTH_MAX, Roots};
use crate::roster::verify_call;
use crate::statement::{Call, STATEMENT_LENGTH_MAX, Verified};
use crate::users::{RECORD_LENGTH_MAX, USERS_MAX, UserRecord};

const MAGIC: &[u8; 4] = b"SMRB";
// Version 1 had no revoked sessions, version 2 knew no delegations, version 3 no
// revoked nodes, version 4 the root key alone.
const VERSION: u8 = 5;
/// Longest backup in bytes.
pub const BACKUP_LENGTH_MAX: usize = 256 * 1024 * 1024;
/// Most calls in a backup.
pub const CALLS_MAX: usize = 65_536;
/// Most delegations in a backup.
const DELEGATIONS_MAX: usize = 65_536;
const AUDIT_BYTES_MAX: usize = LOCAL_BYTES_MAX as usize;
/// Context of the stream.
const CONTEXT: &str = "realm backup";
/// The use of the key that seals the stream.
const BACKUP_LABEL: Label = Label::new("realm backup");
/// Domain of the signature in the file `restored`.
const RESTORED_DOMAIN: &str = "realm-restored";
const RESTORED_LENGTH: usize = 9 + 64;

/// Why a backup was not opened.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It does not begin as a backup does.
    #[error("not a backup of a realm: {0}")]
    Malformed(#[from] EncodingError),
    /// The passphrase is not the backup's.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// It was changed, cut, or put together from several.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// It takes a second person, who has not approved yet.
    #[error("it waits for an approval by {0}")]
    NotApproved(Approver),
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupSummary {
    /// The realm's name.
    pub name: Name,
    /// The realm's id.
    pub id: RealmId,
    /// When it was made, in milliseconds since 1970.
    pub made_ms: u64,
    /// How many users it has, deleted ones apart.
    pub users: usize,
    /// How many roles with a name.
    pub roles: usize,
    /// How many calls for nodes.
    pub calls: usize,
}

/// A backup that its passphrase opened, and all of which was verified.
pub struct Backup {
    name: Name,
    roots: Roots,
    approver: Option<Approver>,
    keys: RealmKeys,
    realm: Vec<u8>,
    root_sealed: Vec<u8>,
    content: Content,
}

struct Content {
    made_ms: u64,
    login: Vec<u8>,
    roles: Option<RolesRecord>,
    revoked: Option<RevokedSessionsRecord>,
    revocations: Option<RevocationsRecord>,
    revoked_nodes: Option<RevokedNodesRecord>,
    delegations: Vec<Chain>,
    users: Vec<UserRecord>,
    calls: Vec<Verified<Call>>,
    audit: Vec<u8>,
}

impl Realm {
    /// The whole realm as a backup under its passphrase, or under `new_passphrase`,
    /// which then is also that of the realm that is restored from it.
    ///
    /// # Errors
    /// [`RealmError::WrongPassphrase`], [`RealmError::TooLarge`], others.
    pub fn backup(
        &self,
        passphrase: &[u8],
        new_passphrase: Option<&[u8]>,
        now_ms: u64,
    ) -> Result<(SecretBytes, BackupSummary), RealmError> {
        let keys = self.open_keys(passphrase)?;
        let root_sealed = match new_passphrase {
            Some(passphrase) => keys.seal(&self.id(), passphrase)?,
            None => self.read_file("root.sealed", ROOT_FILE_MAX)?,
        };
        // Not while somebody changes it: all of one moment.
        let _lock = files::lock(&self.directory.join("lock"))?;
        let event = Event::done(
            now_ms,
            What::RealmBackedUp,
            Who::Administrator,
            Subject::Nothing,
        );
        let audit = AuditSecrets::of(&keys.storage_key, &self.id());
        local::append(&self.directory, &audit, &event)?;
        let users = self.users()?;
        let mut calls = self.calls()?;
        calls.sort_by_key(|call| call.body().id);
        let content = Content {
            made_ms: now_ms,
            login: self.read_file("login.sealed", LOGIN_FILE_BYTES)?,
            roles: users.roles_record().cloned(),
            revoked: users.revoked_record().cloned(),
            revocations: users.revocations_record().cloned(),
            revoked_nodes: users.revoked_nodes_record().cloned(),
            delegations: self.delegations()?,
            users: users.records().cloned().collect(),
            calls,
            audit: self.read_file(LOCAL_FILE, AUDIT_BYTES_MAX)?,
        };
        // What could not be restored is damage now, not on the day it is needed.
        open_login(&keys.storage_key, &self.id(), &content.login)
            .map_err(|what| damaged(&self.directory.join("login.sealed"), &what))?;
        let realm = self.read_file("realm", REALM_FILE_MAX)?;
        let path = self.directory.join("realm");
        let public = parse_realm(&realm).map_err(|error| damaged(&path, &error))?;
        let current = super::read_roots(&self.directory, &public.inception)?;
        if current.digest() != self.roots.digest() || public.approver != self.approver {
            return Err(damaged(&path, &"it is that of another realm by now"));
        }
        if content.users.len() > USERS_MAX
            || content.calls.len() > CALLS_MAX
            || content.delegations.len() > DELEGATIONS_MAX
        {
            return Err(RealmError::TooLarge);
        }
        let mut writer = Writer::new();
        writer.fixed(MAGIC);
        writer.u8(VERSION);
        writer.bytes(&realm);
        writer.bytes(&root_sealed);
        writer.bytes(&self.roots.encode());
        let mut sealed = writer.finish();
        let key = stream_key(&keys.storage_key, &self.id());
        let stream = stream::seal(
            &key,
            CONTEXT,
            &sealed,
            Options::default(),
            &content.encode(),
        )
        .map_err(|_| RealmError::TooLarge)?;
        if sealed.len() + stream.len() > BACKUP_LENGTH_MAX - LAYER_OVERHEAD_MAX {
            return Err(RealmError::TooLarge);
        }
        sealed.extend_from_slice(&stream);
        let summary = content.summary(&self.name, self.id());
        let sealed = SecretBytes::new(sealed);
        let Some(approver) = &self.approver else {
            return Ok((sealed, summary));
        };
        let waiting = Waiting {
            act: Act::Restore,
            realm: self.id(),
            name: self.name.clone(),
            made_ms: now_ms,
        };
        let layer = under_approval(approver, &waiting, sealed.expose())?;
        Ok((SecretBytes::new(layer), summary))
    }

    /// The lowest version that a change may get; 0 for a realm that was never lost.
    pub(super) fn version_floor(&self) -> Result<u64, RealmError> {
        let path = self.directory.join("restored");
        let bytes = match files::read_secret(&path, RESTORED_LENGTH) {
            Err(FileError::Missing(_)) => return Ok(0),
            read => read?,
        };
        read_restored(bytes.expose(), &self.roots).map_err(|error| damaged(&path, &error))
    }

    /// Whether the realm was restored from a backup once.
    #[must_use]
    pub fn is_restored(&self) -> bool {
        self.directory.join("restored").exists()
    }

    fn read_file(&self, name: &str, maximum: usize) -> Result<Vec<u8>, RealmError> {
        let content = files::read_secret(&self.directory.join(name), maximum)?;
        Ok(content.expose().to_vec())
    }
}

impl OpenRealm {
    /// The version that follows `held`.
    pub(super) fn next_version(&self, held: u64) -> Result<u64, RealmError> {
        Ok(held.saturating_add(1).max(self.realm.version_floor()?))
    }
}

impl Backup {
    /// Whether nobody's approval is missing; looks at how the backup begins.
    ///
    /// # Errors
    /// [`BackupError::NotApproved`].
    pub fn check_approved(bytes: &[u8]) -> Result<(), BackupError> {
        if Waiting::is(bytes) {
            let (_, approver) = Waiting::read(bytes)?;
            return Err(BackupError::NotApproved(approver));
        }
        Ok(())
    }

    /// Opens a backup and verifies all that is in it.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn open(bytes: &[u8], passphrase: &[u8]) -> Result<Self, BackupError> {
        Self::check_approved(bytes)?;
        let mut reader = Reader::new(bytes);
        if reader.fixed(4)? != MAGIC {
            return Err(EncodingError::Invalid("it does not begin with SMRB").into());
        }
        let version = reader.u8()?;
        if version != VERSION {
            return Err(EncodingError::Unknown {
                what: "backup version",
                value: u64::from(version),
            }
            .into());
        }
        let realm = reader.bytes(REALM_FILE_MAX)?;
        let root_sealed = reader.bytes(ROOT_FILE_MAX)?;
        let record = reader.bytes(ROOTS_LENGTH_MAX)?;
        let front = 4 + 1 + 4 + realm.len() + 4 + root_sealed.len() + 4 + record.len();
        let Public {
            name,
            inception,
            approver,
        } = parse_realm(realm).map_err(|error| BackupError::damaged(&error))?;
        let roots = Roots::decode(record, &inception.realm())
            .map_err(|error| BackupError::damaged(&error))?;
        let keys = RealmKeys::open(root_sealed, passphrase, &roots)?;
        let id = roots.realm();
        let (front, sealed) = bytes.split_at(front);
        let content = stream::open(&stream_key(&keys.storage_key, &id), CONTEXT, front, sealed)
            .map_err(|error| BackupError::damaged(&error))?;
        let content = Content::decode(content.expose(), &roots)?;
        open_login(&keys.storage_key, &id, &content.login)
            .map_err(|what| BackupError::damaged(&what))?;
        Ok(Self {
            name,
            roots,
            approver,
            keys,
            realm: realm.to_vec(),
            root_sealed: root_sealed.to_vec(),
            content,
        })
    }

    /// What is in it.
    #[must_use]
    pub fn summary(&self) -> BackupSummary {
        self.content.summary(&self.name, self.roots.realm())
    }

    /// Makes the realm again in `realms/NAME`. Its next changes get versions from
    /// `now_ms` on, which lies above any number of changes.
    ///
    /// # Errors
    /// [`FileError::Exists`] when there is something of this name; other
    /// [`RealmError`]s.
    pub fn restore(&self, realms: &Path, now_ms: u64) -> Result<Realm, RealmError> {
        let floor = now_ms.max(self.content.highest_version().saturating_add(1));
        let mut restored = vec![1];
        restored.extend_from_slice(&floor.to_le_bytes());
        let signature = self.keys.root_key.sign(RESTORED_DOMAIN, &restored);
        restored.extend_from_slice(&signature.to_bytes());
        let audit = AuditSecrets::of(&self.keys.storage_key, &self.roots.realm());
        let untold = self.content.untold()?;
        let directory = make_directory(realms, self.name.as_str(), |making| {
            files::create_directory(making)?;
            files::create_directory(&making.join("users"))?;
            files::create_directory(&making.join("calls"))?;
            files::fill(&making.join("root.sealed"), &self.root_sealed)?;
            files::fill(&making.join("login.sealed"), &self.content.login)?;
            files::fill(&making.join("restored"), &restored)?;
            if let Some(roles) = &self.content.roles {
                files::fill(&making.join("roles"), &roles.encode())?;
            }
            if let Some(revoked) = &self.content.revoked {
                files::fill(&making.join("sessions"), &revoked.encode())?;
            }
            if let Some(revocations) = &self.content.revocations {
                files::fill(&making.join("revocations"), &revocations.encode())?;
            }
            if let Some(revoked) = &self.content.revoked_nodes {
                files::fill(&making.join("revoked-nodes"), &revoked.encode())?;
            }
            if !self.content.delegations.is_empty() {
                files::create_directory(&making.join("delegations"))?;
            }
            for chain in &self.content.delegations {
                let path = making.join("delegations").join(chain.path().to_string());
                files::fill(&path, &chain.encode())?;
            }
            for record in &self.content.users {
                let path = making.join("users").join(record.user().name.as_str());
                files::fill(&path, &record.encode())?;
            }
            if let Some(untold) = &untold {
                files::fill(&making.join(UNTOLD_FILE), untold)?;
            }
            for call in &self.content.calls {
                files::fill(
                    &making.join("calls").join(call_file(&call.body().id)),
                    call.bytes(),
                )?;
            }
            files::fill(&making.join(LOCAL_FILE), &self.content.audit)?;
            let event = Event::done(
                now_ms,
                What::RealmRestored,
                Who::Administrator,
                Subject::Nothing,
            );
            local::append(making, &audit, &event).map_err(|error| FileError::Io {
                path: making.join(LOCAL_FILE),
                source: std::io::Error::other(error),
            })?;
            if self.roots.number() > 0 {
                files::fill(&making.join(super::ROOTS_FILE), &self.roots.encode())?;
            }
            files::fill(&making.join("realm"), &self.realm)?;
            // One sync for all of them, before the directory gets its name.
            files::sync_filesystem(making)
        })?;
        Ok(Realm {
            directory,
            name: self.name.clone(),
            roots: self.roots.clone(),
            approver: self.approver.clone(),
            chain: None,
            handing_over: false,
        })
    }
}

impl BackupError {
    fn damaged(what: &dyn std::fmt::Display) -> Self {
        Self::Damaged(what.to_string())
    }
}

impl From<super::KeysError> for BackupError {
    fn from(error: super::KeysError) -> Self {
        match error {
            super::KeysError::WrongPassphrase => Self::WrongPassphrase,
            super::KeysError::Damaged(what) => Self::Damaged(what),
        }
    }
}

impl Content {
    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u64(self.made_ms);
        writer.bytes(&self.login);
        writer.flag(self.roles.is_some());
        if let Some(roles) = &self.roles {
            writer.bytes(&roles.encode());
        }
        writer.flag(self.revoked.is_some());
        if let Some(revoked) = &self.revoked {
            writer.bytes(&revoked.encode());
        }
        writer.flag(self.revocations.is_some());
        if let Some(revocations) = &self.revocations {
            writer.bytes(&revocations.encode());
        }
        writer.flag(self.revoked_nodes.is_some());
        if let Some(revoked) = &self.revoked_nodes {
            writer.bytes(&revoked.encode());
        }
        writer.count(self.delegations.len());
        for chain in &self.delegations {
            writer.bytes(&chain.encode());
        }
        writer.count(self.users.len());
        for record in &self.users {
            writer.bytes(&record.encode());
        }
        writer.count(self.calls.len());
        for call in &self.calls {
            writer.bytes(call.bytes());
        }
        writer.bytes(&self.audit);
        writer.finish()
    }

    fn decode(bytes: &[u8], roots: &Roots) -> Result<Self, BackupError> {
        let mut reader = Reader::new(bytes);
        let damaged = |error: &dyn std::fmt::Display| BackupError::damaged(error);
        let made_ms = reader.u64()?;
        let login = reader.bytes(LOGIN_FILE_BYTES)?.to_vec();
        let roles = match reader.flag()? {
            true => {
                let record = reader.bytes(SIGNED_RECORD_LENGTH_MAX)?;
                Some(RolesRecord::decode(record, roots).map_err(|error| damaged(&error))?)
            }
            false => None,
        };
        let revoked = match reader.flag()? {
            true => {
                let record = reader.bytes(SIGNED_RECORD_LENGTH_MAX)?;
                Some(
                    RevokedSessionsRecord::decode(record, roots)
                        .map_err(|error| damaged(&error))?,
                )
            }
            false => None,
        };
        let revocations = match reader.flag()? {
            true => {
                let record = reader.bytes(SIGNED_RECORD_LENGTH_MAX)?;
                Some(RevocationsRecord::decode(record, roots).map_err(|error| damaged(&error))?)
            }
            false => None,
        };
        let revoked_nodes = match reader.flag()? {
            true => {
                let record = reader.bytes(SIGNED_RECORD_LENGTH_MAX)?;
                Some(RevokedNodesRecord::decode(record, roots).map_err(|error| damaged(&error))?)
            }
            false => None,
        };
        let mut delegations = Vec::new();
        for _ in 0..reader.count(DELEGATIONS_MAX)? {
            let chain = reader.bytes(CHAIN_BYTES_MAX)?;
            delegations.push(Chain::decode(chain, roots).map_err(|error| damaged(&error))?);
        }
        if !delegations.is_sorted_by(|left, right| left.path() < right.path()) {
            return Err(BackupError::damaged(&"its delegations are out of order"));
        }
        let mut encoded = Vec::new();
        for _ in 0..reader.count(USERS_MAX)? {
            encoded.push(reader.bytes(RECORD_LENGTH_MAX)?);
        }
        let users = parallel::try_map(&encoded, |record| UserRecord::decode(record, roots))
            .map_err(|error| damaged(&error))?;
        if !users.is_sorted_by(|left, right| left.user().name < right.user().name) {
            return Err(BackupError::damaged(&"its users are out of order"));
        }
        let mut calls: Vec<Verified<Call>> = Vec::new();
        for _ in 0..reader.count(CALLS_MAX)? {
            let call = verify_call(reader.bytes(STATEMENT_LENGTH_MAX)?, roots)
                .map_err(|error| damaged(&error))?;
            let last = calls.last().map(|last| last.body().id);
            if last.is_some_and(|last| last >= call.body().id) {
                return Err(BackupError::damaged(&"its calls are out of order"));
            }
            calls.push(call);
        }
        let audit = reader.bytes(AUDIT_BYTES_MAX)?.to_vec();
        reader.finish()?;
        Ok(Self {
            made_ms,
            login,
            roles,
            revoked,
            revocations,
            revoked_nodes,
            delegations,
            users,
            calls,
            audit,
        })
    }

    /// That no node was told of any of it; nothing when there is nothing or nobody to tell.
    fn untold(&self) -> Result<Option<Vec<u8>>, RandomError> {
        let mut calls = self.calls.clone();
        calls.sort_by_key(|call| std::cmp::Reverse(call.issued_ms()));
        let nodes = nodes_of(&calls);
        let addresses: Vec<String> = nodes.into_iter().map(|(_, address)| address).collect();
        let roles = self.roles.iter().map(|_| RecordName::Roles);
        let revoked = self.revoked.iter().map(|_| RecordName::RevokedSessions);
        let users = self.users.iter().map(|record| &record.user().name);
        let users = users.cloned().map(RecordName::User);
        let revocations = self.revocations.iter().map(|_| RecordName::Revocations);
        let nodes = self.revoked_nodes.iter();
        let nodes = nodes.map(|_| RecordName::RevokedNodes);
        let records: Vec<RecordName> = roles
            .chain(revoked)
            .chain(nodes)
            .chain(users)
            .chain(revocations)
            .collect();
        if records.is_empty() || addresses.is_empty() {
            return Ok(None);
        }
        untold::initial(records, addresses).map(Some)
    }

    fn summary(&self, name: &Name, id: RealmId) -> BackupSummary {
        let users = self.users.iter().filter(|record| !record.user().deleted);
        BackupSummary {
            name: name.clone(),
            id,
            made_ms: self.made_ms,
            users: users.count(),
            roles: self
                .roles
                .as_ref()
                .map_or(0, |roles| roles.roles().iter().len()),
            calls: self.calls.len(),
        }
    }

    fn highest_version(&self) -> u64 {
        // What a delegate issued yields to the root's, whatever the version.
        let users = self.users.iter().filter(|record| record.chain().is_none());
        let users = users.map(|record| record.user().version);
        let roles = self.roles.iter().map(RolesRecord::version);
        let revoked = self.revoked.iter().map(RevokedSessionsRecord::version);
        let revocations = self.revocations.iter().map(RevocationsRecord::version);
        let nodes = self.revoked_nodes.iter().map(RevokedNodesRecord::version);
        let delegations = self.delegations.iter().map(Chain::last);
        let delegations = delegations.flat_map(|one| [one.serial, one.version]);
        users
            .chain(roles)
            .chain(revoked)
            .chain(nodes)
            .chain(revocations)
            .chain(delegations)
            .max()
            .unwrap_or(0)
    }
}

fn stream_key(storage_key: &SecretArray<32>, realm: &RealmId) -> StreamKey {
    StreamKey::from_secret(&derive_key(storage_key, BACKUP_LABEL, realm.as_bytes()))
}

fn read_restored(bytes: &[u8], roots: &Roots) -> Result<u64, EncodingError> {
    let mut reader = Reader::new(bytes);
    let version = reader.u8()?;
    if version != 1 {
        return Err(EncodingError::Unknown {
            what: "version",
            value: u64::from(version),
        });
    }
    let floor = reader.u64()?;
    let signature = Signature::from_bytes(reader.array()?);
    reader.finish()?;
    // Also a former root's: the floor holds on when the realm is handed over.
    let signed = (0..=roots.number()).filter_map(|number| roots.key(number));
    let mut signed = signed.map(|root| root.verify(RESTORED_DOMAIN, &bytes[..9], &signature));
    if !signed.any(|verified| verified.is_ok()) {
        return Err(EncodingError::Invalid(
            "the root's signature does not verify",
        ));
    }
    Ok(floor)
}

#[cfg(test)]
mod tests;
