//! The client's side of trust: one pinned realm id, and nothing else.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use sealmoot_rpc::{Authorizer, Candidate, Code, Refusal};

use crate::presentation::Presentation;
use crate::realm_id::RealmId;
use crate::roster::{Member, Roster, RosterError};

/// What a client knows of the node that it talks to.
#[derive(Clone)]
pub struct TrustedNode {
    /// The node.
    pub member: Member,
    /// The roster that makes it one.
    pub roster: Arc<Roster>,
}

/// Admits nodes of one realm, before a byte is shown to them.
pub struct RealmPin {
    realm: RealmId,
    presentation: Bytes,
}

/// Details of a refusal because of another realm.
pub const WRONG_REALM: &[u8] = b"wrong_realm";

impl RealmPin {
    /// Trusts the nodes of `realm` and shows them `presentation`.
    #[must_use]
    pub fn new(realm: RealmId, presentation: &Presentation) -> Self {
        Self {
            realm,
            presentation: presentation.encode().into(),
        }
    }

    fn judge(&self, candidate: &Candidate<'_>) -> Result<TrustedNode, Refusal> {
        let unauthenticated = |what: String| Refusal::new(Code::Unauthenticated, what);
        let presentation = Presentation::decode(candidate.presented)
            .map_err(|error| unauthenticated(format!("the node shows no statements: {error}")))?;
        let roster = match presentation {
            Presentation::Member { roster } => roster,
            Presentation::Candidate { .. } => {
                return Err(Refusal::new(
                    Code::Unavailable,
                    "the cluster has not formed yet",
                ));
            }
            Presentation::Anonymous | Presentation::Session { .. } => {
                return Err(unauthenticated("it is no node".to_owned()));
            }
        };
        let roster = Roster::decode(&roster, &self.realm).map_err(|error| {
            let mut refusal = unauthenticated(error.to_string());
            if matches!(error, RosterError::WrongRealm { .. }) {
                refusal.details = Bytes::from_static(WRONG_REALM);
            }
            refusal
        })?;
        let member = roster
            .member_with_key(candidate.key)
            .cloned()
            .ok_or_else(|| unauthenticated("its key is in no roster of the realm".to_owned()))?;
        Ok(TrustedNode {
            member,
            roster: Arc::new(roster),
        })
    }
}

impl Authorizer for RealmPin {
    fn present(&self) -> Bytes {
        self.presentation.clone()
    }

    fn authorize(&self, candidate: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        let node = self.judge(candidate)?;
        Ok(Arc::new(node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::tests::Fixture;
    use sealmoot_crypto::signature::{SigningKey, VerifyingKey};
    use sealmoot_rpc::ChannelBinding;
    use sealmoot_rpc::channel::{Origin, Transport};

    fn judge(
        pin: &RealmPin,
        key: &VerifyingKey,
        presentation: &Presentation,
    ) -> Result<TrustedNode, Refusal> {
        pin.judge(&Candidate {
            key,
            key_id: key.key_id(),
            presented: &presentation.encode(),
            binding: &ChannelBinding::from_bytes([0; 32]),
            origin: Origin::Memory,
            transport: Transport::Memory,
        })
    }

    #[test]
    fn only_nodes_of_the_pinned_realm_are_trusted() {
        let fixture = Fixture::new();
        let pin = RealmPin::new(fixture.realm(), &Presentation::Anonymous);
        let member = Presentation::Member {
            roster: fixture.roster().encode(),
        };
        let node = fixture.nodes[1].verifying_key();
        let trusted = judge(&pin, &node, &member).expect("a node of the realm");
        assert_eq!(trusted.member.name.as_str(), "n1");

        let stranger = SigningKey::generate().expect("random").verifying_key();
        assert!(judge(&pin, &stranger, &member).is_err());
        assert!(judge(&pin, &node, &Presentation::Anonymous).is_err());

        let other = RealmPin::new(Fixture::new().realm(), &Presentation::Anonymous);
        let refusal = judge(&other, &node, &member).err().expect("refused");
        assert_eq!(refusal.details, WRONG_REALM);
    }
}
