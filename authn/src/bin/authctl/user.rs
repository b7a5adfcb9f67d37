//! `authctl user`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sealmoot_authn::cli::{
    self, Code, Failure, NodeOutcome, PassphraseArgs, PasswordArgs, SecretArgs, StandardInput,
    escaped, is_terminal, read_answer, read_public_key,
};
use sealmoot_authn::login::{RegisterError, Registered, register_at};
use sealmoot_authn::name::Name;
use sealmoot_authn::policy::{NamedRoles, NamedRolesError, Role};
use sealmoot_authn::realm::{
    self, NewKey, OpenRealm, Realm, RealmError, ReplacedRole, check_roles,
};
use sealmoot_authn::records::RolesRecord;
use sealmoot_authn::statement::{KeyUse, User};
use sealmoot_authn::users::UserRecord;
use sealmoot_crypto::secret::SecretBytes;
use sealmoot_crypto::signature::VerifyingKey;
use serde_json::{Value, json};

use crate::Context;
use crate::audit::block_on;
use crate::grants::{grants_of, warn_of_single_keys};
use crate::realm::{select, show_once, unlock};
use crate::refresh::unlock_refreshed;
use crate::tell::{tell_nodes, tell_unlock};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Add a user with roles, and a password or keys
    #[command(after_long_help = "Examples:
  authctl user add alice --role admin             may do everything
  authctl user add bob --role 'app/*:rw'          may read and write below app/
  authctl user add ci --role readers --no-password, and then
  authctl cred issue ci --new ci-key --service    a machine that logs in by a key")]
    Add(AddArgs),
    /// List users, all or a page
    List(ListArgs),
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
    /// Let strangers try again at a user's account that was attacked
    ///
    /// The nodes forget what was tried; a node that is down is told by doing it again.
    Unlock(ChangeArgs),
    /// Give a user roles or grants, or take them
    Role(RoleArgs),
    /// Delete a user
    ///
    /// On a terminal it asks first; without one the name is the answer, and with
    /// --no-input it needs --yes.
    Delete(ChangeArgs),
}

#[derive(Args)]
pub(crate) struct ListArgs {
    /// List at most this many; a notice says how to go on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// List users behind this name, who need not exist
    #[arg(long, value_name = "NAME")]
    after: Option<Name>,
}

#[derive(Args)]
pub(crate) struct AddArgs {
    /// Name of the new user
    name: Name,
    /// A role (admin, or one made with `role add`) or a grant such as 'app/*:rw'
    /// (r read, w write, d delete, l list, a administer); may be repeated
    ///
    /// A grant is a key, or a prefix that ends with /*, and rights. Without any role the
    /// user may log in and nothing else.
    #[arg(long = "role", value_name = "ROLE|GRANT")]
    roles: Vec<Role>,
    /// Give the user no password: only keys will log in (authctl cred issue)
    #[arg(long)]
    no_password: bool,
    /// The public key in this file of OpenSSH logs in, and no password; for ever, or
    /// with other terms by authctl cred issue
    #[arg(long, value_name = "FILE.pub")]
    key: Option<PathBuf>,
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
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub(crate) struct RoleArgs {
    /// The user's name
    name: Name,
    /// A role or a grant that the user shall have too, such as 'app/*:rw' (r read,
    /// w write, d delete, l list, a administer); may be repeated
    #[arg(long = "add", value_name = "ROLE|GRANT", group = "change")]
    add: Vec<Role>,
    /// A role or a grant that the user shall have no longer; may be repeated
    #[arg(long = "remove", value_name = "ROLE|GRANT", group = "change")]
    remove: Vec<Role>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
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
        Command::List(args) => list(&args, context),
        Command::Show { name } => show(&name, context),
        Command::Passwd(args) => passwd(&args, context),
        Command::Enable(args) => enable(&args, context),
        Command::Disable(args) => {
            change(&args, context, "   disabled", |user| user.enabled = false)
        }
        Command::Unlock(args) => unlock_account(&args, context),
        Command::Role(args) => role(&args, context),
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
    let without_password = args.no_password || args.key.is_some();
    if without_password && (args.new.generate || secrets.password.is_named()) {
        return Err(
            Failure::usage("--no-password or --key, and a password exclude each other")
                .hint("leave out one of them"),
        );
    }
    let realm = select(context)?;
    if existing(&realm, &args.name)?.is_some() {
        return Err(Failure::from(RealmError::UserExists(args.name.clone()))
            .hint(format!("authctl user show {}", args.name)));
    }
    check_existing(&realm, &roles)?;
    warn_of_single_keys(grants_of(&roles), context);
    let key = args.key.as_deref().map(read_public_key).transpose()?;
    if without_password {
        return add_without_password(realm, &args.name, roles, key, &secrets, context);
    }
    let (realm, password) = secrets.unlock(realm, &format!("new user {}", args.name), context)?;
    // Read before: once the user is there, nothing but a warning may follow.
    let without_nodes = realm.realm().nodes()?.is_empty();
    let registered = registered_by_delegate(&realm, &args.name, &password)?;
    let now_ms = cli::now_ms();
    let record = match &registered {
        Some(registered) => realm.add_user_registered(&args.name, roles, registered, now_ms)?,
        None => realm.add_user(&args.name, roles, password.expose(), now_ms)?,
    };
    drop(registered);
    let to_show = to_show(password, &args.new);
    tell_nodes(realm.close(), context);
    let mut data = describe(record.user());
    if let Some(password) = to_show {
        show_once(context, &mut data, "password", &password);
    }
    report(&record, &data, "", context)?;
    if without_nodes {
        context
            .output
            .hint("authctl node invite n1=HOST:7401 n2=HOST:7402 n3=HOST:7403");
    }
    Ok(())
}

/// A password that nobody but this command knows, to be shown; one that was given is
/// forgotten here.
fn to_show(password: SecretBytes, args: &NewPasswordArgs) -> Option<SecretBytes> {
    args.generate.then_some(password)
}

fn add_without_password(
    realm: Realm,
    name: &Name,
    roles: Vec<Role>,
    key: Option<(VerifyingKey, String)>,
    secrets: &Secrets,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let no_input = context.common.no_input;
    secrets.passphrase.check_obtainable(no_input)?;
    let passphrase = secrets.passphrase.obtain_for_realm(&realm, no_input)?;
    let realm = unlock_refreshed(realm, passphrase, context)?;
    let Some((key, comment)) = key else {
        let record = realm.add_user_without_password(name, roles, cli::now_ms())?;
        tell_nodes(realm.close(), context);
        context.output.notice(format!(
            "{name} cannot log in yet: authctl cred issue {name} --public-key FILE.pub"
        ));
        return report(&record, &describe(record.user()), "   no password", context);
    };
    let default = || "key".parse().expect("it is a label");
    let key = NewKey {
        label: comment.parse().unwrap_or_else(|_| default()),
        usage: KeyUse::Device,
        key,
        expires_ms: 0,
        narrowing: None,
    };
    let record = realm.add_user_with_key(name, roles, key, cli::now_ms())?;
    tell_nodes(realm.close(), context);
    report(&record, &describe(record.user()), "   with a key", context)
}

/// A password is registered with the realm's login secrets. A delegate has none, and asks
/// a node; none where the root is.
fn registered_by_delegate(
    realm: &OpenRealm,
    user: &Name,
    password: &SecretBytes,
) -> Result<Option<Registered>, Failure> {
    if realm.realm().chain().is_none() {
        return Ok(None);
    }
    let nodes = realm.realm().nodes()?;
    let addresses: Vec<String> = nodes.into_iter().map(|(_, address)| address).collect();
    let (prover, id) = (realm.prover(), realm.realm().id());
    block_on(async {
        let registered = register_at(&prover, id, &addresses, user, password.expose());
        registered.await.map(Some).map_err(not_registered)
    })
}

fn not_registered(error: RegisterError) -> Failure {
    let message = error.to_string();
    match error {
        RegisterError::Unreachable(failures) => {
            let nodes = failures.into_iter().map(|(address, cause)| NodeOutcome {
                name: address.clone(),
                address,
                outcome: "unreachable".to_owned(),
                cause,
            });
            Failure::new(Code::Unreachable, message)
                .hint(
                    "a delegate needs a node for passwords: start one, or give the user a key: \
                     authctl user add NAME --key NAME.pub, authctl cred issue",
                )
                .nodes(nodes.collect())
        }
        RegisterError::Refused(_) => Failure::new(Code::PermissionDenied, message)
            .hint("passwords of others are set where the root is; authctl user list"),
        RegisterError::Throttled(_) => Failure::new(Code::Throttled, message)
            .hint("wait, or give the user a key: authctl user add NAME --key NAME.pub"),
        RegisterError::Opaque(_) | RegisterError::Random(_) => Failure::internal(message),
    }
}

fn passwd(args: &PasswdArgs, context: &Context<'_>) -> Result<(), Failure> {
    let secrets = Secrets::of(&args.new)?;
    let realm = select(context)?;
    must_exist(&realm, &args.name)?;
    let (realm, password) = secrets.unlock(realm, &format!("user {}", args.name), context)?;
    let registered = registered_by_delegate(&realm, &args.name, &password)?;
    let replaced = realm.roles_to_replace(&args.name)?;
    let now_ms = cli::now_ms();
    let record = match &registered {
        Some(registered) => realm.change_password_registered(&args.name, registered, now_ms)?,
        None => realm.change_password(&args.name, password.expose(), now_ms)?,
    };
    drop(registered);
    let to_show = to_show(password, &args.new);
    tell_nodes(realm.close(), context);
    warn_of_replaced(&replaced, context);
    let mut data = describe(record.user());
    if let Some(password) = to_show {
        show_once(context, &mut data, "password", &password);
    }
    report(
        &record,
        &data,
        "   password changed, older sessions ended",
        context,
    )
}

fn role(args: &RoleArgs, context: &Context<'_>) -> Result<(), Failure> {
    let no_input = context.common.no_input;
    if let Some(both) = args.add.iter().find(|role| args.remove.contains(role)) {
        return Err(Failure::usage(format!(
            "{both} cannot be added and removed"
        )));
    }
    let passphrase = SecretArgs::from(&args.passphrase);
    passphrase.check(&mut StandardInput::default())?;
    let realm = select(context)?;
    let record = must_exist(&realm, &args.name)?;
    let held = &record.user().roles;
    if let Some(missing) = args.remove.iter().find(|role| !held.contains(role)) {
        return Err(not_held(&args.name, missing, held));
    }
    check_existing(&realm, &args.add)?;
    warn_of_single_keys(grants_of(&args.add), context);
    check_roles(&changed_roles(held, args))?;
    passphrase.check_obtainable(no_input)?;
    let passphrase = passphrase.obtain_for_realm(&realm, no_input)?;
    let realm = unlock_refreshed(realm, passphrase, context)?;
    let (record, replaced) =
        realm.change_roles_of_user(&args.name, &args.remove, &args.add, cli::now_ms())?;
    tell_nodes(realm.close(), context);
    warn_of_replaced(&replaced, context);
    report(&record, &describe(record.user()), "", context)
}

fn changed_roles(held: &[Role], args: &RoleArgs) -> Vec<Role> {
    let mut roles: Vec<Role> = Vec::with_capacity(held.len() + args.add.len());
    let kept = held.iter().filter(|role| !args.remove.contains(role));
    for role in kept.chain(&args.add) {
        if !roles.contains(role) {
            roles.push(role.clone());
        }
    }
    roles
}

/// Refuses roles that the realm does not have, before a secret is asked for.
pub(crate) fn check_existing<'a>(
    realm: &Realm,
    roles: impl IntoIterator<Item = &'a Role>,
) -> Result<(), Failure> {
    let held = realm.roles()?;
    let none = NamedRoles::none();
    let named = held.as_ref().map_or(&none, RolesRecord::roles);
    realm::must_exist(roles, named).map_err(|error| {
        let failure = match error {
            NamedRolesError::NoSuchRole(name) => crate::role::no_such_role(&name, named),
            error => crate::role::refused(error),
        };
        match realm.chain() {
            // The root may have made it since the nodes were asked.
            Some(_) => failure.hint("authctl role list, or ask the nodes: authctl admin refresh"),
            None => failure,
        }
    })
}

/// What was to be taken is not there; what is there for the same keys is named.
fn not_held(name: &Name, missing: &Role, held: &[Role]) -> Failure {
    let failure = Failure::new(Code::NotFound, format!("{name} does not have {missing}"));
    let Role::Grant(missing) = missing else {
        return failure.hint(format!("authctl user show {name} lists what there is"));
    };
    match grants_of(held).find(|held| held.pattern() == missing.pattern()) {
        Some(held) => {
            let rest = held.rights().without(missing.rights());
            let rest = rest.map(|rest| format!(" --add '{}'", held.with_rights(rest)));
            let rest = rest.unwrap_or_default();
            failure.hint(format!(
                "there is {held}: authctl user role {name} --remove '{held}'{rest}"
            ))
        }
        None => failure.hint(format!("authctl user show {name} lists what there is")),
    }
}

fn delete(args: &ChangeArgs, context: &Context<'_>) -> Result<(), Failure> {
    let what = "   deleted";
    let question = format!("Delete user {}?", args.name);
    change_confirmed(args, context, what, Some(&question), |user| {
        user.deleted = true;
        user.enabled = false;
        user.roles.clear();
        user.keys.clear();
        user.second_factor = None;
    })
}

fn enable(args: &ChangeArgs, context: &Context<'_>) -> Result<(), Failure> {
    let name = &args.name;
    let enable = |user: &mut User| user.enabled = true;
    change_by(args, context, "   enabled", None, enable, |realm| {
        let (record, ended) = realm.enable_user(name, cli::now_ms())?;
        if !ended {
            context.output.warning(format!(
                "sessions of {name} from before hold again until they expire; another key or \
                 password ends them: authctl cred rotate, authctl user passwd"
            ));
        }
        Ok(record)
    })
}

fn change(
    args: &ChangeArgs,
    context: &Context<'_>,
    what: &str,
    change: impl Fn(&mut User),
) -> Result<(), Failure> {
    change_confirmed(args, context, what, None, change)
}

fn change_confirmed(
    args: &ChangeArgs,
    context: &Context<'_>,
    what: &str,
    question: Option<&str>,
    change: impl Fn(&mut User),
) -> Result<(), Failure> {
    change_by(args, context, what, question, &change, |realm| {
        Ok(realm.change_user(&args.name, cli::now_ms(), &change)?)
    })
}

/// Makes a change by `make`, unless `change` would leave the user as it is.
fn change_by(
    args: &ChangeArgs,
    context: &Context<'_>,
    what: &str,
    question: Option<&str>,
    change: impl Fn(&mut User),
    make: impl FnOnce(&OpenRealm) -> Result<UserRecord, Failure>,
) -> Result<(), Failure> {
    let no_input = context.common.no_input;
    let passphrase = SecretArgs::from(&args.passphrase);
    passphrase.check(&mut StandardInput::default())?;
    let realm = select(context)?;
    must_exist(&realm, &args.name)?;
    passphrase.check_obtainable(no_input)?;
    if let Some(question) = question {
        confirm_deletion(question, context)?;
    }
    let passphrase = passphrase.obtain_for_realm(&realm, no_input)?;
    let realm = unlock_refreshed(realm, passphrase, context)?;
    let record = must_exist(realm.realm(), &args.name)?;
    let mut changed = record.user().clone();
    change(&mut changed);
    if changed == *record.user() {
        // Nodes that missed it when it was done may be there now.
        tell_nodes(realm.close(), context);
        let what = what.replacen("   ", "   already ", 1);
        return report(&record, &describe(record.user()), &what, context);
    }
    let replaced = realm.roles_to_replace(&args.name)?;
    let record = make(&realm)?;
    tell_nodes(realm.close(), context);
    if !record.user().deleted {
        warn_of_replaced(&replaced, context);
    }
    report(&record, &describe(record.user()), what, context)
}

/// Says which roles did not go over to the new issuer of a user by their names.
pub(crate) fn warn_of_replaced(replaced: &[ReplacedRole], context: &Context<'_>) {
    for ReplacedRole { user, role, grants } in replaced {
        let grants: Vec<String> = grants.iter().map(ToString::to_string).collect();
        let instead = match grants.as_slice() {
            [] => "nothing of it".to_owned(),
            grants => format!(
                "instead what a delegate could give of it, {}",
                grants.join(", ")
            ),
        };
        context.output.warning(format!(
            "{user} has no longer the role {role}, and {}; to give it: authctl user role {user} \
             --add {role}",
            escaped(&instead)
        ));
    }
}

/// As [`confirm`], of what names on the command line what goes: in a script that name is
/// the answer, unless asking is forbidden, which means that something has to confirm it.
pub(crate) fn confirm_deletion(question: &str, context: &Context<'_>) -> Result<(), Failure> {
    if !context.common.no_input && !is_terminal() {
        return Ok(());
    }
    confirm(question, context)
}

/// Asks whoever sits at the terminal. Where nobody does, or nobody may be asked, --yes
/// has to be the answer: what cannot be undone is not done by a script's oversight.
pub(crate) fn confirm(question: &str, context: &Context<'_>) -> Result<(), Failure> {
    if context.common.yes {
        return Ok(());
    }
    let why = if context.common.no_input {
        "--no-input forbids to ask"
    } else {
        "there is no terminal to ask at"
    };
    if context.common.no_input || !is_terminal() {
        return Err(
            Failure::usage(format!("{question} Not confirmed, and {why}"))
                .hint("add --yes if it is meant"),
        );
    }
    eprint!("{question} [y/N] ");
    let answer = read_answer()?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::usage("not confirmed; nothing was changed"))
}

fn unlock_account(args: &ChangeArgs, context: &Context<'_>) -> Result<(), Failure> {
    let passphrase = SecretArgs::from(&args.passphrase);
    passphrase.check(&mut StandardInput::default())?;
    let realm = select(context)?;
    let record = must_exist(&realm, &args.name)?;
    let passphrase = passphrase.obtain_for_realm(&realm, context.common.no_input)?;
    let realm = unlock(realm, passphrase)?;
    let statement = realm.unlock_user(&args.name, cli::now_ms())?;
    tell_unlock(realm.close(), statement, context);
    let data = describe(record.user());
    report(&record, &data, "   unlocked", context)
}

fn list(args: &ListArgs, context: &Context<'_>) -> Result<(), Failure> {
    let limit = args.limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    });
    let (users, more) = select(context)?.list_users(args.after.as_ref(), limit)?;
    let data: Vec<Value> = users.iter().map(describe).collect();
    if users.is_empty() && args.after.is_none() {
        context
            .output
            .notice("no users yet: authctl user add NAME --role admin");
    }
    context
        .output
        .result("users", &Value::Array(data), || table(&users))?;
    if let (true, Some(last)) = (more, users.last()) {
        context
            .output
            .notice(format!("there are more: add --after {}", last.name));
    }
    Ok(())
}

fn show(name: &Name, context: &Context<'_>) -> Result<(), Failure> {
    let record = must_exist(&select(context)?, name)?;
    let user = record.user();
    context.output.result("user", &describe(user), || {
        format!(
            "user   {name}\nroles  {}\nstate  {}\nlogin  {}",
            roles(user),
            state(user),
            login(user)
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
        whose: &str,
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
        let passphrase = self.passphrase.obtain_for_realm(&realm, no_input)?;
        if self.password.is_given() {
            let password = self.password.obtain_new(no_input)?;
            return Ok((unlock_refreshed(realm, passphrase, context)?, password));
        }
        let realm = unlock_refreshed(realm, passphrase, context)?;
        let password = self.password.obtain_new_for(whose, no_input)?;
        Ok((realm, password))
    }
}

fn existing(realm: &Realm, name: &Name) -> Result<Option<UserRecord>, Failure> {
    let record = realm.user(name)?;
    Ok(record.filter(|record| !record.user().deleted))
}

/// The record of a user who was not deleted.
pub(crate) fn must_exist(realm: &Realm, name: &Name) -> Result<UserRecord, Failure> {
    existing(realm, name)?.ok_or_else(|| {
        // Others may have made the user since the nodes were asked.
        let several =
            realm.chain().is_some() || realm.delegations().is_ok_and(|all| !all.is_empty());
        let hint = if several {
            "authctl user list, or ask the nodes what others changed: authctl admin refresh"
        } else {
            "authctl user list"
        };
        Failure::from(RealmError::NoSuchUser(name.clone())).hint(hint)
    })
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

pub(crate) fn describe(user: &User) -> Value {
    let roles: Vec<String> = user.roles.iter().map(Role::to_string).collect();
    json!({"name": user.name.as_str(), "roles": roles, "enabled": user.enabled})
}

fn table(users: &[User]) -> String {
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

/// By what the user can log in.
fn login(user: &User) -> String {
    let password = match user.user_key {
        Some(_) => "password",
        None => "no password",
    };
    match user.keys.len() {
        0 => format!("{password}, no keys"),
        1 => format!("{password}, 1 key: authctl cred list {}", user.name),
        keys => format!("{password}, {keys} keys: authctl cred list {}", user.name),
    }
}

/// Roles for people; patterns of grants may hold any character.
fn roles(user: &User) -> String {
    if user.roles.is_empty() {
        return "no rights".to_owned();
    }
    let roles: Vec<String> = user.roles.iter().map(Role::to_string).collect();
    escaped(&roles.join(", "))
}
