//! Sessions at a node: which there are, whether each still holds, and the end of the
//! connections of those that do not.

mod clock;
mod freshness;
mod table;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use sealmoot_authn::audit::{Event, Subject, What, Who};
use sealmoot_authn::name::Name;
use sealmoot_authn::policy::{Allowed, Denied, NamedRoles, Role};
use sealmoot_authn::session::proto::{ListRequest, SessionsClient};
use sealmoot_authn::session::{Authenticated, NotAllowed};
use sealmoot_authn::users::{UserDirectory, UserRecord};
use sealmoot_crypto::signature::KeyId;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{Code, Execution, Refusal, Status};
use tracing::{info, warn};

pub use clock::SessionClock;
pub use freshness::Freshness;
pub use table::{SESSIONS_MAX, Seen, SessionTable};

use super::Cluster;
use super::authorizer::{Claims, NODE_REVOKED, SESSION_ENDED, Trust};
use super::{ended, links};
use crate::record::Record;
use crate::replica::CLOCK_LEAD_MS_MAX;

/// How often it is looked which sessions are over.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// The log keeps the clock this often, though nothing else is written.
const CLOCK_KEPT_EVERY_MS: u64 = 60_000;
/// How long that may take.
const KEEP_WITHIN: Duration = Duration::from_secs(2);
/// How often nodes tell each other when sessions with an idle limit were used.
const TELL_EVERY_SWEEPS: u32 = 10;
/// How often it is looked which ends of sessions need not be remembered any more.
const FORGET_EVERY_SWEEPS: u32 = 120;
/// How long a peer may take to say which sessions it has seen.
const LIST_WITHIN: Duration = Duration::from_secs(2);
/// Most pages of one peer in a row: as many as the fullest table has.
const PAGES_MAX: usize = SESSIONS_MAX.div_ceil(SESSIONS_A_PAGE);
/// Most sessions in one answer.
pub(super) const SESSIONS_A_PAGE: usize = 512;

/// Why connections are closed: the two reasons that come from the clock alone.
const EXPIRED: &str = "expired";
const DELEGATION_OVER: &str = "the delegation of who made its user does not hold";

/// What a request of a session is told while the node is not fresh.
pub(super) const UNCONFIRMED: &str = "the node has not heard for too long from enough \
    others which sessions were revoked, and serves nobody meanwhile";

/// A session whose channel is open.
#[derive(Debug, Clone)]
pub struct LiveSession {
    authenticated: Authenticated,
    last_used_ms: Arc<AtomicU64>,
}

impl LiveSession {
    /// Whether it has gone unused for longer than it may.
    fn is_idle(&self, now_ms: u64) -> bool {
        let last_used_ms = self.last_used_ms.load(Ordering::Relaxed);
        self.authenticated.is_idle(last_used_ms, now_ms)
    }

    fn used(&self, now_ms: u64) {
        self.last_used_ms.fetch_max(now_ms, Ordering::Relaxed);
    }

    /// Why it is over, if it is.
    fn ended(&self, users: &UserDirectory, now_ms: u64) -> Option<&'static str> {
        if self.is_idle(now_ms) {
            Some("unused for too long")
        } else if now_ms >= self.authenticated.expires_ms {
            Some(EXPIRED)
        } else if !self.authenticated.still_holds(users, now_ms) {
            // Whom a delegate made ends with the delegation.
            let over = |record: &UserRecord| !record.issuer_holds_at(now_ms);
            if users.record(&self.user).is_some_and(over) {
                return Some(DELEGATION_OVER);
            }
            Some("revoked, or its user was disabled or changed")
        } else {
            None
        }
    }
}

impl Deref for LiveSession {
    type Target = Authenticated;

    fn deref(&self) -> &Authenticated {
        &self.authenticated
    }
}

/// Why a request of a session is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// The node does not know whether the session was revoked.
    Unconfirmed,
    /// The session is over.
    Ended,
    /// It holds, and may not do this.
    NotAllowed(NotAllowed),
}

impl Refused {
    /// The status of a session that is over.
    pub(super) fn ended() -> Status {
        let (code, execution) = (Code::Unauthenticated, Execution::NotStarted);
        Status::new(code, execution, "the session does not hold").with_details(SESSION_ENDED)
    }

    /// The status of a node that cannot tell.
    pub(super) fn unconfirmed() -> Status {
        Status::new(Code::Unavailable, Execution::NotStarted, UNCONFIRMED)
    }
}

impl Trust {
    /// Judges a request of a session by the records, the clock and the use as they are
    /// now.
    pub(super) fn decide(
        &self,
        session: &LiveSession,
        judge: impl Fn(&str, &[Role], &NamedRoles) -> Result<Allowed, Denied>,
    ) -> Result<Allowed, Refused> {
        if !self.is_fresh() {
            return Err(Refused::Unconfirmed);
        }
        let now_ms = self.clock.now_ms();
        if session.is_idle(now_ms) {
            return Err(Refused::Ended);
        }
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        let decided = session.decide(&users, now_ms, judge);
        drop(users);
        if !matches!(decided, Err(NotAllowed::Ended)) {
            session.used(now_ms);
        }
        decided.map_err(|error| match error {
            NotAllowed::Ended => Refused::Ended,
            refused @ (NotAllowed::Denied(_)
            | NotAllowed::NotDelegated(_)
            | NotAllowed::Narrowed(_)) => Refused::NotAllowed(refused),
        })
    }

    /// Takes note of a session that came in from `origin`; none when it has gone
    /// unused for too long.
    pub(super) fn enter(&self, session: Authenticated, origin: String) -> Option<LiveSession> {
        let now_ms = self.clock.now_ms();
        let last_used_ms = self.sessions().enter(&session, origin, now_ms)?;
        Some(LiveSession {
            authenticated: session,
            last_used_ms,
        })
    }

    /// The sessions that this node has seen and that hold, behind `after`.
    pub(super) fn sessions_seen(&self, after: Option<&KeyId>) -> Vec<Seen> {
        let now_ms = self.clock.now_ms();
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        let sessions = self.sessions();
        let holds = |seen: &&Seen| {
            let last_used_ms = seen.last_used_ms.load(Ordering::Relaxed);
            seen.session.still_holds(&users, now_ms) && !seen.session.is_idle(last_used_ms, now_ms)
        };
        sessions.behind(after).filter(holds).cloned().collect()
    }

    /// Whether what this key speaks for was revoked, or ended itself.
    pub(super) fn is_revoked(&self, key: &KeyId) -> bool {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        users.is_key_over(key)
    }

    /// Closes the connections whose session is over, and says whether one of them was
    /// so by the clock.
    pub(super) fn cut_ended(&self) -> bool {
        let Some(connections) = self.connections.get() else {
            return false;
        };
        let now_ms = self.clock.now_ms();
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        let me = self.identity.key.verifying_key().key_id();
        let out = users.is_node_revoked(&me);
        let cut = RefCell::new(BTreeMap::<(Name, &str), u32>::new());
        connections.close_where(|peer| {
            let session = match peer.claims::<Claims>() {
                Some(Claims::Session(session)) if !out => session,
                Some(Claims::Member(_) | Claims::Candidate(_))
                    if users.is_node_revoked(&peer.key_id()) =>
                {
                    return Some(node_revoked(Code::Unauthenticated));
                }
                // They may bring records, and do nothing else.
                Some(Claims::Anonymous) => return None,
                _ => return out.then(|| node_revoked(Code::Unavailable)),
            };
            let why = session.ended(&users, now_ms)?;
            *cut.borrow_mut()
                .entry((session.user.clone(), why))
                .or_default() += 1;
            Some(Refusal {
                code: Code::Unauthenticated,
                message: "the session does not hold".to_owned(),
                details: Bytes::from_static(SESSION_ENDED),
            })
        });
        drop(users);
        let cut = cut.into_inner();
        for ((user, why), count) in &cut {
            self.note_cut(user, why, *count, now_ms);
        }
        let by_clock = cut
            .keys()
            .any(|(_, why)| [EXPIRED, DELEGATION_OVER].contains(why));
        self.sessions().forget_expired(now_ms);
        by_clock
    }

    fn note_cut(&self, user: &Name, why: &str, count: u32, now_ms: u64) {
        info!(%user, why, count, "closed connections of a session that is over");
        let Some(auditor) = &self.auditor else {
            return;
        };
        let subject = Subject::User(user.clone());
        let event = Event::done(now_ms, What::SessionCut, Who::Node, subject);
        let event = event.detail(format!("{count} connections: {why}"));
        // They are closed whether it gets on record or not.
        if let Err(error) = auditor.note(event) {
            warn!(%error, "closed connections are not on record");
        }
    }

    /// Whether this node knows what was revoked until lately.
    pub(super) fn is_fresh(&self) -> bool {
        let freshness = self
            .freshness
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now_ms = self.steady_ms();
        freshness
            .as_ref()
            .is_none_or(|fresh| fresh.is_fresh(now_ms))
    }

    /// From now on freshness is judged.
    pub(super) fn expect_freshness(&self, freshness: Freshness) {
        *self
            .freshness
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(freshness);
    }

    /// This node had all of a member's records at that time.
    pub(super) fn confirmed(&self, member: usize, asked_ms: u64) {
        let mut freshness = self
            .freshness
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(freshness) = freshness.as_mut() {
            freshness.confirm(member, asked_ms);
        }
    }

    /// Milliseconds on a clock that goes on whatever is done to the wall clock.
    pub(super) fn steady_ms(&self) -> u64 {
        steady_ms()
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, SessionTable> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why connections of and to a revoked node are closed.
fn node_revoked(code: Code) -> Refusal {
    let mut refusal = Refusal::new(code, "the node was revoked");
    refusal.details = Bytes::from_static(NODE_REVOKED);
    refusal
}

/// Closes what is over, keeps the clock durable, and hears from the peers when
/// sessions were used there; for as long as the cluster runs.
pub(super) async fn keep(cluster: Weak<Cluster>, trust: Arc<Trust>) {
    let mut kept_ms = 0;
    let mut sweeps = 0;
    loop {
        let Some(running) = cluster.upgrade() else {
            return;
        };
        trust
            .clock
            .hear(running.engine.clock().ms(), CLOCK_LEAD_MS_MAX);
        let by_clock = trust.cut_ended();
        running.links.cut(|key| trust.is_node_revoked(key));
        let now_ms = trust.clock.now_ms();
        // A session that was over stays so, wherever the clock is set before the next
        // start.
        if by_clock || now_ms >= kept_ms + CLOCK_KEPT_EVERY_MS {
            kept_ms = now_ms;
            keep_clock(&running, now_ms).await;
        }
        if sweeps % TELL_EVERY_SWEEPS == 0 {
            for member in 0..running.quorums.members() {
                if let Ok(peer) = running.links.connection(member) {
                    tokio::spawn(learn_uses(peer, Arc::clone(&trust)));
                }
            }
        }
        if sweeps % FORGET_EVERY_SWEEPS == 0 {
            ended::forget_past(&trust);
        }
        sweeps = sweeps.wrapping_add(1);
        drop(running);
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}

/// Milliseconds since the machine started. The time that it was suspended counts: a node
/// that wakes behind a partition must not serve sessions that were revoked meanwhile.
fn steady_ms() -> u64 {
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(clock);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds * 1_000 + nanoseconds / 1_000_000
}

/// Makes the time durable: after a restart the clock begins there.
pub(super) async fn keep_clock(cluster: &Cluster, now_ms: u64) {
    let kept = cluster.engine.append(vec![Record::Time(now_ms)]);
    match tokio::time::timeout(KEEP_WITHIN, kept).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "the clock is not kept"),
        // The log is closed, or the disk hangs: nothing rests on this record alone.
        Err(_) => warn!("the clock is not kept in time"),
    }
}

/// Hears when a peer served the sessions that have an idle limit.
async fn learn_uses(peer: links::Peer, trust: Arc<Trust>) {
    let client = SessionsClient::new(peer.connection().clone());
    let mut request = ListRequest {
        idle_limited: true,
        ..ListRequest::default()
    };
    for _ in 0..PAGES_MAX {
        let Ok(reply) = client.list(request.clone(), LIST_WITHIN).await else {
            return;
        };
        let now_ms = trust.clock.now_ms();
        for seen in &reply.sessions {
            if let Ok(key) = <[u8; 32]>::try_from(&*seen.key) {
                let (key, issued) = (KeyId::from_bytes(key), seen.issued_ms);
                trust
                    .sessions()
                    .learn(key, issued, seen.last_used_ms, now_ms);
            }
        }
        match reply.sessions.last() {
            Some(last) if reply.more => request.after = last.key.clone(),
            _ => return,
        }
    }
}
