//! `kv context` and `kv whoami`: which sessions this machine keeps.

use clap::Subcommand;
use sealmoot_authn::cli::{Failure, Output, Places, now_ms, rfc3339};
use sealmoot_authn::context::names;
use sealmoot_kv::client::{Context, ContextError, current};
use serde_json::{Value, json};

use crate::session::{SessionArgs, context_failure};

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// List the contexts; the current one has a star
    List,
    /// Use another context from now on
    Use {
        /// Its name
        name: String,
    },
    /// Show a context, without --context the current one
    Show,
    /// Delete a context, and its session key with it
    Delete {
        /// Its name
        name: String,
    },
}

pub(crate) fn run(
    command: &ContextCommand,
    session: &SessionArgs,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        ContextCommand::List => list(output),
        ContextCommand::Use { name } => select(name, output),
        ContextCommand::Show => whoami(session, output),
        ContextCommand::Delete { name } => delete(name, output),
    }
}

/// Whom the context speaks for, and until when.
pub(crate) fn whoami(session: &SessionArgs, output: &Output) -> Result<(), Failure> {
    let places = Places::find()?;
    let (name, context) =
        Context::load(&places.config, session.context.as_deref()).map_err(context_failure)?;
    output.result("context", &describe(&name, &context), || {
        format!(
            "context  {name}\nuser     {}\nrealm    {} {}\nsession  {}\nnodes    {}",
            context.user,
            context.realm_name,
            context.realm,
            state(&context),
            context.addresses.join(" ")
        )
    })
}

fn list(output: &Output) -> Result<(), Failure> {
    let places = Places::find()?;
    let current = current(&places.config).map_err(context_failure)?;
    let mut contexts = Vec::new();
    for name in names(&places.config).map_err(context_failure)? {
        match Context::load(&places.config, Some(&name)) {
            Ok((_, context)) => contexts.push((name, context)),
            // Deleted meanwhile.
            Err(ContextError::NoSuch(_)) => {}
            // One that is damaged hides no other.
            Err(error) => output.warning(error.to_string()),
        }
    }
    if contexts.is_empty() {
        output.notice("no contexts yet: kv login USER@HOST:PORT --realm ID");
    }
    let data: Vec<Value> = contexts
        .iter()
        .map(|(name, context)| {
            let mut data = describe(name, context);
            data["current"] = json!(current.as_ref() == Some(name));
            data
        })
        .collect();
    output.result("contexts", &Value::Array(data), || {
        let width = contexts.iter().map(|(name, _)| name.len()).max();
        let line = |(name, context): &(String, Context)| {
            let star = if current.as_ref() == Some(name) {
                "*"
            } else {
                " "
            };
            let width = width.unwrap_or(0);
            format!("{star} {name:width$}  {}", state(context))
        };
        contexts.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}

fn select(name: &str, output: &Output) -> Result<(), Failure> {
    let places = Places::find()?;
    let context = Context::make_current(&places.config, name).map_err(context_failure)?;
    output.result("context", &describe(name, &context), || {
        format!("✓ context {name}, {}", state(&context))
    })
}

fn delete(name: &str, output: &Output) -> Result<(), Failure> {
    let places = Places::find()?;
    let name = Context::delete(&places.config, Some(name)).map_err(context_failure)?;
    output.result("context", &json!({"context": name}), || {
        format!("✓ context {name} deleted, its key with it")
    })
}

fn describe(name: &str, context: &Context) -> Value {
    json!({
        "context": name, "user": context.user.as_str(),
        "realm": context.realm.to_string(), "realm_name": context.realm_name.as_str(),
        "expires": rfc3339(context.proof.expires_ms),
        "expired": context.proof.expires_ms <= now_ms(), "endpoints": context.addresses,
    })
}

fn state(context: &Context) -> String {
    let until = rfc3339(context.proof.expires_ms);
    if context.proof.expires_ms <= now_ms() {
        format!("expired {until}")
    } else {
        format!("until {until}")
    }
}
