//! Running a node in this process, until a signal or a failure ends it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sealmoot_authn::cli::{self, Code, CommonArgs, Failure, Output, Places};
use sealmoot_authn::files::{self, Existing};
use sealmoot_kv::node::{self, Node, Opened};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::daemon::{self, Event};
use crate::{KeyArgs, failures};

/// How long a node waits for a quorum before it says so.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// `kvd start`.
#[derive(Debug, clap::Args)]
pub(crate) struct StartArgs {
    /// The node's data directory
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Go on in the background once listening
    #[arg(long)]
    daemonize: bool,
    #[command(flatten)]
    key: KeyArgs,
    /// This process is the one in the background
    #[arg(long, hide = true)]
    background: bool,
}

pub(crate) fn start(args: &StartArgs, common: &CommonArgs, output: &Output) -> Result<(), Failure> {
    if args.daemonize && !args.background {
        return daemon::start(&args.data, output);
    }
    let places = Places::find()?;
    let voice = Voice::new(args.background);
    voice.report_failure(|| {
        init_logging(common, args.background);
        let opened = node::open(&args.data, args.key.key_file.as_deref(), &places.config)
            .map_err(failures::open)?;
        run(opened, &args.data, &voice, || Ok(()), output)
    })
}

/// How a node speaks to whoever started it: on standard output for people and
/// scripts, or in events for the process that put it into the background.
pub(crate) struct Voice {
    background: bool,
}

impl Voice {
    pub(crate) fn new(background: bool) -> Self {
        Self { background }
    }

    pub(crate) fn report_failure(
        &self,
        act: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let outcome = act();
        if let (true, Err(failure)) = (self.background, &outcome) {
            Event::Failed(failure.to_json()).emit();
        }
        outcome
    }

    fn ready(&self, name: &str, address: &str, (up, total): (usize, usize)) {
        if self.background {
            Event::Ready(name.to_owned(), up, total).emit();
        } else {
            let mut stdout = std::io::stdout().lock();
            let _ = writeln!(stdout, "READY {name} {address}");
            let _ = stdout.flush();
        }
    }

    fn event(&self, event: Event) {
        if self.background {
            event.emit();
        }
    }
}

pub(crate) fn init_logging(common: &CommonArgs, background: bool) {
    let default = match (common.verbose, background) {
        (true, _) => "debug",
        (false, true) => "info",
        (false, false) => "warn",
    };
    let filter =
        EnvFilter::try_from_env("SEALMOOT_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr);
    let json = std::env::var("SEALMOOT_LOG_FORMAT").is_ok_and(|format| format == "json");
    // A second initialisation, which only a fault of the program could make,
    // leaves the first in place.
    let _ = if json {
        builder.json().try_init()
    } else {
        builder.try_init()
    };
}

/// Runs an opened node to its end. `formed` is called once the cluster has formed.
pub(crate) fn run(
    opened: Opened,
    directory: &Path,
    voice: &Voice,
    formed: impl FnOnce() -> Result<(), Failure>,
    output: &Output,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::internal)?;
    let pid_file = directory.join(node::PID_FILE);
    let outcome = runtime.block_on(serve(opened, &pid_file, voice, formed, output));
    let _ = fs::remove_file(&pid_file);
    outcome
}

enum End {
    Terminated,
    Interrupted,
}

async fn serve(
    opened: Opened,
    pid_file: &Path,
    voice: &Voice,
    formed: impl FnOnce() -> Result<(), Failure>,
    output: &Output,
) -> Result<(), Failure> {
    let name = opened.identity.member().name.to_string();
    let address = opened.identity.member().address.clone();
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::internal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::internal)?;
    let ended = async {
        tokio::select! {
            _ = terminate.recv() => End::Terminated,
            _ = interrupt.recv() => End::Interrupted,
        }
    };
    tokio::pin!(ended);

    let mut node = Node::start(opened, cli::now_ms)
        .await
        .map_err(failures::node)?;
    let pid = format!("{}\n", std::process::id());
    files::write(pid_file, pid.as_bytes(), Existing::Replace)?;
    voice.event(Event::Listening);

    let was_formed = node.is_formed();
    let progress = |enrolled: usize, total: usize| {
        voice.event(Event::Enrolled(enrolled, total));
        if enrolled < total {
            output.notice(format!(
                "✓ {name} enrolled (key made here, never sent)  {address}  {enrolled}/{total}"
            ));
        }
    };
    tokio::select! {
        outcome = node.form(progress) => outcome.map_err(failures::node)?,
        end = &mut ended => return stop(node, end).await,
    }
    if !was_formed {
        formed()?;
        let (_, total) = node.enrolled();
        voice.event(Event::Formed);
        output.notice(format!(
            "✓ {name} enrolled  {address}  cluster formed {total}/{total}"
        ));
    }
    if was_formed {
        // A node that may vote has heard of a quorum.
        let patience = async {
            tokio::time::sleep(SILENCE_MAX).await;
            let (up, total) = node.reachable();
            output.notice(format!(
                "{name} listens at {address} and waits for a quorum  {up}/{total}"
            ));
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = node.within_quorum() => {}
            () = patience => {}
            end = &mut ended => return stop(node, end).await,
            fatal = node.failed() => return Err(failures::node(fatal.into())),
        }
        let (up, total) = node.reachable();
        output.notice(format!("✓ {name} up  {address}  {up}/{total}"));
    }
    voice.ready(&name, &address, node.reachable());
    tokio::select! {
        end = &mut ended => stop(node, end).await,
        // Nothing more is acknowledged: what is in flight ends unanswered.
        fatal = node.failed() => Err(failures::node(fatal.into())),
    }
}

async fn stop(node: Node, end: End) -> Result<(), Failure> {
    let drained = tokio::time::timeout(Duration::from_secs(10), node.stop()).await;
    drained.map_err(|_| Failure::internal("the node did not stop in time"))?;
    match end {
        End::Terminated => Ok(()),
        End::Interrupted => Err(Failure::new(
            Code::Interrupted,
            "interrupted; stopped cleanly",
        )),
    }
}
