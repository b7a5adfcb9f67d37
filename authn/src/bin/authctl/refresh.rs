//! Learning from the nodes what others changed, before anything is changed here.

use sealmoot_authn::cli::{self, Code, Failure};
use sealmoot_authn::fetch;
use sealmoot_authn::realm::{Learnt, OpenRealm, Realm};
use sealmoot_crypto::secret::SecretBytes;

use crate::Context;
use crate::realm::unlock;

/// How many records that nobody here signed are named.
const NAMED_MAX: usize = 5;

/// What asking the nodes yielded.
pub(crate) struct Asked {
    /// How many answered.
    pub(crate) answered: usize,
    pub(crate) learnt: Learnt,
}

/// Opens a realm; where several issue users, after that asks the nodes what the others
/// did. Nodes that cannot be reached are no hindrance.
pub(crate) fn unlock_refreshed(
    realm: Realm,
    passphrase: SecretBytes,
    context: &Context<'_>,
) -> Result<OpenRealm, Failure> {
    let realm = unlock(realm, passphrase)?;
    if realm.realm().chain().is_some() || !realm.realm().delegations()?.is_empty() {
        refresh(&realm, context)?;
    }
    Ok(realm)
}

/// Asks the nodes; how many records were new here.
pub(crate) fn refresh(realm: &OpenRealm, context: &Context<'_>) -> Result<usize, Failure> {
    let Some(Asked { learnt, .. }) = ask_nodes(realm, context)? else {
        return Ok(0);
    };
    let foreign = &learnt.foreign;
    // A restored realm lacks what came after the backup, and was told so.
    if !foreign.is_empty() && (!realm.realm().is_restored() || context.common.verbose) {
        let named: Vec<String> = foreign
            .iter()
            .take(NAMED_MAX)
            .map(ToString::to_string)
            .collect();
        context.output.warning(format!(
            "nodes hold {} records that a root signed and this directory does not know ({}, …): \
             it is an older copy of the realm, or somebody else has the root key; then authctl \
             realm rotate-root ends what they signed",
            foreign.len(),
            named.join(", ")
        ));
    }
    Ok(learnt.taken)
}

/// Asks all nodes what they hold, and takes what may be taken; none where there is no node.
pub(crate) fn ask_nodes(
    realm: &OpenRealm,
    context: &Context<'_>,
) -> Result<Option<Asked>, Failure> {
    let nodes = realm.realm().nodes()?;
    let addresses: Vec<String> = nodes.into_iter().map(|(_, address)| address).collect();
    if addresses.is_empty() {
        return Ok(None);
    }
    let asked = addresses.len();
    let held = realm.realm().users()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::internal)?;
    let fetched = runtime.block_on(fetch::fetch(realm.prover(), &held, addresses));
    // A name that is still being resolved must not hold the command up.
    runtime.shutdown_background();
    drop(held);
    let fetched = fetched.map_err(Failure::internal)?;
    if let Some(later) = &fetched.more_roots {
        return Err(handed_over(realm.realm(), later.number()));
    }
    if let Some(refused) = &fetched.refused {
        return Err(Failure::new(Code::PermissionDenied, refused)
            .hint("ask who holds the root key: authctl admin list, authctl admin grant"));
    }
    for (address, cause) in &fetched.failures {
        // One that answered is enough to know nearly everything.
        if fetched.failures.len() == asked || context.common.verbose {
            context.output.warning(format!(
                "{address} was not asked what others changed ({cause})"
            ));
        }
    }
    Ok(Some(Asked {
        answered: asked - fetched.failures.len(),
        learnt: realm.learn(fetched.records, cli::now_ms())?,
    }))
}

fn handed_over(realm: &Realm, number: u64) -> Failure {
    let held = realm.roots().number();
    let what =
        format!("the realm was handed over to root {number}, and this directory knows root {held}");
    let hint = match realm.chain() {
        Some(_) => "ask who holds the new root key for NAME.delegation: authctl admin accept",
        None => "it is an old copy: use the directory that root was made in, or a backup of it",
    };
    Failure::new(Code::WrongState, what).hint(hint)
}
