//! `authctl check`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use sealmoot_authn::cli::{Code, Failure, escaped};
use sealmoot_authn::name::Name;
use sealmoot_authn::policy::{Action, PATTERN_LENGTH_MAX, RESERVED_PREFIX, decide};
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
    let record = must_exist(&select(context)?, name)?;
    let user = record.user();
    let decision = decide(name.as_str(), &user.roles, action, key);
    if let (Ok(allowed), true) = (&decision, user.enabled) {
        let data = json!({"allowed": true, "rule": allowed.rule});
        return context.output.result("check", &data, || {
            let rule = &allowed.rule;
            escaped(&format!("✓ {name} may {action} {shown}: {rule}"))
        });
    }

    // The refusal itself is the result that was asked for; the exit status and
    // standard error say the same.
    let data = json!({"allowed": false, "rule": null});
    context.output.result("check", &data, String::new)?;
    let failure = if !user.enabled {
        Failure::new(Code::PermissionDenied, format!("{name} is disabled"))
            .hint(format!("authctl user enable {name}"))
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
        .hint(format!("authctl user show {name} lists the rules"))
    };
    Err(failure)
}
