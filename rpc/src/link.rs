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
use std::time::Duration;

use sealmoot_crypto::secret::SecretArray;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::client::Connection;
use crate::connector::ConnectError;
use crate::limits::{LINK_REFUSED_RETRY_MAX, LINK_RETRY_FIRST, LINK_RETRY_MAX, LINK_STANDS};

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
    /// One side does not want the other. That may change, but not at once, so
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
        let shared = Arc::new(Shared {
            state: Mutex::new(State::Down("not connected yet".to_owned())),
            changed: Notify::new(),
        });
        let task = tokio::spawn(keep_up(dial, Arc::clone(&shared)));
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
}

const LOST: &str = "connection lost";

async fn keep_up<D, A>(dial: D, shared: Arc<Shared>)
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
        tokio::time::sleep(jittered(pause)).await;
        pause = (pause * 2).min(pause_max);
    }
}

/// Between half of `pause` and the whole, so that a thousand clients that lost
/// one server do not come back in step.
fn jittered(pause: Duration) -> Duration {
    let part = SecretArray::<1>::random().map_or(u8::MAX, |byte| byte.expose()[0]);
    pause / 2 + pause.mul_f64(f64::from(part) / 510.0)
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

    #[test]
    fn pauses_stay_between_half_and_whole() {
        for _ in 0..1_000 {
            let pause = jittered(Duration::from_millis(200));
            assert!(pause >= Duration::from_millis(100) && pause <= Duration::from_millis(200));
        }
    }
}
