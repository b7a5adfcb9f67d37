//! Running a node in this process, until a signal or a failure ends it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sealmoot_authn::cli::{self, Code, CommonArgs, Failure, Output, Places};
use sealmoot_authn::files::{self, Existing};
use sealmoot_authn::throttle::ThrottleLimits;
use sealmoot_kv::node::{self, Fatal, Node, OpenFailure, Opened, Progress};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::daemon::{self, Event};
use crate::join::LeftOver;
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
    #[command(flatten)]
    login: LoginArgs,
    /// Refuse to start on damaged or old data; otherwise it is set aside within the
    /// directory and taken from the other nodes again
    #[arg(long)]
    no_refetch: bool,
    /// This process is the one in the background
    #[arg(long, hide = true)]
    background: bool,
}

/// Who may log in how often, and until when sessions are served.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct LoginArgs {
    /// Free attempts of strangers at one account from one address, before they have
    /// to wait; all other limits of logins are raised in proportion
    ///
    /// For measurements: many attempts let passwords be guessed. The same on every
    /// node of a cluster.
    #[arg(
        long,
        value_name = "N",
        default_value_t = ThrottleLimits::ATTEMPTS,
        hide_short_help = true,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    login_attempts: u32,
    /// How long the node serves sessions without having heard from a quorum which of
    /// them were revoked; then it serves nobody until it hears again
    ///
    /// Longer, and somebody who was revoked is served for longer by a node that is cut
    /// off; shorter, and a pause of the network stops more.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "60s",
        hide_short_help = true,
        value_parser = cli::parse_duration
    )]
    revocations_within: Duration,
    /// How long after one scrub of its checkpoints the node begins the next
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10m",
        hide_short_help = true,
        value_parser = cli::parse_duration
    )]
    scrub_every: Duration,
}

impl LoginArgs {
    /// Gives the limits to a node that is about to start.
    pub(crate) fn apply(self, opened: &mut Opened) {
        let limits = ThrottleLimits::with_attempts(self.login_attempts);
        opened.throttle.set_limits(limits);
        opened.revocations_within = self.revocations_within;
        opened.scrub_every = self.scrub_every;
    }
}

pub(crate) fn start(args: &StartArgs, common: &CommonArgs, output: &Output) -> Result<(), Failure> {
    if args.daemonize && !args.background {
        return daemon::start(&args.data, output);
    }
    let places = Places::find()?;
    let voice = Voice::new(args.background);
    voice.report_failure(|| {
        init_logging(common, args.background);
        let key_file = args.key.key_file.as_deref();
        let begin_anew = |what: Failure| {
            let aside = node::begin_anew(&args.data, key_file, &places.config);
            let aside = aside.map_err(failures::open)?;
            let (code, message) = (what.code, what.message);
            let what = format!("error[{code}]: {message}; quarantined in {aside}");
            voice.event(Event::Quarantined(what.clone()));
            output.notice(format!("! {what}"));
            Ok::<_, Failure>(())
        };
        // A disk that does not give back what was just written would be gone round for ever.
        let mut has_begun = false;
        loop {
            let mut opened = match node::open(&args.data, key_file, &places.config) {
                Err(damaged @ OpenFailure::Data { .. }) if !args.no_refetch && !has_begun => {
                    begin_anew(failures::open(damaged))?;
                    has_begun = true;
                    continue;
                }
                opened => opened.map_err(failures::open)?,
            };
            args.login.apply(&mut opened);
            let mut left_over = LeftOver::of(&opened.identity);
            if opened.roster.is_some()
                && let Some(left_over) = left_over.take()
            {
                left_over.destroy(output);
            }
            let destroy = || {
                if let Some(left_over) = left_over {
                    left_over.destroy(output);
                }
                Ok(())
            };
            match run(opened, &args.data, &voice, destroy, output)? {
                Outcome::Stopped => return Ok(()),
                Outcome::Lost(failure) if args.no_refetch => return Err(failure),
                Outcome::Lost(failure) => {
                    begin_anew(failure)?;
                    has_begun = true;
                }
            }
        }
    })
}

/// How a node ended.
pub(crate) enum Outcome {
    /// Somebody stopped it.
    Stopped,
    /// Its data is damaged, or older than what it has voted on.
    Lost(Failure),
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
) -> Result<Outcome, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::internal)?;
    let pid_file = directory.join(node::PID_FILE);
    // Held until this process has taken its number away: the file would be that of the
    // next node otherwise.
    let lock = opened.lock();
    let outcome = runtime.block_on(serve(opened, &pid_file, voice, formed, output));
    // With its tasks goes what still holds the directory's files, and of many users that
    // takes a moment: whoever sees the lock free may open them.
    drop(runtime);
    let _ = fs::remove_file(&pid_file);
    drop(lock);
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
) -> Result<Outcome, Failure> {
    let name = opened.identity.member().name.to_string();
    let address = opened.identity.member().address.clone();
    let realm = opened.identity.realm();
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::internal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::internal)?;
    let ended = async {
        tokio::select! {
            _ = terminate.recv() => End::Terminated,
            _ = interrupt.recv() => End::Interrupted,
        }
    };
    tokio::pin!(ended);

    let is_refilling = opened.is_refilling();
    let mut node = Node::start(opened, cli::now_ms)
        .await
        .map_err(failures::node)?;
    let pid = format!("{}\n", std::process::id());
    files::write(pid_file, pid.as_bytes(), Existing::Replace)?;
    voice.event(Event::Listening);

    // One that lost its data is of a cluster that formed long ago.
    let was_formed = is_refilling || node.is_formed();
    let progress = |progress: &Progress| {
        if is_refilling {
            return;
        }
        let (enrolled, total) = (progress.enrolled, progress.total);
        voice.event(Event::Enrolled(enrolled, total, progress.missing.clone()));
        if enrolled < total {
            output.notice(format!(
                "✓ {name} enrolled (key made here, never sent)  {address}  {enrolled}/{total}"
            ));
            daemon::hint_others(&progress.missing, output);
        }
    };
    // A node that was stopped between the roster and its login secrets waits for shares.
    let patience = async {
        if was_formed {
            tokio::time::sleep(SILENCE_MAX).await;
            let what = if is_refilling {
                "tell it who they are"
            } else {
                "hand it its login secrets"
            };
            output.notice(format!(
                "{name} listens at {address} and waits for other nodes to {what}"
            ));
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = patience => {}
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
        daemon::hint_login(&address, &realm, output);
    }
    if was_formed {
        // A node that may vote has heard of a quorum.
        let patience = async {
            tokio::time::sleep(SILENCE_MAX).await;
            let (up, total) = node.reachable();
            let what = if is_refilling {
                "all other nodes, to take from them what it lost"
            } else {
                "a quorum"
            };
            output.notice(format!(
                "{name} listens at {address} and waits for {what}  {up}/{total}"
            ));
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = node.within_quorum() => {}
            () = patience => {}
            end = &mut ended => return stop(node, end).await,
            fatal = node.failed() => return ended_by(fatal),
        }
        if is_refilling {
            let patience = async {
                tokio::time::sleep(SILENCE_MAX).await;
                output.notice(format!("{name} takes what it lost from the other nodes"));
                std::future::pending::<()>().await;
            };
            let keys = tokio::select! {
                keys = node.refilled() => keys,
                () = patience => 0,
                end = &mut ended => return stop(node, end).await,
                fatal = node.failed() => return ended_by(fatal),
            };
            let from = node.peers().join(", ");
            let what = format!("{name} refetched {keys} keys from {from}");
            voice.event(Event::Refetched(what.clone()));
            output.notice(format!("✓ {what}"));
        }
        let (up, total) = node.reachable();
        output.notice(format!("✓ {name} up  {address}  {up}/{total}"));
    }
    voice.ready(&name, &address, node.reachable());
    tokio::select! {
        end = &mut ended => stop(node, end).await,
        // Nothing more is acknowledged: what is in flight ends unanswered.
        fatal = node.failed() => ended_by(fatal),
    }
}

fn ended_by(fatal: Fatal) -> Result<Outcome, Failure> {
    let is_lost = matches!(fatal, Fatal::RolledBack { .. } | Fatal::Damaged(_));
    let failure = failures::node(fatal.into());
    if is_lost {
        Ok(Outcome::Lost(failure))
    } else {
        Err(failure)
    }
}

async fn stop(node: Node, end: End) -> Result<Outcome, Failure> {
    let drained = tokio::time::timeout(Duration::from_secs(10), node.stop()).await;
    drained.map_err(|_| Failure::internal("the node did not stop in time"))?;
    match end {
        End::Terminated => Ok(Outcome::Stopped),
        End::Interrupted => Err(Failure::new(
            Code::Interrupted,
            "interrupted; stopped cleanly",
        )),
    }
}
