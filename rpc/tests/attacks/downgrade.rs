//! Nobody talks two peers into less than both can do.

use std::time::Instant;

use sealmoot_crypto::digest::{MacKey, sha256};
use sealmoot_crypto::secret::SecretArray;
use sealmoot_rpc::channel::{Channel, ChannelError, NoiseChannel, TlsChannel};
use sealmoot_rpc::noise::{
    Acceptance, AgreementPublic, HandshakeError, HandshakeRandomness, Hash, Hybrid, OFFER_BYTES,
    Pattern, Responder, Suite,
};
use sealmoot_rpc::{ALPN, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::panics;
use super::proxy::{Attack, Direction, Framing, Manipulation, Wire, relay};
use super::session::{
    Carrier, End, ORIGIN, Outcome, Parties, Script, converse, record, run, signing_key,
};
use super::tls_hello::{
    self, Hello, SUPPORTED_VERSIONS, TLS_1_2, TLS_1_3, X25519, X25519_MLKEM768,
};
use crate::common::raw_server;

/// A session with one record rewritten. Nothing may come of it.
async fn refused(
    carrier: Carrier,
    direction: Direction,
    what: &'static str,
    rewriting: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static,
) -> Outcome {
    let attack = Attack {
        direction,
        index: 0,
        manipulation: Manipulation::rewrite(what, rewriting),
    };
    let outcome = run(
        carrier,
        &Parties::new(),
        &Script::new(carrier),
        Some(attack),
    )
    .await;
    assert!(outcome.wire.was_reached(), "{what}");
    for side in [&outcome.client, &outcome.server] {
        assert!(
            matches!(side.end, End::Refused(_) | End::Silence),
            "{carrier:?} {what}: {:?}",
            side.end
        );
        assert_eq!(side.received, b"", "{what}");
    }
    outcome
}

fn edit(change: impl Fn(&mut Hello) + Send + Sync + 'static) -> impl Fn(&[u8]) -> Vec<u8> {
    move |record| {
        let mut hello = Hello::parse(record);
        assert_eq!(hello.encode(), record, "taken apart without loss");
        change(&mut hello);
        hello.encode()
    }
}

/// The group that the ServerHello on the wire names.
fn group_of(wire: &Wire) -> u16 {
    let records = wire.records(Direction::ToClient);
    let [(group, _)] = &Hello::parse(&records[0]).shares()[..] else {
        panic!("one share");
    };
    *group
}

#[tokio::test(start_paused = true)]
async fn two_of_ours_agree_on_the_hybrid_and_on_tls_13() {
    let outcome = run(
        Carrier::Tls,
        &Parties::new(),
        &Script::new(Carrier::Tls),
        None,
    )
    .await;
    assert_eq!(group_of(&outcome.wire), X25519_MLKEM768);
    let hello = Hello::parse(&outcome.wire.records(Direction::ToServer)[0]);
    assert_eq!(hello.groups(), [X25519_MLKEM768, X25519]);
    // TLS 1.3 and nothing else: no older version can be chosen.
    assert_eq!(hello.extension(SUPPORTED_VERSIONS), Some(&[2, 3, 4][..]));
    let answer = Hello::parse(&outcome.wire.records(Direction::ToClient)[0]);
    assert_eq!(answer.extension(SUPPORTED_VERSIONS), Some(&TLS_1_3[..]));
}

#[tokio::test(start_paused = true)]
async fn a_tls_client_is_not_talked_into_another_version() {
    panics::count();
    let tls = Carrier::Tls;
    for versions in [
        &[2, 3, 3][..],
        &[2, 3, 2],
        &[4, 3, 3, 3, 4],
        &[4, 3, 4, 3, 3],
    ] {
        refused(tls, Direction::ToServer, "versions of the client", {
            let versions = versions.to_vec();
            edit(move |hello| hello.set(SUPPORTED_VERSIONS, versions.clone()))
        })
        .await;
    }
    let without = |hello: &mut Hello| hello.remove(SUPPORTED_VERSIONS);
    refused(
        tls,
        Direction::ToServer,
        "no versions of the client",
        edit(without),
    )
    .await;
    refused(
        tls,
        Direction::ToClient,
        "no version of the server",
        edit(without),
    )
    .await;
    for version in [[3, 3], [3, 2], [3, 1], [3, 0], [3, 5], [0x7f, 28]] {
        let to = move |hello: &mut Hello| hello.set(SUPPORTED_VERSIONS, version.to_vec());
        refused(tls, Direction::ToClient, "version of the server", edit(to)).await;
    }
    panics::assert_none();
}

/// A server that answers as TLS 1.2 does, with and without the mark by which a
/// server that could do better says so (RFC 8446, section 4.1.3).
#[tokio::test(start_paused = true)]
async fn a_server_that_answers_tls_12_is_refused() {
    panics::count();
    for mark in [&b""[..], b"DOWNGRD\x01", b"DOWNGRD\x00"] {
        // ECDHE-ECDSA-AES256-GCM, ECDHE-RSA-AES256-GCM, RSA-AES128-CBC, and one
        // of TLS 1.3.
        for suite in [0xc02c_u16, 0xc030, 0x002f, 0x1302] {
            let answer = edit(move |hello| {
                let fixed = &mut hello.fixed;
                fixed[..2].copy_from_slice(&TLS_1_2);
                fixed[34 - mark.len()..34].copy_from_slice(mark);
                let end = fixed.len();
                fixed[end - 3..end - 1].copy_from_slice(&suite.to_be_bytes());
                hello.extensions.clear();
            });
            let outcome = refused(Carrier::Tls, Direction::ToClient, "TLS 1.2", answer).await;
            // It refuses by itself, and says nothing under any key.
            assert!(
                matches!(outcome.client.refusal(), Some(ChannelError::Tls(_))),
                "{:?}",
                outcome.client.end
            );
            only_in_clear(&outcome.wire.records(Direction::ToServer)[1..]);
        }
    }
    panics::assert_none();
}

/// change_cipher_spec and alerts in clear, nothing else.
fn only_in_clear(records: &[Vec<u8>]) {
    for record in records {
        assert!(
            matches!(record[0], 20 | 21),
            "a record of type {} left",
            record[0]
        );
        assert!(record.len() <= 7);
    }
}

#[tokio::test(start_paused = true)]
async fn a_tls_client_is_not_talked_out_of_the_hybrid() {
    panics::count();
    let tls = Carrier::Tls;
    let without_share = |hello: &mut Hello| {
        let mut shares = hello.shares();
        shares.retain(|(group, _)| *group != X25519_MLKEM768);
        assert_eq!(shares.len(), 1, "X25519 beside the hybrid");
        hello.set_shares(&shares);
    };
    let without_group = |hello: &mut Hello| hello.set_groups(&[X25519]);
    let without_both = move |hello: &mut Hello| {
        without_group(hello);
        without_share(hello);
    };
    let outcome = refused(
        tls,
        Direction::ToServer,
        "strip the hybrid",
        edit(without_both),
    )
    .await;
    // The server went along; the client's keys follow from what it had sent.
    assert_eq!(group_of(&outcome.wire), X25519);
    assert!(
        matches!(outcome.client.refusal(), Some(ChannelError::Tls(_))),
        "{:?}",
        outcome.client.end
    );
    refused(
        tls,
        Direction::ToServer,
        "strip the group",
        edit(without_group),
    )
    .await;
    refused(
        tls,
        Direction::ToServer,
        "strip the share",
        edit(without_share),
    )
    .await;
    // The order of preference is part of it.
    let reversed = |hello: &mut Hello| {
        hello.set_groups(&[X25519, X25519_MLKEM768]);
        let mut shares = hello.shares();
        shares.reverse();
        hello.set_shares(&shares);
    };
    refused(
        tls,
        Direction::ToServer,
        "reverse the groups",
        edit(reversed),
    )
    .await;
    // A server's share of the other group, as long as it should be.
    let other_group = |hello: &mut Hello| {
        let (_, share) = hello.shares().remove(0);
        hello.set_shares(&[(X25519, share[1088..].to_vec())]);
    };
    refused(tls, Direction::ToClient, "another share", edit(other_group)).await;
    let unoffered = |hello: &mut Hello| {
        let (_, share) = hello.shares().remove(0);
        hello.set_shares(&[(0x0017, share)]);
    };
    refused(
        tls,
        Direction::ToClient,
        "an unoffered group",
        edit(unoffered),
    )
    .await;
    panics::assert_none();
}

#[tokio::test(start_paused = true)]
async fn whatever_else_a_hello_says_cannot_be_taken_away() {
    panics::count();
    let recording = record(Carrier::Tls, &Parties::new(), &Script::new(Carrier::Tls)).await;
    let mut count = 0;
    for direction in Direction::BOTH {
        let hello = Hello::parse(&recording.to(direction)[0]);
        for (kind, _) in hello.extensions {
            let remove = edit(move |hello| hello.remove(kind));
            refused(Carrier::Tls, direction, "an extension is removed", remove).await;
            count += 1;
        }
    }
    let other_protocol = |hello: &mut Hello| hello.set(tls_hello::ALPN, b"\0\x03\x02h2".to_vec());
    let tls = Carrier::Tls;
    refused(
        tls,
        Direction::ToServer,
        "another protocol",
        edit(other_protocol),
    )
    .await;
    // The cipher suites: only the last of them.
    let one_suite = |hello: &mut Hello| {
        let start = 2 + 32 + 1 + usize::from(hello.fixed[34]);
        let bytes = usize::from(hello.fixed[start + 1]);
        let last = hello.fixed[start + bytes..start + 2 + bytes].to_vec();
        let suites = [&[0, 2], &last[..]].concat();
        hello.fixed.splice(start..start + 2 + bytes, suites);
    };
    refused(
        tls,
        Direction::ToServer,
        "one cipher suite",
        edit(one_suite),
    )
    .await;
    eprintln!(
        "attacks: tls hello: {} changes refused, 0 accepted",
        count + 2
    );
    panics::assert_none();
}

/// The order of groups is a preference: a lawful server that has X25519 alone
/// is spoken to. A recording of such a connection is open to whoever builds a
/// quantum computer. A client that will not have that needs a setting, which
/// does not exist today.
#[tokio::test(start_paused = true)]
async fn a_tls_server_without_the_hybrid_is_accepted_with_x25519_today() {
    let parties = Parties::new();
    let limits = Limits::default();
    let wire = Wire::default();
    let (near, proxy_near) = duplex(1 << 20);
    let (proxy_far, far) = duplex(1 << 20);
    let client = async {
        let opened = TlsChannel::connect(&parties.client, near, ORIGIN, &limits).await;
        let mut channel = opened.expect("accepted");
        assert_ne!(channel.peer_key(), signing_key(3).verifying_key());
        channel.write_all(b"hello").await.expect("open");
        channel.shutdown().await.expect("open");
    };
    let server = async {
        // rustls's own groups with ring: X25519, P-256, P-384.
        let opened = raw_server(&[ALPN]).accept(far).await;
        let mut heard = Vec::new();
        let mut stream = opened.expect("accepted");
        stream.read_to_end(&mut heard).await.expect("closed well");
        assert_eq!(heard, b"hello");
    };
    let proxy = relay(proxy_near, proxy_far, Framing::Tls, None, wire.clone());
    tokio::join!(client, server, proxy);
    assert_eq!(group_of(&wire), X25519);
}

// Noise.

/// The frame around another offer and message, with the tag that fits them.
fn framed(responder: &AgreementPublic, offer: &[u8], message: &[u8], tagged: bool) -> Vec<u8> {
    let mut body = [offer, message].concat();
    if tagged {
        let label = b"sealmoot noise first message 1";
        let key = sha256(&[&label[..], responder.as_bytes()].concat());
        let tag = MacKey::from_secret(&SecretArray::from_bytes(key)).tag(&[&body]);
        body.extend_from_slice(&tag[..16]);
    }
    let length = u16::try_from(body.len()).expect("short");
    [&length.to_be_bytes(), &body[..]].concat()
}

/// Offer and message of a frame, without its tag.
fn taken_apart(frame: &[u8]) -> ([u8; OFFER_BYTES], Vec<u8>) {
    let offer: [u8; OFFER_BYTES] = frame[2..10].try_into().expect("an offer");
    let tag = if offer[7] & 1 == 1 { 16 } else { 0 };
    (offer, frame[10..frame.len() - tag].to_vec())
}

fn carriers() -> Vec<Carrier> {
    let mut all = Vec::new();
    for pattern in [Pattern::Xx, Pattern::Ik, Pattern::Kk] {
        for hash in [Hash::Sha256, Hash::Blake2s] {
            for hybrid in [Hybrid::MlKem768, Hybrid::Off] {
                for tagged in [true, false] {
                    if !tagged && pattern != Pattern::Xx {
                        continue;
                    }
                    let suite = Suite {
                        pattern,
                        hash,
                        hybrid,
                    };
                    all.push(Carrier::Noise { suite, tagged });
                }
            }
        }
    }
    all
}

/// The server takes all suites, tagged or not. Every other value of every byte
/// of the offer, with the message as it was, or cut or filled to the length
/// that the offer asks for; with a tag that fits.
#[tokio::test(start_paused = true)]
async fn a_changed_offer_fails_even_where_both_offers_are_taken() {
    panics::count();
    let mut count = 0;
    let mut answered = 0;
    for carrier in carriers() {
        let Carrier::Noise { suite, tagged } = carrier else {
            unreachable!("made above")
        };
        let mut offers = Vec::new();
        // Pattern, hash, hybrid, flags: all that a server knows.
        for pattern in 1..=3 {
            for hash in 1..=2 {
                for hybrid in 0..=1 {
                    for flags in 0..=1 {
                        offers.push([b'S', b'M', b'N', 1, pattern, hash, hybrid, flags]);
                    }
                }
            }
        }
        // And some that it does not.
        for (place, value) in [
            (3, 0),
            (3, 2),
            (3, 255),
            (4, 0),
            (4, 4),
            (5, 0),
            (5, 3),
            (6, 2),
            (7, 3),
        ] {
            let mut offer = [b'S', b'M', b'N', 1, 1, 1, 1, 1];
            offer[place] = value;
            offers.push(offer);
        }
        for offer in offers {
            let own = [
                b'S',
                b'M',
                b'N',
                1,
                match suite.pattern {
                    Pattern::Xx => 1,
                    Pattern::Ik => 2,
                    Pattern::Kk => 3,
                },
                if suite.hash == Hash::Sha256 { 1 } else { 2 },
                u8::from(suite.hybrid == Hybrid::MlKem768),
                u8::from(tagged),
            ];
            if offer == own {
                continue;
            }
            let message_bytes = match (offer[4], offer[6]) {
                (1, 0) => 32,
                (1, _) => 1216,
                (2, 0) => 96,
                (2, _) => 1296,
                (_, 0) => 48,
                _ => 1248,
            };
            let outcome = refused(carrier, Direction::ToServer, "offer", move |frame| {
                let (was, mut message) = taken_apart(frame);
                assert_eq!(was, own, "drawn in DESIGN.md");
                message.resize(message_bytes, 0);
                let responder = Parties::new().server.static_key().public();
                framed(&responder, &offer, &message, offer[7] & 1 == 1)
            })
            .await;
            count += 1;
            answered += usize::from(outcome.wire.count(Direction::ToClient) > 0);
            // The server may answer in XX, where nothing is encrypted yet; the
            // client must not go on.
            assert_eq!(
                outcome.wire.count(Direction::ToServer),
                1,
                "{carrier:?} {offer:?}: the client went on"
            );
        }
    }
    assert!(answered > 0, "some of these reach the transcript");
    eprintln!("attacks: noise offer: {count} changes refused, {answered} of them by the client");
    panics::assert_none();
}

/// The tag's flag alone, from a server that asks for no tag.
#[tokio::test(start_paused = true)]
async fn the_tag_cannot_be_stripped() {
    let carrier = Carrier::noise(Pattern::Xx);
    let outcome = refused(carrier, Direction::ToServer, "strip the tag", |frame| {
        let (mut offer, message) = taken_apart(frame);
        offer[7] = 0;
        let responder = Parties::new().server.static_key().public();
        framed(&responder, &offer, &message, false)
    })
    .await;
    assert_eq!(outcome.wire.count(Direction::ToClient), 1, "it answered");
    assert!(
        matches!(
            outcome.client.refusal(),
            Some(ChannelError::Noise(HandshakeError::Decrypt))
        ),
        "{:?}",
        outcome.client.end
    );
}

async fn first_frame(carrier: Carrier) -> Vec<u8> {
    let recording = record(carrier, &Parties::new(), &Script::new(carrier)).await;
    recording.to_server[0].clone()
}

fn judged(acceptance: Acceptance, frame: &[u8]) -> Option<HandshakeError> {
    let responder = Responder::new(Parties::new().server.static_key(), acceptance);
    let randomness = HandshakeRandomness::generate().expect("random source");
    responder.accept(frame, randomness, Instant::now()).err()
}

#[tokio::test(start_paused = true)]
async fn another_version_of_the_offer_is_named_and_refused() {
    let frame = first_frame(Carrier::noise(Pattern::Ik)).await;
    let responder = Parties::new().server.static_key().public();
    for version in (0..=255).filter(|version| *version != 1) {
        let (mut offer, message) = taken_apart(&frame);
        offer[3] = version;
        let frame = framed(&responder, &offer, &message, true);
        assert_eq!(
            judged(Carrier::acceptance(&Parties::new()), &frame),
            Some(HandshakeError::UnknownVersion(version))
        );
    }
}

/// Lawful, whole, tagged, and not what the responder is told to take.
#[tokio::test(start_paused = true)]
async fn a_responder_that_takes_only_the_hybrid_refuses_a_lawful_initiator_without_it() {
    let parties = Parties::new();
    let limits = Limits::default();
    for carrier in carriers() {
        let Carrier::Noise { suite, tagged } = carrier else {
            unreachable!("made above")
        };
        let acceptance = Acceptance {
            suites: [Pattern::Xx, Pattern::Ik, Pattern::Kk]
                .map(Suite::new)
                .to_vec(),
            ..Carrier::acceptance(&parties)
        };
        let (near, far) = duplex(1 << 20);
        let (client, server) = tokio::join!(
            converse(carrier.connect(&parties, near), &[]),
            NoiseChannel::accept(&parties.server, &acceptance, far, ORIGIN, &limits),
        );
        let is_ours = suite == Suite::new(suite.pattern);
        if is_ours {
            assert!(server.is_ok(), "{suite} {tagged}");
            continue;
        }
        assert!(
            matches!(
                server,
                Err(ChannelError::Noise(HandshakeError::NotAccepted(refused))) if refused == suite
            ),
            "{suite}: {server:?}"
        );
        assert!(client.refusal().is_some());
    }
}

/// The defaults: XX and IK with the hybrid, tagged.
#[tokio::test(start_paused = true)]
async fn the_default_acceptance_is_the_strongest() {
    for carrier in carriers() {
        let Carrier::Noise { suite, tagged } = carrier else {
            unreachable!("made above")
        };
        let frame = first_frame(carrier).await;
        let refused = judged(Acceptance::default(), &frame);
        if tagged && suite == Suite::new(suite.pattern) && suite.pattern != Pattern::Kk {
            assert_eq!(refused, None);
        } else {
            assert_eq!(refused, Some(HandshakeError::NotAccepted(suite)));
        }
    }
}
