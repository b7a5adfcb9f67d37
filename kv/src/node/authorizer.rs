//! Whom a node talks to: nodes of its cluster or call, sessions, and strangers
//! who may log in and nothing else.

use std::any::Any;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sealmoot_authn::login::SharedUsers;
use sealmoot_authn::name::Name;
use sealmoot_authn::presentation::Presentation;
use sealmoot_authn::realm_id::RealmId;
use sealmoot_authn::roster::{Roster, RosterError, verify_enrolment};
use sealmoot_authn::session::{Authenticated, verify_session};
use sealmoot_authn::statement::{Enrolment, Verified};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{Authorizer, Candidate, Code, Limits, Peer, Refusal};

use super::identity::Identity;

/// Details of a refusal because another machine holds the name.
pub const INVITE_USED: &[u8] = b"invite_used";
/// Details of a refusal because of another realm or another call.
pub const INVITE_INVALID: &[u8] = b"invite_invalid";
/// Details of a refusal because the session does not hold.
pub const SESSION_ENDED: &[u8] = b"session_ended";

/// What a stranger's connection may hold: one portion of published records and
/// what stands around it.
const STRANGER_BYTES_MAX: usize = sealmoot_authn::publish::PUBLISH_BYTES_MAX + 256 * 1024;

/// Who a peer is.
#[derive(Debug, Clone)]
pub enum Claims {
    /// Nobody in particular.
    Anonymous,
    /// A user's session.
    Session(Authenticated),
    /// A node of the cluster.
    Member(Name),
    /// A node that answers the same call, while the cluster has not formed.
    Candidate(Name),
}

/// What a node knows about who belongs to it; changes when the cluster forms.
pub struct Trust {
    /// The node itself.
    pub identity: Identity,
    /// The roster, once there is one.
    pub roster: RwLock<Option<Arc<Roster>>>,
    /// The users.
    pub users: SharedUsers,
    /// Enrolments known while the cluster forms: one key a name.
    pub enrolled: RwLock<Vec<Verified<Enrolment>>>,
    /// The wall clock.
    pub now_ms: fn() -> u64,
}

impl Trust {
    /// What a tool that holds a node's key knows, without its log.
    #[must_use]
    pub fn of_candidate(identity: Identity) -> Self {
        Self {
            enrolled: RwLock::new(identity.countersigned.clone()),
            identity,
            roster: RwLock::new(None),
            users: SharedUsers::default(),
            now_ms: || 0,
        }
    }

    /// The roster, once there is one.
    pub fn roster(&self) -> Option<Arc<Roster>> {
        self.roster
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn realm(&self) -> RealmId {
        self.identity.realm()
    }

    fn judge(&self, candidate: &Candidate<'_>) -> Result<Claims, Refusal> {
        let presentation = Presentation::decode(candidate.presented)
            .map_err(|_| Refusal::new(Code::InvalidArgument, "malformed statements"))?;
        match presentation {
            Presentation::Anonymous => Ok(Claims::Anonymous),
            Presentation::Session { session, receipt } => {
                self.judge_session(candidate, &session, &receipt)
            }
            Presentation::Member { roster } => self.judge_member(candidate, &roster),
            Presentation::Candidate {
                root,
                call,
                enrolment,
            } => {
                let same = root == self.identity.root && call == self.identity.call.bytes();
                if !same {
                    return Err(foreign(&RealmId::of(&root), &self.realm()));
                }
                self.judge_candidate(candidate, &enrolment)
            }
        }
    }

    fn judge_session(
        &self,
        candidate: &Candidate<'_>,
        session: &[u8],
        receipt: &[u8],
    ) -> Result<Claims, Refusal> {
        let Some(roster) = self.roster() else {
            return Err(Refusal::new(
                Code::Unavailable,
                "the cluster has not formed yet",
            ));
        };
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        verify_session(
            &roster,
            &users,
            session,
            receipt,
            candidate.key,
            (self.now_ms)(),
        )
        .map(Claims::Session)
        .map_err(|error| {
            // Which of the checks failed is for this node's log only.
            tracing::info!(peer = %candidate.origin, %error, "session refused");
            let mut refusal = Refusal::new(Code::Unauthenticated, "the session does not hold");
            refusal.details = Bytes::from_static(SESSION_ENDED);
            refusal
        })
    }

    fn judge_member(&self, candidate: &Candidate<'_>, bytes: &[u8]) -> Result<Claims, Refusal> {
        let roster = match self.roster() {
            Some(roster) => roster,
            // This node has not learnt yet that the cluster has formed. It
            // countersigns one list only, so a roster that it is on is the one.
            None => {
                let roster = Roster::decode(bytes, &self.realm()).map_err(refuse_roster)?;
                let own_key = self.identity.key.verifying_key();
                let own_call = roster.call().bytes() == self.identity.call.bytes();
                if own_call && roster.member_with_key(&own_key).is_none() {
                    let own_name = &self.identity.member().name;
                    return Err(used(own_name));
                }
                Arc::new(roster)
            }
        };
        if roster.call().bytes() != self.identity.call.bytes() {
            return Err(foreign(&roster.realm(), &self.realm()));
        }
        match roster.member_with_key(candidate.key) {
            Some(member) => Ok(Claims::Member(member.name.clone())),
            None => Err(match Roster::decode(bytes, &self.realm()) {
                Err(error) => refuse_roster(error),
                Ok(_) => foreign(&self.realm(), &self.realm()),
            }),
        }
    }

    fn judge_candidate(
        &self,
        candidate: &Candidate<'_>,
        enrolment: &[u8],
    ) -> Result<Claims, Refusal> {
        let enrolment = verify_enrolment(enrolment, &self.realm(), &self.identity.call)
            .map_err(|error| invalid(error.to_string()))?;
        let body = enrolment.body();
        if body.node_key != *candidate.key {
            return Err(invalid("the enrolment is for another key".to_owned()));
        }
        let known_key = match self.roster() {
            Some(roster) => roster
                .members()
                .iter()
                .find(|member| member.name == body.name)
                .map(|member| member.key),
            None => self
                .enrolled
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .find(|known| known.body().name == body.name)
                .map(|known| known.body().node_key),
        };
        if known_key.is_some_and(|key| key != *candidate.key) {
            return Err(used(&body.name));
        }
        // One that is known came in time, and is only late with the rest.
        let late = (self.now_ms)() >= self.identity.call.body().expires_ms;
        if late && known_key.is_none() {
            return Err(Refusal::new(Code::Unauthenticated, "the invite expired"));
        }
        Ok(Claims::Candidate(body.name.clone()))
    }
}

impl Authorizer for Trust {
    fn present(&self) -> Bytes {
        let presentation = match self.roster() {
            Some(roster) => Presentation::Member {
                roster: roster.encode(),
            },
            None => Presentation::Candidate {
                root: self.identity.root,
                call: self.identity.call.bytes().to_vec(),
                enrolment: self.identity.enrolment.bytes().to_vec(),
            },
        };
        presentation.encode().into()
    }

    fn authorize(&self, candidate: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        let claims = self.judge(candidate)?;
        Ok(Arc::new(claims))
    }

    fn limits(&self, peer: &Peer) -> Option<Limits> {
        match peer.claims::<Claims>() {
            Some(Claims::Anonymous) | None => Some(stranger_limits()),
            Some(Claims::Session(_) | Claims::Member(_) | Claims::Candidate(_)) => None,
        }
    }
}

/// A stranger may log in, or bring a portion of records that the root signed.
fn stranger_limits() -> Limits {
    Limits {
        message_bytes_max: STRANGER_BYTES_MAX,
        incoming_bytes_max: STRANGER_BYTES_MAX,
        outgoing_bytes_max: STRANGER_BYTES_MAX,
        outgoing_bytes_pause: STRANGER_BYTES_MAX / 2,
        calls_in_flight_max: 4,
        call_duration_max: Duration::from_secs(30),
        ..Limits::default()
    }
}

/// The node's side towards the nodes that it connects to: members and candidates
/// of its own cluster, nobody else.
pub struct TowardsPeers(pub Arc<Trust>);

impl Authorizer for TowardsPeers {
    fn present(&self) -> Bytes {
        self.0.present()
    }

    fn authorize(&self, candidate: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        match self.0.judge(candidate)? {
            claims @ (Claims::Member(_) | Claims::Candidate(_)) => Ok(Arc::new(claims)),
            Claims::Anonymous | Claims::Session(_) => {
                Err(Refusal::new(Code::Unauthenticated, "it is no node"))
            }
        }
    }
}

fn used(name: &Name) -> Refusal {
    let mut refusal = Refusal::new(
        Code::Unauthenticated,
        format!("another machine has enrolled as {name}"),
    );
    refusal.details = Bytes::from_static(INVITE_USED);
    refusal
}

fn refuse_roster(error: RosterError) -> Refusal {
    match error {
        RosterError::WrongRealm { pinned, found } => foreign(&found, &pinned),
        error => invalid(error.to_string()),
    }
}

fn foreign(found: &RealmId, own: &RealmId) -> Refusal {
    if found == own {
        invalid("it belongs to another cluster of the realm".to_owned())
    } else {
        invalid(format!(
            "it belongs to realm {}, not {}",
            found.short(),
            own.short()
        ))
    }
}

fn invalid(what: String) -> Refusal {
    let mut refusal = Refusal::new(Code::Unauthenticated, what);
    refusal.details = Bytes::from_static(INVITE_INVALID);
    refusal
}
