//! Who may publish and who may read which names, as a value.
//!
//! What no rule covers nobody may do. Of the rules that cover a name, the one with
//! the longest prefix decides, alone: whoever is named in a shorter one has no say
//! below it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use sealmoot_crypto::signature::KeyId;
use sealmoot_rpc::binding::{BadName, Name};

use crate::limits::RULE_NAMES_MAX;

/// The names that begin with these whole parts: `store` covers `store` and
/// `store/eu`, but not `stores`.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(Option<Name>);

impl Prefix {
    /// Covers every name.
    pub const ALL: Self = Self(None);

    /// Whether a name is under this prefix, or is it.
    #[must_use]
    pub fn covers(&self, name: &Name) -> bool {
        let Some(first) = &self.0 else {
            return true;
        };
        let rest = name.as_str().strip_prefix(first.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The prefix as text; empty when it covers all.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_ref().map_or("", Name::as_str)
    }

    pub(crate) fn name(&self) -> Option<&Name> {
        self.0.as_ref()
    }
}

impl From<Name> for Prefix {
    fn from(name: Name) -> Self {
        Self(Some(name))
    }
}

impl FromStr for Prefix {
    type Err = BadName;

    /// A name, or nothing for all of them.
    fn from_str(text: &str) -> Result<Self, BadName> {
        if text.is_empty() {
            return Ok(Self::ALL);
        }
        text.parse().map(|name| Self(Some(name)))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/*", self.as_str())
    }
}

/// Who may do what with the names of one prefix. By default nobody may do anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Peers that may publish.
    pub publishers: BTreeSet<KeyId>,
    /// Who is believed when it has signed a record. A publisher that carries a
    /// record need not be its signer; both must be allowed.
    pub signers: Vec<KeyId>,
    /// Peers that may read.
    pub readers: Readers,
    /// Names under the prefix, at most; at first [`RULE_NAMES_MAX`]. A name that was
    /// published once counts for good, because its serial is kept: without a bound,
    /// whoever may publish here could fill the service for everybody.
    pub names_max: usize,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            publishers: BTreeSet::new(),
            signers: Vec::new(),
            readers: Readers::default(),
            names_max: RULE_NAMES_MAX,
        }
    }
}

/// How many names a prefix may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The prefix.
    pub prefix: Prefix,
    /// Names under it, at most.
    pub names_max: usize,
}

/// Who may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Everybody whom the server admits.
    Admitted,
    /// These.
    Keys(BTreeSet<KeyId>),
}

impl Default for Readers {
    fn default() -> Self {
        Self::Keys(BTreeSet::new())
    }
}

/// A second rule for a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a second rule for {0:?}")]
pub struct DuplicatePrefix(pub Prefix);

/// Who may do what with which names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// By prefix; the empty one covers all.
    rules: BTreeMap<String, (Prefix, Rule)>,
}

impl Policy {
    /// Nobody may do anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The policy with one more rule.
    ///
    /// # Errors
    ///
    /// [`DuplicatePrefix`]: of two rules for one prefix none could decide.
    pub fn rule(mut self, prefix: Prefix, rule: Rule) -> Result<Self, DuplicatePrefix> {
        if self.rules.contains_key(prefix.as_str()) {
            return Err(DuplicatePrefix(prefix));
        }
        self.rules
            .insert(prefix.as_str().to_owned(), (prefix, rule));
        Ok(self)
    }

    /// Whether the peer with this key may publish records of `name`, by whomever
    /// they are signed.
    #[must_use]
    pub fn may_publish(&self, peer: &KeyId, name: &Name) -> bool {
        self.deciding(name)
            .is_some_and(|(_, rule)| rule.publishers.contains(peer))
    }

    /// Who is believed when it has signed a record of `name`.
    #[must_use]
    pub fn signers(&self, name: &Name) -> &[KeyId] {
        self.deciding(name).map_or(&[], |(_, rule)| &rule.signers)
    }

    /// How many names may stand where `name` stands; none where no rule covers it.
    #[must_use]
    pub fn quota(&self, name: &Name) -> Option<Quota> {
        self.deciding(name).map(|(prefix, rule)| Quota {
            prefix: prefix.clone(),
            names_max: rule.names_max,
        })
    }

    /// Whether the peer with this key, admitted by the server, may read `name`.
    #[must_use]
    pub fn may_read(&self, peer: &KeyId, name: &Name) -> bool {
        let deciding = self.deciding(name);
        deciding.is_some_and(|(_, rule)| match &rule.readers {
            Readers::Admitted => true,
            Readers::Keys(keys) => keys.contains(peer),
        })
    }

    /// The rule with the longest prefix.
    fn deciding(&self, name: &Name) -> Option<&(Prefix, Rule)> {
        let mut prefix = name.as_str();
        loop {
            if let Some(rule) = self.rules.get(prefix) {
                return Some(rule);
            }
            if prefix.is_empty() {
                return None;
            }
            prefix = prefix.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
    }
}

#[cfg(test)]
mod tests;
