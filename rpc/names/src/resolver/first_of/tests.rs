use std::sync::Mutex;

use sealmoot_rpc::binding::RecordError;

use super::*;
use crate::testing::{FOREVER_MS, name, signed};

type Answer = Result<Arc<VerifiedRecord>, ResolveError>;

/// Answers so, and counts who asks.
struct Fixed(Answer, Arc<Mutex<usize>>);

impl Resolver for Fixed {
    fn resolve<'a>(&'a self, _: &'a Name) -> Resolution<'a> {
        *self.1.lock().expect("not poisoned") += 1;
        Box::pin(std::future::ready(self.0.clone()))
    }
}

/// The answer, and how many were asked.
async fn ask(answers: impl IntoIterator<Item = Answer>) -> (Answer, usize) {
    let asked = Arc::new(Mutex::new(0));
    let fixed = |answer| Arc::new(Fixed(answer, Arc::clone(&asked))) as Arc<dyn Resolver>;
    let resolvers = FirstOf::new(answers.into_iter().map(fixed).collect());
    let answer = resolvers.resolve(&name("a")).await;
    let asked = *asked.lock().expect("not poisoned");
    (answer, asked)
}

fn lied() -> Answer {
    Err(RecordError::BadSignature.into())
}

fn not_found() -> Answer {
    Err(ResolveError::NotFound(name("a")))
}

fn down() -> Answer {
    Err(ResolveError::Unavailable("down".to_owned()))
}

fn found(serial: u64) -> Answer {
    Ok(signed("a", serial, FOREVER_MS))
}

#[tokio::test]
async fn the_first_that_has_a_record_is_the_last_that_is_asked() {
    let answers = [down(), not_found(), lied(), found(1), found(2)];
    assert_eq!(ask(answers).await, (found(1), 4));
}

#[tokio::test]
async fn a_lie_tells_more_than_ignorance_and_that_more_than_silence() {
    let answers = [not_found(), lied(), down(), not_found()];
    assert_eq!(ask(answers).await, (lied(), 4));
    assert_eq!(ask([down(), not_found(), down()]).await, (not_found(), 3));
    assert_eq!(ask([down(), down()]).await, (down(), 2));
}

#[tokio::test]
async fn nobody_to_ask_is_an_error() {
    let (answer, _) = ask([]).await;
    assert!(matches!(answer, Err(ResolveError::Unavailable(_))));
}
