//! A keyed chain over records: none is changed, dropped or moved unseen.
