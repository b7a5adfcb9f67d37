//! A realm with users who have keys, and what tests do in it.

use std::sync::{Arc, PoisonError, RwLock};

use sealmoot_crypto::signature::{Signature, SigningKey};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::channel::{Origin, Transport};
use sealmoot_rpc::{ChannelBinding, Peer};

use super::client::Client;
use super::*;
use crate::login::{LoginService, SharedUsers};
use crate::opaque::LoginSecrets;
use crate::proto::{ProveKeyChallenge, ProveKeyProof};
use crate::roster::tests::Fixture;
use crate::statement::{EnrolledKey, User, Verified};
use crate::throttle::{LoginThrottle, Throttle, ThrottleKey, ThrottleLimits, Volatile};
use crate::users::tests::{device_key, record, record_of_keys};
use crate::users::{UserDirectory, UserRecord};

pub(super) const NOW_MS: u64 = 5000;

/// alice has a password and a key, bob another key, gone and left, who are disabled
/// and deleted, have alice's key.
pub(super) struct World {
    pub(super) fixture: Fixture,
    pub(super) users: SharedUsers,
    pub(super) alice: SigningKey,
    pub(super) bob: SigningKey,
    /// The key that alice's password opens.
    pub(super) password: SigningKey,
    secrets: Arc<LoginSecrets>,
}

pub(super) fn key() -> SigningKey {
    SigningKey::generate().expect("random")
}

pub(super) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// A client with a fresh key, in a channel with this binding.
pub(super) fn peer(binding: u8) -> Peer {
    peer_with(&key(), binding)
}

pub(super) fn peer_with(key: &SigningKey, binding: u8) -> Peer {
    Peer::danger_assume(
        key.verifying_key(),
        ChannelBinding::from_bytes([binding; 32]),
        Origin::Memory,
        Transport::Memory,
        Arc::new(()),
    )
}

impl World {
    pub(super) fn new() -> Self {
        let (alice, bob, password) = (key(), key(), key());
        let fixture = Fixture::new();
        let world = Self {
            users: Arc::new(RwLock::new(UserDirectory::default())),
            secrets: Arc::new(LoginSecrets::generate().expect("random")),
            fixture,
            alice,
            bob,
            password,
        };
        let root = &world.fixture.root;
        world.apply(record(root, &world.password, "alice", 1, true));
        world.change("alice", |user| user.keys = vec![device_key(&world.alice)]);
        world.apply(record_of_keys(root, "bob", 1, vec![device_key(&world.bob)]));
        for user in ["gone", "left"] {
            let keys = vec![device_key(&world.alice)];
            world.apply(record_of_keys(root, user, 1, keys));
        }
        world.change("gone", |user| user.enabled = false);
        world.change("left", |user| user.deleted = true);
        world
    }

    fn apply(&self, record: UserRecord) {
        let mut users = self.users.write().unwrap_or_else(PoisonError::into_inner);
        users.apply(record);
    }

    /// The next version of a user's record.
    pub(super) fn change(&self, user: &str, change: impl FnOnce(&mut User)) {
        let record = {
            let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
            users.record(&name(user)).expect("there").clone()
        };
        let mut user = record.user().clone();
        user.version += 1;
        change(&mut user);
        let (realm, root) = (self.fixture.realm(), &self.fixture.root);
        let user = Verified::issue(&realm, root, 2, user);
        let record = UserRecord::new(user, record.credential().cloned());
        self.apply(record.expect("they belong together"));
    }

    pub(super) fn change_key(&self, change: impl FnOnce(&mut EnrolledKey)) {
        self.change("alice", |user| change(&mut user.keys[0]));
    }

    pub(super) fn service(&self, node: usize) -> LoginService {
        let node_key = Arc::new(SigningKey::from_seed(&self.fixture.nodes[node].to_seed()));
        let (users, secrets) = (Arc::clone(&self.users), Arc::clone(&self.secrets));
        let throttle = Throttle::new(ThrottleKey::of(&secrets), ThrottleLimits::default());
        let throttle = LoginThrottle::new(throttle, Box::new(Volatile), || NOW_MS);
        LoginService::new(
            self.fixture.realm(),
            node_key,
            users,
            secrets,
            Arc::new(throttle),
            || NOW_MS,
        )
    }

    /// The client at `peer`'s other end, which means to talk to `node`.
    pub(super) fn client(&self, peer: &Peer, node: usize, user: &str, key: &SigningKey) -> Client {
        let node_key = self.fixture.nodes[node].verifying_key();
        Client {
            roots: self.fixture.roots(),
            node_key,
            transcript: Transcript {
                realm: self.fixture.realm(),
                node: node_key.key_id(),
                channel: *peer.binding(),
                session: peer.key_id(),
                user: name(user),
                key: key.verifying_key().key_id(),
                lifetime_ms: 0,
                client_nonce: sealmoot_crypto::random::array().expect("random"),
                node_nonce: [0; NONCE_LENGTH],
                expires_ms: 0,
            },
            key: key.verifying_key(),
            session: peer.key().into(),
        }
    }
}

/// The proof of an honest client.
pub(super) fn prove(
    client: &Client,
    challenge: &ProveKeyChallenge,
    key: &SigningKey,
) -> ProveKeyProof {
    let message = client.answer(challenge).expect("the node proved itself");
    proof(&key.sign(PROOF_DOMAIN, &message))
}

pub(super) fn proof(signature: &Signature) -> ProveKeyProof {
    ProveKeyProof {
        signature: Bytes::copy_from_slice(&signature.to_bytes()),
    }
}
