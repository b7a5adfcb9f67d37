//! A second factor behind the password: asked for, used up, and never shown before.

use std::cell::Cell;
use std::collections::VecDeque;

use sealmoot_rpc::{ReplyStream, RequestSink};

use super::audit::{auditor, next_event, written};
use super::*;
use crate::audit::{Auditor, Outcome, What};
use crate::policy::Role;
use crate::proto::{LogInCode, LogInCodeNeeded};
use crate::roots::Roots;
use crate::second_factor::totp::STEP_MS;
use crate::second_factor::{Enrolled, SecondFactor};
use crate::statement::Roles;

/// Some time in the year 2026.
const START: u64 = 1_790_000_000_000;

thread_local! {
    /// The clock of the nodes of this test, which runs on one thread.
    static CLOCK: Cell<u64> = const { Cell::new(START) };
}

fn clock() -> u64 {
    CLOCK.get()
}

/// Codes that are given one after the other.
struct Given(VecDeque<String>);

impl Given {
    fn codes(codes: &[&str]) -> Self {
        Self(codes.iter().map(|code| (*code).to_owned()).collect())
    }
}

impl CodeSource for Given {
    async fn code(&mut self, asked: CodeAsked) -> Option<SecretBytes> {
        assert!(asked.tries_left > 0 && asked.tries_left <= CODE_TRIES);
        let code = self.0.pop_front()?;
        Some(SecretBytes::new(code.into_bytes()))
    }
}

/// A disk: what was appended, and which append it refuses.
#[derive(Clone, Default)]
struct Disk {
    records: Arc<Mutex<Vec<Vec<u8>>>>,
    refuses: Option<usize>,
}

impl Disk {
    fn records(&self) -> Vec<Vec<u8>> {
        let records = self.records.lock();
        records.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ThrottleStore for Disk {
    fn append(&self, record: Vec<u8>) -> StoreFuture {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.push(record);
        let refused = self.refuses == Some(records.len());
        Box::pin(async move { if refused { Err(NotDurable) } else { Ok(()) } })
    }
}

/// One node: what it knows of attempts, and its disk.
struct Node {
    number: usize,
    throttle: Arc<LoginThrottle>,
    disk: Disk,
}

impl World {
    fn node(&self, number: usize, limits: ThrottleLimits, disk: Disk) -> Node {
        let mut state = Throttle::new(ThrottleKey::of(&self.secrets), limits);
        for record in disk.records() {
            state.replay(&record).expect("its own");
        }
        state.settle(clock());
        let throttle = LoginThrottle::new(state, Box::new(disk.clone()), clock);
        Node {
            number,
            throttle: Arc::new(throttle),
            disk,
        }
    }

    /// A node that admits attempts without end.
    fn patient_node(&self, number: usize) -> Node {
        let limits = ThrottleLimits::with_attempts(1_000_000);
        self.node(number, limits, Disk::default())
    }

    fn service_of(&self, node: &Node) -> LoginService {
        LoginService::new(
            self.fixture.realm(),
            Arc::new(SigningKey::from_seed(
                &self.fixture.nodes[node.number].to_seed(),
            )),
            Arc::clone(&self.users),
            Arc::clone(&self.secrets),
            Arc::clone(&node.throttle),
            clock,
        )
    }

    /// Enrols a second factor in the place of any that there is.
    pub(super) fn enrol(&self, user: &str) -> Enrolled {
        let (sealed, enrolled) =
            SecondFactor::enrol(&self.secrets, &self.fixture.realm(), &name(user))
                .expect("enrolled");
        self.change(user, |user| user.second_factor = Some(Box::new(sealed)));
        enrolled
    }

    /// Adds bob, whose password is `pw`, too.
    pub(super) fn add_bob(&self) {
        self.add_bob_with(Stretching::new(CHEAP).expect("admitted"));
    }

    pub(super) fn add_bob_with(&self, stretching: Stretching) {
        let bob = record_with(
            &self.fixture.root,
            &key(),
            "bob",
            1,
            true,
            &self.secrets,
            stretching,
        );
        let mut users = self.users.write().unwrap_or_else(PoisonError::into_inner);
        users.apply(bob);
    }

    async fn log_in_at(
        &self,
        service: impl Login,
        node: usize,
        user: &str,
        session_key: &SigningKey,
        codes: &mut impl CodeSource,
    ) -> Result<SessionProof, LoginError> {
        let (_server, connection) =
            connected(&self.fixture.nodes[node], service, session_key).await;
        let roots = self.fixture.roots();
        let who = Claimant {
            roots: &roots,
            user: &name(user),
            session: (&session_key.verifying_key()).into(),
        };
        let password = SecretBytes::new(b"pw".to_vec());
        log_in_with_codes(&connection, who, &password, codes, clock(), PATIENCE).await
    }

    async fn log_in_with(
        &self,
        node: &Node,
        user: &str,
        codes: &[&str],
    ) -> Result<SessionProof, LoginError> {
        let mut codes = Given::codes(codes);
        let service = self.service_of(node);
        self.log_in_at(service, node.number, user, &key(), &mut codes)
            .await
    }
}

fn code(enrolled: &Enrolled, at_ms: u64) -> String {
    enrolled.totp.code_at(at_ms).to_string()
}

fn paper(enrolled: &Enrolled, place: usize) -> String {
    enrolled.recovery[place].to_text().to_string()
}

/// A code that is none of the enrolment's just now.
fn wrong(enrolled: &Enrolled) -> String {
    let near = [clock() - STEP_MS, clock(), clock() + STEP_MS].map(|at| code(enrolled, at));
    let others = (0..).map(|number| format!("{number:06}"));
    let mut others = others.filter(|other| !near.contains(other));
    others.next().expect("one of four")
}

#[track_caller]
fn assert_code_refused(outcome: &Result<SessionProof, LoginError>) {
    assert!(
        matches!(outcome, Err(LoginError::CodeRefused)),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn password_and_code_make_a_session_that_the_cluster_believes() {
    let world = World::new();
    let enrolled = world.enrol("alice");
    let node = world.patient_node(0);
    for typed in [code(&enrolled, clock()), paper(&enrolled, 9)] {
        let session_key = key();
        let mut codes = Given::codes(&[&typed]);
        let service = world.service_of(&node);
        let proof = world
            .log_in_at(service, 0, "alice", &session_key, &mut codes)
            .await
            .expect("logged in");
        let users = world.users.read().unwrap_or_else(PoisonError::into_inner);
        let authenticated = verify_session(
            &world.fixture.roster(),
            &users,
            &proof.session,
            &proof.receipt,
            &session_key.verifying_key(),
            clock(),
        );
        assert_eq!(authenticated.expect("believed").user, name("alice"));
    }
}

#[tokio::test]
async fn without_a_code_the_password_alone_is_not_enough() {
    let world = World::new();
    world.enrol("alice");
    let node = world.patient_node(0);
    let outcome = world.log_in_with(&node, "alice", &[]).await;
    assert!(
        matches!(outcome, Err(LoginError::CodeNeeded)),
        "{outcome:?}"
    );
    // A client that knows nothing of codes.
    let service = world.service_of(&node);
    let session_key = key();
    let (_server, connection) = connected(&world.fixture.nodes[0], service, &session_key).await;
    let outcome = log_in(
        &connection,
        &Roots::sole(world.fixture.root.verifying_key()),
        &name("alice"),
        &SecretBytes::new(b"pw".to_vec()),
        &session_key.verifying_key(),
        clock(),
        PATIENCE,
    )
    .await;
    assert!(
        matches!(outcome, Err(LoginError::CodeNeeded)),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_code_counts_once_at_a_node_and_after_its_restart() {
    let world = World::new();
    let enrolled = world.enrol("alice");
    let node = world.patient_node(0);
    let (first, second) = (code(&enrolled, clock()), paper(&enrolled, 0));
    for typed in [&first, &second] {
        let outcome = world.log_in_with(&node, "alice", &[typed]).await;
        assert!(outcome.is_ok(), "{outcome:?}");
    }
    let limits = ThrottleLimits::with_attempts(1_000_000);
    let restarted = world.node(0, limits, node.disk.clone());
    for node in [&node, &restarted] {
        for typed in [&first, &second] {
            assert_code_refused(&world.log_in_with(node, "alice", &[typed]).await);
        }
    }
    let next = code(&enrolled, clock() + STEP_MS);
    let outcome = world.log_in_with(&restarted, "alice", &[&next]).await;
    assert!(outcome.is_ok(), "{outcome:?}");
}

#[tokio::test]
async fn a_code_used_at_one_node_is_refused_by_another_that_was_told() {
    let world = World::new();
    let enrolled = world.enrol("alice");
    let (one, other) = (world.patient_node(0), world.patient_node(1));
    let (first, second) = (code(&enrolled, clock()), paper(&enrolled, 0));
    for typed in [&first, &second] {
        let outcome = world.log_in_with(&one, "alice", &[typed]).await;
        assert!(outcome.is_ok(), "{outcome:?}");
    }
    // It says at once that there is something to tell.
    let urgent = tokio::time::timeout(PATIENCE, one.throttle.urgent()).await;
    assert!(urgent.is_ok());
    let told = one.throttle.with(|state, _, now_ms| state.untold(now_ms));
    other.throttle.with(|state, _, now_ms| {
        for record in &told {
            let learnt = state.learn(&name("n1"), record, now_ms);
            assert!(learnt.expect("a record").is_some());
        }
    });
    for typed in [&first, &second] {
        assert_code_refused(&world.log_in_with(&other, "alice", &[typed]).await);
    }
}

#[tokio::test]
async fn no_code_but_the_users_own_of_now_counts() {
    let world = World::new();
    world.add_bob();
    let former = world.enrol("alice");
    let enrolled = world.enrol("alice");
    let bob = world.enrol("bob");
    let node = world.patient_node(0);
    let own = |at: u64| code(&enrolled, at);
    let near = [clock() - STEP_MS, clock(), clock() + STEP_MS].map(own);
    for typed in [
        // The neighbour's.
        code(&bob, clock()),
        paper(&bob, 0),
        // Of a former enrolment.
        code(&former, clock()),
        paper(&former, 0),
        // Too old, too new.
        own(clock() - 2 * STEP_MS),
        own(clock() + 2 * STEP_MS),
        // None at all.
        String::new(),
        "12345".to_owned(),
        "1234567".to_owned(),
        "abcd-efgh-ijkl".to_owned(),
        "9".repeat(4000),
        "\u{661}\u{662}\u{663}\u{664}\u{665}\u{666}".to_owned(),
    ] {
        // One in 330,000 hits by chance.
        if near.contains(&typed) {
            continue;
        }
        assert_code_refused(&world.log_in_with(&node, "alice", &[&typed]).await);
    }
    // Nor is bob's used up by that.
    let outcome = world
        .log_in_with(&node, "bob", &[&code(&bob, clock())])
        .await;
    assert!(outcome.is_ok(), "{outcome:?}");
}

/// Proves alice's password over `connection`, and hands back the call behind it.
async fn up_to_the_code(
    world: &World,
    connection: &Connection,
    session_key: &SigningKey,
) -> (RequestSink<LogInRequest>, ReplyStream<LogInReply>) {
    let context = LoginContext {
        session: session_key.verifying_key().key_id(),
        ..world.context(connection.peer(), 0, "alice")
    };
    let (client, ke1) = ClientLogin::start(b"pw", context).expect("started");
    let (mut requests, mut replies) = LoginClient::new(connection.clone())
        .log_in(10 * CODES_WITHIN)
        .await
        .expect("room");
    let step = Some(RequestStep::Start(start("alice", &ke1)));
    requests.send(&LogInRequest { step }).await.expect("taken");
    let Ok(Some(LogInReply {
        step: Some(ReplyStep::Challenge(challenge)),
    })) = replies.next().await
    else {
        panic!("no challenge");
    };
    let stretching = Stretching::from_bytes(&challenge.stretching).expect("admitted");
    let (ke3, ..) = client
        .finish(stretching, &challenge.message)
        .expect("the password");
    let step = Some(RequestStep::Proof(proof(&ke3)));
    requests.send(&LogInRequest { step }).await.expect("taken");
    assert_eq!(asked(&mut replies).await.expect("asked"), CODE_TRIES);
    (requests, replies)
}

/// A connection to a node, and the client's key of it.
async fn connected_to(world: &World, node: &Node) -> (ServerHandle, Connection, SigningKey) {
    let session_key = key();
    let service = world.service_of(node);
    let (server, connection) =
        connected(&world.fixture.nodes[node.number], service, &session_key).await;
    (server, connection, session_key)
}

async fn asked(replies: &mut ReplyStream<LogInReply>) -> Result<u32, Status> {
    match replies.next().await?.and_then(|reply| reply.step) {
        Some(ReplyStep::CodeNeeded(LogInCodeNeeded { tries_left })) => Ok(tries_left),
        other => panic!("{other:?}"),
    }
}

fn code_step(typed: &str) -> LogInRequest {
    LogInRequest {
        step: Some(RequestStep::Code(LogInCode {
            code: Bytes::copy_from_slice(typed.as_bytes()),
        })),
    }
}

#[tokio::test]
async fn a_login_has_three_codes_and_no_fourth() {
    let world = World::new();
    let enrolled = world.enrol("alice");
    let node = world.patient_node(0);
    let (wrong, right) = (wrong(&enrolled), code(&enrolled, clock()));
    let (_server, connection, session_key) = connected_to(&world, &node).await;
    let (mut requests, mut replies) = up_to_the_code(&world, &connection, &session_key).await;
    for left in [2, 1] {
        requests.send(&code_step(&wrong)).await.expect("taken");
        assert_eq!(asked(&mut replies).await, Ok(left));
    }
    requests.send(&code_step(&wrong)).await.expect("taken");
    // Sent at once or not taken any more: it is looked at in no case.
    let _ = requests.send(&code_step(&right)).await;
    let status = asked(&mut replies).await.expect_err("it is over");
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(status.message(), "the code was not accepted");

    // The third may be the right one.
    let codes = [wrong.as_str(), &wrong, &right];
    let outcome = world.log_in_with(&node, "alice", &codes).await;
    assert!(outcome.is_ok(), "{outcome:?}");
    let codes = [wrong.as_str(), &wrong, &wrong, &paper(&enrolled, 0)];
    assert_code_refused(&world.log_in_with(&node, "alice", &codes).await);
}

#[tokio::test]
async fn a_client_that_does_not_give_a_code_gets_no_receipt() {
    let world = World::new();
    world.enrol("alice");
    let node = world.patient_node(0);
    let (_server, connection, session_key) = connected_to(&world, &node).await;
    let ke1 = ke1();
    for step in [
        Some(RequestStep::Proof(proof(&[7; KE3_LENGTH]))),
        Some(RequestStep::Start(start("alice", &ke1))),
        Some(RequestStep::Again(crate::proto::LogInAgain {
            message: Bytes::copy_from_slice(&ke1),
        })),
        Some(RequestStep::Code(LogInCode::default())),
        None,
    ] {
        let ends = matches!(step, Some(RequestStep::Code(_)));
        let (mut requests, mut replies) = up_to_the_code(&world, &connection, &session_key).await;
        requests.send(&LogInRequest { step }).await.expect("taken");
        if ends {
            assert_eq!(asked(&mut replies).await, Ok(2));
        }
        requests.finish();
        let status = asked(&mut replies).await.expect_err("no receipt");
        assert_eq!(status.code(), Code::Unauthenticated);
    }
    // One that just stops talking.
    let (requests, mut replies) = up_to_the_code(&world, &connection, &session_key).await;
    requests.finish();
    let status = asked(&mut replies).await.expect_err("no receipt");
    assert_eq!(status.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_node_does_not_wait_for_a_code_without_end() {
    let world = World::new();
    world.enrol("alice");
    let node = world.patient_node(0);
    let (_server, connection, session_key) = connected_to(&world, &node).await;
    // The node counts from before it asks, and so does this.
    let begun = tokio::time::Instant::now();
    let (requests, mut replies) = up_to_the_code(&world, &connection, &session_key).await;
    tokio::time::pause();
    let status = asked(&mut replies).await.expect_err("it took too long");
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(begun.elapsed() >= CODES_WITHIN && begun.elapsed() < 2 * CODES_WITHIN);
    drop(requests);
}

#[tokio::test]
async fn a_node_that_can_remember_no_more_codes_takes_none() {
    let world = World::new();
    let enrolled = world.enrol("alice");
    let node = world.patient_node(0);
    node.throttle.with(|state, _, _| state.remember_at_most(0));
    for typed in [code(&enrolled, clock()), paper(&enrolled, 0)] {
        let outcome = world.log_in_with(&node, "alice", &[&typed]).await;
        assert!(
            matches!(&outcome, Err(LoginError::Status(status)) if status.code() == Code::Unavailable),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn no_receipt_leaves_before_it_is_durable_that_the_code_was_used() {
    // What is appended: the login's charge, the code's, that it was used, the refund.
    for (refuses, succeeds) in [(1, false), (2, false), (3, false), (4, true)] {
        let world = World::new();
        let enrolled = world.enrol("alice");
        let disk = Disk {
            refuses: Some(refuses),
            ..Disk::default()
        };
        let node = world.node(0, ThrottleLimits::default(), disk);
        let typed = code(&enrolled, clock());
        let outcome = world.log_in_with(&node, "alice", &[&typed]).await;
        if succeeds {
            assert!(outcome.is_ok(), "{refuses}: {outcome:?}");
            continue;
        }
        assert!(
            matches!(&outcome, Err(LoginError::Status(status)) if status.code() == Code::Unavailable),
            "{refuses}: {outcome:?}"
        );
        // What may be on the disk counts as used.
        let again = world.log_in_with(&node, "alice", &[&typed]).await;
        assert_eq!(again.is_ok(), refuses < 3, "{refuses}: {again:?}");
    }
}

#[tokio::test]
async fn the_password_alone_takes_no_charge_back() {
    let world = World::new();
    let enrolled = world.enrol("alice");
    let node = world.node(0, ThrottleLimits::default(), Disk::default());
    for _ in 0..5 {
        let outcome = world.log_in_with(&node, "alice", &[]).await;
        assert!(matches!(outcome, Err(LoginError::CodeNeeded)));
    }
    let typed = code(&enrolled, clock());
    let refused = world.log_in_with(&node, "alice", &[&typed]).await;
    assert!(
        matches!(&refused, Err(LoginError::Status(status)) if status.code() == Code::ResourceExhausted),
        "{refused:?}"
    );
    // With the code it does: as often as one likes.
    let node = world.node(0, ThrottleLimits::default(), Disk::default());
    for place in 0..8 {
        let typed = paper(&enrolled, place);
        let codes = [wrong(&enrolled), typed];
        let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
        let outcome = world.log_in_with(&node, "alice", &codes).await;
        assert!(outcome.is_ok(), "{place}: {outcome:?}");
    }
}

#[tokio::test]
async fn wrong_codes_are_throttled_and_the_client_is_told_when_to_come_back() {
    let world = World::new();
    let enrolled = world.enrol("alice");
    let node = world.node(0, ThrottleLimits::default(), Disk::default());
    let wrong = wrong(&enrolled);
    let three = [wrong.as_str(); 3];
    assert_code_refused(&world.log_in_with(&node, "alice", &three).await);
    let refused = world.log_in_with(&node, "alice", &three).await;
    let Err(LoginError::Status(status)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(status.code(), Code::ResourceExhausted);
    let after = status
        .detail::<RetryAfter>()
        .expect("typed")
        .expect("whole");
    assert_eq!(after.milliseconds, 1000);
    // Before the password nothing of that shows.
    let service = world.service_of(&node);
    let (_server, connection) = connected(&world.fixture.nodes[0], service, &key()).await;
    assert!(begun(&connection, "alice", &ke1()).await.is_none());
}

#[tokio::test]
async fn who_was_changed_while_the_code_was_typed_is_judged_as_of_now() {
    type Change = fn(&World);
    let changes: [(&str, Change); 3] = [
        ("disabled", |world| {
            world.change("alice", |user| user.enabled = false);
        }),
        ("enrolled anew", |world| {
            world.enrol("alice");
        }),
        ("another password", |world| {
            let other = key().verifying_key();
            world.change("alice", |user| user.second_factor = None);
            let mut users = world.users.write().unwrap_or_else(PoisonError::into_inner);
            let record = users.record(&name("alice")).expect("there").clone();
            let realm = world.fixture.realm();
            let mut user = record.user().clone();
            user.version += 1;
            user.user_key = Some(other);
            let mut credential = record.credential().expect("one").body().clone();
            credential.user_key = other;
            let issue = Verified::issue(&realm, &world.fixture.root, 2, user);
            let credential = Verified::issue(&realm, &world.fixture.root, 2, credential);
            users.apply(UserRecord::new(issue, Some(credential)).expect("they belong together"));
        }),
    ];
    for (what, change) in changes {
        let world = World::new();
        let enrolled = world.enrol("alice");
        let node = world.patient_node(0);
        let (_server, connection, session_key) = connected_to(&world, &node).await;
        let (mut requests, mut replies) = up_to_the_code(&world, &connection, &session_key).await;
        change(&world);
        let right = code_step(&code(&enrolled, clock()));
        requests.send(&right).await.expect("taken");
        let status = asked(&mut replies).await.expect_err(what);
        assert_eq!(status.code(), Code::Unauthenticated, "{what}");
    }
}

#[tokio::test]
async fn a_second_factor_that_does_not_open_keeps_its_user_out() {
    let world = World::new();
    let others = LoginSecrets::generate().expect("random");
    let (sealed, enrolled) =
        SecondFactor::enrol(&others, &world.fixture.realm(), &name("alice")).expect("enrolled");
    world.change("alice", |user| user.second_factor = Some(Box::new(sealed)));
    let node = world.patient_node(0);
    let typed = code(&enrolled, clock());
    let outcome = world.log_in_with(&node, "alice", &[&typed]).await;
    assert!(
        matches!(&outcome, Err(LoginError::Status(status)) if status.code() == Code::Internal),
        "{outcome:?}"
    );
}

impl World {
    /// Gives alice the role ops, which may need a second factor.
    fn role_of_alice(&self, needs_second_factor: bool) {
        let version = 1 + u64::from(!needs_second_factor);
        let mut roles = crate::policy::NamedRoles::default();
        roles.add(name("ops"), vec![]).expect("added");
        roles
            .need_second_factor(&name("ops"), needs_second_factor)
            .expect("a role");
        let roles = Roles { version, roles };
        let realm = self.fixture.realm();
        let roles = Verified::issue(&realm, &self.fixture.root, 2, roles);
        let roles = crate::records::RolesRecord::new(roles);
        let mut users = self.users.write().unwrap_or_else(PoisonError::into_inner);
        users.apply_signed(roles.into());
        drop(users);
        self.change("alice", |user| user.roles = vec![Role::Named(name("ops"))]);
    }
}

#[tokio::test]
async fn a_role_that_needs_a_second_factor_keeps_out_who_has_none() {
    let world = World::new();
    world.role_of_alice(true);
    let node = world.patient_node(0);
    let refused = world.log_in_with(&node, "alice", &[]).await;
    let Err(LoginError::NotEnrolled(why)) = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(why, "role ops needs a second factor, and none is enrolled");
    // Who has not proved the password is told what everybody is told.
    let outcome = log_in_as(&world, "alice", b"pv", &key()).await;
    assert!(matches!(outcome, Err(LoginError::Refused)), "{outcome:?}");

    let enrolled = world.enrol("alice");
    let typed = code(&enrolled, clock());
    let outcome = world.log_in_with(&node, "alice", &[&typed]).await;
    assert!(outcome.is_ok(), "{outcome:?}");
    // Whoever has enrolled is asked whatever the roles say.
    world.role_of_alice(false);
    let outcome = world.log_in_with(&node, "alice", &[]).await;
    assert!(matches!(outcome, Err(LoginError::CodeNeeded)));
    world.change("alice", |user| user.second_factor = None);
    assert!(world.log_in_with(&node, "alice", &[]).await.is_ok());
}

#[tokio::test]
async fn before_the_proof_nothing_tells_who_has_a_second_factor() {
    let world = World::new();
    let (service, peer) = (world.service(0), peer(1));
    world.add_bob();
    let answers = |user: &str| {
        let (_, ke1) = ClientLogin::start(b"pw", world.context(&peer, 0, user)).expect("started");
        let (_, challenge) = service
            .challenge(&peer, name(user), &start(user, &ke1))
            .expect("any");
        (challenge.stretching, challenge.message.len())
    };
    let without = [answers("alice"), answers("bob"), answers("nobody")];
    world.enrol("bob");
    world.role_of_alice(true);
    let with = [answers("alice"), answers("bob"), answers("nobody")];
    assert_eq!(without, with);
    assert_eq!(with[0], with[1]);
    assert_eq!(with[1], with[2]);

    let (_server, connection) = connected(&world.fixture.nodes[0], service, &key()).await;
    let ke1 = ke1();
    let wrong_proof = || RequestStep::Proof(proof(&[7; KE3_LENGTH]));
    let code_first = || code_step("000000").step.expect("a step");
    let mut heard = Vec::new();
    for user in ["alice", "bob", "nobody"] {
        let begin = || RequestStep::Start(start(user, &ke1));
        let said = [
            said(&connection, &[begin(), wrong_proof()]).await,
            said(&connection, &[begin(), code_first()]).await,
            said(&connection, &[begin(), wrong_proof(), code_first()]).await,
            said(&connection, &[code_first()]).await,
        ];
        heard.push(said);
    }
    assert_eq!(heard[0], heard[1]);
    assert_eq!(heard[1], heard[2]);
}

async fn log_in_audited(
    world: &World,
    node: &Node,
    auditor: &Auditor,
    codes: &[&str],
) -> Result<SessionProof, LoginError> {
    let service = world.service_of(node).audited(auditor.clone());
    let mut codes = Given::codes(codes);
    world
        .log_in_at(service, node.number, "alice", &key(), &mut codes)
        .await
}

#[tokio::test]
async fn every_code_is_on_record_before_it_is_answered() {
    let world = World::new();
    let enrolled = world.enrol("alice");
    let node = world.patient_node(0);
    let (auditor, submissions) = auditor();
    let mut events = written(submissions, Ok(()));
    let (wrong, right) = (wrong(&enrolled), code(&enrolled, clock()));
    let codes = [wrong.as_str(), "what?", &right];
    let outcome = log_in_audited(&world, &node, &auditor, &codes).await;
    assert!(outcome.is_ok(), "{outcome:?}");
    let outcome = log_in_audited(&world, &node, &auditor, &[&right]).await;
    assert_code_refused(&outcome);
    let mut told = Vec::new();
    for _ in 0..6 {
        let event = next_event(&mut events).await;
        assert_eq!(event.subject, crate::audit::Subject::User(name("alice")));
        for secret in [&wrong, &right] {
            assert!(!event.to_line().contains(secret.as_str()));
        }
        told.push((event.what, event.outcome, event.detail));
    }
    let expected = [
        (What::Code, Outcome::Refused, "wrong code"),
        (
            What::Code,
            Outcome::Refused,
            "not a code: six digits, or a recovery code",
        ),
        (What::Code, Outcome::Done, "by the clock"),
        (What::Login, Outcome::Done, ""),
        (What::Code, Outcome::Refused, "the code was used already"),
        // The client gave up: unlike after a wrong password this is told.
        (
            What::LoginAbandoned,
            Outcome::Refused,
            "the password was proved, and no code that counts came",
        ),
    ];
    let expected = expected.map(|(what, outcome, detail)| (what, outcome, detail.to_owned()));
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_code_that_cannot_be_recorded_is_not_taken() {
    let world = World::new();
    let enrolled = world.enrol("alice");
    let node = world.patient_node(0);
    let (auditor, submissions) = auditor();
    let _events = written(submissions, Err(crate::audit::AuditRefused::NoRoom));
    let typed = code(&enrolled, clock());
    let outcome = log_in_audited(&world, &node, &auditor, &[&typed]).await;
    assert!(
        matches!(&outcome, Err(LoginError::Status(status)) if status.code() == Code::Unavailable),
        "{outcome:?}"
    );
}

/// A node that asks for one code after the other.
struct Curious(LoginService);

impl Login for Curious {
    async fn log_in(
        &self,
        context: CallContext,
        mut requests: Requests<LogInRequest>,
        mut replies: Replies<LogInReply>,
    ) -> Result<(), Status> {
        let Ok(Some(LogInRequest {
            step: Some(RequestStep::Start(start)),
        })) = requests.next().await
        else {
            panic!("no start");
        };
        let (_, challenge) = self
            .0
            .challenge(context.peer(), name(&start.user), &start)?;
        let step = Some(ReplyStep::Challenge(challenge));
        replies.send(&LogInReply { step }).await?;
        while let Ok(Some(_)) = requests.next().await {
            let step = Some(ReplyStep::CodeNeeded(LogInCodeNeeded {
                tries_left: 1_000_000,
            }));
            replies.send(&LogInReply { step }).await?;
        }
        Ok(())
    }

    async fn prove_key(
        &self,
        _: CallContext,
        _: Requests<ProveKeyRequest>,
        _: Replies<ProveKeyReply>,
    ) -> Result<(), Status> {
        Ok(())
    }

    async fn register(&self, _: CallContext, _: RegisterRequest) -> Result<RegisterReply, Status> {
        Ok(RegisterReply::default())
    }
}

#[tokio::test]
async fn a_client_gives_no_node_more_codes_than_a_login_has() {
    let world = World::new();
    let node = world.patient_node(0);
    let mut codes = Given::codes(&["1", "2", "3", "4", "5"]);
    let curious = Curious(world.service_of(&node));
    let outcome = world
        .log_in_at(curious, 0, "alice", &key(), &mut codes)
        .await;
    assert!(
        matches!(outcome, Err(LoginError::BadAnswer(_))),
        "{outcome:?}"
    );
    assert_eq!(codes.0, ["4", "5"]);
}
