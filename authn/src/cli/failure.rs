//! How a command fails: a code, an exit status, a message, and what to do next.

use std::fmt;

use sealmoot_crypto::password::PasswordError;
use serde_json::{Value, json};

use super::terminal::escaped;
use crate::audit::local::LocalAuditError;
use crate::files::FileError;
use crate::policy::NamedRolesError;
use crate::realm::{BackupError, HeirError, RealmError};

/// The codes that scripts can rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// A fault of the program.
    Internal,
    /// The command line is wrong.
    Usage,
    /// A file or setting is wrong.
    Config,
    /// What was asked for does not exist.
    NotFound,
    /// Nobody could be authenticated.
    Unauthenticated,
    /// Logins were tried too often.
    Throttled,
    /// The cluster belongs to another realm than the pinned one.
    WrongRealm,
    /// The invite is forged or malformed.
    InviteInvalid,
    /// The invite's time is up.
    InviteExpired,
    /// The invite was used before.
    InviteUsed,
    /// The user may not do that.
    PermissionDenied,
    /// No node could be reached.
    Unreachable,
    /// The time given was not enough.
    Timeout,
    /// Too few nodes answered.
    NoQuorum,
    /// The expected revision or value is not the current one.
    Conflict,
    /// It exists already.
    Exists,
    /// Authentication of stored bytes failed.
    Integrity,
    /// Nothing is set up yet.
    NotInitialised,
    /// The key that opens it is not here.
    Locked,
    /// The node is going down.
    Draining,
    /// Too much is going on.
    Busy,
    /// It is in another state than the command needs.
    WrongState,
    /// It may have happened.
    OutcomeUnknown,
    /// The user stopped it.
    Interrupted,
}

impl Code {
    const ALL: [(Self, &'static str, u8, &'static str); 24] = [
        (
            Self::Internal,
            "internal",
            1,
            "A fault of the program itself. Please report it with the output of the same command with -v.",
        ),
        (
            Self::Usage,
            "usage",
            2,
            "The command line is wrong. `--help` after any command shows its form.",
        ),
        (
            Self::Config,
            "config",
            2,
            "A configuration file, a key file or its mode is wrong. Files with secrets must be 0600.",
        ),
        (
            Self::NotFound,
            "not_found",
            3,
            "What was asked for does not exist.",
        ),
        (
            Self::Unauthenticated,
            "unauthenticated",
            4,
            "Wrong password, unknown or disabled user, or a session that ended. Log in again: kv login USER@HOST:PORT. Which of these it was is not said, on purpose. Only where the password was right and the code of a second factor was not is that said: a code counts once, and for a minute; a recovery code stands in for it.",
        ),
        (
            Self::Throttled,
            "throttled",
            4,
            "Logins were tried too often, from this address or at this account, so the password was not looked at; the message says how long to wait. From where you have logged in before, others' attempts do not count against you. An administrator ends the waiting for an account with: authctl user unlock USER.",
        ),
        (
            Self::WrongRealm,
            "wrong_realm",
            4,
            "The node answered for another realm than the one pinned with --realm. Compare the id with `authctl realm show`; if it is right, you are talking to the wrong machine.",
        ),
        (
            Self::InviteInvalid,
            "invite_invalid",
            4,
            "The invite is forged, changed or of another cluster. Make new ones: authctl node invite.",
        ),
        (
            Self::InviteExpired,
            "invite_expired",
            4,
            "The invite's time is up. Make new ones: authctl node invite --ttl 1h.",
        ),
        (
            Self::InviteUsed,
            "invite_used",
            4,
            "Another machine has enrolled with this invite. If that was not you, the invite was stolen: do not form this cluster, make new invites.",
        ),
        (
            Self::PermissionDenied,
            "permission_denied",
            5,
            "No rule allows it. Ask an administrator of the realm: `authctl check USER ACTION KEY` shows there which rule decides, `authctl user role USER --add 'PREFIX:RIGHTS'` gives the right.",
        ),
        (
            Self::Unreachable,
            "unreachable",
            6,
            "No node answered. The message names the cause for each address.",
        ),
        (
            Self::Timeout,
            "timeout",
            6,
            "The time given with --timeout was not enough.",
        ),
        (
            Self::NoQuorum,
            "no_quorum",
            7,
            "Fewer nodes answered than a read or write needs, so it was refused and had no effect. Start nodes until the quorum is there: kvd start --data DIR.",
        ),
        (
            Self::Conflict,
            "conflict",
            8,
            "What is there is not what the command expects: a key is at another revision or value, a role is still held. Nothing was changed. Look again and decide.",
        ),
        (
            Self::Exists,
            "exists",
            8,
            "It exists already; nothing is overwritten.",
        ),
        (
            Self::Integrity,
            "integrity",
            9,
            "Stored bytes failed authentication: they were damaged or changed. The node does not serve them. `kvd verify DIR` lists the places.",
        ),
        (
            Self::NotInitialised,
            "not_initialised",
            10,
            "Nothing is set up here yet.",
        ),
        (
            Self::Locked,
            "locked",
            10,
            "The key that opens this data directory is not on this machine, or not where it is looked for (nodes/NAME.key below the configuration directory, --key-file, or $CREDENTIALS_DIRECTORY/sealmoot-node-key).",
        ),
        (
            Self::Draining,
            "draining",
            10,
            "The node is going down and takes no new requests.",
        ),
        (
            Self::Busy,
            "busy",
            10,
            "Too much is going on at the moment; the request was not started. Try again.",
        ),
        (
            Self::WrongState,
            "wrong_state",
            10,
            "It is in another state than the command needs; the message says which.",
        ),
        (
            Self::OutcomeUnknown,
            "outcome_unknown",
            11,
            "It may have happened: the write was sent and no quorum confirmed it in time, so that it may have happened, once, or may still happen; or the disk did not confirm a file that was changed. Read it before you decide.",
        ),
        (Self::Interrupted, "interrupted", 130, "It was interrupted."),
    ];

    fn row(self) -> &'static (Self, &'static str, u8, &'static str) {
        &Self::ALL[self as usize]
    }

    /// The code as scripts see it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// The exit status that goes with it.
    #[must_use]
    pub fn exit(self) -> u8 {
        self.row().2
    }

    /// A paragraph about it, for `help CODE`.
    #[must_use]
    pub fn explanation(self) -> &'static str {
        self.row().3
    }

    /// All codes, in the order of their exit status.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.iter().map(|(code, _, _, _)| *code)
    }

    /// The code with this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, name, _, _)| *name == text)
            .map(|(code, _, _, _)| *code)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What became of a request at one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeOutcome {
    /// The node's name, or its address where the name is not known.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// `ok`, `unreachable`, `refused`, …
    pub outcome: String,
    /// Why, in few words; empty for `ok`.
    pub cause: String,
}

impl NodeOutcome {
    /// The outcome as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"name": self.name, "addr": self.address, "outcome": self.outcome, "cause": self.cause})
    }

    fn describe(&self) -> String {
        let text = if self.cause.is_empty() {
            format!("{} {}", self.name, self.outcome)
        } else {
            format!("{} {}", self.name, self.cause)
        };
        escaped(&text)
    }
}

/// A command that failed.
#[derive(Debug)]
pub struct Failure {
    /// The code.
    pub code: Code,
    /// What happened.
    pub message: String,
    /// What to do next; empty where there is nothing to say.
    pub hint: String,
    /// The outcome at each node that was asked.
    pub nodes: Vec<NodeOutcome>,
}

impl Failure {
    /// A failure with a code and a message.
    pub fn new(code: Code, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string(),
            hint: String::new(),
            nodes: Vec::new(),
        }
    }

    /// A wrong command line.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Code::Usage, message)
    }

    /// A fault of the program.
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(Code::Internal, message)
    }

    /// The same with what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = hint.to_string();
        self
    }

    /// The same with the outcome at each node.
    #[must_use]
    pub fn nodes(mut self, nodes: Vec<NodeOutcome>) -> Self {
        self.nodes = nodes;
        self
    }

    /// The failure as the error envelope of `-o json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "v": 1,
            "kind": "error",
            "error": {
                "code": self.code.as_str(),
                "exit": self.code.exit(),
                "message": self.message,
                "hint": self.hint,
                "nodes": self.nodes.iter().map(NodeOutcome::to_json).collect::<Vec<_>>(),
            }
        })
    }

    /// The failure as text for people, without the last line end.
    #[must_use]
    pub fn to_text(&self, program: &str) -> String {
        let message = escaped(&self.message);
        // Who stopped it knows that nothing went wrong.
        let mut text = match self.code {
            Code::Interrupted => format!("{program}: {message}"),
            code => format!("{program}: error[{code}]: {message}"),
        };
        let nodes = self.describe_nodes();
        if !nodes.is_empty() {
            text.push_str("\n  ");
            text.push_str(&nodes);
        }
        if !self.hint.is_empty() {
            text.push_str("\n  help: ");
            text.push_str(&escaped(&self.hint));
        }
        text
    }
}

impl Failure {
    /// The outcomes in one line. What the message says already is not said again, and
    /// what all nodes refused alike is said once.
    fn describe_nodes(&self) -> String {
        match &self.nodes[..] {
            [node] if !node.cause.is_empty() && self.message.contains(&node.cause) => String::new(),
            [first, rest @ ..]
                if !rest.is_empty()
                    && self.code == Code::Unauthenticated
                    && rest.iter().all(|node| node.cause == first.cause) =>
            {
                let names: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
                escaped(&format!("{}: {}", names.join(", "), first.cause))
            }
            nodes => {
                let nodes: Vec<String> = nodes.iter().map(NodeOutcome::describe).collect();
                nodes.join(" | ")
            }
        }
    }
}

impl From<RealmError> for Failure {
    fn from(error: RealmError) -> Self {
        let code = match &error {
            // What a realm needs is gone or swollen: that is damage too.
            RealmError::Damaged { .. }
            | RealmError::File(FileError::Missing(_) | FileError::TooLong { .. }) => {
                Code::Integrity
            }
            RealmError::File(FileError::Exists(_)) => Code::Exists,
            RealmError::Audit(LocalAuditError::Damaged { .. }) => Code::Integrity,
            RealmError::Audit(LocalAuditError::Full(_)) => Code::WrongState,
            RealmError::File(FileError::Unconfirmed { .. }) => Code::OutcomeUnknown,
            RealmError::File(_) | RealmError::Audit(_) => Code::Config,
            RealmError::WrongPassphrase | RealmError::Heir(HeirError::WrongPassphrase) => {
                Code::Unauthenticated
            }
            RealmError::Heir(HeirError::Damaged(_)) => Code::Integrity,
            RealmError::Heir(HeirError::NotApproved(_)) => Code::PermissionDenied,
            RealmError::Roots(_)
            | RealmError::TooManyCalls { .. }
            | RealmError::BeingHandedOver
            | RealmError::HandedOver
            | RealmError::NothingDecided => Code::WrongState,
            RealmError::UserExists(_) | RealmError::UsersExist(_) => Code::Exists,
            RealmError::NoSuchUser(_) => Code::NotFound,
            RealmError::Roles(error) => match error {
                NamedRolesError::Exists(_) => Code::Exists,
                NamedRolesError::NoSuchRole(_) | NamedRolesError::NoSuchGrant { .. } => {
                    Code::NotFound
                }
                NamedRolesError::Reserved
                | NamedRolesError::TooManyRoles
                | NamedRolesError::TooManyGrants
                | NamedRolesError::TooLarge => Code::Usage,
            },
            RealmError::RoleHeld { .. } | RealmError::TooManyRevoked(_) => Code::Conflict,
            RealmError::NotTheRoot(_) | RealmError::Delegation(_) | RealmError::OthersUser(_) => {
                Code::PermissionDenied
            }
            RealmError::DelegateExists(_) => Code::Exists,
            RealmError::NoSuchDelegate(_) => Code::NotFound,
            RealmError::TooManyRevocations | RealmError::TooManyNodes(_) => Code::WrongState,
            RealmError::BadCall(_)
            | RealmError::TooLarge
            | RealmError::TooManyRoles
            | RealmError::TooManyUsers(_)
            | RealmError::TooLongForInvite { .. }
            | RealmError::Password(PasswordError::TooLong) => Code::Usage,
            RealmError::Password(_)
            | RealmError::Registration(_)
            | RealmError::Seal(_)
            | RealmError::SealRecord(_)
            | RealmError::SealInvites(_)
            | RealmError::Random(_) => Code::Internal,
        };
        Self::new(code, error)
    }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        let code = match &error {
            BackupError::WrongPassphrase => Code::Unauthenticated,
            BackupError::Malformed(_) | BackupError::Damaged(_) => Code::Integrity,
            BackupError::NotApproved(_) => Code::PermissionDenied,
        };
        Self::new(code, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_codes() {
        for (index, (code, name, _, _)) in Code::ALL.iter().enumerate() {
            assert_eq!(*code as usize, index);
            assert_eq!(code.as_str(), *name);
            assert_eq!(Code::parse(name), Some(*code));
        }
        assert_eq!(Code::Interrupted as usize + 1, Code::ALL.len());
    }

    #[test]
    fn a_failure_says_what_happened_where_and_what_to_do() {
        let failure = Failure::new(Code::NoQuorum, "1 of 3 nodes answered, 2 needed")
            .hint("start one of them")
            .nodes(vec![
                NodeOutcome {
                    name: "n1".into(),
                    address: "a".into(),
                    outcome: "ok".into(),
                    cause: String::new(),
                },
                NodeOutcome {
                    name: "n2".into(),
                    address: "b".into(),
                    outcome: "unreachable".into(),
                    cause: "connection refused".into(),
                },
            ]);
        assert_eq!(
            failure.to_text("kv"),
            "kv: error[no_quorum]: 1 of 3 nodes answered, 2 needed\n  \
             n1 ok | n2 connection refused\n  help: start one of them"
        );
        assert_eq!(failure.to_json()["error"]["exit"], 7);
    }

    #[test]
    fn nothing_is_said_twice() {
        let node = |name: &str, cause: &str| NodeOutcome {
            name: name.to_owned(),
            address: "a".to_owned(),
            outcome: "unreachable".to_owned(),
            cause: cause.to_owned(),
        };
        let one = Failure::new(Code::Unreachable, "a: connection refused")
            .nodes(vec![node("a", "connection refused")]);
        assert_eq!(
            one.to_text("kv"),
            "kv: error[unreachable]: a: connection refused"
        );
        let three = ["n1", "n2", "n3"].map(|name| node(name, "the session does not hold"));
        let refused = Failure::new(Code::Unauthenticated, "the session ended").nodes(three.into());
        assert_eq!(
            refused.to_text("kv"),
            "kv: error[unauthenticated]: the session ended\n  \
             n1, n2, n3: the session does not hold"
        );
        assert_eq!(refused.to_json()["error"]["nodes"][2]["name"], "n3");
    }

    #[test]
    fn who_stops_a_program_is_told_of_no_error() {
        let stopped = Failure::new(Code::Interrupted, "interrupted; stopped cleanly");
        assert_eq!(stopped.to_text("kvd"), "kvd: interrupted; stopped cleanly");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let text = Failure::usage("bad \x1b[31m name\n").to_text("kv");
        assert!(
            !text.contains('\x1b') && !text.trim_end().contains('\n'),
            "{text}"
        );
    }
}
