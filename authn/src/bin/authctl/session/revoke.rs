//! `authctl session revoke`.

use sealmoot_authn::audit::Subject;
use sealmoot_authn::cli::{self, Code, Failure, SecretArgs, StandardInput, rfc3339};
use sealmoot_authn::name::Name;
use sealmoot_authn::realm::{Realm, RealmError};
use sealmoot_authn::statement::{RevokedSessions, TooManyRevoked};
use sealmoot_crypto::signature::KeyId;
use serde_json::json;

use super::list::short;
use super::{RevokeArgs, ask};
use crate::Context;
use crate::realm::select;
use crate::refresh::unlock_refreshed;
use crate::tell::tell_nodes;

/// Shorter beginnings of an id are more likely mistaken than meant.
const DIGITS_MIN: usize = 4;

pub(super) fn run(args: &RevokeArgs, context: &Context<'_>) -> Result<(), Failure> {
    let no_input = context.common.no_input;
    let passphrase = SecretArgs::from(&args.passphrase);
    passphrase.check(&mut StandardInput::default())?;
    let realm = select(context)?;
    if realm.chain().is_some() {
        return Err(
            Failure::from(RealmError::NotTheRoot("revoking sessions")).hint(
                "have it done where the root is; here: authctl user disable USER, \
                 or authctl cred revoke USER ID",
            ),
        );
    }
    let keys = keys(args, context)?;
    if let Some(user) = &args.user {
        must_exist(&realm, user)?;
    }
    passphrase.check_obtainable(no_input)?;
    let passphrase = passphrase.obtain_for_realm(&realm, no_input)?;
    let realm = unlock_refreshed(realm, passphrase, context)?;

    let now_ms = cli::now_ms();
    let (subject, detail) = match &args.user {
        Some(user) => (Subject::User(user.clone()), "all sessions".to_owned()),
        None => {
            let ids: Vec<String> = keys.iter().map(KeyId::to_string).collect();
            (Subject::Nothing, ids.join(" "))
        }
    };
    let revoke = |revoked: &mut RevokedSessions| -> Result<(), TooManyRevoked> {
        for key in &keys {
            revoked.revoke_key(*key, now_ms)?;
        }
        match &args.user {
            Some(user) => revoked.revoke_user(user.clone(), now_ms),
            None => Ok(()),
        }
    };
    realm
        .revoke_sessions(now_ms, subject, &detail, revoke)
        .map_err(refused)?;
    tell_nodes(realm.close(), context);

    let ids: Vec<String> = keys.iter().map(KeyId::to_string).collect();
    let user = args.user.as_ref().map(Name::as_str);
    let before = user.map(|_| rfc3339(now_ms));
    let data = json!({"ids": ids, "user": user, "before": before});
    context.output.result("revoked", &data, || match user {
        Some(user) => format!("✓ all sessions of {user} until now revoked"),
        None => {
            let ids: Vec<String> = keys.iter().map(short).collect();
            format!("✓ revoked {}", ids.join(" "))
        }
    })
}

/// The sessions that are meant. The nodes are asked only for ids that are not whole.
fn keys(args: &RevokeArgs, context: &Context<'_>) -> Result<Vec<KeyId>, Failure> {
    let mut keys = Vec::with_capacity(args.ids.len());
    let mut seen = None;
    for text in &args.ids {
        if let Ok(key) = text.parse() {
            keys.push(key);
            continue;
        }
        check_beginning(text)?;
        let seen = match &mut seen {
            Some(seen) => seen,
            None => seen.insert(ask::sessions(None, args.context.as_deref(), context)?),
        };
        match seen.beginning_with(text).as_slice() {
            [key] => keys.push(*key),
            [] => {
                return Err(Failure::new(Code::NotFound, format!("no session {text}"))
                    .hint("authctl session list; a whole id is revoked also unseen"));
            }
            several => {
                return Err(Failure::usage(format!(
                    "{} sessions begin with {text}",
                    several.len()
                ))
                .hint("authctl session list -o json shows whole ids"));
            }
        }
    }
    Ok(keys)
}

fn check_beginning(text: &str) -> Result<(), Failure> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let sound = (DIGITS_MIN..64).contains(&text.len()) && text.bytes().all(is_digit);
    match sound {
        true => Ok(()),
        false => Err(Failure::usage(format!(
            "{} is no session id: {DIGITS_MIN} to 64 digits of 0 to 9 and a to f",
            cli::escaped(text)
        ))
        .hint("authctl session list")),
    }
}

fn must_exist(realm: &Realm, user: &Name) -> Result<(), Failure> {
    // A deleted user's sessions ended with the user.
    let record = realm.user(user)?.filter(|record| !record.user().deleted);
    match record {
        Some(_) => Ok(()),
        None => Err(RealmError::NoSuchUser(user.clone()).into()),
    }
}

fn refused(error: RealmError) -> Failure {
    let hint = match &error {
        RealmError::TooManyRevoked(TooManyRevoked::Keys) => {
            "authctl session revoke --user USER --all ends all of a user's at once"
        }
        RealmError::TooManyRevoked(TooManyRevoked::Users) => {
            "disable the users, or set new passwords: both end their sessions"
        }
        _ => return error.into(),
    };
    Failure::from(error).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_beginning_of_an_id_is_refused() {
        for text in ["", "abc", "ABCD", "xyz1", "-123", "0x12", &"a".repeat(64)] {
            assert!(check_beginning(text).is_err(), "{text:?}");
        }
        for text in ["0123", "abcdef", &"f".repeat(63)] {
            assert!(check_beginning(text).is_ok(), "{text:?}");
        }
    }
}
