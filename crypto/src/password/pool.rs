//! Hashing on a fixed number of threads, with bounded memory and a bounded queue.
//!
//! A server that hashes wherever a login arrives can be made to take as much memory
//! as there are logins at once. A [`HashingPool`] owns its threads, each with one
//! [`Arena`] that it keeps: no more than `threads * memory_kib_max` is ever used, and
//! what does not fit the queue is refused at once, so that the caller can say "busy"
//! instead of answering everybody too late.
//!
//! Costs of more than one lane are computed by a second set of threads, which all
//! pools share (that of the crate `rayon`): correct, but such jobs slow each other
//! down once there are more threads here than the machine has cores for. For servers
//! one lane is right.
//!
//! Results come by a [`Ticket`] that blocks, or by a closure on the pool's thread,
//! which an asynchronous caller makes send into a channel of its own:
//!
//! ```
//! use sealmoot_crypto::password::pool::{HashingPool, PoolOptions};
//! use sealmoot_crypto::password::Cost;
//! use sealmoot_crypto::secret::SecretBytes;
//!
//! let pool = HashingPool::new(PoolOptions { threads: 1, ..PoolOptions::default() })?;
//! let password = || SecretBytes::new(b"correct horse".to_vec());
//! let record = pool.hash(password(), Cost::OWASP)?.wait()?;
//!
//! let (sender, receiver) = std::sync::mpsc::channel();
//! let claim = pool.verify_with(record, password(), move |outcome| {
//!     let _ = sender.send(outcome); // the receiver may have given up
//! })?;
//! assert!(receiver.recv()??);
//! drop(claim); // earlier, this would have cancelled the job
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use core::fmt;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use super::{Arena, Cost, PASSWORD_LENGTH_MAX, PasswordError, PasswordRecord};
use crate::secret::SecretBytes;

/// Most threads of one pool.
pub const THREADS_MAX: usize = 1024;

/// How large a pool is.
///
/// ```
/// use sealmoot_crypto::password::pool::PoolOptions;
/// assert!(PoolOptions::default().threads >= 1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolOptions {
    /// How many hashes are computed at once; 1 to [`THREADS_MAX`].
    pub threads: usize,
    /// How many more may wait for a thread.
    pub waiting_max: usize,
    /// Most memory of one hash, in KiB; dearer jobs are refused.
    pub memory_kib_max: u32,
    /// Most work of one hash, in KiB times passes; dearer jobs are refused, so that a
    /// few stored records that ask for many passes do not hold every thread.
    pub work_kib_max: u64,
}

impl Default for PoolOptions {
    /// A thread for each core, 64 waiting for each thread, 64 MiB a hash and as much
    /// work as RFC 9106's second profile.
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Self {
            threads,
            waiting_max: threads.saturating_mul(64),
            memory_kib_max: 64 * 1024,
            work_kib_max: 3 * 64 * 1024,
        }
    }
}

/// Why a pool was not started.
///
/// ```
/// use sealmoot_crypto::password::pool::{HashingPool, PoolOptions, StartError};
/// let none = PoolOptions { threads: 0, ..PoolOptions::default() };
/// assert!(matches!(HashingPool::new(none), Err(StartError::Threads)));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There must be between 1 and [`THREADS_MAX`] threads.
    #[error("a pool has between 1 and {THREADS_MAX} threads")]
    Threads,
    /// A thread was not to be had.
    #[error("a thread was not started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Why a job was not taken; nothing was done, and the password is wiped.
///
/// ```
/// use sealmoot_crypto::password::pool::SubmitError;
/// // What a server answers: "come again", or "never like this".
/// fn status(error: SubmitError) -> u16 {
///     match error {
///         SubmitError::Busy | SubmitError::Closed => 503,
///         SubmitError::TooLong | SubmitError::TooCostly => 400,
///     }
/// }
/// assert_eq!((status(SubmitError::Busy), status(SubmitError::TooLong)), (503, 400));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Every thread works and the queue is full. Try later, or tell the client to.
    #[error("the hashing pool is busy")]
    Busy,
    /// The job asks for more memory than `memory_kib_max`, or for more work than
    /// `work_kib_max`.
    #[error("the hash asks for more memory or passes than the pool gives one")]
    TooCostly,
    /// The password is longer than [`PASSWORD_LENGTH_MAX`] bytes.
    #[error("a password has at most {PASSWORD_LENGTH_MAX} bytes")]
    TooLong,
    /// The pool was closed.
    #[error("the hashing pool is closed")]
    Closed,
}

/// Why a job that was taken has no result.
///
/// ```
/// use sealmoot_crypto::password::{PasswordError, pool::{HashingPool, JobError, PoolOptions}};
/// # use sealmoot_crypto::{password::Cost, secret::SecretBytes};
/// let pool = HashingPool::new(PoolOptions { threads: 1, ..PoolOptions::default() })?;
/// let no_pass = Cost { passes: 0, ..Cost::OWASP };
/// let taken = pool.hash(SecretBytes::new(b"correct horse".to_vec()), no_pass)?;
/// assert!(matches!(taken.wait(), Err(JobError::Password(PasswordError::InvalidCost))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The password was not hashed or not compared.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The pool was closed before the job began.
    #[error("the hashing pool was closed before the job began")]
    Closed,
    /// The job panicked; the pool goes on (where panics unwind: a program built with
    /// `panic = "abort"` ends).
    #[error("the hashing job panicked")]
    Panicked,
}

/// Threads that hash and compare passwords. Dropping it closes it, and waits for the
/// jobs that have begun.
///
/// ```
/// use sealmoot_crypto::password::{Cost, pool::{HashingPool, PoolOptions}};
/// use sealmoot_crypto::secret::SecretBytes;
/// # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
/// let pool = HashingPool::new(PoolOptions { threads: 2, ..PoolOptions::default() })?;
/// let record = pool.hash(SecretBytes::new(b"correct horse".to_vec()), cost)?.wait()?;
/// let wrong = pool.verify(record.clone(), SecretBytes::new(b"battery staple".to_vec()))?;
/// let right = pool.verify(record, SecretBytes::new(b"correct horse".to_vec()))?;
/// assert_eq!((wrong.wait()?, right.wait()?), (false, true));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct HashingPool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    memory_kib_max: u32,
    work_kib_max: u64,
}

impl HashingPool {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`StartError`].
    ///
    /// ```
    /// use sealmoot_crypto::password::pool::{HashingPool, PoolOptions, THREADS_MAX};
    /// let options = PoolOptions { threads: 2, waiting_max: 100, memory_kib_max: 32 * 1024, ..PoolOptions::default() };
    /// assert!(HashingPool::new(options).is_ok()); // never more than 64 MiB in all
    /// assert!(HashingPool::new(PoolOptions { threads: THREADS_MAX + 1, ..options }).is_err());
    /// ```
    pub fn new(options: PoolOptions) -> Result<Self, StartError> {
        if !(1..=THREADS_MAX).contains(&options.threads) {
            return Err(StartError::Threads);
        }
        let mut pool = Self {
            shared: Arc::new(Shared {
                queue: Mutex::default(),
                work: Condvar::new(),
                outstanding_max: options.threads.saturating_add(options.waiting_max),
            }),
            threads: Vec::with_capacity(options.threads),
            memory_kib_max: options.memory_kib_max,
            work_kib_max: options.work_kib_max,
        };
        for _ in 0..options.threads {
            let shared = Arc::clone(&pool.shared);
            let thread = thread::Builder::new()
                .name("password hashing".into())
                // When one is refused, dropping `pool` ends those that run.
                .spawn(move || shared.work())?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Hashes `password` under a fresh salt, as [`PasswordRecord::hash`].
    ///
    /// # Errors
    /// [`SubmitError`].
    ///
    /// ```
    /// use sealmoot_crypto::password::pool::{HashingPool, PoolOptions, SubmitError};
    /// # use sealmoot_crypto::{password::Cost, secret::SecretBytes};
    /// # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
    /// let options = PoolOptions { threads: 1, waiting_max: 10, memory_kib_max: 32 * 1024, ..PoolOptions::default() };
    /// let pool = HashingPool::new(options)?;
    /// let password = || SecretBytes::new(b"correct horse".to_vec());
    /// assert_eq!(pool.hash(password(), cost)?.wait()?.cost(), cost);
    /// let too_costly = pool.hash(password(), Cost::RFC_9106_LOW_MEMORY);
    /// assert_eq!(too_costly.err(), Some(SubmitError::TooCostly));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hash(
        &self,
        password: SecretBytes,
        cost: Cost,
    ) -> Result<Ticket<PasswordRecord>, SubmitError> {
        self.ticket(|on_done| self.hash_with(password, cost, on_done))
    }

    /// As [`HashingPool::hash`]; `on_done` gets the result on a thread of the pool,
    /// or on the one that closes it, and should be brief.
    ///
    /// # Errors
    /// [`SubmitError`]; `on_done` is then dropped.
    ///
    /// ```
    /// use sealmoot_crypto::password::pool::{HashingPool, PoolOptions};
    /// # use sealmoot_crypto::{password::Cost, secret::SecretBytes};
    /// # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
    /// let pool = HashingPool::new(PoolOptions { threads: 1, ..PoolOptions::default() })?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let password = SecretBytes::new(b"correct horse".to_vec());
    /// let _claim = pool.hash_with(password, cost, move |outcome| {
    ///     let _ = sender.send(outcome.map(|record| record.to_phc()));
    /// })?;
    /// assert!(receiver.recv()??.starts_with("$argon2id$v=19$"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hash_with(
        &self,
        password: SecretBytes,
        cost: Cost,
        on_done: impl FnOnce(Result<PasswordRecord, JobError>) + Send + 'static,
    ) -> Result<Claim, SubmitError> {
        self.admit(&password, cost)?;
        self.submit(job(on_done, move |arena| {
            PasswordRecord::hash_in(password.expose(), cost, arena)
        }))
    }

    /// Whether `password` is the one of `record`, as [`PasswordRecord::verify`].
    ///
    /// # Errors
    /// [`SubmitError`].
    ///
    /// ```
    /// use sealmoot_crypto::password::{PasswordRecord, pool::{HashingPool, PoolOptions}};
    /// # use sealmoot_crypto::{password::Cost, secret::SecretBytes};
    /// # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
    /// let pool = HashingPool::new(PoolOptions { threads: 1, ..PoolOptions::default() })?;
    /// let record = PasswordRecord::hash(b"correct horse", cost)?;
    /// let guess = SecretBytes::new(b"battery staple".to_vec());
    /// assert!(!pool.verify(record, guess)?.wait()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verify(
        &self,
        record: PasswordRecord,
        password: SecretBytes,
    ) -> Result<Ticket<bool>, SubmitError> {
        self.ticket(|on_done| self.verify_with(record, password, on_done))
    }

    /// As [`HashingPool::verify`], with `on_done` as [`HashingPool::hash_with`] has it.
    ///
    /// # Errors
    /// [`SubmitError`]; `on_done` is then dropped.
    ///
    /// ```
    /// use sealmoot_crypto::password::{PasswordRecord, pool::{HashingPool, PoolOptions}};
    /// # use sealmoot_crypto::{password::Cost, secret::SecretBytes};
    /// # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
    /// let pool = HashingPool::new(PoolOptions { threads: 1, ..PoolOptions::default() })?;
    /// let record = PasswordRecord::hash(b"correct horse", cost)?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let password = SecretBytes::new(b"correct horse".to_vec());
    /// pool.verify_with(record, password, move |outcome| {
    ///     let _ = sender.send(outcome);
    /// })?.keep(); // this job is not cancelled
    /// assert!(receiver.recv()??);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verify_with(
        &self,
        record: PasswordRecord,
        password: SecretBytes,
        on_done: impl FnOnce(Result<bool, JobError>) + Send + 'static,
    ) -> Result<Claim, SubmitError> {
        self.admit(&password, record.cost())?;
        self.submit(job(on_done, move |arena| {
            record.verify_in(password.expose(), arena)
        }))
    }

    /// Takes no more jobs, and fails those that wait with [`JobError::Closed`]. Those
    /// that have begun go on.
    ///
    /// ```
    /// use sealmoot_crypto::password::pool::{HashingPool, PoolOptions, SubmitError};
    /// # use sealmoot_crypto::{password::Cost, secret::SecretBytes};
    /// # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
    /// let pool = HashingPool::new(PoolOptions { threads: 1, ..PoolOptions::default() })?;
    /// pool.close(); // by whoever shuts the server down
    /// let late = pool.hash(SecretBytes::new(b"correct horse".to_vec()), cost);
    /// assert_eq!(late.err(), Some(SubmitError::Closed));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&self) {
        let waiting = {
            let mut queue = self.shared.lock();
            queue.closed = true;
            core::mem::take(&mut queue.waiting)
        };
        self.shared.work.notify_all();
        // Outside the lock, since a closure may use the pool.
        for (_, job) in waiting {
            quietly(job(None));
        }
    }

    fn admit(&self, password: &SecretBytes, cost: Cost) -> Result<(), SubmitError> {
        let work_kib = u64::from(cost.memory_kib) * u64::from(cost.passes);
        if cost.memory_kib > self.memory_kib_max || work_kib > self.work_kib_max {
            return Err(SubmitError::TooCostly);
        }
        if password.len() > PASSWORD_LENGTH_MAX {
            return Err(SubmitError::TooLong);
        }
        Ok(())
    }

    fn submit(&self, job: Job) -> Result<Claim, SubmitError> {
        let id = {
            let mut queue = self.shared.lock();
            if queue.closed {
                return Err(SubmitError::Closed);
            }
            // Idle threads count as places: a job that one of them is about to take
            // still stands in the queue.
            if queue.running + queue.waiting.len() >= self.shared.outstanding_max {
                return Err(SubmitError::Busy);
            }
            let id = queue.next_id;
            queue.next_id += 1;
            queue.waiting.push_back((id, job));
            id
        };
        self.shared.work.notify_one();
        Ok(Claim {
            shared: Arc::clone(&self.shared),
            id,
        })
    }

    fn ticket<T: Send + 'static>(
        &self,
        submit: impl FnOnce(Box<dyn FnOnce(Result<T, JobError>) + Send>) -> Result<Claim, SubmitError>,
    ) -> Result<Ticket<T>, SubmitError> {
        let (sender, receiver) = mpsc::channel();
        let claim = submit(Box::new(move |outcome| {
            // The ticket may have been dropped after the job began.
            let _ = sender.send(outcome);
        }))?;
        Ok(Ticket { receiver, claim })
    }
}

impl Drop for HashingPool {
    fn drop(&mut self) {
        self.close();
        for thread in self.threads.drain(..) {
            // The last handle of a pool may go in a closure on one of its own threads,
            // which cannot wait for itself.
            if thread.thread().id() != thread::current().id() {
                // Panics of jobs are caught; there is nobody to hand another one to.
                let _ = thread.join();
            }
        }
    }
}

impl fmt::Debug for HashingPool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = self.shared.lock();
        formatter
            .debug_struct("HashingPool")
            .field("threads", &self.threads.len())
            .field("running", &queue.running)
            .field("waiting", &queue.waiting.len())
            .field("closed", &queue.closed)
            .finish_non_exhaustive()
    }
}

/// A job's place in a pool. Dropping it cancels the job if it has not begun: its
/// place is free again at once, its password is wiped, and its closure is dropped
/// without being called.
///
/// ```
/// use sealmoot_crypto::password::pool::{HashingPool, PoolOptions};
/// # use sealmoot_crypto::{password::Cost, secret::SecretBytes};
/// # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
/// # let pool = HashingPool::new(PoolOptions { threads: 1, ..PoolOptions::default() })?;
/// # let (release, blocked) = std::sync::mpsc::channel::<()>();
/// # let busy = pool.hash_with(SecretBytes::new(vec![]), cost, move |_| drop(blocked.recv()))?;
/// // The pool's one thread is busy, and this client goes away.
/// let (sender, receiver) = std::sync::mpsc::channel();
/// let password = SecretBytes::new(b"correct horse".to_vec());
/// let claim = pool.hash_with(password, cost, move |outcome| {
///     let _ = sender.send(outcome);
/// })?;
/// drop(claim);
/// assert!(receiver.recv().is_err()); // the closure was dropped without being called
/// # drop((release, busy));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a claim cancels its job"]
pub struct Claim {
    shared: Arc<Shared>,
    id: u64,
}

impl Claim {
    /// Lets the job go on whatever becomes of the caller.
    ///
    /// ```
    /// use sealmoot_crypto::password::pool::{HashingPool, PoolOptions};
    /// # use sealmoot_crypto::{password::Cost, secret::SecretBytes};
    /// # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
    /// let pool = HashingPool::new(PoolOptions { threads: 1, ..PoolOptions::default() })?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let claim = pool.hash_with(SecretBytes::new(b"tr0ub4dor".to_vec()), cost, move |outcome| {
    ///     let _ = sender.send(outcome.is_ok());
    /// })?;
    /// claim.keep();
    /// assert_eq!(receiver.recv(), Ok(true));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keep(self) {
        let mut claim = self;
        // No job ever has this id: they are counted from zero.
        claim.id = u64::MAX;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let cancelled = {
            let mut queue = self.shared.lock();
            let place = queue.waiting.iter().position(|(id, _)| *id == self.id);
            place.and_then(|place| queue.waiting.remove(place))
        };
        // Outside the lock, since what the closure holds may use the pool when dropped.
        drop(cancelled);
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Claim").finish_non_exhaustive()
    }
}

/// A result to come. Dropping it cancels the job if it has not begun.
///
/// ```
/// use sealmoot_crypto::password::pool::{HashingPool, PoolOptions};
/// # use sealmoot_crypto::{password::Cost, secret::SecretBytes};
/// # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
/// let pool = HashingPool::new(PoolOptions { threads: 2, ..PoolOptions::default() })?;
/// let mut tickets = Vec::new();
/// for password in [b"correct horse", b"batterystaple"] {
///     tickets.push(pool.hash(SecretBytes::new(password.to_vec()), cost)?);
/// }
/// for ticket in tickets {
///     assert_eq!(ticket.wait()?.cost(), cost);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping a ticket cancels its job"]
pub struct Ticket<T> {
    receiver: mpsc::Receiver<Result<T, JobError>>,
    claim: Claim,
}

impl<T> Ticket<T> {
    /// Waits for the result.
    ///
    /// # Errors
    /// [`JobError`].
    ///
    /// ```
    /// use sealmoot_crypto::password::pool::{HashingPool, JobError, PoolOptions};
    /// # use sealmoot_crypto::{password::Cost, secret::SecretBytes};
    /// # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
    /// # let pool = HashingPool::new(PoolOptions { threads: 1, ..PoolOptions::default() })?;
    /// # let (release, blocked) = std::sync::mpsc::channel::<()>();
    /// # let (begin, begun) = std::sync::mpsc::channel::<()>();
    /// # let busy = pool.hash_with(SecretBytes::new(vec![]), cost, move |_| {
    /// #     drop(begin);
    /// #     drop(blocked.recv());
    /// # })?;
    /// # drop(begun.recv());
    /// // The pool's one thread is busy, and the pool is closed before this job begins.
    /// let ticket = pool.hash(SecretBytes::new(b"correct horse".to_vec()), cost)?;
    /// pool.close();
    /// assert!(matches!(ticket.wait(), Err(JobError::Closed)));
    /// # drop((release, busy));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(self) -> Result<T, JobError> {
        let outcome = self.receiver.recv();
        drop(self.claim);
        // A job that ends without a word has panicked.
        outcome.unwrap_or(Err(JobError::Panicked))
    }
}

/// Computes in a thread's arena, or, with none, finds the pool closed; what it returns
/// hands the outcome over.
type Job = Box<dyn FnOnce(Option<&mut Arena>) -> Delivery + Send>;
type Delivery = Box<dyn FnOnce() + Send>;

/// Jobs that wait, and how many run.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<(u64, Job)>,
    running: usize,
    next_id: u64,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    outstanding_max: usize,
}

impl Shared {
    /// Nothing panics under this lock, so what it protects is whole even if poisoned.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one job after another until the pool is closed.
    fn work(&self) {
        let mut arena = Arena::default();
        while let Some(job) = self.next() {
            // Two steps, so that whoever gets an outcome finds the thread idle again.
            let delivery = job(Some(&mut arena));
            self.lock().running -= 1;
            quietly(delivery);
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if let Some((_, job)) = queue.waiting.pop_front() {
                queue.running += 1;
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue = self
                .work
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A job that hands the outcome of `compute` to `on_done`.
fn job<T: Send + 'static>(
    on_done: impl FnOnce(Result<T, JobError>) + Send + 'static,
    compute: impl FnOnce(&mut Arena) -> Result<T, PasswordError> + Send + 'static,
) -> Job {
    Box::new(move |arena| {
        let outcome = match arena {
            None => Err(JobError::Closed),
            // Whoever waits hears of a panic, and the thread goes on: its arena may be
            // left with any content, which every hash overwrites.
            Some(arena) => match catch_unwind(AssertUnwindSafe(|| compute(arena))) {
                Ok(outcome) => outcome.map_err(JobError::from),
                Err(_) => Err(JobError::Panicked),
            },
        };
        Box::new(move || on_done(outcome))
    })
}

/// Runs a delivery, whose panic ends nothing but itself; the panic hook has reported it.
fn quietly(delivery: Delivery) {
    let _ = catch_unwind(AssertUnwindSafe(delivery));
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const CHEAP: Cost = Cost {
        memory_kib: 64,
        passes: 1,
        lanes: 1,
    };

    fn pool(threads: usize, waiting_max: usize) -> HashingPool {
        HashingPool::new(PoolOptions {
            threads,
            waiting_max,
            memory_kib_max: 256,
            work_kib_max: 512,
        })
        .expect("threads")
    }

    fn password() -> SecretBytes {
        SecretBytes::new(b"pw".to_vec())
    }

    /// A job that has begun and ends when the gate is dropped.
    struct Gate {
        _opens: Sender<()>,
        done: Receiver<Result<(), JobError>>,
    }

    impl Gate {
        /// Occupies a thread of `pool`, and returns once it has begun.
        fn occupy(pool: &HashingPool) -> Self {
            let (began, has_begun) = channel();
            let (opens, opened) = channel::<()>();
            let (sender, done) = channel();
            let claim = pool.submit(job(
                move |outcome| sender.send(outcome).expect("the test waits"),
                move |_| {
                    began.send(()).expect("the test waits");
                    let _ = opened.recv();
                    Ok(())
                },
            ));
            claim.expect("room").keep();
            has_begun.recv().expect("begins");
            Self {
                _opens: opens,
                done,
            }
        }

        fn open(self) {
            drop(self._opens);
            self.done.recv().expect("ends").expect("no error");
        }
    }

    #[test]
    fn it_hashes_and_compares() {
        let pool = pool(2, 8);
        let record = pool
            .hash(password(), CHEAP)
            .expect("room")
            .wait()
            .expect("hashes");
        let wrong = SecretBytes::new(b"pv".to_vec());
        let right = pool.verify(record.clone(), password()).expect("room");
        let wrong = pool.verify(record, wrong).expect("room");
        assert!(right.wait().expect("compares"));
        assert!(!wrong.wait().expect("compares"));
    }

    #[test]
    fn it_computes_what_the_record_alone_computes() {
        let pool = pool(1, 8);
        let record = PasswordRecord::hash(b"pw", CHEAP).expect("hashes");
        assert!(
            pool.verify(record, password())
                .expect("room")
                .wait()
                .expect("compares")
        );
        let lanes = Cost { lanes: 2, ..CHEAP };
        let record = pool
            .hash(password(), lanes)
            .expect("room")
            .wait()
            .expect("hashes");
        assert!(record.verify(b"pw").expect("compares"));
    }

    #[test]
    fn a_full_queue_refuses_at_once_and_takes_again_when_there_is_room() {
        let pool = pool(1, 2);
        let gate = Gate::occupy(&pool);
        let first = pool.hash(password(), CHEAP).expect("room");
        let second = pool.hash(password(), CHEAP).expect("room");
        assert!(matches!(
            pool.hash(password(), CHEAP),
            Err(SubmitError::Busy)
        ));
        gate.open();
        first.wait().expect("hashes");
        second.wait().expect("hashes");
        pool.hash(password(), CHEAP)
            .expect("room")
            .wait()
            .expect("hashes");
    }

    #[test]
    fn without_a_queue_there_are_as_many_jobs_as_threads() {
        let pool = pool(2, 0);
        let gates = [Gate::occupy(&pool), Gate::occupy(&pool)];
        assert!(matches!(
            pool.hash(password(), CHEAP),
            Err(SubmitError::Busy)
        ));
        gates.into_iter().for_each(Gate::open);
        // Whoever has a result may submit the next job at once.
        for _ in 0..100 {
            pool.hash(password(), CHEAP)
                .expect("room")
                .wait()
                .expect("hashes");
        }
    }

    #[test]
    fn a_dropped_ticket_frees_its_place_and_its_job_never_runs() {
        let pool = pool(1, 1);
        let gate = Gate::occupy(&pool);
        let (sender, called) = channel();
        let claim = pool
            .hash_with(password(), CHEAP, move |_| {
                sender.send(()).expect("the test waits");
            })
            .expect("room");
        assert!(matches!(
            pool.hash(password(), CHEAP),
            Err(SubmitError::Busy)
        ));
        drop(claim);
        // The closure is gone already, although the thread is still occupied.
        assert_eq!(called.try_recv(), Err(mpsc::TryRecvError::Disconnected));
        let ticket = pool
            .hash(password(), CHEAP)
            .expect("the place is free again");
        drop(ticket);
        let kept = pool.hash(password(), CHEAP).expect("and again");
        gate.open();
        kept.wait().expect("hashes");
    }

    #[test]
    fn dropping_a_claim_late_changes_nothing() {
        let pool = pool(1, 1);
        let gate = Gate::occupy(&pool);
        let (sender, done) = channel();
        let claim = pool
            .hash_with(password(), CHEAP, move |outcome| {
                sender.send(outcome).expect("the test waits");
            })
            .expect("room");
        gate.open();
        done.recv().expect("called").expect("hashes");
        drop(claim);
        pool.close();
    }

    #[test]
    fn a_kept_claim_lets_the_job_run() {
        let pool = pool(1, 1);
        let gate = Gate::occupy(&pool);
        let (sender, done) = channel();
        pool.hash_with(password(), CHEAP, move |outcome| {
            sender.send(outcome).expect("the test waits");
        })
        .expect("room")
        .keep();
        gate.open();
        assert!(done.recv().expect("called").is_ok());
    }

    #[test]
    fn closing_fails_what_waits_and_refuses_what_comes() {
        let pool = pool(1, 4);
        let gate = Gate::occupy(&pool);
        let hash = pool.hash(password(), CHEAP).expect("room");
        let record = PasswordRecord::of_nobody(CHEAP).expect("random");
        let comparison = pool.verify(record, password()).expect("room");
        pool.close();
        assert!(matches!(hash.wait(), Err(JobError::Closed)));
        assert!(matches!(comparison.wait(), Err(JobError::Closed)));
        assert!(matches!(
            pool.hash(password(), CHEAP),
            Err(SubmitError::Closed)
        ));
        gate.open();
    }

    #[test]
    fn dropping_the_pool_waits_for_what_has_begun() {
        let pool = pool(1, 1);
        let Gate { _opens, done } = Gate::occupy(&pool);
        let waiting = pool.hash(password(), CHEAP).expect("room");
        let dropping = thread::spawn(move || drop(pool));
        // What waits fails while the thread is still occupied.
        assert!(matches!(waiting.wait(), Err(JobError::Closed)));
        assert!(matches!(done.try_recv(), Err(mpsc::TryRecvError::Empty)));
        drop(_opens);
        dropping.join().expect("no panic");
        // Joined, so the job's result is there without waiting.
        done.try_recv().expect("ended before").expect("no error");
    }

    #[test]
    fn the_last_handle_may_go_on_a_thread_of_the_pool() {
        let pool = Arc::new(pool(1, 1));
        let gate = Gate::occupy(&pool);
        let (sender, done) = channel();
        let inside = Arc::clone(&pool);
        pool.hash_with(password(), CHEAP, move |outcome| {
            drop(inside);
            sender.send(outcome.is_ok()).expect("the test waits");
        })
        .expect("room")
        .keep();
        drop(pool);
        gate.open();
        assert!(done.recv().expect("called"));
    }

    #[test]
    fn jobs_above_the_caps_are_refused() {
        let pool = pool(1, 1);
        let dear = Cost {
            memory_kib: 257,
            ..CHEAP
        };
        assert!(matches!(
            pool.hash(password(), dear),
            Err(SubmitError::TooCostly)
        ));
        let long = Cost {
            memory_kib: 256,
            passes: 3,
            ..CHEAP
        };
        assert!(matches!(
            pool.hash(password(), long),
            Err(SubmitError::TooCostly)
        ));
        let record = PasswordRecord::of_nobody(dear).expect("random");
        assert!(matches!(
            pool.verify(record, password()),
            Err(SubmitError::TooCostly)
        ));
        let admitted = Cost {
            memory_kib: 256,
            ..CHEAP
        };
        pool.hash(password(), admitted)
            .expect("room")
            .wait()
            .expect("hashes");
    }

    #[test]
    fn endless_passwords_and_impossible_costs_are_errors() {
        let pool = pool(1, 1);
        let long = SecretBytes::new(vec![b'a'; PASSWORD_LENGTH_MAX + 1]);
        assert!(matches!(pool.hash(long, CHEAP), Err(SubmitError::TooLong)));
        let nothing = Cost {
            memory_kib: 0,
            ..CHEAP
        };
        assert!(matches!(
            pool.hash(password(), nothing).expect("room").wait(),
            Err(JobError::Password(PasswordError::InvalidCost))
        ));
    }

    #[test]
    fn a_panicking_job_is_reported_and_its_thread_goes_on() {
        let pool = pool(1, 4);
        let ticket = pool
            .ticket::<()>(|on_done| pool.submit(job(on_done, |_| std::panic!("a job's own"))))
            .expect("room");
        assert!(matches!(ticket.wait(), Err(JobError::Panicked)));
        pool.hash_with(password(), CHEAP, |_| std::panic!("a closure's own"))
            .expect("room")
            .keep();
        pool.hash(password(), CHEAP)
            .expect("room")
            .wait()
            .expect("hashes");
    }

    #[test]
    fn many_callers_at_once_all_get_their_own_answer() {
        let pool = pool(2, 64);
        let record = PasswordRecord::hash(b"pw", CHEAP).expect("hashes");
        thread::scope(|scope| {
            for caller in 0..8 {
                let (pool, record) = (&pool, &record);
                scope.spawn(move || {
                    for turn in 0..8 {
                        let right = (caller + turn) % 2 == 0;
                        let text: &[u8] = if right { b"pw" } else { b"pv" };
                        let password = SecretBytes::new(text.to_vec());
                        let ticket = pool.verify(record.clone(), password).expect("room");
                        assert_eq!(ticket.wait().expect("compares"), right);
                    }
                });
            }
        });
    }

    #[test]
    fn a_pool_of_no_or_countless_threads_is_refused() {
        for threads in [0, THREADS_MAX + 1, usize::MAX] {
            let options = PoolOptions {
                threads,
                ..PoolOptions::default()
            };
            assert!(matches!(
                HashingPool::new(options),
                Err(StartError::Threads)
            ));
        }
    }
}
