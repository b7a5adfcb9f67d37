//! `authctl user`.

use std::io;

use clap::{Args, Subcommand};
use sealmoot_authn::cli::{
    self, Failure, PassphraseArgs, PasswordArgs, SecretArgs, StandardInput, escaped, is_terminal,
};
use sealmoot_authn::name::Name;
use sealmoot_authn::policy::Role;
use sealmoot_authn::publish;
use sealmoot_authn::realm::{OpenRealm, Realm, RealmError, check_roles};
use sealmoot_authn::statement::User;
use sealmoot_authn::users::UserRecord;
use sealmoot_crypto::secret::SecretBytes;
use serde_json::{Value, json};

use crate::Context;
use crate::realm::{select, show_once, unlock};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Add a user with a password and roles
    Add(AddArgs),
    /// List all users
    List,
    /// Show one user
    Show {
        /// The user's name
        name: Name,
    },
    /// Give a user another password; sessions of the old one end
    Passwd(PasswdArgs),
    /// Let a disabled user log in again
    Enable(ChangeArgs),
    /// Refuse a user's logins and end the user's sessions
    Disable(ChangeArgs),
    /// Delete a user
    ///
    /// On a terminal it asks first unless --yes is given; elsewhere the name on the
    /// command line is taken for the answer.
    Delete(ChangeArgs),
}

#[derive(Args)]
pub(crate) struct AddArgs {
    /// Name of the new user
    name: Name,
    /// A role (admin) or a grant such as 'app/*:rw'; may be repeated
    ///
    /// A grant is a key, or a prefix that ends with /*, and rights: r read, w write,
    /// d delete, l list, a administer. Without any role the user may log in and
    /// nothing else.
    #[arg(long = "role", value_name = "ROLE|GRANT")]
    roles: Vec<Role>,
    #[command(flatten)]
    new: NewPasswordArgs,
}

#[derive(Args)]
pub(crate) struct PasswdArgs {
    /// The user's name
    name: Name,
    #[command(flatten)]
    new: NewPasswordArgs,
}

#[derive(Args)]
struct NewPasswordArgs {
    #[command(flatten)]
    passphrase: PassphraseArgs,
    #[command(flatten)]
    password: PasswordArgs,
    /// Generate the password and show it once
    #[arg(long)]
    generate: bool,
}

#[derive(Args)]
pub(crate) struct ChangeArgs {
    /// The user's name
    name: Name,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

pub(crate) fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    match command {
        Command::Add(args) => add(args, context),
        Command::List => list(context),
        Command::Show { name } => show(&name, context),
        Command::Passwd(args) => passwd(&args, context),
        Command::Enable(args) => change(&args, context, "   enabled", |user| user.enabled = true),
        Command::Disable(args) => {
            change(&args, context, "   disabled", |user| user.enabled = false)
        }
        Command::Delete(args) => delete(&args, context),
    }
}

fn add(args: AddArgs, context: &Context<'_>) -> Result<(), Failure> {
    let mut roles: Vec<Role> = Vec::with_capacity(args.roles.len());
    for role in args.roles {
        if !roles.contains(&role) {
            roles.push(role);
        }
    }
    check_roles(&roles)?;
    let secrets = Secrets::of(&args.new)?;
    let realm = select(context)?;
    if existing(&realm, &args.name)?.is_some() {
        return Err(Failure::from(RealmError::UserExists(args.name.clone()))
            .hint(format!("authctl user show {}", args.name)));
    }
    let (realm, password) = secrets.unlock(realm, context)?;
    let record = realm.add_user(&args.name, roles, password.expose(), cli::now_ms())?;
    tell_nodes(realm.realm(), context);
    let mut data = describe(record.user());
    if args.new.generate {
        show_once(context, &mut data, "password", &password);
    }
    report(&record, &data, "", context)
}

fn passwd(args: &PasswdArgs, context: &Context<'_>) -> Result<(), Failure> {
    let secrets = Secrets::of(&args.new)?;
    let realm = select(context)?;
    must_exist(&realm, &args.name)?;
    let (realm, password) = secrets.unlock(realm, context)?;
    let record = realm.change_password(&args.name, password.expose(), cli::now_ms())?;
    tell_nodes(realm.realm(), context);
    let mut data = describe(record.user());
    if args.new.generate {
        show_once(context, &mut data, "password", &password);
    }
    report(
        &record,
        &data,
        "   password changed, older sessions ended",
        context,
    )
}

fn delete(args: &ChangeArgs, context: &Context<'_>) -> Result<(), Failure> {
    let what = "   deleted";
    let question = format!("Delete user {}?", args.name);
    change_confirmed(args, context, what, Some(&question), |user| {
        user.deleted = true;
        user.enabled = false;
        user.roles.clear();
    })
}

fn change(
    args: &ChangeArgs,
    context: &Context<'_>,
    what: &str,
    change: impl FnOnce(&mut User),
) -> Result<(), Failure> {
    change_confirmed(args, context, what, None, change)
}

fn change_confirmed(
    args: &ChangeArgs,
    context: &Context<'_>,
    what: &str,
    question: Option<&str>,
    change: impl FnOnce(&mut User),
) -> Result<(), Failure> {
    let no_input = context.common.no_input;
    let passphrase = SecretArgs::from(&args.passphrase);
    passphrase.check(&mut StandardInput::default())?;
    let realm = select(context)?;
    must_exist(&realm, &args.name)?;
    passphrase.check_obtainable(no_input)?;
    if let Some(question) = question {
        confirm(question, context)?;
    }
    let passphrase = passphrase.obtain(no_input)?;
    let realm = unlock(realm, &passphrase)?;
    let record = realm.change_user(&args.name, cli::now_ms(), change)?;
    tell_nodes(realm.realm(), context);
    report(&record, &describe(record.user()), what, context)
}

/// Asks whoever sits at the terminal. Where nobody does, the command line has
/// named what is to be done.
fn confirm(question: &str, context: &Context<'_>) -> Result<(), Failure> {
    if context.common.yes || !is_terminal() {
        return Ok(());
    }
    if context.common.no_input {
        return Err(Failure::usage("--no-input forbids to ask").hint("add --yes"));
    }
    let mut answer = String::new();
    eprint!("{question} [y/N] ");
    io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Failure::internal(format!("the terminal: {error}")))?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::usage("not confirmed; nothing was changed"))
}

fn list(context: &Context<'_>) -> Result<(), Failure> {
    let users = select(context)?.users()?;
    let users: Vec<&User> = users
        .records()
        .map(UserRecord::user)
        .filter(|user| !user.deleted)
        .collect();
    let data: Vec<Value> = users.iter().map(|user| describe(user)).collect();
    if users.is_empty() {
        context
            .output
            .notice("no users yet: authctl user add NAME --role admin");
    }
    context
        .output
        .result("users", &Value::Array(data), || table(&users))
}

fn show(name: &Name, context: &Context<'_>) -> Result<(), Failure> {
    let record = must_exist(&select(context)?, name)?;
    let user = record.user();
    context.output.result("user", &describe(user), || {
        format!(
            "user   {name}\nroles  {}\nstate  {}",
            roles(user),
            state(user)
        )
    })
}

/// What both commands that set a password need, before anybody is asked.
struct Secrets {
    passphrase: SecretArgs,
    password: SecretArgs,
}

impl Secrets {
    fn of(args: &NewPasswordArgs) -> Result<Self, Failure> {
        let secrets = Self {
            passphrase: SecretArgs::from(&args.passphrase),
            password: SecretArgs::from(&args.password).generated(args.generate),
        };
        let mut input = StandardInput::default();
        secrets.passphrase.check(&mut input)?;
        secrets.password.check(&mut input)?;
        Ok(secrets)
    }

    /// The open realm and the new password. What comes from files is read before
    /// the costly unlocking; a person is asked for the password after it, so that
    /// a mistyped passphrase is told at once.
    fn unlock(
        &self,
        realm: Realm,
        context: &Context<'_>,
    ) -> Result<(OpenRealm, SecretBytes), Failure> {
        let no_input = context.common.no_input;
        self.passphrase.check_obtainable(no_input)?;
        self.password
            .check_obtainable(no_input)
            .map_err(|failure| {
                let hint = format!("{}, or --generate", failure.hint);
                failure.hint(hint)
            })?;
        let passphrase = self.passphrase.obtain(no_input)?;
        if self.password.is_given() {
            let password = self.password.obtain_new(no_input)?;
            return Ok((unlock(realm, &passphrase)?, password));
        }
        let realm = unlock(realm, &passphrase)?;
        let password = self.password.obtain_new(no_input)?;
        Ok((realm, password))
    }
}

fn existing(realm: &Realm, name: &Name) -> Result<Option<UserRecord>, Failure> {
    let users = realm.users()?;
    let record = users.record(name).filter(|record| !record.user().deleted);
    Ok(record.cloned())
}

/// The record of a user who was not deleted.
pub(crate) fn must_exist(realm: &Realm, name: &Name) -> Result<UserRecord, Failure> {
    existing(realm, name)?.ok_or_else(|| {
        Failure::from(RealmError::NoSuchUser(name.clone())).hint("authctl user list")
    })
}

/// Takes the change to the nodes that were ever called. It is made already, so
/// whatever goes wrong here is a warning.
fn tell_nodes(realm: &Realm, context: &Context<'_>) {
    if let Err(failure) = try_tell_nodes(realm, context) {
        let message = failure.message;
        context
            .output
            .warning(format!("the nodes were not told: {message}"));
    }
}

fn try_tell_nodes(realm: &Realm, context: &Context<'_>) -> Result<(), Failure> {
    let mut nodes: Vec<(Name, String)> = Vec::new();
    for call in realm.calls()? {
        for member in &call.body().members {
            if nodes.iter().all(|(_, address)| *address != member.address) {
                nodes.push((member.name.clone(), member.address.clone()));
            }
        }
    }
    if nodes.is_empty() {
        return Ok(());
    }
    let records: Vec<UserRecord> = realm.users()?.records().cloned().collect();
    let addresses = nodes.iter().map(|(_, address)| address.clone()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::internal)?;
    let untold = runtime.block_on(publish::publish(realm.id(), addresses, &records));
    // A name that is still being resolved must not hold the command up.
    runtime.shutdown_background();
    let untold = untold.map_err(Failure::internal)?;
    for (name, address) in &nodes {
        match untold.iter().find(|(known, _)| known == address) {
            Some((_, cause)) => context.output.warning(format!(
                "{name}={address} was not told ({cause}); tell it by any later change while it runs"
            )),
            None if context.common.verbose => {
                context.output.notice(format!("{name}={address} was told"));
            }
            None => {}
        }
    }
    Ok(())
}

fn report(
    record: &UserRecord,
    data: &Value,
    what: &str,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let user = record.user();
    context.output.result("user", data, || {
        if user.deleted {
            return format!("✓ user {}{what}", user.name);
        }
        format!("✓ user {} [{}]{what}", user.name, roles(user))
    })
}

fn describe(user: &User) -> Value {
    let roles: Vec<String> = user.roles.iter().map(Role::to_string).collect();
    json!({"name": user.name.as_str(), "roles": roles, "enabled": user.enabled})
}

fn table(users: &[&User]) -> String {
    let longest = users.iter().map(|user| user.name.as_str().len()).max();
    let Some(longest) = longest else {
        return String::new();
    };
    let width = longest.max("NAME".len());
    let mut lines = vec![format!("{:width$}  STATE     ROLES", "NAME")];
    lines.extend(users.iter().map(|user| {
        format!(
            "{:width$}  {:8}  {}",
            user.name.as_str(),
            state(user),
            roles(user)
        )
    }));
    lines.join("\n")
}

fn state(user: &User) -> &'static str {
    if user.enabled { "enabled" } else { "disabled" }
}

/// Roles for people; patterns of grants may hold any character.
fn roles(user: &User) -> String {
    if user.roles.is_empty() {
        return "no rights".to_owned();
    }
    let roles: Vec<String> = user.roles.iter().map(Role::to_string).collect();
    escaped(&roles.join(", "))
}
