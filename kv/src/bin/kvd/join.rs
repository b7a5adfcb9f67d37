//! `kvd join`: answering an invite.

use std::path::PathBuf;

use sealmoot_authn::cli::{self, Code, CommonArgs, Failure, Output, Places};
use sealmoot_authn::files;
use sealmoot_authn::invite::{INVITE_LENGTH_MAX, Invite};
use sealmoot_authn::realm_id::RealmId;
use sealmoot_kv::node;

use crate::run::{self, Voice};
use crate::{KeyArgs, daemon, failures};

/// `kvd join`.
#[derive(Debug, clap::Args)]
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
    /// This process is the one in the background
    #[arg(long, hide = true)]
    background: bool,
}

pub(crate) fn join(args: &JoinArgs, common: &CommonArgs, output: &Output) -> Result<(), Failure> {
    let places = Places::find()?;
    let voice = Voice::new(args.background);
    voice.report_failure(|| {
        let content = files::read_secret(&args.invite, INVITE_LENGTH_MAX)?;
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
            return daemon::join(&args.data, &name, &invite.member().address, output);
        }
        run::init_logging(common, args.background);
        let key_file = args
            .key
            .key_file
            .clone()
            .unwrap_or_else(|| places.node_key(&name));
        node::enrol(
            &invite,
            &args.data,
            &key_file,
            &places.config,
            cli::now_ms(),
        )
        .map_err(failures::open)?;
        let opened =
            node::open(&args.data, Some(&key_file), &places.config).map_err(failures::open)?;
        let destroy = || Ok(files::remove(&args.invite)?);
        run::run(opened, &args.data, &voice, destroy, output)
    })
}
