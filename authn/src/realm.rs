//! A realm as a directory on the administrator's machine, beside others under one.
//!
//! ```text
//! NAME/                0700
//!   realm              "SMRL", version u8, name, inception (see `roots.rs`), whether
//!                      there is an approver and then the approver's key 32, and the
//!                      first root's signature over all of it
//!   roots              the record of the realm's roots, once it was handed over
//!   root.sealed        a passphrase box, and its SHA-256: damage is to be told from
//!                      a wrong passphrase. In the box: the root key's seed (32),
//!                      and the storage key (32) of what else is sealed here
//!   rotation           only while it is being handed over (see `realm/rotation.rs`)
//!   heir.sealed        the key that comes after the root, unless it was moved to another
//!                      place (see `realm/heir.rs`)
//!   login.sealed       the login secrets (see `opaque/secrets.rs`) under a key that
//!                      is derived from the storage key: nonce 24, ciphertext, tag 16
//!   audit.log          what was done here (see `audit/local.rs`)
//!   users/NAME         one signed user record each
//!   former/            records of users that do not count (see `realm/former.rs`)
//!   roles              the signed record of the named roles, once there are any
//!   sessions           that of the revoked sessions, once there are any
//!   revoked-nodes      that of the nodes that are believed no more, likewise
//!   delegations/PATH   the newest chain of each delegation that was issued here
//!   revocations        the signed record of the revoked ones, once there are any
//!   calls/ID           the calls that were issued: where the nodes are
//!   formed             which of them are known to have become a cluster, and
//!   forgotten          which of their nodes were given up (`realm/nodes.rs`)
//!   restored           only where the realm was restored (see `realm/backup.rs`)
//!   untold             which changes have not reached which nodes (`realm/untold.rs`)
//!   lock               held while the realm is changed
//!   delegate           only at a delegate's: the chain that ends in the delegate's key.
//!   delegate.sealed    Its passphrase box is here in the place of `root.sealed`, and
//!                      there is no `login.sealed` (see `realm/delegate.rs`)
//!   nodes              addresses that a delegate named, one a line
//! .pending-NAME/       a request for a delegation, with its sealed key
//! .NAME.new/           one that is being made: moved to NAME when it is whole
//! .lock                held while one is made
//! ```

mod backup;
mod delegate;
mod delegations;
mod former;
mod heir;
mod import;
mod keys;
mod learn;
mod nodes;
mod revoked_nodes;
mod roles;
mod rotation;
mod second_factor;
mod sessions;
mod taken_over;
mod untold;

use std::path::{Path, PathBuf};

use sealmoot_crypto::aead::{RecordKey, SealError};
use sealmoot_crypto::digest::sha256;
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::kdf::{Label, derive_key};
use sealmoot_crypto::passphrase_box::{self, BoxOpenError, BoxSealError};
use sealmoot_crypto::password::{Cost, PASSWORD_LENGTH_MAX, PasswordError};
use sealmoot_crypto::random::{self, RandomError};
use sealmoot_crypto::sealed_box;
use sealmoot_crypto::secret::{SecretArray, SecretBytes};
use sealmoot_crypto::signature::{Signature, SigningKey, VerifyingKey};

use crate::approval::{Approver, Waiting};
use crate::audit::local::{self, AuditSecrets, LocalAuditError};
use crate::audit::{Event, Subject, What, Who, difference};
use crate::delegation::{Chain, DelegationError, SerialPath};
use crate::files::{self, Existing, FileError};
use crate::invite::{Invite, SealPartError, SealedPart};
use crate::login::Registered;
use crate::name::Name;
use crate::opaque::{LOGIN_SECRETS_LENGTH, LoginSecrets, OpaqueError, Stretching, register};
use crate::policy::{NamedRoles, NamedRolesError, Role};
use crate::realm_id::RealmId;
use crate::records::{RecordName, RolesRecord, SignedRecord};
use crate::roots::{Inception, ROOTS_LENGTH_MAX, Roots, RootsError};
use crate::roster::verify_call;
use crate::statement::{
    Call, CallMember, Credential, NODES_MAX, ROLES_MAX, STATEMENT_LENGTH_MAX, StatementError,
    TooManyNodes, TooManyRevoked, Unlock, User, Verified, check_address,
};
use crate::user_key;
use crate::users::{
    RECORD_LENGTH_MAX, RecordError, TooManyUsers, USERS_MAX, UserDirectory, UserRecord,
};
use crate::{invite, parallel};

pub use backup::{BACKUP_LENGTH_MAX, Backup, BackupError, BackupSummary, CALLS_MAX};
pub use delegate::{
    AcceptedFile, DELEGATION_FILE_MAX, DelegationFileError, PendingRequest, REQUEST_LENGTH_MAX,
    Request,
};
pub use delegations::{Fate, Granted, Revoked, Terms};
pub use heir::{HEIR_FILE, HEIR_FILE_MAX, HeirError};
pub use import::{ExistingUsers, Imported};
pub use keys::{KeyError, NewKey};
pub use learn::Learnt;
pub use nodes::CalledNode;
pub use roles::{holders, must_exist};
pub use rotation::{HandOver, HandedOver};
pub use second_factor::{SecondFactorChangeError, check_enrollable};
pub use taken_over::ReplacedRole;
pub use untold::Untold;

const MAGIC: &[u8; 4] = b"SMRL";
// Version 1 had no login secrets, version 2 no heir and no approver.
const VERSION: u8 = 3;
const REALM_FILE_MAX: usize = 256;
const ROOT_FILE_MAX: usize = 1024;
/// Longest text of one user's roles together, well within a statement.
const ROLES_BYTES_MAX: usize = 16 * 1024;
const ROOTS_FILE: &str = "roots";
/// Domain of the signature in the realm file.
const REALM_DOMAIN: &str = "realm";
/// The use that the passphrase box is for.
const ROOT_CONTEXT: &str = "realm root key";
/// The use of the key that seals the login secrets.
const LOGIN_LABEL: Label = Label::new("realm login secrets");
/// How many users are read before they are put in their place.
const PORTION: usize = 4096;
const LOGIN_FILE_BYTES: usize = LOGIN_SECRETS_LENGTH + RecordKey::OVERHEAD;

/// Why something was not done to a realm.
#[derive(Debug, thiserror::Error)]
pub enum RealmError {
    /// A file was not read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file of the realm has a content that it should not have.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The passphrase does not open the root key.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// The key that comes after the root did not open.
    #[error(transparent)]
    Heir(#[from] HeirError),
    /// Nobody would believe the handover.
    #[error("the realm cannot be handed over: {0}")]
    Roots(#[from] RootsError),
    /// More calls would stay valid than a handover can name.
    #[error(
        "{count} calls have nodes that were not given up; a handover names {} at most",
        crate::statement::HANDOVER_CALLS_MAX
    )]
    TooManyCalls {
        /// How many there are.
        count: usize,
    },
    /// The realm is being handed over, and that was interrupted.
    #[error("handing the realm over to its heir was interrupted")]
    BeingHandedOver,
    /// The realm was handed over while this was going on.
    #[error("the realm was handed over meanwhile; nothing was done")]
    HandedOver,
    /// There is nothing to go on with.
    #[error("the realm is not being handed over")]
    NothingDecided,
    /// A user of this name exists.
    #[error("user {0} exists already")]
    UserExists(Name),
    /// Users of these names exist.
    #[error("{} of the users exist already: {}", .0.len(), some_of(.0))]
    UsersExist(Vec<Name>),
    /// No user has this name.
    #[error("no user {0}")]
    NoSuchUser(Name),
    /// The call breaks a rule: too many nodes, one twice.
    #[error("{0}")]
    BadCall(String),
    /// There is no room for another user.
    #[error(transparent)]
    TooManyUsers(#[from] TooManyUsers),
    /// The signed records do not fit an invite.
    #[error(
        "the realm's records have {length} bytes; an invite carries {} at most",
        invite::RECORDS_LENGTH_MAX
    )]
    TooLongForInvite {
        /// How many bytes the records have.
        length: usize,
    },
    /// The user's roles do not fit a statement.
    #[error("a user has at most {ROLES_MAX} roles, of {ROLES_BYTES_MAX} bytes together")]
    TooManyRoles,
    /// The named roles do not admit it.
    #[error(transparent)]
    Roles(#[from] NamedRolesError),
    /// There is no room for another revocation.
    #[error(transparent)]
    TooManyRevoked(#[from] TooManyRevoked),
    /// There is no room for another revoked node.
    #[error(transparent)]
    TooManyNodes(#[from] TooManyNodes),
    /// A role that users have was to be deleted.
    #[error("role {role} is held by {}", some_of(users))]
    RoleHeld {
        /// The role.
        role: Name,
        /// Who has it.
        users: Vec<Name>,
    },
    /// The realm is larger than a backup may be.
    #[error("the realm is larger than a backup can be")]
    TooLarge,
    /// A password is too long.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// A password could not be registered.
    #[error("the password could not be registered: {0}")]
    Registration(#[from] OpaqueError),
    /// A key could not be sealed under the passphrase.
    #[error(transparent)]
    Seal(#[from] BoxSealError),
    /// Something else could not be sealed.
    #[error(transparent)]
    SealRecord(#[from] SealError),
    /// What invites carry was not sealed.
    #[error(transparent)]
    SealInvites(#[from] SealPartError),
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// What was asked for takes the root key or the login secrets.
    #[error("{0} takes the root key, which is not in this directory of a delegate")]
    NotTheRoot(&'static str),
    /// The delegation does not admit it.
    #[error(transparent)]
    Delegation(#[from] DelegationError),
    /// The user is the root's or another delegate's.
    #[error("user {0} was not made by this delegate or by one below")]
    OthersUser(Name),
    /// There is a delegate of this name, with another key.
    #[error("{0} is a delegate already, with another key")]
    DelegateExists(Name),
    /// Nobody of this name is a delegate.
    #[error("no delegate {0}")]
    NoSuchDelegate(Name),
    /// There is no room for another revocation.
    #[error(
        "a realm revokes at most {} delegations",
        crate::statement::REVOCATIONS_MAX
    )]
    TooManyRevocations,
    /// What was asked for could not be recorded, and so was not done.
    #[error("the audit log: {0}")]
    Audit(#[from] LocalAuditError),
}

/// A realm's public side, read from its directory.
pub struct Realm {
    directory: PathBuf,
    name: Name,
    roots: Roots,
    approver: Option<Approver>,
    /// At a delegate's: the delegations down to the key that signs here.
    chain: Option<Chain>,
    /// Whether a decision to hand it over was not carried out yet. The roots are those of
    /// the decision then.
    handing_over: bool,
}

/// A realm whose secrets are open. Every change locks the realm against other
/// processes while it lasts, and no longer: a prompt between two changes stops
/// nobody.
pub struct OpenRealm {
    realm: Realm,
    /// The root's key, or at a delegate's the delegate's.
    issuer: SigningKey,
    /// None at a delegate's.
    login: Option<LoginSecrets>,
    audit: AuditSecrets,
}

impl Realm {
    /// Makes a realm with a fresh root key and fresh login secrets, sealed under
    /// `passphrase`, in `realms/NAME`.
    ///
    /// # Errors
    /// [`FileError::Exists`] for a name that is taken; other [`RealmError`]s.
    pub fn create(realms: &Path, name: &Name, passphrase: &[u8]) -> Result<Self, RealmError> {
        Self::create_with(realms, name, passphrase, None, None)
    }

    /// The same; restoring a backup of it and handing it over take `approver` too, from now
    /// on for ever. The key that comes after the root is kept in the file `heir`, or in the
    /// directory.
    ///
    /// # Errors
    /// As [`Realm::create`]; [`FileError::Exists`] also when there is a file `heir`.
    pub fn create_with(
        realms: &Path,
        name: &Name,
        passphrase: &[u8],
        approver: Option<Approver>,
        heir: Option<&Path>,
    ) -> Result<Self, RealmError> {
        let heir_file = heir;
        let root_key = SigningKey::generate()?;
        let heir = SigningKey::generate()?;
        let inception = Inception {
            root: root_key.verifying_key(),
            heir: heir.verifying_key().key_id(),
        };
        let id = inception.realm();
        let now_ms = crate::cli::now_ms();
        let layer = heir::layer(approver.as_ref(), &id, name, now_ms);
        let sealed_heir = heir::seal(&heir, passphrase, layer.as_ref())?;
        let storage_key = SecretArray::<32>::random()?;
        let login = login_cipher(&storage_key, &id)
            .seal(id.as_bytes(), LoginSecrets::generate()?.encode().expose())?;
        let keys = RealmKeys {
            root_key,
            storage_key,
        };
        let sealed = keys.seal(&id, passphrase)?;
        // The one time that is not a parameter: a realm is made in one place only.
        let created = Event::done(
            now_ms,
            What::RealmCreated,
            Who::Administrator,
            Subject::Nothing,
        );
        let audit = local::initial(
            &AuditSecrets::of(&keys.storage_key, &id),
            &created.detail(name.as_str()),
        )?;
        let mut writer = Writer::new();
        writer.fixed(MAGIC);
        writer.u8(VERSION);
        writer.text(name.as_str());
        inception.write(&mut writer);
        writer.flag(approver.is_some());
        if let Some(approver) = &approver {
            writer.fixed(&approver.to_bytes());
        }
        let mut content = writer.finish();
        let signature = keys.root_key.sign(REALM_DOMAIN, &content);
        content.extend_from_slice(&signature.to_bytes());

        let kept_here = match heir_file {
            // Durable before the realm is: one whose heir nobody has is never handed over.
            Some(path) => {
                files::write(path, &sealed_heir, Existing::Refuse)?;
                None
            }
            None => Some(sealed_heir.as_slice()),
        };
        let made = make_directory(realms, name.as_str(), |making| {
            fill(making, &sealed, kept_here, &login, &audit, &content)
        });
        if let (Err(_), Some(path)) = (&made, heir_file) {
            // It is nobody's heir.
            let _ = files::remove(path);
        }
        let directory = made?;
        Ok(Self {
            directory,
            name: name.clone(),
            roots: Roots::first(inception),
            approver,
            chain: None,
            handing_over: false,
        })
    }

    /// Reads the realm in `directory`.
    ///
    /// # Errors
    /// [`FileError::Missing`] when there is none, [`RealmError::Damaged`].
    pub fn open(directory: &Path) -> Result<Self, RealmError> {
        let path = directory.join("realm");
        let bytes = files::read_secret(&path, REALM_FILE_MAX)?;
        let Public {
            name,
            inception,
            approver,
        } = parse_realm(bytes.expose()).map_err(|error| damaged(&path, &error))?;
        let decided = rotation::pending(directory, &inception.realm())?;
        let handing_over = decided.is_some();
        let roots = match decided {
            // By which of the two roots something is signed depends on how far it came.
            Some(decided) => decided.roots,
            None => read_roots(directory, &inception)?,
        };
        Ok(Self {
            directory: directory.to_owned(),
            name,
            chain: delegate::read_chain(directory, &roots)?,
            roots,
            approver,
            handing_over,
        })
    }

    /// All realms below `realms`, by directory name.
    ///
    /// # Errors
    /// [`RealmError`] of the first that cannot be read.
    pub fn all(realms: &Path) -> Result<Vec<Self>, RealmError> {
        let names = match files::names(realms) {
            Err(FileError::Missing(_)) => return Ok(Vec::new()),
            names => names?,
        };
        names
            .into_iter()
            .map(|name| realms.join(name))
            .filter(|directory| directory.join("realm").exists())
            .map(|directory| Self::open(&directory))
            .collect()
    }

    /// The realm's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The realm's id.
    #[must_use]
    pub fn id(&self) -> RealmId {
        self.roots.realm()
    }

    /// The keys that spoke for the realm, and the one that does.
    #[must_use]
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// The public key of the current root.
    #[must_use]
    pub fn root(&self) -> &VerifyingKey {
        self.roots.current()
    }

    /// Who has to approve that a backup is restored, if anybody.
    #[must_use]
    pub fn approver(&self) -> Option<&Approver> {
        self.approver.as_ref()
    }

    /// Where the realm is kept.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The delegations down to the key that signs here; none in the root's directory.
    #[must_use]
    pub fn chain(&self) -> Option<&Chain> {
        self.chain.as_ref()
    }

    /// Who signs here.
    #[must_use]
    pub fn path(&self) -> SerialPath {
        self.chain.as_ref().map(Chain::path).unwrap_or_default()
    }

    /// Opens the root key for signing, and the login secrets; at a delegate's the
    /// delegate's key.
    ///
    /// # Errors
    /// [`RealmError::WrongPassphrase`], [`RealmError::Damaged`],
    /// [`RealmError::BeingHandedOver`].
    pub fn unlock(self, passphrase: &[u8]) -> Result<OpenRealm, RealmError> {
        let RealmKeys {
            root_key: issuer,
            storage_key,
        } = match &self.chain {
            Some(chain) => self.open_delegate_keys(&chain.last().key, passphrase)?,
            None => self.open_keys(passphrase)?,
        };
        let login = match &self.chain {
            Some(_) => None,
            None => Some(self.open_login_secrets(&storage_key)?),
        };
        let audit = AuditSecrets::of(&storage_key, &self.id());
        self.clean_up()?;
        Ok(OpenRealm {
            realm: self,
            issuer,
            login,
            audit,
        })
    }

    /// Removes what a crash left half written, unless somebody is changing the realm.
    fn clean_up(&self) -> Result<(), RealmError> {
        if let Some(_lock) = files::try_lock(&self.directory.join("lock"))? {
            files::remove_abandoned(&self.directory)?;
            files::remove_abandoned(&self.users_directory())?;
        }
        Ok(())
    }

    fn open_keys(&self, passphrase: &[u8]) -> Result<RealmKeys, RealmError> {
        if self.chain.is_some() {
            return Err(RealmError::NotTheRoot("it"));
        }
        if self.handing_over {
            return Err(RealmError::BeingHandedOver);
        }
        let path = self.directory.join("root.sealed");
        let content = files::read_secret(&path, ROOT_FILE_MAX)?;
        RealmKeys::open(content.expose(), passphrase, &self.roots).map_err(|error| match error {
            KeysError::WrongPassphrase => RealmError::WrongPassphrase,
            KeysError::Damaged(what) => damaged(&path, &what),
        })
    }

    /// Opens the key that comes after the root, from this directory or from where it was
    /// moved to. With the root's it hands the realm over ([`Roots::hand_over`]).
    ///
    /// # Errors
    /// [`RealmError::Heir`], [`RealmError::File`] where there is no such file.
    pub fn open_heir(
        &self,
        file: Option<&Path>,
        passphrase: &[u8],
    ) -> Result<SigningKey, RealmError> {
        let content = match file {
            Some(file) => files::read_named_secret(file, HEIR_FILE_MAX)?,
            None => files::read_secret(&self.directory.join(HEIR_FILE), HEIR_FILE_MAX)?,
        };
        let opened = heir::open(content.expose(), passphrase, self.roots.heir());
        Ok(opened?)
    }

    /// What is around the heir of this realm, if anything is.
    fn heir_layer(&self, now_ms: u64) -> Option<(Approver, Waiting)> {
        heir::layer(self.approver.as_ref(), &self.id(), &self.name, now_ms)
    }

    fn open_login_secrets(
        &self,
        storage_key: &SecretArray<32>,
    ) -> Result<LoginSecrets, RealmError> {
        let path = self.directory.join("login.sealed");
        let sealed = files::read_secret(&path, LOGIN_FILE_BYTES)?;
        open_login(storage_key, &self.id(), sealed.expose()).map_err(|what| damaged(&path, &what))
    }

    /// All user records, the named roles and the revoked sessions, verified, on all processors: two signatures
    /// a user.
    ///
    /// # Errors
    /// [`RealmError::Damaged`] when one does not verify, [`RealmError::TooManyUsers`].
    pub fn users(&self) -> Result<UserDirectory, RealmError> {
        let names = files::names(&self.users_directory())?;
        let mut users = UserDirectory::default();
        users.check_room(names.len())?;
        if let Some(revocations) = self.revocations()? {
            users.apply_signed(revocations.into());
        }
        // A portion at a time: what is read and not yet in its place is bounded.
        for portion in names.chunks(PORTION) {
            for record in parallel::try_map(portion, |name| self.read_user(name))? {
                users.apply(record);
            }
        }
        for record in self.former()? {
            users.apply(record);
        }
        if let Some(roles) = self.roles()? {
            users.apply_signed(roles.into());
        }
        if let Some(revoked) = self.revoked_sessions()? {
            users.apply_signed(revoked.into());
        }
        if let Some(revoked) = self.revoked_nodes()? {
            users.apply_signed(revoked.into());
        }
        // Last: from here on nothing of a former root's is taken.
        let known = users.learn_roots(&self.roots);
        known.map_err(|error| damaged(&self.directory.join(ROOTS_FILE), &error))?;
        Ok(users)
    }

    /// The record of one user, deleted or not, verified. No other is looked at.
    ///
    /// # Errors
    /// [`RealmError::Damaged`] when it does not verify.
    pub fn user(&self, name: &Name) -> Result<Option<UserRecord>, RealmError> {
        let held = match self.read_user(name.as_str()) {
            Err(RealmError::File(FileError::Missing(path)))
                if path.parent().is_some_and(Path::is_dir) =>
            {
                None
            }
            record => Some(record?),
        };
        self.counting(name, held)
    }

    /// One record, verified; none before there is one of this name.
    ///
    /// # Errors
    /// [`RealmError::Damaged`] when it does not verify.
    pub fn record(&self, name: &RecordName) -> Result<Option<SignedRecord>, RealmError> {
        Ok(match name {
            RecordName::Roles => self.roles()?.map(SignedRecord::from),
            RecordName::RevokedSessions => self.revoked_sessions()?.map(SignedRecord::from),
            RecordName::RevokedNodes => self.revoked_nodes()?.map(SignedRecord::from),
            RecordName::User(name) => self.user(name)?.map(SignedRecord::from),
            RecordName::Revocations => self.revocations()?.map(SignedRecord::from),
        })
    }

    /// Users who were not deleted, by name: those behind `after`, at most `limit`, and
    /// whether there are more. Only the user statements are verified, on all
    /// processors: what a record's credential says is nothing that is listed.
    ///
    /// # Errors
    /// [`RealmError::Damaged`] when one does not verify.
    pub fn list_users(
        &self,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<(Vec<User>, bool), RealmError> {
        let names = files::names(&self.users_directory())?;
        let first = after.map_or(0, |after| {
            names.partition_point(|name| name.as_str() <= after.as_str())
        });
        let mut users = Vec::new();
        let mut rest = &names[first..];
        // One more than is wanted tells whether there are more.
        while !rest.is_empty() && users.len() <= limit {
            let wanted = limit.saturating_sub(users.len()).saturating_add(1);
            let (portion, behind) = rest.split_at(wanted.min(PORTION).min(rest.len()));
            let verified = parallel::try_map(portion, |name| self.read_user_statement(name))?;
            users.extend(verified.into_iter().filter(|user| !user.deleted));
            rest = behind;
        }
        let more = users.len() > limit;
        users.truncate(limit);
        Ok((users, more))
    }

    /// The nodes that were ever called and not forgotten, by the latest call of each
    /// address.
    ///
    /// # Errors
    /// As [`Realm::called`].
    pub fn nodes(&self) -> Result<Vec<(Name, String)>, RealmError> {
        let mut nodes: Vec<(Name, String)> = self
            .called()?
            .into_iter()
            .map(|node| (node.name, node.address))
            .collect();
        // What a person named has no name of its own.
        for (index, address) in delegate::read_nodes(&self.directory)?
            .into_iter()
            .enumerate()
        {
            if nodes.iter().all(|(_, known)| *known != address) {
                let name = format!("node{}", index + 1);
                nodes.push((name.parse().expect("it is a name"), address));
            }
        }
        Ok(nodes)
    }

    /// Which changes have not reached which nodes, oldest first.
    ///
    /// # Errors
    /// [`RealmError::Damaged`].
    pub fn untold(&self) -> Result<Vec<Untold>, RealmError> {
        untold::read(&self.directory)
    }

    /// Crosses out that the nodes at `addresses` were told of `told`, which
    /// [`Realm::untold`] said before the records were read.
    ///
    /// # Errors
    /// [`RealmError`].
    pub fn settle(&self, told: &[Untold], addresses: &[String]) -> Result<(), RealmError> {
        let _lock = self.lock()?;
        untold::settle(&self.directory, told, addresses)
    }

    fn lock(&self) -> Result<files::Lock, RealmError> {
        Ok(files::lock(&self.directory.join("lock"))?)
    }

    fn users_directory(&self) -> PathBuf {
        self.directory.join("users")
    }

    fn read_user(&self, name: &str) -> Result<UserRecord, RealmError> {
        let path = self.users_directory().join(name);
        let bytes = files::read_secret(&path, RECORD_LENGTH_MAX)?;
        let record = UserRecord::decode(bytes.expose(), &self.roots)
            .map_err(|error: RecordError| damaged(&path, &error))?;
        check_owner(&path, record.user(), name)?;
        Ok(record)
    }

    fn read_user_statement(&self, name: &str) -> Result<User, RealmError> {
        let path = self.users_directory().join(name);
        let bytes = files::read_secret(&path, RECORD_LENGTH_MAX)?;
        let user = UserRecord::decode_user(bytes.expose(), &self.roots)
            .map_err(|error: RecordError| damaged(&path, &error))?;
        check_owner(&path, user.body(), name)?;
        Ok(user.into_body())
    }

    /// All calls that were issued, newest first.
    ///
    /// # Errors
    /// [`RealmError::Damaged`] when one does not verify.
    pub fn calls(&self) -> Result<Vec<Verified<Call>>, RealmError> {
        let directory = self.directory.join("calls");
        let mut calls = Vec::new();
        for name in files::names(&directory)? {
            let path = directory.join(name);
            let bytes = files::read_secret(&path, STATEMENT_LENGTH_MAX)?;
            let call = verify_call(bytes.expose(), &self.roots)
                .map_err(|error: StatementError| damaged(&path, &error))?;
            calls.push(call);
        }
        calls.sort_by_key(|call| std::cmp::Reverse(call.issued_ms()));
        Ok(calls)
    }
}

/// The keys in the passphrase box.
struct RealmKeys {
    root_key: SigningKey,
    storage_key: SecretArray<32>,
}

/// Why the passphrase box did not yield the keys.
enum KeysError {
    WrongPassphrase,
    Damaged(String),
}

impl RealmKeys {
    /// The content of the file `root.sealed`.
    fn seal(&self, id: &RealmId, passphrase: &[u8]) -> Result<Vec<u8>, RealmError> {
        self.seal_for(ROOT_CONTEXT, id, passphrase)
    }

    /// The same of a key that is not the root's.
    fn seal_for(
        &self,
        context: &'static str,
        id: &RealmId,
        passphrase: &[u8],
    ) -> Result<Vec<u8>, RealmError> {
        let mut keys = SecretArray::from_bytes([0; 64]);
        keys.expose_mut()[..32].copy_from_slice(self.root_key.to_seed().expose());
        keys.expose_mut()[32..].copy_from_slice(self.storage_key.expose());
        let mut sealed = passphrase_box::seal(
            passphrase,
            context,
            id.as_bytes(),
            keys.expose(),
            Cost::RFC_9106_LOW_MEMORY,
        )?;
        sealed.extend_from_slice(&sha256(&sealed));
        Ok(sealed)
    }

    /// Opens the content of the file `root.sealed` of the realm of `roots`.
    fn open(content: &[u8], passphrase: &[u8], roots: &Roots) -> Result<Self, KeysError> {
        let (id, root) = (roots.realm(), roots.current());
        Self::open_for(ROOT_CONTEXT, &id, root, content, passphrase)
    }

    /// The same of another key, which has to be `expected`.
    fn open_for(
        context: &'static str,
        id: &RealmId,
        expected: &VerifyingKey,
        content: &[u8],
        passphrase: &[u8],
    ) -> Result<Self, KeysError> {
        let damaged = |what: &dyn std::fmt::Display| KeysError::Damaged(what.to_string());
        let sealed = content
            .split_last_chunk::<32>()
            .filter(|(sealed, digest)| sha256(sealed) == **digest)
            .map(|(sealed, _)| sealed)
            .ok_or_else(|| damaged(&"its digest does not match"))?;
        let keys =
            passphrase_box::open(passphrase, context, id.as_bytes(), sealed).map_err(|error| {
                match error {
                    BoxOpenError::Closed | BoxOpenError::Password(PasswordError::TooLong) => {
                        KeysError::WrongPassphrase
                    }
                    error => damaged(&error),
                }
            })?;
        keys.expose()
            .split_at_checked(32)
            .and_then(|(seed, storage_key)| {
                Some(Self {
                    root_key: SigningKey::from_seed(&SecretArray::from_slice(seed)?),
                    storage_key: SecretArray::from_slice(storage_key)?,
                })
            })
            .filter(|keys| keys.root_key.verifying_key() == *expected)
            .ok_or_else(|| damaged(&"other keys are sealed in it"))
    }
}

impl OpenRealm {
    /// The realm's public side.
    #[must_use]
    pub fn realm(&self) -> &Realm {
        &self.realm
    }

    /// Forgets the secrets.
    #[must_use]
    pub fn close(self) -> Realm {
        self.realm
    }

    /// Adds a user with a password and a fresh user key, sealed under the same
    /// password.
    ///
    /// # Errors
    /// [`RealmError::UserExists`], other [`RealmError`]s.
    pub fn add_user(
        &self,
        name: &Name,
        roles: Vec<Role>,
        password: &[u8],
        now_ms: u64,
    ) -> Result<UserRecord, RealmError> {
        check_roles(&roles)?;
        let _lock = self.lock()?;
        let version = self.version_of_new(name, &roles)?;
        let credential = self.credential(name, password, now_ms)?;
        self.store_new(name, roles, version, credential, now_ms)
    }

    /// The same with a password that a node helped to register: for delegates.
    ///
    /// # Errors
    /// As [`OpenRealm::add_user`].
    pub fn add_user_registered(
        &self,
        name: &Name,
        roles: Vec<Role>,
        registered: &Registered,
        now_ms: u64,
    ) -> Result<UserRecord, RealmError> {
        check_roles(&roles)?;
        let _lock = self.lock()?;
        let version = self.version_of_new(name, &roles)?;
        let credential = self.credential_registered(name, registered, false, now_ms)?;
        self.store_new(name, roles, version, credential, now_ms)
    }

    fn store_new(
        &self,
        name: &Name,
        roles: Vec<Role>,
        version: u64,
        (credential, user_key): (Verified<Credential>, VerifyingKey),
        now_ms: u64,
    ) -> Result<UserRecord, RealmError> {
        let user = User {
            name: name.clone(),
            version,
            enabled: true,
            deleted: false,
            roles,
            user_key: Some(user_key),
            keys: Vec::new(),
            second_factor: None,
        };
        self.store(user, Some(credential), now_ms)
    }

    /// Gives a user another password and another user key, so that sessions of
    /// the old one end.
    ///
    /// # Errors
    /// [`RealmError::NoSuchUser`], other [`RealmError`]s.
    pub fn change_password(
        &self,
        name: &Name,
        password: &[u8],
        now_ms: u64,
    ) -> Result<UserRecord, RealmError> {
        let _lock = self.lock()?;
        let credential = self.credential(name, password, now_ms)?;
        self.store_password(name, credential, now_ms)
    }

    /// The same with a password that a node helped to register: for delegates.
    ///
    /// # Errors
    /// As [`OpenRealm::change_password`].
    pub fn change_password_registered(
        &self,
        name: &Name,
        registered: &Registered,
        now_ms: u64,
    ) -> Result<UserRecord, RealmError> {
        let _lock = self.lock()?;
        let credential = self.credential_registered(name, registered, false, now_ms)?;
        self.store_password(name, credential, now_ms)
    }

    fn store_password(
        &self,
        name: &Name,
        (credential, user_key): (Verified<Credential>, VerifyingKey),
        now_ms: u64,
    ) -> Result<UserRecord, RealmError> {
        let record = self.existing(name)?;
        let mut user = record.user().clone();
        self.take_over(&record, &mut user, &[])?;
        user.version = self.next_version(user.version)?;
        user.user_key = Some(user_key);
        self.store(user, Some(credential), now_ms)
    }

    /// Changes a user without touching the password.
    ///
    /// # Errors
    /// [`RealmError::NoSuchUser`], other [`RealmError`]s.
    pub fn change_user(
        &self,
        name: &Name,
        now_ms: u64,
        change: impl FnOnce(&mut User),
    ) -> Result<UserRecord, RealmError> {
        let _lock = self.lock()?;
        let record = self.existing(name)?;
        let mut user = record.user().clone();
        change(&mut user);
        self.take_over(&record, &mut user, &[])?;
        check_roles(&user.roles)?;
        self.check_added(&record.user().roles, &user.roles)?;
        user.version = self.next_version(record.user().version)?;
        let credential = self.own_credential(&record, now_ms);
        self.store(user, credential, now_ms)
    }

    /// Has the nodes forget what strangers tried at a user's account; the statement
    /// as it travels, behind its tag. Nothing of the realm changes.
    ///
    /// # Errors
    /// [`RealmError::NoSuchUser`], other [`RealmError`]s.
    pub fn unlock_user(&self, name: &Name, now_ms: u64) -> Result<Vec<u8>, RealmError> {
        self.check_root("unlocking an account")?;
        let _lock = self.lock()?;
        let name = self.existing(name)?.user().name.clone();
        self.record(
            now_ms,
            What::UserUnlocked,
            Subject::User(name.clone()),
            String::new(),
        )?;
        let unlock = Unlock { name };
        let statement = Verified::issue(&self.realm.id(), &self.issuer, now_ms, unlock);
        Ok([&[Unlock::TAG], statement.bytes()].concat())
    }

    /// Calls nodes together and makes an invite for each, in order.
    ///
    /// # Errors
    /// [`RealmError::BadCall`], other [`RealmError`]s.
    pub fn call_nodes(
        &self,
        nodes: &[(Name, String)],
        expires_ms: u64,
        now_ms: u64,
    ) -> Result<Vec<SecretBytes>, RealmError> {
        check_call(nodes)?;
        let login = self.login("inviting nodes")?;
        let _lock = self.lock()?;
        // First of all: a call that no invite was made for would be told of changes.
        let records: Vec<SignedRecord> = self.realm.users()?.signed_records().collect();
        let length: usize = records.iter().map(SignedRecord::encoded_length).sum();
        if length > invite::RECORDS_LENGTH_MAX {
            return Err(RealmError::TooLongForInvite { length });
        }
        let mut seeds = Vec::with_capacity(nodes.len());
        let mut members: Vec<CallMember> = Vec::with_capacity(nodes.len());
        for (name, address) in nodes {
            let seed = SecretArray::random()?;
            members.push(CallMember {
                name: name.clone(),
                address: address.clone(),
                invite_key: SigningKey::from_seed(&seed).verifying_key(),
            });
            seeds.push(seed);
        }
        let id: [u8; 16] = random::array()?;
        let call = self.issue(
            Call {
                id,
                realm_name: self.realm.name.clone(),
                expires_ms,
                members,
            },
            now_ms,
        );
        let audit = self.audit.key.public_key();
        let roots = &self.realm.roots;
        let sealed = SealedPart::seal(roots, &self.issuer, &call, login, &audit, &records);
        let (sealed, shares) = sealed?;
        let names: Vec<String> = nodes
            .iter()
            .map(|(name, at)| format!("{name}={at}"))
            .collect();
        self.record(
            now_ms,
            What::NodesInvited,
            Subject::Nothing,
            names.join(" "),
        )?;
        files::write(
            &self.realm.directory.join("calls").join(call_file(&id)),
            call.bytes(),
            Existing::Refuse,
        )?;
        Ok(seeds
            .iter()
            .zip(&shares)
            .map(|(seed, share)| Invite::encode(roots, &call, seed, share, &sealed))
            .collect())
    }

    /// Forgets the secrets but those that verify audit logs.
    #[must_use]
    pub fn close_but_audit(self) -> (Realm, AuditSecrets) {
        (self.realm, self.audit)
    }

    /// What verifies the audit logs of the realm.
    #[must_use]
    pub fn audit(&self) -> &AuditSecrets {
        &self.audit
    }

    /// Locks the realm for a change; refuses where another root signs here by now.
    fn lock(&self) -> Result<files::Lock, RealmError> {
        let lock = self.realm.lock()?;
        self.realm.check_unchanged()?;
        Ok(lock)
    }

    /// Whether `more` users can be added. Counts names and reads nothing.
    fn check_room(&self, more: usize) -> Result<(), RealmError> {
        let count = files::names(&self.realm.users_directory())?.len();
        if count.saturating_add(more) > USERS_MAX {
            return Err(TooManyUsers.into());
        }
        Ok(())
    }

    /// Writes down, before it is done, which nodes are to be told of a change.
    fn note_untold(&self, records: Vec<RecordName>) -> Result<(), RealmError> {
        let addresses = self.realm.nodes()?;
        let addresses = addresses.into_iter().map(|(_, address)| address).collect();
        untold::note(&self.realm.directory, records, addresses)
    }

    /// The first version of a user who does not exist yet, or no longer. The realm is
    /// locked.
    fn version_of_new(&self, name: &Name, roles: &[Role]) -> Result<u64, RealmError> {
        self.check_added(&[], roles)?;
        let held = self.realm.user(name)?;
        if let Some(record) = &held {
            self.check_own(record)?;
        }
        match held {
            Some(record) if !record.user().deleted => Err(RealmError::UserExists(name.clone())),
            Some(record) => self.next_version(record.user().version),
            None => {
                self.check_room(1)?;
                // Nodes remember those who were lost when the delegation was narrowed.
                self.next_version(self.realm.highest_version(name)?)
            }
        }
    }

    /// A role that was deleted by force may stay with whoever had it; nobody gets it.
    fn check_added(&self, before: &[Role], after: &[Role]) -> Result<(), RealmError> {
        let added: Vec<&Role> = after.iter().filter(|role| !before.contains(role)).collect();
        if added.is_empty() {
            return Ok(());
        }
        let named = self.realm.roles()?;
        let none = NamedRoles::none();
        let named = named.as_ref().map_or(&none, RolesRecord::roles);
        must_exist(added.iter().copied(), named)?;
        if let Some(chain) = self.realm.chain() {
            chain.check_named(added, named)?;
        }
        Ok(())
    }

    fn existing(&self, name: &Name) -> Result<UserRecord, RealmError> {
        let record = self
            .realm
            .user(name)?
            .filter(|record| !record.user().deleted)
            .ok_or_else(|| RealmError::NoSuchUser(name.clone()))?;
        self.check_own(&record)?;
        Ok(record)
    }

    fn credential(
        &self,
        name: &Name,
        password: &[u8],
        now_ms: u64,
    ) -> Result<(Verified<Credential>, VerifyingKey), RealmError> {
        if password.len() > PASSWORD_LENGTH_MAX {
            return Err(PasswordError::TooLong.into());
        }
        self.credential_of(name, password, Stretching::DEFAULT, false, now_ms)
    }

    /// A credential for OPAQUE's password, which of an imported one is its hash.
    fn credential_of(
        &self,
        name: &Name,
        password: &[u8],
        stretching: Stretching,
        must_change: bool,
        now_ms: u64,
    ) -> Result<(Verified<Credential>, VerifyingKey), RealmError> {
        let realm = self.realm.id();
        let (file, export_key) = register(
            self.login("a password")?,
            &realm,
            name,
            password,
            stretching,
        )?;
        let registered = Registered {
            file,
            export_key,
            stretching,
        };
        self.credential_registered(name, &registered, must_change, now_ms)
    }

    fn credential_registered(
        &self,
        name: &Name,
        registered: &Registered,
        must_change: bool,
        now_ms: u64,
    ) -> Result<(Verified<Credential>, VerifyingKey), RealmError> {
        let realm = self.realm.id();
        let user_key = SigningKey::generate()?;
        let sealed_key = user_key::seal(&registered.export_key, &realm, name, &user_key)?;
        let credential = Credential {
            name: name.clone(),
            user_key: user_key.verifying_key(),
            must_change,
            stretching: registered.stretching,
            password: registered.file.clone(),
            sealed_key,
        };
        Ok((self.issue(credential, now_ms), user_key.verifying_key()))
    }

    fn store(
        &self,
        user: User,
        credential: Option<Verified<Credential>>,
        now_ms: u64,
    ) -> Result<UserRecord, RealmError> {
        let name = user.name.clone();
        let path = self.realm.users_directory().join(name.as_str());
        let record = self.user_record(&path, user, credential, now_ms)?;
        let old = self.realm.user(&name)?;
        let before = old.as_ref().map(UserRecord::user);
        let what = What::of_record(before, record.user());
        let version = difference::versioned(
            record.user().version,
            &difference::of_user(before, record.user()),
        );
        self.note_untold(vec![RecordName::User(name.clone())])?;
        // First recorded, then done: an act that is not on record does not happen.
        self.record(now_ms, what, Subject::User(name), version)?;
        self.keep_replaced(&record)?;
        files::write(&path, &record.encode(), Existing::Replace)?;
        Ok(record)
    }

    /// Puts an act on record. The realm is locked.
    fn record(
        &self,
        now_ms: u64,
        what: What,
        subject: Subject,
        detail: String,
    ) -> Result<(), RealmError> {
        let event = Event::done(now_ms, what, Who::Administrator, subject).detail(detail);
        Ok(local::append(self.realm.directory(), &self.audit, &event)?)
    }

    /// The number of the root that signs here.
    fn root_number(&self) -> u64 {
        self.realm.roots.number()
    }

    fn issue<B: crate::statement::Body>(&self, body: B, now_ms: u64) -> Verified<B> {
        Verified::issue(&self.realm.id(), &self.issuer, now_ms, body)
    }
}

/// Whether these nodes can be called together, before a root key is open.
///
/// # Errors
/// [`RealmError::BadCall`].
pub fn check_call(nodes: &[(Name, String)]) -> Result<(), RealmError> {
    if nodes.is_empty() || nodes.len() > NODES_MAX {
        return Err(RealmError::BadCall(format!(
            "a call names 1 to {NODES_MAX} nodes"
        )));
    }
    for (index, (name, address)) in nodes.iter().enumerate() {
        check_address(address)
            .map_err(|_| RealmError::BadCall(format!("{address:?} is not HOST:PORT")))?;
        let twice = |other: &(Name, String)| other.0 == *name || other.1 == *address;
        if nodes[..index].iter().any(twice) {
            return Err(RealmError::BadCall(format!(
                "{name}={address}: a name or an address stands twice"
            )));
        }
    }
    Ok(())
}

/// Whether a user can have these roles, before a password is asked for.
///
/// # Errors
/// [`RealmError::TooManyRoles`].
pub fn check_roles(roles: &[Role]) -> Result<(), RealmError> {
    let bytes: usize = roles.iter().map(|role| role.to_string().len() + 4).sum();
    if roles.len() > ROLES_MAX || bytes > ROLES_BYTES_MAX {
        return Err(RealmError::TooManyRoles);
    }
    Ok(())
}

/// Makes the directory of a realm beside its place, and moves it there when it is
/// whole: a full disk or a crash leaves no half of a realm that holds the name.
fn make_directory(
    realms: &Path,
    name: &str,
    fill: impl FnOnce(&Path) -> Result<(), FileError>,
) -> Result<PathBuf, FileError> {
    let directory = realms.join(name);
    files::ensure_directory(realms)?;
    let _lock = files::lock(&realms.join(".lock"))?;
    let making = realms.join(format!(".{name}.new"));
    files::remove_directory(&making)?;
    let made = fill(&making).and_then(|()| files::rename_directory(&making, &directory));
    if let Err(error) = made {
        // What is left is for nobody; if it cannot go now, the next one takes it.
        let _ = files::remove_directory(&making);
        return Err(error);
    }
    Ok(directory)
}

fn check_owner(path: &Path, user: &User, name: &str) -> Result<(), RealmError> {
    if user.name.as_str() != name {
        return Err(damaged(path, &"it is the record of another user"));
    }
    Ok(())
}

/// Makes the content of a new realm's directory.
fn fill(
    directory: &Path,
    root: &[u8],
    heir: Option<&[u8]>,
    login: &[u8],
    audit: &[u8],
    realm: &[u8],
) -> Result<(), FileError> {
    files::create_directory(directory)?;
    files::create_directory(&directory.join("users"))?;
    files::create_directory(&directory.join("calls"))?;
    files::write(&directory.join("root.sealed"), root, Existing::Refuse)?;
    if let Some(heir) = heir {
        files::write(&directory.join(HEIR_FILE), heir, Existing::Refuse)?;
    }
    files::write(&directory.join("login.sealed"), login, Existing::Refuse)?;
    files::write(&directory.join(local::LOCAL_FILE), audit, Existing::Refuse)?;
    // Last, because a directory is a realm when it has this file.
    files::write(&directory.join("realm"), realm, Existing::Refuse)
}

fn login_cipher(storage_key: &SecretArray<32>, realm: &RealmId) -> RecordKey {
    RecordKey::from_secret(&derive_key(storage_key, LOGIN_LABEL, realm.as_bytes()))
}

fn open_login(
    storage_key: &SecretArray<32>,
    realm: &RealmId,
    sealed: &[u8],
) -> Result<LoginSecrets, String> {
    let mut buffer = SecretArray::<LOGIN_FILE_BYTES>::from_slice(sealed)
        .ok_or_else(|| "it is too short".to_owned())?;
    let content = login_cipher(storage_key, realm)
        .open(realm.as_bytes(), buffer.expose_mut())
        .map_err(|error| error.to_string())?;
    LoginSecrets::decode(content).map_err(|error| error.to_string())
}

/// The name of a call's file.
fn call_file(id: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*id))
}

/// The roots as the directory holds them.
fn read_roots(directory: &Path, inception: &Inception) -> Result<Roots, RealmError> {
    let path = directory.join(ROOTS_FILE);
    let bytes = match files::read_secret(&path, ROOTS_LENGTH_MAX) {
        Err(FileError::Missing(_)) => return Ok(Roots::first(*inception)),
        read => read?,
    };
    Roots::decode(bytes.expose(), &inception.realm()).map_err(|error| damaged(&path, &error))
}

/// What stands in the file `realm`.
struct Public {
    name: Name,
    inception: Inception,
    approver: Option<Approver>,
}

fn parse_realm(bytes: &[u8]) -> Result<Public, EncodingError> {
    let mut reader = Reader::new(bytes);
    if reader.fixed(4)? != MAGIC {
        return Err(EncodingError::Invalid("it does not begin with SMRL"));
    }
    let version = reader.u8()?;
    if version != VERSION {
        return Err(EncodingError::Unknown {
            what: "realm version",
            value: u64::from(version),
        });
    }
    let name = crate::statement::read_name(&mut reader)?;
    let inception = Inception::read(&mut reader)?;
    let approver = match reader.flag()? {
        true => Some(Approver::from_bytes(&reader.array()?)?),
        false => None,
    };
    let signature = Signature::from_bytes(reader.array()?);
    reader.finish()?;
    let root = &inception.root;
    root.verify(REALM_DOMAIN, &bytes[..bytes.len() - 64], &signature)
        .map_err(|_| EncodingError::Invalid("the root's signature does not verify"))?;
    Ok(Public {
        name,
        inception,
        approver,
    })
}

/// Seals what takes an approval.
fn under_approval(
    approver: &Approver,
    waiting: &Waiting,
    content: &[u8],
) -> Result<Vec<u8>, RealmError> {
    let sealed = approver.require(waiting, content);
    sealed.map_err(|error| match error {
        sealed_box::SealError::Random(error) => RealmError::Random(error),
        _ => RealmError::TooLarge,
    })
}

/// A few names, and how many more.
fn some_of(names: &[Name]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(Name::as_str).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn damaged(path: &Path, what: &dyn std::fmt::Display) -> RealmError {
    RealmError::Damaged {
        path: path.to_owned(),
        what: what.to_string(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::opaque::{ClientLogin, LoginContext, ServerLogin};
    use sealmoot_rpc::ChannelBinding;

    pub(crate) fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    pub(crate) fn realm() -> (tempfile::TempDir, OpenRealm) {
        let directory = tempfile::tempdir().expect("a directory");
        Realm::create(directory.path(), &name("acme"), b"passphrase").expect("created");
        let realm = Realm::open(&directory.path().join("acme")).expect("opens");
        let open = realm.unlock(b"passphrase").expect("unlocks");
        (directory, open)
    }

    pub(crate) fn realm_file_length(realm: &OpenRealm) -> usize {
        let path = realm.realm().directory().join("realm");
        std::fs::read(path).expect("read").len()
    }

    #[test]
    fn a_realm_unlocks_with_its_passphrase_only() {
        let directory = tempfile::tempdir().expect("a directory");
        Realm::create(directory.path(), &name("acme"), b"passphrase").expect("created");
        let open = || Realm::open(&directory.path().join("acme")).expect("opens");
        assert!(matches!(
            open().unlock(b"passphrasf"),
            Err(RealmError::WrongPassphrase)
        ));
        assert!(open().unlock(b"passphrase").is_ok());
        assert!(matches!(
            Realm::create(directory.path(), &name("acme"), b"other"),
            Err(RealmError::File(FileError::Exists(_)))
        ));
        assert_eq!(Realm::all(directory.path()).expect("listed").len(), 1);
    }

    #[test]
    fn the_heir_opens_with_its_passphrase_and_no_other_key_passes_for_it() {
        let directory = tempfile::tempdir().expect("a directory");
        for realm in ["acme", "other"] {
            Realm::create(directory.path(), &name(realm), b"passphrase").expect("created");
        }
        let realm = Realm::open(&directory.path().join("acme")).expect("opens");
        let heir = realm.open_heir(None, b"passphrase").expect("opens");
        assert_eq!(heir.verifying_key().key_id(), *realm.roots().heir());
        assert!(matches!(
            realm.open_heir(None, b"passphrasf"),
            Err(RealmError::Heir(HeirError::WrongPassphrase))
        ));
        // Another realm's, and a damaged one.
        let other = directory.path().join("other").join(HEIR_FILE);
        assert!(matches!(
            realm.open_heir(Some(&other), b"passphrase"),
            Err(RealmError::Heir(HeirError::WrongPassphrase))
        ));
        let path = realm.directory().join(HEIR_FILE);
        let mut bytes = std::fs::read(&path).expect("read");
        bytes[40] ^= 1;
        std::fs::write(&path, bytes).expect("written");
        assert!(matches!(
            realm.open_heir(None, b"passphrase"),
            Err(RealmError::Heir(HeirError::Damaged(_)))
        ));
        std::fs::remove_file(&path).expect("removed");
        assert!(matches!(
            realm.open_heir(None, b"passphrase"),
            Err(RealmError::File(FileError::Missing(_)))
        ));
    }

    #[test]
    fn what_an_interrupted_init_left_is_in_nobodys_way_and_is_no_realm() {
        let directory = tempfile::tempdir().expect("a directory");
        let left = directory.path().join(".acme.new");
        Realm::create(directory.path(), &name("acme"), b"passphrase").expect("created");
        // Whole, and not moved yet.
        std::fs::rename(directory.path().join("acme"), &left).expect("moved");
        assert!(Realm::all(directory.path()).expect("listed").is_empty());
        let realm = Realm::create(directory.path(), &name("acme"), b"other").expect("created");
        assert!(!left.exists());
        realm.unlock(b"other").expect("the new one");
        // One that stands stays, and nothing is left beside it.
        let again = Realm::create(directory.path(), &name("acme"), b"third");
        assert!(
            matches!(&again, Err(RealmError::File(FileError::Exists(path)))
                if *path == directory.path().join("acme")),
            "not refused"
        );
        assert!(!left.exists());
        let standing = Realm::open(&directory.path().join("acme")).expect("opens");
        standing.unlock(b"other").expect("the same as before");
    }

    #[test]
    fn no_changed_byte_of_a_realm_passes_for_it() {
        let directory = tempfile::tempdir().expect("a directory");
        Realm::create(directory.path(), &name("acme"), b"passphrase").expect("created");
        let realm = directory.path().join("acme");
        let damaged = |file: &str, step: usize, read: &dyn Fn() -> Result<(), RealmError>| {
            let path = realm.join(file);
            let bytes = std::fs::read(&path).expect("read");
            for at in (0..bytes.len()).step_by(step) {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                std::fs::write(&path, changed).expect("written");
                let refused = matches!(read(), Err(RealmError::Damaged { .. }));
                assert!(refused, "byte {at} of {file}");
            }
            std::fs::write(&path, bytes).expect("written");
            read().expect("whole again");
        };
        damaged("realm", 1, &|| Realm::open(&realm).map(drop));
        // Of the last only some: each takes an Argon2id, to open the box before.
        for (file, step) in [("root.sealed", 1), ("login.sealed", 23)] {
            damaged(file, step, &|| {
                Realm::open(&realm)?.unlock(b"passphrase").map(drop)
            });
        }
    }

    #[test]
    fn users_come_change_and_go() {
        let (_directory, realm) = realm();
        let alice = name("alice");
        let first = realm
            .add_user(&alice, vec![Role::Admin], b"pw", 1)
            .expect("added");
        assert!(matches!(
            realm.add_user(&alice, vec![], b"pw", 1),
            Err(RealmError::UserExists(_))
        ));
        let disabled = realm
            .change_user(&alice, 2, |user| user.enabled = false)
            .expect("disabled");
        assert_eq!(disabled.user().user_key, first.user().user_key);
        assert_eq!(disabled.user().version, 2);
        let changed = realm.change_password(&alice, b"new", 3).expect("changed");
        assert_ne!(changed.user().user_key, first.user().user_key);
        assert!(!changed.user().enabled);
        realm
            .change_user(&alice, 4, |user| user.deleted = true)
            .expect("deleted");
        assert!(matches!(
            realm.change_password(&alice, b"x", 5),
            Err(RealmError::NoSuchUser(_))
        ));
        let again = realm.add_user(&alice, vec![], b"pw", 6).expect("added");
        assert_eq!(again.user().version, 5);
    }

    #[test]
    fn roles_that_no_reader_would_take_are_not_signed() {
        let (_directory, realm) = realm();
        let long: Role = format!("{}:r", "k".repeat(4096)).parse().expect("a grant");
        let many: Vec<Role> = (0..=ROLES_MAX)
            .map(|index| format!("k{index}:r").parse().expect("a grant"))
            .collect();
        let bob = name("bob");
        for roles in [vec![long; 4], many] {
            let refused = realm.add_user(&bob, roles.clone(), b"pw", 1);
            assert!(matches!(refused, Err(RealmError::TooManyRoles)));
        }
        realm.add_user(&bob, vec![], b"pw", 1).expect("added");
        let most: Vec<Role> = (0..ROLES_MAX)
            .map(|index| format!("k{index}:r").parse().expect("a grant"))
            .collect();
        realm
            .change_user(&bob, 2, |user| user.roles = most)
            .expect("changed");
        assert!(realm.realm().users().is_ok());
    }

    #[test]
    fn the_password_opens_the_users_own_key_through_a_login_only() {
        let (_directory, realm) = realm();
        let alice = name("alice");
        let record = realm.add_user(&alice, vec![], b"pw", 1).expect("added");
        let credential = record.credential().expect("a password").body();
        assert_eq!(credential.stretching, Stretching::DEFAULT);
        let id = realm.realm().id();
        let log_in = |password: &[u8]| {
            let context = LoginContext {
                realm: id,
                node: id.key_id(),
                channel: ChannelBinding::from_bytes([0; 32]),
                session: id.key_id(),
                user: alice.clone(),
            };
            let (client, ke1) = ClientLogin::start(password, context.clone())?;
            let file = Some(&credential.password);
            let (_, ke2) = ServerLogin::start(
                realm.login.as_ref().expect("the root's"),
                file,
                context,
                &ke1,
            )?;
            client.finish(credential.stretching, &ke2)
        };
        let (_, export_key, _) = log_in(b"pw").expect("the password");
        let expected = record.user().user_key.expect("a password");
        let key = user_key::open(&export_key, &id, &alice, &credential.sealed_key, &expected);
        assert!(key.is_some());
        assert!(matches!(log_in(b"pv"), Err(OpaqueError::Refused)));
    }

    #[test]
    fn a_password_that_is_too_long_is_not_registered() {
        let (_directory, realm) = realm();
        let long = vec![b'a'; PASSWORD_LENGTH_MAX + 1];
        assert!(matches!(
            realm.add_user(&name("alice"), vec![], &long, 1),
            Err(RealmError::Password(PasswordError::TooLong))
        ));
        assert!(
            realm
                .realm()
                .users()
                .expect("listed")
                .records()
                .next()
                .is_none()
        );
    }

    #[test]
    fn the_login_secrets_of_another_realm_are_damage() {
        let (directory, _) = realm();
        Realm::create(directory.path(), &name("other"), b"passphrase").expect("created");
        let of = |realm: &str| directory.path().join(realm).join("login.sealed");
        std::fs::copy(of("other"), of("acme")).expect("copied");
        let swapped = Realm::open(&directory.path().join("acme")).expect("opens");
        assert!(matches!(
            swapped.unlock(b"passphrase"),
            Err(RealmError::Damaged { path, .. }) if path.ends_with("login.sealed")
        ));
    }

    #[test]
    fn a_changed_record_is_damage() {
        let (directory, realm) = realm();
        realm
            .add_user(&name("alice"), vec![], b"pw", 1)
            .expect("added");
        let path = directory.path().join("acme/users/alice");
        let mut bytes = std::fs::read(&path).expect("read");
        bytes[100] ^= 1;
        std::fs::write(&path, bytes).expect("written");
        assert!(matches!(
            realm.realm().users(),
            Err(RealmError::Damaged { .. })
        ));
    }

    #[test]
    fn a_call_makes_one_invite_a_node() {
        let (_directory, realm) = realm();
        let nodes = [
            (name("n1"), "127.0.0.1:1".to_owned()),
            (name("n2"), "127.0.0.1:2".to_owned()),
        ];
        let invites = realm.call_nodes(&nodes, 9, 1).expect("called");
        let decoded: Vec<Invite> = invites
            .iter()
            .map(|bytes| Invite::decode(bytes.expose()).expect("valid"))
            .collect();
        assert_eq!(decoded[1].member().name, nodes[1].0);
        let shares = [decoded[0].share().clone(), decoded[1].share().clone()];
        let contents = decoded[0].sealed().open(&shares).expect("both");
        let login = realm.login("a test").expect("the root has them");
        assert_eq!(contents.login.encode().expose(), login.encode().expose());
        assert_eq!(realm.realm().calls().expect("listed").len(), 1);
        let twice = [nodes[0].clone(), nodes[0].clone()];
        assert!(matches!(
            realm.call_nodes(&twice, 9, 1),
            Err(RealmError::BadCall(_))
        ));
    }
}
