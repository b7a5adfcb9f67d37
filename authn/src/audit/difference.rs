//! What a newer record changes, in few words, for the detail of an event.

use crate::name::Name;
use crate::policy::{Grant, NamedRoles};
use crate::statement::{Revocation, Revocations, User};

/// What `new` changes of a user: `roles +ops -app/*:r, disabled`. Roles and keys that
/// came have a plus, those that went a minus. Empty when nothing of it changed.
#[must_use]
pub fn of_user(old: Option<&User>, new: &User) -> String {
    let old = old.filter(|old| !old.deleted);
    let mut changes = Vec::new();
    if new.deleted {
        return "deleted".to_owned();
    }
    let held = old.map_or(&[][..], |old| &old.roles);
    let roles = signed(held, &new.roles, |role| role.to_string());
    if !roles.is_empty() {
        changes.push(format!("roles {roles}"));
    }
    let held = old.map_or(&[][..], |old| &old.keys);
    let keys = signed(held, &new.keys, |key| format!("{} ({})", key.id, key.label));
    if !keys.is_empty() {
        changes.push(format!("keys {keys}"));
    }
    match (old.and_then(|old| old.user_key), new.user_key) {
        (None, Some(_)) if old.is_some() => changes.push("first password".to_owned()),
        (None, None) if old.is_none() => changes.push("no password".to_owned()),
        (Some(before), Some(after)) if before != after => {
            changes.push("another password".to_owned());
        }
        (Some(_), None) => changes.push("password taken away".to_owned()),
        _ => {}
    }
    if old.is_none_or(|old| old.enabled) != new.enabled {
        changes.push(if new.enabled { "enabled" } else { "disabled" }.to_owned());
    }
    changes.join(", ")
}

/// What `new` changes of the named roles: `ops +app/*:r -logs/*:w, -old`. A role that
/// came stands with a plus before its name, one that went with a minus.
#[must_use]
pub fn of_roles(old: &NamedRoles, new: &NamedRoles) -> String {
    let mut changes = Vec::new();
    for (name, grants) in new.iter() {
        match old.grants(name) {
            None => changes.push(added(name, grants)),
            Some(held) => {
                let grants = signed(held, grants, Grant::to_string);
                if !grants.is_empty() {
                    changes.push(format!("{name} {grants}"));
                }
            }
        }
    }
    let gone = old.iter().filter(|(name, _)| new.grants(name).is_none());
    changes.extend(gone.map(|(name, _)| format!("-{name}")));
    changes.join(", ")
}

/// What `new` changes of the revoked delegations: `1 for good, 2/1 below version 7 (left)`,
/// by the serials from the root's delegation down, with the reason if one was given.
#[must_use]
pub fn of_revocations(old: Option<&Revocations>, new: &Revocations) -> String {
    let held = |path| old.and_then(|old| old.entries.get(path));
    let came = new
        .entries
        .iter()
        .filter(|(path, entry)| held(path) != Some(entry));
    let mut changes: Vec<String> = came
        .map(|(path, entry)| {
            let what = match entry.lowest_version {
                Revocation::FOR_GOOD => "for good".to_owned(),
                lowest => format!("below version {lowest}"),
            };
            match entry.reason.as_str() {
                "" => format!("{path} {what}"),
                reason => format!("{path} {what} ({reason})"),
            }
        })
        .collect();
    let gone = old.iter().flat_map(|old| old.entries.keys());
    let gone = gone.filter(|path| !new.entries.contains_key(path));
    changes.extend(gone.map(|path| format!("-{path}")));
    changes.join(", ")
}

/// The detail of an event about a record: its version, and what that changes.
#[must_use]
pub fn versioned(version: u64, difference: &str) -> String {
    if difference.is_empty() {
        return format!("version {version}");
    }
    format!("version {version}: {difference}")
}

fn added(name: &Name, grants: &[Grant]) -> String {
    let grants: Vec<String> = grants.iter().map(Grant::to_string).collect();
    format!("+{name} {}", grants.join(" "))
        .trim_end()
        .to_owned()
}

/// What came, with a plus, and then what went, with a minus.
fn signed<T: PartialEq>(old: &[T], new: &[T], text: impl Fn(&T) -> String) -> String {
    let came = new.iter().filter(|item| !old.contains(item));
    let went = old.iter().filter(|item| !new.contains(item));
    let came = came.map(|item| format!("+{}", text(item)));
    let went = went.map(|item| format!("-{}", text(item)));
    came.chain(went).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::tests::device_key;
    use sealmoot_crypto::signature::SigningKey;

    fn user(roles: &[&str]) -> User {
        User {
            name: "bob".parse().expect("a name"),
            version: 1,
            enabled: true,
            deleted: false,
            roles: roles
                .iter()
                .map(|role| role.parse().expect("a role"))
                .collect(),
            user_key: None,
            keys: vec![],
            second_factor: None,
        }
    }

    fn key() -> SigningKey {
        SigningKey::generate().expect("random")
    }

    #[test]
    fn roles_that_came_and_went_are_named() {
        let (old, new) = (user(&["ops", "app/*:r"]), user(&["app/*:rw", "ops"]));
        assert_eq!(of_user(Some(&old), &new), "roles +app/*:rw -app/*:r");
        assert_eq!(of_user(Some(&old), &old), "");
        assert_eq!(of_user(None, &user(&["ops"])), "roles +ops, no password");
    }

    #[test]
    fn state_password_and_keys_are_named() {
        let old = user(&[]);
        let mut new = user(&[]);
        new.enabled = false;
        new.user_key = Some(key().verifying_key());
        new.keys = vec![device_key(&key())];
        let id = new.keys[0].id;
        let label = new.keys[0].label.clone();
        let said = of_user(Some(&old), &new);
        assert_eq!(
            said,
            format!("keys +{id} ({label}), first password, disabled")
        );
        let mut other = new.clone();
        other.user_key = Some(key().verifying_key());
        other.enabled = true;
        assert_eq!(of_user(Some(&new), &other), "another password, enabled");
        other.deleted = true;
        assert_eq!(of_user(Some(&new), &other), "deleted");
        assert_eq!(of_user(Some(&other), &old), "no password");
    }

    #[test]
    fn grants_of_named_roles_are_named() {
        let roles = |texts: &[(&str, &[&str])]| {
            let mut roles = NamedRoles::default();
            for (name, grants) in texts {
                let grants = grants.iter().map(|grant| grant.parse().expect("a grant"));
                let name = name.parse().expect("a name");
                roles.add(name, grants.collect()).expect("added");
            }
            roles
        };
        let old = roles(&[("old", &["x:r"]), ("ops", &["app/*:r", "logs/*:r"])]);
        let new = roles(&[("new", &["a:r", "b:w"]), ("ops", &["app/*:rw", "logs/*:r"])]);
        assert_eq!(
            of_roles(&old, &new),
            "+new a:r b:w, ops +app/*:rw -app/*:r, -old"
        );
        assert_eq!(of_roles(&old, &old), "");
    }
}
