//! Opened blocks, bounded by their bytes: what was asked for since it came stays longer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::run::Block;

/// Which block of which run: the run by a number that no other run of this process gets.
pub(super) type BlockId = (u64, u32);

struct Held {
    block: Arc<Block>,
    asked_for: bool,
}

#[derive(Default)]
struct Blocks {
    held: HashMap<BlockId, Held>,
    /// In the order of their coming, or of their second chance.
    queue: VecDeque<BlockId>,
    bytes: usize,
}

/// A cache that several readers share.
pub(super) struct BlockCache {
    bytes_max: usize,
    blocks: Mutex<Blocks>,
}

impl BlockCache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            blocks: Mutex::default(),
        }
    }

    pub(super) fn get(&self, id: BlockId) -> Option<Arc<Block>> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let held = blocks.held.get_mut(&id)?;
        held.asked_for = true;
        Some(Arc::clone(&held.block))
    }

    pub(super) fn put(&self, id: BlockId, block: Arc<Block>) {
        let bytes = block.bytes();
        if bytes > self.bytes_max {
            return;
        }
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let held = Held {
            block,
            asked_for: false,
        };
        if blocks.held.insert(id, held).is_none() {
            blocks.queue.push_back(id);
            blocks.bytes += bytes;
        }
        while blocks.bytes > self.bytes_max {
            let Some(oldest) = blocks.queue.pop_front() else {
                break;
            };
            match blocks.held.get_mut(&oldest) {
                Some(held) if held.asked_for => {
                    held.asked_for = false;
                    blocks.queue.push_back(oldest);
                }
                _ => {
                    if let Some(gone) = blocks.held.remove(&oldest) {
                        blocks.bytes -= gone.block.bytes();
                    }
                }
            }
        }
    }

    /// Lets go of all blocks of a run.
    pub(super) fn forget(&self, run: u64) {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let Blocks { held, queue, bytes } = &mut *blocks;
        queue.retain(|id| id.0 != run);
        held.retain(|id, block| {
            let stays = id.0 != run;
            if !stays {
                *bytes -= block.block.bytes();
            }
            stays
        });
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(blocks.held.len(), blocks.queue.len());
        blocks.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn block(bytes: usize) -> Arc<Block> {
        Arc::new(Block::of(vec![(Bytes::from(vec![0; bytes]), None)]))
    }

    #[test]
    fn it_holds_no_more_than_its_bytes_and_keeps_what_is_asked_for() {
        let size = block(100).bytes();
        let cache = BlockCache::new(3 * size);
        for number in 0..3 {
            cache.put((1, number), block(100));
        }
        assert!(cache.get((1, 0)).is_some());
        cache.put((1, 3), block(100));
        assert_eq!(cache.bytes(), 3 * size);
        assert!(cache.get((1, 0)).is_some(), "asked for");
        assert!(cache.get((1, 1)).is_none());
        cache.put((2, 0), block(3 * size));
        assert!(cache.get((2, 0)).is_none(), "larger than all");
        cache.forget(1);
        assert_eq!(cache.bytes(), 0);
    }
}
