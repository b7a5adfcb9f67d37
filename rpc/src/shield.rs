//! Work that is not to stop halfway.

use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::task::JoinHandle;

use crate::service::CallContext;

/// Runs a future in a task of its own, so that it comes to its end though
/// whoever awaits it is dropped: a handler is dropped at any await when its
/// caller cancels, its deadline passes or its connection is lost, and a commit
/// must not stop between two of its steps.
///
/// It runs from this call on, awaited or not. Nothing bounds its time: that is
/// up to the future. The end of the runtime ends it.
///
/// Nor is it counted: a caller that calls and cancels in a loop can have any
/// number of them. A handler shields by [`CallContext::shield`]; this is for
/// work outside of calls.
///
/// # Panics
///
/// Outside of a tokio runtime. A panic of the future goes to whoever awaits it.
pub fn shield<F>(future: F) -> Shielded<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Shielded {
        task: tokio::spawn(future),
    }
}

impl CallContext {
    /// Runs a future to its end as [`shield`] does, and counts the call in its
    /// identity's quota until that is done, though the call is long over. So a
    /// caller that calls and cancels in a loop has no more shielded work at a
    /// time than it may have calls.
    ///
    /// Never refused: the place is the call's own, and all that one call shields
    /// has it together, with the bytes of its request. What a handler shields
    /// behind the end of its call, from a task that has its context, is counted
    /// even where the quota is full. Nothing is counted for callers with limits
    /// of their own ([`Authorizer::limits`](crate::Authorizer::limits)), nor
    /// where [`CallContext::new`] made the context.
    ///
    /// # Panics
    ///
    /// As [`shield`].
    pub fn shield<F>(&self, future: F) -> Shielded<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let permit = self.permit();
        shield(async move {
            // Dropped after the future, however the task ends.
            let _permit = permit;
            future.await
        })
    }
}

/// Waits for a future that runs to its end either way; see [`shield`].
#[derive(Debug)]
pub struct Shielded<T> {
    task: JoinHandle<T>,
}

impl<T> Future for Shielded<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match Pin::new(&mut self.task).poll(cx) {
            Poll::Ready(Ok(output)) => Poll::Ready(output),
            Poll::Ready(Err(error)) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // Nobody else can abort the task: the runtime ends, and with it
                // whoever awaits this.
                Err(_) => Poll::Pending,
            },
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn shielded_work_ends_though_its_caller_is_dropped() {
        let (go, gone) = oneshot::channel::<()>();
        let (done, mut is_done) = oneshot::channel();
        let caller = tokio::spawn(async move {
            shield(async move {
                let _ = gone.await;
                let _ = done.send(7);
            })
            .await;
        });
        tokio::task::yield_now().await;
        caller.abort();
        assert!(caller.await.expect_err("dropped").is_cancelled());
        assert!(is_done.try_recv().is_err(), "it has not come to its end");
        go.send(()).expect("the work still waits");
        assert_eq!(is_done.await, Ok(7));
    }

    #[tokio::test]
    async fn without_a_shield_the_same_work_stops() {
        let (go, gone) = oneshot::channel::<()>();
        let caller = tokio::spawn(async move {
            let _ = gone.await;
        });
        tokio::task::yield_now().await;
        caller.abort();
        assert!(caller.await.is_err());
        go.send(()).expect_err("nobody waits");
    }

    #[tokio::test]
    async fn shielded_work_answers_and_passes_its_panic_on() {
        assert_eq!(shield(async { 7 }).await, 7);
        let panicked = tokio::spawn(async { shield(async { panic!("a fault") }).await });
        let error = tokio::time::timeout(Duration::from_secs(60), panicked)
            .await
            .expect("in time")
            .map(|(): ()| ())
            .expect_err("panicked");
        assert!(error.is_panic());
    }
}
