//! Group commit: a thread that makes durable whatever arrived while it was busy.
//!
//! There is no timer. While one group is being synced, records queue up; when
//! the sync is done, all of them together (up to one full group) are the next
//! group. An idle log commits a lone record at once, a busy one in large groups.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;

use crate::disk::Disk;

use super::commit::{CommitError, Log};
use super::position::Durable;

/// Most bytes that wait in a writer's queue; each record counts
/// [`QUEUED_RECORD_OVERHEAD`] more than its length.
pub const QUEUED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a queued record costs besides its bytes.
pub const QUEUED_RECORD_OVERHEAD: usize = 64;

/// A record was not queued, and has no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendRefused {
    /// The disk does not keep up. Nothing was done; later there may be room.
    #[error("the log's queue is full")]
    Busy,
    /// The record is longer than the log takes.
    #[error("a record of {length} bytes is longer than the maximum of {maximum}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The maximum, see [`Log::record_bytes_max`].
        maximum: usize,
    },
    /// The writer has stopped, because a commit failed.
    #[error("the log's writer has stopped after a failure")]
    Stopped,
}

/// The writer had stopped before everything that was queued became durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log's writer stopped before every queued record was durable")]
pub struct CloseError;

/// Hands records to a thread that owns the log.
#[derive(Debug)]
pub struct LogWriter {
    shared: Arc<Shared>,
    record_bytes_max: usize,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug)]
struct Queue {
    records: VecDeque<Bytes>,
    bytes: usize,
    /// The number that the next record gets.
    next_number: u64,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// Whatever is queued is still committed.
    Closing,
    /// The thread is gone or about to go; nothing more becomes durable.
    Stopped,
}

impl LogWriter {
    /// Starts the thread. It calls `on_durable` after every sync, and once, as
    /// the last call, with the error of a commit that failed; the process has to
    /// stop then. The call should be short: the next group waits for it.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn spawn<D: Disk>(
        log: Log<D>,
        on_durable: impl Fn(Result<Durable, CommitError>) + Send + 'static,
    ) -> io::Result<Self> {
        let record_bytes_max = log.record_bytes_max();
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                records: VecDeque::new(),
                bytes: 0,
                next_number: log.position().records + 1,
                phase: Phase::Running,
            }),
            changed: Condvar::new(),
        });
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || {
                // However the thread ends, and be it by a panic of the callback,
                // nobody goes on queueing for it.
                let _stopped = StopOnDrop(&theirs);
                run(log, &theirs, on_durable);
            })?;
        Ok(Self {
            shared,
            record_bytes_max,
            thread: Some(thread),
        })
    }

    /// Queues a record and returns its number. It is durable once `on_durable`
    /// was given a token through that number or a higher one.
    ///
    /// # Errors
    /// [`AppendRefused`]; the record then has no number and never appears.
    pub fn append(&self, record: impl Into<Bytes>) -> Result<u64, AppendRefused> {
        let record = record.into();
        let length = record.len();
        if length > self.record_bytes_max {
            return Err(AppendRefused::TooLong {
                length,
                maximum: self.record_bytes_max,
            });
        }
        let mut queue = self.shared.lock();
        if queue.phase != Phase::Running {
            return Err(AppendRefused::Stopped);
        }
        let bytes = queue.bytes + cost(&record);
        if bytes > QUEUED_BYTES_MAX {
            return Err(AppendRefused::Busy);
        }
        let number = queue.next_number;
        queue.next_number += 1;
        queue.bytes = bytes;
        queue.records.push_back(record);
        drop(queue);
        self.shared.changed.notify_one();
        Ok(number)
    }

    /// Makes everything that is queued durable and ends the thread.
    ///
    /// # Errors
    /// [`CloseError`] when a commit failed, now or before.
    pub fn close(mut self) -> Result<(), CloseError> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), CloseError> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        let mut queue = self.shared.lock();
        if queue.phase == Phase::Running {
            queue.phase = Phase::Closing;
        }
        drop(queue);
        self.shared.changed.notify_one();
        let ended = thread.join();
        let queue = self.shared.lock();
        if ended.is_ok() && queue.phase == Phase::Closing {
            Ok(())
        } else {
            Err(CloseError)
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        // Whoever wants to know the outcome calls `close`.
        let _ = self.finish();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct StopOnDrop<'a>(&'a Shared);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        // A queue that was flushed and closed stays closed, and says so.
        if queue.phase == Phase::Running || !queue.records.is_empty() || thread::panicking() {
            queue.phase = Phase::Stopped;
        }
    }
}

fn run<D: Disk>(
    mut log: Log<D>,
    shared: &Shared,
    on_durable: impl Fn(Result<Durable, CommitError>),
) {
    let mut group = Vec::new();
    while next_group(&log, shared, &mut group) {
        let outcome = log.commit(&group);
        let failed = outcome.is_err();
        if failed {
            // Before the callback, so that whoever hears of the failure finds
            // the writer stopped.
            shared.lock().phase = Phase::Stopped;
        }
        on_durable(outcome);
        if failed {
            return;
        }
    }
}

/// Waits for records and moves as many as fit into one group; returns false when
/// the writer closes and none is left.
fn next_group<D: Disk>(log: &Log<D>, shared: &Shared, group: &mut Vec<Bytes>) -> bool {
    group.clear();
    let mut queue = shared.lock();
    while queue.records.is_empty() {
        if queue.phase != Phase::Running {
            return false;
        }
        queue = shared
            .changed
            .wait(queue)
            .unwrap_or_else(PoisonError::into_inner);
    }
    let mut bytes = 0;
    while let Some(record) = queue.records.front() {
        bytes += record.len();
        if !group.is_empty() && !log.fits_one_group(group.len() + 1, bytes) {
            break;
        }
        let Some(record) = queue.records.pop_front() else {
            break;
        };
        queue.bytes -= cost(&record);
        group.push(record);
    }
    true
}

fn cost(record: &[u8]) -> usize {
    record.len() + QUEUED_RECORD_OVERHEAD
}
