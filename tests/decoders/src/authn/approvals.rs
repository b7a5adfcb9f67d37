//! What waits for a second person.

use sealmoot_authn::approval::{Act, Approver, Waiting};
use sealmoot_authn::realm_id::RealmId;

use super::name;
use crate::{Decoder, Outcome};

/// The base point: whose key it is does not matter to who only reads the header.
fn approver() -> Approver {
    let mut point = [0; 32];
    point[0] = 9;
    Approver::from_bytes(&point).expect("a key")
}

pub(super) const ALL: &[Decoder] = &[Decoder {
    name: "waiting_for_approval",
    authenticates: false,
    samples: || {
        let waiting = Waiting {
            act: Act::Restore,
            realm: RealmId::from_bytes([7; 32]),
            name: name("acme"),
            made_ms: 1_700_000_000_000,
        };
        vec![approver().require(&waiting, b"a box").expect("sealed")]
    },
    check: |bytes| {
        let read = Waiting::read(bytes);
        if let Ok((waiting, approver)) = &read {
            // The same header stands before whatever is sealed.
            let again = approver.require(waiting, b"").expect("sealed");
            let header = again.len().saturating_sub(box_length());
            assert_eq!(bytes.get(..header), Some(&again[..header]));
        }
        Outcome::of(&read)
    },
}];

/// How long a box around nothing is, behind its length.
fn box_length() -> usize {
    4 + sealmoot_crypto::sealed_box::Kem::X25519.overhead()
}
