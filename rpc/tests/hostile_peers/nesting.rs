//! Messages inside messages inside messages: refused at a depth, with the stack
//! where it was.

use std::time::Duration;

use sealmoot_rpc::frame::Kind;
use sealmoot_rpc::prost::Message;
use sealmoot_rpc::prost::encoding::encode_varint;
use sealmoot_rpc::{Code, Execution, MethodKind};

use super::credit::assert_answered;
use super::peer::{call, end, message};
use super::service::{NEST, Nest};
use super::world::echo::v1::echo_methods;
use super::world::{BOTH, World, quiet};

const DEPTH: usize = 10_000;

/// A [`Nest`] with so many inside.
pub fn nested(depth: usize) -> Vec<u8> {
    // From the inside outwards, written backwards.
    let mut backwards: Vec<u8> = Vec::new();
    for _ in 0..depth {
        let mut length = Vec::new();
        encode_varint(backwards.len() as u64, &mut length);
        backwards.extend(length.iter().rev());
        backwards.push(0x0a);
    }
    backwards.reverse();
    backwards
}

/// The same of a field that no message has, as groups: 15, start and end.
pub fn groups(depth: usize) -> Vec<u8> {
    [vec![0x7b; depth], vec![0x7c; depth]].concat()
}

#[test]
fn what_is_nested_is_what_it_should_be() {
    let mut value = Nest::default();
    for _ in 0..50 {
        value = Nest {
            inner: Some(Box::new(value)),
        };
    }
    assert_eq!(nested(50), value.encode_to_vec());
    assert_eq!(Nest::decode(&nested(50)[..]), Ok(value));
    assert!(Nest::decode(&groups(50)[..]).is_ok());
}

#[tokio::test]
async fn a_request_that_is_too_deep_did_not_start() {
    let world = World::new(quiet()).await;
    for over in BOTH {
        let (mut mouth, mut ear) = world.peer(over).await;
        for (method, body) in [
            (NEST, nested(DEPTH)),
            (NEST, groups(DEPTH)),
            (echo_methods::SAY, groups(DEPTH)),
            // As deep as one message can be.
            (NEST, groups(2 * 1024 * 1024)),
            (NEST, nested(800_000)),
        ] {
            assert!(mouth.say(&call(1, MethodKind::Unary, method, &body)).await);
            let said = ear.next().await.expect("an answer");
            let status = said.failure();
            assert_eq!(said.call, 1);
            assert_eq!(status.code(), Code::InvalidArgument);
            assert_eq!(status.execution(), Execution::NotStarted);
            // Of nested messages prost names all above, and the end is cut off.
            let why = ["recursion limit", "Nest.inner: Nest.inner: Nest.inner"];
            let message = status.message();
            assert!(why.iter().any(|why| message.contains(why)), "{message}");
        }
        // Up to the limit it is read.
        assert!(
            mouth
                .say(&call(2, MethodKind::Unary, NEST, &nested(90)))
                .await
        );
        let said = ear.next().await.expect("an answer");
        assert_eq!((said.kind, said.code), (Kind::Reply, 0));
        assert_answered(&mut mouth, &mut ear).await;
    }
    world.assert_unharmed().await;
}

#[tokio::test]
async fn a_streams_message_that_is_too_deep_ends_its_call() {
    let world = World::new(quiet()).await;
    for over in BOTH {
        let (mut mouth, mut ear) = world.peer(over).await;
        for (number, kind, method) in [
            (1, MethodKind::ClientStream, echo_methods::COLLECT),
            (2, MethodKind::Bidirectional, echo_methods::CHAT),
        ] {
            let opening = call(number, kind, method, b"");
            let frames = [opening, message(number, &groups(DEPTH)), end(number)].concat();
            assert!(mouth.say(&frames).await);
            let said = ear.next().await.expect("an answer");
            let status = said.failure();
            assert_eq!((said.call, status.code()), (number, Code::InvalidArgument));
            assert_eq!(status.execution(), Execution::MaybeExecuted);
            assert!(status.message().contains("recursion limit"), "{status:?}");
        }
        assert_answered(&mut mouth, &mut ear).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.assert_unharmed().await;
}
