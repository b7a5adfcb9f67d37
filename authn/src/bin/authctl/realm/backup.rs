//! `authctl realm backup` and `authctl realm restore`.

use std::path::PathBuf;

use clap::Args;
use sealmoot_authn::approval::Approver;
use sealmoot_authn::cli::{
    self, Code, Failure, NewPassphraseArgs, PassphraseArgs, SecretArgs, StandardInput, escaped,
    rfc3339,
};
use sealmoot_authn::files::{self, Existing};
use sealmoot_authn::realm::{BACKUP_LENGTH_MAX, Backup, BackupError, BackupSummary};
use serde_json::{Value, json};

use super::{not_unlocked, select, with_tilde};
use crate::Context;
use crate::tell::tell_nodes;

#[derive(Args)]
pub(crate) struct BackupArgs {
    /// The file to be made; nothing is overwritten
    file: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    #[command(flatten)]
    new: NewPassphraseArgs,
}

#[derive(Args)]
pub(crate) struct RestoreArgs {
    /// The backup
    file: PathBuf,
    /// Only verify the backup and say what is in it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

pub(super) fn backup(args: &BackupArgs, context: &Context<'_>) -> Result<(), Failure> {
    let no_input = context.common.no_input;
    let passphrase = SecretArgs::from(&args.passphrase);
    let new = args.new.wanted();
    let mut input = StandardInput::default();
    passphrase.check(&mut input)?;
    if let Some(new) = &new {
        new.check(&mut input)?;
    }
    let realm = select(context)?;
    let path = args.file.display();
    if args.file.symlink_metadata().is_ok() {
        return Err(Failure::new(Code::Exists, format!("{path} exists already"))
            .hint("choose another name; a backup overwrites nothing"));
    }
    passphrase.check_obtainable(no_input)?;
    if let Some(new) = &new {
        new.check_obtainable(no_input)?;
    }
    let passphrase = passphrase.obtain_for_realm(&realm, no_input)?;
    let new = match new {
        Some(new) => {
            let secret = new.obtain_new_for("the backup", no_input)?;
            if let Some(weakness) = new.weakness(&secret) {
                context.output.warning(weakness);
            }
            Some(secret)
        }
        None => None,
    };
    let under = match new {
        Some(_) => "the new passphrase",
        None => "the realm's passphrase",
    };
    let approver = realm.approver().cloned();
    let (backup, summary) = realm
        .backup(
            passphrase.expose(),
            new.as_ref().map(|new| new.expose()),
            cli::now_ms(),
        )
        .map_err(|error| not_unlocked(error, realm.name()))?;
    drop((passphrase, new));
    files::write(&args.file, backup.expose(), Existing::Refuse)?;
    let mut data = describe(&summary);
    data["file"] = json!(path.to_string());
    data["approver"] = json!(approver.as_ref().map(Approver::to_string));
    context.output.result("backup", &data, || {
        let mut text = format!("✓ {path}   {}, sealed under {under}", shown(&summary));
        if let Some(approver) = &approver {
            text.push_str(&format!(", and to {approver}, who has to approve"));
        }
        escaped(&text)
    })
}

pub(super) fn restore(args: &RestoreArgs, context: &Context<'_>) -> Result<(), Failure> {
    if context.realm.is_some() {
        return Err(Failure::usage(
            "--realm chooses an existing realm; the restored one has the name in the backup",
        ));
    }
    let no_input = context.common.no_input;
    let passphrase = SecretArgs::from(&args.passphrase);
    passphrase.check(&mut StandardInput::default())?;
    let bytes = files::read_named_secret(&args.file, BACKUP_LENGTH_MAX)?;
    // Before anybody is asked for a passphrase that opens nothing yet.
    Backup::check_approved(bytes.expose()).map_err(not_opened)?;
    passphrase.check_obtainable(no_input)?;
    let passphrase = passphrase.obtain_for("the backup", no_input)?;
    let backup = Backup::open(bytes.expose(), passphrase.expose()).map_err(not_opened)?;
    drop(passphrase);
    let summary = backup.summary();
    if args.dry_run {
        drop(backup);
        return context.output.result("backup", &describe(&summary), || {
            format!("{}\n  id {}", shown(&summary), summary.id)
        });
    }
    let directory = context.places.data.join(summary.name.as_str());
    if directory.symlink_metadata().is_ok() {
        let taken = format!("{} exists already", directory.display());
        return Err(Failure::new(Code::Exists, taken).hint(
            "move it away first, or say with SEALMOOT_DATA_DIR where the restored one shall be",
        ));
    }
    let realm = backup.restore(&context.places.data, cli::now_ms())?;
    context.output.warning(format!(
        "this is the realm of {}: what was changed after that is not in it, and nodes keep what \
         they hold. Users and roles that were changed since stay at the nodes as they are until \
         they are changed here again",
        rfc3339(summary.made_ms)
    ));
    drop(backup);
    // The lost machine may have told them less than the backup holds.
    let realm = tell_nodes(realm, context);
    let data = describe(&summary);
    context.output.result("realm", &data, || {
        format!(
            "✓ realm {}  {}   restored in {}\n  id {}",
            realm.name(),
            realm.id().short(),
            with_tilde(realm.directory()),
            realm.id(),
        )
    })
}

fn not_opened(error: BackupError) -> Failure {
    let hint = match &error {
        BackupError::NotApproved(_) => {
            "hand it to the approver: authctl approver approve BACKUP --key FILE; then restore \
             what comes back"
        }
        BackupError::WrongPassphrase => {
            "it has to be the passphrase that the backup was made under"
        }
        BackupError::Malformed(_) => "name a file that `authctl realm backup` made",
        BackupError::Damaged(_) => "take another copy of it; of this one nothing is used",
    };
    Failure::from(error).hint(hint)
}

fn describe(summary: &BackupSummary) -> Value {
    json!({
        "name": summary.name.as_str(),
        "id": summary.id.to_string(),
        "key_id": summary.id.key_id().to_string(),
        "made": rfc3339(summary.made_ms),
        "users": summary.users,
        "roles": summary.roles,
        "calls": summary.calls,
    })
}

fn shown(summary: &BackupSummary) -> String {
    format!(
        "realm {} with {}, {} and {}, as of {}",
        summary.name,
        counted(summary.users, "user"),
        counted(summary.roles, "named role"),
        counted(summary.calls, "call for nodes"),
        rfc3339(summary.made_ms),
    )
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => match what.strip_prefix("call") {
            Some(rest) => format!("{count} calls{rest}"),
            None => format!("{count} {what}s"),
        },
    }
}
