//! Payloads put together from several records.

use zeroize::Zeroize;

use super::super::limits::ASSEMBLY_BYTES_KEPT;

/// The fragments of one payload so far. Memory that held any is wiped before it
/// is given back: when it grows, when it is too much to keep, on drop.
#[derive(Default)]
pub(super) struct Assembly(Vec<u8>);

impl Assembly {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Appends; memory at most doubles, so that it grows with what arrived and
    /// never with what was announced.
    pub(super) fn append(&mut self, fragment: &[u8]) {
        let length = self.0.len() + fragment.len();
        if length > self.0.capacity() {
            // `Vec` would leave what it moves where it was.
            let mut larger = Vec::with_capacity(length.max(2 * self.0.len()));
            larger.extend_from_slice(&self.0);
            wipe(&mut self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(fragment);
    }

    /// Forgets the payload. The next overwrites it, or the drop.
    pub(super) fn clear(&mut self) {
        if self.0.capacity() > ASSEMBLY_BYTES_KEPT {
            wipe(&mut self.0);
            self.0 = Vec::new();
        }
        self.0.clear();
    }
}

impl Drop for Assembly {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Also the room behind the content, where a longer one may have stood; in one
/// piece, because `Vec`'s own wiping goes byte by byte.
fn wipe(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.capacity(), 0);
    bytes.as_mut_slice().zeroize();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_are_joined_in_order_while_memory_grows() {
        let mut assembly = Assembly::default();
        let mut expected = vec![];
        for number in 0..100u8 {
            let fragment = vec![number; usize::from(number) * 7];
            assembly.append(&fragment);
            expected.extend(fragment);
            assert_eq!(assembly.bytes(), expected);
            assert!(assembly.0.capacity() <= 2 * expected.len());
        }
        assembly.clear();
        assert!(assembly.bytes().is_empty());
        assembly.append(b"next");
        assert_eq!(assembly.bytes(), b"next");
    }

    #[test]
    fn little_memory_is_kept_and_much_is_given_back() {
        let mut assembly = Assembly::default();
        assembly.append(&[7; ASSEMBLY_BYTES_KEPT]);
        assembly.clear();
        assert_eq!(assembly.0.capacity(), ASSEMBLY_BYTES_KEPT);
        assembly.append(&[7; ASSEMBLY_BYTES_KEPT + 1]);
        assembly.clear();
        assert_eq!(assembly.0.capacity(), 0);
    }

    #[test]
    fn wiping_reaches_the_room_behind_the_content() {
        let mut bytes = vec![7; 100];
        bytes.truncate(10);
        wipe(&mut bytes);
        assert_eq!(bytes, [0; 100]);
    }
}
