//! A Unix socket is clear text within one machine, so what travels in it can be
//! changed by whoever may trace either side. What must hold is that nobody is
//! taken for another: every byte of greeting and introduction counts.

use sealmoot_rpc::Limits;
use sealmoot_rpc::channel::{
    AllowedUsers, ChannelError, INTRODUCTION_BYTES, UNIX_GREETING_BYTES, UnixChannel,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::panics;
use super::proxy::Direction;
use super::session::{Parties, is_full};

/// What is done to one side's first bytes.
#[derive(Clone, Copy, Debug)]
enum Change {
    Nothing,
    Flip { byte: usize, bit: u8 },
    CutAt(usize),
}

const BYTES: usize = UNIX_GREETING_BYTES + INTRODUCTION_BYTES;

/// Carries both openings, one of them changed, and then ends.
async fn opened(
    direction: Direction,
    change: Change,
) -> (Result<(), ChannelError>, Result<(), ChannelError>) {
    let parties = Parties::new();
    let limits = Limits::default();
    let users = AllowedUsers::own();
    let (near, client) = UnixStream::pair().expect("sockets");
    let (server, far) = UnixStream::pair().expect("sockets");
    let carry = |from: tokio::net::unix::OwnedReadHalf,
                 to: tokio::net::unix::OwnedWriteHalf,
                 change| { pass(from, to, change) };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let of = |wanted| {
        if direction == wanted {
            change
        } else {
            Change::Nothing
        }
    };
    let (near, far, (), ()) = tokio::join!(
        UnixChannel::connect(&parties.client, near, &users, &limits),
        UnixChannel::accept(&parties.server, far, &users, &limits),
        carry(from_client, to_server, of(Direction::ToServer)),
        carry(from_server, to_client, of(Direction::ToClient)),
    );
    (near.map(drop), far.map(drop))
}

async fn pass(
    mut from: tokio::net::unix::OwnedReadHalf,
    mut to: tokio::net::unix::OwnedWriteHalf,
    change: Change,
) {
    for place in 0..BYTES {
        if matches!(change, Change::CutAt(end) if end == place) {
            return;
        }
        let Ok(mut byte) = from.read_u8().await else {
            return;
        };
        if let Change::Flip { byte: at, bit } = change
            && at == place
        {
            byte ^= 1 << bit;
        }
        if to.write_u8(byte).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn every_changed_or_missing_byte_of_an_opening_is_refused() {
    panics::count();
    let (near, far) = opened(Direction::ToServer, Change::Nothing).await;
    assert!(near.is_ok() && far.is_ok(), "{near:?} {far:?}");
    let mut refused = 0;
    for direction in Direction::BOTH {
        for byte in 0..BYTES {
            let bits: Vec<u8> = match is_full() {
                true => (0..8).collect(),
                false => vec![byte as u8 % 8],
            };
            let flips = bits.into_iter().map(|bit| Change::Flip { byte, bit });
            for change in flips.chain([Change::CutAt(byte)]) {
                let (near, far) = opened(direction, change).await;
                let victim = match direction {
                    Direction::ToServer => &far,
                    Direction::ToClient => &near,
                };
                assert!(victim.is_err(), "{direction:?} {change:?}");
                // A changed nonce is another binding for one of the two; the
                // server alone has not spoken last.
                if direction == Direction::ToClient || byte < UNIX_GREETING_BYTES {
                    assert!(near.is_err() && far.is_err(), "{direction:?} {change:?}");
                }
                refused += 1;
            }
        }
    }
    eprintln!("attacks: unix opening: {refused} refused, 0 accepted");
    panics::assert_none();
}
