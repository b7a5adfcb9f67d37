//! Taking changes of the realm's users to nodes that run already.

use std::sync::Arc;
use std::time::Duration;

use sealmoot_crypto::random::RandomError;
use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{Connector, Limits};

use crate::cli::escaped;
use crate::pin::RealmPin;
use crate::presentation::Presentation;
use crate::proto::{DirectoryClient, PublishRequest};
use crate::realm_id::RealmId;
use crate::users::UserRecord;

/// Most bytes of records in one request.
pub const PUBLISH_BYTES_MAX: usize = 1024 * 1024;
/// How long one step with a node may take, and how long all of them.
const PATIENCE: Duration = Duration::from_secs(2);
const PATIENCE_TOTAL: Duration = Duration::from_millis(2500);

/// Encoded records in portions that fit a request each.
#[must_use]
pub fn portions(records: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<Bytes>> {
    let mut portions: Vec<Vec<Bytes>> = Vec::new();
    let mut size = usize::MAX;
    for record in records {
        if size.saturating_add(record.len()) > PUBLISH_BYTES_MAX {
            portions.push(Vec::new());
            size = 0;
        }
        size += record.len();
        if let Some(portion) = portions.last_mut() {
            portion.push(Bytes::from(record));
        }
    }
    portions
}

/// Hands `records` to the nodes at `addresses`; returns, for each that could not
/// be told, its address and why.
///
/// # Errors
/// When the random source fails.
pub async fn publish(
    realm: RealmId,
    addresses: Vec<String>,
    records: &[UserRecord],
) -> Result<Vec<(String, String)>, RandomError> {
    // Records are believed for the root's signature, not for who brings them: a
    // key made up on the spot will do.
    let key = SigningKey::generate()?;
    let pin = Arc::new(RealmPin::new(realm, &Presentation::Anonymous));
    let connector = match Connector::new(&key, pin, Limits::default()) {
        Ok(connector) => Arc::new(connector),
        Err(error) => {
            let untold = |address| (address, error.to_string());
            return Ok(addresses.into_iter().map(untold).collect());
        }
    };
    let portions = Arc::new(portions(records.iter().map(UserRecord::encode)));
    let tasks: Vec<_> = addresses
        .into_iter()
        .map(|address| {
            let connector = Arc::clone(&connector);
            let portions = Arc::clone(&portions);
            let called = address.clone();
            let task = tokio::spawn(async move {
                let told = publish_to(&connector, &called, &portions);
                tokio::time::timeout(PATIENCE_TOTAL, told)
                    .await
                    .unwrap_or_else(|_| Err("timed out".to_owned()))
            });
            (address, task)
        })
        .collect();
    let mut failures = Vec::new();
    for (address, task) in tasks {
        let outcome = task.await.unwrap_or_else(|error| Err(error.to_string()));
        if let Err(cause) = outcome {
            failures.push((address, escaped(&cause)));
        }
    }
    Ok(failures)
}

async fn publish_to(
    connector: &Connector,
    address: &str,
    portions: &[Vec<Bytes>],
) -> Result<(), String> {
    let connection = connector
        .connect(address, PATIENCE)
        .await
        .map_err(|error| error.cause())?;
    let directory = DirectoryClient::new(connection);
    for portion in portions {
        let request = PublishRequest {
            records: portion.clone(),
        };
        directory
            .publish(request, PATIENCE)
            .await
            .map_err(|status| status.message().to_owned())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_hold_everything_and_none_is_too_large() {
        let records = (0..10).map(|index| vec![index; PUBLISH_BYTES_MAX / 4 + 1]);
        let portions = portions(records);
        assert_eq!(
            portions.iter().map(Vec::len).collect::<Vec<_>>(),
            [3, 3, 3, 1]
        );
        assert!(super::portions(std::iter::empty()).is_empty());
    }
}
