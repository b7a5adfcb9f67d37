//! Statements, kind by kind: taken apart without being believed.

use sealmoot_authn::narrowing::Narrowing;
use sealmoot_authn::opaque::{LoginSecrets, Stretching, register};
use sealmoot_authn::policy::{Grant, NamedRoles, Role};
use sealmoot_authn::presentation::Presentation;
use sealmoot_authn::second_factor::{SealedSecondFactor, SecondFactor};
use sealmoot_authn::statement::{
    Body, Call, CallMember, Claim, Credential, CredentialId, EndedSession, EnrolledKey, Enrolment,
    Handover, KeyUse, Receipt, RevokedNodes, RevokedSessions, Roles, Session, Unlock, User,
    Verified,
};
use sealmoot_authn::user_key;
use sealmoot_crypto::encoding::Writer;
use sealmoot_crypto::password::Cost;

use super::{ROOT, key, name, realm};
use crate::{Decoder, Outcome};

/// Bytes before the body, and behind it.
pub(super) const BODY_AT: usize = 78;
pub(super) const SIGNATURE_BYTES: usize = 64;

/// A decoder of the claims of one kind, whose samples are these bodies.
macro_rules! kind {
    ($name:literal, $body:ty, $samples:expr) => {
        Decoder {
            name: $name,
            // A claim is not believed, so another signer's is one too.
            authenticates: false,
            samples: || {
                let bodies: Vec<$body> = $samples;
                let issue = |body| Verified::issue(&realm(), &ROOT, 5, body);
                bodies
                    .into_iter()
                    .map(|body| issue(body).bytes().to_vec())
                    .collect()
            },
            check: |bytes| {
                let claim = Claim::<$body>::decode(bytes);
                if let Ok(claim) = &claim {
                    let mut writer = Writer::new();
                    claim.claimed().encode(&mut writer);
                    let body = &bytes[BODY_AT..bytes.len() - SIGNATURE_BYTES];
                    assert_eq!(writer.finish(), body, "it has another encoding");
                }
                Outcome::of(&claim)
            },
        }
    };
}

pub(super) use kind;

pub(super) const ALL: &[Decoder] = &[
    kind!("statement_call", Call, vec![call()]),
    kind!(
        "statement_enrolment",
        Enrolment,
        vec![Enrolment {
            call_id: [3; 16],
            name: name("n1"),
            node_key: key(4).verifying_key(),
        }]
    ),
    kind!("statement_user", User, users()),
    kind!("statement_credential", Credential, vec![credential()]),
    kind!(
        "statement_session",
        Session,
        vec![Session {
            idle_ms: 0,
            user: name("alice"),
            session_key: key(5).verifying_key(),
            expires_ms: 77,
        }]
    ),
    kind!(
        "statement_receipt",
        Receipt,
        vec![Receipt {
            user: name("alice"),
            user_key: key(6).verifying_key(),
            session_key: key(5).verifying_key(),
            expires_ms: 78,
        }]
    ),
    kind!(
        "statement_roles",
        Roles,
        vec![
            roles(),
            Roles {
                version: 1,
                roles: NamedRoles::default(),
            }
        ]
    ),
    kind!(
        "statement_revoked_sessions",
        RevokedSessions,
        vec![revoked_sessions(), RevokedSessions::default()]
    ),
    kind!(
        "statement_ended_session",
        EndedSession,
        vec![EndedSession { until_ms: 9 }]
    ),
    kind!(
        "statement_revoked_nodes",
        RevokedNodes,
        vec![revoked_nodes(), RevokedNodes::default()]
    ),
    kind!("statement_handover", Handover, vec![handover()]),
    kind!(
        "statement_unlock",
        Unlock,
        vec![Unlock {
            name: name("alice"),
        }]
    ),
    Decoder {
        name: "presentation",
        authenticates: false,
        samples: || {
            let presentations = [
                Presentation::Anonymous,
                Presentation::Member {
                    roster: vec![1, 2],
                    revoked_nodes: vec![3],
                    roots: vec![8],
                },
                Presentation::Candidate {
                    inception: Box::new(*super::roots().inception()),
                    roots: vec![9],
                    call: vec![3],
                    enrolment: vec![4, 5],
                },
                Presentation::Session {
                    session: vec![6],
                    receipt: vec![7],
                },
            ];
            presentations.iter().map(Presentation::encode).collect()
        },
        check: |bytes| {
            let presentation = Presentation::decode(bytes);
            if let Ok(presentation) = &presentation {
                assert_eq!(presentation.encode(), bytes);
            }
            Outcome::of(&presentation)
        },
    },
];

pub(super) fn call() -> Call {
    let member = |index: u8| CallMember {
        name: name(&format!("n{index}")),
        address: format!("h:{index}"),
        invite_key: key(10 + index).verifying_key(),
    };
    Call {
        id: [3; 16],
        realm_name: name("acme"),
        expires_ms: 99,
        members: vec![member(1), member(2), member(3)],
    }
}

pub(super) fn revoked_nodes() -> RevokedNodes {
    let mut revoked = RevokedNodes::default();
    revoked.version = 3;
    for seed in [4, 5] {
        let key = key(seed).verifying_key().key_id();
        revoked.revoke(key, name("n1"), 7).expect("room");
    }
    revoked
}

pub(super) fn revoked_sessions() -> RevokedSessions {
    let mut revoked = RevokedSessions::default();
    revoked.version = 3;
    for seed in [4, 5] {
        let key = key(seed).verifying_key().key_id();
        revoked.revoke_key(key, 7).expect("room");
    }
    for user in ["alice", "robot"] {
        revoked.revoke_user(name(user), 8).expect("room");
    }
    revoked
}

pub(super) fn roles() -> Roles {
    let mut roles = NamedRoles::default();
    for role in ["ops", "readers"] {
        let grants = vec![grant("app/*:rw"), grant("logs/x:r")];
        roles.add(name(role), grants).expect("a new role");
    }
    roles
        .need_second_factor(&name("ops"), true)
        .expect("a role");
    Roles { version: 7, roles }
}

pub(super) fn users() -> Vec<User> {
    let enrolled = |number: u8, narrowing| EnrolledKey {
        id: CredentialId::from_bytes([number; 8]),
        label: format!("key {number}").parse().expect("a label"),
        usage: if number == 20 {
            KeyUse::Device
        } else {
            KeyUse::Service
        },
        key: key(number).verifying_key(),
        expires_ms: u64::from(number),
        narrowing,
    };
    let narrowing = Narrowing::new(vec![grant("app/*:r")]).expect("one grant");
    let bare = User {
        name: name("robot"),
        version: 1,
        enabled: false,
        deleted: true,
        roles: Vec::new(),
        user_key: None,
        keys: Vec::new(),
        second_factor: None,
    };
    let rich = User {
        name: name("alice"),
        version: 2,
        enabled: true,
        deleted: false,
        roles: vec![
            Role::Admin,
            Role::Named(name("ops")),
            Role::Grant(grant("app/*:rwdla")),
        ],
        user_key: Some(key(6).verifying_key()),
        keys: vec![enrolled(20, None), enrolled(21, Some(narrowing))],
        second_factor: Some(Box::new(second_factor())),
    };
    vec![bare, rich]
}

fn second_factor() -> SealedSecondFactor {
    let secrets = LoginSecrets::generate().expect("random");
    let enrolled = SecondFactor::enrol(&secrets, &realm(), &name("alice"));
    enrolled.expect("enrolled").0
}

fn grant(text: &str) -> Grant {
    text.parse().expect("a grant")
}

fn credential() -> Credential {
    let alice = name("alice");
    let secrets = LoginSecrets::generate().expect("random");
    let cost = Cost {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };
    let stretching = Stretching::new(cost).expect("admitted");
    let (password, export_key) =
        register(&secrets, &realm(), &alice, b"pw", stretching).expect("registered");
    let user_key = key(6);
    let sealed_key = user_key::seal(&export_key, &realm(), &alice, &user_key).expect("sealed");
    Credential {
        name: alice,
        user_key: user_key.verifying_key(),
        stretching,
        password,
        must_change: true,
        sealed_key,
    }
}

fn handover() -> Handover {
    Handover {
        number: 1,
        root: key(30).verifying_key(),
        heir: key(31).verifying_key().key_id(),
        calls: vec![[1; 32], [2; 32]],
    }
}
