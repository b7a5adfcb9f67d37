//! The realm's users, roles and revoked sessions, as the root and its delegates signed
//! them.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use sealmoot_authn::audit::{Event, Place, Subject, What, Who, difference};
use sealmoot_authn::delegation::{Chain, SerialPath};
use sealmoot_authn::fetch::verify_proof;
use sealmoot_authn::login::SharedUsers;
use sealmoot_authn::name::Name;
use sealmoot_authn::parallel;
use sealmoot_authn::proto::{
    Directory, DirectoryClient, FetchReply, FetchRequest, PublishReply, PublishRequest,
};
use sealmoot_authn::records::{RecordName, RevocationsRecord, SignedRecord, Standing};
use sealmoot_authn::roots::{ROOTS_TAG, Roots, RootsError};
use sealmoot_authn::statement::{Claim, Unlock};
use sealmoot_authn::throttle::{Account, LoginThrottle, UnlockError};
use sealmoot_authn::users::{
    DELEGATED_TAG, DIGEST_LENGTH, RECORD_LENGTH_MAX, RecordError, USERS_MAX, UserDirectory,
    UserRecord,
};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{CallContext, Code, Execution, Status};

use super::{not_formed, require_member};
use crate::node::Shared;
use crate::node::audit::{NodeAudit, unavailable, who};
use crate::node::authorizer::Trust;
use crate::node::engine::{AskError, Engine};
use crate::record::Record;

/// Most bytes of records in one answer; the rest is asked for by name.
const FETCH_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most portions that are fetched from a peer in a row: as many as the largest users
/// of the fullest directory need.
const FETCH_PORTIONS_MAX: usize = USERS_MAX.div_ceil(FETCH_BYTES_MAX / RECORD_LENGTH_MAX);
/// More records than this are verified on a thread of their own: a millisecond.
const VERIFIED_AT_ONCE_MAX: usize = 8;

/// Takes and gives signed records.
pub(in crate::node) struct DirectoryService(pub(in crate::node) Arc<Shared>);

impl Directory for DirectoryService {
    // Anybody may bring a record: it is believed for the signature of the root or of a
    // delegate, and an older one changes nothing.
    async fn publish(
        &self,
        context: CallContext,
        request: PublishRequest,
    ) -> Result<PublishReply, Status> {
        let cluster = self.0.cluster().ok_or_else(not_formed)?;
        let trust = &self.0.trust;
        let recorder = Recorder {
            audit: &self.0.audit,
            throttle: &self.0.throttle,
            who: who(context.peer(), None),
            without_room: WithoutRoom::Refused,
        };
        let mut records = request.records;
        let mut taken = 0;
        // The roots come first: what else comes may rest on them.
        if records.first().is_some_and(is_roots) {
            let roots = records.remove(0);
            taken += u32::from(take_roots(&cluster.engine, trust, &roots, &recorder).await?);
        }
        if records.iter().any(is_roots) {
            return Err(malformed("roots come once, and before anything else"));
        }
        let (unlocks, records): (Vec<Bytes>, Vec<Bytes>) = records
            .into_iter()
            .partition(|record| record.first() == Some(&Unlock::TAG));
        if !unlocks.is_empty() && trust.is_revoked_itself() {
            return Err(malformed("this node was revoked"));
        }
        let others = others_users(trust, &records).await?;
        taken += take_records(&cluster.engine, trust, &records, &recorder).await?;
        if taken > 0 {
            trust.cut_ended();
        }
        for unlock in &unlocks {
            taken += u32::from(take_unlock(&self.0, unlock, who(context.peer(), None)).await?);
        }
        Ok(PublishReply { taken, others })
    }

    async fn fetch(
        &self,
        context: CallContext,
        request: FetchRequest,
    ) -> Result<FetchReply, Status> {
        // Who is there, and with which roles, is the nodes' business, and of who makes
        // users those whom it made.
        let asker = self.asker(&context, &request.proof)?;
        let users = self
            .0
            .trust
            .users
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let mut reply = FetchReply::default();
        if users.digest() == *request.digest {
            return Ok(reply);
        }
        reply.differs = true;
        if let Some(roots) = users.roots()
            && roots.number() > request.roots
        {
            reply.roots = Bytes::from(roots.encode());
        }
        if request.buckets.is_empty() {
            return Ok(reply);
        }
        let after: Option<Name> = match request.after.as_str() {
            "" => None,
            name => Some(name.parse().map_err(|_| malformed("after is no name"))?),
        };
        let differing = users
            .differing(&request.buckets, after.as_ref())
            .ok_or_else(|| malformed("buckets are not as many digests as there are buckets"))?;
        if request.roles.len() != DIGEST_LENGTH || request.revocations.len() != DIGEST_LENGTH {
            return Err(malformed("roles or revocations is no digest"));
        }
        if request.revoked.len() != DIGEST_LENGTH || request.revoked_nodes.len() != DIGEST_LENGTH {
            return Err(malformed("revoked or revoked nodes is no digest"));
        }
        let bytes_max = match asker {
            Asker::Member => FETCH_BYTES_MAX,
            Asker::Issuer(_) => sealmoot_authn::fetch::FETCH_BYTES_MAX,
        };
        let mut bytes = 0;
        let mut last = String::new();
        let mut of_last: Option<&Name> = None;
        // Before anything else: whoever is revoked waits for no portion of users.
        if let (Some(revoked), true) = (users.revoked_record(), after.is_none())
            && users.revoked_digest() != *request.revoked
            && asker.may_have_sessions()
        {
            let encoded = revoked.encode();
            bytes += encoded.len();
            reply.records.push(Bytes::from(encoded));
        }
        if let (Some(revoked), true) = (users.revoked_nodes_record(), after.is_none())
            && users.revoked_nodes_digest() != *request.revoked_nodes
        {
            let encoded = revoked.encode();
            bytes += encoded.len();
            reply.records.push(Bytes::from(encoded));
        }
        // The roles come with the first portion: what users may do rests on them.
        if let (Some(roles), true) = (users.roles_record(), after.is_none())
            && users.roles_digest() != *request.roles
        {
            let encoded = roles.encode();
            bytes += encoded.len();
            reply.records.push(Bytes::from(encoded));
        }
        // Those of a later root than the asker's end all that former roots said: they come
        // behind everything else.
        let settles = users.settled_root() > request.settled_root;
        let revocations = users
            .revocations_record()
            .filter(|_| users.revocations_digest() != *request.revocations);
        if let (Some(revocations), true, false) = (revocations, after.is_none(), settles) {
            let encoded = revocations.encode();
            bytes += encoded.len();
            reply.records.push(Bytes::from(encoded));
        }
        for record in differing.filter(|record| asker.may_have(record)) {
            let encoded = record.encode();
            // The next portion begins behind a user: all records of one come together.
            let name = &record.user().name;
            if bytes > 0 && of_last != Some(name) && bytes + encoded.len() > bytes_max {
                reply.next = last;
                break;
            }
            bytes += encoded.len();
            last = name.to_string();
            of_last = Some(name);
            reply.records.push(Bytes::from(encoded));
        }
        if let (Some(revocations), true, true) = (revocations, reply.next.is_empty(), settles) {
            reply.records.push(Bytes::from(revocations.encode()));
        }
        Ok(reply)
    }
}

/// Who asks for records.
enum Asker {
    /// A node of the cluster.
    Member,
    /// Who issues records: the root, or the delegate with this path.
    Issuer(SerialPath),
}

impl Asker {
    /// Whose sessions were revoked is no delegate's business: it names users of others,
    /// and no delegate revokes sessions.
    fn may_have_sessions(&self) -> bool {
        match self {
            Self::Member => true,
            Self::Issuer(path) => *path == SerialPath::default(),
        }
    }

    fn may_have(&self, record: &UserRecord) -> bool {
        match self {
            Self::Member => true,
            Self::Issuer(path) => {
                let issuer = record.chain().map(Chain::path).unwrap_or_default();
                issuer.lies_within(path)
            }
        }
    }
}

impl DirectoryService {
    /// Who asks, by what the channel or the proof says.
    ///
    /// # Errors
    /// When it is neither a node nor anybody who issues records now.
    fn asker(&self, context: &CallContext, proof: &[u8]) -> Result<Asker, Status> {
        if proof.is_empty() {
            require_member(context)?;
            return Ok(Asker::Member);
        }
        let trust = &self.0.trust;
        let identity = &trust.identity;
        let node = identity.key.verifying_key().key_id();
        let refused =
            |error: &dyn std::fmt::Display| failed(Code::PermissionDenied, &error.to_string());
        let chain = verify_proof(proof, &trust.roots(), &node, context.peer().binding())
            .map_err(|error| refused(&error))?;
        let Some(chain) = chain else {
            return Ok(Asker::Issuer(SerialPath::default()));
        };
        let users = trust.users.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(revocations) = users.revocations_record() {
            revocations.check(&chain).map_err(|error| refused(&error))?;
        }
        chain
            .check_now(trust.clock.now_ms())
            .map_err(|error| refused(&error))?;
        Ok(Asker::Issuer(chain.path()))
    }
}

/// The users in records by delegates who belong to the root or to an elder delegate: the
/// records change nothing, and who brings them is to know. What is brought under a
/// delegation that does not hold now or was revoked is refused. Between nodes the same is
/// no error, because both may have been right when they took it.
///
/// # Errors
/// When one of the records is not to be believed, or not now.
async fn others_users(trust: &Trust, records: &[Bytes]) -> Result<Vec<String>, Status> {
    let roots = trust.roots();
    // Each once: the same record a thousand times is a thousand signatures to check.
    let delegated: BTreeSet<&Bytes> = records
        .iter()
        .filter(|record| record.first() == Some(&DELEGATED_TAG))
        .collect();
    let delegated: Vec<Bytes> = delegated.into_iter().cloned().collect();
    if delegated.is_empty() {
        return Ok(Vec::new());
    }
    // Nothing of what is held is told before the record was believed: strangers could
    // else ask whose names there are.
    let verify = move || parallel::try_map(&delegated, |bytes| UserRecord::decode(bytes, &roots));
    let believed = tokio::task::spawn_blocking(verify)
        .await
        .map_err(|_| failed(Code::Internal, "verifying signed records failed"))?
        .map_err(|error| refused(&error))?;
    let now_ms = trust.clock.now_ms();
    let users = trust.users.read().unwrap_or_else(PoisonError::into_inner);
    let mut belonging = Vec::new();
    for record in &believed {
        let Some(chain) = record.chain() else {
            continue;
        };
        users
            .check_revoked(record)
            .and_then(|()| chain.check_now(now_ms))
            .map_err(|error| refused(&error.into()))?;
        let name = &record.user().name;
        let held = users.standing(&RecordName::User(name.clone()));
        let standing = record.standing();
        if held.is_some_and(|held| held > standing && held.path() != standing.path()) {
            belonging.push(name.to_string());
        }
    }
    Ok(belonging)
}

/// Forgets what was tried at an account, if the root says so; says whether that was
/// new.
///
/// # Errors
/// When it is not to be believed, is of another time, or the disk fails.
async fn take_unlock(shared: &Shared, record: &[u8], who: Who) -> Result<bool, Status> {
    let identity = &shared.trust.identity;
    let not_believed = |code, error: &dyn std::fmt::Display| {
        Status::new(code, Execution::NotStarted, error.to_string())
    };
    let unlock = Claim::<Unlock>::decode(record.get(1..).unwrap_or_default())
        .and_then(|claim| claim.verify(&identity.realm(), shared.trust.roots().current()))
        .map_err(|error| not_believed(Code::PermissionDenied, &error))?;
    let audit = &shared.audit;
    let place = audit
        .auditor
        .place()
        .map_err(|refused| unavailable(refused, Execution::NotStarted))?;
    let taken = shared.throttle.with(|throttle, store, now_ms| {
        let changes = throttle.unlock(&unlock.body().name, unlock.issued_ms(), now_ms)?;
        Ok(store.append(changes.into_bytes()))
    });
    match taken {
        Ok(durable) => {
            durable
                .await
                .map_err(|error| not_believed(Code::Unavailable, &error))?;
            let subject = Subject::User(unlock.body().name.clone());
            let event = Event::done(audit.now_ms(), What::UserUnlocked, who, subject);
            place
                .submit(event)
                .durable()
                .await
                .map_err(|refused| unavailable(refused, Execution::MaybeExecuted))?;
            Ok(true)
        }
        // Told twice, which is no fault.
        Err(UnlockError::TakenBefore) => Ok(false),
        Err(error @ UnlockError::OtherTime) => Err(not_believed(Code::FailedPrecondition, &error)),
    }
}

/// Where changes of users get on record, and what has to know of them.
pub(in crate::node) struct Recorder<'a> {
    pub(in crate::node) audit: &'a NodeAudit,
    pub(in crate::node) throttle: &'a LoginThrottle,
    pub(in crate::node) who: Who,
    pub(in crate::node) without_room: WithoutRoom,
}

/// What becomes of users who do not fit in any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node) enum WithoutRoom {
    /// Nothing of what came with them is taken, and who brings them is told.
    Refused,
    /// They alone are left out. Between nodes that is the rule: each may have been filled
    /// with others, and revocations above all must not wait behind them for ever.
    LeftOut,
}

/// So many users the root and its delegates may have together before delegates make no
/// more, each at the node that it asks: what is left is the root's.
const DELEGATED_UNTIL: usize = USERS_MAX / 10 * 9;

/// Whether there is room for users that are not there yet, where `held` are, and where so
/// many were made by the root and by delegates.
fn check_room(held: usize, by_root: usize, by_delegates: usize) -> Result<(), &'static str> {
    let all = held.saturating_add(by_root).saturating_add(by_delegates);
    if all > USERS_MAX {
        return Err("there is no room for more users");
    }
    if by_delegates > 0 && all > DELEGATED_UNTIL {
        return Err("there is no room for more users of delegates");
    }
    Ok(())
}

fn malformed(what: &str) -> Status {
    Status::new(Code::InvalidArgument, Execution::NotStarted, what)
}

/// What one peer has and this node lacks, portion by portion.
pub(in crate::node) async fn fetch_from(
    peer: &DirectoryClient,
    engine: &Engine,
    trust: &Trust,
    recorder: &Recorder<'_>,
    within: Duration,
) -> Result<u32, Status> {
    let held = {
        let users = trust.users.read().unwrap_or_else(PoisonError::into_inner);
        FetchRequest {
            digest: users.digest().to_vec().into(),
            buckets: users.bucket_digests().into(),
            roles: users.roles_digest().to_vec().into(),
            revoked: users.revoked_digest().to_vec().into(),
            revocations: users.revocations_digest().to_vec().into(),
            revoked_nodes: users.revoked_nodes_digest().to_vec().into(),
            roots: users.root_number(),
            settled_root: users.settled_root(),
            ..FetchRequest::default()
        }
    };
    let asked = FetchRequest {
        digest: held.digest.clone(),
        ..FetchRequest::default()
    };
    let mut request = held;
    // Nearly always this is all: 32 bytes there, and nothing back.
    if !peer.fetch(asked, within).await?.differs {
        return Ok(0);
    }
    let mut taken = 0;
    // A peer that never comes to an end must not keep this node from the others.
    for _ in 0..FETCH_PORTIONS_MAX {
        let reply = peer.fetch(request.clone(), within).await?;
        if !reply.roots.is_empty() {
            taken += u32::from(take_roots(engine, trust, &reply.roots, recorder).await?);
        }
        taken += take_records(engine, trust, &reply.records, recorder).await?;
        if reply.next.is_empty() {
            break;
        }
        request.after = reply.next;
    }
    Ok(taken)
}

/// Believes, keeps and makes durable the records that are newer than those held;
/// returns how many they were.
///
/// # Errors
/// When one is not to be believed, cannot be recorded, or the disk fails.
pub(in crate::node) async fn take_records(
    engine: &Engine,
    trust: &Trust,
    records: &[Bytes],
    recorder: &Recorder<'_>,
) -> Result<u32, Status> {
    if records.is_empty() {
        return Ok(0);
    }
    let users = &trust.users;
    let roots = trust.roots();
    if recorder.without_room == WithoutRoom::Refused {
        refuse_former(trust, records, &roots, recorder)?;
    }
    let candidates = worth_verifying(users, records, &roots)?;
    // All are believed before any is taken. Many are verified where they do not keep
    // other calls waiting.
    let verify = move || -> Result<Vec<(SignedRecord, Bytes)>, RecordError> {
        parallel::try_map(&candidates, |bytes| {
            Ok((SignedRecord::decode(bytes, &roots)?, bytes.clone()))
        })
    };
    let believed = if records.len() > VERIFIED_AT_ONCE_MAX {
        tokio::task::spawn_blocking(verify)
            .await
            .map_err(|_| failed(Code::Internal, "verifying signed records failed"))?
    } else {
        verify()
    };
    let believed = believed.map_err(|error| refused(&error))?;
    // Room on record for each, before any is taken.
    let auditor = &recorder.audit.auditor;
    let places: Vec<Place> = believed
        .iter()
        .map(|_| auditor.place())
        .collect::<Result<_, _>>()
        .map_err(|refused| unavailable(refused, Execution::NotStarted))?;
    let mut events = Vec::new();
    let mut changed = Vec::new();
    let (taken, number) = {
        let mut users = users.write().unwrap_or_else(PoisonError::into_inner);
        if recorder.without_room == WithoutRoom::Refused {
            let unknown = believed.iter().filter_map(|(record, _)| match record {
                SignedRecord::User(record) => users
                    .record(&record.user().name)
                    .is_none()
                    .then(|| record.chain().is_some()),
                SignedRecord::Roles(_)
                | SignedRecord::RevokedSessions(_)
                | SignedRecord::RevokedNodes(_)
                | SignedRecord::Revocations(_) => None,
            });
            let (delegated, by_root): (Vec<bool>, Vec<bool>) =
                unknown.partition(|delegated| *delegated);
            check_room(users.len(), by_root.len(), delegated.len())
                .map_err(|why| failed(Code::ResourceExhausted, why))?;
        }
        let newer: Vec<Record> = believed
            .into_iter()
            .filter_map(|(record, bytes)| {
                let mut change = change_of(&users, &record);
                let (name, standing) = (record.name(), record.standing());
                users.apply_signed(record).then(|| {
                    // Behind an elder's, or under a delegation that was narrowed.
                    if users.standing(&name).is_none_or(|held| held != standing) {
                        change.2 = format!("kept, does not count, {}", change.2);
                    }
                    events.push(change);
                    changed.push(name);
                    Record::Signed(bytes.to_vec())
                })
            })
            .collect();
        let taken = u32::try_from(newer.len()).unwrap_or(u32::MAX);
        // Under the same lock: of two versions the newer comes later in the log, which is
        // what a checkpoint goes by.
        (taken, engine.enqueue(newer))
    };
    // Also when nothing is newer: an earlier request may have brought it just now,
    // and whoever is answered may rely on the disk.
    engine.durable_through(number).await.map_err(|error| {
        Status::new(
            Code::Unavailable,
            Execution::MaybeExecuted,
            error.to_string(),
        )
    })?;
    know_accounts(users, recorder.throttle, &changed);
    let now_ms = recorder.audit.now_ms();
    let mut recorded = Vec::with_capacity(events.len());
    for (place, (what, subject, detail)) in places.into_iter().zip(events) {
        let event = Event::done(now_ms, what, recorder.who.clone(), subject);
        recorded.push(place.submit(event.detail(detail)));
    }
    for recorded in recorded {
        recorded
            .durable()
            .await
            .map_err(|refused| unavailable(refused, Execution::MaybeExecuted))?;
    }
    Ok(taken)
}

fn is_roots(record: &Bytes) -> bool {
    record.first() == Some(&ROOTS_TAG)
}

/// Takes the realm's roots if there are any that are not known here; says whether there
/// were. Anybody may bring them: they are believed for their signatures.
///
/// # Errors
/// When they are not to be believed or go another way than those known, cannot be
/// recorded, or the disk fails.
pub(in crate::node) async fn take_roots(
    engine: &Engine,
    trust: &Trust,
    bytes: &Bytes,
    recorder: &Recorder<'_>,
) -> Result<bool, Status> {
    let refuse = |error: &RootsError| failed(Code::PermissionDenied, &error.to_string());
    let durable = |outcome: Result<(), _>| {
        outcome.map_err(|error: AskError| {
            Status::new(
                Code::Unavailable,
                Execution::MaybeExecuted,
                error.to_string(),
            )
        })
    };
    let mut roots = trust.roots();
    if !roots.take(bytes).map_err(|error| refuse(&error))? {
        // An earlier request may have brought them just now, and whoever is answered may
        // rely on the disk.
        durable(engine.append(Vec::new()).await)?;
        return Ok(false);
    }
    let place = recorder
        .audit
        .auditor
        .place()
        .map_err(|refused| unavailable(refused, Execution::NotStarted))?;
    let enqueued = {
        let mut users = trust.users.write().unwrap_or_else(PoisonError::into_inner);
        // Another request may have brought these just now, or others.
        let news = users.learn_roots(&roots).map_err(|error| refuse(&error))?;
        // Under the same lock: nothing that rests on them comes before them in the log.
        news.then(|| engine.enqueue(vec![Record::Roots(roots.encode())]))
    };
    let Some(number) = enqueued else {
        durable(engine.append(Vec::new()).await)?;
        return Ok(false);
    };
    // Submitted before anything is waited for: whoever brings them again brings no news,
    // and the event would be lost with this request.
    let detail = format!("root {} {}", roots.number(), roots.current().key_id());
    let event = Event::done(
        recorder.audit.now_ms(),
        What::RootHandedOver,
        recorder.who.clone(),
        Subject::Nothing,
    );
    let recorded = place.submit(event.detail(detail));
    durable(engine.durable_through(number).await)?;
    tracing::warn!(number = roots.number(), root = %roots.current().key_id(), "the realm has another root");
    if let Some(cluster) = trust.roster()
        && !roots.is_call_valid(cluster.call())
    {
        tracing::error!(
            "the realm was handed over without this cluster's call: no client that knows it \
             will believe this node"
        );
    }
    recorded
        .durable()
        .await
        .map_err(|refused| unavailable(refused, Execution::MaybeExecuted))?;
    Ok(true)
}

/// Refuses what a former root signed and is not held here. Between nodes the same is no
/// error: a peer may not have heard of the new root yet.
///
/// # Errors
/// By name, and on record where the signature is that root's: whoever has its key uses it.
fn refuse_former(
    trust: &Trust,
    records: &[Bytes],
    roots: &Roots,
    recorder: &Recorder<'_>,
) -> Result<(), Status> {
    for bytes in records {
        let Ok((name, standing)) = SignedRecord::claimed(bytes, roots) else {
            continue;
        };
        if standing.root() == roots.number() {
            continue;
        }
        let is_news = {
            let users = trust.users.read().unwrap_or_else(PoisonError::into_inner);
            // By the version alone: what a later root signed anew has a higher one, and
            // then this is only old.
            let held = users.standing(&name);
            held.is_none_or(|held| held.version() < standing.version())
        };
        if !is_news {
            continue;
        }
        let record = SignedRecord::decode(bytes, roots).map_err(|error| refused(&error))?;
        let by = match &record {
            SignedRecord::User(user) => user.chain(),
            _ => None,
        };
        let by = by.map_or(String::new(), |chain| format!(" by {}", chain.last().name));
        let detail = format!("{name}{by}, under root {}", standing.root());
        trust.note_old_root(&recorder.who, &detail);
        return Err(failed(
            Code::PermissionDenied,
            "a former root of the realm signed it",
        ));
    }
    Ok(())
}

/// Tells the throttle what users log in with now whose records changed. Revocations may
/// have put another's record in the place of any delegate's user.
fn know_accounts(users: &SharedUsers, throttle: &LoginThrottle, changed: &[RecordName]) {
    if changed.is_empty() {
        return;
    }
    let users = users.read().unwrap_or_else(PoisonError::into_inner);
    if changed.contains(&RecordName::Revocations) {
        let by_delegates = users.records().filter(|record| record.chain().is_some());
        throttle.know(by_delegates.map(Account::of));
    }
    let records = changed.iter().filter_map(|name| match name {
        RecordName::User(name) => users.record(name),
        RecordName::Roles
        | RecordName::RevokedSessions
        | RecordName::RevokedNodes
        | RecordName::Revocations => None,
    });
    throttle.know(records.map(Account::of));
}

/// What a record changes, if it is newer, and the detail: its version and the
/// difference.
fn change_of(users: &UserDirectory, record: &SignedRecord) -> (What, Subject, String) {
    match record {
        SignedRecord::User(record) => {
            let user = record.user();
            let held = users.record(&user.name).map(UserRecord::user);
            let subject = Subject::User(user.name.clone());
            let detail = difference::versioned(user.version, &difference::of_user(held, user));
            (What::of_record(held, user), subject, detail)
        }
        SignedRecord::Roles(record) => {
            let difference = difference::of_roles(users.roles(), record.roles());
            let detail = difference::versioned(record.version(), &difference);
            (What::RolesChanged, Subject::Nothing, detail)
        }
        SignedRecord::RevokedSessions(record) => {
            let detail = difference::versioned(record.version(), "");
            (What::SessionsRevoked, Subject::Nothing, detail)
        }
        SignedRecord::RevokedNodes(record) => {
            let came = record.revoked().iter();
            let came = came.filter(|(key, _)| !users.is_node_revoked(key));
            let came: Vec<String> = came
                .map(|(key, node)| format!("{} {key}", node.name))
                .collect();
            let detail = difference::versioned(record.version(), &came.join(", "));
            (What::NodesRevoked, Subject::Nothing, detail)
        }
        SignedRecord::Revocations(record) => {
            let held = users.revocations_record();
            let difference = difference::of_revocations(
                held.map(RevocationsRecord::revocations),
                record.revocations(),
            );
            let detail = difference::versioned(record.version(), &difference);
            (What::RevocationsChanged, Subject::Nothing, detail)
        }
    }
}

/// The records that claim to prevail over those held. The others would change
/// nothing, so nobody needs to know whether they are forged.
fn worth_verifying(
    users: &SharedUsers,
    records: &[Bytes],
    roots: &Roots,
) -> Result<Vec<Bytes>, Status> {
    let claimed: Vec<(RecordName, Standing)> = records
        .iter()
        .map(|bytes| SignedRecord::claimed(bytes, roots))
        .collect::<Result<_, _>>()
        .map_err(|error| refused(&error))?;
    let users = users.read().unwrap_or_else(PoisonError::into_inner);
    Ok(records
        .iter()
        .zip(claimed)
        .filter(|(_, (name, standing))| users.wants(name, standing))
        .map(|(bytes, _)| bytes.clone())
        .collect())
}

fn refused(error: &RecordError) -> Status {
    failed(Code::PermissionDenied, &error.to_string())
}

fn failed(code: Code, message: &str) -> Status {
    Status::new(code, Execution::NotStarted, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delegates_leave_a_tenth_of_the_room_to_the_root() {
        let left = USERS_MAX - DELEGATED_UNTIL;
        for (held, by_root, by_delegates, fits) in [
            (0, 0, DELEGATED_UNTIL, true),
            (0, 0, DELEGATED_UNTIL + 1, false),
            (DELEGATED_UNTIL, 0, 1, false),
            (DELEGATED_UNTIL, left, 0, true),
            (DELEGATED_UNTIL, left + 1, 0, false),
            (DELEGATED_UNTIL - 2, 1, 1, true),
            (DELEGATED_UNTIL - 1, 1, 1, false),
            (usize::MAX, 1, 1, false),
        ] {
            let judged = check_room(held, by_root, by_delegates);
            assert_eq!(judged.is_ok(), fits, "{held} {by_root} {by_delegates}");
        }
    }
}
