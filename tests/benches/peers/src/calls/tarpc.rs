//! tarpc over tokio-rustls, put together as its example of TLS does: its serde
//! transport, length-delimited frames, bincode, everything else as it comes.

use bytes::Bytes;
use futures_util::StreamExt;
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::{client, context, serde_transport};
use tokio_util::codec::LengthDelimitedCodec;

use super::line::{Caller, Line, Stub};
use super::raw;
use crate::channel::certificates::Ends;
use crate::channel::cores::Cores;
use crate::channel::parties::{our_provider, shared};

// Its macro writes undocumented items.
#[allow(missing_docs, clippy::all)]
mod stub {
    use bytes::Bytes;

    #[tarpc::service]
    pub trait Calls {
        async fn echo(body: Bytes) -> Bytes;
    }
}

use stub::{Calls, CallsClient};

/// One connection.
///
/// # Panics
/// When the system gives no port.
#[must_use]
pub fn open(cores: &Cores) -> Box<dyn Line> {
    let ends = Ends::certified(shared(our_provider()));
    let far = ends.clone();
    let stream = raw::dial(cores, |stream| async move {
        let framed = LengthDelimitedCodec::builder().new_framed(far.accept(stream).await);
        let transport = serde_transport::new(framed, Bincode::default());
        BaseChannel::with_defaults(transport)
            .execute(Echo.serve())
            .for_each(async |call| {
                tokio::spawn(call);
            })
            .await;
    });
    let client = cores.run(async {
        let stream = ends.connect(stream).await;
        let framed = LengthDelimitedCodec::builder().new_framed(stream);
        let transport = serde_transport::new(framed, Bincode::default());
        CallsClient::new(client::Config::default(), transport).spawn()
    });
    Box::new(Stub::new(client, ()))
}

impl Caller for CallsClient {
    async fn echo(&mut self, body: Bytes) -> usize {
        let reply = CallsClient::echo(self, context::current(), body).await;
        reply.expect("an answer").len()
    }

    async fn sink(&mut self, _: Bytes, _: u32) -> Option<u64> {
        None
    }
}

#[derive(Clone)]
struct Echo;

impl Calls for Echo {
    async fn echo(self, _: context::Context, body: Bytes) -> Bytes {
        body
    }
}
