use super::*;
use crate::splitmix::SplitMix;

const MESSAGE_MAX: usize = 1024 * 1024;
const ROOM: usize = 64 * 1024 * 1024;

fn message(length: usize) -> Bytes {
    Bytes::from(vec![7; length])
}

fn chunk(receiver: &mut Receiver, length: usize, is_last: bool) -> Result<Arrival, Violation> {
    receiver.chunk(&vec![7; length], is_last, MESSAGE_MAX, ROOM)
}

/// Length and flag of every chunk that a message makes.
fn chunks_of(length: usize) -> Vec<(usize, bool)> {
    let mut sender = Sender::new();
    sender.grant(1024 * 1024).expect("within the maximum");
    sender.push(message(length));
    let mut chunks = Vec::new();
    while let Some(piece) = sender.next() {
        match piece {
            Piece::Chunk { payload, is_last } => chunks.push((payload.len(), is_last)),
            Piece::End => panic!("not ended"),
        }
    }
    assert_eq!(sender.queued_bytes(), 0);
    chunks
}

#[test]
fn a_message_has_one_form() {
    const FULL: usize = CHUNK_BYTES_MAX;
    assert_eq!(chunks_of(0), [(0, true)]);
    assert_eq!(chunks_of(1), [(1, true)]);
    assert_eq!(chunks_of(FULL), [(FULL, true)]);
    assert_eq!(chunks_of(FULL + 1), [(FULL, false), (1, true)]);
    assert_eq!(chunks_of(2 * FULL), [(FULL, false), (FULL, true)]);
}

#[test]
fn a_sender_stops_at_its_credit_to_the_byte() {
    let mut sender = Sender::new();
    let exact = STREAM_WINDOW_BYTES - 4 * HEADER_BYTES;
    sender.push(message(exact));
    sender.push(message(0));
    let mut spent = 0;
    while let Some(Piece::Chunk { payload, .. }) = sender.next() {
        spent += HEADER_BYTES + payload.len();
    }
    assert_eq!(spent, STREAM_WINDOW_BYTES);
    assert!(!sender.is_due());
    sender.grant(11).expect("lawful");
    assert_eq!(sender.next(), None, "a header costs too");
    sender.grant(1).expect("lawful");
    assert!(matches!(sender.next(), Some(Piece::Chunk { .. })));
}

#[test]
fn an_end_costs_nothing_and_waits_for_its_messages() {
    let mut sender = Sender::new();
    sender.push(message(STREAM_WINDOW_BYTES));
    sender.end();
    while let Some(piece) = sender.next() {
        assert_ne!(piece, Piece::End);
    }
    sender.grant(64).expect("lawful");
    assert!(matches!(
        sender.next(),
        Some(Piece::Chunk { is_last: true, .. })
    ));
    assert_eq!(sender.next(), Some(Piece::End));
}

#[test]
fn credit_beyond_the_maximum_is_refused() {
    let max = u32::try_from(STREAM_CREDIT_MAX - STREAM_WINDOW_BYTES).expect("fits");
    let mut sender = Sender::new();
    assert_eq!(
        sender.grant(max + 1),
        Err(Violation::CreditRefused(max + 1))
    );
    assert_eq!(
        sender.grant(u32::MAX),
        Err(Violation::CreditRefused(u32::MAX))
    );
    assert_eq!(sender.grant(max), Ok(()));
    assert_eq!(sender.grant(1), Err(Violation::CreditRefused(1)));
}

#[test]
fn however_much_credit_there_is_a_window_and_a_message_wait() {
    let mut sender = Sender::new();
    sender.grant(1 << 29).expect("within the maximum");
    let mut count = 0;
    while sender.takes_more() {
        sender.push(message(1000));
        count += 1;
    }
    assert!(sender.queued_bytes() < STREAM_WINDOW_BYTES + 1012);
    assert_eq!(count, STREAM_WINDOW_BYTES.div_ceil(1012));
}

#[test]
fn nothing_is_taken_behind_an_end_or_without_credit() {
    let mut sender = Sender::new();
    sender.push(message(STREAM_WINDOW_BYTES));
    assert!(!sender.takes_more());
    let mut sender = Sender::new();
    sender.end();
    assert!(!sender.takes_more());
}

#[test]
fn one_byte_more_than_the_window_is_refused() {
    let mut receiver = Receiver::new();
    for _ in 0..3 {
        assert_eq!(
            chunk(&mut receiver, CHUNK_BYTES_MAX, true),
            Ok(Arrival::Message)
        );
    }
    let rest = STREAM_WINDOW_BYTES - 3 * (HEADER_BYTES + CHUNK_BYTES_MAX) - HEADER_BYTES;
    let mut exact = receiver;
    assert_eq!(
        chunk(&mut exact, rest + 1, true),
        Err(Violation::CreditExceeded)
    );
    let mut exact = Receiver::new();
    for _ in 0..3 {
        chunk(&mut exact, CHUNK_BYTES_MAX, true).expect("within the window");
    }
    assert_eq!(chunk(&mut exact, rest, true), Ok(Arrival::Message));
    assert_eq!(
        chunk(&mut exact, 0, true),
        Err(Violation::CreditExceeded),
        "empty messages cost too"
    );
}

#[test]
fn empty_messages_are_bounded() {
    let mut receiver = Receiver::new();
    let count = STREAM_WINDOW_BYTES / HEADER_BYTES;
    for _ in 0..count {
        assert_eq!(chunk(&mut receiver, 0, true), Ok(Arrival::Message));
    }
    assert_eq!(
        chunk(&mut receiver, 0, true),
        Err(Violation::CreditExceeded)
    );
    assert_eq!(
        receiver.held_bytes(),
        count * STREAM_MESSAGE_OVERHEAD_BYTES,
        "and they count"
    );
}

#[test]
fn empty_parts_are_refused() {
    let mut receiver = Receiver::new();
    assert!(matches!(
        chunk(&mut receiver, 0, false),
        Err(Violation::Malformed(_))
    ));
    let mut receiver = Receiver::new();
    assert_eq!(chunk(&mut receiver, 1, false), Ok(Arrival::Part));
    assert!(matches!(
        chunk(&mut receiver, 0, true),
        Err(Violation::Malformed(_))
    ));
    let mut discarding = Receiver::new();
    discarding.discard();
    assert_eq!(chunk(&mut discarding, 1, false), Ok(Arrival::Part));
    assert!(matches!(
        chunk(&mut discarding, 0, true),
        Err(Violation::Malformed(_))
    ));
}

#[test]
fn an_end_out_of_place_is_refused() {
    let malformed = |ended| assert!(matches!(ended, Err(Violation::Malformed(_))));
    let mut receiver = Receiver::new();
    malformed(receiver.end(b"x"));
    chunk(&mut receiver, 1, false).expect("lawful");
    malformed(receiver.end(b""));
    chunk(&mut receiver, 1, true).expect("lawful");
    assert_eq!(receiver.end(b""), Ok(()));
    malformed(receiver.end(b""));
    malformed(chunk(&mut receiver, 1, true).map(|_| ()));
    assert!(receiver.take().is_some(), "what came before stays");
}

#[test]
fn a_message_beyond_its_maximum_is_not_kept() {
    let mut receiver = Receiver::new();
    assert_eq!(
        receiver.chunk(&[0; 11], true, 10, ROOM),
        Ok(Arrival::TooLarge)
    );
    assert_eq!(receiver.chunk(&[0; 6], false, 10, ROOM), Ok(Arrival::Part));
    assert_eq!(
        receiver.chunk(&[0; 5], true, 10, ROOM),
        Ok(Arrival::TooLarge)
    );
    assert_eq!(
        receiver.chunk(&[0; 5], true, 10, 5),
        Ok(Arrival::NoRoom),
        "the overhead needs room as well"
    );
}

#[test]
fn credit_comes_back_when_half_a_window_is_due() {
    let mut receiver = Receiver::new();
    for _ in 0..3 {
        chunk(&mut receiver, CHUNK_BYTES_MAX, true).expect("within the window");
    }
    assert_eq!(receiver.credit(), None, "nobody has taken them");
    receiver.take().expect("one");
    assert_eq!(receiver.credit(), None, "not half a window");
    receiver.take().expect("one");
    let due = u32::try_from(2 * (HEADER_BYTES + CHUNK_BYTES_MAX)).expect("small");
    assert_eq!(receiver.credit(), Some(due));
    assert_eq!(receiver.credit(), None);
}

#[test]
fn parts_give_their_credit_back_at_once() {
    let mut receiver = Receiver::new();
    chunk(&mut receiver, CHUNK_BYTES_MAX, false).expect("within the window");
    assert_eq!(receiver.credit(), None);
    chunk(&mut receiver, CHUNK_BYTES_MAX, false).expect("within the window");
    assert!(receiver.credit().is_some());
}

#[test]
fn discarding_frees_memory_and_gives_credit_for_ever() {
    let mut receiver = Receiver::new();
    for _ in 0..3 {
        chunk(&mut receiver, CHUNK_BYTES_MAX, true).expect("within the window");
    }
    receiver.discard();
    assert_eq!(receiver.held_bytes(), 0);
    assert!(receiver.credit().is_some());
    for index in 0..1000 {
        let arrival = chunk(&mut receiver, CHUNK_BYTES_MAX, index % 3 == 2);
        assert_eq!(arrival, Ok(Arrival::Part), "{index}");
        receiver.credit();
        assert_eq!(receiver.held_bytes(), 0);
    }
    assert_eq!(receiver.take(), None);
}

/// A small generator: the seed tells all.
struct Dice(SplitMix);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0.index(bound)
    }

    fn length(&mut self) -> usize {
        match self.below(10) {
            0 => 0,
            1..=5 => self.below(2000),
            6 | 7 => self.below(3) + CHUNK_BYTES_MAX - 1,
            8 => self.below(STREAM_WINDOW_BYTES),
            _ => self.below(4 * STREAM_WINDOW_BYTES),
        }
    }
}

/// Sender and receiver with frames and credit on their way in between.
fn everything_arrives_in_order(seed: u64) {
    let mut dice = Dice(SplitMix::new(seed));
    let (mut sender, mut receiver) = (Sender::new(), Receiver::new());
    let mut chunks: VecDeque<Piece> = VecDeque::new();
    let mut credits: VecDeque<u32> = VecDeque::new();
    let lengths: Vec<usize> = (0..40).map(|_| dice.length()).collect();
    let (mut sent, mut taken, mut idle) = (0, 0, 0);
    // The reader is lazy for a while, so that credit runs out.
    let laziness = dice.below(20);
    while taken < lengths.len() || !receiver.is_ended() {
        idle += 1;
        assert!(idle < 10_000, "nothing moves: seed {seed}");
        match dice.below(5 + laziness) {
            0 if sent < lengths.len() && sender.takes_more() => {
                sender.push(Bytes::from(vec![sent as u8; lengths[sent]]));
                sent += 1;
                let most = STREAM_WINDOW_BYTES + cost_of(lengths[sent - 1]);
                assert!(sender.queued_bytes() < most, "seed {seed}");
                if sent == lengths.len() {
                    sender.end();
                }
                idle = 0;
            }
            1 => {
                // A spent sender is dropped by its owner.
                let is_over = chunks.back() == Some(&Piece::End) || receiver.is_ended();
                if let Some(piece) = sender.next().filter(|_| !is_over) {
                    chunks.push_back(piece);
                    idle = 0;
                }
            }
            2 => {
                match chunks.pop_front() {
                    Some(Piece::Chunk { payload, is_last }) => {
                        receiver
                            .chunk(&payload, is_last, MESSAGE_MAX, ROOM)
                            .unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
                        idle = 0;
                    }
                    Some(Piece::End) => {
                        receiver.end(b"").expect("behind its last message");
                        idle = 0;
                    }
                    None => {}
                }
                credits.extend(receiver.credit());
                let most = STREAM_WINDOW_BYTES
                    + 4 * STREAM_WINDOW_BYTES
                    + STREAM_WINDOW_BYTES / HEADER_BYTES * STREAM_MESSAGE_OVERHEAD_BYTES;
                assert!(receiver.held_bytes() <= most, "seed {seed}");
            }
            3 => {
                if let Some(message) = receiver.take() {
                    assert_eq!(message.len(), lengths[taken], "seed {seed}");
                    assert!(
                        message.iter().all(|byte| *byte == taken as u8),
                        "seed {seed}"
                    );
                    taken += 1;
                    idle = 0;
                }
                credits.extend(receiver.credit());
            }
            4 => {
                if let Some(bytes) = credits.pop_front() {
                    sender.grant(bytes).expect("no more than was spent");
                    idle = 0;
                }
            }
            _ => {}
        }
    }
    assert_eq!(receiver.held_bytes(), 0, "seed {seed}");
}

#[test]
fn whatever_the_interleaving_everything_arrives_in_order() {
    for seed in 0..500 {
        everything_arrives_in_order(seed);
    }
}

#[test]
fn a_first_part_beyond_the_maximum_leaves_nothing_to_forget() {
    for (lengths, held) in [(&[2_000][..], 0), (&[600, 600], 600), (&[600, 1, 600], 601)] {
        for last in [false, true] {
            let mut receiver = Receiver::new();
            let (refused, taken) = lengths.split_last().expect("some");
            for length in taken {
                let part = receiver.chunk(&vec![7; *length], false, 1_000, ROOM);
                assert_eq!(part, Ok(Arrival::Part));
            }
            let refused = receiver.chunk(&vec![7; *refused], last, 1_000, ROOM);
            assert_eq!(refused, Ok(Arrival::TooLarge));
            let overhead = usize::from(held > 0) * STREAM_MESSAGE_OVERHEAD_BYTES;
            assert_eq!(receiver.held_bytes(), held + overhead);
            receiver.forget_partial();
            assert_eq!(receiver.held_bytes(), 0);
        }
    }
}

#[test]
fn small_messages_do_not_wait_in_numbers() {
    for length in [0, 1, 100] {
        let mut sender = Sender::new();
        sender.grant(1 << 29).expect("within the maximum");
        while sender.takes_more() {
            sender.push(message(length));
        }
        assert_eq!(sender.messages.len(), STREAM_MESSAGES_QUEUED_MAX);
        // When one has left, another may come.
        assert!(sender.next().is_some());
        assert!(sender.takes_more());
    }
}

#[test]
fn a_burst_of_small_messages_leaves_no_room_behind() {
    let mut receiver = Receiver::new();
    for _ in 0..5_000 {
        assert_eq!(chunk(&mut receiver, 1, true), Ok(Arrival::Message));
    }
    while receiver.take().is_some() {}
    assert_eq!(receiver.held_bytes(), 0);
    assert!(receiver.messages.capacity() <= STREAM_MESSAGES_ROOM_KEPT);
}
