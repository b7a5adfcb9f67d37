//! Namespaces, for those who may administer what lies below them.

use bytes::Bytes;
use sealmoot_authn::policy::{Action, Allowed, decide_below};
use sealmoot_rpc::{CallContext, Code, Execution, Status};

use super::store::{StoreService, internal, malformed};
use crate::coordinator::{Answer, Command, Level};
use crate::message::SCAN_ENTRIES_MAX;
use crate::namespace::{NAMESPACE_PREFIX, decode, encode, is_name, register_key};
use crate::node::authorizer::Claims;
use crate::proto::{
    CreateNamespaceRequest, ListNamespacesReply, ListNamespacesRequest, Namespace, NamespaceReply,
    WriteReply,
};
use crate::quorum::Quorums;
use crate::register::{Change, Expectation};
use crate::wire::Malformed;

/// Most namespaces in one answer: each is a read of its own.
const NAMESPACES_AT_ONCE: usize = 100;

impl StoreService {
    /// Creates a namespace, unless its settings are settled already.
    pub(super) async fn create_namespace_checked(
        &self,
        context: &CallContext,
        request: CreateNamespaceRequest,
    ) -> Result<WriteReply, Status> {
        let asked = request
            .namespace
            .ok_or(malformed(Malformed("no namespace")))?;
        let name = checked_name(&asked.name)?;
        let _allowed = self.administers(context, &name)?;
        let cluster = self.cluster()?;
        let quorums = Quorums::new(
            asked.replicas as usize,
            asked.write as usize,
            asked.read as usize,
        )
        .map_err(|error| refused(error.to_string()))?;
        let members = cluster.quorums.members();
        if quorums.members() != members {
            return Err(refused(format!(
                "every node holds every key for now, so a namespace has {members} replicas here"
            )));
        }
        let change = Change::CompareAndSet(Expectation::Absent, encode(quorums));
        self.write_register(context, register_key(&name), request.operation, change)
            .await
    }

    /// The settings of one namespace.
    pub(super) async fn show_namespace_checked(
        &self,
        context: &CallContext,
        name: &[u8],
    ) -> Result<NamespaceReply, Status> {
        let name = checked_name(name)?;
        let _allowed = self.administers(context, &name)?;
        let cluster = self.cluster()?;
        let settings = self.settings_of(context, &name).await?;
        Ok(NamespaceReply {
            settled: settings.is_some(),
            namespace: Some(to_wire(name, settings.unwrap_or(cluster.quorums))),
            troubles: cluster.links.troubles(),
        })
    }

    /// The namespaces that the caller may administer. The names of others are not
    /// told, and that they are left out is no refusal.
    pub(super) async fn list_namespaces_permitted(
        &self,
        context: &CallContext,
        request: &ListNamespacesRequest,
    ) -> Result<ListNamespacesReply, Status> {
        let _allowed = self.decided(context, None, |_, _, _| {
            Ok(Allowed {
                rule: "every session".to_owned(),
            })
        })?;
        let cluster = self.cluster()?;
        if request.after.len() > crate::namespace::NAMESPACE_NAME_LENGTH_MAX {
            return Err(malformed(Malformed("a namespace has at most 255 bytes")));
        }
        let after = if request.after.is_empty() {
            Bytes::new()
        } else {
            register_key(&request.after)
        };
        let limit = (request.limit as usize).clamp(1, NAMESPACES_AT_ONCE.min(SCAN_ENTRIES_MAX));
        let command = Command::List {
            prefix: Bytes::from_static(NAMESPACE_PREFIX),
            after,
            limit,
            level: Level::Linearizable,
        };
        let Answer::Listed { entries, next } = self.execute(&cluster, context, command).await?
        else {
            return Err(internal());
        };
        let mut namespaces = Vec::new();
        for entry in entries {
            let name = entry.key.slice(NAMESPACE_PREFIX.len()..);
            if !self.may_administer(context, &name) {
                continue;
            }
            if let Some(settings) = self.settings_of(context, &name).await? {
                namespaces.push(to_wire(name, settings));
            }
        }
        let next = next.map(|next| next.slice(NAMESPACE_PREFIX.len()..));
        Ok(ListNamespacesReply {
            namespaces,
            next: next.unwrap_or_default(),
            troubles: cluster.links.troubles(),
        })
    }

    async fn settings_of(
        &self,
        context: &CallContext,
        name: &[u8],
    ) -> Result<Option<Quorums>, Status> {
        let cluster = self.cluster()?;
        let command = Command::Read {
            key: register_key(name),
            level: Level::Linearizable,
        };
        let Answer::Value(register) = self.execute(&cluster, context, command).await? else {
            return Err(internal());
        };
        let decoded = register.value.as_deref().map(decode).transpose();
        decoded.map_err(|error| {
            Status::new(
                Code::FailedPrecondition,
                Execution::NotStarted,
                error.to_string(),
            )
        })
    }

    fn administers(&self, context: &CallContext, name: &[u8]) -> Result<Allowed, Status> {
        let below = [name, b"/"].concat();
        let about = Some((Action::Administer, below.as_slice()));
        self.decided(context, about, |user, roles, named| {
            decide_below(user, roles, named, Action::Administer, &below)
        })
    }

    fn may_administer(&self, context: &CallContext, name: &[u8]) -> bool {
        let Some(Claims::Session(session)) = context.peer().claims::<Claims>() else {
            return false;
        };
        let below = [name, b"/"].concat();
        let allowed = self.0.trust.decide(session, |user, roles, named| {
            decide_below(user, roles, named, Action::Administer, &below)
        });
        allowed.is_ok()
    }
}

fn checked_name(name: &[u8]) -> Result<Bytes, Status> {
    if !is_name(name) {
        return Err(malformed(Malformed(
            "a namespace has 1 to 255 bytes without /, and is not system",
        )));
    }
    Ok(Bytes::copy_from_slice(name))
}

fn refused(why: String) -> Status {
    Status::new(Code::InvalidArgument, Execution::NotStarted, why)
}

fn to_wire(name: Bytes, quorums: Quorums) -> Namespace {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Namespace {
        name,
        replicas: number(quorums.members()),
        write: number(quorums.write()),
        read: number(quorums.read()),
    }
}
