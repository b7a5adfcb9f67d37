//! `authctl cred`: the keys with which users and machines log in, and second factors.

mod totp;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use sealmoot_authn::cli::{
    self, AgentArgs, Code, Duration, Failure, PassphraseArgs, SecretArgs, StandardInput, escaped,
    holds_private_key, parse_duration, read_private_key, read_public_key, rfc3339,
};
use sealmoot_authn::files::{self, Existing};
use sealmoot_authn::name::Name;
use sealmoot_authn::narrowing::Narrowing;
use sealmoot_authn::openssh::{ED25519, blob, fingerprint};
use sealmoot_authn::policy::{Grant, Role};
use sealmoot_authn::realm::{NewKey, Realm};
use sealmoot_authn::second_factor::SealedSecondFactor;
use sealmoot_authn::statement::{CredentialId, EnrolledKey, KeyUse, Label};
use sealmoot_crypto::hazmat::openssh;
use sealmoot_crypto::signature::{SigningKey, VerifyingKey};
use serde_json::{Value, json};

use crate::Context;
use crate::grants::warn_of_single_keys;
use crate::realm::select;
use crate::refresh::unlock_refreshed;
use crate::tell::tell_nodes;
use crate::user::{must_exist, warn_of_replaced};

/// The label of a key whose comment is none.
const LABEL_DEFAULT: &str = "key";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Enrol a key, to log in without a password, or a second factor beside the password
    Issue(IssueArgs),
    /// List a user's keys, and the second factor
    List {
        /// The user's name
        user: Name,
    },
    /// Remove a key: its sessions end on every node; or the second factor
    Revoke(RevokeArgs),
    /// Put another key in the place of one; sessions of the old key end
    Rotate(RotateArgs),
    /// Show a key: one in a file, or one of a user; or the user's second factor
    Inspect {
        /// A file of OpenSSH, or the user's name when an id follows
        #[arg(value_name = "FILE|USER")]
        target: String,
        /// The id of the user's key or second factor
        id: Option<CredentialId>,
    },
}

#[derive(Args)]
pub(crate) struct IssueArgs {
    /// The user's name
    user: Name,
    #[command(flatten)]
    source: SourceArgs,
    /// Enrol a second factor: codes of an authenticator app, asked for beside the password
    ///
    /// Prints the secret for the app, and ten recovery codes, once. On a terminal it asks
    /// for a code of the app first; without one, or with --no-input, nothing is confirmed.
    #[arg(
        long,
        conflicts_with_all = ["public_key", "new", "agent", "label", "ttl", "service", "grants"]
    )]
    totp: bool,
    /// What people will call the key; the key's comment without
    #[arg(long, value_name = "TEXT")]
    label: Option<Label>,
    /// How long the key shall count, such as 90d; for ever without
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// The key is a machine's, and nobody is there to be asked
    #[arg(long)]
    service: bool,
    /// Narrow the user's rights to this grant, such as 'app/*:r' (r read, w write,
    /// d delete, l list, a administer); may be repeated
    #[arg(long = "grant", value_name = "PREFIX:RIGHTS")]
    grants: Vec<Grant>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

#[derive(Args)]
pub(crate) struct RevokeArgs {
    /// The user's name
    user: Name,
    /// The id of the key or the second factor, as `cred list` prints it
    id: CredentialId,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

#[derive(Args)]
pub(crate) struct RotateArgs {
    /// The user's name
    user: Name,
    /// The id of the key that goes, as `cred list` prints it
    id: CredentialId,
    #[command(flatten)]
    source: SourceArgs,
    /// How long the new key shall count, such as 90d; as long as the old one without
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    ttl: Option<Duration>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Where the key comes from.
#[derive(Args)]
struct SourceArgs {
    /// The public key in this file of OpenSSH (FILE.pub)
    #[arg(long, value_name = "FILE.pub")]
    public_key: Option<PathBuf>,
    /// Make a key and write it to this file, 0600, in the form of OpenSSH
    #[arg(long, value_name = "FILE")]
    new: Option<PathBuf>,
    #[command(flatten)]
    agent: AgentArgs,
}

pub(crate) fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    match command {
        Command::Issue(args) => issue(args, context),
        Command::List { user } => list(&user, context),
        Command::Revoke(args) => revoke(&args, context),
        Command::Rotate(args) => rotate(&args, context),
        Command::Inspect { target, id: None } => inspect_file(Path::new(&target), context),
        Command::Inspect {
            target,
            id: Some(id),
        } => inspect_enrolled(&target, id, context),
    }
}

fn issue(args: IssueArgs, context: &Context<'_>) -> Result<(), Failure> {
    if args.totp {
        return totp::issue(&args.user, &args.passphrase, context);
    }
    let passphrase = checked(&args.passphrase)?;
    args.source.check()?;
    warn_of_single_keys(&args.grants, context);
    let narrowing = narrowing(args.grants)?;
    let realm = select(context)?;
    must_exist(&realm, &args.user)?;
    let source = args.source.resolve(context)?;
    passphrase.check_obtainable(context.common.no_input)?;
    let passphrase = passphrase.obtain_for_realm(&realm, context.common.no_input)?;
    let realm = unlock_refreshed(realm, passphrase, context)?;
    let replaced = realm.roles_to_replace(&args.user)?;
    let label = args.label.unwrap_or_else(|| source.label());
    let made = source.make()?;
    let now_ms = cli::now_ms();
    let new = NewKey {
        label,
        usage: if args.service {
            KeyUse::Service
        } else {
            KeyUse::Device
        },
        key: made.key,
        expires_ms: args.ttl.map_or(0, |ttl| after(now_ms, ttl)),
        narrowing,
    };
    let enrolled = realm.enroll_key(&args.user, new, now_ms);
    let (_, key) = enrolled.inspect_err(|_| made.take_back())?;
    tell_nodes(realm.close(), context);
    warn_of_replaced(&replaced, context);
    if key.usage == KeyUse::Service && key.narrowing.is_none() {
        let user = &args.user;
        context.output.notice(format!(
            "this key has all the rights of {user}; --grant narrows them"
        ));
    }
    report(&args.user, &key, "", context)
}

fn revoke(args: &RevokeArgs, context: &Context<'_>) -> Result<(), Failure> {
    let passphrase = checked(&args.passphrase)?;
    let realm = select(context)?;
    if totp::with_id(&realm, &args.user, args.id)?.is_some() {
        return totp::remove(&args.user, args.id, &passphrase, context);
    }
    enrolled(&realm, &args.user, args.id)?;
    passphrase.check_obtainable(context.common.no_input)?;
    let passphrase = passphrase.obtain_for_realm(&realm, context.common.no_input)?;
    let realm = unlock_refreshed(realm, passphrase, context)?;
    let replaced = realm.roles_to_replace(&args.user)?;
    let (_, key) = realm.revoke_key(&args.user, args.id, cli::now_ms())?;
    tell_nodes(realm.close(), context);
    warn_of_replaced(&replaced, context);
    report(&args.user, &key, "   revoked, its sessions ended", context)
}

fn rotate(args: &RotateArgs, context: &Context<'_>) -> Result<(), Failure> {
    let passphrase = checked(&args.passphrase)?;
    args.source.check()?;
    let realm = select(context)?;
    if totp::with_id(&realm, &args.user, args.id)?.is_some() {
        let (user, id) = (&args.user, args.id);
        return Err(
            Failure::usage("a second factor is not rotated").hint(format!(
                "authctl cred revoke {user} {id}, then authctl cred issue {user} --totp"
            )),
        );
    }
    enrolled(&realm, &args.user, args.id)?;
    let source = args.source.resolve(context)?;
    passphrase.check_obtainable(context.common.no_input)?;
    let passphrase = passphrase.obtain_for_realm(&realm, context.common.no_input)?;
    let realm = unlock_refreshed(realm, passphrase, context)?;
    let made = source.make()?;
    let now_ms = cli::now_ms();
    let expires_ms = args.ttl.map(|ttl| after(now_ms, ttl));
    let replaced = realm.roles_to_replace(&args.user)?;
    let rotated = realm.rotate_key(&args.user, args.id, made.key, expires_ms, now_ms);
    let (_, key) = rotated.inspect_err(|_| made.take_back())?;
    tell_nodes(realm.close(), context);
    warn_of_replaced(&replaced, context);
    let what = format!("   in the place of {}", args.id);
    report(&args.user, &key, &what, context)
}

fn list(user: &Name, context: &Context<'_>) -> Result<(), Failure> {
    let record = must_exist(&select(context)?, user)?;
    let keys = &record.user().keys;
    let factor = record.user().second_factor.as_deref();
    let now_ms = cli::now_ms();
    if keys.is_empty() && factor.is_none() {
        context.output.notice(format!(
            "no keys yet: authctl cred issue {user} --public-key FILE.pub"
        ));
    }
    let mut data: Vec<Value> = keys.iter().map(|key| describe(user, key, now_ms)).collect();
    data.extend(factor.map(|factor| totp::describe(user, factor)));
    context
        .output
        .result("credentials", &Value::Array(data), || {
            table(keys, factor, now_ms)
        })
}

fn inspect_enrolled(user: &str, id: CredentialId, context: &Context<'_>) -> Result<(), Failure> {
    let user: Name = user.parse().map_err(Failure::usage)?;
    let realm = select(context)?;
    if let Some(factor) = totp::with_id(&realm, &user, id)? {
        return totp::inspect(&user, &factor, context);
    }
    let key = enrolled(&realm, &user, id)?;
    let now_ms = cli::now_ms();
    let data = describe(&user, &key, now_ms);
    context.output.result("credential", &data, || {
        format!(
            "key          {}\nuser         {user}\nlabel        {}\nkind         {}\n\
             fingerprint  {}\nkey id       {}\nexpires      {}\nrights       {}",
            key.id,
            key.label,
            key.usage,
            fingerprint(&blob(&key.key)),
            key.key.key_id(),
            expiry(&key, now_ms),
            rights(&key),
        )
    })
}

fn inspect_file(path: &Path, context: &Context<'_>) -> Result<(), Failure> {
    // A user's name looks like a file that is not there.
    let name = path.to_str().filter(|name| name.parse::<Name>().is_ok());
    if let (Some(name), false) = (name, path.exists()) {
        return Err(
            Failure::new(Code::Config, format!("there is no file {name}")).hint(format!(
                "for a key of the user {name} add its id: authctl cred list {name}"
            )),
        );
    }
    let private = holds_private_key(path)?;
    let (key, comment) = if private {
        let (key, comment) = read_private_key(path)?;
        (key.verifying_key(), comment)
    } else {
        read_public_key(path)?
    };
    let print = fingerprint(&blob(&key));
    let line = openssh::public_to_line(&key, &comment).map_err(Failure::internal)?;
    let data = json!({
        "type": ED25519, "private": private, "fingerprint": print,
        "key_id": key.key_id().to_string(), "comment": comment, "public": line,
    });
    context.output.result("key", &data, || {
        let half = if private { "private" } else { "public" };
        let id = key.key_id();
        format!(
            "type         {ED25519}, {half}\nfingerprint  {print}\nkey id       {id}\npublic       {line}"
        )
    })
}

impl SourceArgs {
    fn check(&self) -> Result<(), Failure> {
        let given = usize::from(self.public_key.is_some())
            + usize::from(self.new.is_some())
            + usize::from(self.agent.agent);
        if given == 1 {
            return Ok(());
        }
        let message = "say where the one key comes from";
        Err(Failure::usage(message)
            .hint("--public-key FILE.pub, --agent or --new FILE; or --totp for a second factor"))
    }

    /// What can be found out before anybody is asked for the passphrase.
    fn resolve(&self, context: &Context<'_>) -> Result<Source, Failure> {
        if let Some(path) = &self.new {
            // Looked at again when it is written.
            if path.symlink_metadata().is_ok() {
                let message = format!("{} exists already", path.display());
                return Err(Failure::new(Code::Exists, message)
                    .hint("name another file, or enrol that key with --public-key FILE.pub"));
            }
            return Ok(Source::New(path.clone()));
        }
        let (key, comment) = match &self.public_key {
            Some(path) => read_public_key(path)?,
            None => {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(Failure::internal)?;
                let chosen = runtime.block_on(self.agent.choose(context.common.timeout));
                let (held, comment) = chosen?;
                (held.key, comment)
            }
        };
        Ok(Source::Known { key, comment })
    }
}

/// A key that is known, or one that will be made.
enum Source {
    Known { key: VerifyingKey, comment: String },
    New(PathBuf),
}

/// A key that is there to be enrolled.
struct Made {
    key: VerifyingKey,
    /// The file that was written for it.
    file: Option<PathBuf>,
}

impl Source {
    /// What the key calls itself, where that can be a label.
    fn label(&self) -> Label {
        let name = match self {
            Self::Known { comment, .. } => comment.clone(),
            Self::New(path) => path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
        };
        let default = || LABEL_DEFAULT.parse().expect("it is a label");
        name.parse().unwrap_or_else(|_| default())
    }

    /// The key; a new one is on the disk before anybody can log in with it.
    fn make(self) -> Result<Made, Failure> {
        let path = match self {
            Self::Known { key, .. } => return Ok(Made { key, file: None }),
            Self::New(path) => path,
        };
        let key = SigningKey::generate().map_err(Failure::internal)?;
        let text = openssh::private_to_text(&key, "").map_err(Failure::internal)?;
        files::write(&path, text.expose(), Existing::Refuse)?;
        Ok(Made {
            key: key.verifying_key(),
            file: Some(path),
        })
    }
}

impl Made {
    /// Removes the file of a key that was not enrolled: it opens nothing.
    fn take_back(&self) {
        if let Some(file) = &self.file {
            let _ = files::remove(file);
        }
    }
}

fn checked(args: &PassphraseArgs) -> Result<SecretArgs, Failure> {
    let passphrase = SecretArgs::from(args);
    passphrase.check(&mut StandardInput::default())?;
    Ok(passphrase)
}

fn narrowing(grants: Vec<Grant>) -> Result<Option<Narrowing>, Failure> {
    if grants.is_empty() {
        return Ok(None);
    }
    let mut different: Vec<Grant> = Vec::with_capacity(grants.len());
    for grant in grants {
        if !different.contains(&grant) {
            different.push(grant);
        }
    }
    let narrowing = Narrowing::new(different).map_err(|error| {
        Failure::usage(error).hint("a prefix such as 'app/*:rw' covers all below it")
    })?;
    Ok(Some(narrowing))
}

fn enrolled(realm: &Realm, user: &Name, id: CredentialId) -> Result<EnrolledKey, Failure> {
    let record = must_exist(realm, user)?;
    record.user().enrolled(&id).cloned().ok_or_else(|| {
        Failure::new(Code::NotFound, format!("{user} has no key {id}"))
            .hint(format!("authctl cred list {user}"))
    })
}

fn after(now_ms: u64, ttl: Duration) -> u64 {
    now_ms.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
}

fn report(
    user: &Name,
    key: &EnrolledKey,
    what: &str,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let data = describe(user, key, cli::now_ms());
    context.output.result("credential", &data, || {
        let (id, usage, label) = (key.id, key.usage, &key.label);
        format!("✓ key {id} of {user} [{usage}] {label}{what}")
    })
}

fn describe(user: &Name, key: &EnrolledKey, now_ms: u64) -> Value {
    let grants = key.narrowing.as_ref().map(|narrowing| {
        let grants: Vec<String> = narrowing.rules().iter().map(Role::to_string).collect();
        grants
    });
    json!({
        "id": key.id.to_string(),
        "user": user.as_str(),
        "label": key.label.as_str(),
        "kind": key.usage.to_string(),
        "fingerprint": fingerprint(&blob(&key.key)),
        "key_id": key.key.key_id().to_string(),
        "expires": (key.expires_ms != 0).then(|| rfc3339(key.expires_ms)),
        "expired": !key.holds_at(now_ms),
        "grants": grants,
    })
}

fn table(keys: &[EnrolledKey], factor: Option<&SealedSecondFactor>, now_ms: u64) -> String {
    if keys.is_empty() && factor.is_none() {
        return String::new();
    }
    let mut lines = vec![format!(
        "{:16}  {:7}  {:20}  {:50}  LABEL, RIGHTS",
        "ID", "KIND", "EXPIRES", "FINGERPRINT"
    )];
    lines.extend(keys.iter().map(|key| {
        format!(
            "{:16}  {:7}  {:20}  {:50}  {}, {}",
            key.id.to_string(),
            key.usage.to_string(),
            expiry(key, now_ms),
            fingerprint(&blob(&key.key)),
            key.label,
            rights(key),
        )
    }));
    lines.extend(factor.map(totp::line));
    lines.join("\n")
}

fn expiry(key: &EnrolledKey, now_ms: u64) -> String {
    if !key.holds_at(now_ms) {
        return "expired".to_owned();
    }
    match key.expires_ms {
        0 => "never".to_owned(),
        expires_ms => rfc3339(expires_ms),
    }
}

/// Rights for people; patterns of grants may hold any character.
fn rights(key: &EnrolledKey) -> String {
    let Some(narrowing) = &key.narrowing else {
        return "all of the user's".to_owned();
    };
    let grants: Vec<String> = narrowing.rules().iter().map(Role::to_string).collect();
    escaped(&grants.join(", "))
}
