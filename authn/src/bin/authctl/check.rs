//! `authctl check`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use sealmoot_authn::cli::{self, Code, Failure, escaped};
use sealmoot_authn::name::Name;
use sealmoot_authn::policy::{Action, NamedRoles, PATTERN_LENGTH_MAX, RESERVED_PREFIX, decide};
use sealmoot_authn::records::RolesRecord;
use serde_json::json;

use crate::Context;
use crate::realm::select;
use crate::user::must_exist;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Who wants to act
    user: Name,
    /// What: read, write, delete, list or admin
    action: Action,
    /// On which key
    key: OsString,
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let key = args.key.as_bytes();
    if key.is_empty() || key.len() > PATTERN_LENGTH_MAX {
        return Err(Failure::usage(format!(
            "a key has 1 to {PATTERN_LENGTH_MAX} bytes"
        )));
    }
    let (name, action) = (&args.user, args.action);
    let shown = args.key.to_string_lossy();
    let realm = select(context)?;
    let record = must_exist(&realm, name)?;
    let user = record.user();
    let roles = realm.roles()?;
    let none = NamedRoles::none();
    let named = roles.as_ref().map_or(&none, RolesRecord::roles);
    let decision = decide(name.as_str(), &user.roles, named, action, key);
    // Nobody whom a delegate made may more than the delegate.
    let bounded = record
        .bounds()
        .is_none_or(|bounds| decide(name.as_str(), &bounds, named, action, key).is_ok());
    let holds = record.issuer_holds_at(cli::now_ms());
    if let (Ok(allowed), true) = (&decision, user.enabled && bounded && holds) {
        let data = json!({"allowed": true, "rule": allowed.rule});
        return context.output.result("check", &data, || {
            let rule = &allowed.rule;
            escaped(&format!("✓ {name} may {action} {shown}: allowed by {rule}"))
        });
    }

    // The refusal itself is the result that was asked for; the exit status and
    // standard error say the same.
    let data = json!({"allowed": false, "rule": null});
    context.output.result("check", &data, String::new)?;
    let failure = if !user.enabled {
        Failure::new(Code::PermissionDenied, format!("{name} is disabled"))
            .hint(format!("authctl user enable {name}"))
    } else if !holds {
        let expired = format!("the delegation has expired under which {name} was made");
        Failure::new(Code::PermissionDenied, expired)
            .hint("have it renewed where the root is: authctl admin grant")
    } else if decision.is_ok() {
        let beyond = format!("it is more than the delegate may hand out who made {name}");
        Failure::new(Code::PermissionDenied, beyond).hint("authctl admin list")
    } else if key.starts_with(RESERVED_PREFIX) {
        Failure::new(
            Code::PermissionDenied,
            "system/ is reserved; nobody has rights in it",
        )
    } else {
        Failure::new(
            Code::PermissionDenied,
            format!("no rule allows {name} to {action} {shown}"),
        )
        .hint(format!(
            "authctl user show {name} lists the roles, authctl role show ROLE what one grants"
        ))
    };
    Err(failure)
}
