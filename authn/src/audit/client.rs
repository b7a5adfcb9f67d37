//! Asking nodes for their audit logs, with an administrator's session.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sealmoot_crypto::encoding::{EncodingError, Reader};
use sealmoot_crypto::sealed_box::PrivateKey;
use sealmoot_crypto::signature::{SigningKey, VerifyingKey};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{ConnectError, Connection, Connector, Limits, ReplyStream, Status};

use super::chain::{Entry, chain_id, decode_entries};
use super::check::{Fault, Report, Walk, Witnessed};
use super::first_key;
use super::head::{HeadError, SignedHead};
use super::proto::tail_request::Begin;
use super::proto::{AuditClient, HeadRequest, TailReply, TailRequest, WitnessedRequest};
use crate::context::Context;
use crate::pin::TrustedNode;
use crate::presentation::Presentation;
use crate::realm_id::RealmId;
use crate::roster::Member;

/// How long a stream of events may last; then it is asked for again.
const STREAM_WITHIN: Duration = Duration::from_secs(240);

/// Why a node's log was not had.
#[derive(Debug, thiserror::Error)]
pub enum AuditClientError {
    /// The node could not be reached.
    #[error("{}", .0.cause())]
    Connect(#[from] ConnectError),
    /// The node refused or failed.
    #[error("{}", .0.message())]
    Status(#[from] Status),
    /// The node's answer does not decode.
    #[error("the node's answer does not decode: {0}")]
    Malformed(#[from] EncodingError),
    /// The node shows a head that it did not sign.
    #[error("the node's answer is not to be believed: {0}")]
    Head(#[from] HeadError),
    /// A session key could not be used.
    #[error("{0}")]
    Internal(String),
}

/// A node that can be asked.
pub struct AuditNode {
    /// The node.
    pub member: Member,
    /// All nodes of its cluster.
    pub members: Vec<Member>,
    realm: RealmId,
    client: AuditClient<Connection>,
    timeout: Duration,
}

/// A node's own word about its log.
pub struct OwnWord {
    /// Where the log stands.
    pub head: SignedHead,
    /// Where what is kept of it begins.
    pub oldest: SignedHead,
    /// The first key of its chain, sealed to the realm.
    pub sealed_first_key: Bytes,
}

/// Heads of each node that others remember.
pub type Witnesses = BTreeMap<String, Vec<Witnessed>>;

/// Makes connections with the session of `context`.
///
/// # Errors
/// [`AuditClientError::Internal`].
pub fn connector(context: &Context) -> Result<Connector, AuditClientError> {
    let key = SigningKey::from_seed(&context.session_seed);
    let presentation = Presentation::Session {
        session: context.proof.session.clone(),
        receipt: context.proof.receipt.clone(),
    };
    let pin = Arc::new(context.pin(&presentation));
    Connector::new(&key, pin, Limits::default())
        .map_err(|error| AuditClientError::Internal(error.to_string()))
}

impl AuditNode {
    /// Connects to the node at an address.
    ///
    /// # Errors
    /// [`AuditClientError`].
    pub async fn connect(
        connector: &Connector,
        address: &str,
        timeout: Duration,
    ) -> Result<Self, AuditClientError> {
        let connection = connector.connect(address, timeout).await?;
        let node = connection
            .peer()
            .claims::<TrustedNode>()
            .cloned()
            .ok_or_else(|| AuditClientError::Internal("the node was not judged".to_owned()))?;
        Ok(Self {
            realm: node.roster.realm(),
            members: node.roster.members().to_vec(),
            member: node.member,
            client: AuditClient::new(connection),
            timeout,
        })
    }

    /// The events that `begin` says, at most `limit` of them (0 for all), and those to
    /// come if `follow`.
    ///
    /// # Errors
    /// [`AuditClientError`].
    pub async fn tail(
        &self,
        begin: Begin,
        limit: u64,
        follow: bool,
    ) -> Result<Events, AuditClientError> {
        let request = TailRequest {
            begin: Some(begin),
            limit,
            follow,
        };
        Ok(Events(self.client.tail(request, STREAM_WITHIN).await?))
    }

    /// What the node says of its log.
    ///
    /// # Errors
    /// [`AuditClientError`].
    pub async fn own_word(&self) -> Result<OwnWord, AuditClientError> {
        let reply = self.client.head(HeadRequest {}, self.timeout).await?;
        let believed = |bytes: &[u8]| SignedHead::verify(bytes, &self.realm, &self.member.key);
        Ok(OwnWord {
            head: believed(&reply.head)?,
            oldest: believed(&reply.oldest)?,
            sealed_first_key: reply.sealed_first_key,
        })
    }

    /// Adds what the node remembers of the others. Heads that it could have made up are
    /// left out: each counts for the signature of the node whose head it is.
    ///
    /// # Errors
    /// [`AuditClientError`].
    pub async fn add_witnessed(&self, witnesses: &mut Witnesses) -> Result<(), AuditClientError> {
        let reply = self
            .client
            .witnessed(WitnessedRequest {}, self.timeout)
            .await?;
        for told in reply.heads {
            let Some(key) = self.key_of(&told.node) else {
                continue;
            };
            if let Ok(head) = SignedHead::verify(&told.head, &self.realm, &key) {
                let by = self.member.name.to_string();
                let of_node = witnesses.entry(told.node).or_default();
                of_node.push(Witnessed { by, head });
            }
        }
        Ok(())
    }

    /// Verifies the node's log. What others remember has to be asked for before.
    ///
    /// # Errors
    /// [`AuditClientError`] when the node does not answer; what is wrong with its log
    /// is the result.
    pub async fn verify(
        &self,
        audit_key: &PrivateKey,
        witnesses: &Witnesses,
    ) -> Result<Report, AuditClientError> {
        let own = self.own_word().await?;
        let owner = self.member.key.key_id();
        let sealed = &own.sealed_first_key;
        let found = |fault| Report {
            events: 0,
            witnessed: 0,
            faults: vec![fault],
        };
        let Ok(first) = first_key::open(audit_key, &self.realm, &owner, sealed) else {
            return Ok(found(Fault::FirstKey));
        };
        let chain_id = chain_id(&self.realm, &owner, sealed);
        if own.head.chain_id() != chain_id {
            return Ok(found(Fault::FirstKey));
        }
        if own.oldest.chain_id() != chain_id {
            return Ok(found(Fault::Beginning));
        }
        let (oldest, head) = (own.oldest.head(), own.head.head());
        let none = Vec::new();
        let witnessed = witnesses.get(self.member.name.as_str()).unwrap_or(&none);
        let mut walk = Walk::begin(&first, chain_id, oldest, head, witnessed);
        let count = head.records().saturating_sub(oldest.records());
        if count > 0 {
            let begin = Begin::From(oldest.records());
            let mut events = self.tail(begin, count, false).await?;
            while let Some(entries) = events.next().await? {
                for entry in &entries {
                    walk.entry(entry);
                }
                // A node that lies may send for ever.
                if walk.is_over() {
                    break;
                }
            }
        }
        Ok(walk.finish())
    }

    fn key_of(&self, name: &str) -> Option<VerifyingKey> {
        let mut members = self.members.iter();
        Some(members.find(|member| member.name.as_str() == name)?.key)
    }
}

/// Events as they come.
pub struct Events(ReplyStream<TailReply>);

impl Events {
    /// The next ones; nobody has verified them.
    ///
    /// # Errors
    /// [`AuditClientError`].
    pub async fn next(&mut self) -> Result<Option<Vec<Entry>>, AuditClientError> {
        let Some(reply) = self.0.next().await? else {
            return Ok(None);
        };
        let mut reader = Reader::new(&reply.entries);
        let entries = decode_entries(&mut reader)?;
        reader.finish()?;
        Ok(Some(entries))
    }
}
