//! `kvd join`: answering an invite.

use std::path::PathBuf;

use sealmoot_authn::cli::{self, Code, CommonArgs, Failure, Output, Places};
use sealmoot_authn::files::{self, FileError};
use sealmoot_authn::invite::{INVITE_LENGTH_MAX, Invite};
use sealmoot_authn::name::Name;
use sealmoot_authn::realm_id::RealmId;
use sealmoot_kv::node;
use sealmoot_kv::node::identity::Identity;

use crate::run::{self, LoginArgs, Voice};
use crate::{KeyArgs, daemon, failures};

/// `kvd join`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  kvd join n1.invite --data ./n1 --daemonize    and likewise on each other node's machine
  kv login USER@HOST:7401 --realm ID            once all have joined

The address to listen at is in the invite. A node that was stopped: kvd start --data ./n1")]
pub(crate) struct JoinArgs {
    /// The invite file; destroyed once the cluster has formed
    invite: PathBuf,
    /// The node's data directory, to be made
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Go on in the background once listening
    #[arg(long)]
    daemonize: bool,
    /// The realm that must have made the invite
    #[arg(long, value_name = "ID")]
    realm: Option<RealmId>,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    login: LoginArgs,
    /// This process is the one in the background
    #[arg(long, hide = true)]
    background: bool,
}

pub(crate) fn join(args: &JoinArgs, common: &CommonArgs, output: &Output) -> Result<(), Failure> {
    let places = Places::find()?;
    let voice = Voice::new(args.background);
    voice.report_failure(|| {
        let content = files::read_secret(&args.invite, INVITE_LENGTH_MAX).map_err(|error| {
            let missing = matches!(error, FileError::Missing(_));
            let failure = Failure::from(error);
            if missing {
                return failure.hint(
                    "name the file that `authctl node invite` made; one that was used is \
                     destroyed: kvd start --data DIR runs its node again",
                );
            }
            failure
        })?;
        let invite = Invite::decode(content.expose()).map_err(failures::invite)?;
        drop(content);
        if args.realm.is_some_and(|pinned| pinned != invite.realm()) {
            return Err(Failure::new(
                Code::WrongRealm,
                format!("the invite is of realm {}", invite.realm()),
            ));
        }
        invite.check_time(cli::now_ms()).map_err(failures::invite)?;
        let name = invite.member().name.to_string();
        if args.daemonize && !args.background {
            let (address, realm) = (&invite.member().address, invite.realm());
            return daemon::join(&args.data, &name, address, &realm, output);
        }
        run::init_logging(common, args.background);
        let key_file = args
            .key
            .key_file
            .clone()
            .unwrap_or_else(|| places.node_key(&name));
        node::enrol(
            &invite,
            &args.invite,
            &args.data,
            &key_file,
            &places.config,
            cli::now_ms(),
        )
        .map_err(failures::open)?;
        let mut opened =
            node::open(&args.data, Some(&key_file), &places.config).map_err(failures::open)?;
        args.login.apply(&mut opened);
        let destroy = || Ok(files::remove(&args.invite)?);
        match run::run(opened, &args.data, &voice, destroy, output)? {
            run::Outcome::Stopped => Ok(()),
            run::Outcome::Lost(failure) => Err(failure),
        }
    })
}

/// The invite that a node has answered, where it still lies: whoever was stopped before
/// the cluster had formed has not destroyed it.
pub(crate) struct LeftOver {
    path: PathBuf,
    call: Vec<u8>,
    name: Name,
}

impl LeftOver {
    pub(crate) fn of(identity: &Identity) -> Option<Self> {
        Some(Self {
            path: identity.invite.clone()?,
            call: identity.call.bytes().to_vec(),
            name: identity.member().name.clone(),
        })
    }

    /// Destroys the file if it still is that invite; names it where that fails. Another
    /// file that lies there by now is nobody's business.
    pub(crate) fn destroy(self, output: &Output) {
        let Ok(content) = files::read_secret(&self.path, INVITE_LENGTH_MAX) else {
            return;
        };
        let own = Invite::decode(content.expose()).is_ok_and(|invite| {
            invite.call().bytes() == self.call && invite.member().name == self.name
        });
        if !own {
            return;
        }
        let path = self.path.display();
        match files::remove(&self.path) {
            Ok(()) => output.notice(format!("✓ {path}, the invite that was used, is destroyed")),
            Err(error) => output.warning(format!(
                "{path}, the invite that was used, is still there ({error}): delete it"
            )),
        }
    }
}
