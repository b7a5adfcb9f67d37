//! `kv login`.

use sealmoot_authn::cli::{
    CommonArgs, Failure, Output, PasswordArgs, Places, SecretArgs, StandardInput, now_ms, rfc3339,
};
use sealmoot_authn::realm_id::RealmId;
use sealmoot_kv::client::{Context, LoginRequest, log_in};
use serde_json::json;

use crate::session::{SessionArgs, block_on, context_failure, full_address};

/// `kv login`.
#[derive(Debug, clap::Args)]
pub(crate) struct LoginArgs {
    /// The user and any node
    #[arg(value_name = "USER@HOST:PORT")]
    at: String,
    /// The realm's id, as `authctl realm show` prints it; needed the first time
    #[arg(long, value_name = "ID")]
    realm: Option<String>,
    #[command(flatten)]
    password: PasswordArgs,
}

pub(crate) fn login(
    args: &LoginArgs,
    session: &SessionArgs,
    common: &CommonArgs,
    output: &Output,
) -> Result<(), Failure> {
    let places = Places::find()?;
    let (user, address) = args
        .at
        .rsplit_once('@')
        .filter(|(user, address)| !user.is_empty() && !address.is_empty())
        .ok_or_else(|| Failure::usage("the form is USER@HOST:PORT"))?;
    let address = full_address(address)?;
    let realm = match &args.realm {
        Some(text) => text
            .parse::<RealmId>()
            .map_err(|error| Failure::usage(format!("--realm: {error}")))?,
        None => known_realm(session, &places, user, &address)?,
    };
    let secret = SecretArgs::from(&args.password);
    secret.check(&mut StandardInput::default())?;
    let request = LoginRequest {
        realm,
        address,
        user: user.to_owned(),
        password: secret.obtain(common.no_input)?,
        timeout: common.timeout,
    };
    let context = block_on(log_in(&request, now_ms()))?;
    let name = session
        .context
        .clone()
        .unwrap_or_else(|| context.default_name());
    context
        .save(&places.config, &name)
        .map_err(context_failure)?;
    let expires = rfc3339(context.proof.expires_ms);
    let hours = context
        .proof
        .expires_ms
        .saturating_sub(now_ms())
        .div_ceil(3_600_000);
    let data = json!({
        "context": name, "user": context.user.as_str(),
        "realm": context.realm.to_string(), "expires": expires,
    });
    output.result("login", &data, || {
        format!("✓ context {name}, session {hours}h")
    })
}

/// The realm of an earlier login of the same user at the same node.
fn known_realm(
    session: &SessionArgs,
    places: &Places,
    user: &str,
    address: &str,
) -> Result<RealmId, Failure> {
    let known = Context::load(&places.config, session.context.as_deref())
        .ok()
        .map(|(_, context)| context)
        .filter(|context| {
            session.context.is_some()
                || context.user.as_str() == user
                || context.addresses.iter().any(|known| known == address)
        });
    known.map(|context| context.realm).ok_or_else(|| {
        Failure::usage("--realm ID is required at the first login")
            .hint("authctl realm show prints the id")
    })
}
