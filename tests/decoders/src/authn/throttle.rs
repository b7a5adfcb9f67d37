//! What nodes tell each other about logins that were tried.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use sealmoot_authn::opaque::LoginSecrets;
use sealmoot_authn::second_factor::SecondFactor;
use sealmoot_authn::throttle::{Attempt, Source, Throttle, ThrottleKey, ThrottleLimits, parts};
use sealmoot_crypto::signature::KeyId;

use super::{name, realm};
use crate::{Decoder, Outcome};

const NOW_MS: u64 = 1_800_000_000_000;

pub(super) const ALL: &[Decoder] = &[Decoder {
    name: "throttle_record",
    authenticates: false,
    samples: || {
        let mut throttle = throttle();
        for address in 0..20 {
            let attempt = Attempt {
                source: Source::Address(IpAddr::V4(Ipv4Addr::new(192, 0, 2, address % 4))),
                key: KeyId::from_bytes([address; 32]),
                user: &name(["alice", "bob"][usize::from(address) % 2]),
            };
            if let Ok((ticket, _)) = throttle.charge(&attempt, NOW_MS)
                && address % 3 == 0
            {
                // Nothing here outlives the process.
                let _ = throttle.refund(ticket, NOW_MS);
            }
        }
        let attempt = Attempt {
            source: Source::Local,
            key: KeyId::from_bytes([99; 32]),
            user: &name("alice"),
        };
        if let Ok((mut ticket, _)) = throttle.charge(&attempt, NOW_MS) {
            let secrets = LoginSecrets::generate().expect("random");
            let (sealed, enrolled) =
                SecondFactor::enrol(&secrets, &realm(), &name("alice")).expect("enrolled");
            let factor = SecondFactor::open(&secrets, &realm(), &name("alice"), &sealed);
            let code = enrolled.totp.code_at(NOW_MS);
            let factor = factor.expect("its own");
            let taken = throttle.take_code(&mut ticket, &factor, code.as_bytes(), NOW_MS);
            let _ = taken.expect("the code of now");
        }
        throttle.all(NOW_MS)
    },
    check: |bytes| {
        let mut learner = throttle();
        let learnt = learner.learn(&name("n2"), bytes, NOW_MS);
        // What a peer told is never told on as if it were the node's own.
        for record in learner.all(NOW_MS) {
            assert!(throttle().learn(&name("n3"), &record, NOW_MS).is_ok());
        }
        // Nobody is made to wait longer than the longest rule says.
        let attempt = Attempt {
            source: Source::Local,
            key: KeyId::from_bytes([1; 32]),
            user: &name("alice"),
        };
        let limits = ThrottleLimits::default();
        let longest = [
            limits.source,
            limits.account_from_source,
            limits.account,
            limits.account_with_key,
            limits.source_with_key,
            limits.code,
            limits.overflow,
        ];
        let longest = longest.iter().map(|rule| rule.wait_ms_max).max();
        if let Err(refused) = learner.charge(&attempt, NOW_MS) {
            assert!(Some(refused.wait_ms) <= longest);
        }
        // Taken apart it says the same, and each part is one of its own.
        let apart = parts(bytes);
        assert_eq!(apart.is_ok(), learnt.is_ok());
        let (mut whole, mut of_parts) = (throttle(), throttle());
        if let Ok(apart) = apart {
            whole.replay(bytes).expect("it decodes");
            for part in &apart {
                of_parts.replay(&part.record).expect("a part is a record");
                assert_eq!(parts(&part.record).as_ref(), Ok(&vec![part.clone()]));
            }
        }
        assert_eq!(told(&whole), told(&of_parts));
        Outcome::of(&learnt)
    },
}];

/// All that it tells, in whatever order.
fn told(throttle: &Throttle) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let records = throttle.all(NOW_MS);
    let parts = records.iter().map(|record| parts(record).expect("its own"));
    parts
        .flatten()
        .map(|part| (part.name, part.record))
        .collect()
}

fn throttle() -> Throttle {
    // The names are hashes under a key that nothing here depends on.
    let secrets = LoginSecrets::generate().expect("random");
    Throttle::new(ThrottleKey::of(&secrets), ThrottleLimits::default())
}
