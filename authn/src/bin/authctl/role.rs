//! `authctl role`.

use clap::{Args, Subcommand, ValueEnum};
use sealmoot_authn::cli::{self, Failure, PassphraseArgs, SecretArgs, StandardInput, escaped};
use sealmoot_authn::name::Name;
use sealmoot_authn::policy::{ADMIN_ROLE, Grant, NamedRoles, NamedRolesError, Rights, Role};
use sealmoot_authn::realm::{Realm, RealmError, holders};
use sealmoot_authn::records::RolesRecord;
use sealmoot_authn::statement::User;
use serde_json::{Value, json};

use crate::Context;
use crate::grants::{similar_role, warn_of_single_keys};
use crate::realm::select;
use crate::refresh::unlock_refreshed;
use crate::tell::tell_nodes;
use crate::user::confirm_deletion;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a role: a name for grants, to be given to users with --role NAME
    #[command(alias = "create")]
    Add(AddArgs),
    /// List all roles
    List,
    /// Show what a role grants, and who has it
    Show {
        /// The role's name
        name: Name,
    },
    /// Grant a role rights over a key or a prefix
    Grant(GrantArgs),
    /// Take rights from a role; holds from the next request of whoever has it
    Revoke(RevokeArgs),
    /// Say whether holders of a role need a second factor beside their password
    Require(RequireArgs),
    /// Delete a role
    ///
    /// One that users have is deleted only with --force; they keep a role that grants
    /// nothing. On a terminal it asks first; without one the name is the
    /// answer, and with --no-input it needs --yes.
    Delete(DeleteArgs),
}

#[derive(Args)]
pub(crate) struct AddArgs {
    /// Name of the new role
    name: Name,
    /// What it grants, such as 'app/*:rw' (r read, w write, d delete, l list,
    /// a administer); may be repeated
    ///
    /// A key, or a prefix that ends with /*, and rights.
    #[arg(value_name = "PREFIX:RIGHTS")]
    grants: Vec<Grant>,
    /// Whoever has the role needs a second factor to log in with a password
    #[arg(long)]
    second_factor: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

#[derive(Args)]
pub(crate) struct RequireArgs {
    /// The role's name
    #[arg(value_name = "ROLE")]
    name: Name,
    /// What they need; holds from the next login of whoever has the role
    what: Requirement,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Requirement {
    SecondFactor,
    Nothing,
}

#[derive(Args)]
pub(crate) struct GrantArgs {
    /// The role's name
    #[arg(value_name = "ROLE")]
    name: Name,
    /// What it shall grant too, such as 'app/*:rw' (r read, w write, d delete, l list,
    /// a administer)
    #[arg(value_name = "PREFIX:RIGHTS")]
    grant: Grant,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

#[derive(Args)]
pub(crate) struct RevokeArgs {
    /// The role's name
    #[arg(value_name = "ROLE")]
    name: Name,
    /// What it shall not grant any longer: 'app/*:w' takes one right, 'app/*' all
    ///
    /// What reads as rights after the last colon is taken for rights. For a key that
    /// ends like that, name all rights behind it: 'key:r:rwdla'.
    #[arg(value_name = "PREFIX[:RIGHTS]")]
    grant: String,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

#[derive(Args)]
pub(crate) struct DeleteArgs {
    /// The role's name
    name: Name,
    /// Also when users have it; they keep a role that grants nothing
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

pub(crate) fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    match command {
        Command::Add(args) => add(&args, context),
        Command::List => list(context),
        Command::Show { name } => show(&name, context),
        Command::Grant(args) => grant(&args, context),
        Command::Revoke(args) => revoke(&args, context),
        Command::Require(args) => require(&args, context),
        Command::Delete(args) => delete(&args, context),
    }
}

fn add(args: &AddArgs, context: &Context<'_>) -> Result<(), Failure> {
    let realm = select(context)?;
    let former = held_by(&realm, &args.name)?;
    warn_of_single_keys(&args.grants, context);
    // Told before it is made: who kept the name gets what it grants from now on.
    let built_in = args.name.as_str() == ADMIN_ROLE;
    let is_new = named(realm.roles()?.as_ref()).grants(&args.name).is_none();
    if is_new && !built_in && !former.is_empty() {
        context.output.warning(format!(
            "users have a role of this name, which was deleted by force: {}",
            joined(&former)
        ));
    }
    change_roles(&args.passphrase, &args.name, context, |roles| {
        roles.add(args.name.clone(), args.grants.clone())?;
        roles.need_second_factor(&args.name, args.second_factor)
    })
}

fn require(args: &RequireArgs, context: &Context<'_>) -> Result<(), Failure> {
    let needed = args.what == Requirement::SecondFactor;
    if needed {
        // Told before it is made: they are kept out from their next login on.
        let kept_out = without_second_factor(&select(context)?, &args.name)?;
        if !kept_out.is_empty() {
            context.output.warning(format!(
                "these users cannot log in by password until each is given one with \
                 authctl cred issue USER --totp: {}",
                joined(&kept_out)
            ));
        }
    }
    change_roles(&args.passphrase, &args.name, context, |roles| {
        roles.need_second_factor(&args.name, needed)
    })
}

/// Holders of a role who have a password and no second factor.
fn without_second_factor(realm: &Realm, name: &Name) -> Result<Vec<Name>, Failure> {
    let (users, _) = realm.list_users(None, usize::MAX)?;
    let without = |user: &&User| user.user_key.is_some() && user.second_factor.is_none();
    Ok(holders(users.iter().filter(without), name))
}

fn grant(args: &GrantArgs, context: &Context<'_>) -> Result<(), Failure> {
    warn_of_single_keys([&args.grant], context);
    change_roles(&args.passphrase, &args.name, context, |roles| {
        roles.grant(&args.name, args.grant.clone())
    })
}

fn revoke(args: &RevokeArgs, context: &Context<'_>) -> Result<(), Failure> {
    let (pattern, rights) = parse_revoked(&args.grant);
    change_roles(&args.passphrase, &args.name, context, |roles| {
        roles.revoke(&args.name, pattern, rights)
    })
}

fn delete(args: &DeleteArgs, context: &Context<'_>) -> Result<(), Failure> {
    let no_input = context.common.no_input;
    let passphrase = SecretArgs::from(&args.passphrase);
    passphrase.check(&mut StandardInput::default())?;
    let realm = select(context)?;
    let mut roles = named(realm.roles()?.as_ref());
    let known = roles.clone();
    roles.remove(&args.name).map_err(|error| match error {
        NamedRolesError::NoSuchRole(name) => no_such_role(&name, &known),
        error => refused(error),
    })?;
    let users = held_by(&realm, &args.name)?;
    if !args.force && !users.is_empty() {
        let role = args.name.clone();
        return Err(held(RealmError::RoleHeld { role, users }, &args.name));
    }
    passphrase.check_obtainable(no_input)?;
    confirm_deletion(&format!("Delete role {}?", args.name), context)?;
    let passphrase = passphrase.obtain_for_realm(&realm, no_input)?;
    let realm = unlock_refreshed(realm, passphrase, context)?;
    realm
        .delete_role(&args.name, args.force, cli::now_ms())
        .map_err(|error| held(error, &args.name))?;
    tell_nodes(realm.close(), context);
    if !users.is_empty() {
        context.output.warning(format!(
            "these users still have the role, which now grants nothing: {}",
            joined(&users)
        ));
    }
    let data = json!({"name": args.name.as_str(), "grants": [], "second_factor": false});
    context
        .output
        .result("role", &data, || format!("✓ role {}   deleted", args.name))
}

fn list(context: &Context<'_>) -> Result<(), Failure> {
    let roles = named(select(context)?.roles()?.as_ref());
    let data: Vec<Value> = roles
        .iter()
        .map(|(name, grants)| describe(name, grants, &roles))
        .collect();
    if data.is_empty() {
        context
            .output
            .notice("no roles but admin yet: authctl role add NAME 'app/*:rw'");
    }
    context
        .output
        .result("roles", &Value::Array(data), || table(&roles))
}

fn show(name: &Name, context: &Context<'_>) -> Result<(), Failure> {
    let realm = select(context)?;
    let roles = named(realm.roles()?.as_ref());
    let built_in = [everything()];
    let grants = match roles.grants(name) {
        Some(grants) => grants,
        None if name.as_str() == ADMIN_ROLE => &built_in,
        None => return Err(no_such_role(name, &roles)),
    };
    let holders = if name.as_str() == ADMIN_ROLE {
        administrators(&realm)?
    } else {
        held_by(&realm, name)?
    };
    let mut data = describe(name, grants, &roles);
    data["users"] = holders.iter().map(|user| json!(user.as_str())).collect();
    context.output.result("role", &data, || {
        let held_by = match holders.as_slice() {
            [] => "nobody".to_owned(),
            names => joined(names),
        };
        format!(
            "role    {name}\ngrants  {}\nheld by {held_by}{}",
            shown(grants),
            if roles.needs_second_factor(name) {
                "\nneeds   a second factor beside a password"
            } else {
                ""
            }
        )
    })
}

/// Asks for the passphrase once it is known that the change would be admitted, makes
/// it, and tells the nodes.
fn change_roles(
    passphrase: &PassphraseArgs,
    name: &Name,
    context: &Context<'_>,
    change: impl Fn(&mut NamedRoles) -> Result<(), NamedRolesError>,
) -> Result<(), Failure> {
    let no_input = context.common.no_input;
    let passphrase = SecretArgs::from(passphrase);
    passphrase.check(&mut StandardInput::default())?;
    let realm = select(context)?;
    let known = named(realm.roles()?.as_ref());
    change(&mut known.clone()).map_err(|error| match error {
        NamedRolesError::NoSuchRole(name) => no_such_role(&name, &known),
        error => refused(error),
    })?;
    // Read before: once the change is made, nothing but a warning may follow.
    let holders = held_by(&realm, name)?;
    passphrase.check_obtainable(no_input)?;
    let passphrase = passphrase.obtain_for_realm(&realm, no_input)?;
    let realm = unlock_refreshed(realm, passphrase, context)?;
    let record = realm
        .change_roles(cli::now_ms(), change)
        .map_err(|error| match error {
            RealmError::Roles(error) => refused(error),
            error => Failure::from(error),
        })?;
    tell_nodes(realm.close(), context);
    report(&record, name, &holders, context)
}

fn report(
    record: &RolesRecord,
    name: &Name,
    holders: &[Name],
    context: &Context<'_>,
) -> Result<(), Failure> {
    let grants = record.roles().grants(name).unwrap_or_default();
    let data = describe(name, grants, record.roles());
    context.output.result("role", &data, || {
        let held_by = match holders {
            [] => String::new(),
            names => format!("   held by {}", joined(names)),
        };
        let needs = needs(name, record.roles());
        format!("✓ role {name} [{}]{needs}{held_by}", shown(grants))
    })
}

/// What the role that every realm has grants.
fn everything() -> Grant {
    let text = format!("*:{}", Rights::ALL);
    text.parse().expect("it is a grant of all rights")
}

/// No role has this name; perhaps another one was meant.
pub(crate) fn no_such_role(name: &Name, roles: &NamedRoles) -> Failure {
    let failure = refused(NamedRolesError::NoSuchRole(name.clone()));
    match similar_role(name, roles) {
        Some(meant) => failure.hint(format!("did you mean {meant}? authctl role list")),
        None => failure,
    }
}

/// A refusal of the named roles, with what to do next.
pub(crate) fn refused(error: NamedRolesError) -> Failure {
    let hint = match &error {
        NamedRolesError::Exists(name) => format!("authctl role grant {name} PREFIX:RIGHTS"),
        NamedRolesError::NoSuchRole(name) => {
            format!("authctl role list, or make it: authctl role add {name} 'app/*:rw'")
        }
        NamedRolesError::NoSuchGrant { role, .. } => format!("authctl role show {role}"),
        NamedRolesError::Reserved => "choose another name, such as ops".to_owned(),
        NamedRolesError::TooManyRoles | NamedRolesError::TooLarge => {
            "delete roles that nobody has: authctl role list".to_owned()
        }
        NamedRolesError::TooManyGrants => {
            "a prefix such as 'app/*' covers all below it; or make another role".to_owned()
        }
    };
    Failure::from(RealmError::from(error)).hint(hint)
}

fn held(error: RealmError, name: &Name) -> Failure {
    match error {
        RealmError::Roles(error) => refused(error),
        error @ RealmError::RoleHeld { .. } => Failure::from(error).hint(format!(
            "authctl user role USER --remove {name}, or --force, which leaves them a role that grants nothing"
        )),
        error => error.into(),
    }
}

/// Who may do everything.
fn administrators(realm: &Realm) -> Result<Vec<Name>, Failure> {
    let (users, _) = realm.list_users(None, usize::MAX)?;
    let admins = users
        .iter()
        .filter(|user| user.roles.contains(&Role::Admin));
    Ok(admins.map(|user| user.name.clone()).collect())
}

/// Who has a role. Only what is shown of users is verified.
fn held_by(realm: &Realm, name: &Name) -> Result<Vec<Name>, Failure> {
    let (users, _) = realm.list_users(None, usize::MAX)?;
    Ok(holders(&users, name))
}

fn named(record: Option<&RolesRecord>) -> NamedRoles {
    record
        .map(|record| record.roles().clone())
        .unwrap_or_default()
}

/// `PREFIX:RIGHTS`, or else a prefix alone.
fn parse_revoked(text: &str) -> (&str, Option<Rights>) {
    text.rsplit_once(':')
        .and_then(|(pattern, rights)| Some((pattern, Some(rights.parse().ok()?))))
        .unwrap_or((text, None))
}

fn describe(name: &Name, grants: &[Grant], roles: &NamedRoles) -> Value {
    let grants: Vec<String> = grants.iter().map(Grant::to_string).collect();
    let second_factor = roles.needs_second_factor(name);
    json!({"name": name.as_str(), "grants": grants, "second_factor": second_factor})
}

/// What a line about a role adds when it needs a second factor.
fn needs(name: &Name, roles: &NamedRoles) -> &'static str {
    if roles.needs_second_factor(name) {
        "   needs a second factor"
    } else {
        ""
    }
}

fn table(roles: &NamedRoles) -> String {
    let longest = roles.iter().map(|(name, _)| name.as_str().len()).max();
    let width = longest.unwrap_or(0).max(ADMIN_ROLE.len());
    let mut lines = vec![
        format!("{:width$}  GRANTS", "NAME"),
        format!("{ADMIN_ROLE:width$}  *:{} (built in)", Rights::ALL),
    ];
    lines.extend(roles.iter().map(|(name, grants)| {
        let needs = needs(name, roles);
        format!("{:width$}  {}{needs}", name.as_str(), shown(grants))
    }));
    lines.join("\n")
}

/// Grants for people; patterns may hold any character.
fn shown(grants: &[Grant]) -> String {
    if grants.is_empty() {
        return "no rights".to_owned();
    }
    let grants: Vec<String> = grants.iter().map(Grant::to_string).collect();
    escaped(&grants.join(", "))
}

fn joined(names: &[Name]) -> String {
    let names: Vec<&str> = names.iter().map(Name::as_str).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_as_rights_is_taken_for_rights() {
        for (text, pattern, rights) in [
            ("app/*", "app/*", None),
            ("app/*:w", "app/*", Some("w")),
            ("a:b:rw", "a:b", Some("rw")),
            ("a:b", "a:b", None),
            ("a:", "a:", None),
            ("a:rr", "a:rr", None),
        ] {
            let parsed = parse_revoked(text);
            let rights = rights.map(|rights| rights.parse().expect("rights"));
            assert_eq!(parsed, (pattern, rights), "{text}");
        }
    }
}
