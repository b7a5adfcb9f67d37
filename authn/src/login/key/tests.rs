//! Logins by key: at a service, over connections, and against whoever stands between.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::channel::Identity;
use sealmoot_rpc::{
    Authorizer, CallContext, Candidate, Code, Connection, Connector, Limits, Peer, Refusal,
    Replies, Requests, Router, Server, ServerHandle, Status,
};

use super::client::Client;
use super::world::{NOW_MS, World, key, name, peer, peer_with, proof, prove};
use super::*;
use crate::client_key::ClientKey;
use crate::login::{LoginService, PROOF_WITHIN, SessionProof};
use crate::proto::prove_key_reply::Step as ReplyStep;
use crate::proto::prove_key_request::Step as RequestStep;
use crate::proto::{
    LogInReply, LogInRequest, Login, LoginClient, LoginServer, ProveKeyChallenge, ProveKeyOutcome,
    ProveKeyProof, ProveKeyReply, ProveKeyRequest, ProveKeyStart, RegisterReply, RegisterRequest,
};
use crate::roots::Roots;
use crate::session::LIFETIME_MS_MAX;
use crate::session::{SESSION_LIFETIME_MS, verify_session};
use crate::statement::Body;
use crate::users::tests::device_key;

const PATIENCE: Duration = Duration::from_secs(60);

struct Anyone;

impl Authorizer for Anyone {
    fn present(&self) -> Bytes {
        Bytes::new()
    }

    fn authorize(&self, _: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        Ok(Arc::new(()))
    }
}

async fn connected(
    node_key: &SigningKey,
    login: impl Login,
    session_key: &SigningKey,
) -> (ServerHandle, Connection) {
    let router = Router::new()
        .service(LoginServer::new(login))
        .expect("one service");
    let identity = Identity::new(node_key).expect("an identity");
    let server = Server::builder(identity, Arc::new(Anyone), router, Limits::default())
        .start()
        .expect("sound limits");
    let connector =
        Connector::new(session_key, Arc::new(Anyone), Limits::default()).expect("sound limits");
    let connection = connector
        .connect_memory(&server.door(), PATIENCE)
        .await
        .expect("admitted");
    (server, connection)
}

async fn log_in_as(
    world: &World,
    user: &str,
    key: &SigningKey,
    session_key: &SigningKey,
) -> Result<SessionProof, KeyLoginError> {
    let (_server, connection) =
        connected(&world.fixture.nodes[0], world.service(0), session_key).await;
    log_in_with_key(
        &connection,
        &Roots::sole(world.fixture.root.verifying_key()),
        &name(user),
        &ClientKey::Held(SigningKey::from_seed(&key.to_seed())),
        &session_key.verifying_key(),
        NOW_MS,
        PATIENCE,
    )
    .await
}

/// Runs alice's login at node 0 up to the proof, which `forge` makes.
fn outcome_of(
    world: &World,
    peer: &Peer,
    forge: impl FnOnce(&Client, &ProveKeyChallenge) -> ProveKeyProof,
) -> Result<ProveKeyOutcome, Status> {
    let service = world.service(0);
    let client = world.client(peer, 0, "alice", &world.alice);
    let (pending, challenge) = service
        .key_challenge(peer, &client.start(), NOW_MS)
        .expect("answered");
    service.key_outcome(pending, &forge(&client, &challenge), NOW_MS)
}

#[track_caller]
fn assert_refused(what: &str, outcome: Result<ProveKeyOutcome, Status>) {
    let status = outcome.expect_err(what);
    assert_eq!(status.code(), Code::Unauthenticated, "{what}");
    assert_eq!(status.message(), "wrong user or key", "{what}");
}

#[tokio::test]
async fn the_key_makes_a_session_that_the_cluster_believes() {
    let world = World::new();
    let session_key = key();
    for (user, key) in [("alice", &world.alice), ("bob", &world.bob)] {
        let proof = log_in_as(&world, user, key, &session_key).await;
        let proof = proof.expect("logged in");
        let users = world.users.read().unwrap_or_else(PoisonError::into_inner);
        let authenticated = verify_session(
            &world.fixture.roster(),
            &users,
            &proof.session,
            &proof.receipt,
            &session_key.verifying_key(),
            NOW_MS,
        )
        .expect("believed");
        assert_eq!(authenticated.user, name(user));
        assert_eq!(authenticated.user_key, key.verifying_key());
        assert_eq!(proof.expires_ms, NOW_MS + SESSION_LIFETIME_MS);
    }
}

#[tokio::test]
async fn every_user_and_key_that_may_not_is_refused_alike() {
    let world = World::new();
    world.change("bob", |user| user.keys[0].expires_ms = NOW_MS);
    let stranger = key();
    let mut told = Vec::new();
    for (user, key) in [
        ("alice", &stranger),
        ("alice", &world.bob),
        ("alice", &world.password),
        ("nobody", &world.alice),
        ("gone", &world.alice),
        ("left", &world.alice),
        ("bob", &world.bob),
        ("bob", &world.alice),
    ] {
        match log_in_as(&world, user, key, &super::world::key()).await {
            Err(KeyLoginError::Status(status)) => told.push(status),
            other => panic!("{user}: {other:?}"),
        }
    }
    assert_eq!(told[0].code(), Code::Unauthenticated);
    assert!(told.iter().all(|status| *status == told[0]), "{told:?}");
}

/// What a node says to these steps, to its end.
async fn said(connection: &Connection, steps: &[RequestStep]) -> (Vec<[usize; 2]>, Status) {
    let (mut requests, mut replies) = LoginClient::new(connection.clone())
        .prove_key(PATIENCE)
        .await
        .expect("room");
    let mut lengths = Vec::new();
    for step in steps {
        let step = Some(step.clone());
        // A node that has refused already takes nothing more.
        if requests.send(&ProveKeyRequest { step }).await.is_err() {
            break;
        }
        if lengths.is_empty() {
            match replies.next().await {
                Ok(reply) => lengths.push(length(reply)),
                Err(status) => return (lengths, status),
            }
        }
    }
    requests.finish();
    loop {
        match replies.next().await {
            Ok(reply) => lengths.push(length(reply)),
            Err(status) => return (lengths, status),
        }
    }
}

#[track_caller]
fn length(reply: Option<ProveKeyReply>) -> [usize; 2] {
    match reply.expect("it ended well").step.expect("a step") {
        ReplyStep::Challenge(challenge) => [challenge.nonce.len(), challenge.signature.len()],
        ReplyStep::Outcome(_) => panic!("nothing was proved"),
    }
}

#[tokio::test]
async fn whatever_is_wrong_the_node_says_the_same() {
    let world = World::new();
    let session_key = key();
    let (_server, connection) =
        connected(&world.fixture.nodes[0], world.service(0), &session_key).await;
    let begin = |user: &str, key: &[u8], nonce: usize| {
        RequestStep::Start(ProveKeyStart {
            user: user.to_owned(),
            key: Bytes::copy_from_slice(key),
            nonce: Bytes::from(vec![7; nonce]),
            lifetime_ms: 0,
        })
    };
    let proof = |length: usize| {
        RequestStep::Proof(ProveKeyProof {
            signature: Bytes::from(vec![9; length]),
        })
    };
    let id = *world.alice.verifying_key().key_id().as_bytes();
    let alice = || begin("alice", &id, 32);
    let nobody = || begin("nobody", &id, 32);

    let (lengths, refused) = said(&connection, &[alice(), proof(64)]).await;
    assert_eq!(lengths, [[NONCE_LENGTH, 64]]);
    assert_eq!(refused.code(), Code::Unauthenticated);
    for steps in [
        vec![nobody(), proof(64)],
        vec![begin("gone", &id, 32), proof(64)],
        vec![begin("left", &id, 32), proof(64)],
        vec![begin("alice", &[0; 32], 32), proof(64)],
        vec![begin("nobody", &[0; 32], 32), proof(64)],
        vec![alice()],
        vec![nobody()],
        vec![alice(), proof(0)],
        vec![alice(), proof(63)],
        vec![nobody(), proof(65)],
        vec![alice(), alice()],
        vec![alice(), nobody(), proof(64)],
    ] {
        let (lengths, status) = said(&connection, &steps).await;
        assert_eq!(lengths, [[NONCE_LENGTH, 64]], "{steps:?}");
        assert_eq!(status, refused, "{steps:?}");
    }
    for steps in [
        vec![],
        vec![proof(64)],
        vec![proof(64), alice()],
        vec![begin("", &id, 32)],
        vec![begin("Alice", &id, 32)],
        vec![begin(&"a".repeat(65), &id, 32)],
        vec![begin("alice", &[], 32)],
        vec![begin("alice", &id[..31], 32)],
        vec![begin("nobody", &[0; 33], 32)],
        vec![begin("alice", &id, 0)],
        vec![begin("alice", &id, 31)],
        vec![begin("nobody", &id, 33)],
    ] {
        let (lengths, status) = said(&connection, &steps).await;
        assert!(lengths.is_empty(), "{steps:?}");
        assert_eq!(status, refused, "{steps:?}");
    }
}

#[test]
fn an_honest_proof_is_taken() {
    let world = World::new();
    let peer = peer(1);
    let outcome = outcome_of(&world, &peer, |client, challenge| {
        prove(client, challenge, &world.alice)
    });
    assert!(outcome.is_ok());
}

#[test]
fn a_challenge_relayed_from_elsewhere_is_not_answered() {
    let world = World::new();
    let victim = peer(1);
    let victims_key = peer_with(&key(), 1);
    let other_channel = Peer::danger_assume(
        *victim.key(),
        ChannelBinding::from_bytes([2; 32]),
        sealmoot_rpc::channel::Origin::Memory,
        sealmoot_rpc::channel::Transport::Memory,
        Arc::new(()),
    );
    let other_realm = World::new();
    let client = world.client(&victim, 0, "alice", &world.alice);
    let answered = |service: &LoginService, at: &Peer| {
        let (_, challenge) = service
            .key_challenge(at, &client.start(), NOW_MS)
            .expect("answered");
        client.answer(&challenge).is_ok()
    };
    assert!(answered(&world.service(0), &victim));
    for (what, service, at) in [
        ("another node", world.service(1), &victim),
        ("another realm", other_realm.service(0), &victim),
        ("another channel", world.service(0), &other_channel),
        ("another session key", world.service(0), &victims_key),
    ] {
        assert!(!answered(&service, at), "{what}");
    }
}

/// Even if a client signed for whoever asked, its proof would be good nowhere else.
#[test]
fn a_proof_relayed_from_elsewhere_is_refused() {
    let world = World::new();
    let peer = peer(1);
    type Change = fn(&mut Transcript);
    let changes: [(&str, Change); 10] = [
        ("another realm", |said| {
            said.realm = RealmId::from_bytes([9; 32])
        }),
        ("another node", |said| {
            said.node = KeyId::from_bytes([9; 32])
        }),
        ("another channel", |said| {
            said.channel = ChannelBinding::from_bytes([9; 32]);
        }),
        ("another session key", |said| {
            said.session = KeyId::from_bytes([9; 32]);
        }),
        ("another user", |said| said.user = name("bob")),
        ("another key", |said| said.key = KeyId::from_bytes([9; 32])),
        ("another lifetime", |said| said.lifetime_ms = 1),
        ("another nonce of the client", |said| {
            said.client_nonce[0] ^= 1
        }),
        ("another nonce of the node", |said| said.node_nonce[31] ^= 1),
        ("another expiry", |said| said.expires_ms += 1),
    ];
    for (what, change) in changes {
        let outcome = outcome_of(&world, &peer, |client, challenge| {
            let mut said = transcript(client, challenge);
            change(&mut said);
            let message = said.proof(&node_signature(challenge));
            proof(&world.alice.sign(PROOF_DOMAIN, &message))
        });
        assert_refused(what, outcome);
    }
    let outcome = outcome_of(&world, &peer, |client, challenge| {
        let message = transcript(client, challenge).proof(&node_signature(challenge));
        proof(&world.alice.sign(PROOF_DOMAIN, &message))
    });
    assert!(outcome.is_ok(), "nothing was changed");
}

fn transcript(client: &Client, challenge: &ProveKeyChallenge) -> Transcript {
    Transcript {
        node_nonce: (&*challenge.nonce).try_into().expect("32 bytes"),
        expires_ms: challenge.expires_ms,
        ..client.transcript.clone()
    }
}

fn node_signature(challenge: &ProveKeyChallenge) -> Signature {
    Signature::from_bytes((&*challenge.signature).try_into().expect("64 bytes"))
}

#[test]
fn a_replayed_proof_is_refused() {
    let world = World::new();
    let (service, peer) = (world.service(0), peer(1));
    let client = world.client(&peer, 0, "alice", &world.alice);
    let begin = || {
        service
            .key_challenge(&peer, &client.start(), NOW_MS)
            .expect("answered")
    };
    // The same client, channel and nonce: only the node's nonce differs.
    let ((first, challenge), (second, _)) = (begin(), begin());
    let proof = prove(&client, &challenge, &world.alice);
    assert_refused("replayed", service.key_outcome(second, &proof, NOW_MS));
    assert!(service.key_outcome(first, &proof, NOW_MS).is_ok());
}

#[test]
fn no_two_challenges_are_alike() {
    let world = World::new();
    let (service, peer) = (world.service(0), peer(1));
    let client = world.client(&peer, 0, "alice", &world.alice);
    let nonces: std::collections::HashSet<Bytes> = (0..64)
        .map(|_| {
            let challenge = service.key_challenge(&peer, &client.start(), NOW_MS);
            challenge.expect("answered").1.nonce
        })
        .collect();
    assert_eq!(nonces.len(), 64);
}

#[test]
fn a_challenge_is_used_up_by_a_wrong_proof() {
    let world = World::new();
    let (service, peer) = (world.service(0), peer(1));
    let client = world.client(&peer, 0, "alice", &world.alice);
    let begin = || {
        service
            .key_challenge(&peer, &client.start(), NOW_MS)
            .expect("answered")
    };
    let (pending, challenge) = begin();
    let right = prove(&client, &challenge, &world.alice);
    let wrong = proof(&world.bob.sign(PROOF_DOMAIN, b"something else"));
    // It is moved into the judgement: no second proof can be put to it, and no other
    // challenge takes the right one.
    assert_refused("wrong", service.key_outcome(pending, &wrong, NOW_MS));
    assert_refused("late", service.key_outcome(begin().0, &right, NOW_MS));
}

#[test]
fn the_nodes_own_signature_reflected_is_no_proof() {
    let world = World::new();
    let peer = peer(1);
    let outcome = outcome_of(&world, &peer, |_, challenge| ProveKeyProof {
        signature: challenge.signature.clone(),
    });
    assert_refused("reflected", outcome);
    // Nor is it for a user whose key is the node's.
    let node = SigningKey::from_seed(&world.fixture.nodes[0].to_seed());
    world.change("alice", |user| user.keys.push(device_key(&node)));
    let service = world.service(0);
    let client = world.client(&peer, 0, "alice", &node);
    let (pending, challenge) = service
        .key_challenge(&peer, &client.start(), NOW_MS)
        .expect("answered");
    let reflected = ProveKeyProof {
        signature: challenge.signature,
    };
    assert_refused(
        "reflected",
        service.key_outcome(pending, &reflected, NOW_MS),
    );
}

#[test]
fn a_client_does_not_take_its_own_proof_for_a_challenge() {
    let world = World::new();
    let (service, peer) = (world.service(0), peer(1));
    let mut client = world.client(&peer, 0, "alice", &world.alice);
    client.node_key = world.alice.verifying_key();
    let (_, challenge) = service
        .key_challenge(&peer, &client.start(), NOW_MS)
        .expect("answered");
    let said = transcript(&client, &challenge);
    let signed = |domain| ProveKeyChallenge {
        signature: Bytes::copy_from_slice(&world.alice.sign(domain, &said.challenge()).to_bytes()),
        ..challenge.clone()
    };
    assert!(client.answer(&signed(CHALLENGE_DOMAIN)).is_ok());
    assert!(client.answer(&signed(PROOF_DOMAIN)).is_err());
}

#[test]
fn a_stale_challenge_is_refused_by_the_nodes_clock() {
    let world = World::new();
    let (service, peer) = (world.service(0), peer(1));
    let client = world.client(&peer, 0, "alice", &world.alice);
    for (after_ms, taken) in [
        (CHALLENGE_LIFETIME_MS - 1, true),
        (CHALLENGE_LIFETIME_MS, false),
        (u64::MAX - NOW_MS, false),
    ] {
        let (pending, challenge) = service
            .key_challenge(&peer, &client.start(), NOW_MS)
            .expect("answered");
        let proof = prove(&client, &challenge, &world.alice);
        let outcome = service.key_outcome(pending, &proof, NOW_MS + after_ms);
        assert_eq!(outcome.is_ok(), taken, "{after_ms} ms");
    }
}

#[test]
fn another_key_than_the_enrolled_one_proves_nothing() {
    let world = World::new();
    let session_key = key();
    let peer = peer_with(&session_key, 1);
    let stranger = key();
    for (what, signer) in [
        ("another user's key", &world.bob),
        ("the key that the password opens", &world.password),
        ("the session key", &session_key),
        ("a stranger's key", &stranger),
        ("the node's key", &world.fixture.nodes[0]),
        ("the root key", &world.fixture.root),
    ] {
        let outcome = outcome_of(&world, &peer, |client, challenge| {
            prove(client, challenge, signer)
        });
        assert_refused(what, outcome);
    }
}

#[test]
fn a_key_that_is_not_enrolled_proves_nothing_by_its_own_name() {
    let world = World::new();
    let (service, peer) = (world.service(0), peer(1));
    for (user, signer) in [
        ("alice", &world.bob),
        ("alice", &world.password),
        ("alice", &world.fixture.root),
        ("alice", &world.fixture.nodes[0]),
        ("nobody", &world.fixture.nodes[0]),
        ("nobody", &world.alice),
        ("gone", &world.alice),
        ("left", &world.alice),
    ] {
        let client = world.client(&peer, 0, user, signer);
        let (pending, challenge) = service
            .key_challenge(&peer, &client.start(), NOW_MS)
            .expect("answered");
        let proof = prove(&client, &challenge, signer);
        assert_refused(user, service.key_outcome(pending, &proof, NOW_MS));
    }
}

#[test]
fn a_signature_in_another_domain_is_refused() {
    let world = World::new();
    let peer = peer(1);
    for domain in [
        CHALLENGE_DOMAIN,
        crate::statement::Session::DOMAIN,
        crate::statement::Receipt::DOMAIN,
        "login/key-prooF",
        "",
    ] {
        let outcome = outcome_of(&world, &peer, |client, challenge| {
            let message = client.answer(challenge).expect("honest");
            proof(&world.alice.sign(domain, &message))
        });
        assert_refused(domain, outcome);
    }
    let outcome = outcome_of(&world, &peer, |client, challenge| {
        let message = client.answer(challenge).expect("honest");
        let unframed = sealmoot_crypto::hazmat::sign_unframed(&world.alice, &message);
        proof(&unframed.expect("it has no frame"))
    });
    assert_refused("unframed", outcome);
}

#[test]
fn no_flipped_bit_of_a_proof_is_taken() {
    let world = World::new();
    let peer = peer(1);
    for bit in 0..64 * 8 {
        let outcome = outcome_of(&world, &peer, |client, challenge| {
            let mut signature = prove(client, challenge, &world.alice).signature.to_vec();
            signature[bit / 8] ^= 1 << (bit % 8);
            ProveKeyProof {
                signature: signature.into(),
            }
        });
        assert_refused(&format!("bit {bit}"), outcome);
    }
}

#[test]
fn no_flipped_bit_of_a_challenge_is_answered() {
    let world = World::new();
    let (service, peer) = (world.service(0), peer(1));
    let client = world.client(&peer, 0, "alice", &world.alice);
    let (_, honest) = service
        .key_challenge(&peer, &client.start(), NOW_MS)
        .expect("answered");
    assert!(client.answer(&honest).is_ok());
    let flipped = |bytes: &Bytes, bit: usize| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        Bytes::from(bytes)
    };
    let refused = |changed: &ProveKeyChallenge| {
        matches!(client.answer(changed), Err(KeyLoginError::BadAnswer(_)))
    };
    for bit in 0..64 * 8 {
        let signature = flipped(&honest.signature, bit);
        assert!(
            refused(&ProveKeyChallenge {
                signature,
                ..honest.clone()
            }),
            "bit {bit}"
        );
    }
    for bit in 0..NONCE_LENGTH * 8 {
        let nonce = flipped(&honest.nonce, bit);
        assert!(
            refused(&ProveKeyChallenge {
                nonce,
                ..honest.clone()
            }),
            "bit {bit}"
        );
    }
    for bit in 0..64 {
        let expires_ms = honest.expires_ms ^ (1 << bit);
        assert!(
            refused(&ProveKeyChallenge {
                expires_ms,
                ..honest.clone()
            }),
            "bit {bit}"
        );
    }
    for length in [0, 31, 33] {
        let nonce = Bytes::from(vec![0; length]);
        assert!(refused(&ProveKeyChallenge {
            nonce,
            ..honest.clone()
        }));
    }
    for length in [0, 63, 65] {
        let signature = Bytes::from(vec![0; length]);
        assert!(refused(&ProveKeyChallenge {
            signature,
            ..honest.clone()
        }));
    }
}

#[test]
fn what_changes_between_challenge_and_proof_counts() {
    type Change = fn(&World);
    let cases: [(&str, bool, Change); 6] = [
        ("disabled", false, |world| {
            world.change("alice", |user| user.enabled = false);
        }),
        ("deleted", false, |world| {
            world.change("alice", |user| user.deleted = true);
        }),
        ("revoked", false, |world| {
            world.change("alice", |user| user.keys.clear());
        }),
        ("expired", false, |world| {
            world.change_key(|key| key.expires_ms = NOW_MS);
        }),
        ("replaced", false, |world| {
            world.change_key(|enrolled| enrolled.key = key().verifying_key());
        }),
        ("other roles", true, |world| {
            world.change("alice", |user| user.roles.clear());
        }),
    ];
    for (what, taken, change) in cases {
        let world = World::new();
        let peer = peer(1);
        let outcome = outcome_of(&world, &peer, |client, challenge| {
            change(&world);
            prove(client, challenge, &world.alice)
        });
        assert_eq!(outcome.is_ok(), taken, "{what}");
    }
}

#[test]
fn a_session_lasts_no_longer_than_node_and_key_allow() {
    let world = World::new();
    let (service, peer) = (world.service(0), peer(1));
    let granted = |asked: u64| {
        let mut client = world.client(&peer, 0, "alice", &world.alice);
        client.transcript.lifetime_ms = asked;
        let (pending, challenge) = service
            .key_challenge(&peer, &client.start(), NOW_MS)
            .expect("answered");
        let proof = prove(&client, &challenge, &world.alice);
        let outcome = service
            .key_outcome(pending, &proof, NOW_MS)
            .expect("proved");
        client.session(&outcome, NOW_MS).expect("believed").1 - NOW_MS
    };
    for (asked, expected) in [
        (0, SESSION_LIFETIME_MS),
        (1000, 1000),
        (u64::MAX, LIFETIME_MS_MAX),
    ] {
        assert_eq!(granted(asked), expected);
    }
    world.change_key(|key| key.expires_ms = NOW_MS + 500);
    for asked in [0, 1000, u64::MAX] {
        assert_eq!(granted(asked), 500);
    }
    assert_eq!(granted(100), 100);
}

#[test]
fn an_outcome_that_root_and_node_did_not_make_for_this_login_is_not_believed() {
    let world = World::new();
    let peer = peer(1);
    let client = world.client(&peer, 0, "alice", &world.alice);
    let honest = outcome_of(&world, &peer, |client, challenge| {
        prove(client, challenge, &world.alice)
    })
    .expect("proved");
    assert!(client.session(&honest, NOW_MS).is_ok());
    let of = |world: &World, peer: &Peer, node: usize, user: &str, key: &SigningKey| {
        let service = world.service(node);
        let client = world.client(peer, node, user, key);
        let (pending, challenge) = service
            .key_challenge(peer, &client.start(), NOW_MS)
            .expect("answered");
        let proof = prove(&client, &challenge, key);
        service
            .key_outcome(pending, &proof, NOW_MS)
            .expect("proved")
    };
    let stranger = World::new();
    let of_bob = of(&world, &peer, 0, "bob", &world.bob);
    let receipt = |receipt: Bytes| ProveKeyOutcome {
        receipt,
        ..honest.clone()
    };
    let user = |user: Bytes| ProveKeyOutcome {
        user,
        ..honest.clone()
    };
    let lies = [
        (
            "another realm's statement",
            user(of(&stranger, &peer, 0, "alice", &stranger.alice).user),
        ),
        ("another user's statement", user(of_bob.user.clone())),
        ("no statement", user(Bytes::new())),
        ("another user's receipt", receipt(of_bob.receipt)),
        (
            "another node's receipt",
            receipt(of(&world, &peer, 1, "alice", &world.alice).receipt),
        ),
        ("another session's receipt", {
            receipt(of(&world, &super::world::peer(1), 0, "alice", &world.alice).receipt)
        }),
        ("no receipt", receipt(Bytes::new())),
    ];
    for (what, lie) in lies {
        let judged = client.session(&lie, NOW_MS);
        assert!(matches!(judged, Err(KeyLoginError::BadAnswer(_))), "{what}");
    }
    // One that was signed before the key was enrolled, or after it was revoked.
    world.change("alice", |user| user.keys = vec![device_key(&world.bob)]);
    let without = of(&world, &peer, 0, "alice", &world.bob).user;
    let judged = client.session(&user(without), NOW_MS);
    assert!(matches!(judged, Err(KeyLoginError::BadAnswer(_))));
}

/// What is signed for a login is nothing that SSH knows, and the reverse.
#[test]
fn nothing_that_a_login_signs_can_be_read_as_ssh() {
    let world = World::new();
    let peer = peer(1);
    let client = world.client(&peer, 0, "alice", &world.alice);
    let (_, challenge) = world
        .service(0)
        .key_challenge(&peer, &client.start(), NOW_MS)
        .expect("answered");
    let message = client.answer(&challenge).expect("honest");
    let signed = sealmoot_crypto::signature::to_be_signed(PROOF_DOMAIN, &message);
    // RFC 4252, section 7: a request for user authentication begins with the session
    // id, a string; a certificate with its type, a string. Here that string would have
    // nearly two gigabytes.
    let length = u32::from_be_bytes(*signed.first_chunk().expect("long"));
    assert!(u64::from(length) > 1 << 30 && length as usize > signed.len());
    // PROTOCOL.sshsig; and an exchange hash has 20 to 64 bytes.
    assert!(!signed.starts_with(b"SSHSIG") && signed.len() > 64);
    for other in [
        &b"SSHSIG\0\0\0\x04file"[..],
        b"\0\0\0\x20exchange hash",
        b"\0\0\0\x20ssh-ed25519-cert-v01@openssh.com",
    ] {
        assert!(!other.starts_with(b"sealmoot/v1/signature"));
    }
}

/// A node that says what it was told to.
struct Liar(Mutex<Vec<ProveKeyReply>>);

impl Login for Liar {
    async fn log_in(
        &self,
        _: CallContext,
        _: Requests<LogInRequest>,
        _: Replies<LogInReply>,
    ) -> Result<(), Status> {
        Ok(())
    }

    async fn prove_key(
        &self,
        _: CallContext,
        mut requests: Requests<ProveKeyRequest>,
        mut replies: Replies<ProveKeyReply>,
    ) -> Result<(), Status> {
        requests.next().await?;
        let told = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for reply in told {
            replies.send(&reply).await?;
        }
        Ok(())
    }

    async fn register(&self, _: CallContext, _: RegisterRequest) -> Result<RegisterReply, Status> {
        Ok(RegisterReply::default())
    }
}

#[tokio::test]
async fn a_node_that_does_not_keep_to_the_protocol_is_not_believed() {
    let world = World::new();
    let root = world.fixture.root.verifying_key();
    let challenge = ProveKeyChallenge {
        nonce: Bytes::from(vec![0; 32]),
        expires_ms: NOW_MS,
        signature: Bytes::from(vec![0; 64]),
    };
    let step = |step| vec![ProveKeyReply { step: Some(step) }];
    let lies = [
        ("nothing", vec![]),
        ("no step", vec![ProveKeyReply::default()]),
        ("no signature", step(ReplyStep::Challenge(challenge))),
        (
            "an outcome first",
            step(ReplyStep::Outcome(ProveKeyOutcome::default())),
        ),
    ];
    for (what, told) in lies {
        let session_key = key();
        let liar = Liar(Mutex::new(told));
        let (_server, connection) = connected(&world.fixture.nodes[0], liar, &session_key).await;
        let outcome = log_in_with_key(
            &connection,
            &Roots::sole(root),
            &name("alice"),
            &ClientKey::Held(SigningKey::from_seed(&world.alice.to_seed())),
            &session_key.verifying_key(),
            NOW_MS,
            PATIENCE,
        )
        .await;
        assert!(
            matches!(outcome, Err(KeyLoginError::BadAnswer(_))),
            "{what}: {outcome:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_no_more_is_refused_in_time() {
    let world = World::new();
    let session_key = key();
    let (_server, connection) =
        connected(&world.fixture.nodes[0], world.service(0), &session_key).await;
    let start = ProveKeyStart {
        user: "alice".to_owned(),
        key: Bytes::copy_from_slice(world.alice.verifying_key().key_id().as_bytes()),
        nonce: Bytes::from(vec![1; 32]),
        lifetime_ms: 0,
    };
    for begin in [true, false] {
        let (mut requests, mut replies) = LoginClient::new(connection.clone())
            .prove_key(10 * PROOF_WITHIN)
            .await
            .expect("room");
        let begun = tokio::time::Instant::now();
        if begin {
            let step = Some(RequestStep::Start(start.clone()));
            let request = ProveKeyRequest { step };
            requests.send(&request).await.expect("taken");
            assert!(matches!(replies.next().await, Ok(Some(_))));
        }
        let status = replies.next().await.expect_err("it takes too long");
        assert_eq!(status.code(), Code::Unauthenticated);
        assert!(begun.elapsed() >= PROOF_WITHIN && begun.elapsed() < 2 * PROOF_WITHIN);
        drop(requests);
    }
}
