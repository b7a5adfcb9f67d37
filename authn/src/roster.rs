//! Who the nodes of a cluster are, and why anybody should believe it.
//!
//! The root *calls* named nodes together ([`Call`]). Each answers with an
//! [`Enrolment`]: its own key, asked for by the one-time key of its invite. A
//! [`Draft`] is one list of names, addresses and keys that answers the whole call;
//! once every node on it has countersigned, it is a [`Roster`]. A client that pins
//! the realm id can check all of that, and a node's identity rests on the roster
//! alone: a stolen invite makes a request, never a node.

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::signature::{Signature, SigningKey, VerifyingKey};

use crate::name::Name;
use crate::realm_id::RealmId;
use crate::roots::{Inception, Roots};
use crate::statement::{
    Call, Claim, Enrolment, NODES_MAX, STATEMENT_LENGTH_MAX, StatementError, Verified,
};

/// Domain of a node's signature over a draft.
const DOMAIN: &str = "statement/roster";
// Version 1 carried the root key alone.
const VERSION: u8 = 2;
/// The epoch of the first roster of a realm.
const FIRST_EPOCH: u64 = 1;

/// Why a roster was not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// The bytes are no roster.
    #[error("not a roster: {0}")]
    Malformed(#[from] EncodingError),
    /// What it says the realm began with is not what the pinned realm id commits to.
    #[error("it belongs to realm {found}, not to {pinned}")]
    WrongRealm {
        /// The realm that was expected.
        pinned: RealmId,
        /// The realm that the roster is of.
        found: RealmId,
    },
    /// A statement in it is not to be believed.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// An enrolment answers another call, or a name that was not called, or the
    /// list misses a name or has one twice.
    #[error("the enrolments do not answer the call")]
    NotTheCall,
    /// A former root issued the call, and the realm was handed over without it.
    #[error("a former root issued its call, which the realm's handover does not name")]
    OldCall,
    /// A node did not countersign the list.
    #[error("a node's countersignature is missing or wrong")]
    NotCountersigned,
}

/// A node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: Name,
    /// Where it listens.
    pub address: String,
    /// Its key, and so its identity.
    pub key: VerifyingKey,
}

/// A list of nodes that answers a whole call and waits for countersignatures.
#[derive(Clone)]
pub struct Draft {
    inception: Inception,
    call: Verified<Call>,
    enrolments: Vec<Verified<Enrolment>>,
    members: Vec<Member>,
}

impl Draft {
    /// Makes the list from the call and one enrolment for each name of it, in
    /// any order.
    ///
    /// # Errors
    /// [`RosterError::NotTheCall`].
    pub fn assemble(
        inception: Inception,
        call: Verified<Call>,
        enrolments: Vec<Verified<Enrolment>>,
    ) -> Result<Self, RosterError> {
        let mut ordered = Vec::with_capacity(call.body().members.len());
        let mut members: Vec<Member> = Vec::with_capacity(call.body().members.len());
        for called in &call.body().members {
            let mut answers = enrolments.iter().filter(|enrolment| {
                enrolment.body().name == called.name && enrolment.body().call_id == call.body().id
            });
            let (Some(answer), None) = (answers.next(), answers.next()) else {
                return Err(RosterError::NotTheCall);
            };
            let key = answer.body().node_key;
            // One key under two names would count twice in every quorum.
            if members.iter().any(|member| member.key == key) {
                return Err(RosterError::NotTheCall);
            }
            members.push(Member {
                name: called.name.clone(),
                address: called.address.clone(),
                key,
            });
            ordered.push(answer.clone());
        }
        if ordered.len() != enrolments.len() {
            return Err(RosterError::NotTheCall);
        }
        Ok(Self {
            inception,
            call,
            enrolments: ordered,
            members,
        })
    }

    /// The nodes, in the order of the call.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// A node's signature that this is the list it knows.
    #[must_use]
    pub fn countersign(&self, node_key: &SigningKey) -> Signature {
        node_key.sign(DOMAIN, &self.signed_bytes())
    }

    /// Whether `signature` is that of `member` over this list.
    #[must_use]
    pub fn is_countersigned_by(&self, member: &Member, signature: &Signature) -> bool {
        member
            .key
            .verify(DOMAIN, &self.signed_bytes(), signature)
            .is_ok()
    }

    /// The roster, when every node has countersigned; signatures in the order of
    /// [`Draft::members`].
    ///
    /// # Errors
    /// [`RosterError::NotCountersigned`].
    pub fn complete(self, countersignatures: Vec<Signature>) -> Result<Roster, RosterError> {
        let all = countersignatures.len() == self.members.len()
            && self
                .members
                .iter()
                .zip(&countersignatures)
                .all(|(member, signature)| self.is_countersigned_by(member, signature));
        if !all {
            return Err(RosterError::NotCountersigned);
        }
        Ok(Roster {
            draft: self,
            countersignatures,
        })
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(VERSION);
        writer.u64(FIRST_EPOCH);
        writer.bytes(self.call.bytes());
        writer.count(self.members.len());
        for member in &self.members {
            writer.text(member.name.as_str());
            writer.text(&member.address);
            writer.fixed(&member.key.to_bytes());
        }
        writer.finish()
    }
}

/// The nodes of a cluster, countersigned by all of them.
#[derive(Clone)]
pub struct Roster {
    draft: Draft,
    countersignatures: Vec<Signature>,
}

impl Roster {
    /// The realm it belongs to.
    #[must_use]
    pub fn realm(&self) -> RealmId {
        self.draft.inception.realm()
    }

    /// The realm's name.
    #[must_use]
    pub fn realm_name(&self) -> &Name {
        &self.draft.call.body().realm_name
    }

    /// What the realm began with.
    #[must_use]
    pub fn inception(&self) -> &Inception {
        &self.draft.inception
    }

    /// The roster's epoch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        FIRST_EPOCH
    }

    /// The call that it answers.
    #[must_use]
    pub fn call(&self) -> &Verified<Call> {
        &self.draft.call
    }

    /// The nodes.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        self.draft.members()
    }

    /// The nodes' countersignatures, in the order of [`Roster::members`].
    #[must_use]
    pub fn countersignatures(&self) -> &[Signature] {
        &self.countersignatures
    }

    /// The node whose key is `key`.
    #[must_use]
    pub fn member_with_key(&self, key: &VerifyingKey) -> Option<&Member> {
        self.members().iter().find(|member| member.key == *key)
    }

    /// The roster's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(VERSION);
        self.draft.inception.write(&mut writer);
        writer.bytes(self.draft.call.bytes());
        writer.count(self.draft.enrolments.len());
        for (enrolment, signature) in self.draft.enrolments.iter().zip(&self.countersignatures) {
            writer.bytes(enrolment.bytes());
            writer.fixed(&signature.to_bytes());
        }
        writer.finish()
    }

    /// What the realm began with as the roster says, if it is `pinned`: the id commits to
    /// it.
    ///
    /// # Errors
    /// [`RosterError`].
    pub fn claimed_inception(bytes: &[u8], pinned: &RealmId) -> Result<Inception, RosterError> {
        begin(&mut Reader::new(bytes), pinned)
    }

    /// Reads a roster and believes it if it belongs to the realm of `roots`, everything
    /// in it verifies, and its call is valid by now.
    ///
    /// # Errors
    /// [`RosterError`].
    pub fn decode(bytes: &[u8], roots: &Roots) -> Result<Self, RosterError> {
        let roster = Self::decode_formed(bytes, roots)?;
        if !roots.is_call_valid(roster.call()) {
            return Err(RosterError::OldCall);
        }
        Ok(roster)
    }

    /// The same for a node of the cluster itself, also when the call is not valid any
    /// more: a node goes on with the cluster that it formed.
    ///
    /// # Errors
    /// [`RosterError`].
    pub fn decode_formed(bytes: &[u8], roots: &Roots) -> Result<Self, RosterError> {
        let mut reader = Reader::new(bytes);
        let realm = roots.realm();
        let inception = begin(&mut reader, &realm)?;
        let call = verify_call(reader.bytes(STATEMENT_LENGTH_MAX)?, roots)?;
        let count = reader.count(NODES_MAX)?;
        let mut enrolments = Vec::with_capacity(count);
        let mut countersignatures = Vec::with_capacity(count);
        for _ in 0..count {
            let bytes = reader.bytes(STATEMENT_LENGTH_MAX)?;
            enrolments.push(verify_enrolment(bytes, &realm, &call)?);
            countersignatures.push(Signature::from_bytes(reader.array()?));
        }
        reader.finish()?;
        Draft::assemble(inception, call, enrolments)?.complete(countersignatures)
    }
}

fn begin(reader: &mut Reader<'_>, pinned: &RealmId) -> Result<Inception, RosterError> {
    let version = reader.u8()?;
    if version != VERSION {
        return Err(EncodingError::Unknown {
            what: "roster version",
            value: u64::from(version),
        }
        .into());
    }
    let inception = Inception::read(reader)?;
    let found = inception.realm();
    if found != *pinned {
        return Err(RosterError::WrongRealm {
            pinned: *pinned,
            found,
        });
    }
    Ok(inception)
}

/// Believes a call if one of the roots issued it. Whether it is valid by now is for the
/// caller to ask ([`Roots::is_call_valid`]).
///
/// # Errors
/// [`StatementError`].
pub fn verify_call(bytes: &[u8], roots: &Roots) -> Result<Verified<Call>, StatementError> {
    Ok(roots.verify(Claim::<Call>::decode(bytes)?)?.0)
}

/// Believes an enrolment if it answers `call` and the invited name's one-time key
/// issued it.
///
/// # Errors
/// [`RosterError`].
pub fn verify_enrolment(
    bytes: &[u8],
    realm: &RealmId,
    call: &Verified<Call>,
) -> Result<Verified<Enrolment>, RosterError> {
    let claim = Claim::<Enrolment>::decode(bytes)?;
    let claimed = claim.claimed();
    let called = call
        .body()
        .members
        .iter()
        .find(|member| member.name == claimed.name && call.body().id == claimed.call_id)
        .ok_or(RosterError::NotTheCall)?;
    Ok(claim.verify(realm, &called.invite_key)?)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::statement::CallMember;

    pub(crate) struct Fixture {
        pub(crate) root: SigningKey,
        pub(crate) invites: Vec<SigningKey>,
        pub(crate) nodes: Vec<SigningKey>,
        pub(crate) call: Verified<Call>,
    }

    fn keys(count: usize) -> Vec<SigningKey> {
        (0..count)
            .map(|_| SigningKey::generate().expect("random"))
            .collect()
    }

    impl Fixture {
        pub(crate) fn new() -> Self {
            let root = SigningKey::generate().expect("random");
            let invites = keys(3);
            let members = invites
                .iter()
                .enumerate()
                .map(|(index, key)| CallMember {
                    name: format!("n{index}").parse().expect("a name"),
                    address: format!("127.0.0.1:{}", 7401 + index),
                    invite_key: key.verifying_key(),
                })
                .collect();
            let call = Verified::issue(
                &RealmId::without_heir(&root.verifying_key()),
                &root,
                1,
                Call {
                    id: [9; 16],
                    realm_name: "acme".parse().expect("a name"),
                    expires_ms: 1000,
                    members,
                },
            );
            Self {
                root,
                invites,
                nodes: keys(3),
                call,
            }
        }

        pub(crate) fn roots(&self) -> Roots {
            Roots::sole(self.root.verifying_key())
        }

        pub(crate) fn realm(&self) -> RealmId {
            RealmId::without_heir(&self.root.verifying_key())
        }

        /// As many nodes as there may be, with the longest names and addresses.
        fn largest() -> Self {
            let mut largest = Self {
                invites: keys(NODES_MAX),
                nodes: keys(NODES_MAX),
                ..Self::new()
            };
            let mut call = largest.call.body().clone();
            call.realm_name = "a".repeat(64).parse().expect("a name");
            call.members = (0..NODES_MAX)
                .map(|index| CallMember {
                    name: format!("n{index:063}").parse().expect("a name"),
                    address: format!("{}:{}", vec!["h".repeat(49); 5].join("."), 20_000 + index),
                    invite_key: largest.invites[index].verifying_key(),
                })
                .collect();
            largest.call = Verified::issue(&largest.realm(), &largest.root, 1, call);
            largest
        }

        fn enrolment(&self, invite: usize, node: usize) -> Verified<Enrolment> {
            Verified::issue(
                &self.realm(),
                &self.invites[invite],
                2,
                Enrolment {
                    call_id: [9; 16],
                    name: self.call.body().members[invite].name.clone(),
                    node_key: self.nodes[node].verifying_key(),
                },
            )
        }

        fn draft(&self) -> Draft {
            let members = 0..self.nodes.len();
            let enrolments = members.rev().map(|at| self.enrolment(at, at)).collect();
            Draft::assemble(
                Inception::without_heir(self.root.verifying_key()),
                self.call.clone(),
                enrolments,
            )
            .expect("answers the call")
        }

        pub(crate) fn roster(&self) -> Roster {
            let draft = self.draft();
            let signatures = self
                .nodes
                .iter()
                .map(|key| draft.countersign(key))
                .collect();
            draft.complete(signatures).expect("countersigned by all")
        }
    }

    #[test]
    fn a_roster_is_believed_by_whoever_pins_its_realm() {
        let fixture = Fixture::new();
        let bytes = fixture.roster().encode();
        let roster = Roster::decode(&bytes, &fixture.roots()).expect("believed");
        assert_eq!(roster.members().len(), 3);
        assert_eq!(
            roster.member_with_key(&fixture.nodes[1].verifying_key()),
            Some(&roster.members()[1])
        );
        assert!(matches!(
            Roster::decode(&bytes, &Fixture::new().roots()),
            Err(RosterError::WrongRealm { .. })
        ));
    }

    #[test]
    fn no_changed_byte_is_believed() {
        let fixture = Fixture::new();
        let bytes = fixture.roster().encode();
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 0x10;
            assert!(
                Roster::decode(&changed, &fixture.roots()).is_err(),
                "{index}"
            );
        }
    }

    #[test]
    fn a_missing_or_foreign_countersignature_stops_the_roster() {
        let fixture = Fixture::new();
        let draft = fixture.draft();
        let sign = |at: usize| draft.countersign(&fixture.nodes[at]);
        for signatures in [
            vec![sign(0), sign(1)],
            vec![sign(0), sign(0), sign(2)],
            vec![sign(1), sign(0), sign(2)],
        ] {
            assert_eq!(
                draft.clone().complete(signatures).err(),
                Some(RosterError::NotCountersigned)
            );
        }
    }

    #[test]
    fn one_key_under_two_names_and_a_name_twice_are_refused() {
        let fixture = Fixture::new();
        let assemble = |enrolments| {
            Draft::assemble(
                Inception::without_heir(fixture.root.verifying_key()),
                fixture.call.clone(),
                enrolments,
            )
            .err()
        };
        let pick = |pairs: &[(usize, usize)]| {
            pairs
                .iter()
                .map(|(invite, node)| fixture.enrolment(*invite, *node))
                .collect()
        };
        for pairs in [
            &[(0, 0), (1, 0), (2, 2)][..],
            &[(0, 0), (1, 1)],
            &[(0, 0), (1, 1), (2, 2), (2, 1)],
            &[(0, 0), (0, 1), (1, 1), (2, 2)],
        ] {
            assert_eq!(assemble(pick(pairs)), Some(RosterError::NotTheCall));
        }
    }

    #[test]
    fn an_enrolment_needs_the_key_of_its_own_invite() {
        let fixture = Fixture::new();
        let forged = Verified::issue(
            &fixture.realm(),
            &fixture.invites[1],
            2,
            Enrolment {
                call_id: [9; 16],
                name: "n0".parse().expect("a name"),
                node_key: fixture.nodes[0].verifying_key(),
            },
        );
        assert_eq!(
            verify_enrolment(forged.bytes(), &fixture.realm(), &fixture.call).err(),
            Some(RosterError::Statement(StatementError::WrongIssuer))
        );
    }

    #[test]
    fn the_largest_roster_fits_a_handshake() {
        let length = Fixture::largest().roster().encode().len();
        assert!(length > 20_000, "{length}: not the largest");
        assert!(length <= crate::presentation::ROSTER_LENGTH_MAX, "{length}");
    }
}
