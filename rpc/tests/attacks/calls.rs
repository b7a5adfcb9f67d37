//! Real calls over real sockets, with the man in the middle between them: what
//! runs, runs once and as it was sent, and what is answered is the answer.

use std::any::Any;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::noise::{Acceptance, Options, Target};
use sealmoot_rpc::{
    Authorizer, CallContext, Candidate, Connector, Execution, Limits, Refusal, ReplyFuture, Router,
    Server, ServerHandle, Service, Status,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::panics;
use super::proxy::{Attack, Direction, Framing, Manipulation, Wire, relay};
use super::session::{Parties, is_full};
use crate::common::PATIENCE;

const REVERSE: u64 = 77;

/// Longer than any honest session takes here, and what a lost record costs.
const SHORT: Duration = Duration::from_secs(2);

/// Sessions at once.
const TOGETHER: usize = 24;

/// Small, of many records both ways, and small again.
const SIZES: [usize; 3] = [40, 150_000, 40];

/// Answers a body backwards, and writes down what ran.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Vec<Bytes>>>);

impl Service for Ledger {
    fn methods(&self) -> &[u64] {
        &[REVERSE]
    }

    fn call(&self, _: CallContext, _: u64, body: Bytes) -> ReplyFuture {
        let mut ran = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ran.push(body.clone());
        Box::pin(async move { Ok(reversed(&body)) })
    }
}

fn reversed(body: &[u8]) -> Bytes {
    body.iter().rev().copied().collect()
}

/// What call `number` of session `session` carries: no other call carries it.
fn body(session: u32, number: usize) -> Vec<u8> {
    let mut bytes = vec![0; SIZES[number]];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = (index % 251) as u8;
    }
    bytes[..4].copy_from_slice(&session.to_be_bytes());
    bytes[4] = number as u8;
    bytes
}

/// Knows the one peer there is.
struct Only(sealmoot_crypto::signature::KeyId);

impl Authorizer for Only {
    fn present(&self) -> Bytes {
        Bytes::from_static(b"statements")
    }

    fn authorize(&self, candidate: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        assert_eq!(
            candidate.presented, b"statements",
            "statements were changed"
        );
        if candidate.key_id != self.0 {
            return Err(Refusal::new(
                sealmoot_rpc::Code::Unauthenticated,
                "another key",
            ));
        }
        Ok(Arc::new(()))
    }
}

fn limits() -> Limits {
    Limits {
        handshake: SHORT,
        unauthenticated_per_source_max: 1024,
        linger: Duration::from_millis(50),
        ..Limits::default()
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a port")
}

/// What came of one session.
struct Session {
    number: u32,
    attack: Option<Attack>,
    /// None when no connection opened, else one for each call that was made.
    calls: Option<Vec<Result<Bytes, Status>>>,
    wire: Wire,
    /// Records of each direction that had left when the last answer was there.
    counts: [usize; 2],
}

async fn session(
    number: u32,
    server: SocketAddr,
    framing: Framing,
    attack: Option<Attack>,
) -> Session {
    let wire = Wire::default();
    let front = listener().await;
    let address = front.local_addr().expect("bound").to_string();
    let proxy = {
        let (attack, wire) = (attack.clone(), wire.clone());
        tokio::spawn(async move {
            let (near, _) = front.accept().await.expect("the client");
            let far = TcpStream::connect(server).await.expect("the server");
            near.set_nodelay(true).expect("open");
            far.set_nodelay(true).expect("open");
            relay(near, far, framing, attack, wire).await;
        })
    };
    let parties = Parties::new();
    let authorizer = Arc::new(Only(parties.server.key_id()));
    let responder = parties.server.static_key().public();
    let connector = Connector::with_identity(parties.client, authorizer, limits()).expect("sound");
    let opened = match framing {
        Framing::Tls => connector.connect(&address, SHORT).await,
        Framing::Noise => {
            let (target, options) = (Target::Ik { responder }, Options::default());
            connector
                .connect_noise(&address, &target, &options, SHORT)
                .await
        }
    };
    let calls = match opened {
        Err(_) => None,
        Ok(connection) => {
            let mut calls = Vec::new();
            for call in 0..SIZES.len() {
                let reply = connection.call(REVERSE, body(number, call), SHORT).await;
                let failed = reply.is_err();
                calls.push(reply);
                if failed {
                    break;
                }
            }
            Some(calls)
        }
    };
    let counts = [Direction::ToServer, Direction::ToClient].map(|way| wire.count(way));
    // The connection is gone; both sides end, and the proxy with them.
    let ended = tokio::time::timeout(PATIENCE, proxy).await;
    ended.expect("the proxy ends").expect("no panic");
    Session {
        number,
        attack,
        calls,
        wire,
        counts,
    }
}

impl Session {
    fn is_whole(&self) -> bool {
        self.calls
            .as_ref()
            .is_some_and(|calls| calls.len() == SIZES.len() && calls.iter().all(Result::is_ok))
    }

    /// `Ok(true)` when it was refused, `Ok(false)` when it had no effect.
    fn judge(&self, framing: Framing, ran: &[Bytes]) -> Result<bool, String> {
        let calls = self.calls.as_deref().unwrap_or_default();
        for number in 0..SIZES.len() {
            let sent = body(self.number, number);
            let runs = ran.iter().filter(|body| **body == sent).count();
            if runs > 1 {
                return Err(format!("call {number} ran {runs} times"));
            }
            match calls.get(number) {
                Some(Ok(reply)) if *reply != reversed(&sent) => {
                    return Err(format!("call {number} has another's answer"));
                }
                Some(Ok(_)) if runs != 1 => {
                    return Err(format!("call {number} was answered and never ran"));
                }
                Some(Err(status))
                    if runs != 0
                        && matches!(
                            status.execution(),
                            Execution::NotSent | Execution::NotStarted
                        ) =>
                {
                    return Err(format!("call {number} ran, and the caller hears {status}"));
                }
                None if runs != 0 => return Err(format!("call {number} was never made")),
                _ => {}
            }
        }
        let mine = self.number.to_be_bytes();
        let known: Vec<_> = (0..SIZES.len())
            .map(|call| body(self.number, call))
            .collect();
        if ran
            .iter()
            .any(|ran| ran.starts_with(&mine) && known.iter().all(|body| *body != *ran))
        {
            return Err("a changed body ran".into());
        }
        let Some(attack) = &self.attack else {
            return if self.is_whole() {
                Ok(false)
            } else {
                Err("failed with nobody in the middle".into())
            };
        };
        let lawful = framing == Framing::Tls && is_lawful(&self.wire, attack);
        if !self.is_whole() {
            return if lawful || !self.wire.was_reached() {
                Err("failed, although nothing was changed".into())
            } else {
                Ok(true)
            };
        }
        // Every answer was there before it came to the attack.
        let was_late = attack.first_bad() >= self.counts[attack.direction as usize];
        if lawful || was_late {
            Ok(false)
        } else {
            Err("every call went well".into())
        }
    }
}

/// See `records.rs`; of its list, what the manipulations here can meet.
fn is_lawful(wire: &Wire, attack: &Attack) -> bool {
    let records = wire.records(attack.direction);
    let Some(record) = records.get(attack.index) else {
        return false;
    };
    let is_ignored = match attack.manipulation {
        Manipulation::Drop | Manipulation::Duplicate | Manipulation::Replace("splice", _) => true,
        Manipulation::Reflect => attack.direction == Direction::ToServer,
        _ => false,
    };
    // change_cipher_spec.
    is_ignored && record[0] == 20
}

fn manipulations(framing: Framing, index: usize, other: &[Vec<u8>]) -> Vec<Manipulation> {
    let header = framing.header_bytes();
    let mut all = vec![
        Manipulation::Flip {
            byte: header + index,
            bit: index as u8 % 8,
        },
        Manipulation::Flip {
            byte: usize::MAX,
            bit: 0,
        },
        Manipulation::Drop,
        Manipulation::Duplicate,
        Manipulation::Swap,
        Manipulation::CutBefore,
        Manipulation::CutWithin(header + 1),
        Manipulation::Reflect,
    ];
    if let Some(record) = other.get(index) {
        all.push(Manipulation::Replace("splice", record.clone()));
        all.push(Manipulation::Continue(
            "continue another session",
            other[index..].concat(),
        ));
    }
    all
}

async fn serve(ledger: &Ledger) -> ServerHandle {
    let parties = Parties::new();
    let router = Router::new()
        .service(ledger.clone())
        .expect("no duplicates");
    let authorizer = Arc::new(Only(parties.client.key_id()));
    Server::builder(parties.server, authorizer, router, limits())
        .tls(listener().await)
        .noise(listener().await, Acceptance::default())
        .start()
        .expect("sound configuration")
}

async fn attack_calls(name: &str, framing: Framing) {
    panics::count();
    let ledger = Ledger::default();
    let server = serve(&ledger).await;
    let address = match framing {
        Framing::Tls => server.local_addrs()[0],
        Framing::Noise => server.local_addrs()[1],
    };
    let other = session(0, address, framing, None).await;
    assert!(other.is_whole(), "{:?}", other.calls);

    let mut attacks = Vec::new();
    for direction in Direction::BOTH {
        let records = other.wire.records(direction);
        for index in 0..records.len() {
            // All records of the openings, and by default every third behind.
            if !is_full() && index > 6 && index % 3 != 0 && index + 2 < records.len() {
                continue;
            }
            for manipulation in manipulations(framing, index, &records) {
                attacks.push(Attack {
                    direction,
                    index,
                    manipulation,
                });
            }
        }
    }

    let mut sessions = Vec::new();
    let mut running = JoinSet::new();
    let mut waiting = attacks.into_iter().enumerate();
    loop {
        while running.len() < TOGETHER
            && let Some((number, attack)) = waiting.next()
        {
            let number = number as u32 + 1;
            running.spawn(session(number, address, framing, Some(attack)));
        }
        match running.join_next().await {
            Some(done) => sessions.push(done.expect("no panic")),
            None => break,
        }
    }
    // The server has outlived all of it.
    let last = session(u32::MAX, address, framing, None).await;
    assert!(last.is_whole(), "{:?}", last.calls);
    server.drain(PATIENCE).await;

    let ran = ledger.0.lock().unwrap_or_else(PoisonError::into_inner);
    let mut counts: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    let mut faults = Vec::new();
    for session in &sessions {
        let attack = session.attack.as_ref().expect("each has one");
        match session.judge(framing, &ran) {
            Ok(refused) => {
                counts.entry(attack.manipulation.family()).or_default()[usize::from(!refused)] += 1;
            }
            Err(fault) => faults.push(format!(
                "{name} {:?} record {} {:?}: {fault}",
                attack.direction, attack.index, attack.manipulation
            )),
        }
    }
    for (family, [refused, without]) in &counts {
        eprintln!(
            "attacks: calls over {name} {family}: {refused} refused, {without} without effect"
        );
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let refused: usize = counts.values().map(|[refused, _]| refused).sum();
    assert!(refused > 100, "{refused}");
    panics::assert_none();
}

#[tokio::test]
async fn calls_over_tls_run_once_and_as_they_were_sent_whatever_is_done_to_records() {
    attack_calls("tls", Framing::Tls).await;
}

#[tokio::test]
async fn calls_over_noise_run_once_and_as_they_were_sent_whatever_is_done_to_records() {
    attack_calls("noise", Framing::Noise).await;
}
