//! What is going to happen, in order of time, then of the order in which it was asked
//! for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Things to come.
pub(super) struct Queue<E> {
    order: BinaryHeap<Reverse<(u64, u64, u32)>>,
    /// The things; places are used again.
    slots: Vec<Option<E>>,
    free: Vec<u32>,
    number: u64,
}

impl<E> Queue<E> {
    pub(super) fn new() -> Self {
        Self {
            order: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            number: 0,
        }
    }

    pub(super) fn push(&mut self, at_us: u64, event: E) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(event);
                slot
            }
            None => {
                self.slots.push(Some(event));
                u32::try_from(self.slots.len() - 1).expect("a history has fewer events")
            }
        };
        self.order.push(Reverse((at_us, self.number, slot)));
        self.number += 1;
    }

    /// When the next thing happens.
    pub(super) fn next_at_us(&self) -> Option<u64> {
        self.order.peek().map(|Reverse((at_us, ..))| *at_us)
    }

    pub(super) fn pop(&mut self) -> Option<(u64, E)> {
        let Reverse((at_us, _, slot)) = self.order.pop()?;
        self.free.push(slot);
        let event = self.slots[slot as usize]
            .take()
            .expect("an entry of the order has its slot until it is popped");
        Some((at_us, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_times_keep_the_order_in_which_they_were_asked_for() {
        let mut queue = Queue::new();
        for (at, name) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b')] {
            queue.push(at, name);
        }
        let order: String = std::iter::from_fn(|| queue.pop())
            .map(|(_, name)| name)
            .collect();
        assert_eq!(order, "abcd");
    }
}
