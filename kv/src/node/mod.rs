//! A node: one process on one data directory.
//!
//! [`open()`] finds the key and the log, [`Node::start`] listens, gathers
//! the nodes of the call until the cluster has formed, and serves. Deciding is
//! done elsewhere ([`crate::replica`], [`crate::coordinator`], [`membership`]);
//! here are sockets, files, the clock and randomness.

mod audit;
pub mod authorizer;
mod ended;
mod engine;
mod gather;
pub mod identity;
mod links;
pub mod membership;
mod opening;
mod sealed_part;
mod service;
pub mod sessions;
mod set_aside;
mod startup;
mod throttling;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use sealmoot_authn::audit::proto::AuditServer;
use sealmoot_authn::audit::{What, Who};
use sealmoot_authn::files::Lock;
use sealmoot_authn::invite::SealedPart;
use sealmoot_authn::login::{LoginService, SharedUsers};
use sealmoot_authn::opaque::LoginSecrets;
use sealmoot_authn::proto::{ChargesServer, DirectoryClient, DirectoryServer, LoginServer};
use sealmoot_authn::roster::Roster;
use sealmoot_authn::session::proto::SessionsServer;
use sealmoot_authn::throttle::{Account, LoginThrottle, ThrottleKey};
use sealmoot_crypto::random;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{Connector, Limits, Router, Server, ServerHandle};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use crate::ballot::Proposer;
use crate::checkpoint::{Changes, Keeper, Kept};
use crate::coordinator::Coordinator;
use crate::disk::DirectoryDisk;
use crate::log::{Durable, Log, LogWriter, sealed_file};
use crate::proto::{EnrolmentServer, ReplicaServer, StoreServer};
use crate::quorum::Quorums;
use crate::record::{Record, RefillStage};
use crate::replica::CLOCK_LEAD_MS_MAX;
use crate::storage::Tree;

pub use engine::Fatal;
pub use gather::{GatherFailure, Progress};
pub use identity::IDENTITY_FILE;
pub use startup::{
    Enrolled, OpenFailure, Opened, PID_FILE, REVOCATIONS_WITHIN, SCRUB_EVERY, Verification,
    begin_anew, enrol, open, reads_identity, verify,
};

use audit::NodeAudit;
use authorizer::RevokedNode;
use authorizer::{TowardsPeers, Trust};
use engine::Engine;
use links::{Links, number_of};
use membership::Gathering;
use service::{
    AuditService, ChargesService, DirectoryService, EnrolmentService, NodeLogin, ReplicaService,
    SessionsService, StoreService,
};
use sessions::{Freshness, SessionClock};

/// How often a node compares its users with those of its peers.
const RECONCILE_EVERY: Duration = Duration::from_millis(500);
/// How soon a peer is looked for again while this node serves nobody.
const RECONCILE_SOON: Duration = Duration::from_millis(20);
/// How long a peer may take for one portion of its users.
const FETCH_WITHIN: Duration = Duration::from_secs(5);
/// How long requests in progress may go on after the node was told to stop.
const DRAIN_WITHIN: Duration = Duration::from_secs(2);

/// A cluster that has formed, as one node sees it.
pub struct Cluster {
    engine: Arc<Engine>,
    links: Arc<Links>,
    quorums: Quorums,
    epoch: u64,
}

/// What all services of a node share.
pub struct Shared {
    trust: Arc<Trust>,
    audit: Arc<NodeAudit>,
    gathering: Mutex<Gathering>,
    cluster: OnceLock<Arc<Cluster>>,
    /// Raised whenever something new was gathered.
    news: watch::Sender<u64>,
    throttle: Arc<LoginThrottle>,
    /// What answers logins, once the node has the login secrets.
    login: OnceLock<LoginService>,
    /// Drawn at the start of this process.
    start: u64,
    /// Why gathering must stop, if it must.
    refused: watch::Sender<Option<membership::GatherError>>,
}

impl Shared {
    fn cluster(&self) -> Option<Arc<Cluster>> {
        self.cluster.get().cloned()
    }
}

/// A node that listens.
pub struct Node {
    shared: Arc<Shared>,
    server: ServerHandle,
    connector: Connector,
    disk: DirectoryDisk,
    sealed: crate::log::sealed_file::SealedFileKey,
    opened: Option<OpenedLog>,
    _lock: Arc<Lock>,
}

struct OpenedLog {
    sealed_part: Option<SealedPart>,
    log: Log<DirectoryDisk>,
    tree: Tree<DirectoryDisk>,
    changes: Changes,
    replay: crate::replica::Replay,
    attestations: crate::attest::Attestations,
    revocations_within: Duration,
    scrub_every: Duration,
}

impl OpenedLog {
    /// Makes records durable before anybody is served.
    fn commit(&mut self, records: &[Record]) -> Result<(), NodeError> {
        let first = self.log.position().records + 1;
        let encoded: Vec<Bytes> = records.iter().map(|one| one.encode().into()).collect();
        let _durable = self.log.commit(&encoded).map_err(internal)?;
        for ((number, record), bytes) in (first..).zip(records).zip(&encoded) {
            self.changes.note(number, record, bytes);
        }
        Ok(())
    }
}

/// Why a node did not start or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Nobody can listen at the address.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The nodes of the call do not form a cluster.
    #[error(transparent)]
    Gather(#[from] GatherFailure),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] Fatal),
    /// A fault of the program or the machine.
    #[error("{0}")]
    Internal(String),
}

fn internal(error: impl std::fmt::Display) -> NodeError {
    NodeError::Internal(error.to_string())
}

/// Limits of a node's channels: peers are heard of every half second, and one
/// that is silent for a second and a half is gone.
fn limits() -> Limits {
    Limits {
        unauthenticated_per_source_max: 256,
        calls_in_flight_max: 16 * 1024,
        keepalive_idle: Duration::from_millis(500),
        keepalive_timeout: Duration::from_secs(1),
        ..Limits::default()
    }
}

impl Node {
    /// Listens at the node's address and answers from then on.
    ///
    /// # Errors
    /// [`NodeError::Listen`], [`NodeError::Internal`].
    pub async fn start(opened: Opened, now_ms: fn() -> u64) -> Result<Self, NodeError> {
        let address = opened.identity.member().address.clone();
        let listener = listen(&address)
            .await
            .map_err(|source| NodeError::Listen { address, source })?;
        let mut gathering = Gathering::new(&opened.identity);
        if !opened.identity.countersigned.is_empty() {
            // The same list again, and so the same signature: a peer that has not
            // formed yet may still need it.
            gathering.countersign(&opened.identity).map_err(internal)?;
        }
        if let Some(roster) = &opened.roster {
            gathering.add_roster(roster);
        }
        let audit = Arc::new(NodeAudit::start(opened.audit, now_ms).map_err(internal)?);
        let trust = Arc::new(Trust {
            old_root_noted_ms: Mutex::default(),
            auditor: Some(audit.auditor.clone()),
            enrolled: RwLock::new(gathering.enrolments().cloned().collect()),
            roster: RwLock::new(opened.roster.map(Arc::new)),
            users: Arc::new(RwLock::new(opened.users)),
            has_records: AtomicBool::new(opened.identity.login.is_some()),
            identity: opened.identity,
            now_ms,
            clock: SessionClock::new(now_ms),
            sessions: Mutex::default(),
            freshness: Mutex::default(),
            connections: OnceLock::new(),
        });
        // Before anybody comes: what was over before a restart stays over.
        trust.clock.raise(opened.time_ms);
        let hybrid_ms = opened.replay.clock().ms();
        trust.clock.hear(hybrid_ms, CLOCK_LEAD_MS_MAX);
        if let Some(roster) = trust.roster() {
            expect_freshness(&trust, &roster, opened.revocations_within);
        }
        let start = u64::from_le_bytes(random::array().map_err(internal)?);
        let mut throttle = opened.throttle;
        {
            let users = trust.users.read().unwrap_or_else(PoisonError::into_inner);
            // Those that count last: of each user they are what holds.
            let all = users.records_behind().chain(users.records());
            throttle.know_all(all.map(Account::of));
        }
        throttle.settle(now_ms());
        let shared = Arc::new_cyclic(|this| Shared {
            throttle: throttling::throttle(throttle, this, now_ms),
            login: OnceLock::new(),
            start,
            trust: Arc::clone(&trust),
            audit,
            gathering: Mutex::new(gathering),
            cluster: OnceLock::new(),
            news: watch::Sender::new(0),
            refused: watch::Sender::new(None),
        });
        if let Some(login) = &trust.identity.login {
            begin_logins(&shared, Arc::clone(login))?;
        }
        let key = &trust.identity.key;
        let router = router(&shared)?;
        let server =
            Server::start(listener, key, trust.clone(), router, limits()).map_err(internal)?;
        trust
            .connections
            .set(server.connections())
            .map_err(|_| internal("the node started twice"))?;
        let connector = Connector::new(key, Arc::new(TowardsPeers(trust.clone())), limits())
            .map_err(internal)?;
        Ok(Self {
            shared,
            server,
            connector,
            disk: opened.disk,
            sealed: opened.sealed,
            opened: Some(OpenedLog {
                sealed_part: opened.sealed_part,
                log: opened.log,
                tree: opened.tree,
                changes: opened.changes,
                replay: opened.replay,
                attestations: opened.attestations,
                revocations_within: opened.revocations_within,
                scrub_every: opened.scrub_every,
            }),
            _lock: opened.lock,
        })
    }

    /// Where the node listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Whether the cluster has formed.
    #[must_use]
    pub fn is_formed(&self) -> bool {
        self.shared.trust.roster().is_some()
    }

    /// How many nodes of the call this one knows of, and how many there are.
    #[must_use]
    pub fn enrolled(&self) -> (usize, usize) {
        let total = self.shared.trust.identity.call.body().members.len();
        if self.is_formed() {
            return (total, total);
        }
        let gathering = self
            .shared
            .gathering
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        (gathering.enrolled(), total)
    }

    /// Gathers the nodes of the call until the cluster has formed, opens what the invites
    /// sealed as soon as enough nodes have come for it, then begins to serve. `progress` is
    /// told how far it is whenever that changes.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn form(&mut self, progress: impl FnMut(&Progress)) -> Result<(), NodeError> {
        let Some(roster) = self.agree(progress).await? else {
            return Ok(());
        };
        // It stays until it is open: whoever drops this future may ask again.
        let sealed_part = self.opened.as_ref().and_then(|log| log.sealed_part.clone());
        if let Some(part) = sealed_part {
            self.open_sealed(&roster, &part).await?;
            if let Some(log) = &mut self.opened {
                log.sealed_part = None;
            }
        }
        if self.shared.login.get().is_none() {
            return Err(internal("without login secrets a node serves nobody"));
        }
        if let Some(opened) = self.opened.take() {
            self.begin_serving(opened, &roster)?;
            self.shared.audit.own_or_log(What::NodeStarted, "").await;
        }
        Ok(())
    }

    /// The first half of [`Node::form`]: gathers until there is a durable roster, and
    /// serves nobody yet. `None` when the node serves already.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn agree(
        &mut self,
        mut progress: impl FnMut(&Progress),
    ) -> Result<Option<Arc<Roster>>, NodeError> {
        let Some(opened) = &mut self.opened else {
            return Ok(None);
        };
        if let Some(roster) = self.shared.trust.roster() {
            return Ok(Some(roster));
        }
        let roster = gather::gather(
            &self.shared,
            &self.connector,
            &self.disk,
            &self.sealed,
            &mut progress,
        )
        .await?;
        opened.commit(&[Record::Roster(roster.encode())])?;
        let names: Vec<String> = roster
            .members()
            .iter()
            .map(|member| member.name.to_string())
            .collect();
        self.shared
            .audit
            .own(What::ClusterFormed, &names.join(" "))
            .await
            .map_err(internal)?;
        let roster = Arc::new(roster);
        let trust = &self.shared.trust;
        expect_freshness(trust, &roster, opened.revocations_within);
        *trust.roster.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&roster));
        Ok(Some(roster))
    }

    /// Opens what the invites sealed, makes it durable, and goes by it.
    async fn open_sealed(&mut self, roster: &Roster, part: &SealedPart) -> Result<(), NodeError> {
        let identity = &self.shared.trust.identity;
        let contents = opening::open(identity, roster, &self.connector, part)
            .await
            .map_err(internal)?;
        let Some(opened) = &mut self.opened else {
            return Err(internal("the node serves already"));
        };
        // The records first: a node with login secrets looks for the sealed part no more.
        // After a crash between, those that the log has already are left out.
        let records: Vec<Record> = {
            let users = self.shared.trust.users.read();
            let users = users.unwrap_or_else(PoisonError::into_inner);
            let records = contents.records.iter();
            records
                .filter(|record| users.wants(&record.name(), &record.standing()))
                .map(|record| Record::Signed(record.encode()))
                .collect()
        };
        if !records.is_empty() {
            opened.commit(&records)?;
        }
        let countersigned = {
            let gathering = self.shared.gathering.lock();
            let gathering = gathering.unwrap_or_else(PoisonError::into_inner);
            gathering.enrolments().cloned().collect()
        };
        let written = identity.with(countersigned, Some(Arc::clone(&contents.login)));
        let bytes = written.encode();
        sealed_file::write(&self.disk, &self.sealed, IDENTITY_FILE, bytes.expose())
            .map_err(internal)?;
        if let Err(error) = sealed_part::remove(&self.disk) {
            warn!(%error, "what the invite sealed stays until the next start");
        }
        let trust = &self.shared.trust;
        let mut users = trust.users.write().unwrap_or_else(PoisonError::into_inner);
        for record in contents.records {
            users.apply_signed(record);
        }
        drop(users);
        let users = trust.users.read().unwrap_or_else(PoisonError::into_inner);
        self.shared.throttle.with(|throttle, _, _| {
            throttle.call_by(ThrottleKey::of(&contents.login));
            let all = users.records_behind().chain(users.records());
            throttle.know_all(all.map(Account::of));
        });
        drop(users);
        trust.has_records.store(true, Ordering::Release);
        info!("opened what the invites sealed");
        begin_logins(&self.shared, contents.login)
    }

    fn begin_serving(&self, opened: OpenedLog, roster: &Roster) -> Result<(), NodeError> {
        let own_key = self.shared.trust.identity.key.verifying_key();
        let me = roster
            .members()
            .iter()
            .position(|member| member.key == own_key)
            .ok_or_else(|| internal("this node is not in its own roster"))?;
        let position = opened.log.position();
        let replica = opened.replay.finish(roster.epoch(), position.records);
        let quorums = Quorums::majority(roster.members().len());
        let now_ms = self.shared.trust.now_ms;
        let start = u64::from_le_bytes(random::array().map_err(internal)?);
        let proposer = Proposer {
            node: number_of(&own_key),
            start,
        };
        let clock = replica.clock(now_ms());
        let coordinator = Coordinator::new(me, roster.epoch(), proposer, quorums, clock, start);
        let links = Links::start(me, roster.members(), &self.connector);

        // The writer's thread reports to a task, because the engine's lock must
        // not be taken by a thread that a poll of the engine could wait for.
        let (reports, mut reported) = mpsc::unbounded_channel();
        let segments = opened.log.segments().clone();
        let kept = reports.clone();
        let log = LogWriter::spawn(opened.log, move |outcome| {
            drop(reports.send(outcome.map(Report::Durable).map_err(internal)));
        })
        .map_err(internal)?;
        let keeper = Keeper::spawn(opened.tree, segments, opened.scrub_every, move |outcome| {
            drop(kept.send(outcome.map(Report::Kept).map_err(internal)));
        })
        .map_err(internal)?;
        let engine = Engine::start(
            me,
            replica,
            coordinator,
            (log, keeper),
            (position, opened.changes),
            (opened.attestations, quorums.prepare()),
            Arc::clone(&links),
            now_ms,
        );
        let reporting = Arc::downgrade(&engine);
        tokio::spawn(async move {
            while let Some(outcome) = reported.recv().await {
                let Some(engine) = reporting.upgrade() else {
                    return;
                };
                match outcome {
                    Ok(Report::Durable(durable)) => engine.on_durable(durable),
                    Ok(Report::Kept(Kept::Through(record))) => {
                        debug!(record, "a checkpoint is written");
                        engine.on_kept();
                    }
                    Ok(Report::Kept(Kept::Damaged(damage))) => engine.on_damage(&damage),
                    Err(error) => engine.on_disk_failure(&error),
                }
            }
        });
        let cluster = Arc::new(Cluster {
            engine,
            links,
            quorums,
            epoch: roster.epoch(),
        });
        tokio::spawn(audit::tell_peers(
            Arc::downgrade(&cluster),
            Arc::clone(&self.shared.trust),
            Arc::clone(&self.shared.audit),
        ));
        // Each on its own: one that hangs must not keep revocations of the others away.
        for member in (0..roster.members().len()).filter(|member| *member != me) {
            tokio::spawn(reconcile(
                Arc::downgrade(&cluster),
                member,
                Arc::clone(&self.shared.trust),
                Arc::clone(&self.shared.audit),
                Arc::clone(&self.shared.throttle),
            ));
        }
        tokio::spawn(sessions::keep(
            Arc::downgrade(&cluster),
            Arc::clone(&self.shared.trust),
        ));
        tokio::spawn(throttling::share(
            Arc::downgrade(&cluster),
            Arc::clone(&self.shared.throttle),
        ));
        self.shared
            .cluster
            .set(cluster)
            .map_err(|_| internal("the cluster formed twice"))
    }

    /// Ends when the node may vote: when a quorum, this node included, remembers no
    /// more of it than it has; and when what the quorum knows of users and revoked
    /// sessions is known here.
    pub async fn within_quorum(&self) {
        loop {
            let reached = self
                .shared
                .cluster()
                .is_some_and(|cluster| cluster.engine.votes());
            if reached && self.shared.trust.is_fresh() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends when the node holds whatever it may have acknowledged: at once, unless it lost
    /// its data. Returns how many keys it holds, deleted ones included.
    pub async fn refilled(&self) -> usize {
        loop {
            if let Some(cluster) = self.shared.cluster()
                && cluster.engine.refill_stage() == RefillStage::Done
            {
                return cluster.engine.keys();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The names of the other nodes.
    #[must_use]
    pub fn peers(&self) -> Vec<String> {
        let me = &self.shared.trust.identity.member().name;
        let call = self.shared.trust.identity.call.body();
        let others = call.members.iter().filter(|member| member.name != *me);
        others.map(|member| member.name.to_string()).collect()
    }

    /// How many nodes are within reach, and how many there are.
    #[must_use]
    pub fn reachable(&self) -> (usize, usize) {
        self.shared.cluster().map_or((1, 1), |cluster| {
            (cluster.links.reachable(), cluster.quorums.members())
        })
    }

    /// Ends when the node cannot go on.
    pub async fn failed(&self) -> Fatal {
        match self.shared.cluster() {
            Some(cluster) => cluster.engine.failed().await,
            None => std::future::pending().await,
        }
    }

    /// Takes no more requests, lets those in progress end, makes everything
    /// durable.
    pub async fn stop(self) {
        self.server.drain(DRAIN_WITHIN).await;
        self.shared.audit.own_or_log(What::NodeStopped, "").await;
        if let Some(cluster) = self.shared.cluster() {
            audit::tell_peers_last(&cluster, &self.shared.trust, &self.shared.audit).await;
            sessions::keep_clock(&cluster, self.shared.trust.clock.now_ms()).await;
            cluster.engine.close();
        }
        info!("stopped");
    }
}

/// What the threads that write to the disk report.
enum Report {
    /// A sync.
    Durable(Durable),
    /// A checkpoint, or damage of a former one.
    Kept(Kept),
}

/// Answers logins from now on.
fn begin_logins(shared: &Shared, secrets: Arc<LoginSecrets>) -> Result<(), NodeError> {
    let trust = &shared.trust;
    let users: SharedUsers = Arc::clone(&trust.users);
    let seed = trust.identity.key.to_seed();
    let signing_key = Arc::new(sealmoot_crypto::signature::SigningKey::from_seed(&seed));
    let login = LoginService::new(
        trust.identity.realm(),
        signing_key,
        users,
        secrets,
        Arc::clone(&shared.throttle),
        trust.now_ms,
    )
    .registering_for_delegates_of(trust.identity.roots.clone())
    .audited(shared.audit.auditor.clone());
    let begun = shared.login.set(login);
    begun.map_err(|_| internal("logins began twice"))
}

fn router(shared: &Arc<Shared>) -> Result<Router, NodeError> {
    Router::new()
        .intercepted_by(RevokedNode(Arc::clone(&shared.trust)))
        .service(LoginServer::new(NodeLogin(Arc::clone(shared))))
        .and_then(|router| {
            router.service(DirectoryServer::new(DirectoryService(Arc::clone(shared))))
        })
        .and_then(|router| {
            router.service(EnrolmentServer::new(EnrolmentService(Arc::clone(shared))))
        })
        .and_then(|router| router.service(ChargesServer::new(ChargesService(Arc::clone(shared)))))
        .and_then(|router| router.service(ReplicaServer::new(ReplicaService(Arc::clone(shared)))))
        .and_then(|router| router.service(StoreServer::new(StoreService(Arc::clone(shared)))))
        .and_then(|router| router.service(AuditServer::new(AuditService(Arc::clone(shared)))))
        .and_then(|router| router.service(SessionsServer::new(SessionsService(Arc::clone(shared)))))
        .map_err(internal)
}

async fn listen(address: &str) -> std::io::Result<TcpListener> {
    let mut last = std::io::Error::other("the name has no address");
    for resolved in tokio::net::lookup_host(address).await? {
        let socket = match resolved {
            SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
            SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
        };
        // A node that restarts must not wait for connections of its former self.
        socket.set_reuseaddr(true)?;
        match socket.bind(resolved).and_then(|()| socket.listen(1024)) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// From now on the node serves only while it has heard what was revoked.
fn expect_freshness(trust: &Trust, roster: &Roster, within: Duration) {
    let own_key = trust.identity.key.verifying_key();
    let members = roster.members();
    if let Some(me) = members.iter().position(|member| member.key == own_key) {
        let quorum = Quorums::majority(members.len()).prepare();
        trust.expect_freshness(Freshness::new(me, members.len(), quorum, within));
    }
}

/// Fetches from one peer the signed records that this node lacks, for as long as the
/// cluster runs.
async fn reconcile(
    cluster: std::sync::Weak<Cluster>,
    member: usize,
    trust: Arc<Trust>,
    audit: Arc<NodeAudit>,
    throttle: Arc<LoginThrottle>,
) {
    loop {
        let Some(running) = cluster.upgrade() else {
            return;
        };
        let mut pause = RECONCILE_EVERY;
        if let Ok(peer) = running.links.connection(member) {
            let asked_ms = trust.steady_ms();
            match reconcile_with(&running, &trust, &audit, &throttle, &peer).await {
                Ok(count) => {
                    trust.confirmed(member, asked_ms);
                    if count > 0 {
                        info!(count, "learnt signed records from a peer");
                        trust.cut_ended();
                    }
                }
                Err(error) => warn!(%error, "signed records of a peer were not taken"),
            }
        } else if !trust.is_fresh() {
            // Nobody is served before.
            pause = RECONCILE_SOON;
        }
        drop(running);
        tokio::time::sleep(pause).await;
    }
}

/// Fetches what one peer has and this node lacks; returns how much that was.
async fn reconcile_with(
    cluster: &Cluster,
    trust: &Arc<Trust>,
    audit: &NodeAudit,
    throttle: &LoginThrottle,
    peer: &links::Peer,
) -> Result<u32, sealmoot_rpc::Status> {
    let directory = DirectoryClient::new(peer.connection().clone());
    let records = service::fetch_from(
        &directory,
        &cluster.engine,
        trust,
        &service::Recorder {
            audit,
            throttle,
            who: Who::Node,
            without_room: service::WithoutRoom::LeftOut,
        },
        FETCH_WITHIN,
    )
    .await?;
    let ended = ended::learn_from(peer, cluster, trust, audit).await?;
    Ok(records.saturating_add(ended))
}
