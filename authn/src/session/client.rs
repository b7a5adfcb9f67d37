//! Asking nodes which sessions they have seen, with the session of a login context.

use std::collections::BTreeMap;
use std::time::Duration;

use sealmoot_crypto::signature::KeyId;
use sealmoot_rpc::{ConnectError, Connector, Status};

use super::proto::{ListRequest, SessionSeen, SessionsClient};
use crate::name::Name;
use crate::pin::TrustedNode;

/// Most pages that are asked of one node: more than its table has.
const PAGES_MAX: usize = 64;

/// Why a node's sessions were not had.
#[derive(Debug, thiserror::Error)]
pub enum SessionsError {
    /// The node could not be reached.
    #[error("{}", .0.cause())]
    Connect(#[from] ConnectError),
    /// The node refused or failed.
    #[error("{}", .0.message())]
    Status(#[from] Status),
    /// What the node says is no list of sessions.
    #[error("the node's answer is malformed")]
    Malformed,
    /// The node was not judged, which is a fault of the program.
    #[error("the node was not judged")]
    NotJudged,
}

/// A session, as nodes tell of it: nobody signed what they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenSession {
    /// For whom it speaks.
    pub user: Name,
    /// The label of the key that made it; none for the password.
    pub made_by: Option<String>,
    /// When it was made, in milliseconds since 1970.
    pub issued_ms: u64,
    /// Until when it holds, in milliseconds since 1970.
    pub expires_ms: u64,
    /// How long it may go unused, in milliseconds; 0 without end.
    pub idle_ms: u64,
    /// When any node served it last, in milliseconds since 1970.
    pub last_used_ms: u64,
    /// Where it came from then.
    pub origin: String,
    /// Which nodes have seen it.
    pub nodes: Vec<Name>,
}

/// Sessions by the ids of their keys, as several nodes tell of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenSessions(BTreeMap<KeyId, SeenSession>);

impl SeenSessions {
    /// The sessions in order of their ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&KeyId, &SeenSession)> {
        self.0.iter()
    }

    /// The ids that begin with these hexadecimal digits.
    #[must_use]
    pub fn beginning_with(&self, digits: &str) -> Vec<KeyId> {
        let begins = |key: &&KeyId| key.to_string().starts_with(digits);
        self.0.keys().filter(begins).copied().collect()
    }

    /// Adds what one node says of a session. Of two logins with one key the later
    /// counts.
    ///
    /// # Errors
    /// [`SessionsError::Malformed`].
    pub fn add(&mut self, node: &Name, told: SessionSeen) -> Result<KeyId, SessionsError> {
        let key = <[u8; 32]>::try_from(&*told.key).map_err(|_| SessionsError::Malformed)?;
        let key = KeyId::from_bytes(key);
        let told = SeenSession {
            user: told.user.parse().map_err(|_| SessionsError::Malformed)?,
            made_by: Some(told.made_by).filter(|label| !label.is_empty()),
            issued_ms: told.issued_ms,
            expires_ms: told.expires_ms,
            idle_ms: told.idle_ms,
            last_used_ms: told.last_used_ms,
            origin: told.origin,
            nodes: vec![node.clone()],
        };
        match self.0.get_mut(&key) {
            None => {
                self.0.insert(key, told);
            }
            Some(known) if known.issued_ms < told.issued_ms => *known = told,
            Some(known) if known.issued_ms > told.issued_ms => {}
            Some(known) => {
                if known.last_used_ms < told.last_used_ms {
                    known.last_used_ms = told.last_used_ms;
                    known.origin = told.origin;
                }
                if !known.nodes.contains(node) {
                    known.nodes.push(node.clone());
                    known.nodes.sort_unstable();
                }
            }
        }
        Ok(key)
    }
}

/// Asks the node at an address for the sessions of `user`, or of all, and gives also
/// the nodes of the cluster as it has proved them. A page that a node repeats ends the
/// list.
///
/// # Errors
/// [`SessionsError`].
pub async fn fetch(
    connector: &Connector,
    address: &str,
    user: Option<&Name>,
    timeout: Duration,
) -> Result<(TrustedNode, Vec<SessionSeen>), SessionsError> {
    let connection = connector.connect(address, timeout).await?;
    let node = connection
        .peer()
        .claims::<TrustedNode>()
        .cloned()
        .ok_or(SessionsError::NotJudged)?;
    let client = SessionsClient::new(connection);
    let mut request = ListRequest {
        user: user.map(Name::to_string).unwrap_or_default(),
        ..ListRequest::default()
    };
    let mut sessions = Vec::new();
    for _ in 0..PAGES_MAX {
        let reply = client.list(request.clone(), timeout).await?;
        let last = reply.sessions.last().map(|last| last.key.clone());
        sessions.extend(reply.sessions);
        match last {
            Some(last) if reply.more && last > request.after => request.after = last,
            _ => break,
        }
    }
    Ok((node, sessions))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealmoot_rpc::bytes::Bytes;

    fn told(key: u8, issued_ms: u64, last_used_ms: u64) -> SessionSeen {
        SessionSeen {
            key: Bytes::from(vec![key; 32]),
            user: "alice".to_owned(),
            issued_ms,
            last_used_ms,
            origin: format!("at {last_used_ms}"),
            ..SessionSeen::default()
        }
    }

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    #[test]
    fn what_several_nodes_say_becomes_one_session() {
        let mut seen = SeenSessions::default();
        let key = seen.add(&name("n2"), told(1, 5, 10)).expect("whole");
        seen.add(&name("n1"), told(1, 5, 20)).expect("whole");
        seen.add(&name("n1"), told(1, 5, 15)).expect("whole");
        seen.add(&name("n3"), told(1, 4, 99)).expect("whole");
        seen.add(&name("n1"), told(2, 4, 99)).expect("whole");
        assert_eq!(seen.iter().len(), 2);
        let (first, session) = seen.iter().next().expect("one");
        assert_eq!(*first, key);
        assert_eq!(session.nodes, [name("n1"), name("n2")]);
        assert_eq!((session.last_used_ms, &*session.origin), (20, "at 20"));
        // Logged in again: the former session is no more.
        seen.add(&name("n3"), told(1, 6, 7)).expect("whole");
        let (_, session) = seen.iter().next().expect("one");
        assert_eq!((session.issued_ms, session.nodes.len()), (6, 1));
        assert_eq!(seen.beginning_with("0101"), [key]);
        assert_eq!(seen.beginning_with("0").len(), 2);
        assert!(seen.beginning_with("03").is_empty());
    }

    #[test]
    fn what_is_no_session_is_refused() {
        let mut seen = SeenSessions::default();
        for broken in [
            SessionSeen {
                key: Bytes::from_static(b"short"),
                ..told(1, 1, 1)
            },
            SessionSeen {
                user: "no name".to_owned(),
                ..told(1, 1, 1)
            },
        ] {
            let refused = seen.add(&name("n1"), broken);
            assert!(matches!(refused, Err(SessionsError::Malformed)));
        }
        assert_eq!(seen.iter().len(), 0);
    }
}
