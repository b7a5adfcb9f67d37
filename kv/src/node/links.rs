//! Connections to the other nodes, made again whenever they end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sealmoot_authn::roster::Member;
use sealmoot_rpc::{Connection, Connector};
use tracing::{debug, info, warn};

use crate::message::{Reply, Request};
use crate::proto::{NodeReport, ReplicaClient, StatusReply, StatusRequest};
use crate::wire::{reply_from_wire, request_to_wire};

/// How long a peer may take for one message of the protocol.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const RETRY_AFTER_FIRST: Duration = Duration::from_millis(20);
const RETRY_AFTER_MAX: Duration = Duration::from_millis(200);

#[derive(Clone)]
enum State {
    Up(Connection),
    Down(String),
}

struct Link {
    member: Member,
    state: Mutex<State>,
}

/// The links of one node to all members; the one to itself is never used.
pub(super) struct Links {
    me: usize,
    links: Vec<Arc<Link>>,
}

/// A peer that can be asked.
pub(super) struct Peer(Connection);

impl Links {
    /// Links to `members`, of which this node is number `me`. Connections are
    /// made in the background, inside the current runtime.
    #[must_use]
    pub(super) fn start(me: usize, members: &[Member], connector: &Connector) -> Arc<Self> {
        let links: Vec<Arc<Link>> = members
            .iter()
            .map(|member| {
                Arc::new(Link {
                    member: member.clone(),
                    state: Mutex::new(State::Down("not connected yet".to_owned())),
                })
            })
            .collect();
        for (index, link) in links.iter().enumerate() {
            if index != me {
                tokio::spawn(keep_connected(Arc::clone(link), connector.clone()));
            }
        }
        Arc::new(Self { me, links })
    }

    /// The peer's connection, or why there is none.
    ///
    /// # Errors
    /// The cause in a few words.
    pub(super) fn connection(&self, member: usize) -> Result<Peer, String> {
        match self.links[member].state() {
            State::Up(connection) if !connection.is_closed() => Ok(Peer(connection)),
            State::Up(_) => Err("connection lost".to_owned()),
            State::Down(cause) => Err(cause),
        }
    }

    /// Number of this node among the members.
    #[must_use]
    pub(super) fn me(&self) -> usize {
        self.me
    }

    /// The members.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.links.iter().map(|link| &link.member)
    }

    /// How many members can be asked, this node included.
    #[must_use]
    pub(super) fn reachable(&self) -> usize {
        (0..self.links.len())
            .filter(|member| *member == self.me || self.connection(*member).is_ok())
            .count()
    }

    /// Members that cannot be reached, and why.
    #[must_use]
    pub(super) fn troubles(&self) -> Vec<NodeReport> {
        self.links
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != self.me)
            .filter_map(|(index, link)| {
                let cause = self.connection(index).err()?;
                Some(NodeReport {
                    name: link.member.name.to_string(),
                    address: link.member.address.clone(),
                    answered: false,
                    cause,
                })
            })
            .collect()
    }
}

impl Peer {
    /// Asks for one message of the protocol.
    ///
    /// # Errors
    /// The cause in a few words.
    pub(super) async fn ask(&self, request: Request) -> Result<Reply, String> {
        let reply = ReplicaClient::new(self.0.clone())
            .ask(request_to_wire(request), ASK_TIMEOUT)
            .await
            .map_err(|status| status.message().to_owned())?;
        reply_from_wire(reply).map_err(|error| error.to_string())
    }

    /// Asks how the peer is.
    ///
    /// # Errors
    /// The cause in a few words.
    pub(super) async fn status(&self, timeout: Duration) -> Result<StatusReply, String> {
        ReplicaClient::new(self.0.clone())
            .status(StatusRequest {}, timeout)
            .await
            .map_err(|status| status.message().to_owned())
    }

    /// The connection, for other services of the peer.
    #[must_use]
    pub(super) fn connection(&self) -> &Connection {
        &self.0
    }
}

impl Link {
    fn state(&self) -> State {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

async fn keep_connected(link: Arc<Link>, connector: Connector) {
    let name = &link.member.name;
    let mut pause = RETRY_AFTER_FIRST;
    loop {
        match connector
            .connect(&link.member.address, CONNECT_TIMEOUT)
            .await
        {
            // Another member at this address, this very node included, would make
            // one replica count as two.
            Ok(connection) if *connection.peer().key() != link.member.key => {
                warn!(peer = %name, "another node answers at its address");
                link.set(State::Down(
                    "another node answers at its address".to_owned(),
                ));
                connection.close();
            }
            Ok(connection) => {
                info!(peer = %name, "connected");
                pause = RETRY_AFTER_FIRST;
                link.set(State::Up(connection.clone()));
                connection.closed().await;
                info!(peer = %name, "connection lost");
                link.set(State::Down("connection lost".to_owned()));
            }
            Err(error) => {
                debug!(peer = %name, %error, "no connection");
                link.set(State::Down(error.cause()));
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_AFTER_MAX);
    }
}
