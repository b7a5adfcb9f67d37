//! Learning from the nodes what others changed, before anything is changed here.

use sealmoot_authn::cli::{self, Code, Failure};
use sealmoot_authn::fetch;
use sealmoot_authn::realm::{OpenRealm, Realm};
use sealmoot_crypto::secret::SecretBytes;

use crate::Context;
use crate::realm::unlock;

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
    let nodes = realm.realm().nodes()?;
    let addresses: Vec<String> = nodes.into_iter().map(|(_, address)| address).collect();
    if addresses.is_empty() {
        return Ok(0);
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
    let fetched = fetched.map_err(Failure::internal)?;
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
    Ok(realm.learn(fetched.records, cli::now_ms())?)
}
