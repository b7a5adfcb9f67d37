//! `authctl admin`: administrators beside the root.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use sealmoot_authn::cli::{
    self, Code, Duration, Failure, PassphraseArgs, SecretArgs, StandardInput, escaped, is_terminal,
    parse_duration, read_answer, rfc3339,
};
use sealmoot_authn::delegation::Chain;
use sealmoot_authn::files::{self, Existing, FileError};
use sealmoot_authn::name::Name;
use sealmoot_authn::policy::{Grant, Rights};
use sealmoot_authn::realm::{
    AcceptedFile, DELEGATION_FILE_MAX, DelegationFileError, Fate, OpenRealm, PendingRequest,
    REQUEST_LENGTH_MAX, Realm, RealmError, Request, Terms,
};
use sealmoot_authn::realm_id::RealmId;
use sealmoot_authn::statement::{REASON_LENGTH_MAX, check_address, is_reason};
use serde_json::{Value, json};

use crate::Context;
use crate::realm::{select, show_once, unlock};
use crate::refresh::{refresh, unlock_refreshed};
use crate::tell::tell_nodes;
use crate::user::{confirm, warn_of_replaced};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Ask to become a delegate: makes a key here, and a request to hand to the root
    ///
    /// The key stays on this machine, sealed under a passphrase. --realm is the realm's
    /// id, as `authctl realm show` prints it where the root is.
    Request(RequestArgs),
    /// Make who asks a delegate, or renew the delegation
    ///
    /// Writes a file that is no secret: hand it back to who asked.
    Grant(GrantArgs),
    /// Become a delegate by what the root handed back, or go on under what it renewed
    Accept(AcceptArgs),
    /// List delegates: what they may hand out, until when, and whether that holds
    List,
    /// Take a delegation back: nothing issued under it is believed any longer
    ///
    /// The users whom the delegate made either live on, signed by the root as they are,
    /// or end. On a terminal they are shown first.
    Revoke(RevokeArgs),
    /// Ask the nodes what delegates, or the root, changed
    Refresh {
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
}

#[derive(Args)]
pub(crate) struct RequestArgs {
    /// Your name as a delegate
    name: Name,
    /// Where to write the request; NAME.request without
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Generate the passphrase and show it once
    #[arg(long)]
    generate: bool,
}

#[derive(Args)]
pub(crate) struct GrantArgs {
    /// The request
    #[arg(value_name = "REQUEST")]
    request: PathBuf,
    /// What the delegate may hand out, such as 'app/*:rwdl'
    #[arg(required = true, value_name = "PREFIX:RIGHTS")]
    grants: Vec<Grant>,
    /// How long the delegation, and all users made under it, shall count, such as 90d
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    until: Duration,
    /// Let the delegate make delegates too, within the same bounds
    #[arg(long)]
    may_delegate: bool,
    /// Where to write the delegation; NAME.delegation without
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

#[derive(Args)]
pub(crate) struct AcceptArgs {
    /// The delegation that was handed back
    #[arg(value_name = "DELEGATION")]
    file: PathBuf,
    /// A node that the delegation does not name; may be repeated
    #[arg(long = "node", value_name = "HOST:PORT")]
    nodes: Vec<String>,
    /// What the realm is called on this machine; its own name without
    #[arg(long = "as", value_name = "NAME")]
    called: Option<Name>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

#[derive(Args)]
pub(crate) struct RevokeArgs {
    /// The delegate's name
    name: Name,
    /// The root signs the delegate's users as they are: they live on
    #[arg(long, conflicts_with = "drop")]
    adopt: bool,
    /// The delegate's users end
    #[arg(long)]
    drop: bool,
    /// Why, for people; on record at every node
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

pub(crate) fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    match command {
        Command::Request(args) => request(&args, context),
        Command::Grant(args) => grant(&args, context),
        Command::Accept(args) => accept(&args, context),
        Command::List => list(context),
        Command::Revoke(args) => revoke(&args, context),
        Command::Refresh { passphrase } => refresh_now(&passphrase, context),
    }
}

fn request(args: &RequestArgs, context: &Context<'_>) -> Result<(), Failure> {
    let no_input = context.common.no_input;
    let passphrase = SecretArgs::from(&args.passphrase).generated(args.generate);
    passphrase.check(&mut StandardInput::default())?;
    let realm = match context.realm.as_ref().map(|realm| realm.parse::<RealmId>()) {
        Some(Ok(id)) => id,
        Some(Err(_)) => select(context)?.id(),
        None => {
            return Err(Failure::usage("whose delegate?")
                .hint("--realm ID, as `authctl realm show` prints it where the root is"));
        }
    };
    let out = file_of(args.out.as_deref(), &args.name, "request")?;
    passphrase.check_obtainable(no_input).map_err(|failure| {
        let hint = format!("{}, or --generate", failure.hint);
        failure.hint(hint)
    })?;
    let secret = passphrase.obtain_new_or_generate(no_input)?;
    let places = &context.places.data;
    let bytes = PendingRequest::create(places, &realm, &args.name, secret.expose())
        .map_err(|error| not_asked(error, &args.name))?;
    files::write(&out, &bytes, Existing::Refuse)?;
    let asked = Request::decode(&bytes, &realm).map_err(not_taken)?;
    let mut data = json!({
        "name": args.name.as_str(),
        "realm": realm.to_string(),
        "key": asked.key().key_id().to_string(),
        "file": out.display().to_string(),
    });
    if args.generate {
        show_once(context, &mut data, "passphrase", &secret);
    }
    drop(secret);
    context.output.result("request", &data, || {
        let file = escaped(&out.display().to_string());
        let key = asked.key().key_id();
        format!(
            "✓ {file}   asks {} for a delegation to {}\n  key {key}",
            realm.short(),
            args.name
        )
    })?;
    context.output.notice(format!(
        "where the root is: authctl admin grant {} 'PREFIX/*:rwdl' --until 90d",
        escaped(&out.display().to_string())
    ));
    Ok(())
}

fn grant(args: &GrantArgs, context: &Context<'_>) -> Result<(), Failure> {
    let no_input = context.common.no_input;
    let passphrase = SecretArgs::from(&args.passphrase);
    passphrase.check(&mut StandardInput::default())?;
    let realm = select(context)?;
    let bytes = files::read_named_secret(&args.request, REQUEST_LENGTH_MAX)?;
    let asked = Request::decode(bytes.expose(), &realm.id()).map_err(not_taken)?;
    let out = file_of(args.out.as_deref(), asked.name(), "delegation")?;
    passphrase.check_obtainable(no_input)?;
    let everything = Grant::everything();
    if everything.lies_within(&args.grants) {
        let name = asked.name();
        confirm(
            &format!("Let {name} hand out everything, {} too?", Rights::ALL),
            context,
        )?;
    }
    // The key is what the delegation is for: whoever handed the request in can be asked
    // whether it is theirs.
    context.output.notice(format!(
        "the request of {} is for the key {}",
        asked.name(),
        asked.key().key_id()
    ));
    let passphrase = passphrase.obtain_for_realm(&realm, no_input)?;
    let realm = unlock_refreshed(realm, passphrase, context)?;
    let now_ms = cli::now_ms();
    let until_ms = u64::try_from(args.until.as_millis()).unwrap_or(u64::MAX);
    let terms = Terms {
        grants: args.grants.clone(),
        may_delegate: args.may_delegate,
        expires_ms: now_ms.saturating_add(until_ms),
    };
    let granted = realm
        .delegate(&asked, &terms, now_ms)
        .map_err(|error| not_granted(error, asked.name()))?;
    files::write(&out, &granted.file, Existing::Refuse)?;
    let realm = tell_nodes(realm.close(), context);
    for name in &granted.lost {
        context.output.warning(format!(
            "user {name} does not lie within the new bounds and ended"
        ));
    }
    let mut data = describe(&realm, &granted.chain, now_ms)?;
    data["file"] = json!(out.display().to_string());
    context.output.result("delegation", &data, || {
        let what = if granted.renewed {
            "renewed"
        } else {
            "granted"
        };
        format!(
            "✓ {} [{}] until {}   {what}, in {}",
            granted.chain.last().name,
            grants(&granted.chain),
            rfc3339(terms.expires_ms),
            escaped(&out.display().to_string()),
        )
    })?;
    context.output.notice(format!(
        "hand it back; there: authctl admin accept {}",
        escaped(&out.display().to_string())
    ));
    Ok(())
}

fn accept(args: &AcceptArgs, context: &Context<'_>) -> Result<(), Failure> {
    let no_input = context.common.no_input;
    let passphrase = SecretArgs::from(&args.passphrase);
    passphrase.check(&mut StandardInput::default())?;
    if let Some(bad) = args.nodes.iter().find(|node| check_address(node).is_err()) {
        return Err(Failure::usage(format!("{bad:?} is not HOST:PORT")));
    }
    let bytes = files::read_named_secret(&args.file, DELEGATION_FILE_MAX)?;
    let file = AcceptedFile::decode(bytes.expose()).map_err(not_taken)?;
    let places = &context.places.data;
    let held = Realm::all(places)?
        .into_iter()
        .find(|realm| realm.is_renewed_by(&file));
    passphrase.check_obtainable(no_input)?;
    let now_ms = cli::now_ms();
    let (realm, renewed) = match held {
        Some(realm) => {
            let passphrase = passphrase.obtain_for_realm(&realm, no_input)?;
            let realm = unlock(realm, passphrase)?;
            (realm.accept_renewal(&file, now_ms)?, true)
        }
        None => {
            let pending = PendingRequest::find(places, &file).map_err(not_taken)?;
            let called = args.called.as_ref().unwrap_or_else(|| file.name());
            let directory = places.join(called.as_str());
            if directory.symlink_metadata().is_ok() {
                let taken = format!("{} exists already", directory.display());
                return Err(Failure::new(Code::Exists, taken).hint("choose another: --as NAME"));
            }
            let passphrase = passphrase.obtain(no_input)?;
            let accepted = pending.accept(places, called, &file, passphrase.expose(), now_ms);
            (accepted?, false)
        }
    };
    realm.note_nodes(&args.nodes)?;
    refresh(&realm, context)?;
    let realm = tell_nodes(realm.close(), context);
    let chain = file.chain();
    let data = describe(&realm, chain, now_ms)?;
    context.output.result("delegation", &data, || {
        let what = if renewed { "renewed" } else { "accepted" };
        format!(
            "✓ {} of realm {} [{}] until {}   {what}",
            chain.last().name,
            realm.name(),
            grants(chain),
            rfc3339(chain.last().expires_ms),
        )
    })?;
    if !renewed {
        context
            .output
            .notice("next: authctl user add NAME --key NAME.pub --role 'PREFIX/*:r'");
    }
    Ok(())
}

fn list(context: &Context<'_>) -> Result<(), Failure> {
    let realm = select(context)?;
    let now_ms = cli::now_ms();
    let chains: Vec<Chain> = realm
        .chain()
        .cloned()
        .into_iter()
        .chain(realm.delegations()?)
        .collect();
    let data: Vec<Value> = chains
        .iter()
        .map(|chain| describe(&realm, chain, now_ms))
        .collect::<Result<_, _>>()?;
    if chains.is_empty() {
        context.output.notice(
            "no delegates yet: who is to be one says authctl admin request NAME --realm ID",
        );
    }
    let rows: Vec<[String; 4]> = chains
        .iter()
        .zip(&data)
        .map(|(chain, data)| {
            [
                chain.last().name.to_string(),
                data["state"].as_str().unwrap_or_default().to_owned(),
                rfc3339(chain.last().expires_ms),
                grants(chain),
            ]
        })
        .collect();
    context
        .output
        .result("delegations", &Value::Array(data), || table(&rows))
}

fn revoke(args: &RevokeArgs, context: &Context<'_>) -> Result<(), Failure> {
    let no_input = context.common.no_input;
    let passphrase = SecretArgs::from(&args.passphrase);
    passphrase.check(&mut StandardInput::default())?;
    if !is_reason(&args.reason) {
        return Err(Failure::usage(format!(
            "a reason is one line of up to {REASON_LENGTH_MAX} bytes"
        )));
    }
    let asks = is_terminal() && !no_input;
    if !args.adopt && !args.drop && !asks {
        return Err(
            Failure::usage("what becomes of the users whom the delegate made?")
                .hint("--adopt: the root signs them as they are; --drop: they end"),
        );
    }
    let realm = select(context)?;
    let path = delegation(&realm, &args.name)?.path();
    passphrase.check_obtainable(no_input)?;
    let passphrase = passphrase.obtain_for_realm(&realm, no_input)?;
    let realm = unlock_refreshed(realm, passphrase, context)?;
    let users = realm.realm().users_of(&path)?;
    let users: Vec<_> = users
        .iter()
        .map(|record| record.user())
        .filter(|user| !user.deleted)
        .collect();
    for user in &users {
        let roles: Vec<String> = user.roles.iter().map(ToString::to_string).collect();
        let roles = escaped(&roles.join(", "));
        context
            .output
            .notice(format!("made by {}: {} [{roles}]", args.name, user.name));
    }
    let fate = fate(args, users.len(), asks, context)?;
    let revoked = realm.revoke_delegate(&args.name, fate, &args.reason, cli::now_ms())?;
    tell_nodes(realm.close(), context);
    warn_of_replaced(&revoked.replaced, context);
    let names = |names: &[Name]| -> Vec<String> { names.iter().map(Name::to_string).collect() };
    let data = json!({
        "name": args.name.as_str(),
        "adopted": names(&revoked.adopted),
        "dropped": names(&revoked.dropped),
    });
    context.output.result("delegation", &data, || {
        format!(
            "✓ {} is no delegate any longer   {} users live on, {} ended",
            args.name,
            revoked.adopted.len(),
            revoked.dropped.len()
        )
    })
}

/// What the command line or the person at the terminal says of a delegate's users.
fn fate(
    args: &RevokeArgs,
    users: usize,
    asks: bool,
    context: &Context<'_>,
) -> Result<Fate, Failure> {
    let name = &args.name;
    if args.adopt || args.drop {
        let (fate, what) = if args.adopt {
            (Fate::Adopt, "sign these users as the root")
        } else {
            (Fate::Drop, "end these users")
        };
        // Where nobody can be asked, having said which of the two is the answer.
        if asks {
            confirm(
                &format!("Revoke {name}, and {what} ({users} in all)?"),
                context,
            )?;
        }
        return Ok(fate);
    }
    eprint!("Revoke {name}; adopt these users or drop them ({users} in all)? [adopt/drop] ");
    match read_answer()?.trim() {
        "adopt" => Ok(Fate::Adopt),
        "drop" => Ok(Fate::Drop),
        _ => Err(Failure::usage("not confirmed; nothing was changed")),
    }
}

fn refresh_now(passphrase: &PassphraseArgs, context: &Context<'_>) -> Result<(), Failure> {
    let no_input = context.common.no_input;
    let passphrase = SecretArgs::from(passphrase);
    passphrase.check(&mut StandardInput::default())?;
    let realm = select(context)?;
    passphrase.check_obtainable(no_input)?;
    let passphrase = passphrase.obtain_for_realm(&realm, no_input)?;
    let realm: OpenRealm = unlock(realm, passphrase)?;
    let learnt = refresh(&realm, context)?;
    tell_nodes(realm.close(), context);
    context
        .output
        .result("refresh", &json!({"learnt": learnt}), || {
            format!("✓ {learnt} records were new here")
        })
}

fn delegation(realm: &Realm, name: &Name) -> Result<Chain, Failure> {
    realm
        .delegation(name)
        .map_err(|error| Failure::from(error).hint("authctl admin list"))
}

/// The file to be written, which must not be there.
fn file_of(out: Option<&Path>, name: &Name, kind: &str) -> Result<PathBuf, Failure> {
    let path = out.map_or_else(|| PathBuf::from(format!("{name}.{kind}")), Path::to_owned);
    if path.symlink_metadata().is_ok() {
        let message = format!("{} exists already", path.display());
        return Err(Failure::new(Code::Exists, message)
            .hint("remove it, or choose another file with --out FILE"));
    }
    Ok(path)
}

fn not_taken(error: DelegationFileError) -> Failure {
    let (code, hint) = match &error {
        DelegationFileError::Malformed(_) | DelegationFileError::BadSignature => (
            Code::Integrity,
            "have it handed over again: authctl admin request, authctl admin grant",
        ),
        DelegationFileError::Roots(_)
        | DelegationFileError::Delegation(_)
        | DelegationFileError::Call(_) => (
            Code::Integrity,
            "have it made again where the root is: authctl admin grant",
        ),
        DelegationFileError::WrongRealm(_) => {
            (Code::WrongRealm, "choose that realm with --realm NAME|ID")
        }
        DelegationFileError::NoRequest => (
            Code::NotFound,
            "take it to the machine where authctl admin request was said",
        ),
    };
    Failure::new(code, error).hint(hint)
}

fn not_asked(error: RealmError, name: &Name) -> Failure {
    match error {
        error @ RealmError::File(FileError::Exists(_)) => Failure::from(error).hint(format!(
            "{name} has asked already: accept the answer (authctl admin accept), choose another \
             name, or remove that directory with the key in it to ask anew"
        )),
        error => error.into(),
    }
}

fn not_granted(error: RealmError, name: &Name) -> Failure {
    let hint = match &error {
        RealmError::DelegateExists(_) => format!("authctl admin revoke {name}, or another name"),
        RealmError::Delegation(_) => "authctl admin list shows your own bounds".to_owned(),
        _ => return error.into(),
    };
    Failure::from(error).hint(hint)
}

fn describe(realm: &Realm, chain: &Chain, now_ms: u64) -> Result<Value, Failure> {
    let last = chain.last();
    let revoked = match realm.revocations()? {
        Some(record) => record.check(chain).is_err(),
        None => false,
    };
    let state = if revoked {
        "revoked"
    } else if now_ms >= last.expires_ms {
        "expired"
    } else if chain.holds_at(now_ms) {
        "holds"
    } else {
        "not yet"
    };
    let grants: Vec<String> = last.grants.iter().map(Grant::to_string).collect();
    Ok(json!({
        "name": last.name.as_str(),
        "serial": chain.path().to_string(),
        "version": last.version,
        "key": last.key.key_id().to_string(),
        "grants": grants,
        "may_delegate": last.powers.delegations,
        "expires": rfc3339(last.expires_ms),
        "state": state,
    }))
}

fn table(rows: &[[String; 4]]) -> String {
    let Some(longest) = rows.iter().map(|row| row[0].len()).max() else {
        return String::new();
    };
    let width = longest.max("NAME".len());
    let mut lines = vec![format!(
        "{:width$}  STATE    {:20}  GRANTS",
        "NAME", "EXPIRES"
    )];
    lines.extend(rows.iter().map(|[name, state, expires, grants]| {
        format!("{name:width$}  {state:7}  {expires:20}  {grants}")
    }));
    lines.join("\n")
}

/// Grants for people; patterns may hold any character.
fn grants(chain: &Chain) -> String {
    let grants: Vec<String> = chain.last().grants.iter().map(Grant::to_string).collect();
    escaped(&grants.join(", "))
}
