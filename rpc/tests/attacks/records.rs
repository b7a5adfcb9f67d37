//! Every manipulation at every record of a session, both directions.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use sealmoot_rpc::Limits;
use sealmoot_rpc::channel::{ChannelError, NoiseChannel};
use sealmoot_rpc::noise::{HandshakeError, Hash, Hybrid, Pattern, Suite};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::panics;
use super::proxy::{Attack, Direction, Framing, Manipulation, Wire, relay};
use super::session::{
    Carrier, End, ORIGIN, Outcome, Parties, Recording, Script, is_full, record, run,
};

/// The record in which TLS 1.3 imitates TLS 1.2, in both directions.
const CHANGE_CIPHER_SPEC: usize = 1;
const CHANGE_CIPHER_SPEC_TYPE: u8 = 20;
const APPLICATION_DATA_TYPE: u8 = 23;

/// Why an attack changes nothing that the peers said to each other. Everything
/// that is not listed here must fail.
fn lawful(carrier: Carrier, records: &[Vec<u8>], attack: &Attack) -> Option<&'static str> {
    use Manipulation::{Drop, Duplicate, Flip, Insert, Reflect, Replace, Split};
    if attack.first_bad() >= records.len() {
        return Some("nothing is read behind the peer's close");
    }
    if carrier != Carrier::Tls {
        return None;
    }
    let kind = records[attack.index][0];
    let is_plain = kind != APPLICATION_DATA_TYPE;
    match &attack.manipulation {
        // RFC 8446, section 5.1: legacy_record_version "MUST be ignored for all
        // purposes". rustls still wants its high byte.
        Flip { byte: 2, .. } => Some("the record's version is ignored"),
        // The type that counts is inside. rustls takes any type outside that it
        // knows; the ones it knows beside 23 are reached by these two bits.
        Flip {
            byte: 0,
            bit: 0 | 1,
        } if !is_plain => Some("the outer type is ignored"),
        // Section 5: a change_cipher_spec record "MUST be simply dropped" during
        // the handshake, so it may be lost or come twice; and it is the same
        // in every session and from both sides.
        Drop | Duplicate | Replace("splice", _) if kind == CHANGE_CIPHER_SPEC_TYPE => {
            Some("change_cipher_spec is ignored")
        }
        // A client has not sent its own yet when it gets the server's.
        Reflect if kind == CHANGE_CIPHER_SPEC_TYPE && attack.direction == Direction::ToServer => {
            Some("change_cipher_spec is ignored")
        }
        // A client counts warnings in clear before the first message, and does
        // not take them for a close. A server wants a ClientHello first.
        Insert("insert a forged close", _)
            if attack.index == 0 && attack.direction == Direction::ToClient =>
        {
            Some("a warning before the handshake is ignored")
        }
        // Section 5.1: handshake messages may be cut into records anyhow.
        Split if is_plain && kind != CHANGE_CIPHER_SPEC_TYPE => {
            Some("a message in clear may be cut anyhow")
        }
        _ => None,
    }
}

/// What is tried at a record.
fn manipulations(
    carrier: Carrier,
    recording: &Recording,
    other: &Recording,
    direction: Direction,
    index: usize,
) -> Vec<Manipulation> {
    let framing = carrier.framing();
    let header = framing.header_bytes();
    let record = &recording.to(direction)[index];
    let bytes = record.len();
    let mut all = vec![
        Manipulation::Drop,
        Manipulation::Duplicate,
        Manipulation::CutBefore,
        Manipulation::Shorten,
        Manipulation::Split,
        Manipulation::Reflect,
    ];
    for cut in [1, header, header + 1, bytes / 2, bytes - 1] {
        all.push(Manipulation::CutWithin(cut));
    }
    if let Some(next) = recording.to(direction).get(index + 1) {
        all.push(Manipulation::Swap);
        if bytes + next.len() - 2 * header <= usize::from(u16::MAX) {
            all.push(Manipulation::Merge);
        }
    }
    let spliced = &other.to(direction);
    all.push(Manipulation::Replace("splice", spliced[index].clone()));
    all.push(Manipulation::Continue(
        "continue another session",
        spliced[index..].concat(),
    ));
    let (garbage, empty, close) = match framing {
        Framing::Tls => (
            [&[APPLICATION_DATA_TYPE, 3, 3, 0, 40][..], &[0xa5; 40]].concat(),
            vec![APPLICATION_DATA_TYPE, 3, 3, 0, 0],
            // close_notify, in clear.
            vec![21, 3, 3, 0, 2, 1, 0],
        ),
        Framing::Noise => (
            [&[0, 40][..], &[0xa5; 40]].concat(),
            vec![0, 0],
            // A close, if it were not encrypted.
            [&[0, 17, 4][..], &[0; 16]].concat(),
        ),
    };
    all.push(Manipulation::Insert("insert garbage", garbage.clone()));
    all.push(Manipulation::Insert(
        "insert an empty record",
        empty.clone(),
    ));
    all.push(Manipulation::Insert("insert a forged close", close.clone()));
    all.push(Manipulation::Replace("replace by garbage", garbage));
    all.push(Manipulation::Replace("replace by an empty record", empty));
    all.push(Manipulation::Replace("replace by a forged close", close));
    all.extend(flips(recording.prelude(direction), header, index, bytes));
    all
}

fn flips(prelude: usize, header: usize, index: usize, bytes: usize) -> Vec<Manipulation> {
    let flip = |byte, bit| Manipulation::Flip { byte, bit };
    let mut all = Vec::new();
    for byte in 0..header {
        for bit in 0..8 {
            if is_full() || bit == 0 || bit == 1 + (index + byte) as u8 % 7 {
                all.push(flip(byte, bit));
            }
        }
    }
    if index < prelude && is_full() {
        for byte in header..bytes {
            all.extend((0..8).map(|bit| flip(byte, bit)));
        }
        return all;
    }
    let step = if index < prelude { 37 } else { bytes };
    let mut places: Vec<usize> = (header..bytes).step_by(step).collect();
    places.extend([bytes / 2, bytes - 1]);
    all.extend(
        places
            .into_iter()
            .map(|byte| flip(byte, (index + byte) as u8 % 8)),
    );
    all
}

/// Whether a session under attack ended as it must; `Ok(true)` when the attack
/// was lawful and had no effect.
fn judge(
    carrier: Carrier,
    script: &Script,
    recording: &Recording,
    attack: &Attack,
    outcome: &Outcome,
) -> Result<bool, String> {
    if !outcome.wire.was_reached() {
        return Err("the attack never found its record".into());
    }
    for direction in Direction::BOTH {
        let sent = script.to(direction).concat();
        let side = outcome.receiver(direction);
        if !sent.starts_with(&side.received) {
            return Err(format!("{direction:?}: received what was not sent"));
        }
        if side.is_clean() && side.received.len() != sent.len() {
            return Err(format!("{direction:?}: a part was taken for the whole"));
        }
    }
    let (direction, bad) = (attack.direction, attack.first_bad());
    let records = recording.to(direction);
    if let Some(why) = lawful(carrier, records, attack) {
        if !outcome.is_whole(script) {
            return Err(format!("refused, although {why}"));
        }
        return Ok(true);
    }
    let victim = outcome.receiver(direction);
    if victim.is_clean() {
        return Err("accepted".into());
    }
    let prelude = recording.prelude(direction);
    let before: usize = records
        .get(prelude..bad)
        .unwrap_or_default()
        .iter()
        .map(|record| carrier.content_bytes(record))
        .sum();
    if victim.received.len() > before {
        return Err("something behind the manipulated record was delivered".into());
    }
    // rustls tells of an error before it hands on what came well before it in
    // the same read; we do not.
    if carrier != Carrier::Tls && victim.received.len() < before {
        return Err("something before the manipulated record was lost".into());
    }
    if bad >= prelude {
        let is_cut = matches!(
            attack.manipulation,
            Manipulation::CutBefore | Manipulation::CutWithin(_)
        );
        return match &victim.end {
            End::Failed(error) if is_cut && error.kind() != ErrorKind::UnexpectedEof => {
                Err("a cut stream is told as something else".into())
            }
            End::Failed(_) => Ok(false),
            // rustls reads ahead: what a client sends at once behind its last
            // handshake record is looked at before the handshake is reported.
            End::Refused(_) if carrier == Carrier::Tls => Ok(false),
            other => Err(format!("the receiver must fail, not {other:?}")),
        };
    }
    let peer = outcome.receiver(direction.reverse());
    let swapped_change_cipher_spec = carrier == Carrier::Tls
        && attack.index == CHANGE_CIPHER_SPEC
        && matches!(attack.manipulation, Manipulation::Swap);
    // There the handshake is whole, and the record behind it is the fault.
    if swapped_change_cipher_spec {
        return Ok(false);
    }
    if peer.is_clean() || !peer.received.is_empty() {
        return Err("the other side went on with a handshake that failed".into());
    }
    Ok(false)
}

#[derive(Default)]
struct Count {
    refused: usize,
    without_effect: usize,
}

async fn attack_every_record(name: &str, carrier: Carrier) {
    panics::count();
    let (parties, script) = (Parties::new(), Script::new(carrier));
    let recording = record(carrier, &parties, &script).await;
    let other = record(carrier, &parties, &script).await;
    let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
    let mut faults = Vec::new();
    for direction in Direction::BOTH {
        let records = recording.to(direction).len();
        eprintln!(
            "attacks: {name} {direction:?}: {records} records, {} before the application's",
            recording.prelude(direction)
        );
        for index in 0..records {
            for manipulation in manipulations(carrier, &recording, &other, direction, index) {
                let attack = Attack {
                    direction,
                    index,
                    manipulation,
                };
                let family = attack.manipulation.family();
                let outcome = run(carrier, &parties, &script, Some(attack.clone())).await;
                let count = counts.entry(family).or_default();
                match judge(carrier, &script, &recording, &attack, &outcome) {
                    Ok(false) => count.refused += 1,
                    Ok(true) => count.without_effect += 1,
                    Err(fault) => faults.push(format!(
                        "{name} {direction:?} record {index} {:?}: {fault} (client {:?}, server {:?})",
                        attack.manipulation, outcome.client.end, outcome.server.end
                    )),
                }
            }
        }
    }
    let mut all = Count::default();
    for (family, count) in counts {
        let Count {
            refused,
            without_effect,
        } = count;
        all.refused += refused;
        all.without_effect += without_effect;
        eprintln!("attacks: {name} {family}: {refused} refused, {without_effect} without effect");
    }
    eprintln!(
        "attacks: {name} in all: {} refused, {} without effect, {} accepted",
        all.refused,
        all.without_effect,
        faults.len()
    );
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(all.refused > 300);
    panics::assert_none();
}

#[tokio::test(start_paused = true)]
async fn tls_refuses_whatever_is_done_to_any_record() {
    attack_every_record("tls", Carrier::Tls).await;
}

#[tokio::test(start_paused = true)]
async fn noise_xx_refuses_whatever_is_done_to_any_record() {
    attack_every_record("noise xx", Carrier::noise(Pattern::Xx)).await;
}

#[tokio::test(start_paused = true)]
async fn noise_ik_refuses_whatever_is_done_to_any_record() {
    attack_every_record("noise ik", Carrier::noise(Pattern::Ik)).await;
}

#[tokio::test(start_paused = true)]
async fn noise_kk_refuses_whatever_is_done_to_any_record() {
    attack_every_record("noise kk", Carrier::noise(Pattern::Kk)).await;
}

#[tokio::test(start_paused = true)]
async fn noise_xx_without_a_tag_refuses_whatever_is_done_to_any_record() {
    let carrier = Carrier::Noise {
        suite: Suite::new(Pattern::Xx),
        tagged: false,
    };
    attack_every_record("noise xx untagged", carrier).await;
}

#[tokio::test(start_paused = true)]
async fn noise_ik_without_the_hybrid_refuses_whatever_is_done_to_any_record() {
    let carrier = Carrier::Noise {
        suite: Suite {
            hybrid: Hybrid::Off,
            ..Suite::new(Pattern::Ik)
        },
        tagged: true,
    };
    attack_every_record("noise ik classical", carrier).await;
}

#[tokio::test(start_paused = true)]
async fn noise_xx_with_blake2s_refuses_whatever_is_done_to_any_record() {
    let carrier = Carrier::Noise {
        suite: Suite {
            hash: Hash::Blake2s,
            ..Suite::new(Pattern::Xx)
        },
        tagged: true,
    };
    attack_every_record("noise xx blake2s", carrier).await;
}

/// A side that has said its last word still listens, as closing connections do.
#[tokio::test(start_paused = true)]
async fn a_bad_record_behind_our_own_close_is_an_error_and_no_panic() {
    panics::count();
    for carrier in [Carrier::Tls, Carrier::noise(Pattern::Ik)] {
        let (parties, script) = (Parties::new(), Script::new(carrier));
        let recording = record(carrier, &parties, &script).await;
        let attack = Attack {
            direction: Direction::ToServer,
            index: recording.prelude(Direction::ToServer),
            manipulation: Manipulation::Flip { byte: 30, bit: 0 },
        };
        let (near, proxy_near) = duplex(1 << 20);
        let (proxy_far, far) = duplex(1 << 20);
        let wire = Wire::default();
        let client = async {
            let mut channel = carrier.connect(&parties, near).await.expect("open");
            // The server's close comes first.
            assert_eq!(channel.read(&mut [0; 8]).await.expect("closed well"), 0);
            channel.write_all(b"and yet").await.expect("open");
            channel.flush().await.expect("open");
            channel
        };
        let server = async {
            let mut channel = carrier.accept(&parties, far).await.expect("open");
            channel.shutdown().await.expect("open");
            channel.read(&mut [0; 8]).await.expect_err("changed");
        };
        let framing = carrier.framing();
        let relayed = relay(proxy_near, proxy_far, framing, Some(attack), wire.clone());
        tokio::join!(async { drop(client.await) }, server, relayed);
        assert!(wire.was_reached());
    }
    panics::assert_none();
}

/// Every bit of a tagged first frame: refused before any answer.
#[tokio::test(start_paused = true)]
async fn every_flipped_bit_of_a_tagged_first_frame_is_refused_without_a_word() {
    panics::count();
    let parties = Parties::new();
    let limits = Limits::default();
    for pattern in [Pattern::Xx, Pattern::Ik, Pattern::Kk] {
        let carrier = Carrier::noise(pattern);
        let recording = record(carrier, &parties, &Script::new(carrier)).await;
        let first = &recording.to_server[0];
        let mut by_tag = 0;
        for bit in 0..first.len() * 8 {
            let mut frame = first.clone();
            frame[bit / 8] ^= 1 << (bit % 8);
            let (mut near, far) = duplex(frame.len());
            near.write_all(&frame).await.expect("room");
            near.shutdown().await.expect("open");
            let acceptance = Carrier::acceptance(&parties);
            let server = &parties.server;
            let refused = NoiseChannel::accept(server, &acceptance, far, ORIGIN, &limits).await;
            let Err(error) = refused else {
                panic!("{pattern:?} bit {bit}: accepted");
            };
            if let ChannelError::Noise(HandshakeError::FirstMessageTag) = error {
                by_tag += 1;
            }
            let mut answer = Vec::new();
            near.read_to_end(&mut answer).await.expect("memory");
            assert_eq!(answer, b"", "{pattern:?} bit {bit}: {error}");
        }
        // Length and offer are looked at before the tag; the rest is the tag's.
        assert!(by_tag >= (first.len() - 2 - 8) * 8, "{by_tag}");
        eprintln!(
            "attacks: noise {pattern:?} first frame: {} bits refused, {by_tag} by the tag",
            first.len() * 8
        );
    }
    panics::assert_none();
}
