//! How the nodes of a call become a cluster, as a state machine without I/O.
//!
//! Every node tells every other what it has gathered: enrolments, and once there
//! is one for each name of the call, countersignatures of the one list that they
//! make. A second key for a name stops everything: somebody holds a copy of an
//! invite. A node countersigns one list and never another.

use std::collections::BTreeMap;

use sealmoot_authn::name::Name;
use sealmoot_authn::roster::{Draft, Roster, RosterError, verify_enrolment};
use sealmoot_authn::statement::{Enrolment, Verified};
use sealmoot_crypto::signature::{Signature, SigningKey};

use super::identity::Identity;

/// Why gathering stops.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatherError {
    /// Two machines have enrolled under one name.
    #[error("a second machine enrolled as {name}: the invite was used twice")]
    SecondKey {
        /// The name.
        name: Name,
    },
    /// What a peer says does not verify.
    #[error(transparent)]
    NotBelieved(#[from] RosterError),
}

/// What a node has gathered.
#[derive(Clone)]
pub struct Gathering {
    enrolments: BTreeMap<Name, Verified<Enrolment>>,
    draft: Option<Draft>,
    countersignatures: BTreeMap<Name, Signature>,
}

impl Gathering {
    /// What a node knows at its start.
    #[must_use]
    pub fn new(identity: &Identity) -> Self {
        let mut gathering = Self {
            enrolments: BTreeMap::new(),
            draft: None,
            countersignatures: BTreeMap::new(),
        };
        let known = identity
            .countersigned
            .iter()
            .chain([&identity.enrolment])
            .cloned();
        for enrolment in known {
            gathering
                .enrolments
                .insert(enrolment.body().name.clone(), enrolment);
        }
        gathering
    }

    /// Takes an enrolment; says whether it was new.
    ///
    /// # Errors
    /// [`GatherError`].
    pub fn add_enrolment(
        &mut self,
        identity: &Identity,
        bytes: &[u8],
    ) -> Result<bool, GatherError> {
        let enrolment = verify_enrolment(bytes, &identity.realm(), &identity.call)?;
        let name = enrolment.body().name.clone();
        match self.enrolments.get(&name) {
            Some(known) if known.body().node_key == enrolment.body().node_key => Ok(false),
            Some(_) => Err(GatherError::SecondKey { name }),
            None => {
                self.enrolments.insert(name, enrolment);
                Ok(true)
            }
        }
    }

    /// Takes a countersignature if the list is known and the signature is that of
    /// the named node; others are ignored, they will be told again. Says whether
    /// it was new.
    pub fn add_countersignature(&mut self, name: &Name, signature: Signature) -> bool {
        let valid = self.draft.as_ref().is_some_and(|draft| {
            draft
                .members()
                .iter()
                .any(|member| member.name == *name && draft.is_countersigned_by(member, &signature))
        });
        valid
            && self
                .countersignatures
                .insert(name.clone(), signature)
                .is_none()
    }

    /// Whether this node has countersigned its list.
    #[must_use]
    pub fn is_countersigned(&self) -> bool {
        self.draft.is_some()
    }

    /// How many names of the call have enrolled.
    #[must_use]
    pub fn enrolled(&self) -> usize {
        self.enrolments.len()
    }

    /// All enrolments, when there is one for each name of the call and the list
    /// was not made yet: to be made durable before [`Gathering::countersign`].
    #[must_use]
    pub fn complete_list(&self, identity: &Identity) -> Option<Vec<Verified<Enrolment>>> {
        let complete =
            self.draft.is_none() && self.enrolments.len() == identity.call.body().members.len();
        complete.then(|| self.enrolments.values().cloned().collect())
    }

    /// Makes the list and countersigns it.
    ///
    /// # Errors
    /// [`GatherError::NotBelieved`] when the enrolments make no list.
    pub fn countersign(&mut self, identity: &Identity) -> Result<(), GatherError> {
        let enrolments = self.enrolments.values().cloned().collect();
        let draft = Draft::assemble(
            *identity.roots.inception(),
            identity.call.clone(),
            enrolments,
        )?;
        let key: &SigningKey = &identity.key;
        self.countersignatures
            .insert(identity.member().name.clone(), draft.countersign(key));
        self.draft = Some(draft);
        Ok(())
    }

    /// The roster, once every node has countersigned.
    #[must_use]
    pub fn roster(&self) -> Option<Roster> {
        let draft = self.draft.as_ref()?;
        let signatures: Option<Vec<Signature>> = draft
            .members()
            .iter()
            .map(|member| self.countersignatures.get(&member.name).copied())
            .collect();
        draft.clone().complete(signatures?).ok()
    }

    /// Takes the countersignatures of a roster that this node knows already: a peer
    /// may still need those of nodes that are gone.
    pub fn add_roster(&mut self, roster: &Roster) {
        for (member, signature) in roster.members().iter().zip(roster.countersignatures()) {
            self.add_countersignature(&member.name, *signature);
        }
    }

    /// Enrolments, to be told to a peer.
    pub fn enrolments(&self) -> impl Iterator<Item = &Verified<Enrolment>> {
        self.enrolments.values()
    }

    /// Countersignatures, to be told to a peer.
    pub fn countersignatures(&self) -> impl Iterator<Item = (&Name, &Signature)> {
        self.countersignatures.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealmoot_authn::invite::share_of;
    use sealmoot_authn::realm_id::RealmId;
    use sealmoot_authn::statement::{Call, CallMember};
    use sealmoot_crypto::secret::SecretArray;

    struct Nodes(Vec<Identity>, Vec<SigningKey>);

    fn key() -> SigningKey {
        SigningKey::generate().expect("random")
    }

    fn name(index: usize) -> Name {
        format!("n{index}").parse().expect("a name")
    }

    fn identity(
        call: &Verified<Call>,
        root: &SigningKey,
        invite: &SigningKey,
        at: usize,
    ) -> Identity {
        let realm = RealmId::without_heir(&root.verifying_key());
        let node_key = key();
        let enrolment = Enrolment {
            call_id: call.body().id,
            name: name(at),
            node_key: node_key.verifying_key(),
        };
        Identity {
            invite: None,
            key: node_key,
            roots: sealmoot_authn::roots::Roots::sole(root.verifying_key()),
            login: None,
            share: share_of(at, SecretArray::from_bytes([6; 32])).expect("a share"),
            call: call.clone(),
            enrolment: Verified::issue(&realm, invite, 1, enrolment),
            incarnation: 1,
            countersigned: Vec::new(),
        }
    }

    fn nodes() -> (Nodes, Verified<Call>, SigningKey) {
        let root = key();
        let invites: Vec<SigningKey> = (0..3).map(|_| key()).collect();
        let members = (0..3)
            .map(|at| CallMember {
                name: name(at),
                address: format!("127.0.0.1:{}", 7401 + at),
                invite_key: invites[at].verifying_key(),
            })
            .collect();
        let call = Call {
            id: [3; 16],
            realm_name: "acme".parse().expect("a name"),
            expires_ms: 100,
            members,
        };
        let call = Verified::issue(
            &RealmId::without_heir(&root.verifying_key()),
            &root,
            1,
            call,
        );
        let identities = (0..3)
            .map(|at| identity(&call, &root, &invites[at], at))
            .collect();
        (Nodes(identities, invites), call, root)
    }

    #[test]
    fn three_nodes_agree_on_one_roster() {
        let (Nodes(identities, _), _, _) = nodes();
        let mut gatherings: Vec<Gathering> = identities.iter().map(Gathering::new).collect();
        for _ in 0..3 {
            for from in 0..3 {
                for to in 0..3 {
                    let told = gatherings[from].clone();
                    for enrolment in told.enrolments() {
                        gatherings[to]
                            .add_enrolment(&identities[to], enrolment.bytes())
                            .expect("one key a name");
                    }
                    if gatherings[to].complete_list(&identities[to]).is_some() {
                        gatherings[to]
                            .countersign(&identities[to])
                            .expect("a whole list");
                    }
                    for (name, signature) in told.countersignatures() {
                        gatherings[to].add_countersignature(name, *signature);
                    }
                }
            }
        }
        let rosters: Vec<Vec<u8>> = gatherings
            .iter()
            .map(|gathering| gathering.roster().expect("formed").encode())
            .collect();
        assert!(rosters.iter().all(|roster| *roster == rosters[0]));
    }

    #[test]
    fn a_second_key_for_a_name_stops_the_cluster() {
        let (Nodes(identities, invites), call, root) = nodes();
        let mut gathering = Gathering::new(&identities[0]);
        let thief = identity(&call, &root, &invites[1], 1);
        let honest = identities[1].enrolment.bytes();
        assert_eq!(gathering.add_enrolment(&identities[0], honest), Ok(true));
        assert_eq!(gathering.add_enrolment(&identities[0], honest), Ok(false));
        assert_eq!(
            gathering.add_enrolment(&identities[0], thief.enrolment.bytes()),
            Err(GatherError::SecondKey { name: name(1) })
        );
    }

    #[test]
    fn nothing_is_countersigned_before_the_list_is_whole() {
        let (Nodes(identities, _), _, _) = nodes();
        let mut gathering = Gathering::new(&identities[0]);
        assert!(gathering.complete_list(&identities[0]).is_none());
        assert!(gathering.countersign(&identities[0]).is_err());
        assert!(gathering.roster().is_none());
    }

    #[test]
    fn identities_survive_their_bytes_and_no_truncation_does() {
        let (Nodes(identities, _), _, _) = nodes();
        let encoded = identities[0].encode();
        let bytes = encoded.expose();
        let again = Identity::decode(bytes).expect("valid");
        assert_eq!(again.member().name, name(0));
        for length in 0..bytes.len() {
            assert!(Identity::decode(&bytes[..length]).is_err());
        }
    }
}
