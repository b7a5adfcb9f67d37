//! A connection that is made again whenever it ends.
//!
//! Heartbeats notice a dead peer within
//! [`keepalive_idle`](crate::Limits::keepalive_idle) and
//! [`keepalive_timeout`](crate::Limits::keepalive_timeout); from then on new
//! connections are tried until one stands. TCP alone doubles its pauses while
//! nothing comes back, and resumes seconds after a partition has ended.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::client::Connection;
use crate::connector::ConnectError;
use crate::limits::{LINK_REFUSED_RETRY_MAX, LINK_RETRY_FIRST, LINK_RETRY_MAX, LINK_STANDS};
use crate::pause::{half_to_whole, random};

/// One connection to one place, kept up in the background for as long as this
/// is not dropped. Calls in flight when a connection ends fail as they would
/// without it: nothing is sent twice.
pub struct Link {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// Why a [`Link`] could not be made this time, in a few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialError {
    /// Nobody answered, or something broke: it is tried again very soon.
    Failed(String),
    /// One side does not want the other, or nobody is in a hurry: calls of a name
    /// go to another endpoint meanwhile. That may change, but hardly at once, so
    /// it is tried again ever less often.
    Refused(String),
}

impl From<ConnectError> for DialError {
    fn from(error: ConnectError) -> Self {
        let cause = error.cause();
        match error {
            ConnectError::Untrusted(_) | ConnectError::Refused(_) => Self::Refused(cause),
            _ => Self::Failed(cause),
        }
    }
}

struct Shared {
    state: Mutex<State>,
    changed: Notify,
    /// Somebody waits for a connection.
    wanted: Notify,
}

#[derive(Clone)]
enum State {
    Up(Connection),
    Down(String),
}

impl Link {
    /// Keeps up what `dial` opens, on the current tokio runtime.
    ///
    /// An attempt of `dial` should not outlast two seconds: a lost SYN is sent
    /// again after one second, then only after two more.
    pub fn start<D, A>(dial: D) -> Self
    where
        D: Fn() -> A + Send + 'static,
        A: Future<Output = Result<Connection, DialError>> + Send + 'static,
    {
        Self::watched(dial, |_| ())
    }

    /// The same; `ended` is given each connection that has ended.
    pub(crate) fn watched<D, A>(dial: D, ended: impl Fn(&Connection) + Send + 'static) -> Self
    where
        D: Fn() -> A + Send + 'static,
        A: Future<Output = Result<Connection, DialError>> + Send + 'static,
    {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::Down("not connected yet".to_owned())),
            changed: Notify::new(),
            wanted: Notify::new(),
        });
        let task = tokio::spawn(keep_up(dial, ended, Arc::clone(&shared)));
        Self { shared, task }
    }

    /// The connection, if one stands.
    ///
    /// # Errors
    ///
    /// Why there is none, in a few words.
    pub fn connection(&self) -> Result<Connection, String> {
        match self.shared.state() {
            State::Up(connection) if !connection.is_closed() => Ok(connection),
            State::Up(_) => Err(LOST.to_owned()),
            State::Down(cause) => Err(cause),
        }
    }

    /// The connection, as soon as one stands. Callers put a deadline around it.
    pub async fn up(&self) -> Connection {
        loop {
            let changed = self.shared.changed.notified();
            if let Ok(connection) = self.connection() {
                return connection;
            }
            changed.await;
        }
    }

    /// Ends a long rest between attempts: a connection is wanted.
    pub(crate) fn hurry(&self) {
        self.shared.wanted.notify_one();
    }

    /// The connection, once one stands; or why the attempt that was under way or
    /// came next did not make one. A long rest between attempts ends for it.
    pub(crate) async fn attempt(&self) -> Result<Connection, String> {
        let changed = self.shared.changed.notified();
        if let Ok(connection) = self.connection() {
            return Ok(connection);
        }
        self.hurry();
        changed.await;
        self.connection()
    }
}

const LOST: &str = "connection lost";

async fn keep_up<D, A>(dial: D, ended: impl Fn(&Connection), shared: Arc<Shared>)
where
    D: Fn() -> A,
    A: Future<Output = Result<Connection, DialError>>,
{
    let mut pause = LINK_RETRY_FIRST;
    loop {
        let mut pause_max = LINK_RETRY_MAX;
        match dial().await {
            Ok(connection) => {
                let since = Instant::now();
                shared.set(State::Up(connection.clone()));
                connection.closed().await;
                ended(&connection);
                // A server that lets us in and throws us out would else be
                // asked fifty times a second.
                if since.elapsed() >= LINK_STANDS {
                    pause = LINK_RETRY_FIRST;
                }
                tracing::info!(peer = %connection.peer().origin(), "connection lost");
                shared.set(State::Down(LOST.to_owned()));
            }
            Err(DialError::Failed(cause)) => shared.set(State::Down(cause)),
            Err(DialError::Refused(cause)) => {
                shared.set(State::Down(cause));
                pause_max = LINK_REFUSED_RETRY_MAX;
            }
        }
        // A long rest must not outlast the refusals that it comes from.
        pause = pause.min(pause_max);
        // A thousand clients that lost one server must not come back in step.
        let rest = half_to_whole(pause, random());
        tokio::time::sleep(rest.min(LINK_RETRY_MAX)).await;
        if let Some(longer) = rest.checked_sub(LINK_RETRY_MAX) {
            let _ = tokio::time::timeout(longer, shared.wanted.notified()).await;
        }
        pause = (pause * 2).min(pause_max);
    }
}

impl Shared {
    fn state(&self) -> State {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        self.changed.notify_waiters();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Link")
            .field(&self.connection())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use crate::channel::{Channel, Identity, MemoryChannel};
    use crate::limits::Limits;
    use crate::peer::Peer;
    use sealmoot_crypto::signature::SigningKey;

    /// How often a link dials in a minute when dialling ends so.
    async fn dials_in_a_minute<A>(dial: impl Fn() -> A + Send + 'static) -> usize
    where
        A: Future<Output = Result<Connection, DialError>> + Send + 'static,
    {
        let dials = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&dials);
        let link = Link::start(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            dial()
        });
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(link.connection().is_err());
        dials.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_answer_is_tried_several_times_a_second() {
        let failed = || async { Err(DialError::Failed("connection refused".to_owned())) };
        let dials = dials_in_a_minute(failed).await;
        assert!((300..=620).contains(&dials), "{dials}");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_refuses_is_asked_ever_less_often() {
        let refused = || async { Err(DialError::Refused("not you".to_owned())) };
        let dials = dials_in_a_minute(refused).await;
        assert!((10..=25).contains(&dials), "{dials}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_no_longer_refuses_is_tried_several_times_a_second_again() {
        let refusing_until = Instant::now() + Duration::from_secs(60);
        let failed = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&failed);
        let _link = Link::start(move || {
            let now = Instant::now();
            let is_refused = now < refusing_until;
            if !is_refused {
                noted.lock().expect("no panic").push(now);
            }
            async move {
                Err(match is_refused {
                    true => DialError::Refused("not you".to_owned()),
                    false => DialError::Failed("connection refused".to_owned()),
                })
            }
        });
        tokio::time::sleep_until(refusing_until + 2 * LINK_REFUSED_RETRY_MAX).await;
        let failed = failed.lock().expect("no panic");
        let rests = failed.windows(2).map(|pair| pair[1] - pair[0]);
        let longest = rests.max().expect("several dials");
        // The runtime's clock goes by milliseconds.
        assert!(
            longest <= LINK_RETRY_MAX + Duration::from_millis(2),
            "{longest:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_rest_ends_when_somebody_waits() {
        let link = Link::start(|| async { Err(DialError::Refused("not you".to_owned())) });
        tokio::time::sleep(Duration::from_secs(60)).await;
        for _ in 0..3 {
            let asked = Instant::now();
            assert!(link.attempt().await.is_err());
            // Not at once either: who asks often must not dial often. The first of
            // them may end with a rest that had begun before.
            assert!(
                asked.elapsed() <= 2 * LINK_RETRY_MAX,
                "{:?}",
                asked.elapsed()
            );
        }
        let asked = Instant::now();
        for _ in 0..50 {
            assert!(link.attempt().await.is_err());
        }
        let dials_per_second = 50.0 / asked.elapsed().as_secs_f64();
        assert!(dials_per_second <= 11.0, "{dials_per_second}");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_lets_us_in_and_throws_us_out_is_not_hammered() {
        let identity = || {
            let key = SigningKey::generate().expect("random source");
            Identity::new(&key).expect("a sound key")
        };
        let (near, far) = (identity(), identity());
        let dial = move || {
            let (near, _far) = MemoryChannel::pair(&near, &far).expect("random source");
            let peer = Peer::danger_assume(
                near.peer_key(),
                near.binding(),
                near.origin(),
                near.transport(),
                Arc::new(()),
            );
            // The far end is gone at once.
            let (connection, driver) = Connection::over(near, peer, &Limits::default());
            tokio::spawn(driver);
            async move { Ok(connection) }
        };
        let dials = dials_in_a_minute(dial).await;
        assert!((300..=620).contains(&dials), "{dials}");
    }
}
