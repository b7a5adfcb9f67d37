//! Second factors: shown once, confirmed where somebody is there to do it, enrolled.

use sealmoot_authn::cli::{self, Code, Failure, PassphraseArgs, SecretArgs, prompt_code};
use sealmoot_authn::name::Name;
use sealmoot_authn::realm::{Realm, RealmError, SecondFactorChangeError, check_enrollable};
use sealmoot_authn::second_factor::{Enrolled, SealedSecondFactor};
use sealmoot_authn::statement::CredentialId;
use serde_json::{Value, json};

use super::checked;
use crate::Context;
use crate::realm::select;
use crate::refresh::unlock_refreshed;
use crate::tell::tell_nodes;
use crate::user::{must_exist, warn_of_replaced};

/// How often a person may type a code that does not confirm.
const CONFIRM_TRIES: u32 = 3;
const LABEL: &str = "second factor";
const KIND: &str = "totp";

pub(super) fn issue(
    user: &Name,
    passphrase: &PassphraseArgs,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let no_input = context.common.no_input;
    let passphrase = checked(passphrase)?;
    let realm = select(context)?;
    if realm.chain().is_some() {
        // It is sealed for the nodes with the realm's login secrets.
        return Err(
            Failure::from(RealmError::NotTheRoot("a second factor")).hint(
                "it stands beside a password, and both are set where the root is; \
             here: authctl cred issue USER --public-key FILE.pub",
            ),
        );
    }
    check_enrollable(must_exist(&realm, user)?.user()).map_err(refused)?;
    passphrase.check_obtainable(no_input)?;
    let passphrase = passphrase.obtain_for_realm(&realm, no_input)?;
    let realm = unlock_refreshed(realm, passphrase, context)?;
    let (factor, taken_home) = realm.make_second_factor(user).map_err(refused)?;
    let id = factor.id();
    let shown = cli::is_terminal() && !no_input;
    if shown {
        confirm(realm.realm(), user, &taken_home)?;
    }
    let replaced = realm.roles_to_replace(user)?;
    realm
        .enroll_second_factor(user, factor, cli::now_ms())
        .map_err(refused)?;
    let realm = tell_nodes(realm.close(), context);
    warn_of_replaced(&replaced, context);
    report(&realm, user, id, &taken_home, shown, context)
}

pub(super) fn remove(
    user: &Name,
    id: CredentialId,
    passphrase: &SecretArgs,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let realm = select(context)?;
    passphrase.check_obtainable(context.common.no_input)?;
    let passphrase = passphrase.obtain_for_realm(&realm, context.common.no_input)?;
    let realm = unlock_refreshed(realm, passphrase, context)?;
    let replaced = realm.roles_to_replace(user)?;
    let record = realm
        .remove_second_factor(user, id, cli::now_ms())
        .map_err(refused)?;
    let realm = tell_nodes(realm.close(), context);
    warn_of_replaced(&replaced, context);
    let roles = realm.roles()?;
    let needed = roles.as_ref().and_then(|roles| {
        roles
            .roles()
            .second_factor_needed_by(&record.user().roles)
            .cloned()
    });
    if let Some(role) = needed {
        context.output.warning(format!(
            "role {role} needs a second factor: {user} cannot log in by password until \
             authctl cred issue {user} --totp"
        ));
    }
    let data = describe_id(user, id);
    context.output.result("credential", &data, || {
        format!("✓ second factor {id} of {user}   removed")
    })
}

/// The user's second factor, if it has this id.
pub(super) fn with_id(
    realm: &Realm,
    user: &Name,
    id: CredentialId,
) -> Result<Option<Box<SealedSecondFactor>>, Failure> {
    let record = must_exist(realm, user)?;
    let factor = record.user().second_factor.clone();
    Ok(factor.filter(|factor| factor.id() == id))
}

pub(super) fn inspect(
    user: &Name,
    factor: &SealedSecondFactor,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let data = describe(user, factor);
    context.output.result("credential", &data, || {
        format!(
            "second factor  {}\nuser           {user}\nkind           {KIND}",
            factor.id()
        )
    })
}

pub(super) fn describe(user: &Name, factor: &SealedSecondFactor) -> Value {
    describe_id(user, factor.id())
}

/// A line of the table of a user's credentials.
pub(super) fn line(factor: &SealedSecondFactor) -> String {
    let id = factor.id().to_string();
    format!("{id:16}  {KIND:7}  {:20}  {:50}  {LABEL}", "never", "")
}

fn describe_id(user: &Name, id: CredentialId) -> Value {
    json!({
        "id": id.to_string(), "user": user.as_str(), "label": LABEL, "kind": KIND,
        "fingerprint": null, "key_id": null, "expires": null, "expired": false,
        "grants": null,
    })
}

/// Shows the secret, and asks for a code of the app that took it, before anything depends
/// on it.
fn confirm(realm: &Realm, user: &Name, taken_home: &Enrolled) -> Result<(), Failure> {
    eprintln!(
        "Give this to the authenticator app:\n{}\nor, to type: {}",
        *taken_home.totp.to_uri(realm.name(), user),
        *taken_home.totp.to_base32()
    );
    for _ in 0..CONFIRM_TRIES {
        let code = prompt_code("Code (empty = do not confirm): ")?;
        if code.is_empty() || taken_home.confirms(code.expose(), cli::now_ms()) {
            return Ok(());
        }
        eprintln!("that is not the code of now");
    }
    Err(
        Failure::usage("the app does not show the right code; nothing was enrolled")
            .hint("see whether the app's clock and this machine's are right, and try again"),
    )
}

fn report(
    realm: &Realm,
    user: &Name,
    id: CredentialId,
    taken_home: &Enrolled,
    shown: bool,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let uri = taken_home.totp.to_uri(realm.name(), user);
    let secret = taken_home.totp.to_base32();
    let codes: Vec<String> = taken_home
        .recovery
        .iter()
        .map(|code| code.to_text().to_string())
        .collect();
    let mut data = describe_id(user, id);
    data["uri"] = json!(*uri);
    data["secret"] = json!(*secret);
    data["recovery_codes"] = json!(codes);
    context.output.result("credential", &data, || {
        let app = if shown {
            String::new()
        } else {
            format!("\napp     {}\nsecret  {}", *uri, *secret)
        };
        format!(
            "✓ second factor {id} of {user}{app}\n\
             Recovery codes, each good once; they are not shown again:\n  {}",
            codes.join("\n  ")
        )
    })
}

fn refused(error: SecondFactorChangeError) -> Failure {
    match error {
        SecondFactorChangeError::Realm(error) => error.into(),
        SecondFactorChangeError::Make(error) => Failure::internal(error),
        SecondFactorChangeError::EnrolledAlready(ref user) => {
            let hint = format!("authctl cred list {user}, then authctl cred revoke {user} ID");
            Failure::new(Code::Exists, error).hint(hint)
        }
        SecondFactorChangeError::NoPassword(ref user) => {
            let hint = format!("authctl user passwd {user}; with a key no code is asked for");
            Failure::new(Code::WrongState, error).hint(hint)
        }
        SecondFactorChangeError::NoSuchFactor { ref user, .. } => {
            let hint = format!("authctl cred list {user}");
            Failure::new(Code::NotFound, error).hint(hint)
        }
    }
}
