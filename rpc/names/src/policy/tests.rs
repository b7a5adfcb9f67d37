use super::*;
use crate::testing::{id, name};

fn prefix(text: &str) -> Prefix {
    text.parse().expect("a prefix")
}

fn rule(publisher: u8, signer: u8, reader: u8) -> Rule {
    Rule {
        publishers: [id(publisher)].into(),
        signers: vec![id(signer)],
        readers: Readers::Keys([id(reader)].into()),
        ..Rule::default()
    }
}

fn policy() -> Policy {
    Policy::new()
        .rule(prefix("store"), rule(1, 2, 3))
        .and_then(|policy| policy.rule(prefix("store/eu"), rule(4, 5, 6)))
        .expect("distinct prefixes")
}

#[test]
fn without_a_rule_nobody_may_do_anything() {
    for policy in [Policy::new(), policy()] {
        let other = name("other");
        assert!(!policy.may_publish(&id(1), &other));
        assert!(!policy.may_read(&id(3), &other));
        assert_eq!(policy.signers(&other), []);
    }
}

#[test]
fn a_rule_that_says_nothing_allows_nothing() {
    let policy = Policy::new()
        .rule(Prefix::ALL, Rule::default())
        .expect("one rule");
    assert!(!policy.may_publish(&id(1), &name("a")));
    assert!(!policy.may_read(&id(1), &name("a")));
    assert_eq!(policy.signers(&name("a")), []);
}

#[test]
fn rights_do_not_stand_for_each_other() {
    let store = name("store/us");
    let policy = policy();
    assert!(policy.may_publish(&id(1), &store) && !policy.may_read(&id(1), &store));
    assert!(policy.may_read(&id(3), &store) && !policy.may_publish(&id(3), &store));
    assert!(!policy.may_publish(&id(2), &store) && !policy.may_read(&id(2), &store));
    assert_eq!(policy.signers(&store), [id(2)]);
}

#[test]
fn a_prefix_covers_whole_parts() {
    let policy = policy();
    for covered in ["store", "store/us", "store/us/1", "store/europe"] {
        assert!(policy.may_publish(&id(1), &name(covered)), "{covered}");
        assert!(prefix("store").covers(&name(covered)), "{covered}");
    }
    for other in ["stores", "store-eu", "stor", "a/store"] {
        assert!(!policy.may_publish(&id(1), &name(other)), "{other}");
        assert!(!prefix("store").covers(&name(other)), "{other}");
    }
    assert!(Prefix::ALL.covers(&name("a/b")));
}

#[test]
fn the_longest_prefix_decides_alone() {
    let policy = policy();
    for below in ["store/eu", "store/eu/1"] {
        let below = name(below);
        assert!(policy.may_publish(&id(4), &below));
        assert!(!policy.may_publish(&id(1), &below), "the shorter prefix");
        assert!(!policy.may_read(&id(3), &below), "the shorter prefix");
        assert_eq!(policy.signers(&below), [id(5)]);
    }
}

#[test]
fn whoever_is_admitted_may_read_where_that_is_said() {
    let rule = Rule {
        readers: Readers::Admitted,
        ..Rule::default()
    };
    let policy = policy().rule(Prefix::ALL, rule).expect("a third prefix");
    assert!(policy.may_read(&id(77), &name("other")));
    assert!(!policy.may_read(&id(77), &name("store")));
}

#[test]
fn a_second_rule_for_a_prefix_is_refused() {
    for twice in ["store", "store/eu"] {
        let refused = policy().rule(prefix(twice), Rule::default());
        assert_eq!(refused, Err(DuplicatePrefix(prefix(twice))));
    }
}

#[test]
fn a_prefix_is_a_name_or_nothing() {
    assert_eq!(prefix(""), Prefix::ALL);
    for bad in ["/", "a/", "/a", "A", "a//b", "*"] {
        assert!(bad.parse::<Prefix>().is_err(), "{bad}");
    }
}

#[test]
fn the_rule_that_decides_gives_the_quota() {
    let few = Rule {
        names_max: 7,
        ..rule(1, 2, 3)
    };
    let policy = policy().rule(prefix("few"), few).expect("another prefix");
    let quota = |called| policy.quota(&name(called));
    let expected = |text, names_max| {
        let prefix = prefix(text);
        Some(Quota { prefix, names_max })
    };
    assert_eq!(quota("few/a"), expected("few", 7));
    assert_eq!(quota("store/eu/1"), expected("store/eu", RULE_NAMES_MAX));
    assert_eq!(quota("other"), None);
}
