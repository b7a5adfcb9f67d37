//! The thread that moves changes to the disk, and merges what is there in between.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use tracing::warn;

use super::{Frozen, MARK, SLOT};
use crate::disk::Disk;
use crate::log::Segments;
use crate::storage::{Memory, StorageError, Tree};

/// A merge does one step in this time, so that it leaves the disk to those who wait for a
/// sync.
const MERGE_PAUSE: Duration = Duration::from_millis(20);
/// What a step counts as written: about 800 KiB are merged for it.
const MERGE_STEP_BYTES: usize = 32 * 1024;
/// How many keys are looked at at once when all are dropped.
const WIPE_PAGE: usize = 4096;

/// Hands changes to a thread that owns the runs.
#[derive(Debug)]
pub(crate) struct Keeper {
    queue: Option<mpsc::Sender<Frozen>>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread. It calls `report` for each checkpoint, with the number of the
    /// record through which it reaches, or with why it was not written; then it ends, and
    /// the process has to.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn spawn<D: Disk>(
        tree: Tree<D>,
        segments: Segments<D>,
        report: impl Fn(Result<u64, StorageError>) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, jobs) = mpsc::channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&stopping);
        let thread = thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || run(tree, &segments, &jobs, &theirs, &report))?;
        Ok(Self {
            queue: Some(queue),
            stopping,
            thread: Some(thread),
        })
    }

    /// Has changes written, all of which are durable in the log.
    pub(crate) fn keep(&self, frozen: Frozen) {
        // Where the thread has ended, its report says why.
        if let Some(queue) = &self.queue {
            let _ = queue.send(frozen);
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // What was handed over is written; merges are gone on with at the next start.
        self.stopping.store(true, Ordering::Release);
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run<D: Disk>(
    mut tree: Tree<D>,
    segments: &Segments<D>,
    jobs: &mpsc::Receiver<Frozen>,
    stopping: &AtomicBool,
    report: &dyn Fn(Result<u64, StorageError>),
) {
    // Merges that the end of the process before broke off are begun again.
    if let Err(error) = tree.tend(0) {
        report(Err(error));
        return;
    }
    loop {
        let next = if tree.is_merging() {
            jobs.recv_timeout(MERGE_PAUSE)
        } else {
            jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        let done = match next {
            Ok(frozen) => write(&mut tree, segments, &frozen)
                .map(|()| report(Ok(frozen.through)))
                .and_then(|()| tree.tend(0)),
            Err(RecvTimeoutError::Timeout) if stopping.load(Ordering::Acquire) => return,
            Err(RecvTimeoutError::Timeout) => tree.tend(MERGE_STEP_BYTES),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if let Err(error) = done {
            // Told here too: when the node stops nobody listens to the report any more.
            warn!(%error, "a checkpoint was not written, the log keeps what it was to hold");
            report(Err(error));
            return;
        }
    }
}

/// Writes a checkpoint.
pub(super) fn write<D: Disk>(
    tree: &mut Tree<D>,
    segments: &Segments<D>,
    frozen: &Frozen,
) -> Result<(), StorageError> {
    if !frozen.wiped {
        return tree.put_on_top(&frozen.entries, frozen.through, segments);
    }
    let mut entries = Memory::clone(&frozen.entries);
    let view = tree.view();
    for space in [SLOT, MARK] {
        let mut after = Bytes::new();
        loop {
            let page = view.scan(&Memory::new(), (&[space], &after), WIPE_PAGE)?;
            let Some((last, _)) = page.last() else {
                break;
            };
            after = last.clone();
            for (key, _) in page {
                entries.entry(key).or_insert(None);
            }
        }
    }
    tree.put_on_top(&entries, frozen.through, segments)
}
