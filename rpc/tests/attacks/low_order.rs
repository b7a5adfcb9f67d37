//! Keys under which everybody knows the secret, or everybody can sign, put in
//! wherever a key travels.

use sealmoot_crypto::digest::{MacKey, sha256};
use sealmoot_crypto::secret::SecretArray;
use sealmoot_rpc::channel::{
    ChannelError, INTRODUCTION_BYTES, IntroductionRefused, NoiseChannel, TlsChannel,
};
use sealmoot_rpc::noise::{
    Acceptance, HandshakeError, Hash, Hybrid, Options, Pattern, Suite, Target,
};
use sealmoot_rpc::{ALPN, Limits};
use tokio::io::duplex;

use super::hostile::Hostile;
use super::panics;
use super::proxy::{Attack, Direction, Framing, Manipulation, Wire, relay};
use super::session::{Carrier, End, ORIGIN, Parties, Script, run};
use super::tls_hello::{Hello, X25519, X25519_MLKEM768};
use crate::common::raw_server;

fn unhex(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).expect("ASCII");
        *byte = u8::from_str_radix(digits, 16).expect("hex");
    }
    bytes
}

/// X25519: of low order on the curve or its twist, from Bernstein's list at
/// cr.yp.to/ecdh.html, with those that are not reduced; each also with the top
/// bit, which X25519 ignores.
fn agreement_points() -> Vec<[u8; 32]> {
    [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ]
    .into_iter()
    .flat_map(|text| {
        let point = unhex(text);
        let mut high = point;
        high[31] |= 0x80;
        [point, high]
    })
    .collect()
}

/// Ed25519: every encoding of the eight points of small order ("Taming the many
/// EdDSAs", 2020, table 6), the eight canonical ones first.
fn signature_points() -> Vec<[u8; 32]> {
    [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ]
    .into_iter()
    .map(unhex)
    .collect()
}

fn suites() -> Vec<Suite> {
    let mut all = Vec::new();
    for pattern in [Pattern::Xx, Pattern::Ik, Pattern::Kk] {
        for hybrid in [Hybrid::MlKem768, Hybrid::Off] {
            all.push(Suite {
                pattern,
                hash: Hash::Sha256,
                hybrid,
            });
        }
    }
    all
}

/// The initiator's ephemeral, with a tag that fits.
#[tokio::test(start_paused = true)]
async fn a_noise_server_refuses_an_ephemeral_of_low_order_without_a_word() {
    panics::count();
    for suite in suites() {
        for point in agreement_points() {
            let rewriting = move |frame: &[u8]| {
                let mut frame = frame.to_vec();
                frame[10..42].copy_from_slice(&point);
                let tag = frame.len() - 16;
                let label = b"sealmoot noise first message 1";
                let responder = Parties::new().server.static_key().public();
                let key = sha256(&[&label[..], responder.as_bytes()].concat());
                let key = MacKey::from_secret(&SecretArray::from_bytes(key));
                let fits = key.tag(&[&frame[2..tag]]);
                frame[tag..].copy_from_slice(&fits[..16]);
                frame
            };
            let outcome = put_in(suite, Direction::ToServer, rewriting).await;
            assert!(
                matches!(
                    outcome.server.refusal(),
                    Some(ChannelError::Noise(HandshakeError::NotContributory))
                ),
                "{suite} {point:02x?}: {:?}",
                outcome.server.end
            );
            assert_eq!(outcome.wire.count(Direction::ToClient), 0, "it answered");
        }
    }
    panics::assert_none();
}

/// The responder's ephemeral.
#[tokio::test(start_paused = true)]
async fn a_noise_client_refuses_an_ephemeral_of_low_order_without_a_word() {
    panics::count();
    for suite in suites() {
        for point in agreement_points() {
            let rewriting = move |frame: &[u8]| {
                let mut frame = frame.to_vec();
                frame[2..34].copy_from_slice(&point);
                frame
            };
            let outcome = put_in(suite, Direction::ToClient, rewriting).await;
            assert!(
                matches!(
                    outcome.client.refusal(),
                    Some(ChannelError::Noise(HandshakeError::NotContributory))
                ),
                "{suite} {point:02x?}: {:?}",
                outcome.client.end
            );
            assert_eq!(
                outcome.wire.count(Direction::ToServer),
                1,
                "a message under a key that everybody knows"
            );
        }
    }
    panics::assert_none();
}

async fn put_in(
    suite: Suite,
    direction: Direction,
    rewriting: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static,
) -> super::session::Outcome {
    let carrier = Carrier::Noise {
        suite,
        tagged: true,
    };
    let attack = Attack {
        direction,
        index: 0,
        manipulation: Manipulation::rewrite("low order", rewriting),
    };
    let outcome = run(
        carrier,
        &Parties::new(),
        &Script::new(carrier),
        Some(attack),
    )
    .await;
    assert!(outcome.wire.was_reached());
    for side in [&outcome.client, &outcome.server] {
        assert!(matches!(side.end, End::Refused(_)), "{:?}", side.end);
        assert_eq!(side.received, b"");
    }
    outcome
}

/// Where a client's share of low order is put.
#[derive(Clone, Copy, Debug)]
enum Share {
    /// The X25519 half of the hybrid's.
    Half,
    /// X25519's own, chosen because the hybrid is gone.
    Own,
}

/// The alert illegal_parameter, fatal, in clear.
const ILLEGAL_PARAMETER: &[u8] = &[21, 3, 3, 0, 2, 2, 47];

#[tokio::test(start_paused = true)]
async fn a_tls_server_refuses_a_share_of_low_order_and_sends_nothing_under_it() {
    panics::count();
    for share in [Share::Half, Share::Own] {
        for point in agreement_points() {
            let rewriting = move |record: &[u8]| {
                let mut hello = Hello::parse(record);
                let mut shares = hello.shares();
                if matches!(share, Share::Own) {
                    hello.set_groups(&[X25519]);
                    shares.retain(|(group, _)| *group == X25519);
                }
                let (_, bytes) = &mut shares[0];
                let start = bytes.len() - 32;
                bytes[start..].copy_from_slice(&point);
                hello.set_shares(&shares);
                hello.encode()
            };
            let attack = Attack {
                direction: Direction::ToServer,
                index: 0,
                manipulation: Manipulation::rewrite("low order", rewriting),
            };
            let script = Script::new(Carrier::Tls);
            let outcome = run(Carrier::Tls, &Parties::new(), &script, Some(attack)).await;
            assert!(
                matches!(outcome.server.refusal(), Some(ChannelError::Tls(_))),
                "{share:?} {point:02x?}: {:?}",
                outcome.server.end
            );
            let sent = outcome.wire.records(Direction::ToClient);
            assert_eq!(sent, [ILLEGAL_PARAMETER], "{share:?} {point:02x?}");
            assert!(outcome.client.refusal().is_some());
            assert_eq!(outcome.server.received, b"");
        }
    }
    panics::assert_none();
}

#[tokio::test(start_paused = true)]
async fn a_tls_client_refuses_a_share_of_low_order_and_sends_nothing_under_it() {
    panics::count();
    let script = Script::new(Carrier::Tls);
    for point in agreement_points() {
        let rewriting = move |record: &[u8]| {
            let mut hello = Hello::parse(record);
            let mut shares = hello.shares();
            let (_, bytes) = &mut shares[0];
            let start = bytes.len() - 32;
            bytes[start..].copy_from_slice(&point);
            hello.set_shares(&shares);
            hello.encode()
        };
        let attack = || Attack {
            direction: Direction::ToClient,
            index: 0,
            manipulation: Manipulation::rewrite("low order", rewriting),
        };
        // The half of the hybrid's, from a server of ours.
        let outcome = run(Carrier::Tls, &Parties::new(), &script, Some(attack())).await;
        let answer = Hello::parse(&outcome.wire.records(Direction::ToClient)[0]);
        assert_eq!(answer.shares()[0].0, X25519_MLKEM768);
        assert_refused_in_clear(outcome.client.refusal(), &outcome.wire, &point);
        assert!(outcome.server.refusal().is_some());

        // X25519's own, from a server without the hybrid.
        let wire = Wire::default();
        let limits = Limits::default();
        let client = Parties::new().client;
        let (near, proxy_near) = duplex(1 << 20);
        let (proxy_far, far) = duplex(1 << 20);
        let server = async { raw_server(&[ALPN]).accept(far).await.is_err() };
        let (opened, server_refused, ()) = tokio::join!(
            async {
                TlsChannel::connect(&client, near, ORIGIN, &limits)
                    .await
                    .err()
            },
            server,
            relay(
                proxy_near,
                proxy_far,
                Framing::Tls,
                Some(attack()),
                wire.clone()
            ),
        );
        let answer = Hello::parse(&wire.records(Direction::ToClient)[0]);
        assert_eq!(answer.shares()[0].0, X25519);
        assert_refused_in_clear(opened.as_ref(), &wire, &point);
        assert!(server_refused);
    }
    panics::assert_none();
}

/// Behind its first message the client has sent an alert in clear and nothing
/// else, but perhaps the empty sign of the change of keys.
fn assert_refused_in_clear(refusal: Option<&ChannelError>, wire: &Wire, point: &[u8; 32]) {
    assert!(
        matches!(refusal, Some(ChannelError::Tls(_))),
        "{point:02x?}: {refusal:?}"
    );
    let mut sent = wire.records(Direction::ToServer).split_off(1);
    sent.retain(|record| record != &[20, 3, 3, 0, 1, 1]);
    assert_eq!(sent, [ILLEGAL_PARAMETER], "{point:02x?}");
}

/// With R the neutral point and S zero, lenient verifiers take this signature
/// under such a key over every message, or over one in eight.
fn forged(point: &[u8; 32]) -> [u8; INTRODUCTION_BYTES] {
    let mut bytes = [0; INTRODUCTION_BYTES];
    bytes[0] = 1;
    bytes[1..33].copy_from_slice(point);
    bytes[33] = 1;
    bytes
}

fn is_weak(error: Option<&ChannelError>) -> bool {
    matches!(
        error,
        Some(ChannelError::Introduction(IntroductionRefused::Key))
    )
}

#[tokio::test(start_paused = true)]
async fn an_introduction_with_a_key_of_small_order_is_refused_by_both_sides() {
    panics::count();
    let parties = Parties::new();
    let limits = Limits::default();
    let responder = parties.server.static_key().public();
    let target = Target::Ik { responder };
    for point in signature_points() {
        // From a server.
        let (near, far) = duplex(1 << 20);
        let attack = async {
            let key = parties.server.static_key();
            let mut hostile = Hostile::respond(key, Acceptance::default(), far)
                .await
                .expect("agreed");
            hostile.say(&forged(&point)).await;
            hostile.hear().await
        };
        let options = Options::default();
        let connect = async {
            NoiseChannel::connect(&parties.client, &target, &options, near, ORIGIN, &limits)
                .await
                .err()
        };
        let (error, heard) = tokio::join!(connect, attack);
        assert!(is_weak(error.as_ref()), "{point:02x?}: {error:?}");
        assert_eq!(heard, None, "the client introduced itself");

        // From a client.
        let (near, far) = duplex(1 << 20);
        let attack = async {
            let key = parties.client.static_key();
            let mut hostile = Hostile::initiate(key, &target, near).await.expect("agreed");
            hostile.say(&forged(&point)).await;
            hostile.say(b"a call").await;
        };
        let acceptance = Acceptance::default();
        let (opened, ()) = tokio::join!(
            NoiseChannel::accept(&parties.server, &acceptance, far, ORIGIN, &limits),
            attack,
        );
        let error = opened.err();
        assert!(is_weak(error.as_ref()), "{point:02x?}: {error:?}");
    }
    panics::assert_none();
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_introduction_with_a_key_of_small_order_is_refused_by_both_sides() {
    use sealmoot_rpc::channel::{AllowedUsers, UNIX_GREETING_BYTES, UnixChannel};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    let parties = Parties::new();
    let limits = Limits::default();
    let users = AllowedUsers::own();
    let mut greeting = [7; UNIX_GREETING_BYTES];
    greeting[..4].copy_from_slice(b"SMU\x01");
    for point in signature_points() {
        let (near, mut hostile) = UnixStream::pair().expect("sockets");
        hostile.write_all(&greeting).await.expect("open");
        hostile.write_all(&forged(&point)).await.expect("open");
        let opened = UnixChannel::connect(&parties.client, near, &users, &limits).await;
        assert!(is_weak(opened.as_ref().err()), "{point:02x?}: {opened:?}");
        let mut heard = Vec::new();
        hostile.read_to_end(&mut heard).await.expect("closed");
        assert_eq!(heard.len(), UNIX_GREETING_BYTES, "it introduced itself");

        let (mut hostile, far) = UnixStream::pair().expect("sockets");
        hostile.write_all(&greeting).await.expect("open");
        hostile.write_all(&forged(&point)).await.expect("open");
        let opened = UnixChannel::accept(&parties.server, far, &users, &limits).await;
        assert!(is_weak(opened.as_ref().err()), "{point:02x?}: {opened:?}");
    }
}
