//! Asking running nodes for the signed records that others made.
//!
//! Records are no secret to whoever signs them, and nobody else's business. So who asks
//! proves to hold the root's key or a delegate's, and a delegate gets no more than it
//! needs: the realm's roles and revocations, and the users whom it made.
//!
//! ```text
//! proof   chain: length u32, the delegations down to the key, nothing for the root's |
//!         signature 64 in the domain "directory/fetch" over:
//!         realm: KeyId 32 | node: KeyId 32 | channel binding 32
//! ```
//!
//! A proof is good for one channel with one node.

use std::sync::Arc;
use std::time::Duration;

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::random::RandomError;
use sealmoot_crypto::signature::{KeyId, Signature, SigningKey};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{ChannelBinding, Code, Connector, Limits};

use crate::cli::escaped;
use crate::delegation::{CHAIN_BYTES_MAX, Chain, DelegationError};
use crate::pin::{RealmPin, TrustedNode};
use crate::presentation::Presentation;
use crate::proto::{DirectoryClient, FetchRequest};
use crate::records::SignedRecord;
use crate::roots::Roots;
use crate::users::{USERS_MAX, UserDirectory};

const DOMAIN: &str = "directory/fetch";
/// Longest proof in bytes.
pub const PROOF_LENGTH_MAX: usize = 4 + CHAIN_BYTES_MAX + 64;
/// Most bytes of records in one answer to who is no node: what a stranger's connection
/// may hold bounds it.
pub const FETCH_BYTES_MAX: usize = 512 * 1024;
/// A node that never comes to an end must not keep anybody waiting.
const PORTIONS_MAX: usize = USERS_MAX / 64;
const PATIENCE: Duration = Duration::from_secs(2);
const PATIENCE_TOTAL: Duration = Duration::from_secs(30);

/// Why a proof was not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It is no proof.
    #[error("not a proof: {0}")]
    Malformed(#[from] EncodingError),
    /// The chain is not to be believed.
    #[error(transparent)]
    Delegation(#[from] DelegationError),
    /// The chain begins with a former root: whoever has its key could make delegates.
    #[error("the realm was handed over; the delegation is by its former root")]
    FormerRoot,
    /// The key of root or delegate did not sign this channel.
    #[error("the proof was not signed by who it says in this channel")]
    BadSignature,
}

/// Who holds a key that signs here, and how that is proved.
pub struct Prover {
    issuer: SigningKey,
    roots: Roots,
    chain: Option<Chain>,
}

impl Prover {
    /// Speaks for the root, or with a chain for the delegate at its end.
    #[must_use]
    pub fn new(issuer: SigningKey, roots: Roots, chain: Option<Chain>) -> Self {
        Self {
            issuer,
            roots,
            chain,
        }
    }

    /// The realm's roots as who asks knows them.
    #[must_use]
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// The proof for one channel with one node.
    #[must_use]
    pub fn prove(&self, node: &KeyId, channel: &ChannelBinding) -> Vec<u8> {
        let signed = transcript(&self.roots, node, channel);
        let mut writer = Writer::new();
        let chain = self.chain.as_ref().map(Chain::encode);
        writer.bytes(&chain.unwrap_or_default());
        writer.fixed(&self.issuer.sign(DOMAIN, &signed).to_bytes());
        writer.finish()
    }
}

/// Whose key was proved in this channel: the delegations down to it, none for the
/// root's. Whether they hold now and were not revoked is for the caller to ask.
///
/// # Errors
/// [`ProofError`].
pub fn verify_proof(
    proof: &[u8],
    roots: &Roots,
    node: &KeyId,
    channel: &ChannelBinding,
) -> Result<Option<Chain>, ProofError> {
    let mut reader = Reader::new(proof);
    let chain = reader.bytes(CHAIN_BYTES_MAX)?;
    let signature = Signature::from_bytes(reader.array()?);
    reader.finish()?;
    let chain = match chain {
        [] => None,
        bytes => Some(Chain::decode(bytes, roots)?),
    };
    if chain
        .as_ref()
        .is_some_and(|chain| chain.root() < roots.number())
    {
        return Err(ProofError::FormerRoot);
    }
    let issuer = chain
        .as_ref()
        .map_or(*roots.current(), |chain| chain.last().key);
    issuer
        .verify(DOMAIN, &transcript(roots, node, channel), &signature)
        .map_err(|_| ProofError::BadSignature)?;
    Ok(chain)
}

fn transcript(roots: &Roots, node: &KeyId, channel: &ChannelBinding) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.fixed(roots.realm().as_bytes());
    writer.fixed(node.as_bytes());
    writer.fixed(channel.as_bytes());
    writer.finish()
}

/// What nodes answered.
#[derive(Default)]
pub struct Fetched {
    /// Verified records, by several nodes maybe one several times.
    pub records: Vec<SignedRecord>,
    /// The realm's roots, when a node showed more of them than whoever asks knows.
    pub more_roots: Option<Roots>,
    /// Of each address that could not be asked, why.
    pub failures: Vec<(String, String)>,
    /// Why a node refuses to speak with who asks.
    pub refused: Option<String>,
}

/// Asks nodes for what they hold and `held` does not.
///
/// # Errors
/// When the random source fails.
pub async fn fetch(
    prover: Prover,
    held: &UserDirectory,
    addresses: Vec<String>,
) -> Result<Fetched, RandomError> {
    let key = SigningKey::generate()?;
    let pin = RealmPin::new(prover.roots.realm(), &Presentation::Anonymous);
    if let Err(error) = pin.know_roots(&prover.roots) {
        let failed = |address| (address, error.to_string());
        return Ok(Fetched {
            failures: addresses.into_iter().map(failed).collect(),
            ..Fetched::default()
        });
    }
    let pin = Arc::new(pin);
    let connector = match Connector::new(&key, Arc::clone(&pin) as _, Limits::default()) {
        Ok(connector) => Arc::new(connector),
        Err(error) => {
            let failed = |address| (address, error.to_string());
            return Ok(Fetched {
                failures: addresses.into_iter().map(failed).collect(),
                ..Fetched::default()
            });
        }
    };
    let prover = Arc::new(prover);
    let request = FetchRequest {
        digest: held.digest().to_vec().into(),
        after: String::new(),
        buckets: held.bucket_digests().into(),
        roles: held.roles_digest().to_vec().into(),
        revoked: held.revoked_digest().to_vec().into(),
        revocations: held.revocations_digest().to_vec().into(),
        revoked_nodes: held.revoked_nodes_digest().to_vec().into(),
        proof: Bytes::new(),
        roots: held.root_number(),
        settled_root: held.settled_root(),
    };
    let tasks: Vec<_> = addresses
        .into_iter()
        .map(|address| {
            let (connector, prover) = (Arc::clone(&connector), Arc::clone(&prover));
            let (called, request) = (address.clone(), request.clone());
            let task = tokio::spawn(async move {
                let fetched = fetch_from(&connector, &prover, &called, request);
                tokio::time::timeout(PATIENCE_TOTAL, fetched)
                    .await
                    .unwrap_or_else(|_| Err(Unanswered::Failed("timed out".to_owned())))
            });
            (address, task)
        })
        .collect();
    let mut fetched = Fetched::default();
    for (address, task) in tasks {
        let failed = |error: tokio::task::JoinError| Err(Unanswered::Failed(error.to_string()));
        match task.await.unwrap_or_else(failed) {
            Ok(records) => fetched.records.extend(records),
            Err(Unanswered::Refused(why)) => fetched.refused = Some(escaped(&why)),
            Err(Unanswered::Failed(why)) => fetched.failures.push((address, escaped(&why))),
        }
    }
    let number = prover.roots.number();
    fetched.more_roots = pin.roots().filter(|roots| roots.number() > number);
    Ok(fetched)
}

/// Why one node gave nothing.
enum Unanswered {
    Refused(String),
    Failed(String),
}

async fn fetch_from(
    connector: &Connector,
    prover: &Prover,
    address: &str,
    mut request: FetchRequest,
) -> Result<Vec<SignedRecord>, Unanswered> {
    let connection = connector
        .connect(address, PATIENCE)
        .await
        .map_err(|error| Unanswered::Failed(error.cause()))?;
    let peer = connection.peer();
    // What this node or another showed in its handshake may be more than was known here.
    let node = peer.claims::<TrustedNode>();
    let known = node.map_or_else(|| prover.roots.clone(), |node| node.roots.clone());
    request.proof = prover.prove(&peer.key_id(), peer.binding()).into();
    let directory = DirectoryClient::new(connection);
    let mut records = Vec::new();
    for _ in 0..PORTIONS_MAX {
        let reply =
            directory
                .fetch(request.clone(), PATIENCE)
                .await
                .map_err(|status| match status.code() {
                    Code::PermissionDenied => Unanswered::Refused(status.message().to_owned()),
                    _ => Unanswered::Failed(status.message().to_owned()),
                })?;
        for bytes in &reply.records {
            // A node is not believed: what it says is somebody's whom the realm trusts.
            let record = SignedRecord::decode(bytes, &known);
            let bad = |error| Unanswered::Failed(format!("a record of it: {error}"));
            records.push(record.map_err(bad)?);
        }
        if reply.next.is_empty() {
            return Ok(records);
        }
        request.after = reply.next;
    }
    Err(Unanswered::Failed("it has no end".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delegation::tests::World;

    #[test]
    fn a_proof_is_good_for_its_key_channel_and_node_only() {
        let world = World::new();
        let root = world.root.verifying_key();
        let (node, other) = (world.erin.verifying_key().key_id(), root.key_id());
        let channel = ChannelBinding::from_bytes([1; 32]);
        let key = SigningKey::from_seed(&world.dana.to_seed());
        let dana = Prover::new(key, Roots::sole(root), Some(world.chain()));
        let proof = dana.prove(&node, &channel);
        assert!(proof.len() <= PROOF_LENGTH_MAX);
        let judge =
            |proof: &[u8], node, channel| verify_proof(proof, &Roots::sole(root), node, channel);
        let chain = judge(&proof, &node, &channel).expect("believed");
        assert_eq!(chain.expect("a chain").path(), world.chain().path());
        let refused = Some(ProofError::BadSignature);
        assert_eq!(judge(&proof, &other, &channel).err(), refused);
        let another = ChannelBinding::from_bytes([2; 32]);
        assert_eq!(judge(&proof, &node, &another).err(), refused);
        for at in 0..proof.len() {
            let mut changed = proof.clone();
            changed[at] ^= 1;
            assert!(judge(&changed, &node, &channel).is_err(), "byte {at}");
            assert!(judge(&proof[..at], &node, &channel).is_err());
        }
    }

    #[test]
    fn a_chain_by_a_former_root_proves_nothing_once_there_is_a_later_one() {
        use crate::delegation::tests::chain_of;
        use crate::roots::tests::Keys;
        let keys = Keys::new(3);
        let (first, second) = (keys.first(), keys.after(1));
        let dana = SigningKey::generate().expect("random");
        let node = keys.0[2].verifying_key().key_id();
        let channel = ChannelBinding::from_bytes([1; 32]);
        let prove = |chain: Chain| {
            let key = SigningKey::from_seed(&dana.to_seed());
            Prover::new(key, second.clone(), Some(chain)).prove(&node, &channel)
        };
        let former = prove(chain_of(&first, &keys.0[0], &dana));
        assert!(verify_proof(&former, &first, &node, &channel).is_ok());
        assert_eq!(
            verify_proof(&former, &second, &node, &channel).err(),
            Some(ProofError::FormerRoot)
        );
        let anew = prove(chain_of(&second, &keys.0[1], &dana));
        assert!(verify_proof(&anew, &second, &node, &channel).is_ok());
    }

    #[test]
    fn a_delegate_does_not_pass_for_the_root_nor_a_stranger_for_a_delegate() {
        let world = World::new();
        let root = world.root.verifying_key();
        let node = root.key_id();
        let channel = ChannelBinding::from_bytes([1; 32]);
        let of = |key: &SigningKey| SigningKey::from_seed(&key.to_seed());
        let as_root = Prover::new(of(&world.dana), Roots::sole(root), None);
        let as_dana = Prover::new(of(&world.erin), Roots::sole(root), Some(world.chain()));
        for prover in [as_root, as_dana] {
            let proof = prover.prove(&node, &channel);
            let refused = verify_proof(&proof, &Roots::sole(root), &node, &channel).err();
            assert_eq!(refused, Some(ProofError::BadSignature));
        }
        let proof = Prover::new(of(&world.root), Roots::sole(root), None).prove(&node, &channel);
        assert!(matches!(
            verify_proof(&proof, &Roots::sole(root), &node, &channel),
            Ok(None)
        ));
    }
}
