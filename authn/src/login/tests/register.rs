//! Registering passwords for delegates: for whom a node does its half, and how often.

use super::*;
use crate::delegation::Chain;
use crate::delegation::tests::{revoked, terms};
use crate::fetch::Prover;
use crate::opaque::ClientRegistration;
use crate::roots::Roots;
use crate::statement::Delegation;

/// Dana, a delegate of the root, from 10 until 10,000 unless it is changed.
struct Delegate {
    key: SigningKey,
    chain: Chain,
}

impl Delegate {
    fn of(world: &World, change: impl FnOnce(&mut Delegation)) -> Self {
        let (key, root) = (key(), &world.fixture.root);
        let mut delegation = terms("dana", &key, 5);
        delegation.expires_ms = 10_000;
        change(&mut delegation);
        let chain = Chain::issue(
            None,
            root,
            &Roots::sole(root.verifying_key()),
            delegation,
            1,
        );
        Self {
            key,
            chain: chain.expect("issued"),
        }
    }

    /// Somebody whom this delegate delegates to.
    fn below(&self, world: &World, name: &str, serial: u64) -> Self {
        let root = world.fixture.root.verifying_key();
        let key = key();
        let mut delegation = terms(name, &key, serial);
        delegation.expires_ms = 10_000;
        let chain = Chain::issue(
            Some(&self.chain),
            &self.key,
            &Roots::sole(root),
            delegation,
            1,
        );
        Self {
            key,
            chain: chain.expect("issued"),
        }
    }

    fn prover(&self, world: &World) -> Prover {
        let key = SigningKey::from_seed(&self.key.to_seed());
        let root = world.fixture.root.verifying_key();
        Prover::new(key, Roots::sole(root), Some(self.chain.clone()))
    }
}

async fn node(world: &World, limits: ThrottleLimits) -> (ServerHandle, Connection) {
    let root = world.fixture.root.verifying_key();
    let service = world.throttled(0, limits);
    let service = service.registering_for_delegates_of(Roots::sole(root));
    connected(&world.fixture.nodes[0], service, &key()).await
}

async fn register(
    connection: &Connection,
    prover: &Prover,
    user: &str,
    message: &[u8],
) -> Result<RegisterReply, Status> {
    let peer = connection.peer();
    let request = RegisterRequest {
        user: user.to_owned(),
        message: Bytes::copy_from_slice(message),
        proof: prover.prove(&peer.key_id(), peer.binding()).into(),
    };
    LoginClient::new(connection.clone())
        .register(request, PATIENCE)
        .await
}

fn first_message() -> (ClientRegistration, [u8; 32]) {
    ClientRegistration::start(b"pw").expect("random")
}

#[tokio::test]
async fn a_node_does_its_half_for_a_delegates_own_names() {
    let world = World::new();
    let dana = Delegate::of(&world, |_| ());
    let (_server, connection) = node(&world, ThrottleLimits::default()).await;
    let (client, message) = first_message();
    let reply = register(&connection, &dana.prover(&world), "bob", &message).await;
    let reply = reply.expect("evaluated");
    // The same as the realm's own machine computes, whatever was blinded.
    let (realm, bob) = (world.fixture.realm(), name("bob"));
    let own = world.secrets.answer_registration(&realm, &bob, &message);
    assert_eq!(reply.message, own.expect("an answer")[..]);
    let stretching = Stretching::new(CHEAP).expect("admitted");
    let finished = client.finish(&realm, &bob, stretching, &reply.message);
    assert!(finished.is_ok());
}

#[tokio::test]
async fn nobody_else_and_no_other_name_gets_an_evaluation() {
    let world = World::new();
    let dana = Delegate::of(&world, |_| ());
    let (_server, connection) = node(&world, ThrottleLimits::default()).await;
    let (_, message) = first_message();
    let of = |key: &SigningKey, chain: Option<Chain>| {
        let root = world.fixture.root.verifying_key();
        Prover::new(
            SigningKey::from_seed(&key.to_seed()),
            Roots::sole(root),
            chain,
        )
    };
    let late = Delegate::of(&world, |delegation| delegation.expires_ms = NOW_MS);
    let early = Delegate::of(&world, |delegation| delegation.valid_from_ms = NOW_MS + 1);
    let without_users = Delegate::of(&world, |delegation| delegation.powers.users = false);
    let cases = [
        ("a user of the root", dana.prover(&world), "alice"),
        ("a disabled one", dana.prover(&world), "gone"),
        ("a deleted one", dana.prover(&world), "left"),
        ("the delegate's own name", dana.prover(&world), "dana"),
        ("a reserved name", dana.prover(&world), "root"),
        ("no name", dana.prover(&world), "No Name"),
        ("an expired delegation", late.prover(&world), "bob"),
        ("one that does not hold yet", early.prover(&world), "bob"),
        ("one without users", without_users.prover(&world), "bob"),
        ("the root", of(&world.fixture.root, None), "bob"),
        ("a stranger", of(&key(), None), "bob"),
        (
            "a stolen chain",
            of(&key(), Some(dana.chain.clone())),
            "bob",
        ),
    ];
    for (what, prover, user) in cases {
        let refused = register(&connection, &prover, user, &message).await;
        let status = refused.expect_err(what);
        assert_eq!(status.code(), Code::PermissionDenied, "{what}: {status}");
    }
    // A proof of another channel.
    let (_other, elsewhere) = node(&world, ThrottleLimits::default()).await;
    let peer = elsewhere.peer();
    let request = RegisterRequest {
        user: "bob".to_owned(),
        message: Bytes::copy_from_slice(&message),
        proof: dana
            .prover(&world)
            .prove(&peer.key_id(), peer.binding())
            .into(),
    };
    let client = LoginClient::new(connection.clone());
    let relayed = client.register(request, PATIENCE).await;
    assert_eq!(relayed.expect_err("relayed").code(), Code::PermissionDenied);
    // Revoked.
    let record = revoked(&world.fixture.root, 1, &[(&[5], u64::MAX)]);
    let taken = {
        let mut users = world.users.write().unwrap_or_else(PoisonError::into_inner);
        users.apply_signed(record.into())
    };
    assert!(taken);
    let refused = register(&connection, &dana.prover(&world), "bob", &message).await;
    assert_eq!(refused.expect_err("revoked").code(), Code::PermissionDenied);
}

#[tokio::test]
async fn what_is_no_blinded_password_is_refused() {
    let world = World::new();
    let dana = Delegate::of(&world, |_| ());
    let (_server, connection) = node(&world, ThrottleLimits::default()).await;
    let (_, message) = first_message();
    for malformed in [&message[..31], &[], &[0; 32], &[0xff; 32], &[1; 33]] {
        let refused = register(&connection, &dana.prover(&world), "bob", malformed).await;
        let status = refused.expect_err("malformed");
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
}

#[tokio::test]
async fn one_name_is_evaluated_as_seldom_as_a_proven_key_may_try() {
    let world = World::new();
    let dana = Delegate::of(&world, |_| ());
    let limits = ThrottleLimits::default();
    let (_server, connection) = node(&world, limits).await;
    let (_, message) = first_message();
    for _ in 0..limits.account_with_key.free {
        let reply = register(&connection, &dana.prover(&world), "bob", &message).await;
        reply.expect("free");
    }
    let status = register(&connection, &dana.prover(&world), "bob", &message).await;
    let status = status.expect_err("too often");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.detail::<RetryAfter>().is_some());
    // Who delegates further has no more of one name by it.
    let erin = dana.below(&world, "erin", 1);
    let shared = register(&connection, &erin.prover(&world), "bob", &message).await;
    assert_eq!(shared.expect_err("shared").code(), Code::ResourceExhausted);
    let other = register(&connection, &erin.prover(&world), "carl", &message).await;
    other.expect("another name");
}

#[tokio::test]
async fn a_delegate_and_all_below_share_what_there_is_in_an_hour() {
    let world = World::new();
    let dana = Delegate::of(&world, |_| ());
    let limits = ThrottleLimits::default();
    let (_server, connection) = node(&world, limits).await;
    let (_, message) = first_message();
    let erin = dana.below(&world, "erin", 1);
    for number in 0..limits.delegate.free {
        let by = if number % 2 == 0 { &dana } else { &erin };
        let user = format!("u{number}");
        let reply = register(&connection, &by.prover(&world), &user, &message).await;
        reply.unwrap_or_else(|status| panic!("{number}: {status}"));
    }
    for by in [&dana, &erin, &dana.below(&world, "fay", 2)] {
        let refused = register(&connection, &by.prover(&world), "one-more", &message).await;
        let status = refused.expect_err("too many");
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    }
    let other = Delegate::of(&world, |delegation| {
        delegation.serial = 6;
    });
    let reply = register(&connection, &other.prover(&world), "one-more", &message).await;
    reply.expect("another delegate of the root");
}
