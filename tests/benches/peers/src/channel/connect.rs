//! A new connection over TCP loopback: connect, handshake, a byte there and a
//! byte back. Both ends in one thread, on one core.

use std::net::SocketAddr;
use std::sync::Arc;

use sealmoot_rpc::channel::{NoiseChannel, Origin, TlsChannel};
use sealmoot_rpc::noise::{Hash, Hybrid, Pattern};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::certificates::Ends;
use super::cores::Cores;
use super::handshake::TLS_GOAL;
use super::parties::{Parties, classical_provider, nowhere, options, our_provider, shared, suite};
use crate::measure::{Effort, Subject, in_turns};
use crate::table::{Goal, Table};

/// What opens the connection.
#[derive(Clone)]
enum By {
    Tcp,
    Certificates(Ends),
    Tls,
    Noise(Pattern),
}

/// TLS and Noise against X.509.
///
/// # Panics
/// When the system gives no port.
pub fn compare(table: &mut Table, effort: Effort) {
    table.heading("new connection over TCP loopback to the first byte back, one core");
    let cores = Cores::one();
    let parties = Arc::new(Parties::new());
    let kinds = [
        By::Certificates(Ends::certified(shared(our_provider()))),
        By::Certificates(Ends::certified(shared(classical_provider()))),
        By::Tcp,
        By::Tls,
        By::Noise(Pattern::Ik),
        By::Noise(Pattern::Xx),
    ];
    let mut subjects = kinds.map(|by| connecting(&cores, &parties, by));
    let samples = in_turns(effort, &mut subjects);
    let [x509, x509_classical, tcp, tls, ik, xx] = &samples[..] else {
        unreachable!("as many as subjects");
    };
    table.row("TlsChannel, X.509 P-256, hybrid", TLS_GOAL, tls, x509);
    table.row("NoiseChannel IK, X.509 P-256, hybrid", Goal::NONE, ik, x509);
    table.row("NoiseChannel XX, X.509 P-256, hybrid", Goal::NONE, xx, x509);
    table.row("NoiseChannel IK, TlsChannel, hybrid", Goal::NONE, ik, tls);
    let row = "TlsChannel hybrid, X.509 P-256 X25519";
    table.row(row, Goal::NONE, tls, x509_classical);
    let row = "X.509 P-256 with the hybrid, with X25519";
    table.row(row, Goal::NONE, x509, x509_classical);
    table.figure("TCP alone", tcp);
}

fn connecting<'a>(cores: &'a Cores, parties: &'a Arc<Parties>, by: By) -> Subject<'a> {
    let address = cores.run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(serve(listener, Arc::clone(parties), by.clone()));
        address
    });
    Subject::plain(1, move || cores.run(visit(address, parties, &by)))
}

async fn visit(address: SocketAddr, parties: &Parties, by: &By) {
    let stream = TcpStream::connect(address).await.expect("a listener");
    stream.set_nodelay(true).expect("a socket");
    let origin = Origin::Network(address);
    let Parties { client, limits, .. } = parties;
    match by {
        By::Tcp => ask(stream).await,
        By::Certificates(ends) => ask(ends.connect(stream).await).await,
        By::Tls => {
            let opened = TlsChannel::connect(client, stream, origin, limits).await;
            ask(opened.expect("opened")).await;
        }
        By::Noise(pattern) => {
            let options = options(suite(*pattern, Hash::Sha256, Hybrid::MlKem768));
            let target = parties.target(*pattern);
            let opened =
                NoiseChannel::connect(client, &target, &options, stream, origin, limits).await;
            ask(opened.expect("opened")).await;
        }
    }
}

async fn serve(listener: TcpListener, parties: Arc<Parties>, by: By) {
    let Parties { server, limits, .. } = &*parties;
    let acceptance = match by {
        By::Noise(pattern) => parties.acceptance(suite(pattern, Hash::Sha256, Hybrid::MlKem768)),
        _ => Default::default(),
    };
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).expect("a socket");
        match &by {
            By::Tcp => answer(stream).await,
            By::Certificates(ends) => answer(ends.accept(stream).await).await,
            By::Tls => {
                let opened = TlsChannel::accept(server, stream, nowhere(), limits).await;
                answer(opened.expect("opened")).await;
            }
            By::Noise(_) => {
                let opened =
                    NoiseChannel::accept(server, &acceptance, stream, nowhere(), limits).await;
                answer(opened.expect("opened")).await;
            }
        }
    }
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut byte = [1];
    stream.write_all(&byte).await.expect("open");
    stream.flush().await.expect("open");
    stream.read_exact(&mut byte).await.expect("an answer");
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut byte = [0];
    stream.read_exact(&mut byte).await.expect("a question");
    stream.write_all(&byte).await.expect("open");
    stream.flush().await.expect("open");
}
