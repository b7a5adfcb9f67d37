//! The throttle of logins at a node: its charges go to the log, and to the peers.

use std::sync::{Arc, Weak};
use std::time::Duration;

use sealmoot_authn::proto::{ChargesClient, ShareRequest};
use sealmoot_authn::throttle::{LoginThrottle, NotDurable, StoreFuture, Throttle, ThrottleStore};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{Connection, Status};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

use super::{Cluster, Shared};
use crate::record::Record;

/// How often peers are told what was tried here, at least.
const SHARE_EVERY: Duration = Duration::from_secs(1);
/// How long a peer may take for one record.
const SHARE_WITHIN: Duration = Duration::from_secs(2);
/// How long a charge may take to be durable. A disk that failed ends the process;
/// one that hangs refuses logins.
const DURABLE_WITHIN: Duration = Duration::from_secs(5);

/// The throttle of a node, with its log behind it.
pub(super) fn throttle(
    state: Throttle,
    shared: &Weak<Shared>,
    now_ms: fn() -> u64,
) -> Arc<LoginThrottle> {
    let store = Box::new(LogStore(Weak::clone(shared)));
    Arc::new(LoginThrottle::new(state, store, now_ms))
}

/// Keeps charges in the node's sealed log, committed in the groups of all records.
/// Before the cluster has formed there is none, and nobody logs in.
struct LogStore(Weak<Shared>);

impl ThrottleStore for LogStore {
    fn append(&self, record: Vec<u8>) -> StoreFuture {
        let Some(cluster) = self.0.upgrade().and_then(|shared| shared.cluster()) else {
            return Box::pin(std::future::ready(Err(NotDurable)));
        };
        let number = cluster.engine.enqueue(vec![Record::Throttle(record)]);
        Box::pin(async move {
            match timeout(DURABLE_WITHIN, cluster.engine.durable_through(number)).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(NotDurable),
            }
        })
    }
}

/// Tells the peers what was tried at this node, for as long as the cluster runs: what
/// is new, and everything to one that may have missed some.
pub(super) async fn share(cluster: Weak<Cluster>, throttle: Arc<LoginThrottle>) {
    let mut up_to_date: Vec<Option<u64>> = Vec::new();
    loop {
        // A code that was used here is told at once: until then another node takes it.
        let _ = timeout(SHARE_EVERY, throttle.urgent()).await;
        let Some(cluster) = cluster.upgrade() else {
            return;
        };
        up_to_date.resize(cluster.quorums.members(), None);
        let news = portions(throttle.with(|state, _, now_ms| state.untold(now_ms)));
        let mut calls = JoinSet::new();
        for (member, known) in up_to_date.iter_mut().enumerate() {
            if member == cluster.links.me() {
                continue;
            }
            let known = known.take();
            let Ok(peer) = cluster.links.connection(member) else {
                continue;
            };
            let (connection, throttle) = (peer.connection().clone(), Arc::clone(&throttle));
            let news = Arc::clone(&news);
            calls.spawn(async move {
                let told = tell(&connection, known, &news, &throttle).await;
                (member, told)
            });
        }
        while let Some(outcome) = calls.join_next().await {
            match outcome {
                Ok((member, Ok(start))) => up_to_date[member] = start,
                Ok((member, Err(status))) => {
                    debug!(member, %status, "a peer was not told of attempts to log in");
                }
                Err(error) => debug!(%error, "telling a peer of attempts to log in failed"),
            }
        }
    }
}

type Portions = Arc<[Bytes]>;

fn portions(records: Vec<Vec<u8>>) -> Portions {
    records.into_iter().map(Bytes::from).collect()
}

/// Tells one peer what is new, or everything if it is another process than the one
/// that was told before. Returns which process it is.
async fn tell(
    connection: &Connection,
    known: Option<u64>,
    news: &Portions,
    throttle: &LoginThrottle,
) -> Result<Option<u64>, Status> {
    if known.is_some() {
        let start = send(connection, news).await?;
        // A peer that started again has another connection, but it may do so between
        // two rounds.
        if start == known {
            return Ok(start);
        }
    }
    let all = portions(throttle.with(|state, _, now_ms| state.all(now_ms)));
    send(connection, &all).await
}

async fn send(connection: &Connection, records: &Portions) -> Result<Option<u64>, Status> {
    let client = ChargesClient::new(connection.clone());
    let mut start = None;
    for record in records.iter() {
        let request = ShareRequest {
            record: record.clone(),
        };
        start = Some(client.share(request, SHARE_WITHIN).await?.start);
    }
    Ok(start)
}
