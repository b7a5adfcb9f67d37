//! Every login is on record before it is answered, and refused when it cannot be.

use sealmoot_crypto::digest::MacKey;
use sealmoot_crypto::secret::SecretArray;
use tokio::sync::mpsc;

use super::*;
use crate::audit::{AuditRefused, Auditor, Event, Outcome, Subject, Submissions, What, Who, queue};
use crate::roots::Roots;

pub(super) fn auditor() -> (Auditor, Submissions) {
    queue(MacKey::from_secret(&SecretArray::from_bytes([1; 32])))
}

/// Answers everything that is recorded with `outcome`, and hands it on.
pub(super) fn written(
    mut submissions: Submissions,
    outcome: Result<(), AuditRefused>,
) -> mpsc::UnboundedReceiver<Event> {
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(submission) = submissions.recv().await {
            let _ = sender.send(submission.event);
            if let Some(waiting) = submission.waiting {
                let _ = waiting.send(outcome);
            }
        }
    });
    receiver
}

async fn log_in_audited(
    world: &World,
    auditor: &Auditor,
    user: &str,
    password: &[u8],
) -> Result<SessionProof, LoginError> {
    let session_key = key();
    let service = world.service(0).audited(auditor.clone());
    let (_server, connection) = connected(&world.fixture.nodes[0], service, &session_key).await;
    log_in(
        &connection,
        &Roots::sole(world.fixture.root.verifying_key()),
        &name(user),
        &SecretBytes::new(password.to_vec()),
        &session_key.verifying_key(),
        NOW_MS,
        PATIENCE,
    )
    .await
}

pub(super) async fn next_event(events: &mut mpsc::UnboundedReceiver<Event>) -> Event {
    let event = tokio::time::timeout(PATIENCE, events.recv()).await;
    event.expect("in time").expect("an event")
}

#[tokio::test]
async fn a_login_is_on_record_before_the_receipt_leaves() {
    let world = World::new();
    let (auditor, submissions) = auditor();
    let mut events = written(submissions, Ok(()));
    log_in_audited(&world, &auditor, "alice", b"pw")
        .await
        .expect("logged in");
    let event = events.try_recv().expect("recorded by then");
    assert_eq!((event.what, event.outcome), (What::Login, Outcome::Done));
    assert_eq!(event.subject, Subject::User(name("alice")));
    assert!(matches!(event.who, Who::Peer { user: None, .. }));
    assert!(events.try_recv().is_err(), "one login, one event");
}

#[tokio::test]
async fn a_login_that_begins_anew_is_one_event() {
    let (world, _) = imported::with_imported_password();
    let (auditor, submissions) = auditor();
    let mut events = written(submissions, Ok(()));
    for (password, outcome) in [(&b"pw"[..], Outcome::Done), (b"pv", Outcome::Refused)] {
        let logged_in = log_in_audited(&world, &auditor, "bob", password).await;
        assert_eq!(logged_in.is_ok(), outcome == Outcome::Done);
        let event = next_event(&mut events).await;
        assert_eq!(event.outcome, outcome);
        assert_eq!(event.subject, Subject::User(name("bob")));
    }
    drop(auditor);
    let more = tokio::time::timeout(PATIENCE, events.recv()).await;
    assert_eq!(more.expect("in time"), None, "one login, one event");
}

#[tokio::test]
async fn a_login_that_cannot_be_recorded_is_refused() {
    let world = World::new();
    for refusal in [AuditRefused::NoRoom, AuditRefused::Failed] {
        let (auditor, submissions) = auditor();
        let _events = written(submissions, Err(refusal));
        let outcome = log_in_audited(&world, &auditor, "alice", b"pw").await;
        assert!(
            matches!(&outcome, Err(LoginError::Status(status)) if status.code() == Code::Unavailable),
            "{outcome:?}"
        );
    }
    // Before a step is made, when nothing can be recorded at all.
    let (auditor, submissions) = auditor();
    drop(submissions);
    let outcome = log_in_audited(&world, &auditor, "alice", b"pw").await;
    assert!(
        matches!(&outcome, Err(LoginError::Status(status)) if status.code() == Code::Unavailable),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_wrong_password_is_on_record_as_refused() {
    let world = World::new();
    let (auditor, submissions) = auditor();
    let mut events = written(submissions, Ok(()));
    for (user, known) in [("alice", true), ("gone", true), ("nobody", false)] {
        let outcome = log_in_audited(&world, &auditor, user, b"pv").await;
        assert!(matches!(outcome, Err(LoginError::Refused)), "{outcome:?}");
        let event = next_event(&mut events).await;
        assert_eq!((event.what, event.outcome), (What::Login, Outcome::Refused));
        let subject = if known {
            Subject::User(name(user))
        } else {
            auditor.unknown_name(user.as_bytes())
        };
        assert_eq!(event.subject, subject);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_without_a_word_has_abandoned_its_login() {
    let world = World::new();
    let (auditor, submissions) = auditor();
    let mut events = written(submissions, Ok(()));
    let session_key = key();
    let service = world.service(0).audited(auditor.clone());
    let (_server, connection) = connected(&world.fixture.nodes[0], service, &session_key).await;
    let context = world.context(connection.peer(), 0, "alice");
    let (_, ke1) = ClientLogin::start(b"pv", context).expect("started");
    let client = crate::proto::LoginClient::new(connection.clone());
    let (mut requests, mut replies) = client.log_in(PATIENCE).await.expect("begun");
    let step = Some(RequestStep::Start(start("alice", &ke1)));
    let request = crate::proto::LogInRequest { step };
    requests.send(&request).await.expect("sent");
    assert!(replies.next().await.expect("answered").is_some());
    drop((requests, replies));
    let event = next_event(&mut events).await;
    assert_eq!(event.what, What::LoginAbandoned);
    assert_eq!(event.outcome, Outcome::Refused);
}

#[tokio::test]
async fn a_wrong_proof_is_on_record_before_it_is_refused() {
    let world = World::new();
    let (auditor, submissions) = auditor();
    let mut events = written(submissions, Ok(()));
    let session_key = key();
    let service = world.service(0).audited(auditor.clone());
    let (_server, connection) = connected(&world.fixture.nodes[0], service, &session_key).await;
    let context = world.context(connection.peer(), 0, "alice");
    let (_, ke1) = ClientLogin::start(b"pw", context).expect("started");
    for user in ["alice", "Not A Name\u{202e}"] {
        let steps = [
            RequestStep::Start(start(user, &ke1)),
            RequestStep::Proof(proof(&[7; KE3_LENGTH])),
        ];
        let (_, status) = said(&connection, &steps).await;
        assert_eq!(status.code(), Code::Unauthenticated);
        let event = events.try_recv().expect("recorded by then");
        assert_eq!((event.what, event.outcome), (What::Login, Outcome::Refused));
        assert!(!event.to_line().contains("Not A Name"));
    }
}
