//! Name services that lie: what the resolver says of each.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{
    OTHER_SIGNER, PATIENCE, PUBLISHER, READER, connect, id, key, name, policy, serve, serve_names,
    sign, signed, unsigned,
};
use sealmoot_crypto::encoding::EncodingError;
use sealmoot_rpc::binding::cache::{Cache, Lookup, Moment};
use sealmoot_rpc::binding::{RecordError, ResolveError, Resolver, VerifiedRecord, unix_ms};
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::limits::binding::RECORD_BYTES_MAX;
use sealmoot_rpc::{
    CallContext, Code, Connection, Execution, Replies, ReplyFuture, ServerHandle, Service, Status,
};
use sealmoot_rpc_names::proto::{
    ListReply, ListRequest, Names, NamesServer, PublishReply, PublishRequest, ResolveReply,
    ResolveRequest, WatchReply, WatchRequest, names_methods,
};
use sealmoot_rpc_names::{FirstOf, NameService, NameServiceResolver};

/// Answers every question so; without an answer, never.
#[derive(Clone)]
struct Liar(Option<Result<Bytes, Status>>);

impl Names for Liar {
    async fn publish(&self, _: CallContext, _: PublishRequest) -> Result<PublishReply, Status> {
        Ok(PublishReply {})
    }

    async fn resolve(&self, _: CallContext, _: ResolveRequest) -> Result<ResolveReply, Status> {
        match self.0.clone() {
            Some(answer) => answer.map(|record| ResolveReply { record }),
            None => std::future::pending().await,
        }
    }

    async fn list(
        &self,
        _: CallContext,
        _: ListRequest,
        _: Replies<ListReply>,
    ) -> Result<(), Status> {
        Ok(())
    }

    async fn watch(
        &self,
        _: CallContext,
        _: WatchRequest,
        _: Replies<WatchReply>,
    ) -> Result<(), Status> {
        Ok(())
    }
}

/// Replies with bytes that are no message.
struct Babbler;

impl Service for Babbler {
    fn methods(&self) -> &[u64] {
        &names_methods::ALL
    }

    fn call(&self, _: CallContext, _: u64, _: Bytes) -> ReplyFuture {
        Box::pin(async { Ok(Bytes::from_static(&[0xff; 40])) })
    }
}

fn resolver(connection: Connection) -> NameServiceResolver<Connection> {
    NameServiceResolver::new(connection, &[id(common::SIGNER)])
}

type Answer = Result<Arc<VerifiedRecord>, ResolveError>;

/// What becomes of a question for `open/a` that is answered so.
async fn asked(answer: impl Into<Bytes>) -> Answer {
    let server = serve(NamesServer::new(Liar(Some(Ok(answer.into()))))).await;
    let resolver = resolver(connect(&server, READER).await);
    resolver.resolve(&name("open/a")).await
}

#[tokio::test]
async fn an_honest_answer_is_believed() {
    let record = signed("open/a", 1);
    let found = asked(record.bytes().clone()).await;
    assert_eq!(found, Ok(Arc::new(record)));
}

#[tokio::test]
async fn a_true_record_of_another_name_is_refused() {
    let refused = RecordError::OtherName {
        wanted: name("open/a"),
        found: name("open/b"),
    };
    let answer = asked(signed("open/b", 1).bytes().clone()).await;
    assert_eq!(answer, Err(refused.into()));
}

#[tokio::test]
async fn a_wrong_signature_is_refused() {
    let mut forged = signed("open/a", 1).bytes().to_vec();
    *forged.last_mut().expect("bytes") ^= 1;
    assert_eq!(asked(forged).await, Err(RecordError::BadSignature.into()));
}

#[tokio::test]
async fn a_record_with_another_place_under_an_old_signature_is_refused() {
    let honest = signed("open/a", 1).bytes().to_vec();
    let place = b"127.0.0.1:7000";
    let at = honest
        .windows(place.len())
        .position(|window| window == place)
        .expect("it is in there");
    let mut forged = honest;
    forged[at + place.len() - 1] = b'1';
    assert_eq!(asked(forged).await, Err(RecordError::BadSignature.into()));
}

#[tokio::test]
async fn a_record_by_somebody_else_is_refused() {
    let theirs = unsigned("open/a", 1)
        .sign(&key(OTHER_SIGNER))
        .expect("sound");
    let refused = RecordError::UnknownSigner(id(OTHER_SIGNER));
    assert_eq!(asked(theirs.bytes().clone()).await, Err(refused.into()));
}

#[tokio::test]
async fn an_unsigned_record_is_refused() {
    let honest = signed("open/a", 1).bytes().clone();
    let unsigned = honest.slice(..honest.len() - 64);
    let answer = asked(unsigned).await;
    let ends_early = EncodingError::EndsEarly {
        offset: honest.len() - 64,
        missing: 64,
    };
    assert_eq!(answer, Err(RecordError::from(ends_early).into()));
}

#[tokio::test]
async fn a_record_cut_anywhere_is_refused() {
    let honest = signed("open/a", 1).bytes().clone();
    for end in (0..honest.len()).step_by(13) {
        let answer = asked(honest.slice(..end)).await;
        assert!(
            matches!(
                answer,
                Err(ResolveError::Record(RecordError::NotCanonical(_)))
            ),
            "cut at {end}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn more_bytes_than_any_record_has_are_refused() {
    let length = RECORD_BYTES_MAX + 1;
    let refused = RecordError::TooLong { length };
    assert_eq!(asked(vec![1; length]).await, Err(refused.into()));
}

#[tokio::test]
async fn an_expired_record_is_refused() {
    let mut expired = unsigned("open/a", 1);
    expired.valid_until_ms = unix_ms();
    let answer = asked(sign(expired).bytes().clone()).await;
    assert_eq!(answer, Err(RecordError::Expired.into()));
}

#[tokio::test]
async fn an_older_record_is_refused_by_the_cache_that_asked() {
    let newer = asked(signed("open/a", 5).bytes().clone()).await;
    let older = asked(signed("open/a", 4).bytes().clone()).await;
    let mut cache = Cache::new();
    let now = Moment {
        instant: Instant::now(),
        unix_ms: unix_ms(),
    };
    let name = name("open/a");
    let Lookup::Wait { ask: true } = cache.look_up(&name, now) else {
        panic!("nobody has asked yet");
    };
    let newer = newer.expect("it counts");
    cache.learnt(&name, newer, now, 0).expect("the first");
    // It counts, and a resolver remembers nothing.
    let older = older.expect("it counts");
    let refused = RecordError::OlderSerial { found: 4, floor: 5 };
    assert_eq!(cache.learnt(&name, older, now, 0), Err(refused));
}

#[tokio::test]
async fn a_reply_that_is_no_message_is_no_answer() {
    let server = serve(Babbler).await;
    let resolver = resolver(connect(&server, READER).await);
    let answer = resolver.resolve(&name("open/a")).await;
    let Err(ResolveError::Unavailable(cause)) = answer else {
        panic!("{answer:?}");
    };
    assert!(cause.contains("does not decode"), "{cause}");
}

#[tokio::test]
async fn statuses_say_whether_there_is_no_such_name_or_no_answer() {
    for (code, is_not_found) in [
        (Code::NotFound, true),
        (Code::PermissionDenied, false),
        (Code::Unavailable, false),
        (Code::Internal, false),
    ] {
        let status = Status::new(code, Execution::Executed, "a\u{1b}[31m");
        let server = serve(NamesServer::new(Liar(Some(Err(status))))).await;
        let resolver = resolver(connect(&server, READER).await);
        match resolver.resolve(&name("open/a")).await {
            Err(ResolveError::NotFound(_)) => assert!(is_not_found, "{code}"),
            Err(ResolveError::Unavailable(cause)) => {
                assert!(!is_not_found, "{code}");
                assert!(!cause.contains('\u{1b}'), "escaped");
            }
            other => panic!("{code}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_service_that_never_answers_is_given_up() {
    let server = serve(NamesServer::new(Liar(None))).await;
    let resolver = resolver(connect(&server, READER).await);
    let resolver = resolver.with_timeout(Duration::from_millis(50));
    let name = name("open/a");
    let answer = tokio::time::timeout(PATIENCE, resolver.resolve(&name)).await;
    let answer = answer.expect("given up");
    assert!(
        matches!(answer, Err(ResolveError::Unavailable(_))),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_service_that_is_gone_is_unavailable() {
    let server = serve(NamesServer::new(Liar(None))).await;
    let resolver = resolver(connect(&server, READER).await);
    server.drain(Duration::ZERO).await;
    let answer = resolver.resolve(&name("open/a")).await;
    assert!(
        matches!(answer, Err(ResolveError::Unavailable(_))),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_liar_among_honest_ones_is_passed_over() {
    let service = NameService::in_memory(policy());
    let record = signed("open/a", 1);
    let taken = service.publish(&id(PUBLISHER), record.bytes()).await;
    taken.map(drop).expect("taken");
    let lie = signed("open/b", 9).bytes().clone();
    let servers: [ServerHandle; 2] = [
        serve(NamesServer::new(Liar(Some(Ok(lie))))).await,
        serve_names(&service).await,
    ];
    let mut resolvers: Vec<Arc<dyn Resolver>> = Vec::new();
    for server in &servers {
        resolvers.push(Arc::new(resolver(connect(server, READER).await)));
    }
    let both = FirstOf::new(resolvers);
    let found = both.resolve(&name("open/a")).await;
    assert_eq!(found, Ok(Arc::new(record)));
    // The lie tells more than that there is no such name.
    let answer = both.resolve(&name("open/c")).await;
    let lied = matches!(
        answer,
        Err(ResolveError::Record(RecordError::OtherName { .. }))
    );
    assert!(lied, "{answer:?}");
}
