//! Grants and roles as people type them: what is likely to be meant otherwise.

use sealmoot_authn::cli::escaped;
use sealmoot_authn::name::Name;
use sealmoot_authn::policy::{ADMIN_ROLE, Grant, NamedRoles, Role};

use crate::Context;

/// Most changes of a letter that make a typing error of one name into another.
const TYPING_ERRORS_MAX: usize = 2;

/// Warns of grants that are for one key and look as if they were for all below it.
pub(crate) fn warn_of_single_keys<'a>(
    grants: impl IntoIterator<Item = &'a Grant>,
    context: &Context<'_>,
) {
    for grant in grants {
        if let Some(warning) = single_key(grant) {
            context.output.warning(warning);
        }
    }
}

/// The grants among the roles of a user.
pub(crate) fn grants_of(roles: &[Role]) -> impl Iterator<Item = &Grant> {
    roles.iter().filter_map(|role| match role {
        Role::Grant(grant) => Some(grant),
        Role::Admin | Role::Named(_) => None,
    })
}

fn single_key(grant: &Grant) -> Option<String> {
    let pattern = grant.pattern();
    pattern.ends_with('/').then(|| {
        let meant = format!("{pattern}*:{}", grant.rights());
        escaped(&format!(
            "{grant} is for a single key, {pattern}; did you mean {meant}?"
        ))
    })
}

/// The role that was meant by a name that no role has.
pub(crate) fn similar_role(wanted: &Name, roles: &NamedRoles) -> Option<String> {
    let known = roles.iter().map(|(name, _)| name.as_str());
    [ADMIN_ROLE]
        .into_iter()
        .chain(known)
        .map(|known| (distance(wanted.as_str(), known), known))
        .filter(|(distance, known)| *distance <= TYPING_ERRORS_MAX && *distance < known.len())
        .min()
        .map(|(_, known)| known.to_owned())
}

/// How many letters have to be put in, taken out or replaced to make one of the other
/// (Levenshtein 1966).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, known) in other.bytes().enumerate() {
            let replaced = diagonal + usize::from(letter != known);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_counted_that_differ() {
        for (one, other, expected) in [
            ("", "", 0),
            ("admn", "admin", 1),
            ("admin", "admin", 0),
            ("nimda", "admin", 4),
            ("kitten", "sitting", 3),
            ("", "abc", 3),
        ] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
            assert_eq!(distance(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn a_role_is_suggested_for_a_typing_error_and_for_nothing_else() {
        let mut roles = NamedRoles::default();
        for name in ["ops", "readers"] {
            let name = name.parse().expect("a name");
            roles.add(name, vec![]).expect("added");
        }
        let similar = |text: &str| similar_role(&text.parse().expect("a name"), &roles);
        assert_eq!(similar("admn").as_deref(), Some("admin"));
        assert_eq!(similar("reader").as_deref(), Some("readers"));
        assert_eq!(similar("opps").as_deref(), Some("ops"));
        assert_eq!(similar("writers"), None);
    }

    #[test]
    fn a_grant_for_a_key_that_looks_like_a_prefix_is_told() {
        let told = |text: &str| single_key(&text.parse().expect("a grant"));
        let warning = told("app/:rw").expect("told");
        assert!(warning.ends_with("did you mean app/*:rw?"), "{warning}");
        for clear in ["app/*:rw", "app/x:r", "app:r"] {
            assert_eq!(told(clear), None);
        }
    }
}
