//! Taking changes of the realm's users and roles to nodes that run already.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sealmoot_crypto::random::RandomError;
use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{Code, Connector, Limits};

use crate::cli::escaped;
use crate::name::Name;
use crate::pin::RealmPin;
use crate::presentation::Presentation;
use crate::proto::{DirectoryClient, PublishRequest};
use crate::records::RevokedNodesRecord;
use crate::roots::Roots;

/// Most bytes of records in one request: anybody may send one, and a node holds as much
/// for each of those whom it does not know. The largest record fits.
pub const PUBLISH_BYTES_MAX: usize = 128 * 1024;
const _: () = assert!(crate::records::SIGNED_RECORD_LENGTH_MAX <= PUBLISH_BYTES_MAX);
/// Most users of others that one answer is believed to name.
const OTHERS_MAX: usize = 4096;
/// How long a node may take for each of many portions.
const PATIENCE_PORTION: Duration = Duration::from_secs(10);

/// Encoded records in portions that fit a request each.
#[must_use]
pub fn portions(records: impl Iterator<Item = Bytes>) -> Vec<Vec<Bytes>> {
    let mut portions: Vec<Vec<Bytes>> = Vec::new();
    let mut size = usize::MAX;
    for record in records {
        if size.saturating_add(record.len()) > PUBLISH_BYTES_MAX {
            portions.push(Vec::new());
            size = 0;
        }
        size += record.len();
        if let Some(portion) = portions.last_mut() {
            portion.push(record);
        }
    }
    portions
}

/// What came of telling nodes.
#[derive(Debug, Default)]
pub struct Told {
    /// For each node that could not be told all, its address and why.
    pub failures: Vec<(String, String)>,
    /// Those of these addresses at which a node answered, and would not take it.
    pub refusals: BTreeSet<String>,
    /// Users of a delegate that some node refused because they belong to somebody else.
    pub others: BTreeSet<String>,
}

/// Hands to the node at each address its portions, and gives each so much time; more for
/// further portions.
///
/// # Errors
/// When the random source fails.
pub async fn publish(
    roots: &Roots,
    revoked_nodes: Option<RevokedNodesRecord>,
    deliveries: Vec<(String, Vec<Vec<Bytes>>)>,
    patience: Duration,
) -> Result<Told, RandomError> {
    // Records are believed for their signatures, not for who brings them: a
    // key made up on the spot will do.
    let key = SigningKey::generate()?;
    let pin = RealmPin::new(roots.realm(), &Presentation::Anonymous);
    if let Err(error) = pin.know_roots(roots) {
        let untold = |(address, _)| (address, error.to_string());
        return Ok(Told {
            failures: deliveries.into_iter().map(untold).collect(),
            ..Told::default()
        });
    }
    // What a former root revoked does not keep the new one from its nodes.
    if let Some(record) = revoked_nodes {
        pin.know(record);
    }
    let pin = Arc::new(pin);
    let connector = match Connector::new(&key, pin, Limits::default()) {
        Ok(connector) => Arc::new(connector),
        Err(error) => {
            let untold = |(address, _)| (address, error.to_string());
            return Ok(Told {
                failures: deliveries.into_iter().map(untold).collect(),
                ..Told::default()
            });
        }
    };
    let tasks: Vec<_> = deliveries
        .into_iter()
        .map(|(address, portions)| {
            let connector = Arc::clone(&connector);
            let called = address.clone();
            let task = tokio::spawn(async move {
                // The first portion comes with the connection; each further one is
                // thousands of signatures to the node.
                let further = u32::try_from(portions.len().saturating_sub(1)).unwrap_or(u32::MAX);
                let all = patience.saturating_add(PATIENCE_PORTION.saturating_mul(further));
                let told = publish_to(&connector, &called, &portions, patience);
                tokio::time::timeout(all, told)
                    .await
                    .unwrap_or_else(|_| Err(Untold::failed("timed out".to_owned())))
            });
            (address, task)
        })
        .collect();
    let mut told = Told::default();
    for (address, task) in tasks {
        let failed = |error: tokio::task::JoinError| Err(Untold::failed(error.to_string()));
        match task.await.unwrap_or_else(failed) {
            Ok(others) => told.others.extend(others),
            Err(untold) => {
                if untold.answered {
                    told.refusals.insert(address.clone());
                }
                told.failures.push((address, escaped(&untold.cause)));
            }
        }
    }
    Ok(told)
}

/// Why a node was not told.
struct Untold {
    cause: String,
    /// Whether it was the node that judged so, and would again.
    answered: bool,
}

impl Untold {
    fn failed(cause: String) -> Self {
        Self {
            cause,
            answered: false,
        }
    }
}

async fn publish_to(
    connector: &Connector,
    address: &str,
    portions: &[Vec<Bytes>],
    patience: Duration,
) -> Result<Vec<String>, Untold> {
    let connection = connector
        .connect(address, patience)
        .await
        .map_err(|error| Untold::failed(error.cause()))?;
    let directory = DirectoryClient::new(connection);
    let patience = if portions.len() > 1 {
        patience.max(PATIENCE_PORTION)
    } else {
        patience
    };
    let mut others = Vec::new();
    for portion in portions {
        let request = PublishRequest {
            records: portion.clone(),
        };
        let reply = directory
            .publish(request, patience)
            .await
            .map_err(|status| Untold {
                cause: status.message().to_owned(),
                answered: matches!(
                    status.code(),
                    Code::InvalidArgument | Code::PermissionDenied
                ),
            })?;
        // Names only: a node could say anything, and this is printed.
        let names = reply.others.into_iter().take(OTHERS_MAX);
        others.extend(names.filter(|name| name.parse::<Name>().is_ok()));
    }
    Ok(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_hold_everything_and_none_is_too_large() {
        let records = (0..10).map(|index| Bytes::from(vec![index; PUBLISH_BYTES_MAX / 4 + 1]));
        let portions = portions(records);
        assert_eq!(
            portions.iter().map(Vec::len).collect::<Vec<_>>(),
            [3, 3, 3, 1]
        );
        assert!(super::portions(std::iter::empty()).is_empty());
    }
}
