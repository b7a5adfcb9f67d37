//! Connections to the other nodes, made again whenever they end.

use std::sync::Arc;
use std::time::Duration;

use sealmoot_authn::roster::Member;
use sealmoot_crypto::signature::{KeyId, VerifyingKey};
use sealmoot_rpc::{Connection, Connector, DialError, Link};
use tracing::{debug, info, warn};

use crate::attest::Attested;
use crate::clock::Clock;
use crate::message::{Reply, Request};
use crate::proto::{
    AttestRequest, BeginLifeRequest, NodeReport, Position, ReplicaClient, StatusReply,
    StatusRequest,
};
use crate::wire::{attested_from_wire, reply_from_wire, request_to_wire};

/// How long a peer may take for one message of the protocol.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The links of one node to all other members.
pub(super) struct Links {
    me: usize,
    members: Vec<Member>,
    /// As many as members; none to the node itself.
    links: Vec<Option<Link>>,
}

/// A peer that can be asked.
pub(super) struct Peer(Connection);

impl Links {
    /// Links to `members`, of which this node is number `me`. Connections are
    /// made in the background, inside the current runtime.
    #[must_use]
    pub(super) fn start(me: usize, members: &[Member], connector: &Connector) -> Arc<Self> {
        let links = members
            .iter()
            .enumerate()
            .map(|(index, member)| (index != me).then(|| keep_connected(member, connector)))
            .collect();
        Arc::new(Self {
            me,
            members: members.to_vec(),
            links,
        })
    }

    /// The peer's connection, or why there is none.
    ///
    /// # Errors
    /// The cause in a few words.
    pub(super) fn connection(&self, member: usize) -> Result<Peer, String> {
        match &self.links[member] {
            Some(link) => link.connection().map(Peer),
            None => Err("this node itself".to_owned()),
        }
    }

    /// Closes the connections to members with such keys; what connects anew judges them
    /// again.
    pub(super) fn cut(&self, is_over: impl Fn(&KeyId) -> bool) {
        for (member, link) in self.members.iter().zip(&self.links) {
            if let Some(link) = link
                && let Ok(connection) = link.connection()
                && is_over(&connection.peer().key_id())
            {
                warn!(peer = %member.name, "closed the connection to a revoked node");
                connection.close();
            }
        }
    }

    /// Number of this node among the members.
    #[must_use]
    pub(super) fn me(&self) -> usize {
        self.me
    }

    /// The number by which a member is remembered: the first eight bytes of its key's
    /// identifier.
    #[must_use]
    pub(super) fn number(&self, member: usize) -> u64 {
        number_of(&self.members[member].key)
    }

    /// The members.
    pub(super) fn members(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.iter()
    }

    /// How many members can be asked, this node included.
    #[must_use]
    pub(super) fn reachable(&self) -> usize {
        (0..self.members.len())
            .filter(|member| *member == self.me || self.connection(*member).is_ok())
            .count()
    }

    /// Members that cannot be reached, and why.
    #[must_use]
    pub(super) fn troubles(&self) -> Vec<NodeReport> {
        self.members
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != self.me)
            .filter_map(|(index, member)| {
                let cause = self.connection(index).err()?;
                Some(NodeReport {
                    name: member.name.to_string(),
                    address: member.address.clone(),
                    answered: false,
                    cause,
                })
            })
            .collect()
    }
}

impl Peer {
    /// Tells how far this node's log is, and learns what the peer remembers of it and
    /// how far its own is.
    ///
    /// # Errors
    /// The cause in a few words.
    pub(super) async fn attest(
        &self,
        own: Attested,
        timeout: Duration,
    ) -> Result<(Option<Attested>, Option<Attested>), String> {
        let request = AttestRequest {
            position: Some(own.into()),
        };
        let reply = ReplicaClient::new(self.0.clone())
            .attest(request, timeout)
            .await
            .map_err(|status| status.message().to_owned())?;
        let position = |position: Option<Position>| {
            let position = position.as_ref().map(attested_from_wire);
            position.transpose().map_err(|error| error.to_string())
        };
        Ok((position(reply.remembered)?, position(reply.position)?))
    }

    /// Tells that this node has begun another life, of which the log is at `own`, and has
    /// the peer refuse ballots up to `clock`; with [`Clock::ZERO`] it only learns the peer's
    /// clock. Returns that, and the highest revision of any key that was removed there.
    ///
    /// # Errors
    /// The cause in a few words.
    pub(super) async fn begin_life(
        &self,
        own: Attested,
        clock: Clock,
    ) -> Result<(Clock, u64), String> {
        let request = BeginLifeRequest {
            position: Some(own.into()),
            clock: clock.0,
        };
        let reply = ReplicaClient::new(self.0.clone())
            .begin_life(request, ASK_TIMEOUT)
            .await
            .map_err(|status| status.message().to_owned())?;
        Ok((Clock(reply.clock), reply.revision_floor))
    }

    /// Asks for one message of the protocol; with the answer comes how far the peer's
    /// log is.
    ///
    /// # Errors
    /// The cause in a few words.
    pub(super) async fn ask(&self, request: Request) -> Result<(Reply, Option<Attested>), String> {
        let reply = ReplicaClient::new(self.0.clone())
            .ask(request_to_wire(request), ASK_TIMEOUT)
            .await
            .map_err(|status| status.message().to_owned())?;
        let position = reply.position.as_ref().map(attested_from_wire).transpose();
        let position = position.map_err(|error| error.to_string())?;
        let reply = reply_from_wire(reply).map_err(|error| error.to_string())?;
        Ok((reply, position))
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

/// A node's number.
pub(super) fn number_of(key: &VerifyingKey) -> u64 {
    let mut number = [0u8; 8];
    number.copy_from_slice(&key.key_id().as_bytes()[..8]);
    u64::from_be_bytes(number)
}

/// Keeps a connection to `member`, and to nobody else who answers at its address:
/// another member there, this very node included, would make one replica count as
/// two.
fn keep_connected(member: &Member, connector: &Connector) -> Link {
    let (member, connector) = (Arc::new(member.clone()), connector.clone());
    Link::start(move || {
        let (member, connector) = (Arc::clone(&member), connector.clone());
        async move {
            let name = &member.name;
            let connection = connector
                .connect(&member.address, CONNECT_TIMEOUT)
                .await
                .inspect_err(|error| debug!(peer = %name, %error, "no connection"))?;
            if *connection.peer().key() != member.key {
                warn!(peer = %name, "another node answers at its address");
                connection.close();
                let cause = "another node answers at its address".to_owned();
                return Err(DialError::Refused(cause));
            }
            info!(peer = %name, "connected");
            Ok(connection)
        }
    })
}
