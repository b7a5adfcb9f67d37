//! A delegate's directory: asked for where the key is made, completed with what the
//! root hands back.
//!
//! ```text
//! request      "SMDQ", version u8 1, realm 32, name, public key 32, and the key's
//!              signature over all of it in the domain "delegation-request"
//! delegation   "SMDG", version u8 1, the realm's file `realm`, the chain, number of
//!              calls, then each 4+n a call statement: where the nodes are
//! ```
//!
//! Neither is a secret. The key lies in `.pending-NAME/delegate.sealed` until the
//! delegation comes: the realm's file is in it, so the directory cannot be a realm before.

use std::path::{Path, PathBuf};

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::{Signature, SigningKey, VerifyingKey};

use super::{
    OpenRealm, Public, REALM_FILE_MAX, ROOT_FILE_MAX, Realm, RealmError, RealmKeys, call_file,
    damaged, make_directory, parse_realm,
};
use crate::approval::Approver;
use crate::audit::local::{self, AuditSecrets, LOCAL_FILE};
use crate::audit::{Event, Subject, What, Who};
use crate::delegation::{CHAIN_BYTES_MAX, Chain, DelegationError};
use crate::files::{self, Existing, FileError};
use crate::name::Name;
use crate::realm_id::RealmId;
use crate::records::RecordName;
use crate::roots::{ROOTS_LENGTH_MAX, Roots, RootsError};
use crate::roster::verify_call;
use crate::statement::{Call, STATEMENT_LENGTH_MAX, StatementError, Verified, check_address};

const REQUEST_MAGIC: &[u8; 4] = b"SMDQ";
const DELEGATION_MAGIC: &[u8; 4] = b"SMDG";
const VERSION: u8 = 1;
/// Longest request in bytes.
pub const REQUEST_LENGTH_MAX: usize = 512;
/// Most calls in a delegation file: the newest.
const CALLS_MAX: usize = 16;
/// Longest delegation file in bytes.
pub const DELEGATION_FILE_MAX: usize =
    32 + REALM_FILE_MAX + CHAIN_BYTES_MAX + CALLS_MAX * (4 + STATEMENT_LENGTH_MAX);
const REQUEST_DOMAIN: &str = "delegation-request";
/// The use of the passphrase box.
const DELEGATE_CONTEXT: &str = "realm delegate key";
const CHAIN_FILE: &str = "delegate";
const NODES_FILE: &str = "nodes";
const NODES_BYTES_MAX: usize = 64 * 1024;
const KEY_FILE: &str = "delegate.sealed";

/// Why a request or a delegation file was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DelegationFileError {
    /// The realm's roots in it are not to be believed.
    #[error("the realm's roots in the file are forged: {0}")]
    Roots(#[from] RootsError),
    /// It is something else, or was cut or changed.
    #[error("not a file of the kind: {0}")]
    Malformed(#[from] EncodingError),
    /// Who asks does not hold the key.
    #[error("the request was not signed with its own key")]
    BadSignature,
    /// What is in it is not to be believed.
    #[error(transparent)]
    Delegation(#[from] DelegationError),
    /// A call in it is not to be believed.
    #[error("a call in it: {0}")]
    Call(StatementError),
    /// It belongs to another realm.
    #[error("it belongs to the realm {0}")]
    WrongRealm(RealmId),
    /// The key that it is for is not on this machine.
    #[error("it is for another key than any that was made here")]
    NoRequest,
}

/// That somebody wants to be a delegate, and holds this key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    realm: RealmId,
    name: Name,
    key: VerifyingKey,
}

impl Request {
    /// The request's bytes, signed with the key itself.
    #[must_use]
    pub fn encode(realm: &RealmId, name: &Name, key: &SigningKey) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.fixed(REQUEST_MAGIC);
        writer.u8(VERSION);
        writer.fixed(realm.as_bytes());
        writer.text(name.as_str());
        writer.fixed(&key.verifying_key().to_bytes());
        let mut bytes = writer.finish();
        let signature = key.sign(REQUEST_DOMAIN, &bytes);
        bytes.extend_from_slice(&signature.to_bytes());
        bytes
    }

    /// Reads a request to `realm`.
    ///
    /// # Errors
    /// [`DelegationFileError`].
    pub fn decode(bytes: &[u8], realm: &RealmId) -> Result<Self, DelegationFileError> {
        let mut reader = Reader::new(bytes);
        begin(&mut reader, REQUEST_MAGIC)?;
        let found = RealmId::from_bytes(reader.array()?);
        let name = crate::statement::read_name(&mut reader)?;
        let key = crate::statement::read_key(&mut reader)?;
        let signature = Signature::from_bytes(reader.array()?);
        reader.finish()?;
        key.verify(REQUEST_DOMAIN, &bytes[..bytes.len() - 64], &signature)
            .map_err(|_| DelegationFileError::BadSignature)?;
        if found != *realm {
            return Err(DelegationFileError::WrongRealm(found));
        }
        Ok(Self {
            realm: found,
            name,
            key,
        })
    }

    /// Who asks.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// With which key.
    #[must_use]
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }
}

/// A request that was made on this machine and not answered yet.
#[derive(Debug)]
pub struct PendingRequest {
    directory: PathBuf,
    request: Request,
}

impl PendingRequest {
    /// Makes a key, sealed under `passphrase`, below `realms`, and a request for it; the
    /// request's bytes.
    ///
    /// # Errors
    /// [`FileError::Exists`] when somebody of this name asked already; other
    /// [`RealmError`]s.
    pub fn create(
        realms: &Path,
        realm: &RealmId,
        name: &Name,
        passphrase: &[u8],
    ) -> Result<Vec<u8>, RealmError> {
        let keys = RealmKeys {
            root_key: SigningKey::generate()?,
            storage_key: SecretArray::random()?,
        };
        let request = Request::encode(realm, name, &keys.root_key);
        let sealed = keys.seal_for(DELEGATE_CONTEXT, realm, passphrase)?;
        // A name cannot begin with a dot, so no realm is in the way.
        make_directory(realms, &format!(".pending-{name}"), |making| {
            files::create_directory(making)?;
            files::write(&making.join(KEY_FILE), &sealed, Existing::Refuse)?;
            files::write(&making.join("request"), &request, Existing::Refuse)
        })?;
        Ok(request)
    }

    /// The one below `realms` that a delegation answers.
    ///
    /// # Errors
    /// [`DelegationFileError::NoRequest`].
    pub fn find(realms: &Path, file: &AcceptedFile) -> Result<Self, DelegationFileError> {
        let wanted = file.chain.last();
        let directory = realms.join(format!(".pending-{}", wanted.name));
        let path = directory.join("request");
        let bytes = files::read_secret(&path, REQUEST_LENGTH_MAX)
            .map_err(|_| DelegationFileError::NoRequest)?;
        let request = Request::decode(bytes.expose(), &file.id())?;
        if request.key != wanted.key {
            return Err(DelegationFileError::NoRequest);
        }
        Ok(Self { directory, request })
    }

    /// Makes the delegate's directory of the realm, in `realms` under the name `called`.
    ///
    /// # Errors
    /// [`RealmError::WrongPassphrase`], [`FileError::Exists`] when there is a realm of
    /// this name, others.
    pub fn accept(
        self,
        realms: &Path,
        called: &Name,
        file: &AcceptedFile,
        passphrase: &[u8],
        now_ms: u64,
    ) -> Result<OpenRealm, RealmError> {
        let sealed = files::read_secret(&self.directory.join(KEY_FILE), ROOT_FILE_MAX)?;
        let keys = open_keys(
            &self.directory,
            sealed.expose(),
            &file.id(),
            &self.request.key,
            passphrase,
        )?;
        let secrets = AuditSecrets::of(&keys.storage_key, &file.id());
        let accepted = Event::done(
            now_ms,
            What::DelegationAccepted,
            Who::Administrator,
            Subject::Nothing,
        );
        let audit = local::initial(&secrets, &accepted.detail(file.chain.path().to_string()))?;
        let directory = make_directory(realms, called.as_str(), |making| {
            files::create_directory(making)?;
            files::create_directory(&making.join("users"))?;
            files::create_directory(&making.join("calls"))?;
            files::write(&making.join(KEY_FILE), sealed.expose(), Existing::Refuse)?;
            let chain = file.chain.encode();
            files::write(&making.join(CHAIN_FILE), &chain, Existing::Refuse)?;
            files::write(&making.join(LOCAL_FILE), &audit, Existing::Refuse)?;
            write_calls(making, &file.calls)?;
            write_roots(making, &file.roots)?;
            files::write(&making.join("realm"), &file.realm, Existing::Refuse)
        })?;
        // The realm stands: a pending one that stays is in nobody's way but a namesake's.
        let _ = files::remove_directory(&self.directory);
        let realm = Realm {
            directory,
            name: file.name.clone(),
            roots: file.roots.clone(),
            approver: file.approver.clone(),
            chain: Some(file.chain.clone()),
            handing_over: false,
        };
        Ok(OpenRealm {
            realm,
            issuer: keys.root_key,
            login: None,
            audit: secrets,
        })
    }
}

/// What the root handed back, verified against the realm that is in it.
pub struct AcceptedFile {
    name: Name,
    roots: Roots,
    approver: Option<Approver>,
    realm: Vec<u8>,
    chain: Chain,
    calls: Vec<Verified<Call>>,
}

impl AcceptedFile {
    /// The bytes of a delegation file: of the realm's file, the chain, and calls that say
    /// where the nodes are.
    #[must_use]
    pub fn encode(realm: &[u8], roots: &Roots, chain: &Chain, calls: &[Verified<Call>]) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.fixed(DELEGATION_MAGIC);
        writer.u8(VERSION);
        writer.bytes(realm);
        writer.bytes(&roots.encode());
        writer.bytes(&chain.encode());
        writer.count(calls.len());
        for call in calls {
            writer.bytes(call.bytes());
        }
        writer.finish()
    }

    /// Reads a delegation file. That its realm is the right one is for the caller to
    /// say: a request names it, or a directory that is there.
    ///
    /// # Errors
    /// [`DelegationFileError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DelegationFileError> {
        let mut reader = Reader::new(bytes);
        begin(&mut reader, DELEGATION_MAGIC)?;
        let realm = reader.bytes(REALM_FILE_MAX)?;
        let Public {
            name,
            inception,
            approver,
        } = parse_realm(realm)?;
        let roots = Roots::decode(reader.bytes(ROOTS_LENGTH_MAX)?, &inception.realm())?;
        let chain = Chain::decode(reader.bytes(CHAIN_BYTES_MAX)?, &roots)?;
        let count = reader.count(CALLS_MAX)?;
        let mut calls = Vec::with_capacity(count);
        for _ in 0..count {
            let call = reader.bytes(STATEMENT_LENGTH_MAX)?;
            calls.push(verify_call(call, &roots).map_err(DelegationFileError::Call)?);
        }
        reader.finish()?;
        Ok(Self {
            name,
            roots,
            approver,
            realm: realm.to_vec(),
            chain,
            calls,
        })
    }

    /// The realm's id.
    #[must_use]
    pub fn id(&self) -> RealmId {
        self.roots.realm()
    }

    /// The realm's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The delegation.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.chain
    }
}

impl Realm {
    /// Whether a delegation renews the one that this directory is for.
    #[must_use]
    pub fn is_renewed_by(&self, file: &AcceptedFile) -> bool {
        let same_key = |chain: &Chain| chain.last().key == file.chain.last().key;
        file.id() == self.id()
            && self.path() == file.chain.path()
            && self.chain().is_some_and(same_key)
    }

    pub(super) fn open_delegate_keys(
        &self,
        key: &VerifyingKey,
        passphrase: &[u8],
    ) -> Result<RealmKeys, RealmError> {
        let sealed = files::read_secret(&self.directory.join(KEY_FILE), ROOT_FILE_MAX)?;
        open_keys(
            &self.directory,
            sealed.expose(),
            &self.id(),
            key,
            passphrase,
        )
    }
}

impl OpenRealm {
    /// Keeps addresses of nodes that no call names.
    ///
    /// # Errors
    /// [`RealmError`].
    pub fn note_nodes(&self, addresses: &[String]) -> Result<(), RealmError> {
        let _lock = self.lock()?;
        let known = self.realm.nodes()?;
        let mut noted = read_nodes(&self.realm.directory)?;
        for address in addresses {
            let new = known.iter().all(|(_, held)| held != address) && !noted.contains(address);
            if new {
                noted.push(address.clone());
            }
        }
        if noted.is_empty() {
            return Ok(());
        }
        let path = self.realm.directory.join(NODES_FILE);
        Ok(files::write(
            &path,
            noted.join("\n").as_bytes(),
            Existing::Replace,
        )?)
    }

    /// Goes on under a newer version of the delegation; the users that were made under
    /// the older one come along.
    ///
    /// # Errors
    /// [`RealmError`].
    pub fn accept_renewal(
        mut self,
        file: &AcceptedFile,
        now_ms: u64,
    ) -> Result<OpenRealm, RealmError> {
        let newer = match self.realm.chain() {
            Some(held) => {
                (held.root(), held.versions()) < (file.chain.root(), file.chain.versions())
            }
            None => false,
        };
        if !self.realm.is_renewed_by(file) || !newer {
            return Err(DelegationError::Twice.into());
        }
        let lock = self.lock()?;
        // The roots first: what is written below may rest on them, and what is there can
        // be read with them too. A crash behind them leaves the chain to be renewed.
        let mut roots = self.realm.roots.clone();
        roots
            .take(&file.roots.encode())
            .map_err(|error| damaged(&self.realm.directory.join(super::ROOTS_FILE), &error))?;
        write_roots(&self.realm.directory, &roots)?;
        self.realm.roots = roots;
        let (renewed, _) = self.renewed_records(&file.chain)?;
        let names = renewed
            .iter()
            .map(|record| RecordName::User(record.user().name.clone()));
        self.note_untold(names.collect())?;
        let detail = file.chain.path().to_string();
        self.record(now_ms, What::DelegationAccepted, Subject::Nothing, detail)?;
        for record in &renewed {
            self.write_user(record)?;
        }
        write_calls(&self.realm.directory, &file.calls)?;
        // Last: until it is there, the same can be done again.
        let path = self.realm.directory.join(CHAIN_FILE);
        files::write(&path, &file.chain.encode(), Existing::Replace)?;
        drop(lock);
        self.realm.chain = Some(file.chain.clone());
        Ok(self)
    }
}

/// The delegation that the realm in `directory` is for; none in the root's directory.
pub(super) fn read_chain(directory: &Path, roots: &Roots) -> Result<Option<Chain>, RealmError> {
    let path = directory.join(CHAIN_FILE);
    let bytes = match files::read_secret(&path, CHAIN_BYTES_MAX) {
        Err(FileError::Missing(_)) => return Ok(None),
        read => read?,
    };
    Chain::decode(bytes.expose(), roots)
        .map(Some)
        .map_err(|error| damaged(&path, &error))
}

/// The addresses that a person named, one a line.
pub(super) fn read_nodes(directory: &Path) -> Result<Vec<String>, RealmError> {
    let path = directory.join(NODES_FILE);
    let bytes = match files::read_secret(&path, NODES_BYTES_MAX) {
        Err(FileError::Missing(_)) => return Ok(Vec::new()),
        read => read?,
    };
    std::str::from_utf8(bytes.expose())
        .ok()
        .map(|text| text.lines().map(str::to_owned).collect::<Vec<String>>())
        .filter(|lines| lines.iter().all(|line| check_address(line).is_ok()))
        .ok_or_else(|| damaged(&path, &"a line is not HOST:PORT"))
}

/// What a delegate is handed.
pub(super) fn delegation_file(realm: &Realm, chain: &Chain) -> Result<Vec<u8>, RealmError> {
    let content = files::read_secret(&realm.directory.join("realm"), REALM_FILE_MAX)?;
    let calls = realm.calls()?;
    let newest = &calls[..calls.len().min(CALLS_MAX)];
    Ok(AcceptedFile::encode(
        content.expose(),
        &realm.roots,
        chain,
        newest,
    ))
}

fn open_keys(
    directory: &Path,
    sealed: &[u8],
    realm: &RealmId,
    key: &VerifyingKey,
    passphrase: &[u8],
) -> Result<RealmKeys, RealmError> {
    RealmKeys::open_for(DELEGATE_CONTEXT, realm, key, sealed, passphrase).map_err(|error| {
        match error {
            super::KeysError::WrongPassphrase => RealmError::WrongPassphrase,
            super::KeysError::Damaged(what) => damaged(&directory.join(KEY_FILE), &what),
        }
    })
}

fn write_roots(directory: &Path, roots: &Roots) -> Result<(), FileError> {
    if roots.number() == 0 {
        return Ok(());
    }
    let path = directory.join(super::ROOTS_FILE);
    files::write(&path, &roots.encode(), Existing::Replace)
}

fn write_calls(directory: &Path, calls: &[Verified<Call>]) -> Result<(), FileError> {
    for call in calls {
        let path = directory.join("calls").join(call_file(&call.body().id));
        files::write(&path, call.bytes(), Existing::Replace)?;
    }
    Ok(())
}

fn begin(reader: &mut Reader<'_>, magic: &'static [u8; 4]) -> Result<(), EncodingError> {
    if reader.fixed(4)? != magic {
        return Err(EncodingError::Invalid("it begins otherwise"));
    }
    let version = reader.u8()?;
    if version != VERSION {
        return Err(EncodingError::Unknown {
            what: "version of the file",
            value: u64::from(version),
        });
    }
    Ok(())
}
