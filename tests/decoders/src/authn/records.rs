//! What the root signed, put together: records and invites.

use sealmoot_authn::audit::first_key::audit_key;
use sealmoot_authn::invite::{Invite, SealedPart};
use sealmoot_authn::opaque::LoginSecrets;
use sealmoot_authn::records::{
    RevocationsRecord, RevokedNodesRecord, RevokedSessionsRecord, RolesRecord, SignedRecord,
};
use sealmoot_authn::statement::{User, Verified};
use sealmoot_authn::users::UserRecord;
use sealmoot_crypto::secret::SecretArray;

use super::delegations::{chain, delegated_user, revocations};
use super::statements::{call, revoked_nodes, revoked_sessions, roles, users};
use super::{ROOT, key, realm};
use crate::{Decoder, Outcome};

pub(super) const ALL: &[Decoder] = &[
    Decoder {
        name: "signed_record",
        authenticates: true,
        samples: || records().iter().map(SignedRecord::encode).collect(),
        check: |bytes| {
            let record = SignedRecord::decode(bytes, &super::roots());
            if let Ok(record) = &record {
                assert_eq!(record.encode(), bytes);
            }
            Outcome::of(&record)
        },
    },
    Decoder {
        name: "invite",
        authenticates: true,
        samples: || {
            let login = LoginSecrets::generate().expect("random");
            let storage_key = SecretArray::from_bytes([8; 32]);
            let audit = audit_key(&storage_key, &realm()).public_key();
            let call = Verified::issue(&realm(), &ROOT, 5, call());
            let seed = SecretArray::from_bytes([12; 32]);
            let sealed =
                SealedPart::seal(&super::roots(), &ROOT, &call, &login, &audit, &records());
            let (sealed, shares) = sealed.expect("sealed");
            let bytes = Invite::encode(&super::roots(), &call, &seed, &shares[1], &sealed);
            vec![bytes.expose().to_vec()]
        },
        check: |bytes| Outcome::of(&Invite::decode(bytes)),
    },
    Decoder {
        name: "invite_sealed_part",
        authenticates: true,
        samples: || {
            let login = LoginSecrets::generate().expect("random");
            let storage_key = SecretArray::from_bytes([8; 32]);
            let audit = audit_key(&storage_key, &realm()).public_key();
            let call = Verified::issue(&realm(), &ROOT, 5, call());
            let sealed =
                SealedPart::seal(&super::roots(), &ROOT, &call, &login, &audit, &records());
            vec![sealed.expect("sealed").0.encode()]
        },
        check: |bytes| {
            let call = Verified::issue(&realm(), &ROOT, 5, call());
            let sealed = SealedPart::decode(bytes, &super::roots(), &call);
            if let Ok(sealed) = &sealed {
                assert_eq!(sealed.encode(), bytes);
            }
            Outcome::of(&sealed)
        },
    },
];

fn records() -> Vec<SignedRecord> {
    let [robot, alice] = <[_; 2]>::try_from(users()).expect("two of them");
    // Without a password, the one part of a record that is never the same twice.
    let keys_only = |mut user: User| {
        user.user_key = None;
        UserRecord::new(Verified::issue(&realm(), &ROOT, 5, user), None).expect("they match")
    };
    let by_delegate = Verified::issue(&realm(), &key(21), 5, delegated_user());
    let by_delegate = UserRecord::by_delegate(chain(), by_delegate, None).expect("within");
    vec![
        by_delegate.into(),
        RevocationsRecord::new(Verified::issue(&realm(), &ROOT, 5, revocations())).into(),
        keys_only(robot).into(),
        keys_only(alice).into(),
        RolesRecord::new(Verified::issue(&realm(), &ROOT, 5, roles())).into(),
        RevokedSessionsRecord::new(Verified::issue(&realm(), &ROOT, 5, revoked_sessions())).into(),
        RevokedNodesRecord::new(Verified::issue(&realm(), &ROOT, 5, revoked_nodes())).into(),
    ]
}
