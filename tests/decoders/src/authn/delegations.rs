//! Delegations and their revocations, and the files and proofs that carry them.

use sealmoot_authn::delegation::{Chain, SerialPath};
use sealmoot_authn::fetch::{Prover, verify_proof};
use sealmoot_authn::policy::Grant;
use sealmoot_authn::realm::{AcceptedFile, Request};
use sealmoot_authn::statement::{
    Body, Claim, Delegation, Powers, Revocation, Revocations, User, Verified,
};
use sealmoot_authn::users::{UserRecord, verify_user};
use sealmoot_crypto::encoding::Writer;
use sealmoot_rpc::ChannelBinding;

use super::statements::{BODY_AT, SIGNATURE_BYTES, call, kind};
use super::{ROOT, key, name, realm};
use crate::{Decoder, Outcome};

pub(super) const ALL: &[Decoder] = &[
    kind!("statement_delegation", Delegation, delegations()),
    kind!("statement_revocations", Revocations, vec![revocations()]),
    Decoder {
        name: "delegation_chain",
        authenticates: true,
        samples: || vec![chain().encode()],
        check: |bytes| {
            let chain = Chain::decode(bytes, &super::roots());
            if let Ok(chain) = &chain {
                assert_eq!(chain.encode(), bytes);
            }
            Outcome::of(&chain)
        },
    },
    Decoder {
        name: "delegation_request",
        authenticates: true,
        samples: || vec![Request::encode(&realm(), &name("dana"), &key(20))],
        check: |bytes| Outcome::of(&Request::decode(bytes, &realm())),
    },
    Decoder {
        name: "delegation_file",
        authenticates: true,
        samples: || {
            let call = Verified::issue(&realm(), &ROOT, 5, call());
            vec![AcceptedFile::encode(
                &realm_file(),
                &super::roots(),
                &chain(),
                &[call],
            )]
        },
        check: |bytes| Outcome::of(&AcceptedFile::decode(bytes)),
    },
    Decoder {
        name: "fetch_proof",
        authenticates: true,
        samples: || {
            let delegate = Prover::new(key(21), super::roots(), Some(chain()));
            let by_root = Prover::new(key(1), super::roots(), None);
            let node = key(4).verifying_key().key_id();
            [delegate, by_root]
                .map(|prover| prover.prove(&node, &CHANNEL))
                .to_vec()
        },
        check: |bytes| {
            let node = key(4).verifying_key().key_id();
            Outcome::of(&verify_proof(bytes, &super::roots(), &node, &CHANNEL))
        },
    },
    Decoder {
        name: "user_proof",
        authenticates: true,
        samples: || {
            let user = Verified::issue(&realm(), &key(21), 5, delegated_user());
            let record = UserRecord::by_delegate(chain(), user, None).expect("within");
            vec![record.user_proof()]
        },
        check: |bytes| Outcome::of(&verify_user(bytes, &super::roots())),
    },
];

const CHANNEL: ChannelBinding = ChannelBinding::from_bytes([9; 32]);

/// From the root to dana, and from dana to erin.
fn delegations() -> Vec<Delegation> {
    let grants = |texts: &[&str]| -> Vec<Grant> {
        let parsed = texts.iter().map(|text| text.parse().expect("a grant"));
        parsed.collect()
    };
    let dana = Delegation {
        name: name("dana"),
        key: key(20).verifying_key(),
        serial: 7,
        version: 2,
        powers: Powers {
            users: true,
            delegations: true,
        },
        grants: grants(&["app/*:rwdl", "log/x:r"]),
        valid_from_ms: 5,
        expires_ms: 500,
    };
    let erin = Delegation {
        name: name("erin"),
        key: key(21).verifying_key(),
        serial: 1,
        version: 1,
        powers: Powers {
            users: true,
            delegations: false,
        },
        grants: grants(&["app/*:r"]),
        valid_from_ms: 6,
        expires_ms: 400,
    };
    vec![dana, erin]
}

pub(super) fn chain() -> Chain {
    let [dana, erin] = <[_; 2]>::try_from(delegations()).expect("two of them");
    let above = Chain::issue(None, &ROOT, &super::roots(), dana, 5).expect("issued");
    Chain::issue(Some(&above), &key(20), &super::roots(), erin, 6).expect("issued")
}

pub(super) fn delegated_user() -> User {
    User {
        name: name("bob"),
        version: 3,
        enabled: true,
        deleted: false,
        roles: vec!["app/x:r".parse().expect("a role")],
        user_key: None,
        keys: Vec::new(),
        second_factor: None,
    }
}

pub(super) fn revocations() -> Revocations {
    let entry = |path: &[u64], lowest_version, reason: &str| {
        let reason = reason.to_owned();
        let path = SerialPath::of(path.iter().copied());
        let entry = Revocation {
            lowest_version,
            reason,
        };
        (path, entry)
    };
    Revocations {
        version: 4,
        entries: [
            entry(&[3], Revocation::FOR_GOOD, "left"),
            entry(&[7], 2, ""),
            entry(&[7, 9], Revocation::FOR_GOOD, "lost the key"),
        ]
        .into(),
    }
}

/// The file `realm` of a realm's directory.
fn realm_file() -> Vec<u8> {
    let mut writer = Writer::new();
    writer.fixed(b"SMRL");
    writer.u8(3);
    writer.text("acme");
    super::roots().inception().write(&mut writer);
    writer.flag(false);
    let mut bytes = writer.finish();
    let signature = ROOT.sign("realm", &bytes);
    bytes.extend_from_slice(&signature.to_bytes());
    bytes
}
