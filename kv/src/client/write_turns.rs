//! One write of a key at a time: the operation window keeps one entry a client,
//! so a client must not have two writes of a key under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// Who is writing which key.
#[derive(Default)]
pub(super) struct WriteTurns(Mutex<HashMap<Bytes, Arc<Turn<()>>>>);

/// A turn to write a key; ends when dropped.
pub(super) struct WriteTurn<'a> {
    turns: &'a WriteTurns,
    key: Bytes,
    guard: Option<OwnedMutexGuard<()>>,
}

impl WriteTurns {
    /// Waits for a turn to write `key`.
    pub(super) async fn take(&self, key: &Bytes) -> WriteTurn<'_> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(key.clone()).or_default())
        };
        // Made before it is waited for, so that a wait that is given up leaves
        // nothing behind either.
        let mut taken = WriteTurn {
            turns: self,
            key: key.clone(),
            guard: None,
        };
        taken.guard = Some(turn.lock_owned().await);
        taken
    }
}

impl Drop for WriteTurn<'_> {
    fn drop(&mut self) {
        self.guard = None;
        let mut turns = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody else has it or waits for it: the map itself holds the only share.
        if turns
            .get(&self.key)
            .is_some_and(|turn| Arc::strong_count(turn) == 1)
        {
            turns.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn writes_of_one_key_take_turns_and_nothing_is_left_behind() {
        let turns = WriteTurns::default();
        let (one, other) = (Bytes::from_static(b"one"), Bytes::from_static(b"other"));
        let first = turns.take(&one).await;
        let elsewhere = turns.take(&other).await;
        let mut second = Box::pin(turns.take(&one));
        let pending = std::future::poll_fn(|context| {
            std::task::Poll::Ready(second.as_mut().poll(context).is_pending())
        });
        assert!(pending.await);
        drop(first);
        let second = second.await;
        drop(second);
        drop(elsewhere);
        assert!(turns.0.lock().expect("not poisoned").is_empty());
    }
}
