//! Whether grants lie within others: what may be handed on by who has those.

use super::{Grant, NamedRoles, Rights, Role, covers, covers_all_below};

impl Grant {
    /// Every action on every key.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            pattern: "*".to_owned(),
            rights: Rights::ALL,
        }
    }

    /// Whether `outer` together give each of these rights over all of these keys. Several
    /// of them may share the rights, but one pattern has to cover the keys.
    #[must_use]
    pub fn lies_within(&self, outer: &[Self]) -> bool {
        let mut missing = Some(self.rights);
        for grant in outer.iter().filter(|grant| grant.covers_all_of(self)) {
            missing = missing.and_then(|rights| rights.without(grant.rights));
        }
        missing.is_none()
    }

    /// What both give: these rights over these keys, as far as `other` has them too. Of
    /// two patterns one covers the other, or they have no key in common.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let narrower = match (other.covers_all_of(self), self.covers_all_of(other)) {
            (true, _) => self,
            (false, true) => other,
            (false, false) => return None,
        };
        let rights = self.rights.common(other.rights)?;
        Some(narrower.with_rights(rights))
    }

    fn covers_all_of(&self, inner: &Self) -> bool {
        match inner.pattern.strip_suffix('*') {
            Some(prefix) => covers_all_below(&self.pattern, prefix.as_bytes()),
            None => covers(&self.pattern, inner.pattern.as_bytes()),
        }
    }
}

/// The grants that say what `inner` and `outer` both allow: a request that one of each
/// allows is allowed by one of these, and no other is. No two have one pattern, and none
/// lies within the others.
#[must_use]
pub fn intersection(inner: &[Grant], outer: &[Grant]) -> Vec<Grant> {
    let mut both: Vec<Grant> = Vec::new();
    let pairs = inner
        .iter()
        .flat_map(|inner| outer.iter().map(move |outer| inner.intersection(outer)));
    for grant in pairs.flatten() {
        match both.iter_mut().find(|held| held.pattern == grant.pattern) {
            Some(held) => held.rights = held.rights.with(grant.rights),
            None => both.push(grant),
        }
    }
    let mut index = 0;
    while index < both.len() {
        let grant = both.remove(index);
        if !grant.lies_within(&both) {
            both.insert(index, grant);
            index += 1;
        }
    }
    both
}

impl Role {
    /// Whether the role, which is a grant or `admin`, lies within `outer`; `None` of a
    /// role with a name, which only the realm's roles can tell.
    #[must_use]
    pub fn lies_within(&self, outer: &[Grant]) -> Option<bool> {
        match self {
            Self::Admin => Some(Grant::everything().lies_within(outer)),
            Self::Grant(grant) => Some(grant.lies_within(outer)),
            Self::Named(_) => None,
        }
    }

    /// The same, where `named` tells what a role with a name grants now. One that nobody
    /// knows grants nothing, and nothing lies within everything.
    #[must_use]
    pub fn lies_within_now(&self, outer: &[Grant], named: &NamedRoles) -> bool {
        match self {
            Self::Named(name) => named
                .grants(name)
                .unwrap_or_default()
                .iter()
                .all(|grant| grant.lies_within(outer)),
            role => role.lies_within(outer) == Some(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(texts: &[&str]) -> Vec<Grant> {
        texts
            .iter()
            .map(|text| text.parse().expect("a grant"))
            .collect()
    }

    #[test]
    fn a_grant_lies_within_wider_ones_only() {
        let cases: &[(&str, &[&str], bool)] = &[
            ("app/*:r", &["app/*:r"], true),
            ("app/x:r", &["app/*:rw"], true),
            ("app/x/*:r", &["app/*:rw"], true),
            ("app/*:rw", &["app/*:r", "app/*:w"], true),
            ("app/x:rw", &["*:r", "app/*:w"], true),
            ("*:rwdla", &["*:rwdla"], true),
            ("app/*:rw", &["app/*:r"], false),
            ("app/*:r", &["app/x/*:r"], false),
            ("app/*:r", &["app/x:r"], false),
            ("app/x/*:r", &["app/x:r"], false),
            ("app/x:r", &["app/x/*:r"], false),
            ("apple/*:r", &["app/*:r"], false),
            ("*:r", &["app/*:rwdla"], false),
            ("app/*:rw", &["app/*:r", "app/x/*:w"], false),
            ("app/*:r", &[], false),
        ];
        for (inner, outer, expected) in cases {
            let inner = &grants(&[inner])[0];
            assert_eq!(
                inner.lies_within(&grants(outer)),
                *expected,
                "{inner} {outer:?}"
            );
        }
    }

    #[test]
    fn an_intersection_gives_what_both_give_and_nothing_else() {
        let cases: &[(&[&str], &[&str], &[&str])] = &[
            (&["*:rwdla"], &["app/*:r"], &["app/*:r"]),
            (&["app/*:r"], &["*:rwdla"], &["app/*:r"]),
            (&["app/*:rw", "log/*:r"], &["app/x:wd"], &["app/x:w"]),
            (&["app/*:r", "app/*:w"], &["app/*:rw"], &["app/*:rw"]),
            (&["app/*:r"], &["app/*:r", "app/x/*:r"], &["app/*:r"]),
            (&["app/*:r"], &["log/*:r"], &[]),
            (&["app/*:r"], &["app/*:w"], &[]),
            (&["app/x:r"], &["app/x/*:r"], &[]),
            (&[], &["*:rwdla"], &[]),
        ];
        for (inner, outer, expected) in cases {
            let both = intersection(&grants(inner), &grants(outer));
            assert_eq!(both, grants(expected), "{inner:?} {outer:?}");
        }
    }

    #[test]
    fn an_intersection_decides_as_both_together_do() {
        use crate::policy::{Action, decide, decide_below};
        const PATTERNS: [&str; 6] = ["*", "a/*", "a/b/*", "a/b", "a/", "b/*"];
        const KEYS: [&str; 7] = ["", "a", "a/", "a/b", "a/b/", "a/b/c", "b/c"];
        let actions = [Action::Read, Action::Write, Action::List];
        let mut state = 1_u64;
        let mut below = |bound: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize % bound
        };
        for round in 0..500 {
            let mut some = || -> Vec<Grant> {
                let count = below(4);
                let texts: Vec<String> = (0..count)
                    .map(|_| {
                        format!(
                            "{}:{}",
                            PATTERNS[below(6)],
                            ["r", "w", "rl", "rwl"][below(4)]
                        )
                    })
                    .collect();
                texts
                    .iter()
                    .map(|text| text.parse().expect("a grant"))
                    .collect()
            };
            let (inner, outer) = (some(), some());
            let roles = |grants: Vec<Grant>| grants.into_iter().map(Role::Grant).collect();
            let both: Vec<Role> = roles(intersection(&inner, &outer));
            let (inner, outer): (Vec<Role>, Vec<Role>) = (roles(inner), roles(outer));
            let none = NamedRoles::none();
            for action in actions {
                for key in KEYS.map(str::as_bytes) {
                    let at = |roles: &[Role]| decide("u", roles, &none, action, key).is_ok();
                    let under =
                        |roles: &[Role]| decide_below("u", roles, &none, action, key).is_ok();
                    let asked = format!("round {round}: {inner:?} {outer:?} {action} {key:?}");
                    assert_eq!(at(&both), at(&inner) && at(&outer), "{asked}");
                    assert_eq!(under(&both), under(&inner) && under(&outer), "{asked}");
                }
            }
        }
    }

    #[test]
    fn the_administrators_role_takes_everything() {
        let within = |outer: &[&str]| Role::Admin.lies_within(&grants(outer));
        assert_eq!(within(&["*:rwdla"]), Some(true));
        assert_eq!(within(&["*:rwdl", "*:a"]), Some(true));
        assert_eq!(within(&["*:rwdl"]), Some(false));
        assert_eq!(within(&["app/*:rwdla"]), Some(false));
    }

    #[test]
    fn a_named_role_is_judged_by_what_it_grants_now() {
        let mut named = NamedRoles::default();
        let ops: crate::name::Name = "ops".parse().expect("a name");
        named.add(ops.clone(), grants(&["app/*:r"])).expect("added");
        let role = Role::Named(ops.clone());
        let outer = grants(&["app/*:rw"]);
        assert_eq!(role.lies_within(&outer), None);
        assert!(role.lies_within_now(&outer, &named));
        named
            .grant(&ops, grants(&["log/*:r"])[0].clone())
            .expect("granted");
        assert!(!role.lies_within_now(&outer, &named));
    }
}
