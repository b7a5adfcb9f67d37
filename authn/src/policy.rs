//! Who may do what: grants of rights over key prefixes, deny by default.
//!
//! A decision that allows yields [`Allowed`], which only this module makes;
//! whatever acts on a key demands one.

mod bounds;
mod named;

use std::fmt;
use std::str::FromStr;

use crate::name::Name;

pub use bounds::intersection;
pub use named::{GRANTS_MAX, NAMED_ROLES_BYTES_MAX, NAMED_ROLES_MAX, NamedRoles, NamedRolesError};

/// Longest pattern of a grant in bytes; keys themselves end at 4 KiB.
pub const PATTERN_LENGTH_MAX: usize = 4096;
/// The part of the key space that belongs to the store itself.
pub const RESERVED_PREFIX: &[u8] = b"system/";
/// The role that may do everything.
pub const ADMIN_ROLE: &str = "admin";

/// One thing that may be done to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read its value.
    Read,
    /// Change its value.
    Write,
    /// Delete it.
    Delete,
    /// See that it exists.
    List,
    /// Administer what lies below it.
    Administer,
}

impl Action {
    const ALL: [(Self, char, &'static str); 5] = [
        (Self::Read, 'r', "read"),
        (Self::Write, 'w', "write"),
        (Self::Delete, 'd', "delete"),
        (Self::List, 'l', "list"),
        (Self::Administer, 'a', "admin"),
    ];

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, _, word) = Self::ALL[*self as usize];
        formatter.write_str(word)
    }
}

impl FromStr for Action {
    type Err = BadGrant;

    fn from_str(text: &str) -> Result<Self, BadGrant> {
        Self::ALL
            .into_iter()
            .find(|(_, _, word)| *word == text)
            .map(|(action, _, _)| action)
            .ok_or(BadGrant::UnknownAction)
    }
}

/// A set of actions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    /// Every action.
    pub const ALL: Self = Self(0b1_1111);

    /// Whether `action` is among them.
    #[must_use]
    pub fn contains(self, action: Action) -> bool {
        self.0 & action.bit() != 0
    }

    /// The actions of either.
    #[must_use]
    pub fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// The actions that are among both; none when there are none.
    #[must_use]
    pub fn common(self, others: Self) -> Option<Self> {
        let both = self.0 & others.0;
        (both != 0).then_some(Self(both))
    }

    /// The actions of these that are not among `others`; none when all are.
    #[must_use]
    pub fn without(self, others: Self) -> Option<Self> {
        let rest = self.0 & !others.0;
        (rest != 0).then_some(Self(rest))
    }
}

impl FromStr for Rights {
    type Err = BadGrant;

    fn from_str(text: &str) -> Result<Self, BadGrant> {
        let mut rights = 0;
        for letter in text.chars() {
            let (action, _, _) = Action::ALL
                .into_iter()
                .find(|(_, known, _)| *known == letter)
                .ok_or(BadGrant::UnknownRight)?;
            if rights & action.bit() != 0 {
                return Err(BadGrant::RightTwice);
            }
            rights |= action.bit();
        }
        if rights == 0 {
            return Err(BadGrant::NoRights);
        }
        Ok(Self(rights))
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Action::ALL
            .into_iter()
            .filter(|(action, _, _)| self.contains(*action))
            .try_for_each(|(_, letter, _)| write!(formatter, "{letter}"))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

/// A text that is no role and no grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadGrant {
    /// Neither the name of a role nor `PREFIX:RIGHTS`.
    #[error("neither a role's name, such as admin, nor a grant, such as app/*:rw")]
    NeitherRoleNorGrant,
    /// A letter that is no right.
    #[error("rights are letters of r (read), w (write), d (delete), l (list), a (administer)")]
    UnknownRight,
    /// A letter stands twice.
    #[error("a right stands twice")]
    RightTwice,
    /// Nothing follows the colon.
    #[error("no rights after the colon")]
    NoRights,
    /// A star elsewhere than at the end of a path component.
    #[error("'*' stands alone or after the last '/': app/*")]
    MisplacedStar,
    /// The pattern is empty or longer than a key can be.
    #[error("the pattern is empty or longer than {PATTERN_LENGTH_MAX} bytes")]
    PatternLength,
    /// The pattern reaches into the reserved namespace.
    #[error("system/ is reserved")]
    Reserved,
    /// An action that is not known.
    #[error("actions are read, write, delete, list and admin")]
    UnknownAction,
}

/// Rights over one key, or over all keys below a prefix.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    pattern: String,
    rights: Rights,
}

impl Grant {
    /// The key, or the prefix with a star behind it.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// What may be done there.
    #[must_use]
    pub fn rights(&self) -> Rights {
        self.rights
    }

    /// Other rights over the same keys.
    #[must_use]
    pub fn with_rights(&self, rights: Rights) -> Self {
        Self {
            pattern: self.pattern.clone(),
            rights,
        }
    }
}

fn covers(pattern: &str, key: &[u8]) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => key.starts_with(prefix.as_bytes()),
        None => key == pattern.as_bytes(),
    }
}

/// Whether every key that begins with `prefix` is covered.
fn covers_all_below(pattern: &str, prefix: &[u8]) -> bool {
    pattern
        .strip_suffix('*')
        .is_some_and(|pattern| prefix.starts_with(pattern.as_bytes()))
}

impl FromStr for Grant {
    type Err = BadGrant;

    fn from_str(text: &str) -> Result<Self, BadGrant> {
        let (pattern, rights) = text.rsplit_once(':').ok_or(BadGrant::NeitherRoleNorGrant)?;
        if pattern.is_empty() || pattern.len() > PATTERN_LENGTH_MAX {
            return Err(BadGrant::PatternLength);
        }
        let body = pattern.strip_suffix('*').unwrap_or(pattern);
        let whole_components = body.is_empty() || body.ends_with('/') || body == pattern;
        if body.contains('*') || !whole_components {
            return Err(BadGrant::MisplacedStar);
        }
        if pattern.as_bytes().starts_with(RESERVED_PREFIX) {
            return Err(BadGrant::Reserved);
        }
        Ok(Self {
            pattern: pattern.to_owned(),
            rights: rights.parse()?,
        })
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.pattern, self.rights)
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

/// A role of a user: a name that stands for grants, or one grant itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Everything, everywhere outside the reserved namespace.
    Admin,
    /// What the realm's [`NamedRoles`] say of this name; nothing when they do not
    /// know it.
    Named(Name),
    /// One grant.
    Grant(Grant),
}

impl FromStr for Role {
    type Err = BadGrant;

    fn from_str(text: &str) -> Result<Self, BadGrant> {
        if text == ADMIN_ROLE {
            return Ok(Self::Admin);
        }
        // No name has a colon, and every grant has one.
        if text.contains(':') {
            return text.parse().map(Self::Grant);
        }
        text.parse()
            .map(Self::Named)
            .map_err(|_| BadGrant::NeitherRoleNorGrant)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin => formatter.write_str(ADMIN_ROLE),
            Self::Named(name) => write!(formatter, "{name}"),
            Self::Grant(grant) => write!(formatter, "{grant}"),
        }
    }
}

/// Proof that a policy allowed an action on a key; made by [`decide`] and
/// [`decide_below`] only.
#[derive(Debug)]
pub struct Allowed {
    /// The rule that decided, for people to read.
    pub rule: String,
}

/// No rule allows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no rule allows {user} to {action} it")]
pub struct Denied {
    /// Who was refused.
    pub user: String,
    /// What was refused.
    pub action: Action,
}

/// Whether `user`, who has `roles`, may do `action` to `key`; `named` says what the
/// names among them stand for.
///
/// # Errors
/// [`Denied`] when no rule allows it.
pub fn decide(
    user: &str,
    roles: &[Role],
    named: &NamedRoles,
    action: Action,
    key: &[u8],
) -> Result<Allowed, Denied> {
    let reserved = key.starts_with(RESERVED_PREFIX);
    first_rule(user, roles, named, action, |pattern| {
        !reserved && covers(pattern, key)
    })
}

/// Whether `user` may do `action` to every key that begins with `prefix`.
///
/// # Errors
/// [`Denied`] when no single rule allows all of it.
pub fn decide_below(
    user: &str,
    roles: &[Role],
    named: &NamedRoles,
    action: Action,
    prefix: &[u8],
) -> Result<Allowed, Denied> {
    let reserved = prefix.starts_with(RESERVED_PREFIX);
    first_rule(user, roles, named, action, |pattern| {
        !reserved && covers_all_below(pattern, prefix)
    })
}

fn first_rule(
    user: &str,
    roles: &[Role],
    named: &NamedRoles,
    action: Action,
    covers: impl Fn(&str) -> bool,
) -> Result<Allowed, Denied> {
    let allows = |grant: &&Grant| grant.rights.contains(action) && covers(&grant.pattern);
    roles
        .iter()
        .find_map(|role| match role {
            Role::Admin => covers("*").then(|| format!("role {ADMIN_ROLE}: *:{}", Rights::ALL)),
            Role::Named(name) => {
                let grant = named.grants(name)?.iter().find(allows)?;
                Some(format!("role {name}: {grant}"))
            }
            Role::Grant(grant) => allows(&grant).then(|| format!("grant {grant}")),
        })
        .map(|rule| Allowed { rule })
        .ok_or_else(|| Denied {
            user: user.to_owned(),
            action,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(texts: &[&str]) -> Vec<Role> {
        texts
            .iter()
            .map(|text| text.parse().expect("a role"))
            .collect()
    }

    fn allowed(texts: &[&str], action: Action, key: &str) -> bool {
        decide(
            "u",
            &roles(texts),
            &NamedRoles::default(),
            action,
            key.as_bytes(),
        )
        .is_ok()
    }

    #[test]
    fn nothing_is_allowed_without_a_rule() {
        assert!(!allowed(&[], Action::Read, "app/x"));
    }

    #[test]
    fn a_grant_covers_its_prefix_and_its_rights_only() {
        let rules = ["app/*:rw"];
        assert!(allowed(&rules, Action::Read, "app/x"));
        assert!(allowed(&rules, Action::Write, "app/x/y"));
        assert!(!allowed(&rules, Action::Delete, "app/x"));
        assert!(!allowed(&rules, Action::Read, "apple"));
        assert!(!allowed(&rules, Action::Read, "app"));
        assert!(!allowed(&rules, Action::Read, "other/app/x"));
    }

    #[test]
    fn a_grant_without_star_covers_one_key() {
        assert!(allowed(&["app/x:r"], Action::Read, "app/x"));
        assert!(!allowed(&["app/x:r"], Action::Read, "app/x/y"));
        assert!(!allowed(&["app/x:r"], Action::Read, "app/xy"));
    }

    #[test]
    fn the_reserved_namespace_is_nobodys() {
        for action in [Action::Read, Action::Write, Action::List] {
            assert!(!allowed(
                &["admin", "*:rwdla"],
                action,
                "system/users/alice"
            ));
        }
    }

    #[test]
    fn listing_needs_a_rule_for_all_of_it() {
        let rules = roles(&["app/*:l", "app/x:l"]);
        let below = |prefix: &str| {
            decide_below(
                "u",
                &rules,
                &NamedRoles::default(),
                Action::List,
                prefix.as_bytes(),
            )
        };
        assert!(below("app/").is_ok() && below("app/x/").is_ok());
        assert!(below("ap").is_err() && below("").is_err() && below("system/").is_err());
    }

    #[test]
    fn malformed_grants_are_refused_by_name() {
        let cases = [
            ("Operator", BadGrant::NeitherRoleNorGrant),
            ("app/*", BadGrant::NeitherRoleNorGrant),
            ("", BadGrant::NeitherRoleNorGrant),
            ("app/*:", BadGrant::NoRights),
            ("app/*:rx", BadGrant::UnknownRight),
            ("app/*:rr", BadGrant::RightTwice),
            (":r", BadGrant::PatternLength),
            ("app*:r", BadGrant::MisplacedStar),
            ("*/x:r", BadGrant::MisplacedStar),
            ("app/**:r", BadGrant::MisplacedStar),
            ("system/*:r", BadGrant::Reserved),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Role>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn roles_survive_their_text() {
        for text in ["admin", "ops", "app/*:rwdla", "*:r", "a:b:rw"] {
            assert_eq!(text.parse::<Role>().expect("valid").to_string(), text);
        }
    }
}
