//! The thread that moves changes to the disk, and merges what is there in between.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::{debug, warn};

use super::{Frozen, MARK, SLOT};
use crate::disk::{Disk, DiskFile};
use crate::log::Segments;
use crate::storage::{Memory, Scrub, StorageError, Tree};

/// A merge does one step in this time, so that it leaves the disk to those who wait for a
/// sync.
const MERGE_PAUSE: Duration = Duration::from_millis(20);
/// What a step counts as written: about 800 KiB are merged for it.
const MERGE_STEP_BYTES: usize = 32 * 1024;
/// So much of what was written is read again in each of these times: 6 MiB a second.
const SCRUB_PAUSE: Duration = Duration::from_millis(20);
const SCRUB_STEP_BYTES: u64 = 128 * 1024;
/// How many keys are looked at at once when all are dropped.
const WIPE_PAGE: usize = 4096;

/// What the thread reports.
#[derive(Debug)]
pub(crate) enum Kept {
    /// A checkpoint through this record.
    Through(u64),
    /// What was written earlier is damaged.
    Damaged(StorageError),
}

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
    /// the process has to. With this pause between, all that was written is read again.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn spawn<D: Disk>(
        tree: Tree<D>,
        segments: Segments<D>,
        scrub_every: Duration,
        report: impl Fn(Result<Kept, StorageError>) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, jobs) = mpsc::channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&stopping);
        let thread = thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || run(tree, &segments, &jobs, &theirs, scrub_every, &report))?;
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
    scrub_every: Duration,
    report: &dyn Fn(Result<Kept, StorageError>),
) {
    // Merges that the end of the process before broke off are begun again.
    if let Err(error) = tree.tend(0) {
        report(Err(error));
        return;
    }
    let mut scrubber = Scrubber::new(scrub_every);
    loop {
        let pause = if tree.is_merging() {
            MERGE_PAUSE
        } else {
            scrubber.pause()
        };
        let next = jobs.recv_timeout(pause);
        let done = match next {
            Ok(frozen) => write(&mut tree, segments, &frozen)
                .map(|()| report(Ok(Kept::Through(frozen.through))))
                .and_then(|()| tree.tend(0)),
            Err(RecvTimeoutError::Timeout) if stopping.load(Ordering::Acquire) => return,
            Err(RecvTimeoutError::Timeout) => {
                // Told, and the node goes on: it has in memory what its clients ask for.
                if let Err(damage) = scrubber.step(&tree) {
                    warn!(%damage, "the scrub found damage");
                    report(Ok(Kept::Damaged(damage)));
                }
                tree.tend(MERGE_STEP_BYTES)
            }
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

/// When what is read again.
struct Scrubber<F> {
    every: Duration,
    under_way: Option<Scrub<F>>,
    next: Instant,
}

impl<F: DiskFile> Scrubber<F> {
    fn new(every: Duration) -> Self {
        Self {
            every,
            under_way: None,
            next: Instant::now() + every,
        }
    }

    /// How long nothing is to be done.
    fn pause(&self) -> Duration {
        if self.under_way.is_some() {
            SCRUB_PAUSE
        } else {
            self.next.saturating_duration_since(Instant::now())
        }
    }

    fn step<D: Disk<File = F>>(&mut self, tree: &Tree<D>) -> Result<(), StorageError> {
        if self.under_way.is_none() {
            if self.next > Instant::now() {
                return Ok(());
            }
            let (scrub, damage) = tree.begin_scrub()?;
            if let Some(damage) = damage {
                warn!(%damage, "made good");
            }
            self.under_way = Some(scrub);
        }
        let Some(scrub) = &mut self.under_way else {
            return Ok(());
        };
        let outcome = tree.scrub(scrub, SCRUB_STEP_BYTES);
        if !matches!(outcome, Ok(false)) {
            debug!(bytes = scrub.bytes(), "a scrub is over");
            self.under_way = None;
            self.next = Instant::now() + self.every;
        }
        outcome.map(|_| ())
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
