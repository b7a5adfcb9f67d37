//! What peers ask of a name service, as programs: whatever they send, a book kept
//! by hand agrees with every answer.
//!
//! | | operands | |
//! |---|---|---|
//! | 0 publish | peer u8, length u16, the request | |
//! | 1 resolve | peer u8, length u16, the request | |
//! | 2 list | peer u8, length u16, the request | |
//! | 3 watch | peer u8, length u16, the request | |
//! | 4 close | index u8 | one of the watches |
//! | 5 end | | the last |
//!
//! Peers are, by their lowest two bits: who may publish, who may read, a stranger
//! whom the server has admitted, and who may only publish.

use std::collections::BTreeMap;
use std::num::NonZeroU8;
use std::sync::{Arc, LazyLock};

use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::{KeyId, SigningKey};
use sealmoot_rpc::binding::{Endpoint, Name, NameRecord, VerifiedRecord, Way};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::channel::{Origin, Transport};
use sealmoot_rpc::prost::Message;
use sealmoot_rpc::{CallContext, ChannelBinding, Code, Execution, Peer, Service, Status};
use sealmoot_rpc_names::limits::WATCHES_PER_PEER_MAX;
use sealmoot_rpc_names::proto::{
    ListRequest, NamesServer, PublishRequest, ResolveReply, ResolveRequest, WatchRequest,
    names_methods,
};
use sealmoot_rpc_names::service::Watch;
use sealmoot_rpc_names::{NameService, Policy, Prefix, Readers, Refusal, Rule};
use tokio::runtime::{Builder, Runtime};

use super::multiplexers::Program;
use crate::{Decoder, Outcome};

pub(super) const ALL: &[Decoder] = &[Decoder {
    name: "name_requests",
    authenticates: false,
    samples,
    check: |bytes| RUNTIME.with(|runtime| runtime.block_on(check(bytes))),
}];

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread()
        .build()
        .expect("no driver, so nothing of the system");
}

const END: u8 = 5;

/// So that a program cannot take seconds; more than one peer may watch at once.
const OPERATIONS_MAX: usize = 100;

/// Names under the prefix, fewer than the samples have.
const NAMES_MAX: usize = 2;

/// Who asks.
static PEERS: LazyLock<[SigningKey; 4]> = LazyLock::new(|| {
    [1, 2, 3, 4].map(|seed| SigningKey::from_seed(&SecretArray::from_bytes([seed; 32])))
});

static SIGNER: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::from_seed(&SecretArray::from_bytes([9; 32])));

/// All that the signer has signed.
static MADE: LazyLock<Vec<VerifiedRecord>> = LazyLock::new(|| {
    [
        ("store/a", 1, u64::MAX),
        ("store/a", 2, u64::MAX),
        ("store/b", 1, u64::MAX),
        ("store/c", 1, u64::MAX),
        // Over long ago.
        ("store/a", 3, 1),
        // In no rule.
        ("shop/a", 1, u64::MAX),
    ]
    .map(|(name, serial, until)| record(name, serial, until).sign(&SIGNER).expect("sound"))
    .into()
});

/// Nobody in the policy has signed it.
static STRANGE: LazyLock<VerifiedRecord> = LazyLock::new(|| {
    let record = record("store/a", 7, u64::MAX);
    record.sign(&PEERS[0]).expect("sound")
});

fn record(name: &str, serial: u64, valid_until_ms: u64) -> NameRecord {
    NameRecord {
        name: name.parse().expect("a name"),
        serial,
        valid_until_ms,
        ttl_seconds: 10,
        services: Vec::new(),
        endpoints: vec![Endpoint {
            way: Way::Tls,
            address: "h:1".to_owned(),
            key_id: KeyId::from_bytes([4; 32]),
            weight: NonZeroU8::MIN,
        }],
    }
}

fn id(peer: usize) -> KeyId {
    PEERS[peer].verifying_key().key_id()
}

fn may_publish(peer: usize) -> bool {
    peer == 0 || peer == 3
}

fn may_read(peer: usize) -> bool {
    peer <= 1
}

fn policy() -> Policy {
    let rule = Rule {
        publishers: [id(0), id(3)].into(),
        signers: vec![SIGNER.verifying_key().key_id()],
        readers: Readers::Keys([id(0), id(1)].into()),
        names_max: NAMES_MAX,
    };
    let prefix = "store".parse().expect("a prefix");
    Policy::new().rule(prefix, rule).expect("the only one")
}

fn samples() -> Vec<Vec<u8>> {
    let ask = |operation: u8, peer: u8, request: Vec<u8>| {
        let length = u16::try_from(request.len()).expect("short");
        let mut bytes = vec![operation, peer];
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&request);
        bytes
    };
    let publish = |peer, record: &VerifiedRecord| {
        let record = record.bytes().clone();
        ask(0, peer, PublishRequest { record }.encode_to_vec())
    };
    let resolve = |peer, name: &str| {
        let name = name.to_owned();
        ask(1, peer, ResolveRequest { name }.encode_to_vec())
    };
    let list = |peer, prefix: &str, after: &str| {
        let (prefix, after) = (prefix.to_owned(), after.to_owned());
        ask(2, peer, ListRequest { prefix, after }.encode_to_vec())
    };
    let watch = |peer, name: &str| {
        let name = name.to_owned();
        ask(3, peer, WatchRequest { name }.encode_to_vec())
    };
    let program = |operations: &[Vec<u8>]| [operations.concat(), vec![END]].concat();
    vec![
        program(&[]),
        program(&[
            watch(1, "store/a"),
            publish(0, &MADE[0]),
            resolve(1, "store/a"),
            publish(3, &MADE[1]),
            publish(0, &MADE[0]),
            publish(0, &MADE[2]),
            publish(0, &MADE[3]),
            list(1, "store", ""),
            list(0, "", "store/a"),
            list(2, "", ""),
            vec![4, 0],
        ]),
        program(&[
            publish(1, &MADE[0]),
            publish(0, &MADE[4]),
            publish(0, &MADE[5]),
            publish(0, &STRANGE),
            resolve(2, "store/a"),
            resolve(1, "store/b"),
            watch(2, "store/a"),
            resolve(1, "No Name"),
        ]),
    ]
}

async fn check(bytes: &[u8]) -> Outcome {
    let mut judge = Judge::new();
    let mut program = Program(bytes);
    let mut outcome = Outcome::Refused;
    for _ in 0..OPERATIONS_MAX {
        match judge.step(&mut program).await {
            Some(true) => {}
            Some(false) => {
                if program.0.is_empty() {
                    outcome = Outcome::Accepted;
                }
                break;
            }
            None => break,
        }
    }
    judge.end().await;
    outcome
}

struct Judge {
    service: NameService,
    server: NamesServer<NameService>,
    peers: Vec<Peer>,
    /// The newest of each name.
    book: BTreeMap<Name, &'static VerifiedRecord>,
    /// With who watches.
    watches: Vec<(usize, Name, Watch)>,
}

impl Judge {
    fn new() -> Self {
        let service = NameService::in_memory(policy());
        let peer = |key: &SigningKey| {
            let binding = ChannelBinding::from_bytes([0; 32]);
            let key = key.verifying_key();
            Peer::danger_assume(
                key,
                binding,
                Origin::Memory,
                Transport::Memory,
                Arc::new(()),
            )
        };
        Self {
            server: NamesServer::new(service.clone()),
            service,
            peers: PEERS.iter().map(peer).collect(),
            book: BTreeMap::new(),
            watches: Vec::new(),
        }
    }

    /// `false` behind the end.
    async fn step(&mut self, program: &mut Program<'_>) -> Option<bool> {
        let operation = program.u8()?;
        match operation {
            4 => {
                let index = usize::from(program.u8()?);
                if index < self.watches.len() {
                    self.watches.swap_remove(index);
                }
            }
            END => return Some(false),
            0..4 => {
                let peer = usize::from(program.u8()? % 4);
                let length = usize::from(program.u16()?);
                let request = program.0.split_off(..length)?;
                match operation {
                    0 => self.publish(peer, request).await,
                    1 => self.resolve(peer, request).await,
                    2 => self.list(peer, request),
                    _ => self.watch(peer, request),
                }
            }
            _ => return None,
        }
        assert_eq!(self.service.watches(), self.watches.len());
        Some(true)
    }

    async fn call(&self, peer: usize, method: u64, request: &[u8]) -> Result<Bytes, Status> {
        let context = CallContext::new(self.peers[peer].clone(), None);
        let request = Bytes::copy_from_slice(request);
        self.server.call(context, method, request).await
    }

    async fn publish(&mut self, peer: usize, request: &[u8]) {
        let wanted = self.publishable(peer, request);
        let outcome = self.call(peer, names_methods::PUBLISH, request).await;
        assert_eq!(outcome.is_ok(), wanted.is_some(), "{outcome:?}");
        match (outcome, wanted) {
            (Ok(_), Some(record)) => {
                self.book.insert(record.record().name.clone(), record);
            }
            (Err(status), _) => assert_eq!(status.execution(), Execution::NotStarted),
            (Ok(_), None) => {}
        }
    }

    /// The record in a request, if the service must take it.
    fn publishable(&self, peer: usize, request: &[u8]) -> Option<&'static VerifiedRecord> {
        let request = PublishRequest::decode(request).ok()?;
        let record = MADE.iter().find(|made| made.bytes() == &request.record)?;
        let new = record.record();
        let is_covered = new.name.as_str().starts_with("store");
        let is_over = new.valid_until_ms < u64::MAX;
        let may_follow = match self.book.get(&new.name) {
            Some(held) => held.record().serial <= new.serial,
            None => self.book.len() < NAMES_MAX,
        };
        (may_publish(peer) && is_covered && !is_over && may_follow).then_some(record)
    }

    async fn resolve(&self, peer: usize, request: &[u8]) {
        let outcome = self.call(peer, names_methods::RESOLVE, request).await;
        let name = ResolveRequest::decode(request)
            .ok()
            .and_then(|request| request.name.parse::<Name>().ok());
        match (outcome, name) {
            (Ok(reply), Some(name)) => {
                let reply = ResolveReply::decode(reply).expect("a reply");
                assert!(may_read(peer));
                assert_eq!(&reply.record, self.book[&name].bytes());
            }
            (Ok(_), None) => panic!("an answer to no name"),
            (Err(status), None) => assert_eq!(status.code(), Code::InvalidArgument),
            // Who may not read does not learn what there is.
            (Err(status), Some(name)) => {
                let may_read = may_read(peer) && is_covered(&name);
                let code = if may_read {
                    assert!(!self.book.contains_key(&name));
                    Code::NotFound
                } else {
                    Code::PermissionDenied
                };
                assert_eq!(status.code(), code, "{name}");
            }
        }
    }

    fn list(&self, peer: usize, request: &[u8]) {
        let Ok(request) = ListRequest::decode(request) else {
            return;
        };
        let Ok(prefix) = request.prefix.parse::<Prefix>() else {
            return;
        };
        let after = request.after.parse::<Name>().ok();
        let listed = self.service.list(&id(peer), &prefix, after.as_ref());
        let found: Vec<_> = listed.into_iter().map(|it| (it.name, it.serial)).collect();
        let is_listed = |name: &Name| {
            may_read(peer) && prefix.covers(name) && after.as_ref().is_none_or(|after| name > after)
        };
        let names = self.book.iter().filter(|(name, _)| is_listed(name));
        let wanted: Vec<_> = names
            .map(|(name, held)| (name.clone(), held.record().serial))
            .collect();
        assert_eq!(found, wanted);
    }

    fn watch(&mut self, peer: usize, request: &[u8]) {
        let Ok(request) = WatchRequest::decode(request) else {
            return;
        };
        let Ok(name) = request.name.parse::<Name>() else {
            return;
        };
        match self.service.watch(&id(peer), &name) {
            Ok(watch) => {
                assert!(may_read(peer) && is_covered(&name));
                self.watches.push((peer, name, watch));
            }
            Err(Refusal::Denied) => assert!(!(may_read(peer) && is_covered(&name))),
            Err(Refusal::TooManyWatches) => {
                let theirs = self.watches.iter().filter(|(of, ..)| *of == peer).count();
                assert_eq!(theirs, WATCHES_PER_PEER_MAX);
            }
            Err(refused) => panic!("{refused}"),
        }
    }

    /// Each watch tells the newest record, and nothing else; then nothing is held.
    async fn end(mut self) {
        for (_, name, watch) in &mut self.watches {
            let newest = tokio::select! {
                biased;
                record = watch.next() => Some(record),
                () = std::future::ready(()) => None,
            };
            let newest = newest.as_ref().map(|it| it.bytes());
            assert_eq!(newest, self.book.get(name).map(|it| it.bytes()));
        }
        self.watches.clear();
        assert_eq!(self.service.watches(), 0);
        self.service.stop().await;
    }
}

/// As the only rule has it.
fn is_covered(name: &Name) -> bool {
    name.as_str().split('/').next() == Some("store")
}
