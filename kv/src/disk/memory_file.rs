//! The content of one file in memory: what reads see, and beside it what the
//! medium may still hold where nothing was synced yet.

use std::collections::BTreeMap;

use super::SECTOR_BYTES;

/// How many unsynced versions of one sector or length are told apart.
const VERSIONS_MAX: usize = 8;

/// A generator of choices (SplitMix64: Steele, Lea, Flood, 2014). Equal seeds
/// make equal choices on every machine.
#[derive(Debug)]
pub(crate) struct Choices(pub(crate) u64);

impl Choices {
    /// A number below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % bound as u64).unwrap_or(0)
    }
}

/// A file's bytes, with the past that a power cut could bring back.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    visible: Vec<u8>,
    /// By sector number: what it held before, the synced version first.
    unsynced: BTreeMap<usize, Unsynced>,
    /// What the length was before, the synced one first.
    lengths: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Unsynced {
    before: Vec<[u8; SECTOR_BYTES]>,
    /// A sync of it failed: no later sync will bring it to the medium.
    abandoned: bool,
}

impl Content {
    /// A new file of zeros, none of it synced.
    pub(super) fn zeros(length: usize) -> Self {
        Self {
            visible: vec![0; length],
            unsynced: BTreeMap::new(),
            lengths: vec![0],
        }
    }

    /// A file that is wholly on the medium.
    pub(super) fn synced(visible: Vec<u8>) -> Self {
        Self {
            visible,
            ..Self::default()
        }
    }

    /// What reads see.
    pub(super) fn visible(&self) -> &[u8] {
        &self.visible
    }

    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if end > self.visible.len() {
            self.remember_length();
            self.visible.resize(end, 0);
        }
        for sector in offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            self.remember_sector(sector);
        }
        self.visible[offset..end].copy_from_slice(bytes);
    }

    pub(super) fn truncate(&mut self, length: usize) {
        self.remember_length();
        for sector in length / SECTOR_BYTES..self.visible.len().div_ceil(SECTOR_BYTES) {
            self.remember_sector(sector);
        }
        self.visible.resize(length, 0);
    }

    /// A sync that succeeded: whatever is not abandoned is on the medium.
    pub(super) fn sync(&mut self) {
        self.unsynced.retain(|_, sector| sector.abandoned);
        self.lengths.clear();
    }

    /// A sync that failed: the cache keeps showing the new bytes and calls them
    /// clean, so that later syncs pass them over (Rebello et al., ATC 2020).
    pub(super) fn abandon(&mut self) {
        for sector in self.unsynced.values_mut() {
            sector.abandoned = true;
        }
    }

    /// Drops clean cached bytes: what was abandoned shows its old content.
    pub(super) fn forget_cached(&mut self) {
        let abandoned = self.unsynced.extract_if(.., |_, sector| sector.abandoned);
        for (sector, versions) in abandoned {
            let start = sector * SECTOR_BYTES;
            let end = (start + SECTOR_BYTES).min(self.visible.len());
            if start < end {
                self.visible[start..end].copy_from_slice(&versions.before[0][..end - start]);
            }
        }
    }

    /// What a power cut leaves: for every unsynced sector, and for the length,
    /// any of the versions since the last sync.
    pub(super) fn survivor(&self, choices: &mut Choices) -> Self {
        let mut length = self.visible.len();
        if !self.lengths.is_empty() {
            let choice = choices.below(self.lengths.len() + 2);
            if let Some(&earlier) = self.lengths.get(choice) {
                length = earlier;
            } else if choice == self.lengths.len() {
                // A growing file may stop at any sector between.
                let least = self.lengths[0].min(length);
                let sectors = (length - least) / SECTOR_BYTES;
                length = least + choices.below(sectors + 1) * SECTOR_BYTES;
            }
        }
        let mut left = self.visible.clone();
        left.resize(length, 0);
        for (&sector, versions) in &self.unsynced {
            let choice = choices.below(versions.before.len() + 1);
            let start = sector * SECTOR_BYTES;
            let end = (start + SECTOR_BYTES).min(length);
            if let (Some(earlier), true) = (versions.before.get(choice), start < end) {
                left[start..end].copy_from_slice(&earlier[..end - start]);
            }
        }
        Self::synced(left)
    }

    fn remember_length(&mut self) {
        if self.lengths.len() < VERSIONS_MAX {
            self.lengths.push(self.visible.len());
        }
    }

    fn remember_sector(&mut self, sector: usize) {
        let mut before = [0; SECTOR_BYTES];
        let start = (sector * SECTOR_BYTES).min(self.visible.len());
        let end = (start + SECTOR_BYTES).min(self.visible.len());
        before[..end - start].copy_from_slice(&self.visible[start..end]);
        let entry = self.unsynced.entry(sector).or_insert(Unsynced {
            before: Vec::new(),
            abandoned: false,
        });
        // Written again, it is dirty again and the next sync covers it.
        entry.abandoned = false;
        if entry.before.len() < VERSIONS_MAX {
            entry.before.push(before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survivors(content: &Content) -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> = (0..200)
            .map(|seed| content.survivor(&mut Choices(seed)).visible)
            .collect();
        all.sort();
        all.dedup();
        all
    }

    #[test]
    fn every_subset_of_unsynced_sectors_can_survive() {
        let mut content = Content::synced(vec![0; 3 * SECTOR_BYTES]);
        content.write(0, &[1; 3 * SECTOR_BYTES]);
        assert_eq!(survivors(&content).len(), 8);
        content.sync();
        assert_eq!(survivors(&content).len(), 1);
    }

    #[test]
    fn sectors_are_never_torn() {
        let mut content = Content::synced(vec![0; 2 * SECTOR_BYTES]);
        content.write(100, &[1; SECTOR_BYTES]);
        for left in survivors(&content) {
            assert!(left[100..512].iter().all(|&byte| byte == left[100]));
            assert!(left[512..612].iter().all(|&byte| byte == left[512]));
        }
    }

    #[test]
    fn an_unsynced_cut_may_come_back_whole() {
        let mut content = Content::synced(vec![7; 2 * SECTOR_BYTES]);
        content.truncate(SECTOR_BYTES);
        let all = survivors(&content);
        assert!(all.contains(&vec![7; 2 * SECTOR_BYTES]));
        assert!(all.contains(&vec![7; SECTOR_BYTES]));
    }

    #[test]
    fn what_a_failed_sync_abandoned_is_not_saved_by_the_next() {
        let mut content = Content::synced(vec![0; SECTOR_BYTES]);
        content.write(0, &[1; SECTOR_BYTES]);
        content.abandon();
        content.sync();
        assert_eq!(content.visible()[0], 1, "the cache still shows it");
        assert_eq!(survivors(&content).len(), 2, "the medium may lack it");
        let mut rewritten = content.clone();
        rewritten.write(0, &[2]);
        rewritten.sync();
        assert_eq!(survivors(&rewritten).len(), 1, "dirty again, and saved");
        content.forget_cached();
        assert_eq!(content.visible()[0], 0);
    }
}
