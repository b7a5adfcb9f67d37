//! The client's side of trust: one pinned realm id, and nothing else. Which roots the
//! realm has by now, and what they said of nodes that are believed no more, is learnt from
//! any node, and kept.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sealmoot_rpc::{Authorizer, Candidate, Code, Refusal};

use crate::presentation::Presentation;
use crate::realm_id::RealmId;
use crate::records::RevokedNodesRecord;
use crate::roots::{Inception, Roots, RootsError};
use crate::roster::{Member, Roster, RosterError, verify_call};

/// What a client knows of the node that it talks to.
#[derive(Clone)]
pub struct TrustedNode {
    /// The node.
    pub member: Member,
    /// The roster that makes it one.
    pub roster: Arc<Roster>,
    /// The realm's roots, as far as they are known here by now.
    pub roots: Roots,
    /// The nodes that are believed no more, as far as they are known here by now.
    pub revoked_nodes: Option<RevokedNodesRecord>,
}

/// Admits nodes of one realm, before a byte is shown to them.
pub struct RealmPin {
    realm: RealmId,
    presentation: Bytes,
    known: Mutex<Known>,
}

/// The newest that any node has shown.
#[derive(Default)]
struct Known {
    roots: Option<Roots>,
    /// A node that was revoked does not show it.
    revoked_nodes: Option<RevokedNodesRecord>,
}

/// Details of a refusal because of another realm.
pub const WRONG_REALM: &[u8] = b"wrong_realm";
/// Details of a refusal because the root revoked the node's key.
pub const NODE_REVOKED: &[u8] = b"node_revoked";
/// Details of a refusal because the realm was handed over in two ways.
pub const ROOT_FORK: &[u8] = b"root_fork";
/// Details of a refusal because a former root called the cluster together.
pub const OLD_CALL: &[u8] = b"old_call";

impl RealmPin {
    /// Trusts the nodes of `realm` and shows them `presentation`.
    #[must_use]
    pub fn new(realm: RealmId, presentation: &Presentation) -> Self {
        Self {
            realm,
            presentation: presentation.encode().into(),
            known: Mutex::default(),
        }
    }

    /// From now on knows of nodes that are believed no more.
    pub fn know(&self, revoked_nodes: RevokedNodesRecord) {
        self.lock().take(revoked_nodes);
    }

    /// From now on knows these roots, and believes no node that goes another way.
    ///
    /// # Errors
    /// [`RootsError`] for roots of another realm, or of a fork of it.
    pub fn know_roots(&self, roots: &Roots) -> Result<(), RootsError> {
        if roots.realm() != self.realm {
            return Err(RootsError::WrongRealm {
                pinned: self.realm,
                found: roots.realm(),
            });
        }
        let mut known = self.lock();
        match &mut known.roots {
            Some(held) => held.take(&roots.encode()).map(drop),
            None => {
                known.roots = Some(roots.clone());
                Ok(())
            }
        }
    }

    /// The realm's roots, as far as they are known; none before the first node.
    #[must_use]
    pub fn roots(&self) -> Option<Roots> {
        self.lock().roots.clone()
    }

    /// The nodes that are believed no more, as far as any node has shown it.
    #[must_use]
    pub fn revoked_nodes(&self) -> Option<RevokedNodesRecord> {
        self.lock().revoked_nodes.clone()
    }

    /// Takes the roots that a node shows and says which are known now, and how many
    /// handovers it showed: one that shows fewer is only behind.
    fn learn_roots(&self, inception: Inception, shown: &[u8]) -> Result<(Roots, u64), Refusal> {
        let mut known = self.lock();
        let first = || Roots::first(inception);
        let mut roots = known.roots.clone().unwrap_or_else(first);
        let mut number = 0;
        if !shown.is_empty() {
            let taken = Roots::claimed(shown).and_then(|claimed| {
                number = claimed;
                roots.take(shown)
            });
            taken.map_err(|error| {
                let message = format!("what it shows of the realm's roots: {error}");
                let mut refusal = Refusal::new(Code::Unauthenticated, message);
                if matches!(error, RootsError::Fork(_)) {
                    refusal.details = Bytes::from_static(ROOT_FORK);
                }
                refusal
            })?;
        }
        known.roots = Some(roots.clone());
        Ok((roots, number))
    }

    /// Takes what a node shows, if a root signed it that the node shows too, and it is
    /// newer than what is known; says what is known now. What a revoked node shows is true
    /// as well.
    fn learn(
        &self,
        shown: &[u8],
        roots: &Roots,
        number: u64,
    ) -> Result<Option<RevokedNodesRecord>, Refusal> {
        if !shown.is_empty() {
            let refused = |error: &dyn std::fmt::Display| {
                let message = format!("what it shows of revoked nodes: {error}");
                Refusal::new(Code::Unauthenticated, message)
            };
            let shown =
                RevokedNodesRecord::decode(shown, roots).map_err(|error| refused(&error))?;
            if shown.root() > number {
                return Err(refused(&"a root signed it that the node does not show"));
            }
            let mut known = self.lock();
            // Who stole a former root key may sign any number of them. What was revoked
            // before, until the new root says so anew, is learnt from the first node.
            if shown.root() == roots.number() || known.revoked_nodes.is_none() {
                known.take(shown);
            }
        }
        Ok(self.revoked_nodes())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(&self, candidate: &Candidate<'_>) -> Result<TrustedNode, Refusal> {
        let unauthenticated = |what: String| Refusal::new(Code::Unauthenticated, what);
        let presentation = Presentation::decode(candidate.presented)
            .map_err(|error| unauthenticated(format!("the node shows no statements: {error}")))?;
        let (roster, shown, shown_roots) = match presentation {
            Presentation::Member {
                roster,
                revoked_nodes,
                roots,
            } => (roster, revoked_nodes, roots),
            Presentation::Candidate {
                inception,
                roots,
                call,
                ..
            } => {
                check_realm(&self.realm, &inception)?;
                let (roots, _) = self.learn_roots(*inception, &roots)?;
                return Err(not_formed(&roots, &call));
            }
            Presentation::Anonymous | Presentation::Session { .. } => {
                return Err(unauthenticated("it is no node".to_owned()));
            }
        };
        let refuse = |error: RosterError| {
            let mut refusal = unauthenticated(error.to_string());
            match error {
                RosterError::WrongRealm { .. } => refusal.details = Bytes::from_static(WRONG_REALM),
                RosterError::OldCall => refusal.details = Bytes::from_static(OLD_CALL),
                _ => {}
            }
            refusal
        };
        let inception = Roster::claimed_inception(&roster, &self.realm).map_err(refuse)?;
        let (roots, number) = self.learn_roots(inception, &shown_roots)?;
        let roster = Roster::decode(&roster, &roots).map_err(refuse)?;
        let member = roster
            .member_with_key(candidate.key)
            .cloned()
            .ok_or_else(|| unauthenticated("its key is in no roster of the realm".to_owned()))?;
        let revoked_nodes = self.learn(&shown, &roots, number)?;
        let revoked = |known: &RevokedNodesRecord| known.revokes(&member.key.key_id());
        if revoked_nodes.as_ref().is_some_and(revoked) {
            let mut refusal = unauthenticated(format!("{}: the node was revoked", member.name));
            refusal.details = Bytes::from_static(NODE_REVOKED);
            return Err(refusal);
        }
        Ok(TrustedNode {
            member,
            roster: Arc::new(roster),
            roots,
            revoked_nodes,
        })
    }
}

impl Known {
    fn take(&mut self, record: RevokedNodesRecord) {
        let newer = |known: &RevokedNodesRecord| known.standing() < record.standing();
        if self.revoked_nodes.as_ref().is_none_or(newer) {
            self.revoked_nodes = Some(record);
        }
    }
}

fn check_realm(pinned: &RealmId, inception: &Inception) -> Result<(), Refusal> {
    let found = inception.realm();
    if found != *pinned {
        let error = RosterError::WrongRealm {
            pinned: *pinned,
            found,
        };
        let mut refusal = Refusal::new(Code::Unauthenticated, error.to_string());
        refusal.details = Bytes::from_static(WRONG_REALM);
        return Err(refusal);
    }
    Ok(())
}

/// A node whose cluster forms. Whom it waits for stands in the call, which a root signed.
fn not_formed(roots: &Roots, call: &[u8]) -> Refusal {
    let message = match verify_call(call, roots) {
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
            roots: Vec::new(),
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
            roots: Vec::new(),
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

    /// A realm that goes from root to root, and one node of a cluster of each root.
    struct Handed {
        keys: crate::roots::tests::Keys,
        node: SigningKey,
    }

    impl Handed {
        fn new() -> Self {
            let keys = crate::roots::tests::Keys::new(4);
            let node = SigningKey::generate().expect("random");
            Self { keys, node }
        }

        fn call(&self, root: usize) -> crate::statement::Verified<crate::statement::Call> {
            let member = crate::statement::CallMember {
                name: "n1".parse().expect("a name"),
                address: "127.0.0.1:1".to_owned(),
                invite_key: self.node.verifying_key(),
            };
            let call = crate::statement::Call {
                id: [root as u8; 16],
                realm_name: "acme".parse().expect("a name"),
                expires_ms: 9,
                members: vec![member],
            };
            let realm = self.keys.first().realm();
            crate::statement::Verified::issue(&realm, &self.keys.0[root], 1, call)
        }

        /// A node of the cluster that this call made, which shows these roots.
        fn shows(
            &self,
            call: crate::statement::Verified<crate::statement::Call>,
            roots: &Roots,
            revoked_nodes: Vec<u8>,
        ) -> Presentation {
            let enrolment = crate::statement::Enrolment {
                call_id: call.body().id,
                name: "n1".parse().expect("a name"),
                node_key: self.node.verifying_key(),
            };
            let realm = roots.realm();
            let enrolment = crate::statement::Verified::issue(&realm, &self.node, 1, enrolment);
            let inception = *roots.inception();
            let draft = crate::roster::Draft::assemble(inception, call, vec![enrolment]);
            let draft = draft.expect("it answers");
            let signature = draft.countersign(&self.node);
            let roster = draft.complete(vec![signature]).expect("countersigned");
            Presentation::Member {
                roster: roster.encode(),
                revoked_nodes,
                roots: match roots.number() {
                    0 => Vec::new(),
                    _ => roots.encode(),
                },
            }
        }

        fn revoked(&self, root: usize) -> Vec<u8> {
            self.revoked_in_version(root, 0)
        }

        fn revoked_in_version(&self, root: usize, version: u64) -> Vec<u8> {
            let realm = self.keys.first().realm();
            let mut body = crate::statement::RevokedNodes::default();
            body.version = version;
            let statement = crate::statement::Verified::issue(&realm, &self.keys.0[root], 1, body);
            RevokedNodesRecord::new(statement).encode()
        }
    }

    #[test]
    fn who_knows_the_roots_believes_no_call_that_a_thief_made_with_a_former_key() {
        let handed = Handed::new();
        let first = handed.keys.first();
        let digest = sealmoot_crypto::digest::sha256(handed.call(0).bytes());
        let named = handed.keys.next(&first, 1, &[digest]);
        let unnamed = handed.keys.next(&first, 1, &[]);
        let key = handed.node.verifying_key();
        let pin = || RealmPin::new(first.realm(), &Presentation::Anonymous);
        // Before anybody told of a handover, it is a cluster as any other.
        let behind = handed.shows(handed.call(0), &first, Vec::new());
        assert!(judge(&pin(), &key, &behind).is_ok());
        for (roots, believed) in [(&named, true), (&unnamed, false)] {
            let knowing = pin();
            knowing.know_roots(roots).expect("of this realm");
            let showing = handed.shows(handed.call(0), roots, Vec::new());
            for shown in [&behind, &showing] {
                let judged = judge(&knowing, &key, shown);
                assert_eq!(judged.is_ok(), believed);
                if let Err(refusal) = judged {
                    assert_eq!(refusal.details, OLD_CALL);
                }
            }
            // What it shows is learnt, whether it is believed itself or not.
            let learning = pin();
            assert_eq!(judge(&learning, &key, &showing).is_ok(), believed);
            assert_eq!(learning.roots().map(|roots| roots.number()), Some(1));
            assert_eq!(judge(&learning, &key, &behind).is_ok(), believed);
        }
    }

    #[test]
    fn what_a_former_root_revokes_is_no_news_to_who_knows_something_newer_or_as_old() {
        let handed = Handed::new();
        let (first, one) = (handed.keys.first(), handed.keys.after(1));
        let key = handed.node.verifying_key();
        let thiefs = handed.shows(handed.call(1), &one, handed.revoked_in_version(0, u64::MAX));
        // Known from before the handover, or from the new root.
        for known in [0, 1] {
            let pin = RealmPin::new(first.realm(), &Presentation::Anonymous);
            pin.know_roots(&one).expect("of this realm");
            let record = RevokedNodesRecord::decode(&handed.revoked_in_version(known, 3), &one);
            let record = record.expect("a root's");
            pin.know(record.clone());
            assert!(judge(&pin, &key, &thiefs).is_ok());
            let kept = pin.revoked_nodes().expect("known");
            assert_eq!(kept.standing(), record.standing(), "{known}");
        }
    }

    #[test]
    fn a_fork_and_roots_of_another_realm_change_nothing_that_is_known() {
        let handed = Handed::new();
        let (first, one) = (handed.keys.first(), handed.keys.after(1));
        let digest = sealmoot_crypto::digest::sha256(handed.call(0).bytes());
        let fork = handed.keys.next(&first, 1, &[digest]);
        let pin = RealmPin::new(first.realm(), &Presentation::Anonymous);
        pin.know_roots(&one).expect("of this realm");
        let shown = handed.shows(handed.call(0), &fork, Vec::new());
        let refusal = judge(&pin, &handed.node.verifying_key(), &shown);
        assert_eq!(refusal.err().expect("refused").details, ROOT_FORK);
        assert_eq!(pin.know_roots(&fork), Err(RootsError::Fork(1)));
        let other = Handed::new().keys.after(1);
        assert!(matches!(
            pin.know_roots(&other),
            Err(RootsError::WrongRealm { .. })
        ));
        let known = pin.roots().map(|roots| roots.encode());
        assert_eq!(known, Some(one.encode()));
    }

    #[test]
    fn revoked_nodes_by_a_root_that_the_node_does_not_show_are_refused() {
        let handed = Handed::new();
        let (first, one) = (handed.keys.first(), handed.keys.after(1));
        let key = handed.node.verifying_key();
        let of_one = handed.call(1);
        let pin = || {
            let pin = RealmPin::new(first.realm(), &Presentation::Anonymous);
            pin.know_roots(&one).expect("of this realm");
            pin
        };
        let whole = handed.shows(of_one.clone(), &one, handed.revoked(1));
        assert!(judge(&pin(), &key, &whole).is_ok());
        let Presentation::Member {
            roster,
            revoked_nodes,
            ..
        } = whole
        else {
            unreachable!("it is a member");
        };
        let torn = Presentation::Member {
            roster,
            revoked_nodes,
            roots: Vec::new(),
        };
        let refusal = judge(&pin(), &key, &torn).err().expect("refused");
        assert!(
            refusal.message.contains("does not show"),
            "{}",
            refusal.message
        );
    }
}
