//! Whom a node talks to: nodes of its cluster or call, sessions, and strangers
//! who may log in and nothing else.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use sealmoot_authn::audit::{Auditor, Event, Subject, What, Who};
use sealmoot_authn::login::{CODES_WITHIN, LOGIN_WITHIN, SharedUsers};
use sealmoot_authn::name::Name;
use sealmoot_authn::presentation::Presentation;
use sealmoot_authn::proto::directory_methods::PUBLISH;
use sealmoot_authn::realm_id::RealmId;
use sealmoot_authn::records::RevokedNodesRecord;
use sealmoot_authn::roots::Roots;
use sealmoot_authn::roster::{Roster, RosterError, verify_enrolment};
use sealmoot_authn::session::verify_session;
use sealmoot_authn::statement::{Claim, Enrolment, Session, Verified};
use sealmoot_authn::users::{ISSUERS_PER_USER_MAX, RECORD_LENGTH_MAX, UserDirectory};
use sealmoot_crypto::signature::KeyId;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::interceptor::IncomingCall;
use sealmoot_rpc::{
    Authorizer, CallContext, Candidate, Code, Connections, Execution, Limits, Peer, Refusal,
    ServerInterceptor, Status,
};

use super::identity::Identity;
use super::sessions::{Freshness, LiveSession, SessionClock, SessionTable};

/// Details of a refusal because another machine holds the name.
pub const INVITE_USED: &[u8] = b"invite_used";
/// Details of a refusal because of another realm or another call.
pub const INVITE_INVALID: &[u8] = b"invite_invalid";
/// Details of a refusal because the sessions of the client's key were revoked.
pub const KEY_REVOKED: &[u8] = b"key_revoked";
/// Details of a refusal because the session does not hold.
pub const SESSION_ENDED: &[u8] = b"session_ended";
/// Details of a refusal because the root revoked the key of the node that asks or is
/// asked.
pub const NODE_REVOKED: &[u8] = sealmoot_authn::pin::NODE_REVOKED;

/// How often at most a former root's words are put on record, in milliseconds.
const OLD_ROOT_NOTED_EVERY_MS: u64 = 60_000;

/// What a stranger's connection may hold: one portion of published records and
/// what stands around it.
const STRANGER_BYTES_MAX: usize = sealmoot_authn::publish::PUBLISH_BYTES_MAX + 32 * 1024;
/// Most bytes of answers that wait for somebody unknown: a portion of the records that a
/// delegate may fetch, which it proves on the way. A portion ends behind a user, of whom
/// there may be several records.
const STRANGER_OUTGOING_MAX: usize =
    sealmoot_authn::fetch::FETCH_BYTES_MAX + ISSUERS_PER_USER_MAX * RECORD_LENGTH_MAX + 64 * 1024;

/// At a node that was revoked, nobody does anything but bring records: a former root may
/// have said so, and the present one has to be heard.
pub(super) struct RevokedNode(pub(super) Arc<Trust>);

impl ServerInterceptor for RevokedNode {
    fn before(&self, _: &mut CallContext, call: &IncomingCall) -> Result<(), Status> {
        if call.method == PUBLISH || !self.0.is_revoked_itself() {
            return Ok(());
        }
        let message = "this node was revoked";
        Err(Status::new(
            Code::Unavailable,
            Execution::NotStarted,
            message,
        ))
    }
}

/// Who a peer is.
#[derive(Debug, Clone)]
pub enum Claims {
    /// Nobody in particular.
    Anonymous,
    /// A user's session.
    Session(Box<LiveSession>),
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
    /// Whether the realm's records came to this node: its invite sealed them, and before
    /// enough nodes opened it together there is nothing to judge a session by.
    pub has_records: AtomicBool,
    /// Enrolments known while the cluster forms: one key a name.
    pub enrolled: RwLock<Vec<Verified<Enrolment>>>,
    /// What records sessions that do not hold; tools have none.
    pub auditor: Option<Auditor>,
    /// When a former root's word was last put on record.
    pub old_root_noted_ms: Mutex<Option<u64>>,
    /// The wall clock.
    pub now_ms: fn() -> u64,
    /// The clock by which sessions are judged.
    pub clock: SessionClock,
    /// The sessions that came in.
    pub sessions: Mutex<SessionTable>,
    /// With whom the records were compared, once there is a cluster.
    pub freshness: Mutex<Option<Freshness>>,
    /// The server's connections, once there is a server.
    pub connections: OnceLock<Connections>,
}

impl Trust {
    /// What a tool that holds a node's key knows, without its log.
    #[must_use]
    pub fn of_candidate(identity: Identity) -> Self {
        Self {
            enrolled: RwLock::new(identity.countersigned.clone()),
            has_records: AtomicBool::new(identity.login.is_some()),
            identity,
            roster: RwLock::new(None),
            users: SharedUsers::default(),
            auditor: None,
            old_root_noted_ms: Mutex::default(),
            now_ms: || 0,
            clock: SessionClock::new(|| 0),
            sessions: Mutex::default(),
            freshness: Mutex::default(),
            connections: OnceLock::new(),
        }
    }

    /// The roster, once there is one.
    pub fn roster(&self) -> Option<Arc<Roster>> {
        self.roster
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The realm's roots as this node knows them by now.
    pub fn roots(&self) -> Roots {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        users.roots().unwrap_or(&self.identity.roots).clone()
    }

    fn realm(&self) -> RealmId {
        self.identity.realm()
    }

    fn judge(&self, candidate: &Candidate<'_>) -> Result<Claims, Refusal> {
        let presentation = Presentation::decode(candidate.presented)
            .map_err(|_| Refusal::new(Code::InvalidArgument, "malformed statements"))?;
        self.check_not_revoked(candidate, &presentation)?;
        match presentation {
            // It would log in and have no session: told here, the client takes another.
            Presentation::Anonymous if self.is_revoked(&candidate.key_id) => {
                let message = "the sessions of this key were revoked";
                let mut refusal = Refusal::new(Code::Unauthenticated, message);
                refusal.details = Bytes::from_static(KEY_REVOKED);
                Err(refusal)
            }
            Presentation::Anonymous => Ok(Claims::Anonymous),
            Presentation::Session { session, receipt } => {
                self.judge_session(candidate, &session, &receipt)
            }
            Presentation::Member { roster, .. } => self.judge_member(candidate, &roster),
            Presentation::Candidate {
                inception,
                call,
                enrolment,
                ..
            } => {
                let same = *inception == *self.identity.roots.inception()
                    && call == self.identity.call.bytes();
                if !same {
                    return Err(foreign(&inception.realm(), &self.realm()));
                }
                self.judge_candidate(candidate, &enrolment)
            }
        }
    }

    /// Nobody talks to a node that the root revoked, and it talks to nobody once it knows:
    /// what it was told before is all that it has. Strangers alone come in, and do nothing
    /// but bring records ([`RevokedNode`]).
    fn check_not_revoked(
        &self,
        candidate: &Candidate<'_>,
        presentation: &Presentation,
    ) -> Result<(), Refusal> {
        let is_node = matches!(
            presentation,
            Presentation::Member { .. } | Presentation::Candidate { .. }
        );
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        let (code, message) = if is_node && users.is_node_revoked(&candidate.key_id) {
            (Code::Unauthenticated, "the node's key was revoked")
        } else if !matches!(presentation, Presentation::Anonymous) && self.is_self_revoked(&users) {
            (Code::Unavailable, "this node was revoked")
        } else {
            return Ok(());
        };
        let mut refusal = Refusal::new(code, message);
        refusal.details = Bytes::from_static(NODE_REVOKED);
        Err(refusal)
    }

    /// The roots and the record of revoked nodes, to be shown; empty before the first of
    /// either. Of one moment: nobody believes a record by a root that is not shown.
    fn shown(&self) -> (Vec<u8>, Vec<u8>) {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        let roots = users.roots().unwrap_or(&self.identity.roots);
        let roots = if roots.number() > 0 {
            roots.encode()
        } else {
            Vec::new()
        };
        let record = users.revoked_nodes_record();
        let record = record.map(RevokedNodesRecord::encode).unwrap_or_default();
        (roots, record)
    }

    /// Whether a root revoked this node itself.
    pub(super) fn is_revoked_itself(&self) -> bool {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        self.is_self_revoked(&users)
    }

    /// The same of users that are read already.
    fn is_self_revoked(&self, users: &UserDirectory) -> bool {
        users.is_node_revoked(&self.identity.key.verifying_key().key_id())
    }

    /// Whether the root revoked the node with this key.
    pub(super) fn is_node_revoked(&self, key: &KeyId) -> bool {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        users.is_node_revoked(key)
    }

    fn judge_session(
        &self,
        candidate: &Candidate<'_>,
        session: &[u8],
        receipt: &[u8],
    ) -> Result<Claims, Refusal> {
        let known = self.has_records.load(Ordering::Acquire);
        let Some(roster) = self.roster().filter(|_| known) else {
            // Not that the session ended: this node cannot know.
            return Err(Refusal::new(
                Code::Unavailable,
                "the cluster has not formed yet",
            ));
        };
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        let now_ms = self.clock.now_ms();
        let verified = verify_session(&roster, &users, session, receipt, candidate.key, now_ms);
        drop(users);
        let refuse = |error: &dyn std::fmt::Display| {
            // Which of the checks failed is for this node's log only.
            tracing::info!(peer = %candidate.origin, %error, "session refused");
            self.note_session(candidate, session, error);
            let mut refusal = Refusal::new(Code::Unauthenticated, "the session does not hold");
            refusal.details = Bytes::from_static(SESSION_ENDED);
            refusal
        };
        let session = verified.map_err(|error| refuse(&error))?;
        self.enter(session, candidate.origin.to_string())
            .map(|session| Claims::Session(Box::new(session)))
            .ok_or_else(|| refuse(&"the session went unused for too long"))
    }

    /// Whether the peer is of the cluster of this node's own call, which has formed with
    /// another machine in this one's place.
    fn is_replaced_in(&self, candidate: &Candidate<'_>) -> bool {
        let member = matches!(
            Presentation::decode(candidate.presented),
            Ok(Presentation::Member { .. })
        );
        member
            && self.roster().is_none()
            && self
                .judge(candidate)
                .is_err_and(|refusal| refusal.details == INVITE_USED)
    }

    /// Whose session it was is what the session says: of one that was refused that may
    /// be a lie, as any name is with which somebody tries to log in.
    fn note_session(
        &self,
        candidate: &Candidate<'_>,
        session: &[u8],
        error: &dyn std::fmt::Display,
    ) {
        let Some(auditor) = &self.auditor else {
            return;
        };
        let claimed = Claim::<Session>::decode(session).ok();
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        let subject = claimed.map_or(Subject::Nothing, |claim| {
            let name = &claim.claimed().user;
            match users.record(name) {
                Some(record) => Subject::User(record.user().name.clone()),
                None => auditor.unknown_name(name.as_str().as_bytes()),
            }
        });
        drop(users);
        self.note_refused(
            What::Session,
            stranger(candidate),
            subject,
            &error.to_string(),
        );
    }

    /// Puts on record that somebody came with an invite that another machine has used:
    /// so there is a copy of it.
    pub(super) fn note_used_invite(&self, who: Who, name: &Name, detail: &str) {
        self.note_refused(
            What::InviteRefused,
            who,
            Subject::Node(name.clone()),
            detail,
        );
    }

    /// Puts on record that a former root's key is in use, at most once a minute.
    pub(super) fn note_old_root(&self, who: &Who, detail: &str) {
        let now_ms = (self.now_ms)();
        let mut noted = self
            .old_root_noted_ms
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if noted.is_some_and(|noted| now_ms.saturating_sub(noted) < OLD_ROOT_NOTED_EVERY_MS) {
            return;
        }
        *noted = Some(now_ms);
        drop(noted);
        tracing::warn!(
            %detail,
            "a former root signed something new: by a delegate who has not accepted the new \
             delegation, or by whoever has that root's key"
        );
        self.note_refused(What::OldRootRefused, who.clone(), Subject::Nothing, detail);
    }

    fn note_refused(&self, what: What, who: Who, subject: Subject, detail: &str) {
        let Some(auditor) = &self.auditor else {
            return;
        };
        let event = Event::done((self.now_ms)(), what, who, subject);
        // It is refused whether it gets on record or not.
        if let Err(error) = auditor.note(event.refused().detail(detail)) {
            tracing::warn!(%error, "a refusal is not on record");
        }
    }

    fn judge_member(&self, candidate: &Candidate<'_>, bytes: &[u8]) -> Result<Claims, Refusal> {
        let roster = match self.roster() {
            Some(roster) => roster,
            // This node has not learnt yet that the cluster has formed. It
            // countersigns one list only, so a roster that it is on is the one.
            None => {
                let roster = Roster::decode_formed(bytes, &self.roots()).map_err(refuse_roster)?;
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
            None => Err(match Roster::decode_formed(bytes, &self.roots()) {
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
            let detail = "another machine has enrolled with this invite";
            self.note_used_invite(stranger(candidate), &body.name, detail);
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
        let (roots, revoked_nodes) = self.shown();
        let presentation = match self.roster() {
            Some(roster) => Presentation::Member {
                roster: roster.encode(),
                revoked_nodes,
                roots,
            },
            None => Presentation::Candidate {
                inception: Box::new(*self.identity.roots.inception()),
                roots,
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
        outgoing_bytes_max: STRANGER_OUTGOING_MAX,
        outgoing_bytes_pause: STRANGER_OUTGOING_MAX / 2,
        calls_in_flight_max: 4,
        // A login with a code waits for a person, who has proved a password by then;
        // until then the login service itself allows less.
        call_duration_max: LOGIN_WITHIN.saturating_add(CODES_WITHIN),
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
        if self.0.is_replaced_in(candidate) {
            // Nothing is believed of it or asked from it. But a node that hung up here
            // would never be seen by the cluster, and nobody would learn that there is a
            // copy of an invite: the peer is to refuse this node itself, and record it.
            return Ok(Arc::new(Claims::Anonymous));
        }
        match self.0.judge(candidate)? {
            claims @ (Claims::Member(_) | Claims::Candidate(_)) => Ok(Arc::new(claims)),
            Claims::Anonymous | Claims::Session(_) => {
                Err(Refusal::new(Code::Unauthenticated, "it is no node"))
            }
        }
    }
}

/// Whoever is not known yet.
fn stranger(candidate: &Candidate<'_>) -> Who {
    Who::Peer {
        key: candidate.key_id,
        origin: candidate.origin.to_string(),
        user: None,
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
