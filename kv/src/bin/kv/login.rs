//! `kv login`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use sealmoot_authn::cli::{
    AgentArgs, Code, CodeArgs, CommonArgs, Failure, Output, PasswordArgs, Places, SecretArgs,
    StandardInput, is_terminal, now_ms, parse_duration, read_private_key, rfc3339,
};
use sealmoot_authn::client_key::ClientKey;
use sealmoot_authn::context::{known_revoked_nodes, known_roots, names};
use sealmoot_authn::realm_id::RealmId;
use sealmoot_crypto::signature::SigningKey;
use sealmoot_kv::client::{
    Context, LoginCredential, LoginRequest, current, log_in_with_codes, reach,
};
use serde_json::json;

use crate::codes::Codes;
use crate::session::{SessionArgs, block_on, context_failure, full_address};

/// `kv login`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  kv login alice@10.0.0.1 --realm moot1q7f…      the first time; the port defaults to 7401
  kv login alice@10.0.0.1                        later: the realm is remembered
  kv login ci@10.0.0.1 --realm moot1q7f… --key ci-key    a machine, without a password

The session is kept as the context REALM-USER, or as --context says, and becomes the
current one.")]
pub(crate) struct LoginArgs {
    /// The user and any node; the port defaults to 7401
    #[arg(value_name = "USER@HOST[:PORT]")]
    at: String,
    /// The realm's id, as `authctl realm show` prints it; needed the first time at an
    /// address
    #[arg(long, value_name = "ID")]
    realm: Option<String>,
    #[command(flatten)]
    password: PasswordArgs,
    /// Log in with the Ed25519 key in this file of OpenSSH, 0600, and no password
    #[arg(long, value_name = "FILE", conflicts_with = "agent")]
    key: Option<PathBuf>,
    #[command(flatten)]
    agent: AgentArgs,
    /// End the session when it goes unused for so long, such as 1h
    ///
    /// The nodes tell each other every few seconds when they served it. One that hears
    /// from no other counts what it saw itself.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    idle: Option<Duration>,
    #[command(flatten)]
    code: CodeArgs,
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
    let pin = match &args.realm {
        Some(text) => Pin {
            realm: text
                .parse::<RealmId>()
                .map_err(|error| Failure::usage(format!("--realm: {error}")))?,
            context: None,
        },
        None => known_pin(session, &places, user, &address)?,
    };
    let realm = pin.realm;
    if args.asks(common) {
        // Nobody types a password for a node that cannot take it.
        let roots = known_roots(&places.config, &realm).map_err(context_failure)?;
        block_on(reach(realm, roots.as_ref(), &address, common.timeout))
            .map_err(|failure| pin.explain(failure))?;
    }
    let credential = credential(args, &format!("user {user} at {address}"), common)?;
    // A context keeps its key when its session is over.
    let former = Context::of_user(&places.config, realm, user, session.context.as_deref());
    let key = former
        .as_ref()
        .map(|former| SigningKey::from_seed(&former.session_seed));
    let request = LoginRequest {
        revoked_nodes: known_revoked_nodes(&places.config, &realm),
        roots: known_roots(&places.config, &realm).map_err(context_failure)?,
        key,
        realm,
        address,
        user: user.to_owned(),
        credential,
        idle: args.idle,
        timeout: common.timeout,
    };
    let mut codes = Codes::new(SecretArgs::from(&args.code), common.no_input);
    let logged_in = block_on(log_in_with_codes(&request, &mut codes, now_ms()));
    // The password or key in it has done its work.
    drop(request);
    // Why no code could be had says more than that one was needed.
    let mut context = logged_in
        .map_err(|failure| codes.into_failure().unwrap_or_else(|| pin.explain(failure)))?;
    if let Some(former) = &former {
        // A session of before may outlast this one, and ends with the key.
        context.key_until_ms = context.key_until_ms.max(former.key_until_ms);
    }
    let name = session
        .context
        .clone()
        .unwrap_or_else(|| context.default_name());
    let before = current(&places.config).map_err(context_failure)?;
    context
        .save(&places.config, &name)
        .map_err(context_failure)?;
    if before.is_some_and(|before| before != name) && std::io::stderr().is_terminal() {
        output.notice(format!("context {name} is now the current one"));
    }
    let expires = rfc3339(context.proof.expires_ms);
    let hours = context
        .proof
        .expires_ms
        .saturating_sub(now_ms())
        .div_ceil(3_600_000);
    if context.proof.must_change {
        output.warning(format!(
            "the password was imported from another system and is to be changed: \
             ask an administrator for authctl user passwd {}",
            context.user
        ));
    }
    let data = json!({
        "context": name, "user": context.user.as_str(),
        "realm": context.realm.to_string(), "expires": expires,
    });
    output.result("login", &data, || {
        format!("✓ context {name}, session {hours}h")
    })
}

impl LoginArgs {
    /// Whether somebody will be asked for the password.
    fn asks(&self, common: &CommonArgs) -> bool {
        let with_key = self.key.is_some() || self.agent.agent;
        let given = SecretArgs::from(&self.password).is_given();
        !with_key && !given && !common.no_input && is_terminal()
    }
}

/// The realm that has to answer, and who says so.
struct Pin {
    realm: RealmId,
    /// The context that remembers it; none when it was named just now.
    context: Option<String>,
}

impl Pin {
    /// A realm that was not named on the command line is told with what it came from.
    fn explain(&self, failure: Failure) -> Failure {
        match &self.context {
            Some(context) if failure.code == Code::WrongRealm => failure.hint(format!(
                "the context {context} pins the realm {}; another one is named with --realm ID",
                self.realm
            )),
            _ => failure,
        }
    }
}

/// The key that is named, or else the password.
fn credential(
    args: &LoginArgs,
    whose: &str,
    common: &CommonArgs,
) -> Result<LoginCredential, Failure> {
    let secret = SecretArgs::from(&args.password);
    let code = SecretArgs::from(&args.code);
    let mut input = StandardInput::default();
    secret.check(&mut input)?;
    code.check(&mut input)?;
    let with_key = args.key.is_some() || args.agent.agent;
    if with_key && secret.is_named() {
        return Err(
            Failure::usage("a key and a password exclude each other").hint("leave out one of them")
        );
    }
    if with_key && code.is_given() {
        return Err(
            Failure::usage("a code goes with a password; with a key none is asked for")
                .hint("leave out the code"),
        );
    }
    if let Some(path) = &args.key {
        let (key, _) = read_private_key(path)?;
        return Ok(LoginCredential::Key(ClientKey::Held(key)));
    }
    if args.agent.agent {
        let (held, _) = block_on(args.agent.choose(common.timeout))?;
        return Ok(LoginCredential::Key(ClientKey::InAgent(Box::new(held))));
    }
    secret
        .obtain_for(whose, common.no_input)
        .map(LoginCredential::Password)
}

/// The realm that an earlier login pinned: that of the named context, or of those that
/// know the address, or of the current one if it is the same user's.
fn known_pin(
    session: &SessionArgs,
    places: &Places,
    user: &str,
    address: &str,
) -> Result<Pin, Failure> {
    let pin = |(name, context): (String, Context)| Pin {
        realm: context.realm,
        context: Some(name),
    };
    let load = |name: Option<&str>| Context::load(&places.config, name).ok();
    let required = || {
        Failure::usage("--realm ID is required at the first login")
            .hint("authctl realm show prints the id; ask an administrator of the realm")
    };
    if let Some(name) = &session.context {
        return load(Some(name)).map(pin).ok_or_else(required);
    }
    let mut pins: Vec<Pin> = names(&places.config)
        .map_err(context_failure)?
        .iter()
        .filter_map(|name| load(Some(name)))
        .filter(|(_, context)| context.addresses.iter().any(|known| known == address))
        .map(pin)
        .collect();
    if let Some(last) = pins.pop() {
        let Some(other) = pins.iter().find(|other| other.realm != last.realm) else {
            return Ok(last);
        };
        // Which of them is meant is not guessed.
        let of = |pin: &Pin| pin.context.clone().unwrap_or_default();
        let message = format!(
            "the contexts {} and {} pin different realms at {address}",
            of(other),
            of(&last)
        );
        return Err(Failure::usage(message).hint("say which with --realm ID or --context NAME"));
    }
    load(None)
        .filter(|(_, context)| context.user.as_str() == user)
        .map(pin)
        .ok_or_else(required)
}
