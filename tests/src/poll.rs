//! Waiting for what becomes true, with a bound.

use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(10);

/// Asks until there is an answer.
///
/// # Panics
/// When there is none within `limit`; `what` says what was waited for.
#[track_caller]
pub fn eventually<R>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<R>) -> R {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_answer_is_taken() {
        let mut asked = 0;
        let answer = eventually("three", Duration::from_secs(5), || {
            asked += 1;
            (asked == 3).then_some(asked)
        });
        assert_eq!(answer, 3);
    }

    #[test]
    #[should_panic(expected = "not within 30ms: never")]
    fn what_never_comes_fails() {
        eventually("never", Duration::from_millis(30), || None::<()>);
    }
}
