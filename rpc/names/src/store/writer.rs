//! The one task that decides about publishes and keeps them.
//!
//! Publishes are taken in the order in which they came, all that wait with one
//! sync. They are decided against a book of the task's own, and stand in the one
//! that is read from only when they are on the disk: nobody sees a record that a
//! crash could take back.

use std::sync::Arc;

use sealmoot_rpc::binding::{VerifiedRecord, unix_ms};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::Store;
use crate::book::{Book, Change, PublishError};
use crate::limits::PUBLISHES_WAITING_MAX;
use crate::policy::Quota;

/// What the task is asked for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Keep a record.
    Publish {
        /// Which the policy allows.
        record: Arc<VerifiedRecord>,
        /// And how many names it allows there.
        quota: Quota,
        /// Who waits.
        done: oneshot::Sender<Result<Change, WriteError>>,
    },
    /// Keep nothing any more, and let go of the directory.
    Stop {
        /// Who waits.
        done: oneshot::Sender<()>,
    },
}

/// Why a record was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WriteError {
    /// The book has no place for it.
    Refused(PublishError),
    /// The disk failed with this one: it may be there after a restart or not.
    Failed,
    /// The disk failed before.
    FailedBefore,
}

/// Runs until it is told to stop, or nobody can ask any more. `show` is given what
/// has been kept.
pub(crate) async fn run(
    mut commands: mpsc::Receiver<Command>,
    store: Store,
    mut book: Book,
    show: impl Fn(&[Arc<VerifiedRecord>]),
) {
    // None once it has failed. It is not tried again: after a failed sync nobody
    // knows what is on the disk, and the next one may claim success (Rebello and
    // others, "Can Applications Recover from fsync Failures?", USENIX ATC 2020).
    let mut store = Some(store);
    let mut stopped = None;
    while let Some(first) = commands.recv().await {
        let mut waiting = Vec::new();
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Publish {
                    record,
                    quota,
                    done,
                } => waiting.push((record, quota, done)),
                Command::Stop { done } => {
                    stopped = Some(done);
                    break;
                }
            }
            next = (waiting.len() < PUBLISHES_WAITING_MAX)
                .then(|| commands.try_recv().ok())
                .flatten();
        }
        (store, book) = keep(waiting, store, book, &show).await;
        if let Some(done) = stopped.take() {
            drop(store);
            let _ = done.send(());
            return;
        }
    }
}

type Waiting = (
    Arc<VerifiedRecord>,
    Quota,
    oneshot::Sender<Result<Change, WriteError>>,
);

async fn keep(
    waiting: Vec<Waiting>,
    store: Option<Store>,
    mut book: Book,
    show: &impl Fn(&[Arc<VerifiedRecord>]),
) -> (Option<Store>, Book) {
    let Some(mut store) = store else {
        for (.., done) in waiting {
            let _ = done.send(Err(WriteError::FailedBefore));
        }
        return (None, book);
    };
    let now_ms = unix_ms();
    let mut kept = Vec::new();
    let mut outcomes = Vec::with_capacity(waiting.len());
    for (record, quota, done) in waiting {
        let outcome = book.publish(now_ms, Arc::clone(&record), &quota);
        if outcome == Ok(Change::Stored) {
            kept.push(record);
        }
        outcomes.push((outcome, done));
    }
    if !kept.is_empty() {
        let appending = spawn_blocking(move || {
            let appended = store.append(&kept);
            (appended, store, kept)
        });
        match appending.await {
            Ok((Ok(()), synced, kept)) => {
                store = synced;
                show(&kept);
            }
            failed => {
                match failed {
                    Ok((Err(error), ..)) => tracing::error!(
                        %error,
                        "the log of names cannot be written; nothing is published until a restart"
                    ),
                    _ => tracing::error!("writing the log of names was broken off"),
                }
                for (outcome, done) in outcomes {
                    let failed = outcome
                        .map_err(WriteError::Refused)
                        .and(Err(WriteError::Failed));
                    let _ = done.send(failed);
                }
                return (None, book);
            }
        }
    }
    for (outcome, done) in outcomes {
        let _ = done.send(outcome.map_err(WriteError::Refused));
    }
    if store.is_untidy(&book) {
        return tidy(store, book).await;
    }
    (Some(store), book)
}

async fn tidy(mut store: Store, book: Book) -> (Option<Store>, Book) {
    // The records are shared, not copied.
    let same = book.clone();
    let tidying = spawn_blocking(move || {
        let tidied = store.tidy(&same);
        (tidied, store)
    });
    match tidying.await {
        Ok((Ok(()), store)) => (Some(store), book),
        Ok((Err(error), _)) => {
            tracing::error!(
                %error,
                "the log of names cannot be rewritten; nothing is published until a restart"
            );
            (None, book)
        }
        Err(_) => {
            tracing::error!("rewriting the log of names was broken off");
            (None, book)
        }
    }
}
