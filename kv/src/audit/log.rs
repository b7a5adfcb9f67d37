//! The log itself: created, opened, appended to.

use std::io;
use std::sync::Arc;

use sealmoot_authn::audit::chain::chain_id;
use sealmoot_authn::audit::{Entry, Event, SignedHead, first_key};
use sealmoot_authn::realm_id::RealmId;
use sealmoot_crypto::aead::SealError;
use sealmoot_crypto::hash_chain::{Chain, Head};
use sealmoot_crypto::random::RandomError;
use sealmoot_crypto::sealed_box::{self, PublicKey};
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::SigningKey;
use zeroize::Zeroizing;

use super::frame::{self, Frame, FrameError, Place};
use super::reader::{Published, Segment};
use super::state::{STATE_FILE_BYTES, State};
use super::{AuditKey, SEGMENT_BYTES, SEGMENTS_KEPT, STATE_FILE, segment_name, segment_number};
use crate::disk::{Disk, DiskError, DiskFile, SECTOR_BYTES};

/// Whose log it is.
pub struct Owner {
    /// The realm.
    pub realm: RealmId,
    /// The node's key, which signs heads.
    pub key: SigningKey,
}

/// Why a log was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Something could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The first key could not be sealed to the realm.
    #[error(transparent)]
    FirstKey(#[from] sealed_box::SealError),
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Why a log was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file is missing, or not what was written.
    #[error("{file} at offset {offset}: {what}")]
    Damaged {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// How many bytes are concerned.
        length: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Why events were not recorded.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// There is no room. Nothing was done, and it may be tried again.
    #[error("no room for the audit log: {0}")]
    NoRoom(DiskError),
    /// The disk failed, now or before; the log has to be opened again.
    #[error("the audit log failed: {0}")]
    Failed(String),
}

/// A node's log, open for appending.
pub struct AuditLog<D: Disk> {
    disk: D,
    key: Arc<AuditKey>,
    owner: Owner,
    chain_id: [u8; 32],
    sealed_first_key: Arc<[u8]>,
    state: State,
    segments: Vec<Segment>,
    current: D::File,
    state_file: D::File,
    failed: bool,
    segment_bytes: u64,
    segments_kept: usize,
}

impl<D: Disk> AuditLog<D> {
    /// A new log. Its first key is made here, sealed to `audit_key` and forgotten.
    ///
    /// # Errors
    /// [`CreateError`].
    pub fn create(
        disk: D,
        key: Arc<AuditKey>,
        owner: Owner,
        audit_key: &PublicKey,
        now_ms: u64,
    ) -> Result<Self, CreateError> {
        let first = SecretArray::<32>::random()?;
        let key_id = owner.key.verifying_key().key_id();
        let sealed = first_key::seal(audit_key, &owner.realm, &key_id, &first)?;
        let chain_id = chain_id(&owner.realm, &key_id, &sealed);
        let head = SignedHead::sign(&owner.key, &owner.realm, chain_id, Head::EMPTY, now_ms);
        let (current, offset) = begin_segment(&disk, &key, 1, &sealed, &head)?;
        let state_file = disk.create(STATE_FILE, STATE_FILE_BYTES)?;
        let state = |counter| State {
            counter,
            segment: 1,
            offset,
            head: Head::EMPTY,
            key: SecretArray::from_bytes(*first.expose()),
        };
        // Both places, so that both have to open from the beginning.
        for state in [state(0), state(1)] {
            state_file.write_at(state.place(), &state.seal(&key)?)?;
        }
        state_file.sync_data()?;
        disk.sync_directory()?;
        Ok(Self {
            disk,
            key,
            chain_id,
            sealed_first_key: sealed.into(),
            state: state(1),
            segments: vec![Segment {
                number: 1,
                beginning: head,
            }],
            owner,
            current,
            state_file,
            failed: false,
            segment_bytes: SEGMENT_BYTES,
            segments_kept: SEGMENTS_KEPT,
        })
    }

    /// Opens a log: authenticates its state, the beginnings of its segments, and all of
    /// the newest segment, and cuts off what was never acknowledged.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(disk: D, key: Arc<AuditKey>, owner: Owner) -> Result<Self, OpenError> {
        let (state_file, state) = read_state(&disk, &key)?;
        let numbers = segments(&disk, &state)?;
        for number in &numbers.unacknowledged {
            disk.remove(&segment_name(*number))?;
        }
        let mut segments = Vec::with_capacity(numbers.kept.len());
        let mut sealed_first_key: Option<Vec<u8>> = None;
        let mut after_beginning = 0;
        let mut newest = None;
        for number in numbers.kept {
            let file = open_segment(&disk, number)?;
            let (beginning, next) = read_beginning(&disk, &file, &key, number)?;
            let head =
                SignedHead::verify(&beginning.head, &owner.realm, &owner.key.verifying_key())
                    .map_err(|_| damaged_beginning(number, next))?;
            let same_chain = sealed_first_key
                .get_or_insert_with(|| beginning.sealed_first_key.clone())
                == &beginning.sealed_first_key;
            if !same_chain {
                return Err(damaged_beginning(number, next));
            }
            segments.push(Segment {
                number,
                beginning: head,
            });
            after_beginning = next;
            newest = Some(file);
        }
        let (Some(current), Some(sealed_first_key)) = (newest, sealed_first_key) else {
            return Err(missing(segment_name(state.segment)));
        };
        let key_id = owner.key.verifying_key().key_id();
        let chain_id = chain_id(&owner.realm, &key_id, &sealed_first_key);
        check_newest::<D>(&current, &key, &state, &segments, after_beginning)?;
        if current.length()? > state.offset {
            check_behind::<D>(&current, &key, &state)?;
            current.truncate(state.offset)?;
            current.sync_data()?;
        }
        Ok(Self {
            disk,
            key,
            owner,
            chain_id,
            sealed_first_key: sealed_first_key.into(),
            state,
            segments,
            current,
            state_file,
            failed: false,
            segment_bytes: SEGMENT_BYTES,
            segments_kept: SEGMENTS_KEPT,
        })
    }

    /// The same with other bounds, for tests.
    #[cfg(test)]
    pub(super) fn bounded(mut self, segment_bytes: u64, segments_kept: usize) -> Self {
        self.segment_bytes = segment_bytes;
        self.segments_kept = segments_kept;
        self
    }

    /// Records events together: on return they are durable.
    ///
    /// # Errors
    /// [`AppendError`].
    pub fn append(&mut self, events: &[Event], now_ms: u64) -> Result<(), AppendError> {
        if self.failed {
            return Err(AppendError::Failed("it failed before".to_owned()));
        }
        // On a copy: an event that did not become durable has no link.
        let mut chain = Chain::resume(&self.state.key, self.chain_id, self.state.head);
        let mut entries = Vec::with_capacity(events.len());
        for event in events {
            let (sequence, event) = (chain.head().records(), event.encode());
            let link = chain.append(&event).map_err(|error| self.fail(error))?;
            entries.push(Entry {
                sequence,
                event,
                link,
            });
        }
        let frame = Frame::Entries(entries);
        let mut sealed = self.seal(&frame, self.state.segment, self.state.offset)?;
        if self.state.offset + sealed.len() as u64 > self.segment_bytes {
            self.rotate(now_ms)?;
            sealed = self.seal(&frame, self.state.segment, self.state.offset)?;
        }
        if let Err(error) = self.current.write_at(self.state.offset, &sealed) {
            // What was written of it must not stay: the next group may go to the next
            // segment, and this one's end is then the file's.
            return Err(match self.current.truncate(self.state.offset) {
                Ok(()) => self.refuse(error),
                Err(_) => self.fail(error),
            });
        }
        self.current.sync_data().map_err(|error| self.fail(error))?;
        let state = State {
            counter: self.state.counter + 1,
            segment: self.state.segment,
            offset: self.state.offset + sealed.len() as u64,
            head: chain.head(),
            key: SecretArray::from_bytes(*chain.key().expose()),
        };
        let place = state.seal(&self.key).map_err(|error| self.fail(error))?;
        self.state_file
            .write_at(state.place(), &place)
            .map_err(|error| self.fail(error))?;
        self.state_file
            .sync_data()
            .map_err(|error| self.fail(error))?;
        self.state = state;
        self.forget_oldest();
        Ok(())
    }

    /// What readers may see.
    #[must_use]
    pub fn published(&self) -> Published {
        Published {
            head: self.state.head,
            chain_id: self.chain_id,
            sealed_first_key: Arc::clone(&self.sealed_first_key),
            segments: self.segments.clone(),
            end: self.state.offset,
        }
    }

    fn seal(&mut self, frame: &Frame, segment: u32, offset: u64) -> Result<Vec<u8>, AppendError> {
        frame::seal(&self.key, Place { segment, offset }, frame).map_err(|error| self.fail(error))
    }

    /// Begins the next segment. The state goes on counting the old one until a group
    /// stands in the new one, so a crash between leaves a segment that nobody counts.
    fn rotate(&mut self, now_ms: u64) -> Result<(), AppendError> {
        let number = self.state.segment + 1;
        let head = SignedHead::sign(
            &self.owner.key,
            &self.owner.realm,
            self.chain_id,
            self.state.head,
            now_ms,
        );
        let begun = begin_segment(&self.disk, &self.key, number, &self.sealed_first_key, &head);
        let (current, offset) = match begun {
            Ok(begun) => begun,
            Err(CreateError::Disk(error)) => {
                // Whatever there is of it is in the way of the next attempt.
                let _ = self.disk.remove(&segment_name(number));
                return Err(self.refuse(error));
            }
            Err(error) => return Err(self.fail(error)),
        };
        self.current = current;
        self.state.segment = number;
        self.state.offset = offset;
        self.segments.push(Segment {
            number,
            beginning: head,
        });
        Ok(())
    }

    fn forget_oldest(&mut self) {
        while self.segments.len() > self.segments_kept {
            // One that stays is tried again with the next group. Those behind it stay
            // too: a gap would keep the node from starting.
            if let Err(error) = self.disk.remove(&segment_name(self.segments[0].number)) {
                tracing::warn!(%error, "an old segment of the audit log was not removed");
                return;
            }
            self.segments.remove(0);
        }
    }

    /// No room is no failure: what was written of the group is overwritten by the next.
    fn refuse(&mut self, error: DiskError) -> AppendError {
        match error.kind() {
            Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                AppendError::NoRoom(error)
            }
            _ => self.fail(error),
        }
    }

    fn fail(&mut self, error: impl std::fmt::Display) -> AppendError {
        self.failed = true;
        AppendError::Failed(error.to_string())
    }
}

/// Which segments there are.
pub(super) struct Segments {
    /// In a row up to the one of the state.
    pub(super) kept: Vec<u32>,
    /// Begun after it, and never counted.
    pub(super) unacknowledged: Vec<u32>,
}

pub(super) fn segments<D: Disk>(disk: &D, state: &State) -> Result<Segments, OpenError> {
    let mut numbers: Vec<u32> = disk
        .names()?
        .iter()
        .filter_map(|name| segment_number(name))
        .collect();
    numbers.sort_unstable();
    let unacknowledged = numbers.split_off(numbers.partition_point(|n| *n <= state.segment));
    for (index, number) in numbers.iter().enumerate() {
        if *number != numbers[0] + u32::try_from(index).unwrap_or(u32::MAX) {
            return Err(missing(segment_name(number - 1)));
        }
    }
    if numbers.last() != Some(&state.segment) {
        return Err(missing(segment_name(state.segment)));
    }
    // A crash leaves the next one at most. More mean that the state is an older one, and
    // to go on from it would drop what was acknowledged.
    if unacknowledged.len() > 1
        || unacknowledged
            .first()
            .is_some_and(|n| *n != state.segment + 1)
    {
        return Err(older_state());
    }
    Ok(Segments {
        kept: numbers,
        unacknowledged,
    })
}

pub(super) struct Beginning {
    pub(super) sealed_first_key: Vec<u8>,
    pub(super) head: Vec<u8>,
}

pub(super) fn read_beginning<D: Disk>(
    _disk: &D,
    file: &D::File,
    key: &AuditKey,
    number: u32,
) -> Result<(Beginning, u64), OpenError> {
    let place = Place {
        segment: number,
        offset: 0,
    };
    match frame::read::<D>(file, key, place, file.length()?)? {
        (
            Frame::Beginning {
                sealed_first_key,
                head,
            },
            next,
        ) => Ok((
            Beginning {
                sealed_first_key,
                head,
            },
            next,
        )),
        (Frame::Entries(_), next) => Err(damaged_beginning(number, next)),
    }
}

/// The state that holds. Both places have to open: a disk writes a sector whole or not
/// at all, so one that does not open was changed, and going on from the other would
/// drop what was acknowledged.
pub(super) fn read_state<D: Disk>(disk: &D, key: &AuditKey) -> Result<(D::File, State), OpenError> {
    let file = match disk.open(STATE_FILE) {
        Ok(file) => file,
        Err(error) if error.is_not_found() => return Err(missing(STATE_FILE.to_owned())),
        Err(error) => return Err(error.into()),
    };
    let length = file.length()?;
    if length != STATE_FILE_BYTES {
        return Err(OpenError::Damaged {
            file: STATE_FILE.to_owned(),
            offset: 0,
            length,
            what: "it has another length",
        });
    }
    // Of a state that was written and never synced, the head would be signed for peers
    // and might be gone after a power cut.
    file.sync_data()?;
    file.forget_cached()?;
    let (first, second) = (
        read_place::<D>(&file, key, 0)?,
        read_place::<D>(&file, key, SECTOR_BYTES as u64)?,
    );
    // They are written in turn.
    if first.counter.abs_diff(second.counter) != 1 {
        return Err(older_state());
    }
    let state = if first.counter < second.counter {
        second
    } else {
        first
    };
    Ok((file, state))
}

/// The state in one place.
pub(super) fn read_place<D: Disk>(
    file: &D::File,
    key: &AuditKey,
    place: u64,
) -> Result<State, OpenError> {
    // The key of the chain is in it, in the clear once it is open.
    let mut sector = Zeroizing::new([0; SECTOR_BYTES]);
    file.read_at(place, &mut *sector)?;
    State::open(&mut *sector, place, key).map_err(|_| OpenError::Damaged {
        file: STATE_FILE.to_owned(),
        offset: place,
        length: SECTOR_BYTES as u64,
        what: "it fails authentication",
    })
}

/// What says that the state was put back to an older one.
pub(super) fn older_state() -> OpenError {
    OpenError::Damaged {
        file: STATE_FILE.to_owned(),
        offset: 0,
        length: STATE_FILE_BYTES,
        what: "it is older than the events",
    }
}

/// Looks at what stands behind the end of the newest segment. A crash leaves one group
/// there, whole or in part, which was never answered for. Two authentic ones in a row were
/// never there together unless the first was counted: the state is an older one.
pub(super) fn check_behind<D: Disk>(
    file: &D::File,
    key: &AuditKey,
    state: &State,
) -> Result<(), OpenError> {
    let end = file.length()?;
    let mut place = Place {
        segment: state.segment,
        offset: state.offset,
    };
    for _ in 0..2 {
        match frame::read::<D>(file, key, place, end) {
            Ok((_, next)) => place.offset = next,
            Err(FrameError::Damaged { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Err(older_state())
}

/// Authenticates the newest segment up to the state, and that it leads to its head.
pub(super) fn check_newest<D: Disk>(
    file: &D::File,
    key: &AuditKey,
    state: &State,
    segments: &[Segment],
    after_beginning: u64,
) -> Result<(), OpenError> {
    let mut head = segments
        .last()
        .map_or(Head::EMPTY, |segment| segment.beginning.head());
    let mut place = Place {
        segment: state.segment,
        offset: after_beginning,
    };
    let end = state.offset.min(file.length()?);
    while place.offset < end {
        let (frame, next) = frame::read::<D>(file, key, place, end)?;
        head = continued(head, &frame, place, next)?;
        place.offset = next;
    }
    if end < state.offset || head != state.head {
        return Err(OpenError::Damaged {
            file: segment_name(state.segment),
            offset: end,
            length: state.offset.saturating_sub(end),
            what: "its end is missing",
        });
    }
    Ok(())
}

/// The head behind a frame of entries that begins where the one before ended.
pub(super) fn continued(
    head: Head,
    frame: &Frame,
    place: Place,
    next: u64,
) -> Result<Head, OpenError> {
    let wrong = || OpenError::Damaged {
        file: segment_name(place.segment),
        offset: place.offset,
        length: next - place.offset,
        what: "it does not follow what stands before it",
    };
    let Frame::Entries(entries) = frame else {
        return Err(wrong());
    };
    let Some(last) = entries.last() else {
        return Err(wrong());
    };
    if entries[0].sequence != head.records() {
        return Err(wrong());
    }
    let mut bytes = Head::EMPTY.to_bytes();
    bytes[2..10].copy_from_slice(&(last.sequence + 1).to_le_bytes());
    bytes[10..].copy_from_slice(last.link.as_bytes());
    Head::from_bytes(&bytes).map_err(|_| wrong())
}

pub(super) fn open_segment<D: Disk>(disk: &D, number: u32) -> Result<D::File, OpenError> {
    match disk.open(&segment_name(number)) {
        Ok(file) => Ok(file),
        Err(error) if error.is_not_found() => Err(missing(segment_name(number))),
        Err(error) => Err(error.into()),
    }
}

/// Makes a segment with its beginning durable.
fn begin_segment<D: Disk>(
    disk: &D,
    key: &AuditKey,
    number: u32,
    sealed_first_key: &[u8],
    head: &SignedHead,
) -> Result<(D::File, u64), CreateError> {
    let beginning = Frame::Beginning {
        sealed_first_key: sealed_first_key.to_vec(),
        head: head.bytes().to_vec(),
    };
    let place = Place {
        segment: number,
        offset: 0,
    };
    let sealed = frame::seal(key, place, &beginning)?;
    let file = disk.create(&segment_name(number), 0)?;
    file.write_at(0, &sealed)?;
    file.sync_data()?;
    disk.sync_directory()?;
    Ok((file, sealed.len() as u64))
}

pub(super) fn missing(file: String) -> OpenError {
    OpenError::Damaged {
        file,
        offset: 0,
        length: 0,
        what: "it is missing",
    }
}

fn damaged_beginning(number: u32, length: u64) -> OpenError {
    OpenError::Damaged {
        file: segment_name(number),
        offset: 0,
        length,
        what: "its beginning is of another log",
    }
}

impl From<FrameError> for OpenError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Damaged {
                place,
                length,
                what,
            } => Self::Damaged {
                file: segment_name(place.segment),
                offset: place.offset,
                length,
                what,
            },
            FrameError::Disk(error) => Self::Disk(error),
        }
    }
}
