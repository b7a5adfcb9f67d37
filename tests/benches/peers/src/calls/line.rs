//! A connection over which calls are measured, whoever makes them.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::channel::cores::Cores;

/// How long anything may take before a bench gives up.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// An open connection. What it returns is the time of the calls alone.
pub trait Line {
    /// `in_flight` times as many as `each` calls, one behind the other in each
    /// of those in flight.
    fn burst(&mut self, cores: &Cores, body: &Bytes, in_flight: u32, each: u32) -> Duration;

    /// `calls` one at a time, each timed: the middle one, `calls` times.
    fn one_at_a_time(&mut self, cores: &Cores, body: &Bytes, calls: u32) -> Duration;

    /// Sends `messages` of `body` one way in one stream, to the answer that all
    /// have come. `None` when it has no streams.
    fn stream(&mut self, cores: &Cores, body: &Bytes, messages: u32) -> Option<Duration>;
}

/// What stubs have in common: calls that tasks make side by side.
pub trait Caller: Clone + Send + 'static {
    /// Echoes; the length of what came back.
    fn echo(&mut self, body: Bytes) -> impl Future<Output = usize> + Send;

    /// Streams; the bytes that the far end counted.
    fn sink(&mut self, body: Bytes, messages: u32) -> impl Future<Output = Option<u64>> + Send;
}

/// A line over which a stub calls.
pub struct Stub<C> {
    caller: C,
    /// What must live as long as the line.
    _server: Box<dyn std::any::Any>,
}

impl<C: Caller> Stub<C> {
    /// A line of a connected stub; `server` is dropped with it.
    pub fn new(caller: C, server: impl std::any::Any) -> Self {
        Self {
            caller,
            _server: Box::new(server),
        }
    }
}

impl<C: Caller> Line for Stub<C> {
    fn burst(&mut self, cores: &Cores, body: &Bytes, in_flight: u32, each: u32) -> Duration {
        cores.run(async {
            let started = Instant::now();
            let tasks: Vec<_> = (0..in_flight)
                .map(|_| {
                    let (mut caller, body) = (self.caller.clone(), body.clone());
                    tokio::spawn(async move {
                        for _ in 0..each {
                            assert_eq!(caller.echo(body.clone()).await, body.len());
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("calls are answered");
            }
            started.elapsed()
        })
    }

    fn one_at_a_time(&mut self, cores: &Cores, body: &Bytes, calls: u32) -> Duration {
        let caller = &mut self.caller;
        cores.run(async {
            let mut times = Vec::with_capacity(calls as usize);
            for _ in 0..calls {
                let started = Instant::now();
                assert_eq!(caller.echo(body.clone()).await, body.len());
                times.push(started.elapsed());
            }
            middle(&mut times) * calls
        })
    }

    fn stream(&mut self, cores: &Cores, body: &Bytes, messages: u32) -> Option<Duration> {
        let caller = &mut self.caller;
        cores.run(async {
            let started = Instant::now();
            let counted = caller.sink(body.clone(), messages).await?;
            assert_eq!(counted, body.len() as u64 * u64::from(messages));
            Some(started.elapsed())
        })
    }
}

/// The middle of some times; zero of none.
pub fn middle(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
