//! Who waits for newer records, as a value.
//!
//! A watch holds the newest record and nothing else: whoever reads slowly makes
//! nobody keep the ones between.

use std::collections::HashMap;
use std::sync::Arc;

use sealmoot_crypto::signature::KeyId;
use sealmoot_rpc::binding::{Name, VerifiedRecord};
use tokio::sync::watch;

use crate::limits::{WATCHES_MAX, WATCHES_PER_PEER_MAX};

type Newest = Option<Arc<VerifiedRecord>>;

/// The open watches of a service.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    by_name: HashMap<Name, Watched>,
    by_peer: HashMap<KeyId, usize>,
    count: usize,
}

#[derive(Debug)]
struct Watched {
    newest: watch::Sender<Newest>,
    count: usize,
}

/// There are too many watches, of the peer or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Watches {
    /// One more. Ends with [`Watches::close`]. `current` is what is known of the
    /// name now.
    pub(crate) fn open(
        &mut self,
        peer: KeyId,
        name: &Name,
        current: Newest,
    ) -> Result<watch::Receiver<Newest>, TooMany> {
        let of_peer = self.by_peer.get(&peer).copied().unwrap_or(0);
        if self.count >= WATCHES_MAX || of_peer >= WATCHES_PER_PEER_MAX {
            return Err(TooMany);
        }
        self.count += 1;
        self.by_peer.insert(peer, of_peer + 1);
        let watched = self.by_name.entry(name.clone()).or_insert_with(|| Watched {
            newest: watch::Sender::new(current),
            count: 0,
        });
        watched.count += 1;
        let mut receiver = watched.newest.subscribe();
        // What is there already is to be sent.
        receiver.mark_changed();
        Ok(receiver)
    }

    /// One less.
    pub(crate) fn close(&mut self, peer: &KeyId, name: &Name) {
        self.count = self.count.saturating_sub(1);
        if let Some(of_peer) = self.by_peer.get_mut(peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                self.by_peer.remove(peer);
            }
        }
        if let Some(watched) = self.by_name.get_mut(name) {
            watched.count -= 1;
            if watched.count == 0 {
                self.by_name.remove(name);
            }
        }
    }

    /// A newer record stands.
    pub(crate) fn tell(&self, record: &Arc<VerifiedRecord>) {
        if let Some(watched) = self.by_name.get(&record.record().name) {
            watched.newest.send_replace(Some(Arc::clone(record)));
        }
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests;
