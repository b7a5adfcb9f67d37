//! A realm as a directory on the administrator's machine.
//!
//! ```text
//! NAME/                0700
//!   realm              "SMRL", version u8, name, root public key, and the
//!                      root's signature over all of it
//!   root.sealed        the root key's seed in a passphrase box, and its SHA-256:
//!                      damage is to be told from a wrong passphrase
//!   users/NAME         one signed user record each
//!   calls/ID           the calls that were issued: where the nodes are
//!   lock               held while the realm is changed
//! ```

use std::path::{Path, PathBuf};

use sealmoot_crypto::digest::sha256;
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::passphrase_box::{self, BoxOpenError, BoxSealError};
use sealmoot_crypto::password::{Cost, PasswordError, PasswordRecord};
use sealmoot_crypto::random::{self, RandomError};
use sealmoot_crypto::secret::{SecretArray, SecretBytes};
use sealmoot_crypto::signature::{Signature, SigningKey, VerifyingKey};

use crate::files::{self, Existing, FileError};
use crate::invite::Invite;
use crate::name::Name;
use crate::policy::Role;
use crate::realm_id::RealmId;
use crate::roster::verify_call;
use crate::statement::{
    Call, CallMember, Credential, NODES_MAX, ROLES_MAX, STATEMENT_LENGTH_MAX, StatementError, User,
    Verified, check_address,
};
use crate::users::{RECORD_LENGTH_MAX, RecordError, UserDirectory, UserRecord};

const MAGIC: &[u8; 4] = b"SMRL";
const VERSION: u8 = 1;
const REALM_FILE_MAX: usize = 256;
const ROOT_FILE_MAX: usize = 1024;
/// Longest text of one user's roles together, well within a statement.
const ROLES_BYTES_MAX: usize = 16 * 1024;
/// Domain of the signature in the realm file.
const REALM_DOMAIN: &str = "realm";
/// The use that a sealed root key is for.
const ROOT_CONTEXT: &str = "realm root key";
/// The use that a sealed user key is for.
pub const USER_KEY_CONTEXT: &str = "user key";

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
    /// A user of this name exists.
    #[error("user {0} exists already")]
    UserExists(Name),
    /// No user has this name.
    #[error("no user {0}")]
    NoSuchUser(Name),
    /// The call breaks a rule: too many nodes, one twice.
    #[error("{0}")]
    BadCall(String),
    /// The user's roles do not fit a statement.
    #[error("a user has at most {ROLES_MAX} roles, of {ROLES_BYTES_MAX} bytes together")]
    TooManyRoles,
    /// A password could not be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// A key could not be sealed.
    #[error(transparent)]
    Seal(#[from] BoxSealError),
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// A realm's public side, read from its directory.
pub struct Realm {
    directory: PathBuf,
    name: Name,
    root: VerifyingKey,
}

/// A realm whose root key is open. Every change locks the realm against other
/// processes while it lasts, and no longer: a prompt between two changes stops
/// nobody.
pub struct OpenRealm {
    realm: Realm,
    root_key: SigningKey,
}

impl Realm {
    /// Makes a realm with a fresh root key, sealed under `passphrase`, in
    /// `realms/NAME`.
    ///
    /// # Errors
    /// [`FileError::Exists`] for a name that is taken; other [`RealmError`]s.
    pub fn create(realms: &Path, name: &Name, passphrase: &[u8]) -> Result<Self, RealmError> {
        let root_key = SigningKey::generate()?;
        let root = root_key.verifying_key();
        let mut sealed = passphrase_box::seal(
            passphrase,
            ROOT_CONTEXT,
            RealmId::of(&root).as_bytes(),
            root_key.to_seed().expose(),
            Cost::RFC_9106_LOW_MEMORY,
        )?;
        sealed.extend_from_slice(&sha256(&sealed));
        let directory = realms.join(name.as_str());
        files::ensure_directory(realms)?;
        files::create_directory(&directory)?;
        files::create_directory(&directory.join("users"))?;
        files::create_directory(&directory.join("calls"))?;
        files::write(&directory.join("root.sealed"), &sealed, Existing::Refuse)?;
        let mut writer = Writer::new();
        writer.fixed(MAGIC);
        writer.u8(VERSION);
        writer.text(name.as_str());
        writer.fixed(&root.to_bytes());
        let mut content = writer.finish();
        let signature = root_key.sign(REALM_DOMAIN, &content);
        content.extend_from_slice(&signature.to_bytes());
        // Last, because a directory is a realm when it has this file.
        files::write(&directory.join("realm"), &content, Existing::Refuse)?;
        Ok(Self {
            directory,
            name: name.clone(),
            root,
        })
    }

    /// Reads the realm in `directory`.
    ///
    /// # Errors
    /// [`FileError::Missing`] when there is none, [`RealmError::Damaged`].
    pub fn open(directory: &Path) -> Result<Self, RealmError> {
        let path = directory.join("realm");
        let bytes = files::read_secret(&path, REALM_FILE_MAX)?;
        let (name, root) = parse_realm(bytes.expose()).map_err(|error| damaged(&path, &error))?;
        Ok(Self {
            directory: directory.to_owned(),
            name,
            root,
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
        RealmId::of(&self.root)
    }

    /// The root's public key.
    #[must_use]
    pub fn root(&self) -> &VerifyingKey {
        &self.root
    }

    /// Where the realm is kept.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Opens the root key for signing.
    ///
    /// # Errors
    /// [`RealmError::WrongPassphrase`], [`RealmError::Damaged`].
    pub fn unlock(self, passphrase: &[u8]) -> Result<OpenRealm, RealmError> {
        let path = self.directory.join("root.sealed");
        let content = files::read_secret(&path, ROOT_FILE_MAX)?;
        let sealed = content
            .expose()
            .split_last_chunk::<32>()
            .filter(|(sealed, digest)| sha256(sealed) == **digest)
            .map(|(sealed, _)| sealed)
            .ok_or_else(|| damaged(&path, &"its digest does not match"))?;
        let seed = passphrase_box::open(passphrase, ROOT_CONTEXT, self.id().as_bytes(), sealed)
            .map_err(|error| match error {
                BoxOpenError::Closed | BoxOpenError::Password(PasswordError::TooLong) => {
                    RealmError::WrongPassphrase
                }
                error => damaged(&path, &error),
            })?;
        let root_key = SecretArray::from_slice(seed.expose())
            .map(|seed| SigningKey::from_seed(&seed))
            .filter(|key| key.verifying_key() == self.root)
            .ok_or_else(|| damaged(&path, &"another key is sealed in it"))?;
        Ok(OpenRealm {
            realm: self,
            root_key,
        })
    }

    /// All user records, verified.
    ///
    /// # Errors
    /// [`RealmError::Damaged`] when one does not verify.
    pub fn users(&self) -> Result<UserDirectory, RealmError> {
        let directory = self.directory.join("users");
        let mut users = UserDirectory::default();
        for name in files::names(&directory)? {
            let path = directory.join(&name);
            let bytes = files::read_secret(&path, RECORD_LENGTH_MAX)?;
            let record = UserRecord::decode(bytes.expose(), &self.root)
                .map_err(|error: RecordError| damaged(&path, &error))?;
            if record.user().name.as_str() != name {
                return Err(damaged(&path, &"it is the record of another user"));
            }
            users.apply(record);
        }
        Ok(users)
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
            let call = verify_call(bytes.expose(), &self.root)
                .map_err(|error: StatementError| damaged(&path, &error))?;
            calls.push(call);
        }
        calls.sort_by_key(|call| std::cmp::Reverse(call.issued_ms()));
        Ok(calls)
    }
}

impl OpenRealm {
    /// The realm's public side.
    #[must_use]
    pub fn realm(&self) -> &Realm {
        &self.realm
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
        let users = self.realm.users()?;
        let version = match users.record(name) {
            Some(record) if !record.user().deleted => {
                return Err(RealmError::UserExists(name.clone()));
            }
            Some(record) => record.user().version + 1,
            None => 1,
        };
        let (credential, user_key) = self.credential(name, password, now_ms)?;
        let user = User {
            name: name.clone(),
            version,
            enabled: true,
            deleted: false,
            roles,
            user_key,
        };
        self.store(user, credential, now_ms)
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
        let mut user = self.existing(name)?.user().clone();
        let (credential, user_key) = self.credential(name, password, now_ms)?;
        user.version += 1;
        user.user_key = user_key;
        self.store(user, credential, now_ms)
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
        check_roles(&user.roles)?;
        user.version = record.user().version + 1;
        self.store(user, record.credential().clone(), now_ms)
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
        let _lock = self.lock()?;
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
        let file = format!("{:032x}", u128::from_be_bytes(id));
        files::write(
            &self.realm.directory.join("calls").join(file),
            call.bytes(),
            Existing::Refuse,
        )?;
        let records: Vec<UserRecord> = self.realm.users()?.records().cloned().collect();
        Ok(seeds
            .iter()
            .enumerate()
            .map(|(index, seed)| Invite::encode(&self.realm.root, &call, index, seed, &records))
            .collect())
    }

    fn lock(&self) -> Result<files::Lock, RealmError> {
        Ok(files::lock(&self.realm.directory.join("lock"))?)
    }

    fn existing(&self, name: &Name) -> Result<UserRecord, RealmError> {
        self.realm
            .users()?
            .record(name)
            .filter(|record| !record.user().deleted)
            .cloned()
            .ok_or_else(|| RealmError::NoSuchUser(name.clone()))
    }

    fn credential(
        &self,
        name: &Name,
        password: &[u8],
        now_ms: u64,
    ) -> Result<(Verified<Credential>, VerifyingKey), RealmError> {
        let user_key = SigningKey::generate()?;
        let credential = Credential {
            name: name.clone(),
            user_key: user_key.verifying_key(),
            password: PasswordRecord::hash(password, Cost::OWASP)?,
            sealed_key: passphrase_box::seal(
                password,
                USER_KEY_CONTEXT,
                &user_key_binding(&self.realm.id(), name),
                user_key.to_seed().expose(),
                Cost::OWASP,
            )?,
        };
        Ok((self.issue(credential, now_ms), user_key.verifying_key()))
    }

    fn store(
        &self,
        user: User,
        credential: Verified<Credential>,
        now_ms: u64,
    ) -> Result<UserRecord, RealmError> {
        let path = self.realm.directory.join("users").join(user.name.as_str());
        let record = UserRecord::new(self.issue(user, now_ms), credential)
            .map_err(|error| damaged(&path, &error))?;
        files::write(&path, &record.encode(), Existing::Replace)?;
        Ok(record)
    }

    fn issue<B: crate::statement::Body>(&self, body: B, now_ms: u64) -> Verified<B> {
        Verified::issue(&self.realm.id(), &self.root_key, now_ms, body)
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

/// What a sealed user key is bound to, so that it opens for its user in its realm
/// only.
#[must_use]
pub fn user_key_binding(realm: &RealmId, name: &Name) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.fixed(realm.as_bytes());
    writer.text(name.as_str());
    writer.finish()
}

fn parse_realm(bytes: &[u8]) -> Result<(Name, VerifyingKey), EncodingError> {
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
    let root = crate::statement::read_key(&mut reader)?;
    let signature = Signature::from_bytes(reader.array()?);
    reader.finish()?;
    root.verify(REALM_DOMAIN, &bytes[..bytes.len() - 64], &signature)
        .map_err(|_| EncodingError::Invalid("the root's signature does not verify"))?;
    Ok((name, root))
}

fn damaged(path: &Path, what: &dyn std::fmt::Display) -> RealmError {
    RealmError::Damaged {
        path: path.to_owned(),
        what: what.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    fn realm() -> (tempfile::TempDir, OpenRealm) {
        let directory = tempfile::tempdir().expect("a directory");
        Realm::create(directory.path(), &name("acme"), b"passphrase").expect("created");
        let realm = Realm::open(&directory.path().join("acme")).expect("opens");
        let open = realm.unlock(b"passphrase").expect("unlocks");
        (directory, open)
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
    fn no_changed_byte_of_a_realm_passes_for_it() {
        let directory = tempfile::tempdir().expect("a directory");
        Realm::create(directory.path(), &name("acme"), b"passphrase").expect("created");
        let realm = directory.path().join("acme");
        let damaged = |file: &str, read: &dyn Fn() -> Result<(), RealmError>| {
            let path = realm.join(file);
            let bytes = std::fs::read(&path).expect("read");
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                std::fs::write(&path, changed).expect("written");
                let refused = matches!(read(), Err(RealmError::Damaged { .. }));
                assert!(refused, "byte {at} of {file}");
            }
            std::fs::write(&path, bytes).expect("written");
            read().expect("whole again");
        };
        damaged("realm", &|| Realm::open(&realm).map(drop));
        damaged("root.sealed", &|| {
            Realm::open(&realm)?.unlock(b"passphrase").map(drop)
        });
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
    fn the_password_opens_the_users_own_key() {
        let (_directory, realm) = realm();
        let alice = name("alice");
        let record = realm.add_user(&alice, vec![], b"pw", 1).expect("added");
        let credential = record.credential().body();
        let binding = user_key_binding(&realm.realm().id(), &alice);
        let open = |password: &[u8]| {
            passphrase_box::open(password, USER_KEY_CONTEXT, &binding, &credential.sealed_key)
        };
        let seed = open(b"pw").expect("opens");
        let key = SigningKey::from_seed(&SecretArray::from_slice(seed.expose()).expect("a seed"));
        assert_eq!(key.verifying_key(), record.user().user_key);
        assert!(open(b"pv").is_err());
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
        assert_eq!(realm.realm().calls().expect("listed").len(), 1);
        let twice = [nodes[0].clone(), nodes[0].clone()];
        assert!(matches!(
            realm.call_nodes(&twice, 9, 1),
            Err(RealmError::BadCall(_))
        ));
    }
}
