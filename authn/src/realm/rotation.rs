//! Handing a realm over to its heir: everything that the root signed is signed anew.
//!
//! What is signed anew is what lies in this directory, and never what nodes showed: who
//! stole the root key has put records there that verify. Of a delegate's users only those
//! are kept whose first delegation was issued here.
//!
//! ```text
//! rotation    0      4  "SMRR"
//!             4      1  version, 1
//!             5    4+n  the roots with the new handover
//!           9+n    4+m  root.sealed of the new root
//!        13+n+m      1  whether the next heir stays in this directory; then
//!                  4+h  its heir.sealed
//! ```
//!
//! This file is the decision. Once it is durable the realm is handed over, whatever
//! happens: all that follows comes from it and from the directory, each step can be done
//! again, and nothing else is done with the realm before it is through. The order of the
//! steps keeps the directory readable at each of them:
//!
//! 1. who is to be told (`untold`)
//! 2. delegations, then users, those of delegates under the new delegations, then what is
//!    kept behind them, then roles
//! 3. revoked sessions, revoked nodes, revocations, each also where there are none: with
//!    the last of them what the former root said counts no longer
//! 4. `root.sealed`, `heir.sealed`, `roots`
//! 5. the decision is removed

use std::path::Path;

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::signature::SigningKey;

use super::delegations::Issued;
use super::heir::{self, HEIR_FILE, HEIR_FILE_MAX};
use super::{
    KeysError, OpenRealm, PORTION, ROOT_FILE_MAX, ROOTS_FILE, Realm, RealmError, RealmKeys, damaged,
};
use crate::audit::local::{self, AuditSecrets};
use crate::audit::{Event, Subject, What, Who};
use crate::delegation::Chain;
use crate::files::{self, Existing, FileError};
use crate::name::Name;
use crate::parallel;
use crate::realm_id::RealmId;
use crate::records::{
    RecordName, RevocationsRecord, RevokedNodesRecord, RevokedSessionsRecord, RolesRecord,
};
use crate::roots::{ROOTS_LENGTH_MAX, Roots};
use crate::statement::{HANDOVER_CALLS_MAX, Revocations, RevokedNodes, RevokedSessions, Roles};
use crate::users::{RecordError, UserRecord};

const MAGIC: &[u8; 4] = b"SMRR";
const VERSION: u8 = 1;
/// Name of the file with the decision.
pub(super) const ROTATION_FILE: &str = "rotation";
const ROTATION_FILE_MAX: usize = 64 + ROOTS_LENGTH_MAX + ROOT_FILE_MAX + HEIR_FILE_MAX;

/// What handing over takes.
pub struct HandOver<'a> {
    /// What opens the root's key.
    pub passphrase: &'a [u8],
    /// The key that comes next ([`Realm::open_heir`]).
    pub heir: &'a SigningKey,
    /// Another passphrase for the new root and for the heir after it: who has the former
    /// key may have had its passphrase too.
    pub new_passphrase: Option<&'a [u8]>,
    /// Where the heir after this one shall be kept; in the directory without.
    pub new_heir: Option<&'a Path>,
}

/// What came of it.
pub struct HandedOver {
    /// The realm under its new root.
    pub realm: Realm,
    /// How many users there are, deleted ones too.
    pub users: usize,
    /// Users of delegates who could not be kept: nobody here issued the delegation that
    /// they rest on, or they do not lie within it.
    pub lost: Vec<Name>,
    /// What each delegate has to accept ([`super::AcceptedFile`]), by name.
    pub delegations: Vec<(Name, Vec<u8>)>,
}

/// A decision that was not carried out yet.
pub(super) struct Pending {
    pub(super) roots: Roots,
    root_sealed: Vec<u8>,
    heir_sealed: Option<Vec<u8>>,
}

/// The decision in `directory`, if there is one.
pub(super) fn pending(directory: &Path, realm: &RealmId) -> Result<Option<Pending>, RealmError> {
    let path = directory.join(ROTATION_FILE);
    let bytes = match files::read_secret(&path, ROTATION_FILE_MAX) {
        Err(FileError::Missing(_)) => return Ok(None),
        read => read?,
    };
    let (roots, root_sealed, heir_sealed) =
        parse(bytes.expose()).map_err(|error| damaged(&path, &error))?;
    let roots = Roots::decode(roots, realm).map_err(|error| damaged(&path, &error))?;
    Ok(Some(Pending {
        roots,
        root_sealed: root_sealed.to_vec(),
        heir_sealed: heir_sealed.map(<[u8]>::to_vec),
    }))
}

/// The roots, the new root's box, and the next heir's.
type Parts<'a> = (&'a [u8], &'a [u8], Option<&'a [u8]>);

fn parse(bytes: &[u8]) -> Result<Parts<'_>, EncodingError> {
    let mut reader = Reader::new(bytes);
    if reader.fixed(4)? != MAGIC {
        return Err(EncodingError::Invalid("it does not begin with SMRR"));
    }
    let version = reader.u8()?;
    if version != VERSION {
        return Err(EncodingError::Unknown {
            what: "version of the rotation",
            value: u64::from(version),
        });
    }
    let roots = reader.bytes(ROOTS_LENGTH_MAX)?;
    let root_sealed = reader.bytes(ROOT_FILE_MAX)?;
    let heir_sealed = match reader.flag()? {
        true => Some(reader.bytes(HEIR_FILE_MAX)?),
        false => None,
    };
    reader.finish()?;
    Ok((roots, root_sealed, heir_sealed))
}

impl Realm {
    /// Whether the realm is being handed over and that was interrupted: nothing is done
    /// with it before [`Realm::finish_hand_over`] is through.
    #[must_use]
    pub fn is_being_handed_over(&self) -> bool {
        self.handing_over
    }

    /// Decides that the heir is the root from now on. What the root signed is signed anew
    /// by [`Realm::finish_hand_over`], which has to follow; a crash in between is no harm.
    ///
    /// # Errors
    /// [`RealmError::WrongPassphrase`], [`RealmError::TooManyCalls`],
    /// [`RealmError::Roots`] where nobody would believe the handover, others. With each of
    /// them the realm is what it was.
    pub fn decide_hand_over(&self, with: &HandOver<'_>, now_ms: u64) -> Result<(), RealmError> {
        let former = self.open_keys(with.passphrase)?;
        self.clean_up()?;
        let _lock = self.lock()?;
        self.check_unchanged()?;
        // What does not verify is found now, when the realm is still what it was.
        self.users()?;
        self.delegations()?;
        let next = SigningKey::generate()?;
        let next_id = next.verifying_key().key_id();
        let calls = self.standing_calls()?;
        let roots = self
            .roots
            .hand_over(&former.root_key, with.heir, next_id, &calls, now_ms)?;
        let passphrase = with.new_passphrase.unwrap_or(with.passphrase);
        let keys = RealmKeys {
            root_key: SigningKey::from_seed(&with.heir.to_seed()),
            storage_key: former.storage_key,
        };
        let root_sealed = keys.seal(&self.id(), passphrase)?;
        let heir_sealed = heir::seal(&next, passphrase, self.heir_layer(now_ms).as_ref())?;
        let event = Event::done(
            now_ms,
            What::RootHandedOver,
            Who::Administrator,
            Subject::Nothing,
        );
        let to = format!("root {}: {}", roots.number(), roots.current().key_id());
        let audit = AuditSecrets::of(&keys.storage_key, &self.id());
        local::append(&self.directory, &audit, &event.detail(to))?;
        let mut writer = Writer::new();
        writer.fixed(MAGIC);
        writer.u8(VERSION);
        writer.bytes(&roots.encode());
        writer.bytes(&root_sealed);
        writer.flag(with.new_heir.is_none());
        match with.new_heir {
            // Before the decision: a realm whose next heir nobody has is never handed
            // over again.
            Some(path) => files::write(path, &heir_sealed, Existing::Refuse)?,
            None => writer.bytes(&heir_sealed),
        }
        let path = self.directory.join(ROTATION_FILE);
        Ok(files::write(&path, &writer.finish(), Existing::Refuse)?)
    }

    /// The calls that have to stay valid: all that have nodes which were not given up (the
    /// others are gone). Also one whose addresses a later call names again: which of the two
    /// formed a cluster is not known here.
    fn standing_calls(&self) -> Result<Vec<[u8; 32]>, RealmError> {
        let calls = self.calls()?;
        let standing: Vec<[u8; 32]> = calls
            .iter()
            .filter(|call| self.roots.is_call_valid(call))
            .map(|call| sealmoot_crypto::digest::sha256(call.bytes()))
            .collect();
        if standing.len() > HANDOVER_CALLS_MAX {
            return Err(RealmError::TooManyCalls {
                count: standing.len(),
            });
        }
        Ok(standing)
    }

    /// Carries out what was decided, or goes on with it: `passphrase` is the new root's.
    /// `progress` hears how many users of how many are signed anew.
    ///
    /// # Errors
    /// [`RealmError::NothingDecided`], [`RealmError::WrongPassphrase`], others. It can be
    /// tried again after each of them.
    pub fn finish_hand_over(
        self,
        passphrase: &[u8],
        now_ms: u64,
        progress: impl FnMut(usize, usize),
    ) -> Result<HandedOver, RealmError> {
        let decided = pending(&self.directory, &self.id())?.ok_or(RealmError::NothingDecided)?;
        let path = self.directory.join(ROTATION_FILE);
        let keys = RealmKeys::open(&decided.root_sealed, passphrase, &decided.roots);
        let keys = keys.map_err(|error| match error {
            KeysError::WrongPassphrase => RealmError::WrongPassphrase,
            KeysError::Damaged(what) => damaged(&path, &what),
        })?;
        let lock = self.lock()?;
        // Only now: another process may have gone on with it meanwhile.
        let decided = pending(&self.directory, &self.id())?.ok_or(RealmError::NothingDecided)?;
        files::remove_abandoned(&self.directory)?;
        files::remove_abandoned(&self.users_directory())?;
        let directory = self.directory.clone();
        let realm = OpenRealm {
            audit: AuditSecrets::of(&keys.storage_key, &self.id()),
            realm: Realm {
                roots: decided.roots.clone(),
                ..self
            },
            issuer: keys.root_key,
            login: None,
        };
        let (users, lost) = realm.sign_anew(now_ms, progress)?;
        let write = |name: &str, content: &[u8]| {
            files::write(&directory.join(name), content, Existing::Replace)
        };
        write("root.sealed", &decided.root_sealed)?;
        match &decided.heir_sealed {
            Some(heir) => write(HEIR_FILE, heir)?,
            // What lies here is the key that is the root now.
            None => remove_if_there(&directory.join(HEIR_FILE))?,
        }
        write(ROOTS_FILE, &decided.roots.encode())?;
        let realm = Realm {
            handing_over: false,
            ..realm.close()
        };
        // What can fail comes before the end: behind it there is nothing to go on with.
        let delegations = realm.delegation_files()?;
        if let Err(error) = files::remove(&path)
            && path.exists()
        {
            return Err(error.into());
        }
        // Gone, if maybe not for good: should a power cut bring it back, it is gone on with,
        // and there is nothing left to do.
        drop(lock);
        Ok(HandedOver {
            realm,
            users,
            lost,
            delegations,
        })
    }

    /// What each delegate whom the root made one has to accept, revoked ones left out.
    fn delegation_files(&self) -> Result<Vec<(Name, Vec<u8>)>, RealmError> {
        let revocations = self.revocations()?;
        let holding = |chain: &Chain| {
            let revoked = revocations.as_ref();
            revoked.is_none_or(|revoked| revoked.check(chain).is_ok())
        };
        self.delegations()?
            .iter()
            .filter(|chain| holding(chain))
            .map(|chain| {
                let file = super::delegate::delegation_file(self, chain)?;
                Ok((chain.last().name.clone(), file))
            })
            .collect()
    }

    /// Whether the directory is still that of the root that was opened. The realm is
    /// locked.
    pub(super) fn check_unchanged(&self) -> Result<(), RealmError> {
        if self.chain.is_some() {
            return Ok(());
        }
        if self.directory.join(ROTATION_FILE).exists() {
            return Err(RealmError::BeingHandedOver);
        }
        let known = match files::read_secret(&self.directory.join(ROOTS_FILE), ROOTS_LENGTH_MAX) {
            Err(FileError::Missing(_)) => self.roots.number() == 0,
            read => read?.expose() == self.roots.encode(),
        };
        match known {
            true => Ok(()),
            false => Err(RealmError::HandedOver),
        }
    }
}

impl OpenRealm {
    /// Signs with the new root what a former one signed; how many users there are, and
    /// whose records are gone. The realm is locked.
    fn sign_anew(
        &self,
        now_ms: u64,
        progress: impl FnMut(usize, usize),
    ) -> Result<(usize, Vec<Name>), RealmError> {
        let names = files::names(&self.realm.users_directory())?;
        let mut told: Vec<RecordName> = Vec::with_capacity(names.len() + 4);
        told.extend([
            RecordName::Roles,
            RecordName::RevokedSessions,
            RecordName::RevokedNodes,
            RecordName::Revocations,
        ]);
        let users = names.iter().filter_map(|name| name.parse().ok());
        told.extend(users.map(RecordName::User));
        self.note_untold(told)?;
        self.delegations_anew(now_ms)?;
        let issued = self.realm.issued()?;
        let revocations = self.realm.revocations()?;
        let anew = Anew {
            realm: self,
            issued,
            revocations,
            now_ms,
        };
        let mut lost = anew.users(&names, progress)?;
        lost.extend(anew.former()?);
        lost.sort_unstable();
        lost.dedup();
        self.roles_anew(now_ms)?;
        // Last, and all of them: with these the former root counts no longer.
        self.revoked_anew(now_ms)?;
        Ok((files::names(&self.realm.users_directory())?.len(), lost))
    }

    fn delegations_anew(&self, now_ms: u64) -> Result<(), RealmError> {
        for chain in self.realm.delegations()? {
            if chain.root() == self.root_number() {
                continue;
            }
            let directory = self.realm.delegations_directory();
            let path = directory.join(chain.path().to_string());
            let roots = &self.realm.roots;
            let version = self.next_version(chain.last().version)?;
            let anew = chain
                .under_root(&self.issuer, roots, version, now_ms)
                .map_err(|error| damaged(&path, &error))?;
            files::write(&path, &anew.encode(), Existing::Replace)?;
        }
        Ok(())
    }

    fn roles_anew(&self, now_ms: u64) -> Result<(), RealmError> {
        let Some(held) = self.realm.roles()? else {
            return Ok(());
        };
        if held.root() == self.root_number() {
            return Ok(());
        }
        let roles = Roles {
            version: self.next_version(held.version())?,
            roles: held.roles().clone(),
        };
        let record = RolesRecord::new(self.issue(roles, now_ms)).under_root(self.root_number());
        let path = self.realm.directory.join("roles");
        Ok(files::write(&path, &record.encode(), Existing::Replace)?)
    }

    fn revoked_anew(&self, now_ms: u64) -> Result<(), RealmError> {
        let current = self.root_number();
        let held = self.realm.revoked_sessions()?;
        if held.as_ref().is_none_or(|held| held.root() < current) {
            let mut revoked: RevokedSessions = held
                .map(|record| record.revoked().clone())
                .unwrap_or_default();
            revoked.version = self.next_version(revoked.version)?;
            let record =
                RevokedSessionsRecord::new(self.issue(revoked, now_ms)).under_root(current);
            let path = self.realm.revoked_sessions_path();
            files::write(&path, &record.encode(), Existing::Replace)?;
        }
        let held = self.realm.revoked_nodes()?;
        if held.as_ref().is_none_or(|held| held.root() < current) {
            let mut revoked: RevokedNodes = held
                .map(|record| record.revoked().clone())
                .unwrap_or_default();
            revoked.version = self.next_version(revoked.version)?;
            let record = RevokedNodesRecord::new(self.issue(revoked, now_ms)).under_root(current);
            let path = self.realm.revoked_nodes_path();
            files::write(&path, &record.encode(), Existing::Replace)?;
        }
        let held = self.realm.revocations()?;
        if held.as_ref().is_none_or(|held| held.root() < current) {
            let version = held.as_ref().map_or(0, RevocationsRecord::version);
            let revocations = Revocations {
                version: self.next_version(version)?,
                entries: held
                    .map(|record| record.revocations().entries.clone())
                    .unwrap_or_default(),
            };
            let record =
                RevocationsRecord::new(self.issue(revocations, now_ms)).under_root(current);
            let path = self.realm.revocations_path();
            files::write(&path, &record.encode(), Existing::Replace)?;
        }
        Ok(())
    }
}

/// Signs users anew.
struct Anew<'a> {
    realm: &'a OpenRealm,
    issued: Issued,
    revocations: Option<RevocationsRecord>,
    now_ms: u64,
}

impl Anew<'_> {
    /// All in their places, a portion at a time: what is read and not yet written is
    /// bounded. Whose records are gone.
    fn users(
        &self,
        names: &[String],
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Vec<Name>, RealmError> {
        let realm = self.realm.realm();
        let mut lost = Vec::new();
        let mut done = 0;
        for portion in names.chunks(PORTION) {
            let signed = parallel::try_map(portion, |name| {
                let record = realm.read_user(name)?;
                let anew = self.record(&record)?;
                Ok::<_, RealmError>((record.user().name.clone(), anew))
            })?;
            let mut contents = Vec::with_capacity(signed.len());
            for (name, anew) in signed {
                match anew {
                    Signed::Already => {}
                    Signed::Anew(record) => contents.push((name.to_string(), record.encode())),
                    Signed::Lost => {
                        self.realm.remove_user(&name)?;
                        lost.push(name);
                    }
                }
            }
            if !contents.is_empty() {
                files::write_many(&realm.users_directory(), &contents)?;
            }
            done += portion.len();
            progress(done, names.len());
        }
        Ok(lost)
    }

    /// Those that are kept behind them.
    fn former(&self) -> Result<Vec<Name>, RealmError> {
        let realm = self.realm.realm();
        let mut lost = Vec::new();
        for record in realm.former()? {
            match self.record(&record)? {
                Signed::Already => {}
                Signed::Anew(anew) => {
                    let path = realm.former_path(&anew);
                    files::write(&path, &anew.encode(), Existing::Replace)?;
                }
                Signed::Lost => {
                    files::remove(&realm.former_path(&record))?;
                    lost.push(record.user().name.clone());
                }
            }
        }
        Ok(lost)
    }

    fn record(&self, record: &UserRecord) -> Result<Signed, RealmError> {
        let number = self.realm.root_number();
        if record.root() == number {
            return Ok(Signed::Already);
        }
        let path = self.realm.realm().users_directory();
        let path = path.join(record.user().name.as_str());
        let Some(chain) = record.chain() else {
            let mut user = record.user().clone();
            user.version = self.realm.next_version(user.version)?;
            let credential = record.credential().map(|held| held.body().clone());
            let credential = credential.map(|body| self.realm.issue(body, self.now_ms));
            let anew = UserRecord::new(self.realm.issue(user, self.now_ms), credential)
                .map_err(|error| damaged(&path, &error))?;
            return Ok(Signed::Anew(Box::new(anew.under_root(number))));
        };
        let revoked = self.revocations.as_ref();
        if revoked.is_some_and(|revoked| revoked.check(chain).is_err()) {
            return Ok(Signed::Lost);
        }
        let roots = self.realm.realm().roots();
        let newer = self
            .issued
            .first_of(chain)
            .and_then(|issued| chain.renewed(issued, roots));
        let Some(newer) = newer else {
            return Ok(Signed::Lost);
        };
        let anew = newer.map_err(RecordError::from).and_then(|chain| {
            let credential = record.credential().cloned();
            UserRecord::by_delegate(chain, record.user_statement().clone(), credential)
        });
        Ok(match anew {
            Ok(record) => Signed::Anew(Box::new(record)),
            Err(_) => Signed::Lost,
        })
    }
}

/// What became of one record.
enum Signed {
    /// It is under the new root.
    Already,
    Anew(Box<UserRecord>),
    /// Nobody here made its delegate one, or it does not lie within the delegation.
    Lost,
}

fn remove_if_there(path: &Path) -> Result<(), FileError> {
    match files::remove(path) {
        Err(FileError::Missing(_)) => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests;
