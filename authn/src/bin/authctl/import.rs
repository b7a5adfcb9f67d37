//! `authctl import` and `authctl export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sealmoot_authn::cli::{
    self, Code, Failure, PassphraseArgs, SecretArgs, StandardInput, escaped,
};
use sealmoot_authn::import::{BadLine, Format, Import, ImportError, ImportedUser};
use sealmoot_authn::policy::Role;
use sealmoot_authn::realm::{ExistingUsers, Imported, Realm, RealmError, check_roles};
use serde_json::{Value, json};

use crate::realm::{select, unlock};
use crate::tell::tell_nodes;
use crate::user::{check_existing, describe};
use crate::{Context, progress};

/// How many bad lines a message names.
const LINES_SHOWN: usize = 20;

#[derive(Clone, Copy, ValueEnum)]
enum FileFormat {
    /// NAME:HASH, as Apache has it
    Htpasswd,
    /// The header name,hash or name,hash,roles, then a user a line; roles parted by spaces
    Csv,
    /// {"name":…,"hash":…,"roles":[…]} a line
    Jsonl,
}

#[derive(Args)]
pub(crate) struct ImportArgs {
    /// How the file is written
    format: FileFormat,
    /// The file; each hash a PHC string of Argon2id
    file: PathBuf,
    /// Tell the users at each login to have their passwords changed
    ///
    /// Advisable: whoever has an old hash can log in with it, without the password,
    /// until the password is changed.
    #[arg(long)]
    must_change: bool,
    /// A role or grant for all of them, besides those in the file; may be repeated
    ///
    /// Rights of a grant: r read, w write, d delete, l list, a administer.
    #[arg(long = "role", value_name = "ROLE|GRANT")]
    roles: Vec<Role>,
    /// Say what would be done and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Import the good lines and list the others
    #[arg(long)]
    skip_bad: bool,
    /// Leave users alone who exist already
    #[arg(long)]
    skip_existing: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

pub(crate) fn import(args: &ImportArgs, context: &Context<'_>) -> Result<(), Failure> {
    let passphrase = SecretArgs::from(&args.passphrase);
    passphrase.check(&mut StandardInput::default())?;
    let realm = select(context)?;
    let format = match args.format {
        FileFormat::Htpasswd => Format::Htpasswd,
        FileFormat::Csv => Format::Csv,
        FileFormat::Jsonl => Format::Jsonl,
    };
    let mut import = Import::read(&args.file, format).map_err(unreadable)?;
    if !import.bad.is_empty() && !args.skip_bad {
        return Err(bad_lines(&import));
    }
    for user in &mut import.users {
        for role in &args.roles {
            if !user.roles.contains(role) {
                user.roles.push(role.clone());
            }
        }
        check_roles(&user.roles)
            .map_err(|error| Failure::usage(format!("line {}: {error}", user.line)))?;
    }
    check_existing(&realm, import.users.iter().flat_map(|user| &user.roles))?;
    if args.dry_run {
        let imported = would_import(&realm, &import.users, args.skip_existing)?;
        return report(&imported, &import.bad, true, context);
    }
    let no_input = context.common.no_input;
    passphrase.check_obtainable(no_input)?;
    let passphrase = passphrase.obtain_for_realm(&realm, no_input)?;
    let realm = unlock(realm, passphrase)?;
    let existing = if args.skip_existing {
        ExistingUsers::Skip
    } else {
        ExistingUsers::Refuse
    };
    let imported = realm
        .import_users(
            &import.users,
            args.must_change,
            existing,
            cli::now_ms(),
            progress::shown("users", context),
        )
        .map_err(skippable)?;
    tell_nodes(realm.close(), context);
    if imported.added > 0 && !args.must_change {
        context.output.notice(
            "whoever has an old hash can log in with it until the password is changed: \
             authctl user passwd NAME",
        );
    }
    report(&imported, &import.bad, false, context)
}

/// Names, roles and states of all users, a JSON object a line; no secrets.
pub(crate) fn export(context: &Context<'_>) -> Result<(), Failure> {
    let (users, _) = select(context)?.list_users(None, usize::MAX)?;
    if context.output.format == cli::Format::Json {
        let data = users.iter().map(describe).collect();
        return context
            .output
            .result("export", &Value::Array(data), String::new);
    }
    let mut lines = String::new();
    for user in &users {
        lines.push_str(&describe(user).to_string());
        lines.push('\n');
    }
    context.output.bytes(lines.as_bytes())
}

fn would_import(
    realm: &Realm,
    users: &[ImportedUser],
    skip_existing: bool,
) -> Result<Imported, Failure> {
    let mut imported = Imported::default();
    for user in users {
        match realm.user(&user.name)? {
            Some(record) if !record.user().deleted => imported.existing.push(user.name.clone()),
            _ => imported.added += 1,
        }
    }
    if !skip_existing && !imported.existing.is_empty() {
        return Err(skippable(RealmError::UsersExist(imported.existing)));
    }
    Ok(imported)
}

fn report(
    imported: &Imported,
    bad: &[BadLine],
    dry_run: bool,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let existing: Vec<&str> = imported.existing.iter().map(|name| name.as_str()).collect();
    let lines: Vec<Value> = bad
        .iter()
        .map(|bad| json!({"line": bad.line, "what": bad.fault.to_string()}))
        .collect();
    let data = json!({
        "imported": imported.added,
        "existing": existing,
        "bad": lines,
        "dry_run": dry_run,
    });
    context.output.result("import", &data, || {
        let mut text: Vec<String> = bad
            .iter()
            .map(|bad| escaped(&format!("- line {}: {}", bad.line, bad.fault)))
            .collect();
        text.extend(
            existing
                .iter()
                .map(|name| format!("- {name} exists already")),
        );
        let what = if dry_run {
            "would be imported"
        } else {
            "imported"
        };
        text.push(format!("✓ {} users {what}", imported.added));
        text.join("\n")
    })
}

fn bad_lines(import: &Import) -> Failure {
    let mut lines: Vec<String> = import
        .bad
        .iter()
        .take(LINES_SHOWN)
        .map(|bad| format!("line {}: {}", bad.line, bad.fault))
        .collect();
    if import.bad.len() > LINES_SHOWN {
        lines.push("…".to_owned());
    }
    let (bad, all) = (import.bad.len(), import.bad.len() + import.users.len());
    let lines = lines.join("; ");
    Failure::new(
        Code::Config,
        format!("{bad} of {all} lines cannot be imported, and nothing was: {lines}"),
    )
    .hint("mend them, or leave them out with --skip-bad")
}

fn skippable(error: RealmError) -> Failure {
    let exist = matches!(error, RealmError::UsersExist(_));
    let failure = Failure::from(error);
    if exist {
        return failure.hint("nothing was imported; leave them alone with --skip-existing");
    }
    failure
}

fn unreadable(error: ImportError) -> Failure {
    let hint = match error {
        ImportError::File(_) => "name a file that can be read",
        ImportError::TooManyLines => "import it in parts",
        ImportError::Header => "the first line of CSV names the columns",
    };
    Failure::new(Code::Config, error).hint(hint)
}
