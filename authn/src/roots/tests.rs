use super::*;
use crate::statement::{CallMember, HANDOVER_CALLS_MAX};

fn key() -> SigningKey {
    SigningKey::generate().expect("random")
}

fn id(key: &SigningKey) -> KeyId {
    key.verifying_key().key_id()
}

/// The keys of a realm, each the heir of the one before.
pub(crate) struct Keys(pub(crate) Vec<SigningKey>);

impl Keys {
    pub(crate) fn new(count: usize) -> Self {
        Self((0..count).map(|_| key()).collect())
    }

    pub(crate) fn first(&self) -> Roots {
        Roots::first(Inception {
            root: self.0[0].verifying_key(),
            heir: id(&self.0[1]),
        })
    }

    /// The roots after so many handovers.
    pub(crate) fn after(&self, handovers: usize) -> Roots {
        let mut roots = self.first();
        for at in 1..=handovers {
            roots = self.next(&roots, at, &[]);
        }
        roots
    }

    pub(crate) fn next(&self, roots: &Roots, at: usize, calls: &[[u8; 32]]) -> Roots {
        let [former, heir, next] = [&self.0[at - 1], &self.0[at], &self.0[at + 1]];
        let next = roots.hand_over(former, heir, id(next), calls, at as u64);
        next.expect("the heir")
    }
}

/// A record of these statements, whatever they say.
fn record(inception: &Inception, parts: &[(Vec<u8>, Signature)]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.u8(ROOTS_TAG);
    inception.write(&mut writer);
    writer.count(parts.len());
    for (statement, signature) in parts {
        writer.bytes(statement);
        writer.fixed(&signature.to_bytes());
    }
    writer.finish()
}

/// One handover, signed by whoever.
fn part(
    realm: &RealmId,
    by: &SigningKey,
    countersigned_by: &SigningKey,
    body: Handover,
) -> (Vec<u8>, Signature) {
    let statement = Verified::issue(realm, by, 1, body);
    let signature = countersigned_by.sign(HEIR_DOMAIN, statement.bytes());
    (statement.bytes().to_vec(), signature)
}

fn body(number: u64, root: &SigningKey) -> Handover {
    Handover {
        number,
        root: root.verifying_key(),
        heir: KeyId::from_bytes([7; 32]),
        calls: Vec::new(),
    }
}

fn call(realm: &RealmId, by: &SigningKey, id: u8) -> Verified<Call> {
    let member = CallMember {
        name: "n1".parse().expect("a name"),
        address: "127.0.0.1:7401".to_owned(),
        invite_key: key().verifying_key(),
    };
    let call = Call {
        id: [id; 16],
        realm_name: "acme".parse().expect("a name"),
        expires_ms: 9,
        members: vec![member],
    };
    Verified::issue(realm, by, 1, call)
}

#[test]
fn the_id_commits_to_the_root_and_to_the_heir() {
    let (root, heir, other) = (key(), key(), key());
    let of = |root: &SigningKey, heir: KeyId| {
        let root = root.verifying_key();
        Inception { root, heir }.realm()
    };
    let realm = of(&root, id(&heir));
    assert_eq!(realm, of(&root, id(&heir)));
    assert_ne!(realm, of(&root, id(&other)));
    assert_ne!(realm, of(&other, id(&heir)));
    assert_ne!(realm, of(&heir, id(&root)));
    assert_ne!(realm, Inception::without_heir(root.verifying_key()).realm());
    assert_ne!(realm.key_id(), id(&root));
}

#[test]
fn a_realm_goes_from_key_to_key() {
    let keys = Keys::new(5);
    let roots = keys.after(3);
    assert_eq!(roots.number(), 3);
    assert_eq!(*roots.current(), keys.0[3].verifying_key());
    assert_eq!(*roots.heir(), id(&keys.0[4]));
    let bytes = roots.encode();
    assert!(bytes.len() <= ROOTS_LENGTH_MAX);
    let read = Roots::decode(&bytes, &roots.realm()).expect("believed");
    assert_eq!(read.encode(), bytes);
    assert_eq!(Roots::claimed(&bytes), Ok(3));
    for number in 0..4 {
        let root = keys.0[number].verifying_key();
        assert_eq!(read.number_of(&root), Some(number as u64));
        assert_eq!(read.key(number as u64), Some(&root));
    }
    assert_eq!(read.number_of(&keys.0[4].verifying_key()), None);
    assert_eq!(read.key(4), None);
    let mut behind = keys.after(1);
    assert_eq!(behind.take(&bytes), Ok(true));
    assert_eq!(behind.take(&bytes), Ok(false));
    // Fewer are no news, and take nothing back.
    assert_eq!(behind.take(&keys.first().encode()), Ok(false));
    assert_eq!(behind.number(), 3);
}

#[test]
fn no_changed_byte_and_no_truncation_is_believed() {
    let keys = Keys::new(4);
    let roots = keys.after(2);
    let bytes = roots.encode();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 4;
        assert!(Roots::decode(&changed, &roots.realm()).is_err(), "{at}");
        assert!(keys.first().take(&changed).is_err(), "{at}");
        assert!(Roots::decode(&bytes[..at], &roots.realm()).is_err(), "{at}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(Roots::decode(&longer, &roots.realm()).is_err());
}

#[test]
fn a_thief_of_the_root_names_no_heir_and_an_heir_alone_takes_nothing() {
    let keys = Keys::new(3);
    let (first, thief) = (keys.first(), key());
    let (realm, inception) = (first.realm(), *first.inception());
    let (root, heir) = (&keys.0[0], &keys.0[1]);
    let judge = |part| first.clone().take(&record(&inception, &[part])).err();
    assert_eq!(judge(part(&realm, root, heir, body(1, heir))), None);
    // Another heir, countersigned by that one.
    let own = part(&realm, root, &thief, body(1, &thief));
    assert_eq!(judge(own), Some(RootsError::NotTheHeir(1)));
    // The committed one, which did not sign.
    for by in [root, &thief] {
        let alone = part(&realm, root, by, body(1, heir));
        assert_eq!(judge(alone), Some(RootsError::NotCountersigned(1)));
    }
    // The heir without the root.
    for by in [heir, &thief] {
        let alone = part(&realm, by, heir, body(1, heir));
        let error = StatementError::WrongIssuer;
        assert_eq!(
            judge(alone),
            Some(RootsError::Statement { number: 1, error })
        );
    }
    for number in [0, 2, u64::MAX] {
        let other = part(&realm, root, heir, body(number, heir));
        let (expected, found) = (1, number);
        assert_eq!(
            judge(other),
            Some(RootsError::WrongNumber { expected, found })
        );
    }
    let elsewhere = part(&keys.after(0).realm(), root, heir, body(1, heir));
    assert_eq!(judge(elsewhere), None);
    let foreign = RealmId::from_bytes([3; 32]);
    let error = StatementError::WrongRealm;
    let elsewhere = part(&foreign, root, heir, body(1, heir));
    assert_eq!(
        judge(elsewhere),
        Some(RootsError::Statement { number: 1, error })
    );
    // In the domain of the statement itself.
    let statement = Verified::issue(&realm, root, 1, body(1, heir));
    let signature = heir.sign(Handover::DOMAIN, statement.bytes());
    let mixed = (statement.bytes().to_vec(), signature);
    assert_eq!(judge(mixed), Some(RootsError::NotCountersigned(1)));
    // A realm without an heir is never handed over.
    let sole = Roots::sole(root.verifying_key());
    let refused = sole.hand_over(root, heir, id(&thief), &[], 1);
    assert_eq!(refused.err(), Some(RootsError::NotTheHeir(1)));
    // Another inception is another realm, to whoever pins one.
    let other = Roots::first(Inception {
        root: root.verifying_key(),
        heir: id(&thief),
    });
    let refused = Roots::decode(&other.encode(), &realm);
    assert!(matches!(refused, Err(RootsError::WrongRealm { .. })));
}

#[test]
fn a_root_is_never_root_again() {
    let (one, two) = (key(), key());
    let first = Roots::first(Inception {
        root: one.verifying_key(),
        heir: id(&two),
    });
    // Nobody makes this one here: the heir of the heir is the root before.
    let handover = Handover {
        heir: id(&one),
        ..body(1, &two)
    };
    let part = part(&first.realm(), &one, &two, handover);
    let second = Roots::decode(&record(first.inception(), &[part]), &first.realm());
    let second = second.expect("both keys");
    let again = second.hand_over(&two, &one, id(&key()), &[], 2);
    assert_eq!(again.err(), Some(RootsError::RootAgain(2)));
}

#[test]
fn a_fork_is_refused_by_its_number_and_changes_nothing() {
    let keys = Keys::new(4);
    let (one, two) = (keys.after(1), keys.after(2));
    // The same two keys, and another key after them.
    let other = key();
    let fork_at_one = keys
        .first()
        .hand_over(&keys.0[0], &keys.0[1], id(&other), &[], 9)
        .expect("both keys");
    let fork_at_two = one
        .hand_over(&keys.0[1], &keys.0[2], id(&other), &[], 9)
        .expect("both keys");
    for (fork, number) in [(&fork_at_one, 1), (&fork_at_two, 2)] {
        let mut held = two.clone();
        let refused = held.take(&fork.encode());
        assert_eq!(refused, Err(RootsError::Fork(number)));
        assert_eq!(held.encode(), two.encode());
    }
    // It is one also where it is longer.
    let longer = fork_at_one.hand_over(&keys.0[1], &other, id(&key()), &[], 10);
    let mut held = one.clone();
    let refused = held.take(&longer.expect("its heir").encode());
    assert_eq!(refused, Err(RootsError::Fork(1)));
    assert_eq!(held.number(), 1);
}

#[test]
fn more_handovers_or_calls_than_fit_are_refused() {
    let keys = Keys::new(HANDOVERS_MAX + 3);
    let calls: Vec<[u8; 32]> = (0..HANDOVER_CALLS_MAX as u8).map(|at| [at; 32]).collect();
    let mut roots = keys.first();
    for at in 1..=HANDOVERS_MAX {
        roots = keys.next(&roots, at, &calls);
    }
    let bytes = roots.encode();
    assert_eq!(bytes.len(), ROOTS_LENGTH_MAX);
    Roots::decode(&bytes, &roots.realm()).expect("as many as fit");
    let [former, heir, next] = [0, 1, 2].map(|more| &keys.0[HANDOVERS_MAX + more]);
    let more = roots.hand_over(former, heir, id(next), &[], 1);
    assert_eq!(more.err(), Some(RootsError::TooMany));
    let mut counted = bytes;
    counted[1 + INCEPTION_LENGTH] += 1;
    let refused = Roots::decode(&counted, &roots.realm());
    assert_eq!(refused.err(), Some(RootsError::TooMany));
    let mut calls = calls;
    calls.push([99; 32]);
    let first = keys.first();
    let refused = first.hand_over(&keys.0[0], &keys.0[1], id(&keys.0[2]), &calls, 1);
    assert!(matches!(refused, Err(RootsError::Malformed(_))));
}

#[test]
fn calls_out_of_order_are_no_handover() {
    let keys = Keys::new(2);
    let first = keys.first();
    for calls in [vec![[2; 32], [1; 32]], vec![[1; 32], [1; 32]]] {
        let handover = Handover {
            calls,
            ..body(1, &keys.0[1])
        };
        let part = part(&first.realm(), &keys.0[0], &keys.0[1], handover);
        let refused = first.clone().take(&record(first.inception(), &[part]));
        assert!(matches!(
            refused,
            Err(RootsError::Statement { number: 1, .. })
        ));
    }
}

#[test]
fn a_call_of_a_former_root_is_valid_if_it_was_named() {
    let keys = Keys::new(4);
    let first = keys.first();
    let realm = first.realm();
    let (named, other) = (call(&realm, &keys.0[0], 1), call(&realm, &keys.0[0], 2));
    assert!(first.is_call_valid(&named) && first.is_call_valid(&other));
    let digest = sha256(named.bytes());
    let second = keys.next(&first, 1, &[digest]);
    assert!(second.is_call_valid(&named));
    assert!(!second.is_call_valid(&other));
    let own = call(&realm, &keys.0[1], 3);
    assert!(second.is_call_valid(&own));
    // Only what the last handover names.
    let third = keys.next(&second, 2, &[sha256(own.bytes())]);
    assert!(third.is_call_valid(&own));
    assert!(!third.is_call_valid(&named));
}

#[test]
fn no_heir_is_named_that_is_or_was_a_root() {
    let keys = Keys::new(4);
    let second = keys.after(1);
    let (former, heir) = (&keys.0[1], &keys.0[2]);
    for taken in [0, 1, 2] {
        let refused = second.hand_over(former, heir, id(&keys.0[taken]), &[], 2);
        assert_eq!(refused.err(), Some(RootsError::RootAgain(3)), "{taken}");
    }
    assert!(
        second
            .hand_over(former, heir, id(&keys.0[3]), &[], 2)
            .is_ok()
    );
}
