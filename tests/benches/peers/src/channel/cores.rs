//! Where the two ends of a connection run.

use std::sync::mpsc;
use std::thread::JoinHandle;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

/// A runtime for the near end, in the measuring thread, and one for the far
/// end: the same, or that of a thread on another core.
pub struct Cores {
    near: Runtime,
    far: Handle,
    /// Ends the other thread.
    other: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    /// What the measuring thread may run on otherwise.
    before: Option<CpuSet>,
}

impl Cores {
    /// Both ends in one thread, on one core.
    ///
    /// # Panics
    /// When the system gives no runtime.
    #[must_use]
    pub fn one() -> Self {
        let before = sched_getaffinity(None).ok();
        if let Some([first, ..]) = before.map(allowed).as_deref() {
            pin(*first);
        }
        let near = runtime();
        Self {
            far: near.handle().clone(),
            near,
            other: None,
            before,
        }
    }

    /// Each end in a thread of its own, kept to a core of its own. `None` when
    /// there is only one.
    ///
    /// # Panics
    /// When the system gives no runtime or thread.
    #[must_use]
    pub fn two() -> Option<Self> {
        let before = sched_getaffinity(None).ok()?;
        let [first, second, ..] = allowed(before)[..] else {
            return None;
        };
        Some(Self::threads(before, first, second))
    }

    /// Each end in a thread of its own, both kept to the same core: what two
    /// processes of a busy machine have. `None` when the system tells of none.
    ///
    /// # Panics
    /// When the system gives no runtime or thread.
    #[must_use]
    pub fn sharing() -> Option<Self> {
        let before = sched_getaffinity(None).ok()?;
        let first = *allowed(before).first()?;
        Some(Self::threads(before, first, first))
    }

    fn threads(before: CpuSet, first: usize, second: usize) -> Self {
        pin(first);
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            pin(second);
            let far = runtime();
            let _ = tell.send(far.handle().clone());
            let _ = far.block_on(stopped);
        });
        Self {
            near: runtime(),
            far: told.recv().expect("the thread tells before it ends"),
            other: Some((stop, thread)),
            before: Some(before),
        }
    }

    /// Runs the near end's work.
    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.near.block_on(work)
    }

    /// Where the far end's tasks are spawned.
    #[must_use]
    pub fn far(&self) -> &Handle {
        &self.far
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.other.take() {
            let _ = stop.send(());
            let _ = thread.join();
        }
        if let Some(before) = &self.before {
            let _ = sched_setaffinity(None, before);
        }
    }
}

/// A runtime of one thread.
///
/// # Panics
/// When the system gives none.
#[must_use]
pub fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn allowed(set: CpuSet) -> Vec<usize> {
    (0..CpuSet::MAX_CPU)
        .filter(|cpu| set.is_set(*cpu))
        .collect()
}

/// Best effort: where the system refuses, the figures are merely less steady.
fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    let _ = sched_setaffinity(None, &set);
}
