//! A thread that records what is submitted, in groups.
//!
//! There is no timer: while one group is being synced the next one gathers.

use std::io;
use std::thread;

use sealmoot_authn::audit::{
    AuditRefused, ENTRIES_BYTES_MAX, ENTRIES_MAX, EVENT_LENGTH_MAX, Event, Subject, Submission,
    Submissions, What, Who,
};
use sealmoot_crypto::hash_chain::LINK_LENGTH;
use tokio::sync::watch;
use tracing::error;

use super::log::{AppendError, AuditLog};
use super::reader::Published;
use crate::disk::Disk;

/// Most events of one group: as many as fit a frame, whatever is in them.
const GROUP_EVENTS_MAX: usize = {
    let fit = (ENTRIES_BYTES_MAX - 64) / (EVENT_LENGTH_MAX + 4 + LINK_LENGTH);
    if fit < ENTRIES_MAX { fit } else { ENTRIES_MAX }
};

/// Starts the thread, and tells what it has made durable. It ends when nobody can submit
/// any more, or after a failure of the disk: then everything is refused.
///
/// # Errors
/// When no thread can be started.
pub fn spawn<D: Disk<File: Send>>(
    log: AuditLog<D>,
    submissions: Submissions,
    now_ms: fn() -> u64,
) -> io::Result<watch::Receiver<Published>> {
    let (sender, receiver) = watch::channel(log.published());
    thread::Builder::new()
        .name("audit-writer".to_owned())
        .spawn(move || run(log, submissions, &sender, now_ms))?;
    Ok(receiver)
}

fn run<D: Disk>(
    mut log: AuditLog<D>,
    mut submissions: Submissions,
    published: &watch::Sender<Published>,
    now_ms: fn() -> u64,
) {
    let mut lost: u64 = 0;
    while let Some(first) = submissions.blocking_recv() {
        let mut group = vec![first];
        // Room for one event of this thread's own.
        while group.len() < GROUP_EVENTS_MAX - 1
            && let Ok(next) = submissions.try_recv()
        {
            group.push(next);
        }
        let (mut events, waiting): (Vec<Event>, Vec<_>) = group
            .into_iter()
            .map(|Submission { event, waiting }| (event, waiting))
            .unzip();
        let unanswered = waiting.iter().filter(|waiting| waiting.is_none()).count();
        if lost > 0 {
            let told = Event::done(now_ms(), What::EventsLost, Who::Node, Subject::Nothing);
            events.push(told.detail(format!("{lost} events found no room on the disk")));
        }
        let outcome = match log.append(&events, now_ms()) {
            Ok(()) => {
                lost = 0;
                published.send_replace(log.published());
                Ok(())
            }
            Err(cause @ AppendError::NoRoom(_)) => {
                error!(%cause, "what has to be audited is refused");
                lost += unanswered as u64;
                Err(AuditRefused::NoRoom)
            }
            Err(cause @ AppendError::Failed(_)) => {
                error!(%cause, "what has to be audited is refused until the node is restarted");
                Err(AuditRefused::Failed)
            }
        };
        for waiting in waiting.into_iter().flatten() {
            // Whoever went away does not want to know.
            let _ = waiting.send(outcome);
        }
        if outcome == Err(AuditRefused::Failed) {
            return;
        }
    }
}
