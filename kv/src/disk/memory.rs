//! A disk in memory whose power can be cut and whose calls can fail.
//!
//! Every call that changes something (create, write, truncate, rename, remove,
//! and both syncs) is an *effect* with a number, counted from zero. A test asks
//! for effect `n` to fail, or for the power to go at effect `n`, and then takes
//! what [`MemoryDisk::crash`] left: a disk on which every unsynced sector, length
//! and name independently has one of the states since its last sync. Names of
//! one rename may even part; no file system is that bad, and the store must not
//! care.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::memory_file::{Choices, Content};
use super::{CREATED_BYTES_MAX, Disk, DiskError, DiskFile, SECTOR_BYTES, check_name};

type Shared = Arc<Mutex<Content>>;

/// A disk in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<String, Shared>,
    /// What a name stood for before, the synced state first.
    unsynced: BTreeMap<String, Vec<Option<Shared>>>,
    effects: u64,
    failing: Option<(u64, io::ErrorKind)>,
    power_cut: Option<u64>,
}

/// What becomes of one effect.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Done,
    /// It fails, and the machine lives on.
    Failed(io::ErrorKind),
    /// The power went during it: it has happened as far as unsynced effects do.
    Cut,
}

impl MemoryDisk {
    /// An empty disk without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many effects were asked for so far.
    #[must_use]
    pub fn effects(&self) -> u64 {
        self.state().effects
    }

    /// Lets effect number `effect` fail with `kind`. Of a failed write
    /// half the sectors are done, a failed sync has synced nothing and never will.
    pub fn fail_at(&self, effect: u64, kind: io::ErrorKind) {
        self.state().failing = Some((effect, kind));
    }

    /// Cuts the power at effect number `effect`: it and all later ones fail.
    pub fn cut_power_at(&self, effect: u64) {
        self.state().power_cut = Some(effect);
    }

    /// Takes all planned faults back. What stays is a machine on which only the
    /// process died: everything written is visible, not all of it is synced.
    pub fn clear_faults(&self) {
        let mut state = self.state();
        state.failing = None;
        state.power_cut = None;
    }

    /// The disk after a power cut at this moment, as `seed` chooses. This disk
    /// stays as it is, so that many outcomes can be tried.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let mut choices = Choices(seed);
        let state = self.state();
        let mut survivors = state.names.clone();
        for (name, before) in &state.unsynced {
            if let Some(earlier) = before.get(choices.below(before.len() + 1)) {
                match earlier {
                    Some(file) => survivors.insert(name.clone(), Arc::clone(file)),
                    None => survivors.remove(name),
                };
            }
        }
        let names = survivors
            .into_iter()
            .map(|(name, file)| {
                let content = lock(&file).survivor(&mut choices);
                (name, Arc::new(Mutex::new(content)))
            })
            .collect();
        Self {
            state: Arc::new(Mutex::new(State {
                names,
                ..State::default()
            })),
        }
    }

    /// What reads of a file see.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state
            .names
            .get(name)
            .map(|file| lock(file).visible().to_vec())
    }

    /// Puts a file on the medium, whatever was there.
    pub fn set_bytes(&self, name: &str, bytes: Vec<u8>) {
        let file = Arc::new(Mutex::new(Content::synced(bytes)));
        self.state().names.insert(name.to_owned(), file);
    }

    /// Flips the bits of `mask` in one byte of a file, on the medium.
    ///
    /// # Panics
    /// When there is no such file or byte.
    pub fn flip(&self, name: &str, offset: usize, mask: u8) {
        let mut bytes = self.bytes(name).expect("the test names a file that exists");
        bytes[offset] ^= mask;
        self.set_bytes(name, bytes);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_fate(&self) -> Fate {
        let mut state = self.state();
        let effect = state.effects;
        state.effects += 1;
        match (state.power_cut, state.failing) {
            (Some(cut), _) if effect == cut => Fate::Cut,
            (Some(cut), _) if effect > cut => Fate::Failed(io::ErrorKind::BrokenPipe),
            (_, Some((failing, kind))) if effect == failing => Fate::Failed(kind),
            _ => Fate::Done,
        }
    }

    /// One change of names: `change` runs unless the effect fails.
    fn change_names(
        &self,
        action: &'static str,
        name: &str,
        change: impl FnOnce(&mut State) -> Result<(), io::ErrorKind>,
    ) -> Result<(), DiskError> {
        let failed = |kind| io_error(action, name, kind);
        match self.next_fate() {
            Fate::Failed(kind) => Err(failed(kind)),
            Fate::Cut => {
                change(&mut self.state()).map_err(failed)?;
                Err(failed(io::ErrorKind::BrokenPipe))
            }
            Fate::Done => change(&mut self.state()).map_err(failed),
        }
    }
}

impl State {
    fn bind(&mut self, name: &str, file: Option<Shared>) {
        let before = match file {
            Some(file) => self.names.insert(name.to_owned(), file),
            None => self.names.remove(name),
        };
        self.unsynced
            .entry(name.to_owned())
            .or_default()
            .push(before);
    }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    fn names(&self) -> Result<Vec<String>, DiskError> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn create(&self, name: &str, length: u64) -> Result<MemoryFile, DiskError> {
        check_name(name)?;
        let too_long = || DiskError::TooLong {
            name: name.to_owned(),
            length,
            maximum: CREATED_BYTES_MAX,
        };
        if length > CREATED_BYTES_MAX {
            return Err(too_long());
        }
        let content = Content::zeros(usize::try_from(length).map_err(|_| too_long())?);
        let file = Arc::new(Mutex::new(content));
        self.change_names("create", name, |state| {
            if state.names.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists);
            }
            state.bind(name, Some(Arc::clone(&file)));
            Ok(())
        })?;
        Ok(MemoryFile {
            disk: self.clone(),
            content: file,
            name: name.to_owned(),
        })
    }

    fn open(&self, name: &str) -> Result<MemoryFile, DiskError> {
        check_name(name)?;
        match self.state().names.get(name) {
            Some(file) => Ok(MemoryFile {
                disk: self.clone(),
                content: Arc::clone(file),
                name: name.to_owned(),
            }),
            None => Err(io_error("open", name, io::ErrorKind::NotFound)),
        }
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        check_name(from)?;
        check_name(to)?;
        self.change_names("rename", from, |state| {
            let file = state.names.get(from).map(Arc::clone);
            let file = file.ok_or(io::ErrorKind::NotFound)?;
            state.bind(to, Some(file));
            state.bind(from, None);
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        check_name(name)?;
        self.change_names("remove", name, |state| {
            if !state.names.contains_key(name) {
                return Err(io::ErrorKind::NotFound);
            }
            state.bind(name, None);
            Ok(())
        })
    }

    fn sync_directory(&self) -> Result<(), DiskError> {
        match self.next_fate() {
            Fate::Done => {
                self.state().unsynced.clear();
                Ok(())
            }
            Fate::Failed(kind) => Err(io_error("sync", ".", kind)),
            Fate::Cut => Err(io_error("sync", ".", io::ErrorKind::BrokenPipe)),
        }
    }
}

/// A file of a [`MemoryDisk`].
#[derive(Debug)]
pub struct MemoryFile {
    disk: MemoryDisk,
    content: Shared,
    name: String,
}

impl MemoryFile {
    fn failed_at(
        &self,
        action: &'static str,
        offset: u64,
        length: usize,
        kind: io::ErrorKind,
    ) -> DiskError {
        DiskError::At {
            action,
            name: self.name.clone(),
            offset,
            length: length as u64,
            source: kind.into(),
        }
    }
}

impl DiskFile for MemoryFile {
    fn length(&self) -> Result<u64, DiskError> {
        Ok(lock(&self.content).visible().len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        let content = lock(&self.content);
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let source = content
            .visible()
            .get(from..from.saturating_add(buffer.len()));
        match source {
            Some(source) => {
                buffer.copy_from_slice(source);
                Ok(())
            }
            None => Err(self.failed_at("read", offset, buffer.len(), io::ErrorKind::UnexpectedEof)),
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let fate = self.disk.next_fate();
        let failed = |kind| self.failed_at("write", offset, bytes.len(), kind);
        let at = usize::try_from(offset).map_err(|_| failed(io::ErrorKind::InvalidInput))?;
        let mut content = lock(&self.content);
        match fate {
            Fate::Done => {
                content.write(at, bytes);
                Ok(())
            }
            Fate::Failed(kind) => {
                let sectors = bytes.len() / 2 / SECTOR_BYTES;
                content.write(at, &bytes[..sectors * SECTOR_BYTES]);
                Err(failed(kind))
            }
            Fate::Cut => {
                content.write(at, bytes);
                Err(failed(io::ErrorKind::BrokenPipe))
            }
        }
    }

    fn truncate(&self, length: u64) -> Result<(), DiskError> {
        let fate = self.disk.next_fate();
        let failed = |kind| io_error("truncate", &self.name, kind);
        let to = usize::try_from(length).map_err(|_| failed(io::ErrorKind::InvalidInput))?;
        match fate {
            Fate::Failed(kind) => Err(failed(kind)),
            Fate::Cut => {
                lock(&self.content).truncate(to);
                Err(failed(io::ErrorKind::BrokenPipe))
            }
            Fate::Done => {
                lock(&self.content).truncate(to);
                Ok(())
            }
        }
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        let failed = |kind| io_error("sync", &self.name, kind);
        match self.disk.next_fate() {
            Fate::Done => {
                lock(&self.content).sync();
                Ok(())
            }
            Fate::Failed(kind) => {
                lock(&self.content).abandon();
                Err(failed(kind))
            }
            Fate::Cut => Err(failed(io::ErrorKind::BrokenPipe)),
        }
    }

    fn forget_cached(&self) -> Result<(), DiskError> {
        lock(&self.content).forget_cached();
        Ok(())
    }
}

fn lock(content: &Shared) -> MutexGuard<'_, Content> {
    content.lock().unwrap_or_else(PoisonError::into_inner)
}

fn io_error(action: &'static str, name: &str, kind: io::ErrorKind) -> DiskError {
    DiskError::Io {
        action,
        name: name.to_owned(),
        source: kind.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsynced_name_may_vanish_and_a_synced_one_stays() {
        let disk = MemoryDisk::new();
        let file = disk.create("a", 512).expect("creates");
        file.sync_data().expect("syncs");
        let left: Vec<bool> = (0..20)
            .map(|seed| disk.crash(seed).bytes("a").is_some())
            .collect();
        assert!(left.contains(&true) && left.contains(&false));
        disk.sync_directory().expect("syncs");
        assert!((0..20).all(|seed| disk.crash(seed).bytes("a") == Some(vec![0; 512])));
    }

    #[test]
    fn after_the_cut_nothing_happens_any_more() {
        let disk = MemoryDisk::new();
        let file = disk.create("a", 512).expect("creates");
        file.sync_data().expect("syncs");
        disk.sync_directory().expect("syncs");
        disk.cut_power_at(disk.effects());
        assert!(file.sync_data().is_err());
        assert!(file.truncate(0).is_err());
        assert!(disk.remove("a").is_err());
        assert!((0..20).all(|seed| disk.crash(seed).bytes("a") == Some(vec![0; 512])));
    }

    #[test]
    fn replacing_is_atomic_whenever_the_power_goes() {
        for effect in 0..5 {
            let disk = MemoryDisk::new();
            disk.replace("a", b"old").expect("creates");
            disk.cut_power_at(disk.effects() + effect);
            assert!(disk.replace("a", b"new content").is_err() || effect > 4);
            for seed in 0..50 {
                let left = disk.crash(seed).bytes("a").expect("never absent");
                assert!(
                    left == b"old" || left == b"new content",
                    "seed {seed}, effect {effect}"
                );
            }
        }
    }

    #[test]
    fn a_planned_failure_happens_once() {
        let disk = MemoryDisk::new();
        let file = disk.create("a", 1024).expect("creates");
        disk.fail_at(disk.effects(), io::ErrorKind::StorageFull);
        let error = file.write_at(0, &[1; 1024]).expect_err("planned");
        assert_eq!(error.kind(), Some(io::ErrorKind::StorageFull));
        assert!(file.write_at(0, &[1; 1024]).is_ok());
    }
}
