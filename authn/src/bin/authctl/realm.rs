//! `authctl realm`, and which realm the other commands act on.

mod backup;
mod rotate;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use sealmoot_authn::approval::Approver;
use sealmoot_authn::cli::{
    Code, Failure, PassphraseArgs, SecretArgs, StandardInput, escaped, rfc3339,
};
use sealmoot_authn::files::FileError;
use sealmoot_authn::name::Name;
use sealmoot_authn::realm::{OpenRealm, Realm, RealmError};
use sealmoot_authn::realm_id::RealmId;
use sealmoot_crypto::secret::SecretBytes;
use serde_json::{Value, json};

use crate::Context;
use backup::{BackupArgs, RestoreArgs};
use rotate::RotateArgs;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a realm: a root key, sealed under a passphrase
    Init(InitArgs),
    /// Show a realm's name and id; the id is what clients pin
    Show,
    /// List the realms on this machine
    List,
    /// Put the whole realm into one file, under its passphrase or a new one
    Backup(BackupArgs),
    /// Make a realm again from such a file
    ///
    /// Nodes keep what they hold: of each record the highest version counts. Users and
    /// roles that were changed after the backup stay at the nodes as they are until
    /// they are changed here again.
    Restore(RestoreArgs),
    /// Hand the realm over to its next root key, because the present one may be stolen
    ///
    /// The realm keeps its id, its users and their passwords, and its nodes. Everything
    /// that the root signed is signed anew by its heir, the key that was made and committed
    /// to with it and that no thief of the root can name another for. What was signed with
    /// the former key counts no longer as soon as a node has heard of it.
    RotateRoot(RotateArgs),
}

#[derive(Args)]
pub(crate) struct InitArgs {
    /// Name of the new realm
    name: Name,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Generate the passphrase and show it once
    #[arg(long)]
    generate: bool,
    /// Without whom no backup shall be restored, as `authctl approver new` prints it;
    /// for good
    #[arg(long, value_name = "APPROVER")]
    approver: Option<Approver>,
    /// Keep the key that comes after the root in this file, and not beside the root; on
    /// another medium best
    #[arg(long, value_name = "FILE")]
    heir: Option<PathBuf>,
}

pub(crate) fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    match command {
        Command::Init(args) => init(&args, context),
        Command::Show => show(context),
        Command::List => list(context),
        Command::Backup(args) => backup::backup(&args, context),
        Command::Restore(args) => backup::restore(&args, context),
        Command::RotateRoot(args) => rotate::rotate(&args, context),
    }
}

fn init(args: &InitArgs, context: &Context<'_>) -> Result<(), Failure> {
    if context.realm.is_some() {
        return Err(Failure::usage(
            "--realm chooses an existing realm; the new one's name is the argument",
        ));
    }
    let no_input = context.common.no_input;
    let passphrase = SecretArgs::from(&args.passphrase).generated(args.generate);
    passphrase.check(&mut StandardInput::default())?;
    let directory = context.places.data.join(args.name.as_str());
    if directory.symlink_metadata().is_ok() {
        return Err(Failure::new(
            Code::Exists,
            format!("{} exists already", directory.display()),
        )
        .hint(format!("authctl realm show --realm {}", args.name)));
    }
    if let Some(heir) = &args.heir {
        rotate::refuse_existing(heir)?;
    }
    passphrase.check_obtainable(no_input).map_err(|failure| {
        let hint = format!("{}, or --generate", failure.hint);
        failure.hint(hint)
    })?;
    let secret = passphrase.obtain_new_or_generate(no_input)?;
    let realm = Realm::create_with(
        &context.places.data,
        &args.name,
        secret.expose(),
        args.approver.clone(),
        args.heir.as_deref(),
    )?;
    if let Some(weakness) = passphrase.weakness(&secret) {
        context.output.warning(weakness);
    }

    let mut data = describe(&realm);
    if args.generate {
        show_once(context, &mut data, "passphrase", &secret);
    }
    // Whoever reads what follows may take any time.
    drop(secret);
    context.output.result("realm", &data, || {
        format!(
            "✓ realm {}  {}   root key sealed in {}\n  id {}",
            realm.name(),
            realm.id().short(),
            with_tilde(realm.directory()),
            realm.id(),
        )
    })?;
    context
        .output
        .hint("authctl user add NAME --role admin, who will administer it from anywhere");
    rotate::say_where_heir_is(&realm, args.heir.as_deref(), context);
    Ok(())
}

fn list(context: &Context<'_>) -> Result<(), Failure> {
    let realms = Realm::all(&context.places.data)?;
    if realms.is_empty() {
        context
            .output
            .notice("no realms on this machine yet: authctl realm init NAME");
    }
    let data: Vec<Value> = realms.iter().map(describe).collect();
    context.output.result("realms", &Value::Array(data), || {
        let line = |realm: &Realm| {
            let place = with_tilde(realm.directory());
            format!("{}  {}  {place}", realm.name(), realm.id())
        };
        realms.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}

fn show(context: &Context<'_>) -> Result<(), Failure> {
    let realm = select(context)?;
    context.output.result("realm", &describe(&realm), || {
        let mut text = format!(
            "realm   {}\nid      {}\nkey id  {}\nkept in {}",
            realm.name(),
            realm.id(),
            realm.id().key_id(),
            with_tilde(realm.directory()),
        );
        let root = realm.roots();
        text.push_str(&format!(
            "\nroot    {} {}",
            root.number(),
            root.current().key_id()
        ));
        if let Some(since_ms) = root.since_ms() {
            text.push_str(&format!(" since {}", rfc3339(since_ms)));
        }
        if let Some(approver) = realm.approver() {
            text.push_str(&format!("\nbackups and the heir {approver} has to approve"));
        }
        if realm.is_being_handed_over() {
            text.push_str("\nto be handed over: authctl realm rotate-root goes on with it");
        }
        text
    })
}

fn describe(realm: &Realm) -> Value {
    json!({
        "name": realm.name().as_str(),
        "id": realm.id().to_string(),
        "key_id": realm.id().key_id().to_string(),
        "approver": realm.approver().map(Approver::to_string),
        "root": {
            "number": realm.roots().number(),
            "key_id": realm.roots().current().key_id().to_string(),
            "since": realm.roots().since_ms().map(rfc3339),
        },
    })
}

/// The realm that `--realm` names, or the only one.
pub(crate) fn select(context: &Context<'_>) -> Result<Realm, Failure> {
    let realms = &context.places.data;
    let Some(wanted) = &context.realm else {
        return only(Realm::all(realms)?);
    };
    if let Ok(id) = wanted.parse::<RealmId>() {
        return Realm::all(realms)?
            .into_iter()
            .find(|realm| realm.id() == id)
            .ok_or_else(|| unknown(wanted));
    }
    // By name only this realm is read, so that damage to another does not matter.
    let name: Name = wanted.parse().map_err(|_| unknown(wanted))?;
    match Realm::open(&realms.join(name.as_str())) {
        Err(RealmError::File(FileError::Missing(_))) => Err(unknown(wanted)),
        opened => Ok(opened?),
    }
}

fn only(mut realms: Vec<Realm>) -> Result<Realm, Failure> {
    if realms.len() > 1 {
        // The directory's name, because a copy of a realm has the realm's name too.
        let names: Vec<_> = realms
            .iter()
            .filter_map(|realm| realm.directory().file_name())
            .map(|name| name.to_string_lossy())
            .collect();
        return Err(
            Failure::usage(format!("there are several realms: {}", names.join(", ")))
                .hint("choose one with --realm NAME"),
        );
    }
    realms.pop().ok_or_else(|| {
        Failure::new(Code::NotInitialised, "there is no realm on this machine")
            .hint("authctl realm init NAME")
    })
}

fn unknown(wanted: &str) -> Failure {
    Failure::new(
        Code::NotFound,
        format!("no realm {wanted:?} on this machine"),
    )
    .hint("authctl realm list, or make one with authctl realm init NAME")
}

/// Opens the realm's root key with a passphrase that was obtained, and forgets it: what
/// follows may wait for people and nodes.
pub(crate) fn unlock(realm: Realm, passphrase: SecretBytes) -> Result<OpenRealm, Failure> {
    let name = realm.name().clone();
    realm
        .unlock(passphrase.expose())
        .map_err(|error| not_unlocked(error, &name))
}

fn not_unlocked(error: RealmError, name: &Name) -> Failure {
    let hint = match &error {
        RealmError::WrongPassphrase => format!("it has to be the passphrase of the realm {name}"),
        RealmError::BeingHandedOver => {
            format!("authctl realm rotate-root --realm {name} goes on with it")
        }
        RealmError::HandedOver => "run the command again".to_owned(),
        _ => return Failure::from(error),
    };
    Failure::from(error).hint(hint)
}

/// Hands out a secret that was generated: in the JSON result, else on standard
/// error, so that it does not end up where results are collected. It is what was
/// asked for, so `--quiet` does not silence it.
pub(crate) fn show_once(
    context: &Context<'_>,
    data: &mut Value,
    field: &str,
    secret: &SecretBytes,
) {
    let text = String::from_utf8_lossy(secret.expose());
    if context.output.format.is_json() {
        data[field] = json!(text);
    } else {
        eprintln!("Generated \"{text}\" (shown once)");
    }
}

/// A path for people: what lies below the home directory begins with `~`.
fn with_tilde(path: &Path) -> String {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let below = home.and_then(|home| path.strip_prefix(home).ok());
    escaped(&match below {
        Some(below) => format!("~/{}", below.display()),
        None => path.display().to_string(),
    })
}
