//! Delegations that were issued here, and taken back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{OpenRealm, Realm, RealmError, damaged};
use crate::audit::{Subject, What};
use crate::delegation::{CHAIN_BYTES_MAX, Chain, DelegationError, SerialPath};
use crate::files::{self, Existing, FileError};
use crate::name::Name;
use crate::policy::Grant;
use crate::records::{RecordName, RevocationsRecord, SIGNED_RECORD_LENGTH_MAX};
use crate::statement::{
    Credential, Delegation, Powers, REVOCATIONS_MAX, Revocation, Revocations, User, Verified,
};
use crate::users::{RecordError, UserRecord};

use super::delegate::{Request, delegation_file};
use super::taken_over::ReplacedRole;

/// What a delegate may do, and until when.
#[derive(Debug, Clone)]
pub struct Terms {
    /// What it may hand out.
    pub grants: Vec<Grant>,
    /// Whether it may make delegates itself.
    pub may_delegate: bool,
    /// Until when, in milliseconds since 1970.
    pub expires_ms: u64,
}

/// A delegation that was issued.
pub struct Granted {
    /// The delegations down to the new one.
    pub chain: Chain,
    /// What the delegate is to be handed; no secret.
    pub file: Vec<u8>,
    /// Whether the delegate had one already.
    pub renewed: bool,
    /// Users of the delegate who do not lie within the new terms: they end.
    pub lost: Vec<Name>,
}

/// What becomes of the users whom a revoked delegate made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The root signs them with the rights that they have: they live on.
    Adopt,
    /// They end.
    Drop,
}

/// What a revocation did.
pub struct Revoked {
    /// Users whom the root signed.
    pub adopted: Vec<Name>,
    /// Users who ended.
    pub dropped: Vec<Name>,
    /// Named roles that the adopted users have no longer by their names.
    pub replaced: Vec<ReplacedRole>,
}

/// The delegations that the root issued, by serial.
pub(super) struct Issued(BTreeMap<SerialPath, Chain>);

impl Issued {
    /// The delegation that a chain begins with, if it was issued here, to this key, in this
    /// version or a later one. One that is ahead was signed by somebody else.
    pub(super) fn first_of(&self, chain: &Chain) -> Option<&Chain> {
        let first = chain.delegations().next()?;
        self.0
            .get(&SerialPath::of([first.serial]))
            .filter(|issued| {
                let last = issued.last();
                last.key == first.key && last.version >= first.version
            })
    }
}

impl Realm {
    /// The delegations that the root issued, as they stand now, revoked ones too.
    pub(super) fn issued(&self) -> Result<Issued, RealmError> {
        let chains = self.delegations()?.into_iter();
        let roots = chains.map(|chain| (chain.path(), chain));
        Ok(Issued(
            roots.filter(|(path, _)| path.parent().is_root()).collect(),
        ))
    }

    /// The newest chain of each delegation that was issued here, revoked and expired ones
    /// too, the elder first.
    ///
    /// # Errors
    /// [`RealmError::Damaged`].
    pub fn delegations(&self) -> Result<Vec<Chain>, RealmError> {
        let directory = self.delegations_directory();
        let names = match files::names(&directory) {
            Err(FileError::Missing(_)) => return Ok(Vec::new()),
            names => names?,
        };
        let mut chains = Vec::with_capacity(names.len());
        for name in names {
            let path = directory.join(name);
            let bytes = files::read_secret(&path, CHAIN_BYTES_MAX)?;
            let chain = Chain::decode(bytes.expose(), &self.roots)
                .map_err(|error| damaged(&path, &error))?;
            chains.push(chain);
        }
        chains.sort_by_key(Chain::path);
        Ok(chains)
    }

    /// The delegation of this name that was issued here and not revoked.
    ///
    /// # Errors
    /// [`RealmError::NoSuchDelegate`], [`RealmError::Damaged`].
    pub fn delegation(&self, name: &Name) -> Result<Chain, RealmError> {
        let revocations = self.revocations()?;
        self.delegations()?
            .into_iter()
            .filter(|chain| chain.last().name == *name)
            .find(|chain| !is_revoked(revocations.as_ref(), chain))
            .ok_or_else(|| RealmError::NoSuchDelegate(name.clone()))
    }

    /// The realm's revoked delegations as signed; none before the first.
    ///
    /// # Errors
    /// [`RealmError::Damaged`] when the record does not verify.
    pub fn revocations(&self) -> Result<Option<RevocationsRecord>, RealmError> {
        let path = self.revocations_path();
        let bytes = match files::read_secret(&path, SIGNED_RECORD_LENGTH_MAX) {
            Err(FileError::Missing(_)) => return Ok(None),
            read => read?,
        };
        RevocationsRecord::decode(bytes.expose(), &self.roots)
            .map(Some)
            .map_err(|error: RecordError| damaged(&path, &error))
    }

    /// The users whom the delegate with this path made, or who lies below, deleted ones
    /// too, as far as this directory knows them.
    ///
    /// # Errors
    /// [`RealmError::Damaged`].
    pub fn users_of(&self, path: &SerialPath) -> Result<Vec<UserRecord>, RealmError> {
        let users = self.users()?;
        let of_path = |record: &&UserRecord| {
            record
                .chain()
                .is_some_and(|chain| chain.path().lies_within(path))
        };
        Ok(users.records().filter(of_path).cloned().collect())
    }

    /// The record, unless what is behind it was revoked.
    pub(super) fn not_revoked(&self, record: UserRecord) -> Result<Option<UserRecord>, RealmError> {
        let Some(chain) = record.chain() else {
            return Ok(Some(record));
        };
        let revoked = is_revoked(self.revocations()?.as_ref(), chain);
        Ok((!revoked).then_some(record))
    }

    pub(super) fn revocations_path(&self) -> PathBuf {
        self.directory.join("revocations")
    }

    pub(super) fn delegations_directory(&self) -> PathBuf {
        self.directory.join("delegations")
    }

    fn write_delegation(&self, chain: &Chain) -> Result<(), RealmError> {
        files::ensure_directory(&self.delegations_directory())?;
        let path = self.delegations_directory().join(chain.path().to_string());
        Ok(files::write(&path, &chain.encode(), Existing::Replace)?)
    }
}

impl OpenRealm {
    /// Makes who asks a delegate, or renews the delegation under its serial: then the
    /// users that the delegate made live on, as far as they lie within the new terms. Of
    /// narrower terms the older version is revoked.
    ///
    /// # Errors
    /// [`RealmError::DelegateExists`], [`RealmError::Delegation`], other [`RealmError`]s.
    pub fn delegate(
        &self,
        request: &Request,
        terms: &Terms,
        now_ms: u64,
    ) -> Result<Granted, RealmError> {
        let _lock = self.lock()?;
        if let Some(chain) = self.realm.chain() {
            chain.check_now(now_ms)?;
        }
        let held = match self.realm.delegation(request.name()) {
            Err(RealmError::NoSuchDelegate(_)) => None,
            held => Some(held?),
        };
        let held = held.as_ref().map(Chain::last);
        if held.is_some_and(|held| held.key != *request.key()) {
            return Err(RealmError::DelegateExists(request.name().clone()));
        }
        let delegation = Delegation {
            name: request.name().clone(),
            key: *request.key(),
            serial: match held {
                Some(held) => held.serial,
                None => self.next_serial()?,
            },
            version: self.next_version(held.map_or(0, |held| held.version))?,
            powers: Powers {
                users: true,
                delegations: terms.may_delegate,
            },
            grants: terms.grants.clone(),
            valid_from_ms: held.map_or(now_ms, |held| held.valid_from_ms),
            expires_ms: terms.expires_ms,
        };
        let narrower = held.is_some_and(|held| is_narrower(&delegation, held));
        let above = self.realm.chain();
        let chain = Chain::issue(above, &self.issuer, &self.realm.roots, delegation, now_ms)?;
        if narrower {
            // Only the root's revocations are believed; it narrows, or nobody does.
            self.check_root("narrowing a delegation")?;
        }
        let (renewed, lost) = self.renewed_records(&chain)?;
        let mut told: Vec<RecordName> = renewed
            .iter()
            .map(|record| RecordName::User(record.user().name.clone()))
            .collect();
        if narrower {
            told.push(RecordName::Revocations);
        }
        self.note_untold(told)?;
        let detail = format!("{} {}", chain.path(), request.name());
        self.record(now_ms, What::DelegationIssued, Subject::Nothing, detail)?;
        self.realm.write_delegation(&chain)?;
        for record in &renewed {
            self.write_user(record)?;
        }
        let mut gone = Vec::new();
        if narrower {
            let lowest_version = chain.last().version;
            self.revoke_path(
                &chain.path(),
                lowest_version,
                "replaced by narrower",
                now_ms,
            )?;
            for record in lost {
                gone.push(record.user().name.clone());
                // Not forgotten: else an older one would be news.
                self.keep_former(&record)?;
                self.remove_user(&record.user().name)?;
                self.bring_forward(&record.user().name)?;
            }
        }
        Ok(Granted {
            file: delegation_file(&self.realm, &chain)?,
            chain,
            renewed: held.is_some(),
            lost: gone,
        })
    }

    /// Takes a delegation back for good, with all that lie below it.
    ///
    /// # Errors
    /// [`RealmError::NoSuchDelegate`], [`RealmError::NotTheRoot`], other [`RealmError`]s.
    pub fn revoke_delegate(
        &self,
        name: &Name,
        fate: Fate,
        reason: &str,
        now_ms: u64,
    ) -> Result<Revoked, RealmError> {
        self.check_root("revoking a delegate")?;
        let _lock = self.lock()?;
        let path = self.realm.delegation(name)?.path();
        let users = self.realm.users_of(&path)?;
        let mut revoked = Revoked {
            adopted: Vec::new(),
            dropped: Vec::new(),
            replaced: Vec::new(),
        };
        // First those who live on: whoever has the revocation goes by the new records.
        for record in &users {
            let user = record.user();
            if fate == Fate::Adopt && !user.deleted {
                let mut adopted: User = user.clone();
                let replaced = self.take_over(record, &mut adopted, &[])?;
                revoked.replaced.extend(replaced);
                adopted.version = self.next_version(user.version)?;
                let credential = self.own_credential(record, now_ms);
                self.store(adopted, credential, now_ms)?;
                revoked.adopted.push(user.name.clone());
            }
        }
        if !revoked.adopted.is_empty() {
            let adopted = format!("{} users of {name}", revoked.adopted.len());
            self.record(now_ms, What::UsersAdopted, Subject::Nothing, adopted)?;
        }
        self.note_untold(vec![RecordName::Revocations])?;
        self.revoke_path(&path, Revocation::FOR_GOOD, reason, now_ms)?;
        for record in &users {
            let name = &record.user().name;
            if !revoked.adopted.contains(name) {
                self.remove_user(name)?;
                self.bring_forward(name)?;
                if !record.user().deleted {
                    revoked.dropped.push(name.clone());
                }
            }
        }
        self.settle_former(Some(&path))?;
        Ok(revoked)
    }

    /// Whether the root signs here.
    pub(super) fn check_root(&self, what: &'static str) -> Result<(), RealmError> {
        match self.realm.chain() {
            Some(_) => Err(RealmError::NotTheRoot(what)),
            None => Ok(()),
        }
    }

    /// The login secrets, which only the root's directory has.
    pub(super) fn login(
        &self,
        what: &'static str,
    ) -> Result<&crate::opaque::LoginSecrets, RealmError> {
        self.login.as_ref().ok_or(RealmError::NotTheRoot(what))
    }

    /// Whether a user may be changed here: of the root anybody, of a delegate those whom
    /// it made itself, or a delegate below.
    pub(super) fn check_own(&self, record: &UserRecord) -> Result<(), RealmError> {
        let own = self.realm.path();
        let theirs = record.chain().map(Chain::path).unwrap_or_default();
        if !theirs.lies_within(&own) {
            return Err(RealmError::OthersUser(record.user().name.clone()));
        }
        Ok(())
    }

    /// The credential as who signs here issues it: another's would not be believed
    /// beside the new user statement.
    pub(super) fn own_credential(
        &self,
        record: &UserRecord,
        now_ms: u64,
    ) -> Option<Verified<Credential>> {
        let credential = record.credential()?;
        let issuer = record.chain().map(Chain::path).unwrap_or_default();
        if issuer == self.realm.path() {
            return Some(credential.clone());
        }
        Some(self.issue(credential.body().clone(), now_ms))
    }

    /// The record of a user as who signs here issues it, if it will be believed now.
    pub(super) fn user_record(
        &self,
        path: &std::path::Path,
        user: User,
        credential: Option<Verified<Credential>>,
        now_ms: u64,
    ) -> Result<UserRecord, RealmError> {
        let Some(chain) = self.realm.chain() else {
            return UserRecord::new(self.issue(user, now_ms), credential)
                .map(|record| record.under_root(self.root_number()))
                .map_err(|error| damaged(path, &error));
        };
        chain.check_now(now_ms)?;
        if let Some(revocations) = self.realm.revocations()? {
            revocations.check(chain)?;
        }
        chain.check_user(&user)?;
        UserRecord::by_delegate(chain.clone(), self.issue(user, now_ms), credential)
            .map_err(|error| damaged(path, &error))
    }

    pub(super) fn write_user(&self, record: &UserRecord) -> Result<(), RealmError> {
        let path = self.realm.users_directory();
        let path = path.join(record.user().name.as_str());
        Ok(files::write(&path, &record.encode(), Existing::Replace)?)
    }

    pub(super) fn remove_user(&self, name: &Name) -> Result<(), RealmError> {
        let path = self.realm.users_directory().join(name.as_str());
        Ok(files::remove(&path)?)
    }

    /// The records under an older version of this delegation, as they stand under the
    /// new one, and those that cannot.
    pub(super) fn renewed_records(
        &self,
        chain: &Chain,
    ) -> Result<(Vec<UserRecord>, Vec<UserRecord>), RealmError> {
        let (mut renewed, mut lost) = (Vec::new(), Vec::new());
        for record in self.realm.users_of(&chain.path())? {
            let newer = record
                .chain()
                .and_then(|held| held.renewed(chain, &self.realm.roots));
            let Some(newer) = newer else {
                continue;
            };
            let under = newer.map_err(RecordError::from).and_then(|newer| {
                let (user, credential) = (record.user_statement(), record.credential());
                UserRecord::by_delegate(newer, user.clone(), credential.cloned())
            });
            match under {
                Ok(record) => renewed.push(record),
                Err(_) => lost.push(record),
            }
        }
        Ok((renewed, lost))
    }

    /// A serial that no delegation by who signs here has had.
    fn next_serial(&self) -> Result<u64, RealmError> {
        let own = self.realm.path();
        let known = self.realm.delegations()?;
        let issued = known
            .iter()
            .filter(|chain| chain.path().parent() == own)
            .map(|chain| chain.last().serial);
        let revocations = self.realm.revocations()?;
        let revoked = revocations.iter().flat_map(|record| {
            let paths = record.revocations().entries.keys();
            paths.filter(|path| path.parent() == own)
        });
        let revoked = revoked.filter_map(SerialPath::last);
        self.next_version(issued.chain(revoked).max().unwrap_or(0))
    }

    /// Adds to the realm's revocations, and signs what comes of it.
    fn revoke_path(
        &self,
        path: &SerialPath,
        lowest_version: u64,
        reason: &str,
        now_ms: u64,
    ) -> Result<(), RealmError> {
        let held = self.realm.revocations()?;
        let version = held.as_ref().map_or(0, RevocationsRecord::version);
        let mut revocations = Revocations {
            version: self.next_version(version)?,
            entries: held
                .map(|record| record.revocations().entries.clone())
                .unwrap_or_default(),
        };
        let entry = Revocation {
            lowest_version,
            reason: reason.to_owned(),
        };
        revocations.entries.insert(path.clone(), entry);
        if revocations.entries.len() > REVOCATIONS_MAX {
            return Err(RealmError::TooManyRevocations);
        }
        let detail = format!("{path} below version {lowest_version}: {reason}");
        self.record(now_ms, What::DelegationRevoked, Subject::Nothing, detail)?;
        let record =
            RevocationsRecord::new(self.issue(revocations, now_ms)).under_root(self.root_number());
        let file = self.realm.revocations_path();
        Ok(files::write(&file, &record.encode(), Existing::Replace)?)
    }
}

fn is_revoked(revocations: Option<&RevocationsRecord>, chain: &Chain) -> bool {
    let refused = |record: &RevocationsRecord| {
        matches!(record.check(chain), Err(DelegationError::Revoked { .. }))
    };
    revocations.is_some_and(refused)
}

/// Whether the new terms take something from what the held ones give.
fn is_narrower(new: &Delegation, held: &Delegation) -> bool {
    let kept = held
        .grants
        .iter()
        .all(|grant| grant.lies_within(&new.grants));
    !kept || !held.powers.lie_within(new.powers) || new.expires_ms < held.expires_ms
}

#[cfg(test)]
mod tests;
