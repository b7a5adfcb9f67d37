//! The keys of a realm, one after the other.

use sealmoot_authn::roots::{Inception, Roots};

use super::{ROOT, key};
use crate::{Decoder, Outcome};

pub(super) const ALL: &[Decoder] = &[Decoder {
    name: "roots",
    authenticates: true,
    samples: || vec![first().encode(), handed_over().encode()],
    check: |bytes| {
        let roots = Roots::decode(bytes, &first().realm());
        if let Ok(roots) = &roots {
            assert_eq!(roots.encode(), bytes);
        }
        // Who knows some already takes the same, and no more than that.
        let taken = first().take(bytes).is_ok();
        assert_eq!(taken, roots.is_ok());
        Outcome::of(&roots)
    },
}];

fn first() -> Roots {
    Roots::first(Inception {
        root: ROOT.verifying_key(),
        heir: key(30).verifying_key().key_id(),
    })
}

fn handed_over() -> Roots {
    let next = [31, 32].map(|number| key(number).verifying_key().key_id());
    let once = first().hand_over(&ROOT, &key(30), next[0], &[[1; 32]], 5);
    let twice = once
        .expect("the heir")
        .hand_over(&key(30), &key(31), next[1], &[], 6);
    twice.expect("the heir")
}
