//! What the administrator does, in the file `audit.log` of the realm's directory.
//!
//! ```text
//! offset length
//!      0    512  place A: the state, sealed; written in turn with
//!    512    512  place B
//!   1024         entries: each 4 bytes of length, 32 of link, and the event
//! ```
//!
//! A state (XAES-256-GCM under a key from the realm's box: nonce 24, ciphertext 472,
//! tag 16; the place and the realm are bound) holds
//!
//! ```text
//!      1  version, 1
//!      8  counter: of both places the higher one holds
//!      8  length of the file that it is the state of
//!     42  head of the chain
//!     32  key of the next link
//!    381  zeros
//! ```
//!
//! An entry is durable before the state that counts it, and both before the act that is
//! recorded: so what stands behind the state was never acted on. The first key comes
//! from the realm's box. The events themselves are not sealed, as the users' records
//! beside them are not. Who opens the realm can write all of it anew; this log shows to
//! the administrator what others did on the machine, and to nobody what the
//! administrator did.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use sealmoot_crypto::aead::{RecordKey, SealError};
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::hash_chain::{Chain, Head, LINK_LENGTH, Link};
use sealmoot_crypto::kdf::{Label, derive_key};
use sealmoot_crypto::sealed_box::PrivateKey;
use sealmoot_crypto::secret::{SecretArray, SecretBytes};

use super::chain::{Entry, chain_id};
use super::check::{Report, Walk};
use super::event::{EVENT_LENGTH_MAX, Event};
use super::first_key;
use crate::realm_id::RealmId;

/// Name of the file in the realm's directory.
pub const LOCAL_FILE: &str = "audit.log";
/// Longest file in bytes: beyond it no act is recorded, and so none is done.
pub const LOCAL_BYTES_MAX: u64 = 256 * 1024 * 1024;
const PLACE_BYTES: usize = 512;
const STATE_BYTES: usize = PLACE_BYTES - RecordKey::OVERHEAD;
const ENTRIES_AT: u64 = 2 * PLACE_BYTES as u64;
const VERSION: u8 = 1;
const STATE_LABEL: Label = Label::new("realm audit state");
const FIRST_LABEL: Label = Label::new("realm audit first key");

/// Why an act was not recorded, or a record not read.
#[derive(Debug, thiserror::Error)]
pub enum LocalAuditError {
    /// The file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// The file has reached [`LOCAL_BYTES_MAX`].
    #[error("{} is full", .0.display())]
    Full(PathBuf),
    /// The state could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// What the realm's box gives the audit log.
pub struct AuditSecrets {
    realm: RealmId,
    state: RecordKey,
    first: SecretArray<32>,
    /// Opens the first keys of the nodes' chains.
    pub key: PrivateKey,
}

impl AuditSecrets {
    /// Derived from the storage key in the realm's box.
    #[must_use]
    pub fn of(storage_key: &SecretArray<32>, realm: &RealmId) -> Self {
        let derived = |label| derive_key(storage_key, label, realm.as_bytes());
        Self {
            realm: *realm,
            state: RecordKey::from_secret(&derived(STATE_LABEL)),
            first: derived(FIRST_LABEL),
            key: first_key::audit_key(storage_key, realm),
        }
    }

    fn chain_id(&self) -> [u8; 32] {
        chain_id(&self.realm, &self.realm.key_id(), b"")
    }
}

/// The content of a new file whose first event is `event`.
///
/// # Errors
/// When the random source fails.
pub fn initial(secrets: &AuditSecrets, event: &Event) -> Result<Vec<u8>, SealError> {
    let mut chain = Chain::start(&secrets.first, secrets.chain_id());
    let before = State::of(&chain, 0, ENTRIES_AT);
    let entry = link(&mut chain, event);
    let state = State::of(&chain, 1, ENTRIES_AT + entry.len() as u64);
    let mut content = before.seal(secrets)?;
    content.extend(state.seal(secrets)?);
    content.extend(entry);
    Ok(content)
}

/// Records an event durably. The realm has to be locked.
///
/// # Errors
/// [`LocalAuditError`]; what was to be recorded must not be done.
pub fn append(
    directory: &Path,
    secrets: &AuditSecrets,
    event: &Event,
) -> Result<(), LocalAuditError> {
    let path = directory.join(LOCAL_FILE);
    let io = |source| LocalAuditError::Io {
        path: path.clone(),
        source,
    };
    let file = open(&path, true).map_err(io)?;
    let state = read_state(&file, &path, secrets)?;
    if state.length >= LOCAL_BYTES_MAX {
        return Err(LocalAuditError::Full(path));
    }
    let mut chain = Chain::resume(&state.key, secrets.chain_id(), state.head);
    let entry = link(&mut chain, event);
    file.write_all_at(&entry, state.length).map_err(io)?;
    let length = state.length + entry.len() as u64;
    // What a crash left behind the state is shorter than any entry, or was cut here.
    file.set_len(length).map_err(io)?;
    file.sync_data().map_err(io)?;
    let next = State::of(&chain, state.counter + 1, length);
    file.write_all_at(&next.seal(secrets)?, next.offset())
        .map_err(io)?;
    file.sync_data().map_err(io)
}

/// The events, which nobody has verified yet; needs no passphrase.
///
/// # Errors
/// [`LocalAuditError`].
pub fn read(directory: &Path) -> Result<Vec<Entry>, LocalAuditError> {
    let path = directory.join(LOCAL_FILE);
    let file = open(&path, false).map_err(|source| LocalAuditError::Io {
        path: path.clone(),
        source,
    })?;
    let (entries, _) = read_entries(&file, &path, LOCAL_BYTES_MAX)?;
    Ok(entries)
}

/// Verifies every link and that the log ends where its state says.
///
/// # Errors
/// [`LocalAuditError`]; faults of the chain are the result.
pub fn verify(directory: &Path, secrets: &AuditSecrets) -> Result<Report, LocalAuditError> {
    let path = directory.join(LOCAL_FILE);
    let file = open(&path, false).map_err(|source| LocalAuditError::Io {
        path: path.clone(),
        source,
    })?;
    let state = read_state(&file, &path, secrets)?;
    let (entries, complete) = read_entries(&file, &path, state.length)?;
    if !complete {
        return Err(damaged(&path, "it ends within an event"));
    }
    let mut walk = Walk::begin(
        &secrets.first,
        secrets.chain_id(),
        Head::EMPTY,
        state.head,
        &[],
    );
    for entry in &entries {
        walk.entry(entry);
    }
    Ok(walk.finish())
}

struct State {
    counter: u64,
    length: u64,
    head: Head,
    key: SecretArray<32>,
}

impl State {
    fn of(chain: &Chain, counter: u64, length: u64) -> Self {
        Self {
            counter,
            length,
            head: chain.head(),
            key: SecretArray::from_bytes(*chain.key().expose()),
        }
    }

    /// Where it stands: the place that holds the older state.
    fn offset(&self) -> u64 {
        (self.counter % 2) * PLACE_BYTES as u64
    }

    fn seal(&self, secrets: &AuditSecrets) -> Result<Vec<u8>, SealError> {
        let mut writer = Writer::with_capacity(STATE_BYTES);
        writer.u8(VERSION);
        writer.u64(self.counter);
        writer.u64(self.length);
        writer.fixed(&self.head.to_bytes());
        writer.fixed(self.key.expose());
        let mut plaintext = writer.finish();
        plaintext.resize(STATE_BYTES, 0);
        let plaintext = SecretBytes::new(plaintext);
        secrets
            .state
            .seal(&bound(secrets, self.offset()), plaintext.expose())
    }

    fn open(place: &mut [u8], offset: u64, secrets: &AuditSecrets) -> Result<Self, EncodingError> {
        let plaintext = secrets
            .state
            .open(&bound(secrets, offset), place)
            .map_err(|_| EncodingError::Invalid("its state was changed"))?;
        let mut reader = Reader::new(plaintext);
        if reader.u8()? != VERSION {
            return Err(EncodingError::Invalid("its state is of another version"));
        }
        Ok(Self {
            counter: reader.u64()?,
            length: reader.u64()?,
            head: Head::from_bytes(reader.fixed(Head::LENGTH)?)?,
            key: SecretArray::from_bytes(reader.array()?),
        })
    }
}

fn bound(secrets: &AuditSecrets, offset: u64) -> [u8; 40] {
    let mut bound = [0; 40];
    bound[..32].copy_from_slice(secrets.realm.as_bytes());
    bound[32..].copy_from_slice(&offset.to_le_bytes());
    bound
}

/// Appends to the chain and gives the bytes of the entry.
fn link(chain: &mut Chain, event: &Event) -> Vec<u8> {
    let event = event.encode();
    let link = chain
        .append(&event)
        .expect("the file is full long before the chain is");
    let mut writer = Writer::with_capacity(4 + LINK_LENGTH + event.len());
    writer.count(LINK_LENGTH + event.len());
    writer.fixed(link.as_bytes());
    writer.fixed(&event);
    writer.finish()
}

/// The newer state. Both have to open: a disk writes a sector whole or not at all, so
/// one that does not open was changed, and to go on from the other would drop an event
/// that was acted on.
fn read_state(file: &File, path: &Path, secrets: &AuditSecrets) -> Result<State, LocalAuditError> {
    let state_at = |offset| {
        let mut place = vec![0; PLACE_BYTES];
        file.read_exact_at(&mut place, offset)
            .map_err(|_| damaged(path, "it is too short for its state"))?;
        State::open(&mut place, offset, secrets)
            .map_err(|_| damaged(path, "its state does not open"))
    };
    let (first, second) = (state_at(0)?, state_at(PLACE_BYTES as u64)?);
    Ok(if first.counter < second.counter {
        second
    } else {
        first
    })
}

/// The entries up to `end`, and whether it lies where an entry ends.
fn read_entries(file: &File, path: &Path, end: u64) -> Result<(Vec<Entry>, bool), LocalAuditError> {
    let length = file
        .metadata()
        .map_err(|source| LocalAuditError::Io {
            path: path.to_owned(),
            source,
        })?
        .len()
        .min(end)
        .min(LOCAL_BYTES_MAX + 2 * EVENT_LENGTH_MAX as u64);
    let expected = end == length;
    let mut bytes = vec![0; usize::try_from(length.saturating_sub(ENTRIES_AT)).unwrap_or(0)];
    file.read_exact_at(&mut bytes, ENTRIES_AT)
        .map_err(|source| LocalAuditError::Io {
            path: path.to_owned(),
            source,
        })?;
    let mut reader = Reader::new(&bytes);
    let mut entries = Vec::new();
    let mut left = bytes.len();
    while left > 0 {
        let Ok(entry) = reader.bytes(LINK_LENGTH + EVENT_LENGTH_MAX) else {
            return Ok((entries, false));
        };
        let Some((link, event)) = entry.split_first_chunk::<LINK_LENGTH>() else {
            return Ok((entries, false));
        };
        left -= 4 + entry.len();
        entries.push(Entry {
            sequence: entries.len() as u64,
            event: event.to_vec(),
            link: Link::from_bytes(*link),
        });
    }
    Ok((entries, expected))
}

fn open(path: &Path, writing: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(writing)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}

fn damaged(path: &Path, what: &'static str) -> LocalAuditError {
    LocalAuditError::Damaged {
        path: path.to_owned(),
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Fault;
    use super::super::event::{Subject, What, Who};
    use super::*;

    fn secrets() -> AuditSecrets {
        AuditSecrets::of(
            &SecretArray::from_bytes([1; 32]),
            &RealmId::from_bytes([2; 32]),
        )
    }

    fn event(detail: &str) -> Event {
        Event::done(5, What::UserAdded, Who::Administrator, Subject::Nothing).detail(detail)
    }

    /// A directory with a log of `count` events.
    fn log(count: usize) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        let content = initial(&secrets(), &event("0")).expect("sealed");
        std::fs::write(directory.path().join(LOCAL_FILE), content).expect("written");
        for number in 1..count {
            append(directory.path(), &secrets(), &event(&number.to_string())).expect("appended");
        }
        directory
    }

    fn change(directory: &tempfile::TempDir, change: impl FnOnce(&mut Vec<u8>)) {
        let path = directory.path().join(LOCAL_FILE);
        let mut bytes = std::fs::read(&path).expect("read");
        change(&mut bytes);
        std::fs::write(path, bytes).expect("written");
    }

    #[test]
    fn what_was_recorded_is_read_without_and_verified_with_the_passphrase() {
        let directory = log(4);
        let entries = read(directory.path()).expect("read");
        let details: Vec<String> = entries
            .iter()
            .map(|entry| Event::decode(&entry.event).expect("an event").detail)
            .collect();
        assert_eq!(details, ["0", "1", "2", "3"]);
        let report = verify(directory.path(), &secrets()).expect("verified");
        assert_eq!((report.events, report.faults), (4, vec![]));
        let other = AuditSecrets::of(
            &SecretArray::from_bytes([9; 32]),
            &RealmId::from_bytes([2; 32]),
        );
        assert!(matches!(
            verify(directory.path(), &other),
            Err(LocalAuditError::Damaged { .. })
        ));
        assert!(append(directory.path(), &other, &event("x")).is_err());
    }

    #[test]
    fn every_flipped_byte_of_an_event_is_found() {
        let directory = log(2);
        let length = std::fs::metadata(directory.path().join(LOCAL_FILE))
            .expect("there")
            .len();
        for at in 1024..usize::try_from(length).expect("small") {
            change(&directory, |bytes| bytes[at] ^= 1);
            let sound =
                verify(directory.path(), &secrets()).is_ok_and(|report| report.faults.is_empty());
            assert!(!sound, "byte {at}");
            change(&directory, |bytes| bytes[at] ^= 1);
        }
        assert_eq!(
            verify(directory.path(), &secrets())
                .expect("verified")
                .faults,
            []
        );
    }

    #[test]
    fn a_tail_that_was_cut_is_found_and_one_that_was_never_acted_on_is_dropped() {
        let directory = log(3);
        change(&directory, |bytes| bytes.truncate(bytes.len() - 10));
        assert!(matches!(
            verify(directory.path(), &secrets()),
            Err(LocalAuditError::Damaged { .. })
        ));
        // A crash between the entry and its state.
        let directory = log(3);
        change(&directory, |bytes| bytes.extend([7; 90]));
        let report = verify(directory.path(), &secrets()).expect("verified");
        assert_eq!((report.events, report.faults), (3, vec![]));
        append(directory.path(), &secrets(), &event("after")).expect("appended");
        assert_eq!(read(directory.path()).expect("read").len(), 4);
        assert_eq!(
            verify(directory.path(), &secrets())
                .expect("verified")
                .faults,
            []
        );
    }

    #[test]
    fn no_changed_byte_of_a_state_passes() {
        let directory = log(3);
        for at in (0..1024).step_by(7) {
            change(&directory, |bytes| bytes[at] ^= 1);
            for refused in [
                verify(directory.path(), &secrets()).map(drop),
                append(directory.path(), &secrets(), &event("x")),
            ] {
                assert!(
                    matches!(refused, Err(LocalAuditError::Damaged { .. })),
                    "{at}"
                );
            }
            change(&directory, |bytes| bytes[at] ^= 1);
        }
        // An old state in both places, each its own.
        let older = log(2);
        let bytes = std::fs::read(older.path().join(LOCAL_FILE)).expect("read");
        change(&directory, |log| log[..512].copy_from_slice(&bytes[..512]));
        assert!(verify(directory.path(), &secrets()).is_ok());
        change(&directory, |log| {
            log[..512].copy_from_slice(&bytes[512..1024])
        });
        assert!(verify(directory.path(), &secrets()).is_err());
    }

    #[test]
    fn an_event_of_another_realm_is_a_broken_link() {
        let directory = log(3);
        let storage_key = SecretArray::from_bytes([1; 32]);
        let other = AuditSecrets::of(&storage_key, &RealmId::from_bytes([3; 32]));
        let mut chain = Chain::start(&other.first, other.chain_id());
        let foreign = link(&mut chain, &event("0"));
        change(&directory, |bytes| {
            bytes[1024..1024 + foreign.len()].copy_from_slice(&foreign);
        });
        assert_eq!(
            verify(directory.path(), &secrets())
                .expect("verified")
                .faults,
            [Fault::Broken { sequence: 0 }]
        );
    }

    #[test]
    fn without_its_file_nothing_is_recorded() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(matches!(
            append(directory.path(), &secrets(), &event("x")),
            Err(LocalAuditError::Io { .. })
        ));
        // Nor through a link that somebody put there.
        let elsewhere = log(1);
        std::os::unix::fs::symlink(
            elsewhere.path().join(LOCAL_FILE),
            directory.path().join(LOCAL_FILE),
        )
        .expect("linked");
        assert!(append(directory.path(), &secrets(), &event("x")).is_err());
    }
}
