//! What the examples share: the greeter's stubs, and the greeter itself.
//!
//! | Binary | Shows |
//! |---|---|
//! | `greeter` | a server on its own, with the key and the clients that it is given |
//! | `echo_over_each_channel` | one call in six ways, from a procedure to Noise, and what each costs |
//! | `stream_with_backpressure` | a slow reader holding its sender |
//!
//! `python/greet.py` calls the greeter from Python.
//!
//! ```
//! use sealmoot_examples::proto::Name;
//! assert_eq!(sealmoot_examples::greeting(&Name { name: "Ada".to_owned() }).text, "Hello, Ada!");
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use proto::{CountRequest, Greeter, Greeting, Name, Number};
use sealmoot_rpc::{CallContext, Code, Execution, Replies, Requests, Status};

/// Messages and stubs of `greeter.v1`.
pub mod proto {
    sealmoot_rpc::include_proto!("greeter.v1");
}

/// The most that one message of a count carries beside its number.
const PADDING_BYTES_MAX: u32 = 64 * 1024;

/// Greets.
pub fn greeting(name: &Name) -> Greeting {
    Greeting {
        text: format!("Hello, {}!", name.name),
    }
}

/// A [`Greeter`] that says how far it has counted.
#[derive(Clone, Debug, Default)]
pub struct Polite {
    /// Numbers sent so far, over all counts.
    pub counted: Arc<AtomicU64>,
}

impl Greeter for Polite {
    async fn greet(&self, _: CallContext, request: Name) -> Result<Greeting, Status> {
        if request.name.is_empty() {
            // A handler knows what it has done: here, nothing.
            return Err(Status::new(
                Code::InvalidArgument,
                Execution::NotStarted,
                "whom shall I greet?",
            ));
        }
        Ok(greeting(&request))
    }

    async fn greet_all(
        &self,
        _: CallContext,
        mut requests: Requests<Name>,
        mut replies: Replies<Greeting>,
    ) -> Result<(), Status> {
        while let Some(name) = requests.next().await? {
            replies.send(&greeting(&name)).await?;
        }
        Ok(())
    }

    async fn count(
        &self,
        _: CallContext,
        request: CountRequest,
        mut replies: Replies<Number>,
    ) -> Result<(), Status> {
        // A length from outside meets its maximum before memory is reserved.
        let padding_bytes = usize::try_from(request.padding_bytes.min(PADDING_BYTES_MAX))
            .expect("64 KiB can be addressed");
        let padding = Bytes::from(vec![0; padding_bytes]);
        for value in 0..request.end {
            let number = Number {
                value,
                padding: padding.clone(),
            };
            // Waits here while the caller takes nothing.
            replies.send(&number).await?;
            self.counted.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}
