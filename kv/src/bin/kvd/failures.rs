//! The library's errors as failures of the command: the one place of the mapping.

use sealmoot_authn::cli::{Code, Failure};
use sealmoot_authn::files::FileError;
use sealmoot_authn::invite::InviteError;
use sealmoot_kv::node::{Fatal, GatherFailure, NodeError, OpenFailure};

/// Why a directory was not opened.
pub(crate) fn open(error: OpenFailure) -> Failure {
    match error {
        OpenFailure::NotInitialised(_) => Failure::new(Code::NotInitialised, &error)
            .hint("make it one with: kvd join NAME.invite --data DIR"),
        OpenFailure::Exists(_) => {
            Failure::new(Code::Exists, &error).hint("run it with: kvd start --data DIR")
        }
        OpenFailure::NotEmpty(_) => Failure::new(Code::Exists, &error)
            .hint("name a directory that does not exist yet, or an empty one"),
        OpenFailure::Locked(_) => Failure::new(Code::Locked, &error).hint(
            "name the key with --key-file, or set SEALMOOT_CONFIG_DIR to where it was \
             enrolled; kvd help locked",
        ),
        OpenFailure::InUse(_) => {
            Failure::new(Code::WrongState, &error).hint("stop it first: kvd stop --data DIR")
        }
        OpenFailure::Directory(_) => {
            Failure::new(Code::Config, &error).hint("chmod 700 the directory")
        }
        OpenFailure::Refused(_) => {
            Failure::new(Code::Config, &error).hint("chmod 600 the files of the directory")
        }
        OpenFailure::Integrity { .. } => Failure::new(Code::Integrity, &error)
            .hint("list all damaged places with: kvd verify DIR"),
        OpenFailure::Data { .. } => Failure::new(Code::Integrity, &error).hint(
            "list all damaged places with: kvd verify DIR; without --no-refetch, kvd start \
             sets the data aside and takes it from the other nodes",
        ),
        OpenFailure::Alone(_) => Failure::new(Code::Integrity, &error)
            .hint("list all damaged places with: kvd verify DIR; restore a backup"),
        OpenFailure::File(FileError::Exists(ref path))
            if path.extension().is_some_and(|ending| ending == "key") =>
        {
            Failure::new(Code::Exists, &error).hint(
                "another node of this name was enrolled here: name another file with \
                 --key-file, or delete this one if that node is gone for good",
            )
        }
        OpenFailure::File(error) => error.into(),
        OpenFailure::Disk(_) => Failure::internal(&error)
            .hint("a full disk needs room for two segments, 32 MiB, before a node can start"),
        OpenFailure::Random(_) => Failure::internal(&error),
    }
}

/// Why an invite was not accepted.
pub(crate) fn invite(error: InviteError) -> Failure {
    let code = match error {
        InviteError::Expired => Code::InviteExpired,
        _ => Code::InviteInvalid,
    };
    Failure::new(code, error).hint("make new ones with: authctl node invite NAME=ADDR…")
}

/// Why a node does not run.
pub(crate) fn node(error: NodeError) -> Failure {
    match error {
        NodeError::Listen { .. } => Failure::new(Code::Config, &error)
            .hint("another program listens there, or the address is not this machine's"),
        NodeError::Gather(GatherFailure::Used(what)) => {
            Failure::new(Code::InviteUsed, format!("the invite was used: {what}"))
                .hint("if that was not you, it was stolen: make new invites; kvd help invite_used")
        }
        NodeError::Gather(GatherFailure::Invalid(what)) => Failure::new(
            Code::InviteInvalid,
            format!("the invite does not fit the nodes at its addresses: {what}"),
        )
        .hint("kvd help invite_invalid"),
        NodeError::Gather(GatherFailure::Expired) => Failure::new(Code::InviteExpired, &error)
            .hint("make new ones with: authctl node invite NAME=ADDR…"),
        NodeError::Disk(Fatal::Damaged(_)) => Failure::new(Code::Integrity, &error)
            .hint("list all damaged places with: kvd verify DIR, once it is stopped"),
        NodeError::Disk(Fatal::RolledBack { .. }) => Failure::new(Code::WrongState, &error).hint(
            "its directory was put back to an older copy, and writes that it acknowledged \
             are missing: start it on the newest copy that there is, or without --no-refetch",
        ),
        NodeError::Gather(GatherFailure::Disk(_)) | NodeError::Disk(_) | NodeError::Internal(_) => {
            Failure::internal(&error)
        }
    }
}
