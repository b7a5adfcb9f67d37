//! Checks that each group continues the history of all groups before it.

use super::body::{Body, Content};
use super::damage::DamageKind;
use super::position::{Cursor, LogBase, LogId};

/// The history of a log as far as it was read.
#[derive(Clone, Debug)]
pub(super) struct History {
    cursor: Cursor,
    /// Whether a header told which log this is.
    identified: bool,
    /// Whether a damage made what precedes the next group unreadable.
    lost: bool,
}

impl History {
    /// Before the first group.
    pub(super) fn unread() -> Self {
        Self {
            cursor: Cursor::before(LogId([0; 16]), 0),
            identified: false,
            lost: false,
        }
    }

    /// Behind segments that were retired.
    pub(super) fn after(base: &LogBase) -> Self {
        Self {
            cursor: base.cursor,
            identified: true,
            lost: false,
        }
    }

    /// Where the history stands.
    pub(super) fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The next group's own word is taken for where it stands. Only for a
    /// verification that looks behind a damage: nothing after it is replayed.
    pub(super) fn lose(&mut self) {
        self.lost = true;
    }

    /// Adds the group with this body and these bytes, found in segment `number`.
    pub(super) fn follow(
        &mut self,
        body: &Body<'_>,
        number: u32,
        group: &[u8],
    ) -> Result<(), DamageKind> {
        let mut before = self.cursor;
        if self.lost {
            adopt(&mut before, body);
        }
        let mut next = before;
        let follows = match body.content {
            Content::Header(header) => {
                // Only the first header introduces the log.
                if !self.identified {
                    before.position.log_id = header.log_id;
                    before.position.incarnation = header.incarnation;
                }
                next.position.log_id = before.position.log_id;
                next.position.incarnation = before.position.incarnation;
                next.position.opening = header.opening;
                next.position.segment = number;
                before.is_followed_by(body.link, &header)
            }
            Content::Records(records) => {
                next.position.records = records.last();
                body.link == before.link()
                    && before.position.records.checked_add(1) == Some(records.first)
            }
            Content::Close { records } => {
                body.link == before.link() && records == before.position.records
            }
        };
        if !follows {
            return Err(DamageKind::OtherHistory);
        }
        next.advance(group);
        self.cursor = next;
        self.identified |= matches!(body.content, Content::Header(_));
        self.lost = false;
        Ok(())
    }
}

fn adopt(cursor: &mut Cursor, body: &Body<'_>) {
    cursor.sequence = body.link.sequence;
    cursor.position.chain = body.link.previous;
    cursor.position.records = match body.content {
        Content::Header(header) => {
            cursor.position.opening = header.opening;
            header.records
        }
        Content::Records(records) => records.first.saturating_sub(1),
        Content::Close { records } => records,
    };
}

#[cfg(test)]
mod tests {
    use super::super::body::{Link, SegmentHeader};
    use super::super::position::Chain;
    use super::*;

    fn header(log_id: u8) -> Content<'static> {
        Content::Header(SegmentHeader {
            log_id: LogId([log_id; 16]),
            incarnation: 4,
            opening: 1,
            segment_bytes: 4096,
            previous_bytes: 0,
            records: 0,
        })
    }

    fn follow(history: &mut History, content: Content<'_>) -> Result<(), DamageKind> {
        let link = history.cursor().link();
        history.follow(&Body { link, content }, 1, b"bytes")
    }

    #[test]
    fn a_closing_group_that_counts_other_records_is_refused() {
        let mut history = History::unread();
        follow(&mut history, header(1)).expect("first");
        let refused = follow(&mut history, Content::Close { records: 1 });
        assert_eq!(refused, Err(DamageKind::OtherHistory));
        assert!(follow(&mut history, Content::Close { records: 0 }).is_ok());
    }

    #[test]
    fn a_group_of_another_time_is_refused() {
        let mut history = History::unread();
        follow(&mut history, header(1)).expect("first");
        let content = Content::Close { records: 0 };
        let link = history.cursor().link();
        for link in [
            Link {
                sequence: link.sequence + 1,
                ..link
            },
            Link {
                previous: Chain::START,
                ..link
            },
        ] {
            let refused = history.clone().follow(&Body { link, content }, 1, b"");
            assert_eq!(refused, Err(DamageKind::OtherHistory));
        }
    }

    #[test]
    fn the_log_is_introduced_once() {
        let mut history = History::unread();
        follow(&mut history, header(1)).expect("first");
        assert_eq!(history.cursor().position.log_id, LogId([1; 16]));
        assert_eq!(
            follow(&mut history, header(2)),
            Err(DamageKind::OtherHistory)
        );
        // Not even where the history is lost.
        history.lose();
        assert_eq!(
            follow(&mut history, header(2)),
            Err(DamageKind::OtherHistory)
        );
        assert!(follow(&mut history, header(1)).is_ok());
    }

    #[test]
    fn behind_a_damage_a_group_tells_where_it_stands() {
        let mut history = History::unread();
        follow(&mut history, header(1)).expect("first");
        history.lose();
        let link = Link {
            sequence: 40,
            previous: Chain([9; 32]),
        };
        let content = Content::Close { records: 17 };
        history
            .follow(&Body { link, content }, 1, b"")
            .expect("adopted");
        assert_eq!(history.cursor().position.records, 17);
        assert_eq!(history.cursor().sequence, 41);
    }
}
