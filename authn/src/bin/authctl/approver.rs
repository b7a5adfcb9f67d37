//! `authctl approver`: the second person of a realm.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use sealmoot_authn::approval::{
    APPROVER_FILE_MAX, Act, ApprovalError, ApproverKey, NewApproverError, Waiting,
};
use sealmoot_authn::cli::{
    Code, Failure, PassphraseArgs, SecretArgs, StandardInput, escaped, rfc3339,
};
use sealmoot_authn::files::{self, Existing};
use sealmoot_authn::realm::BACKUP_LENGTH_MAX;
use serde_json::json;

use crate::Context;
use crate::realm::show_once;
use crate::user::confirm;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make an approver's key, sealed under a passphrase of the approver
    ///
    /// To be done by the approver, where nobody else reads: who has this file and its
    /// passphrase approves. What it prints is no secret, and is what `authctl realm init
    /// --approver` takes.
    New(NewArgs),
    /// Show whose key a file has
    Show {
        /// The file of the approver's key
        file: PathBuf,
    },
    /// Approve what waits for it: that a backup is restored, or a realm handed over
    ///
    /// Writes a file that is still sealed under the administrator's passphrase: hand it
    /// back. The file that waits stays as it is.
    Approve(ApproveArgs),
}

#[derive(Args)]
pub(crate) struct NewArgs {
    /// The file to be made; nothing is overwritten
    file: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Generate the passphrase and show it once
    #[arg(long)]
    generate: bool,
}

#[derive(Args)]
pub(crate) struct ApproveArgs {
    /// What waits: a backup, or a realm's heir.sealed
    #[arg(value_name = "WAITING")]
    file: PathBuf,
    /// The file of the approver's key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where to write what is approved; WAITING.approved without
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

pub(crate) fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    match command {
        Command::New(args) => new(&args, context),
        Command::Show { file } => show(&file, context),
        Command::Approve(args) => approve(&args, context),
    }
}

fn new(args: &NewArgs, context: &Context<'_>) -> Result<(), Failure> {
    let no_input = context.common.no_input;
    let passphrase = SecretArgs::from(&args.passphrase).generated(args.generate);
    passphrase.check(&mut StandardInput::default())?;
    refuse_existing(&args.file)?;
    passphrase.check_obtainable(no_input).map_err(|failure| {
        let hint = format!("{}, or --generate", failure.hint);
        failure.hint(hint)
    })?;
    let secret = passphrase.obtain_new_or_generate(no_input)?;
    let (file, approver) = ApproverKey::create(secret.expose()).map_err(not_made)?;
    files::write(&args.file, &file, Existing::Refuse)?;
    if let Some(weakness) = passphrase.weakness(&secret) {
        context.output.warning(weakness);
    }
    let path = args.file.display().to_string();
    let mut data = json!({ "approver": approver.to_string(), "file": path });
    if args.generate {
        show_once(context, &mut data, "passphrase", &secret);
    }
    // Whoever reads what follows may take any time.
    drop(secret);
    context.output.result("approver", &data, || {
        escaped(&format!("✓ {path}   the key of {approver}"))
    })?;
    context.output.hint(format!(
        "for a new realm: authctl realm init NAME --approver {approver}"
    ));
    Ok(())
}

fn show(file: &Path, context: &Context<'_>) -> Result<(), Failure> {
    let bytes = files::read_named_secret(file, APPROVER_FILE_MAX)?;
    let approver = ApproverKey::owner(bytes.expose()).map_err(not_approved)?;
    let path = file.display().to_string();
    let data = json!({ "approver": approver.to_string(), "file": path });
    context
        .output
        .result("approver", &data, || approver.to_string())
}

fn approve(args: &ApproveArgs, context: &Context<'_>) -> Result<(), Failure> {
    let no_input = context.common.no_input;
    let passphrase = SecretArgs::from(&args.passphrase);
    passphrase.check(&mut StandardInput::default())?;
    let out = match &args.out {
        Some(out) => out.clone(),
        None => {
            let mut name = args.file.clone().into_os_string();
            name.push(".approved");
            PathBuf::from(name)
        }
    };
    refuse_existing(&out)?;
    let key = files::read_named_secret(&args.key, APPROVER_FILE_MAX)?;
    let owner = ApproverKey::owner(key.expose()).map_err(not_approved)?;
    let layer = files::read_named_secret(&args.file, BACKUP_LENGTH_MAX)?;
    let (waiting, wanted) =
        Waiting::read(layer.expose()).map_err(|error| not_approved(error.into()))?;
    if wanted != owner {
        let found = owner;
        return Err(not_approved(ApprovalError::OtherApprover { wanted, found }));
    }
    passphrase.check_obtainable(no_input)?;
    let made = rfc3339(waiting.made_ms);
    // The whole id: the name says little, and both are bound to what is approved.
    let what = format!(
        "{} of realm {}, {}",
        waiting.act, waiting.name, waiting.realm
    );
    confirm(&format!("Approve {what}, made {made}?"), context)?;
    let passphrase = passphrase.obtain_for(&format!("approver {owner}"), no_input)?;
    let key = ApproverKey::open(key.expose(), passphrase.expose()).map_err(not_approved)?;
    drop(passphrase);
    let approved = key.approve(layer.expose()).map_err(not_approved)?;
    drop(key);
    files::write(&out, approved.expose(), Existing::Refuse)?;
    let path = out.display().to_string();
    let data = json!({
        "approver": owner.to_string(),
        "act": waiting.act.as_str(),
        "name": waiting.name.as_str(),
        "id": waiting.realm.to_string(),
        "made": made,
        "file": path,
    });
    context.output.result("approval", &data, || {
        escaped(&format!("✓ {path}   approved: {what}, made {made}"))
    })?;
    let path = escaped(&path);
    context.output.hint(match waiting.act {
        Act::Restore => format!("where the realm shall be: authctl realm restore {path}"),
        Act::HandOver => format!("where the realm is: authctl realm rotate-root --heir {path}"),
    });
    Ok(())
}

fn refuse_existing(path: &Path) -> Result<(), Failure> {
    if path.symlink_metadata().is_ok() {
        let taken = format!("{} exists already", path.display());
        return Err(
            Failure::new(Code::Exists, taken).hint("choose another name; nothing is overwritten")
        );
    }
    Ok(())
}

fn not_made(error: NewApproverError) -> Failure {
    Failure::internal(error)
}

fn not_approved(error: ApprovalError) -> Failure {
    let (code, hint) = match &error {
        ApprovalError::Malformed(_) => (
            Code::Integrity,
            "--key names what `authctl approver new` made, WAITING what `authctl realm backup` \
             made of a realm with an approver, or its heir.sealed",
        ),
        ApprovalError::WrongPassphrase => (
            Code::Unauthenticated,
            "it has to be the passphrase of the approver's key, not the realm's",
        ),
        ApprovalError::OtherApprover { .. } => (
            Code::PermissionDenied,
            "only the approver that the realm was made with can approve",
        ),
        ApprovalError::Damaged(_) | ApprovalError::Changed => (
            Code::Integrity,
            "take another copy of it; of this one nothing is used",
        ),
    };
    Failure::new(code, error).hint(hint)
}
