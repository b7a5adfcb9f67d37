//! What a drain does to the choice. What callers see is in `tests/binding.rs`.

use std::num::NonZeroU8;
use std::time::Duration;

use bytes::Bytes;
use sealmoot_crypto::signature::SigningKey;
use tokio::net::TcpListener;

use super::*;
use crate::binding::binder::Binder;
use crate::binding::record::{NameRecord, Way};
use crate::binding::resolver::unix_ms;
use crate::binding::table::Table;
use crate::channel::Identity;
use crate::limits::Limits;
use crate::peer::AllowedKeys;
use crate::server::{Server, ServerHandle};
use crate::service::{CallContext, ReplyFuture, Router, Service};

/// Answers nothing.
struct Mute;

impl Service for Mute {
    fn methods(&self) -> &[u64] {
        &[1]
    }

    fn call(&self, _: CallContext, _: u64, _: Bytes) -> ReplyFuture {
        Box::pin(std::future::pending())
    }
}

fn key() -> SigningKey {
    SigningKey::generate().expect("random source")
}

/// Servers, and their endpoints under one name.
async fn bound(count: usize) -> (Vec<ServerHandle>, Arc<Endpoints>) {
    serving(std::iter::repeat_with(|| Mute).take(count)).await
}

async fn serving<S: Service>(
    services: impl IntoIterator<Item = S>,
) -> (Vec<ServerHandle>, Arc<Endpoints>) {
    let own = key();
    let mut servers = Vec::new();
    let mut endpoints = Vec::new();
    for service in services {
        let server_key = key();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let router = Router::new().service(service).expect("one service");
        let clients = Arc::new(AllowedKeys::new([own.verifying_key().key_id()]));
        let server = Server::start(listener, &server_key, clients, router, Limits::default());
        let server = server.expect("sound configuration");
        endpoints.push(Endpoint {
            way: Way::Tls,
            address: server.local_addr().to_string(),
            key_id: server_key.verifying_key().key_id(),
            weight: NonZeroU8::MIN,
        });
        servers.push(server);
    }
    let record = NameRecord {
        name: "mute".parse().expect("a name"),
        serial: 1,
        valid_until_ms: unix_ms() + 3_600_000,
        ttl_seconds: 3_600,
        services: Vec::new(),
        endpoints,
    };
    let name = record.name.clone();
    let table = Table::new([record.sign(&key()).expect("a sound record")]);
    let identity = Identity::new(&own).expect("a sound key");
    let binder = Binder::new(identity, Arc::new(table), Limits::default());
    let endpoints = binder.expect("sound limits").endpoints(&name, &[]);
    (servers, endpoints)
}

/// A call at each endpoint, when there is a connection to each.
async fn seats(endpoints: &Arc<Endpoints>, count: usize) -> Vec<Seat> {
    let mut seats = Vec::new();
    let is_up = |line: &Line| line.link.connection().is_ok();
    let are_up = || {
        let state = endpoints.state();
        let listed = state.balancer.listed().count();
        listed > 0 && state.lines.values().filter(|it| is_up(it)).count() == listed
    };
    while !are_up() {
        drop(endpoints.seat(&Wanted::default()).await);
        tokio::task::yield_now().await;
    }
    for _ in 0..count {
        let seat = endpoints.seat(&Wanted::default()).await;
        seats.push(seat.expect("a good record"));
    }
    seats
}

async fn until(holds: impl Fn() -> bool) {
    let held = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), held);
    in_time.await.expect("in time");
}

/// Where a call would go now, and whether as a probe.
fn choice(endpoints: &Endpoints) -> (EndpointId, bool) {
    let mut state = endpoints.state();
    let State {
        balancer, draws, ..
    } = &mut *state;
    let picked = balancer.pick(&[], now(), draws.next()).expect("endpoints");
    let chosen = (picked.id(), picked.is_probe());
    balancer.end(picked, Verdict::Silent, now(), draws.next());
    chosen
}

#[tokio::test]
async fn calls_that_a_drain_turns_away_are_not_held_against_the_server() {
    let (mut servers, endpoints) = bound(1).await;
    let seats = seats(&endpoints, 5).await;
    let server = servers.pop().expect("one");
    let draining = tokio::spawn(server.drain(Duration::from_secs(5)));
    let connection = seats[0].connection().clone();
    until(|| connection.is_draining()).await;
    for seat in seats {
        let call = seat.connection().call(1, Bytes::new(), DIAL_PATIENCE).await;
        assert!(call.is_err());
        seat.end(&call);
    }
    let (_, is_probe) = choice(&endpoints);
    assert!(!is_probe, "it was ejected");
    draining.await.expect("no panic");
}

#[tokio::test]
async fn a_server_that_drains_is_given_no_calls_though_nobody_was_turned_away() {
    let (mut servers, endpoints) = bound(2).await;
    let seats = seats(&endpoints, 2).await;
    assert_ne!(seats[0].id(), seats[1].id(), "the lesser loaded one");
    let [one, other] = &seats[..] else {
        panic!("two seats");
    };
    let at = |seat: &Seat| seat.connection().peer().origin().to_string();
    let goes = servers.remove(usize::from(at(one) != servers[0].local_addr().to_string()));
    let (going, stays) = (one.id(), other.id());
    assert_eq!(at(one), goes.local_addr().to_string());
    drop(seats);
    // Before that, either is chosen.
    until(|| choice(&endpoints) == (going, false)).await;
    until(|| choice(&endpoints) == (stays, false)).await;
    let draining = tokio::spawn(goes.drain(Duration::from_secs(5)));
    // Each time by accident with probability 2^-50.
    until(|| (0..50).all(|_| choice(&endpoints) == (stays, false))).await;
    draining.await.expect("no panic");
    // It does not come back by having ended.
    let chosen: Vec<_> = (0..50).map(|_| choice(&endpoints)).collect();
    assert_eq!(chosen, [(stays, false); 50]);
}

#[tokio::test]
async fn a_stream_that_lasts_does_not_keep_its_endpoint_ejected() {
    use crate::client::CallOptions;
    use crate::retry::RetryPolicy;
    use crate::retrying::Retrying;

    let (_servers, endpoints) = bound(2).await;
    let ejected = seats(&endpoints, 2).await.remove(0).id();
    let elsewhere: Vec<_> = endpoints.state().balancer.listed().map(|it| it.0).collect();
    let elsewhere: Vec<_> = elsewhere.into_iter().filter(|id| *id != ejected).collect();
    let lost = || -> Result<(), Status> {
        Err(Status::new(
            Code::Unavailable,
            Execution::MaybeExecuted,
            "lost",
        ))
    };
    for _ in 0..3 {
        let wanted = Wanted {
            tried: &elsewhere,
            server: None,
        };
        let seat = endpoints.seat(&wanted).await.expect("a good record");
        assert_eq!(seat.id(), ejected);
        seat.end(&lost());
    }
    // Nothing else looks for it, so the stream will be the probe.
    until(|| endpoints.state().balancer.is_probe_due(ejected, now())).await;
    let caller = Retrying::named(Arc::clone(&endpoints), RetryPolicy::default());
    let options = CallOptions::new(Duration::from_secs(60));
    let stream = caller.bidirectional(1, &options).await.expect("started");
    // It was the probe, and lives. Others are to find out, too.
    until(|| choice(&endpoints) == (ejected, true)).await;
    drop(stream);
}

/// Busy for longer than anybody waits, or not.
struct Busy(bool);

impl Service for Busy {
    fn methods(&self) -> &[u64] {
        &[1]
    }

    fn call(&self, _: CallContext, _: u64, body: Bytes) -> ReplyFuture {
        use crate::details::RetryAfter;

        let is_busy = self.0;
        Box::pin(async move {
            if !is_busy {
                return Ok(body);
            }
            let busy = Status::new(Code::ResourceExhausted, Execution::NotStarted, "busy");
            let after = RetryAfter {
                milliseconds: 60_000,
            };
            Err(busy.with_detail(&after).expect("room"))
        })
    }
}

#[tokio::test]
async fn what_a_busy_server_asks_for_does_not_keep_a_call_from_another() {
    use crate::client::CallOptions;
    use crate::retry::{Guard, Idempotency, RetryPolicy};
    use crate::retrying::Retrying;

    let (_servers, endpoints) = serving([Busy(true), Busy(false)]).await;
    drop(seats(&endpoints, 2).await);
    let caller = Retrying::named(Arc::clone(&endpoints), RetryPolicy::default());
    let options = CallOptions::new(Duration::from_secs(30));
    let guard = Guard::Method(Idempotency::Unknown);
    for _ in 0..20 {
        let called = caller.call(1, guard, Bytes::new(), &options).await;
        called.expect("the other one has time, and the call did not start");
    }
}
