//! The client's side of trust: one pinned realm id, and nothing else. What the realm's
//! root said of nodes that are believed no more is learnt from any node, and kept.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sealmoot_rpc::{Authorizer, Candidate, Code, Refusal};

use crate::presentation::Presentation;
use crate::realm_id::RealmId;
use crate::records::RevokedNodesRecord;
use crate::roster::{Member, Roster, RosterError, verify_call};
use sealmoot_crypto::signature::VerifyingKey;

/// What a client knows of the node that it talks to.
#[derive(Clone)]
pub struct TrustedNode {
    /// The node.
    pub member: Member,
    /// The roster that makes it one.
    pub roster: Arc<Roster>,
    /// The nodes that are believed no more, as far as they are known here by now.
    pub revoked_nodes: Option<RevokedNodesRecord>,
}

/// Admits nodes of one realm, before a byte is shown to them.
pub struct RealmPin {
    realm: RealmId,
    presentation: Bytes,
    /// The newest that any node has shown: one that was revoked does not show it.
    revoked_nodes: Mutex<Option<RevokedNodesRecord>>,
}

/// Details of a refusal because of another realm.
pub const WRONG_REALM: &[u8] = b"wrong_realm";
/// Details of a refusal because the root revoked the node's key.
pub const NODE_REVOKED: &[u8] = b"node_revoked";

impl RealmPin {
    /// Trusts the nodes of `realm` and shows them `presentation`.
    #[must_use]
    pub fn new(realm: RealmId, presentation: &Presentation) -> Self {
        Self {
            realm,
            presentation: presentation.encode().into(),
            revoked_nodes: Mutex::default(),
        }
    }

    /// From now on knows of nodes that are believed no more.
    pub fn know(&self, revoked_nodes: RevokedNodesRecord) {
        self.take(revoked_nodes);
    }

    /// The nodes that are believed no more, as far as any node has shown it.
    #[must_use]
    pub fn revoked_nodes(&self) -> Option<RevokedNodesRecord> {
        let known = self.revoked_nodes.lock();
        known.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes what a node shows, if the root signed it and it is newer than what is known;
    /// says what is known now. What a revoked node shows is true as well.
    fn learn(
        &self,
        shown: &[u8],
        root: &VerifyingKey,
    ) -> Result<Option<RevokedNodesRecord>, Refusal> {
        if !shown.is_empty() {
            let shown = RevokedNodesRecord::decode(shown, root).map_err(|error| {
                let message = format!("what it shows of revoked nodes: {error}");
                Refusal::new(Code::Unauthenticated, message)
            })?;
            self.take(shown);
        }
        Ok(self.revoked_nodes())
    }

    fn take(&self, record: RevokedNodesRecord) {
        let mut known = self
            .revoked_nodes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let newer = |known: &RevokedNodesRecord| known.standing() < record.standing();
        if known.as_ref().is_none_or(newer) {
            *known = Some(record);
        }
    }

    fn judge(&self, candidate: &Candidate<'_>) -> Result<TrustedNode, Refusal> {
        let unauthenticated = |what: String| Refusal::new(Code::Unauthenticated, what);
        let presentation = Presentation::decode(candidate.presented)
            .map_err(|error| unauthenticated(format!("the node shows no statements: {error}")))?;
        let (roster, shown) = match presentation {
            Presentation::Member {
                roster,
                revoked_nodes,
            } => (roster, revoked_nodes),
            Presentation::Candidate { root, call, .. } => {
                return Err(not_formed(&self.realm, &root, &call));
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
        let revoked_nodes = self.learn(&shown, roster.root())?;
        let revoked = |known: &RevokedNodesRecord| known.revokes(&member.key.key_id());
        if revoked_nodes.as_ref().is_some_and(revoked) {
            let mut refusal = unauthenticated(format!("{}: the node was revoked", member.name));
            refusal.details = Bytes::from_static(NODE_REVOKED);
            return Err(refusal);
        }
        Ok(TrustedNode {
            member,
            roster: Arc::new(roster),
            revoked_nodes,
        })
    }
}

/// A node whose cluster forms. Whom it waits for stands in the call, which the root
/// signed.
fn not_formed(pinned: &RealmId, root: &VerifyingKey, call: &[u8]) -> Refusal {
    let found = RealmId::of(root);
    if found != *pinned {
        let error = RosterError::WrongRealm {
            pinned: *pinned,
            found,
        };
        let mut refusal = Refusal::new(Code::Unauthenticated, error.to_string());
        refusal.details = Bytes::from_static(WRONG_REALM);
        return refusal;
    }
    let message = match verify_call(call, root) {
        Ok(call) => {
            let members = call.body().members.iter();
            let names: Vec<&str> = members.map(|member| member.name.as_str()).collect();
            format!("the cluster of {} has not formed yet", names.join(", "))
        }
        Err(_) => "the cluster has not formed yet".to_owned(),
    };
    Refusal::new(Code::Unavailable, message)
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
            revoked_nodes: Vec::new(),
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

    #[test]
    fn a_revoked_node_is_trusted_no_more_whatever_it_shows() {
        use crate::records::revoked_nodes::tests::revoking;
        let fixture = Fixture::new();
        let pin = RealmPin::new(fixture.realm(), &Presentation::Anonymous);
        let key_of = |index: usize| fixture.nodes[index].verifying_key();
        let showing = |revoked_nodes: Vec<u8>| Presentation::Member {
            roster: fixture.roster().encode(),
            revoked_nodes,
        };
        let revoked = revoking(&fixture.root, 2, &[key_of(1).key_id()]);
        let older = revoking(&fixture.root, 1, &[]).encode();
        judge(&pin, &key_of(1), &showing(Vec::new())).expect("nobody said otherwise");
        // The others tell.
        let node = judge(&pin, &key_of(0), &showing(revoked.encode())).expect("trusted");
        assert_eq!(node.revoked_nodes.map(|known| known.version()), Some(2));
        for shown in [Vec::new(), older.clone(), revoked.encode()] {
            let refusal = judge(&pin, &key_of(1), &showing(shown));
            assert_eq!(refusal.err().expect("refused").details, NODE_REVOKED);
        }
        assert_eq!(pin.revoked_nodes().map(|known| known.version()), Some(2));
        judge(&pin, &key_of(2), &showing(older)).expect("it is behind, and trusted");
        // What was known before is known from the first connection on.
        let later = RealmPin::new(fixture.realm(), &Presentation::Anonymous);
        later.know(revoked.clone());
        assert!(judge(&later, &key_of(1), &showing(Vec::new())).is_err());
        // Nobody but the root revokes a node.
        let forged = revoking(&fixture.nodes[0], 9, &[key_of(2).key_id()]).encode();
        assert!(judge(&pin, &key_of(0), &showing(forged)).is_err());
        judge(&pin, &key_of(2), &showing(Vec::new())).expect("trusted");
    }
}
