//! The realm's users, as the root signed them.

use std::sync::{Arc, PoisonError};

use sealmoot_authn::login::SharedUsers;
use sealmoot_authn::proto::{Directory, FetchReply, FetchRequest, PublishReply, PublishRequest};
use sealmoot_authn::users::UserRecord;
use sealmoot_crypto::signature::VerifyingKey;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::{CallContext, Code, Execution, Status};

use super::{not_formed, require_member};
use crate::node::Shared;
use crate::node::engine::Engine;
use crate::record::Record;

/// Most bytes of records in one answer; the rest is asked for by name.
const FETCH_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Room reserved at once for records of one request.
const RECORDS_EXPECTED: usize = 1024;

/// Takes and gives signed user records.
pub(in crate::node) struct DirectoryService(pub(in crate::node) Arc<Shared>);

impl Directory for DirectoryService {
    // Anybody may bring a record: it is believed for the root's signature, and
    // an older one changes nothing.
    async fn publish(
        &self,
        _context: CallContext,
        request: PublishRequest,
    ) -> Result<PublishReply, Status> {
        let cluster = self.0.cluster().ok_or_else(not_formed)?;
        let trust = &self.0.trust;
        let taken = take_records(
            &cluster.engine,
            &trust.users,
            &trust.identity.root,
            &request.records,
        )
        .await?;
        Ok(PublishReply { taken })
    }

    async fn fetch(
        &self,
        context: CallContext,
        request: FetchRequest,
    ) -> Result<FetchReply, Status> {
        // Records hold password hashes: they go to nodes and nobody else.
        require_member(&context)?;
        let users = self
            .0
            .trust
            .users
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let mut reply = FetchReply::default();
        if users.digest() == *request.digest {
            return Ok(reply);
        }
        let mut bytes = 0;
        let mut last = String::new();
        let after = |record: &&UserRecord| record.user().name.as_str() > request.after.as_str();
        for record in users.records().filter(after) {
            let encoded = record.encode();
            if bytes > 0 && bytes + encoded.len() > FETCH_BYTES_MAX {
                reply.next = last;
                break;
            }
            bytes += encoded.len();
            last = record.user().name.to_string();
            reply.records.push(Bytes::from(encoded));
        }
        Ok(reply)
    }
}

/// Believes, keeps and makes durable the records that are newer than those held;
/// returns how many they were.
///
/// # Errors
/// When one is not to be believed, or the disk fails.
pub(in crate::node) async fn take_records(
    engine: &Engine,
    users: &SharedUsers,
    root: &VerifyingKey,
    records: &[Bytes],
) -> Result<u32, Status> {
    if records.is_empty() {
        return Ok(0);
    }
    // All are believed before any is taken.
    let mut believed = Vec::with_capacity(records.len().min(RECORDS_EXPECTED));
    for bytes in records {
        believed.push(UserRecord::decode(bytes, root).map_err(|error| {
            Status::new(
                Code::PermissionDenied,
                Execution::NotStarted,
                error.to_string(),
            )
        })?);
    }
    let newer: Vec<Record> = {
        let mut users = users.write().unwrap_or_else(PoisonError::into_inner);
        believed
            .into_iter()
            .zip(records)
            .filter_map(|(record, bytes)| users.apply(record).then(|| Record::User(bytes.to_vec())))
            .collect()
    };
    let taken = u32::try_from(newer.len()).unwrap_or(u32::MAX);
    // Also when nothing is newer: an earlier request may have brought it just now,
    // and whoever is answered may rely on the disk.
    engine.append(newer).await.map_err(|error| {
        Status::new(
            Code::Unavailable,
            Execution::MaybeExecuted,
            error.to_string(),
        )
    })?;
    Ok(taken)
}
