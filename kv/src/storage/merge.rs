//! Several sorted sources as one: of equal keys the newest source's counts.

use std::ops::Bound;

use bytes::Bytes;

use super::StorageError;

/// A key and what was last done with it: no value where it was deleted.
pub(super) type Entry = (Bytes, Option<Bytes>);

/// Entries in ascending order of key.
pub(super) trait Source {
    /// The next one.
    fn next(&mut self) -> Result<Option<Entry>, StorageError>;
}

/// Where a scan behind `after` of keys with `prefix` begins.
pub(super) fn start<'a>(prefix: &'a [u8], after: &'a [u8]) -> Bound<&'a [u8]> {
    if after.is_empty() || after < prefix {
        return Bound::Included(prefix);
    }
    Bound::Excluded(after)
}

/// Merges sources, the newest first.
pub(super) struct Merge<S> {
    sources: Vec<(S, Option<Entry>)>,
}

impl<S: Source> Merge<S> {
    pub(super) fn new(sources: Vec<S>) -> Result<Self, StorageError> {
        let mut held = Vec::with_capacity(sources.len());
        for mut source in sources {
            let first = source.next()?;
            held.push((source, first));
        }
        Ok(Self { sources: held })
    }

    /// The next entry, deleted keys included.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, StorageError> {
        let heads = self.sources.iter().enumerate();
        let least = heads
            .filter_map(|(index, (_, head))| Some((&head.as_ref()?.0, index)))
            .min();
        let Some((key, newest)) = least.map(|(key, index)| (key.clone(), index)) else {
            return Ok(None);
        };
        let mut found = None;
        // Whatever older ones say of this key is over.
        for (index, (source, head)) in self.sources.iter_mut().enumerate().skip(newest) {
            if head.as_ref().is_some_and(|(other, _)| *other == key) {
                let entry = std::mem::replace(head, source.next()?);
                if index == newest {
                    found = entry;
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct List(std::vec::IntoIter<Entry>);

    impl Source for List {
        fn next(&mut self) -> Result<Option<Entry>, StorageError> {
            Ok(self.0.next())
        }
    }

    fn list(entries: &[(&'static str, Option<&'static str>)]) -> List {
        let entry = |(key, value): &(&'static str, Option<&'static str>)| {
            (Bytes::from(*key), value.map(Bytes::from))
        };
        List(entries.iter().map(entry).collect::<Vec<_>>().into_iter())
    }

    #[test]
    fn of_equal_keys_the_newest_counts_and_no_key_comes_twice() {
        let sources = vec![
            list(&[("b", None), ("d", Some("new"))]),
            list(&[("a", Some("1")), ("b", Some("2")), ("d", Some("old"))]),
            list(&[]),
            list(&[("b", Some("3")), ("c", Some("4")), ("d", None)]),
        ];
        let mut merge = Merge::new(sources).expect("no disk");
        let mut found = Vec::new();
        while let Some((key, value)) = merge.next().expect("no disk") {
            let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).expect("text");
            found.push((text(key), value.map(text)));
        }
        let expected = [
            ("a", Some("1")),
            ("b", None),
            ("c", Some("4")),
            ("d", Some("new")),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_scan_begins_behind_the_last_key_and_not_before_the_prefix() {
        assert_eq!(start(b"", b""), Bound::Included(&b""[..]));
        assert_eq!(start(b"b", b""), Bound::Included(&b"b"[..]));
        assert_eq!(start(b"b", b"a"), Bound::Included(&b"b"[..]));
        assert_eq!(start(b"b", b"b"), Bound::Excluded(&b"b"[..]));
        assert_eq!(start(b"b", b"bc"), Bound::Excluded(&b"bc"[..]));
    }
}
