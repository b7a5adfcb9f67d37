//! The generated service over book, policy and store.

use std::future::pending;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sealmoot_crypto::signature::KeyId;
use sealmoot_rpc::binding::record::Claim;
use sealmoot_rpc::binding::{Name, VerifiedRecord, unix_ms};
use sealmoot_rpc::{CallContext, Replies, Status};
use tokio::sync::{mpsc, oneshot, watch};

use crate::book::{Book, Change, Listed};
use crate::limits::{LIST_PAGE_MAX, PUBLISHES_WAITING_MAX};
use crate::policy::{Policy, Prefix};
use crate::proto::{
    ListReply, ListRequest, Names, PublishReply, PublishRequest, ResolveReply, ResolveRequest,
    WatchReply, WatchRequest,
};
use crate::store::writer::{self, Command};
use crate::store::{OpenError, Recovery, Store};
use crate::watches::Watches;

mod refusal;

pub use refusal::Refusal;

/// A name service, to be given to a
/// [`NamesServer`](crate::proto::NamesServer). Clones share everything.
///
/// Every method is given who calls, so that a program that holds a service asks it
/// by the same rules as a client.
#[derive(Clone)]
pub struct NameService {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

struct Shared {
    policy: Policy,
    state: Mutex<State>,
    /// How many servers have begun to drain.
    drains: watch::Sender<u64>,
}

struct State {
    /// What has been kept.
    book: Book,
    watches: Watches,
}

impl NameService {
    /// A service that forgets everything when the process ends. Runs on the
    /// current tokio runtime.
    #[must_use]
    pub fn in_memory(policy: Policy) -> Self {
        Self::start(Store::Memory, Book::new(), policy)
    }

    /// A service that keeps its records in a directory, which is made if it is not
    /// there and must belong to this program alone. What was kept there and is
    /// still believed by `policy` is read back; what is not is in the [`Recovery`]
    /// and in the log.
    ///
    /// # Errors
    ///
    /// [`OpenError`]. Damage is none: the sound records are read back, and the
    /// damaged log is kept aside.
    pub async fn open(
        directory: impl Into<PathBuf>,
        policy: Policy,
    ) -> Result<(Self, Recovery), OpenError> {
        let directory = directory.into();
        let opening = tokio::task::spawn_blocking(move || {
            let opened = Store::open(&directory, &policy);
            opened.map(|opened| (opened, policy, directory))
        });
        let ((store, book, recovery), policy, directory) =
            opening.await.map_err(|_| OpenError::BrokenOff)??;
        let directory = directory.display();
        for fault in &recovery.faults {
            tracing::error!(%directory, %fault, "a part of the log of names was not read back");
        }
        if let Some(aside) = &recovery.kept_aside {
            let aside = aside.display();
            tracing::error!(%directory, %aside, "the damaged log is kept aside");
        }
        Ok((Self::start(store, book, policy), recovery))
    }

    fn start(store: Store, book: Book, policy: Policy) -> Self {
        let shared = Arc::new(Shared {
            policy,
            state: Mutex::new(State {
                book: book.clone(),
                watches: Watches::default(),
            }),
            drains: watch::Sender::new(0),
        });
        let (commands, waiting) = mpsc::channel(PUBLISHES_WAITING_MAX);
        let shown = Arc::clone(&shared);
        tokio::spawn(writer::run(waiting, store, book, move |records| {
            shown.show(records);
        }));
        Self { shared, commands }
    }

    /// Publishes a record as `peer`. Comes to its end, once it is queued, also when
    /// the future is dropped.
    ///
    /// # Errors
    ///
    /// [`Refusal`].
    pub async fn publish(&self, peer: &KeyId, record: &[u8]) -> Result<Change, Refusal> {
        let claim = Claim::decode(record).map_err(Refusal::Record)?;
        let name = claim.claimed().name.clone();
        let policy = &self.shared.policy;
        // Before anything that costs much: a signature, an agreement for each Noise
        // key.
        if !policy.may_publish(peer, &name) {
            return Err(Refusal::Denied);
        }
        let quota = policy.quota(&name).ok_or(Refusal::Denied)?;
        let record = claim
            .believe_signer(policy.signers(&name))
            .map_err(Refusal::Record)?;
        let (done, outcome) = oneshot::channel();
        let record = Arc::new(record);
        self.commands
            .try_send(Command::Publish {
                record,
                quota,
                done,
            })
            .map_err(Refusal::of_queue)?;
        let outcome = outcome.await.map_err(|_| Refusal::WriteFailed)?;
        outcome.map_err(Refusal::of_write)
    }

    /// The record of a name, as `peer` may read it.
    ///
    /// # Errors
    ///
    /// [`Refusal::Denied`] whether or not there is one; [`Refusal::NotFound`].
    pub fn resolve(&self, peer: &KeyId, name: &Name) -> Result<Arc<VerifiedRecord>, Refusal> {
        self.shared.check_reader(peer, name)?;
        let state = self.shared.state();
        let record = state.book.current(name, unix_ms());
        record.cloned().ok_or(Refusal::NotFound)
    }

    /// Names under `prefix` and behind `after` that `peer` may read, ascending, at
    /// most [`LIST_PAGE_MAX`]; after a full page, ask for those behind its last.
    #[must_use]
    pub fn list(&self, peer: &KeyId, prefix: &Prefix, after: Option<&Name>) -> Vec<Listed> {
        let may_read = |name: &Name| self.shared.policy.may_read(peer, name);
        let state = self.shared.state();
        state
            .book
            .list(prefix, after, unix_ms(), LIST_PAGE_MAX, may_read)
    }

    /// Watches a name as `peer`.
    ///
    /// # Errors
    ///
    /// [`Refusal::Denied`], [`Refusal::TooManyWatches`].
    pub fn watch(&self, peer: &KeyId, name: &Name) -> Result<Watch, Refusal> {
        self.shared.check_reader(peer, name)?;
        let mut state = self.shared.state();
        let current = state.book.current(name, unix_ms()).cloned();
        let newest = state
            .watches
            .open(*peer, name, current)
            .map_err(|_| Refusal::TooManyWatches)?;
        drop(state);
        Ok(Watch {
            shared: Arc::clone(&self.shared),
            peer: *peer,
            name: name.clone(),
            newest,
        })
    }

    /// How many watches are open.
    #[must_use]
    pub fn watches(&self) -> usize {
        self.shared.state().watches.len()
    }

    /// Ends publishing, and waits until what was queued is kept and the directory
    /// is free. Reads go on.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.commands.send(Command::Stop { done }).await.is_ok() {
            // A failure here says that the task has ended, too.
            let _ = stopped.await;
        }
    }
}

impl std::fmt::Debug for NameService {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.shared.state();
        formatter
            .debug_struct("NameService")
            .field("names", &state.book.len())
            .field("watches", &state.watches.len())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// The same for names that exist and names that do not.
    fn check_reader(&self, peer: &KeyId, name: &Name) -> Result<(), Refusal> {
        if self.policy.may_read(peer, name) {
            Ok(())
        } else {
            Err(Refusal::Denied)
        }
    }

    fn show(&self, records: &[Arc<VerifiedRecord>]) {
        let mut state = self.state();
        for record in records {
            // The writer's own book has taken it, and this one has no more in it.
            if state.book.restore(Arc::clone(record)).is_ok() {
                state.watches.tell(record);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs between two sound states.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The records of one name as they come. Dropping it ends the watch.
pub struct Watch {
    shared: Arc<Shared>,
    peer: KeyId,
    name: Name,
    newest: watch::Receiver<Option<Arc<VerifiedRecord>>>,
}

impl Watch {
    /// The present record at first, if there is one; then the newest, whenever
    /// there is one that has not been taken here. Dropping the future loses
    /// nothing.
    pub async fn next(&mut self) -> Arc<VerifiedRecord> {
        loop {
            if self.newest.changed().await.is_err() {
                // The sender lives as long as this is counted among its watches.
                pending::<()>().await;
            }
            let newest = self.newest.borrow_and_update().clone();
            // Its time may have ended while nobody took it.
            if let Some(record) = newest.filter(|it| unix_ms() < it.record().valid_until_ms) {
                return record;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.state().watches.close(&self.peer, &self.name);
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Watch").field(&self.name).finish()
    }
}

impl Names for NameService {
    async fn publish(
        &self,
        context: CallContext,
        request: PublishRequest,
    ) -> Result<PublishReply, Status> {
        let _ = Self::publish(self, &context.peer().key_id(), &request.record).await?;
        Ok(PublishReply {})
    }

    async fn resolve(
        &self,
        context: CallContext,
        request: ResolveRequest,
    ) -> Result<ResolveReply, Status> {
        let name = name(&request.name)?;
        let record = Self::resolve(self, &context.peer().key_id(), &name)?;
        Ok(ResolveReply {
            record: record.bytes().clone(),
        })
    }

    async fn list(
        &self,
        context: CallContext,
        request: ListRequest,
        mut replies: Replies<ListReply>,
    ) -> Result<(), Status> {
        let prefix = request.prefix.parse().map_err(Refusal::Name)?;
        let after = match request.after.as_str() {
            "" => None,
            after => Some(name(after)?),
        };
        let page = Self::list(self, &context.peer().key_id(), &prefix, after.as_ref());
        for listed in page {
            let reply = ListReply {
                name: listed.name.to_string(),
                serial: listed.serial,
                valid_until_ms: listed.valid_until_ms,
            };
            replies.send(&reply).await?;
        }
        Ok(())
    }

    async fn watch(
        &self,
        context: CallContext,
        request: WatchRequest,
        mut replies: Replies<WatchReply>,
    ) -> Result<(), Status> {
        let mut watch = Self::watch(self, &context.peer().key_id(), &name(&request.name)?)?;
        let mut drains = self.shared.drains.subscribe();
        let telling = async {
            loop {
                let reply = WatchReply {
                    record: watch.next().await.bytes().clone(),
                };
                replies.send(&reply).await?;
            }
        };
        tokio::select! {
            told = telling => told,
            _ = drains.changed() => Err(Refusal::Draining.into()),
        }
    }

    // Nobody ends a watch; it would hold up a drain for as long as that may take.
    fn draining(&self) {
        self.shared.drains.send_modify(|drains| *drains += 1);
    }
}

fn name(text: &str) -> Result<Name, Refusal> {
    text.parse().map_err(Refusal::Name)
}
