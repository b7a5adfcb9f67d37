//! `authctl realm rotate-root`.

use std::path::{Path, PathBuf};

use clap::Args;
use sealmoot_authn::cli::{
    self, Code, Failure, HeirPassphraseArgs, NewPassphraseArgs, PassphraseArgs, SecretArgs,
    StandardInput, escaped,
};
use sealmoot_authn::files::{self, Existing, FileError};
use sealmoot_authn::name::Name;
use sealmoot_authn::realm::{HEIR_FILE, HandOver, HandedOver, HeirError, Realm, RealmError};
use sealmoot_authn::records::RecordName;
use sealmoot_crypto::secret::SecretBytes;
use sealmoot_crypto::signature::SigningKey;
use serde_json::json;

use super::{describe, not_unlocked, select, unlock, with_tilde};
use crate::refresh::{Asked, ask_nodes};
use crate::tell::tell_nodes;
use crate::user::confirm;
use crate::{Context, progress};

/// How many records that nobody here signed are named.
const NAMED_MAX: usize = 20;

#[derive(Args)]
pub(crate) struct RotateArgs {
    /// Where the heir is, if it was moved away from the realm's directory, or what an
    /// approver made of it
    #[arg(long, value_name = "FILE")]
    heir: Option<PathBuf>,
    /// Keep the heir after this one in that file, and not beside the root
    #[arg(long, value_name = "FILE")]
    new_heir: Option<PathBuf>,
    /// Where to write what delegates have to accept, as NAME.delegation
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Ask no node whether it holds what this directory does not know
    #[arg(long)]
    offline: bool,
    /// Go on though nodes hold what the root signed and this directory does not know: all
    /// of that ends
    #[arg(long)]
    discard_unknown: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    #[command(flatten)]
    heir_passphrase: HeirPassphraseArgs,
    #[command(flatten)]
    new: NewPassphraseArgs,
}

/// Where the passphrases come from.
struct Sources {
    passphrase: SecretArgs,
    heir: SecretArgs,
    new: Option<SecretArgs>,
}

pub(super) fn rotate(args: &RotateArgs, context: &Context<'_>) -> Result<(), Failure> {
    let sources = Sources {
        passphrase: SecretArgs::from(&args.passphrase),
        heir: SecretArgs::from(&args.heir_passphrase),
        new: args.new.wanted(),
    };
    let mut input = StandardInput::default();
    sources.passphrase.check(&mut input)?;
    sources.heir.check(&mut input)?;
    if let Some(new) = &sources.new {
        new.check(&mut input)?;
    }
    let realm = select(context)?;
    let no_input = context.common.no_input;
    sources.passphrase.check_obtainable(no_input)?;
    if realm.is_being_handed_over() {
        context.output.notice(
            "this was begun before and is gone on with; the passphrase is that of the new root",
        );
        let source = sources.new.as_ref().unwrap_or(&sources.passphrase);
        let passphrase = source.obtain_for_realm(&realm, no_input)?;
        return finish(realm, passphrase, args, context);
    }
    if realm.chain().is_some() {
        return Err(RealmError::NotTheRoot("handing the realm over").into());
    }
    if let Some(new_heir) = &args.new_heir {
        refuse_existing(new_heir)?;
    }
    if let Some(new) = &sources.new {
        new.check_obtainable(no_input)?;
    }
    confirm(
        &format!(
            "Hand realm {} over to its heir, so that its present root key never counts again and \
             each delegate has to accept anew?",
            realm.name()
        ),
        context,
    )?;
    let passphrase = sources.passphrase.obtain_for_realm(&realm, no_input)?;
    let heir = open_heir(&realm, args, &passphrase, &sources.heir, context)?;
    if !args.offline {
        compare(select(context)?, &passphrase, args.discard_unknown, context)?;
    }
    let new = match &sources.new {
        Some(new) => {
            let secret = new.obtain_new_for("the new root, and its heir", no_input)?;
            if let Some(weakness) = new.weakness(&secret) {
                context.output.warning(weakness);
            }
            Some(secret)
        }
        None => None,
    };
    let decided = realm.decide_hand_over(
        &HandOver {
            passphrase: passphrase.expose(),
            heir: &heir,
            new_passphrase: new.as_ref().map(SecretBytes::expose),
            new_heir: args.new_heir.as_deref(),
        },
        cli::now_ms(),
    );
    drop(heir);
    decided.map_err(|error| not_handed_over(error, &realm))?;
    finish(realm, new.unwrap_or(passphrase), args, context)
}

fn finish(
    realm: Realm,
    passphrase: SecretBytes,
    args: &RotateArgs,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let name = realm.name().clone();
    let shown = progress::shown("users signed anew", context);
    let done = realm.finish_hand_over(passphrase.expose(), cli::now_ms(), shown);
    drop(passphrase);
    let HandedOver {
        realm,
        users,
        lost,
        delegations,
    } = done.map_err(|error| not_unlocked(error, &name))?;
    let mut files = Vec::with_capacity(delegations.len());
    for (delegate, file) in &delegations {
        let path = args.out.join(format!("{delegate}.delegation"));
        let written = files::ensure_directory(&args.out)
            .and_then(|()| files::write(&path, file, Existing::Replace));
        match written {
            Ok(()) => files.push((delegate, path.display().to_string())),
            // The realm is handed over: that is told, whatever else fails.
            Err(error) => context.output.warning(format!(
                "{error}: for {delegate} make it again, authctl admin grant {delegate}.request"
            )),
        }
    }
    let realm = tell_nodes(realm, context);
    let mut data = describe(&realm);
    data["users"] = json!(users);
    data["lost"] = json!(lost.iter().map(Name::as_str).collect::<Vec<_>>());
    let written: Vec<&String> = files.iter().map(|(_, path)| path).collect();
    data["delegations"] = json!(written);
    context.output.result("realm", &data, || {
        format!(
            "✓ realm {}  {}   handed over to root {}, {users} users signed anew",
            realm.name(),
            realm.id().short(),
            realm.roots().number(),
        )
    })?;
    if !lost.is_empty() {
        context.output.warning(format!(
            "not kept, because no delegation that was issued here admits them: {}",
            named(&lost)
        ));
    }
    for (delegate, path) in &files {
        let text = format!("{delegate} has to accept: authctl admin accept {path}");
        context.output.notice(escaped(&text));
    }
    context.output.notice(
        "the former root key may have opened the login secrets: whoever has them and a node's \
         records can try passwords; let people change theirs (authctl user passwd)",
    );
    if let Some(heir) = &args.heir {
        context.output.notice(escaped(&format!(
            "the key in {} is the root key now: destroy it and its copies",
            heir.display()
        )));
    }
    say_where_heir_is(&realm, args.new_heir.as_deref(), context);
    Ok(())
}

/// Opens the heir with the realm's passphrase, or else with its own.
fn open_heir(
    realm: &Realm,
    args: &RotateArgs,
    passphrase: &SecretBytes,
    own: &SecretArgs,
    context: &Context<'_>,
) -> Result<SigningKey, Failure> {
    let no_input = context.common.no_input;
    let opened = match own.is_given() {
        true => {
            let own = own.obtain(no_input)?;
            realm.open_heir(args.heir.as_deref(), own.expose())
        }
        false => realm.open_heir(args.heir.as_deref(), passphrase.expose()),
    };
    let opened = match opened {
        Err(RealmError::Heir(HeirError::WrongPassphrase))
            if !own.is_given() && own.check_obtainable(no_input).is_ok() =>
        {
            let own = own.obtain_for("the heir, which the realm's does not open", no_input)?;
            realm.open_heir(args.heir.as_deref(), own.expose())
        }
        opened => opened,
    };
    opened.map_err(|error| match error {
        RealmError::File(FileError::Missing(_)) => Failure::new(Code::NotFound, error)
            .hint("the heir was moved away: say where it is with --heir FILE"),
        error => not_handed_over(error, realm),
    })
}

/// Takes what delegates did and this directory does not know yet, and refuses where nodes
/// hold what cannot be accounted for.
fn compare(
    realm: Realm,
    passphrase: &SecretBytes,
    discard: bool,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let passphrase = SecretBytes::new(passphrase.expose().to_vec());
    let realm = unlock(realm, passphrase)?;
    let asked = ask_nodes(&realm, context)?;
    let offline = "without asking them: --offline";
    let Some(Asked { answered, learnt }) = asked else {
        return Ok(());
    };
    if answered == 0 {
        return Err(
            Failure::new(Code::Unreachable, "no node answered what it holds").hint(offline),
        );
    }
    if learnt.foreign.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = learnt.foreign.iter().map(RecordName::to_string).collect();
    let what = format!(
        "nodes hold what a root signed and this directory does not know: {}",
        named(&names)
    );
    if discard {
        context.output.warning(format!("{what}; all of that ends"));
        return Ok(());
    }
    Err(Failure::new(Code::Conflict, what).hint(
        "this is an older copy of the realm, or somebody else signs with its key; to end all of \
         that: --discard-unknown",
    ))
}

fn not_handed_over(error: RealmError, realm: &Realm) -> Failure {
    let hint = match &error {
        RealmError::Heir(HeirError::WrongPassphrase) => {
            "it has the passphrase that the realm had when the heir was made: \
             --heir-passphrase-file FILE; and it has to be this realm's latest heir"
                .to_owned()
        }
        RealmError::Heir(HeirError::NotApproved(_)) => {
            let file = with_tilde(&realm.directory().join(HEIR_FILE));
            format!(
                "hand the file of the heir ({file}) to the approver: authctl approver approve \
                 FILE --key KEY; then say --heir FILE.approved"
            )
        }
        RealmError::Heir(HeirError::Damaged(_)) => {
            "take another copy of it: --heir FILE".to_owned()
        }
        RealmError::TooManyCalls { .. } => {
            "give up those that are gone: authctl node forget --call ID".to_owned()
        }
        _ => return not_unlocked(error, realm.name()),
    };
    Failure::from(error).hint(hint)
}

/// Names where the next heir lies, and what that is worth.
pub(super) fn say_where_heir_is(realm: &Realm, elsewhere: Option<&Path>, context: &Context<'_>) {
    let place = match elsewhere {
        Some(path) => path.display().to_string(),
        None => with_tilde(&realm.directory().join(HEIR_FILE)),
    };
    context.output.hint(format!(
        "the key that comes after the root is in {}: keep it where the root key is not; with it \
         the realm outlives a theft of the root key (authctl realm rotate-root)",
        escaped(&place)
    ));
}

pub(super) fn refuse_existing(path: &Path) -> Result<(), Failure> {
    if path.symlink_metadata().is_ok() {
        let taken = format!("{} exists already", path.display());
        return Err(
            Failure::new(Code::Exists, taken).hint("choose another name; nothing is overwritten")
        );
    }
    Ok(())
}

/// A few of them, and how many more.
fn named<T: ToString>(names: &[T]) -> String {
    let shown: Vec<String> = names.iter().take(NAMED_MAX).map(T::to_string).collect();
    match names.len().saturating_sub(NAMED_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
