//! One event as a value, and its canonical encoding.
//!
//! ```text
//!      1  version, 2
//!      8  time, milliseconds since 1970
//!      1  what
//!      1  outcome: 0 done, 1 refused, 2 failed
//!      1  who: 0 the node itself, 1 a peer, 2 the administrator
//!           of a peer: 32 key id, 4+n origin, 1 whether a user is known, [4+n user]
//!      1  subject: 0 nothing, 1 a user, 2 an unknown name, 3 a node, 4 a key
//!           1, 3: 4+n name;  2: 16 keyed hash, 4 length of the name
//!           4: 4+n the first 256 bytes of the key, 4 length of the key
//!    4+n  detail, UTF-8
//! ```

use std::fmt;

use sealmoot_crypto::digest::MacKey;
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::signature::KeyId;
use serde_json::{Value, json};

use super::text::escape;
use crate::cli::rfc3339;
use crate::name::{NAME_LENGTH_MAX, Name};
use crate::statement::User;

/// Longest event in bytes.
pub const EVENT_LENGTH_MAX: usize = 1024;
/// Longest detail in bytes; what is longer is cut.
const DETAIL_LENGTH_MAX: usize = 512;
/// Longest origin in bytes: an address, or a process of this machine.
const ORIGIN_LENGTH_MAX: usize = 96;
/// How many bytes of a key are kept.
const KEY_KEPT_MAX: usize = 256;
// Version 1 had no keys.
const VERSION: u8 = 2;
const HASH_LENGTH: usize = 16;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// What happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum What {
            $($(#[$doc])* $name = $number,)*
        }

        impl What {
            const ALL: &[(Self, &'static str)] = &[$((Self::$name, $text),)*];
        }
    };
}

kinds! {
    /// A user logged in, or was refused.
    Login = 1, "login";
    /// A login ended before the client proved anything, and without a word. A client
    /// that notices a wrong password itself says so, and the login is refused; one that
    /// guesses may just go away.
    LoginAbandoned = 2, "login_abandoned";
    /// A session that was shown does not hold.
    Session = 3, "session";
    /// A request was refused for want of rights.
    Permission = 4, "permission";
    /// A node took a record that the root signed.
    UserAdded = 16, "user_added";
    /// Another password.
    UserPassword = 17, "user_password";
    /// A disabled user was enabled.
    UserEnabled = 18, "user_enabled";
    /// A user was disabled.
    UserDisabled = 19, "user_disabled";
    /// A user was deleted.
    UserDeleted = 20, "user_deleted";
    /// Roles or something else of a user changed.
    UserChanged = 21, "user_changed";
    /// What strangers tried at an account was forgotten.
    UserUnlocked = 22, "user_unlocked";
    /// A key was enrolled, replaced or revoked.
    UserKeys = 23, "user_keys";
    /// The grants of the named roles changed.
    RolesChanged = 24, "roles_changed";
    /// Users of another system were added; the detail says how many.
    UsersImported = 25, "users_imported";
    /// Sessions were revoked.
    SessionsRevoked = 30, "sessions_revoked";
    /// Connections were closed because their session ended.
    SessionCut = 31, "session_cut";
    /// A code of a second factor was taken, or refused; the detail says which kind, or
    /// why.
    Code = 5, "code";
    /// A second factor was enrolled for a user.
    SecondFactorEnrolled = 26, "second_factor_enrolled";
    /// A user's second factor was removed.
    SecondFactorRemoved = 29, "second_factor_removed";
    /// The administrator gave nodes up: they are told of changes no longer.
    NodesForgotten = 27, "nodes_forgotten";
    /// Another machine than the one that enrolled came with an invite.
    InviteRefused = 28, "invite_refused";
    /// A node answered its invite: the chain begins.
    NodeEnrolled = 32, "node_enrolled";
    /// The nodes of the call agreed on a roster.
    ClusterFormed = 33, "cluster_formed";
    /// A node began to serve.
    NodeStarted = 34, "node_started";
    /// A node was told to stop.
    NodeStopped = 35, "node_stopped";
    /// Another node's audit log went back, forked or was replaced.
    WitnessAlarm = 36, "witness_alarm";
    /// Somebody read this log.
    AuditRead = 37, "audit_read";
    /// Events that nobody waited for found no room on the disk.
    EventsLost = 38, "events_lost";
    /// Somebody asked which sessions there are.
    SessionsRead = 39, "sessions_read";
    /// Somebody was made a delegate, or the delegation was renewed.
    DelegationIssued = 40, "delegation_issued";
    /// A delegation was revoked, or its older versions were.
    DelegationRevoked = 41, "delegation_revoked";
    /// A delegate's directory was made, or got a newer delegation.
    DelegationAccepted = 42, "delegation_accepted";
    /// Users whom a delegate had made were signed by the root.
    UsersAdopted = 43, "users_adopted";
    /// Records were learnt from nodes; the detail says how many.
    RecordsLearnt = 44, "records_learnt";
    /// The revoked delegations changed.
    RevocationsChanged = 45, "revocations_changed";
    /// A realm was made: its chain begins.
    RealmCreated = 48, "realm_created";
    /// A backup of the realm was made.
    RealmBackedUp = 50, "realm_backed_up";
    /// The realm was made again from a backup.
    RealmRestored = 51, "realm_restored";
    /// A realm was handed over to another root key.
    RootHandedOver = 52, "root_handed_over";
    /// A former root signed something new, which was not taken.
    OldRootRefused = 53, "old_root_refused";
    /// A session ended itself: its user logged out.
    SessionEnded = 56, "session_ended";
    /// Nodes were revoked: their keys are believed no more.
    NodesRevoked = 57, "nodes_revoked";
    /// A node answered a step of a delegate's registration of a password.
    PasswordRegistered = 58, "password_registered";
    /// Nodes were called.
    NodesInvited = 49, "nodes_invited";
}

impl What {
    /// What a newer record of a user changes. A new password is named before anything
    /// else, and a deletion before a new password.
    #[must_use]
    pub fn of_record(old: Option<&User>, new: &User) -> Self {
        let Some(old) = old.filter(|old| !old.deleted || new.deleted) else {
            return if new.deleted {
                Self::UserDeleted
            } else {
                Self::UserAdded
            };
        };
        if new.deleted {
            Self::UserDeleted
        } else if old.user_key != new.user_key {
            Self::UserPassword
        } else if old.enabled && !new.enabled {
            Self::UserDisabled
        } else if !old.enabled && new.enabled {
            Self::UserEnabled
        } else if old.second_factor != new.second_factor {
            match new.second_factor {
                Some(_) => Self::SecondFactorEnrolled,
                None => Self::SecondFactorRemoved,
            }
        } else if old.keys != new.keys {
            Self::UserKeys
        } else {
            Self::UserChanged
        }
    }

    /// The names of all of them, as scripts see them.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|(_, text)| *text)
    }

    /// The name that scripts see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(what, _)| *what == self)
            .map_or("unknown", |(_, text)| text)
    }

    fn from_number(number: u8) -> Result<Self, EncodingError> {
        Self::ALL
            .iter()
            .find(|(what, _)| *what as u8 == number)
            .map(|(what, _)| *what)
            .ok_or(EncodingError::Unknown {
                what: "audit event",
                value: u64::from(number),
            })
    }
}

impl fmt::Display for What {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was refused.
    Refused,
    /// It was tried and failed.
    Failed,
}

impl Outcome {
    /// The name that scripts see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// The node itself.
    Node,
    /// The peer of a channel.
    Peer {
        /// The key that it proved.
        key: KeyId,
        /// Where it came from.
        origin: String,
        /// For whom it speaks, once a session says so.
        user: Option<Name>,
    },
    /// Whoever holds the realm's passphrase.
    Administrator,
}

/// On whom it was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Nobody in particular.
    Nothing,
    /// A user that exists.
    User(Name),
    /// A name that no user has. People type their password where their name belongs:
    /// so only a keyed hash is kept, which tells equal names from different ones
    /// to whoever reads the log, and the length.
    UnknownName {
        /// The first bytes of HMAC-SHA-256 under a key of this node.
        hash: [u8; HASH_LENGTH],
        /// How many bytes were typed.
        length: u32,
    },
    /// A node.
    Node(Name),
    /// A key of the store.
    Key {
        /// Its first bytes, at most 256.
        first: Vec<u8>,
        /// How many bytes it has.
        length: u32,
    },
}

impl Subject {
    /// The subject for a key of the store, or a prefix of keys.
    #[must_use]
    pub fn key(key: &[u8]) -> Self {
        Self::Key {
            first: key[..key.len().min(KEY_KEPT_MAX)].to_vec(),
            length: u32::try_from(key.len()).unwrap_or(u32::MAX),
        }
    }

    /// The subject for a name that is no user's.
    #[must_use]
    pub fn unknown(key: &MacKey, name: &[u8]) -> Self {
        let tag = key.tag(&[name]);
        let mut hash = [0; HASH_LENGTH];
        hash.copy_from_slice(&tag[..HASH_LENGTH]);
        Self::UnknownName {
            hash,
            length: u32::try_from(name.len()).unwrap_or(u32::MAX),
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When, in milliseconds since 1970 by the clock of whoever wrote it.
    pub time_ms: u64,
    /// What.
    pub what: What,
    /// How it ended.
    pub outcome: Outcome,
    /// Who did it.
    pub who: Who,
    /// On whom.
    pub subject: Subject,
    /// What else there is to say, in few words.
    pub detail: String,
}

impl Event {
    /// Something that was done.
    #[must_use]
    pub fn done(time_ms: u64, what: What, who: Who, subject: Subject) -> Self {
        Self {
            time_ms,
            what,
            outcome: Outcome::Done,
            who,
            subject,
            detail: String::new(),
        }
    }

    /// The same, refused.
    #[must_use]
    pub fn refused(mut self) -> Self {
        self.outcome = Outcome::Refused;
        self
    }

    /// The same with a detail, of which the first 512 bytes are kept.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// The canonical encoding, of at most [`EVENT_LENGTH_MAX`] bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(256);
        writer.u8(VERSION);
        writer.u64(self.time_ms);
        writer.u8(self.what as u8);
        writer.u8(match self.outcome {
            Outcome::Done => 0,
            Outcome::Refused => 1,
            Outcome::Failed => 2,
        });
        match &self.who {
            Who::Node => writer.u8(0),
            Who::Peer { key, origin, user } => {
                writer.u8(1);
                writer.fixed(key.as_bytes());
                writer.text(cut(origin, ORIGIN_LENGTH_MAX));
                writer.flag(user.is_some());
                if let Some(user) = user {
                    writer.text(user.as_str());
                }
            }
            Who::Administrator => writer.u8(2),
        }
        match &self.subject {
            Subject::Nothing => writer.u8(0),
            Subject::User(name) => {
                writer.u8(1);
                writer.text(name.as_str());
            }
            Subject::UnknownName { hash, length } => {
                writer.u8(2);
                writer.fixed(hash);
                writer.u32(*length);
            }
            Subject::Node(name) => {
                writer.u8(3);
                writer.text(name.as_str());
            }
            Subject::Key { first, length } => {
                writer.u8(4);
                writer.bytes(&first[..first.len().min(KEY_KEPT_MAX)]);
                writer.u32(*length);
            }
        }
        writer.text(cut(&self.detail, DETAIL_LENGTH_MAX));
        writer.finish()
    }

    /// Reads the canonical encoding.
    ///
    /// # Errors
    /// When the bytes are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, EncodingError> {
        if bytes.len() > EVENT_LENGTH_MAX {
            return Err(EncodingError::Invalid("an audit event is too long"));
        }
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(unknown("audit event version", version));
        }
        let time_ms = reader.u64()?;
        let what = What::from_number(reader.u8()?)?;
        let outcome = match reader.u8()? {
            0 => Outcome::Done,
            1 => Outcome::Refused,
            2 => Outcome::Failed,
            other => return Err(unknown("audit outcome", other)),
        };
        let who = match reader.u8()? {
            0 => Who::Node,
            1 => Who::Peer {
                key: KeyId::from_bytes(reader.array()?),
                origin: reader.text(ORIGIN_LENGTH_MAX)?.to_owned(),
                user: match reader.flag()? {
                    true => Some(read_name(&mut reader)?),
                    false => None,
                },
            },
            2 => Who::Administrator,
            other => return Err(unknown("audit actor", other)),
        };
        let subject = match reader.u8()? {
            0 => Subject::Nothing,
            1 => Subject::User(read_name(&mut reader)?),
            2 => Subject::UnknownName {
                hash: reader.array()?,
                length: reader.u32()?,
            },
            3 => Subject::Node(read_name(&mut reader)?),
            4 => read_key(&mut reader)?,
            other => return Err(unknown("audit subject", other)),
        };
        let detail = reader.text(DETAIL_LENGTH_MAX)?.to_owned();
        reader.finish()?;
        Ok(Self {
            time_ms,
            what,
            outcome,
            who,
            subject,
            detail,
        })
    }

    /// One line for people, in which nothing drives a terminal.
    #[must_use]
    pub fn to_line(&self) -> String {
        let line = format!(
            "{}  {:16} {:7}  {}",
            rfc3339(self.time_ms),
            self.what.as_str(),
            self.outcome.as_str(),
            self.about()
        );
        escape(line.trim_end())
    }

    /// On whom, by whom and what else, parted by two spaces.
    fn about(&self) -> String {
        let mut parts = Vec::new();
        match &self.subject {
            Subject::Nothing => {}
            Subject::User(name) => parts.push(format!("user {name}")),
            Subject::UnknownName { hash, length } => {
                parts.push(format!("unknown name {} of {length} bytes", hex(hash)));
            }
            Subject::Node(name) => parts.push(format!("node {name}")),
            Subject::Key { first, length } => {
                parts.push(format!("key {}", shown_key(first, *length)));
            }
        }
        match &self.who {
            Who::Node => {}
            Who::Peer { key, origin, user } => {
                parts.extend(user.as_ref().map(|user| format!("by {user}")));
                parts.push(format!("from {origin} key {}", &key.to_string()[..16]));
            }
            Who::Administrator => parts.push("by the administrator".to_owned()),
        }
        if !self.detail.is_empty() {
            parts.push(self.detail.clone());
        }
        parts.join("  ")
    }

    /// The event for machines; texts from outside are escaped here too, because what
    /// reads JSON often prints it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let who = match &self.who {
            Who::Node => json!({"kind": "node"}),
            Who::Peer { key, origin, user } => json!({
                "kind": "peer",
                "key_id": key.to_string(),
                "origin": escape(origin),
                "user": user.as_ref().map(Name::as_str),
            }),
            Who::Administrator => json!({"kind": "administrator"}),
        };
        let subject = match &self.subject {
            Subject::Nothing => Value::Null,
            Subject::User(name) => json!({"kind": "user", "name": name.as_str()}),
            Subject::UnknownName { hash, length } => {
                json!({"kind": "unknown_name", "hash": hex(hash), "length": length})
            }
            Subject::Node(name) => json!({"kind": "node", "name": name.as_str()}),
            Subject::Key { first, length } => {
                json!({"kind": "key", "key": escape(&shown_key(first, *length)), "length": length})
            }
        };
        json!({
            "time": rfc3339(self.time_ms),
            "time_ms": self.time_ms,
            "what": self.what.as_str(),
            "outcome": self.outcome.as_str(),
            "who": who,
            "subject": subject,
            "detail": escape(&self.detail),
        })
    }
}

/// The first bytes of a text, at most `maximum` of them, and no half of a character.
fn cut(text: &str, maximum: usize) -> &str {
    &text[..text.floor_char_boundary(maximum)]
}

/// A key for people; what was cut off is left to the imagination.
fn shown_key(first: &[u8], length: u32) -> String {
    let key = String::from_utf8_lossy(first);
    if usize::try_from(length).is_ok_and(|length| length > first.len()) {
        return format!("{key}… ({length} bytes)");
    }
    key.into_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unknown(what: &'static str, value: u8) -> EncodingError {
    EncodingError::Unknown {
        what,
        value: u64::from(value),
    }
}

fn read_key(reader: &mut Reader<'_>) -> Result<Subject, EncodingError> {
    let first = reader.bytes(KEY_KEPT_MAX)?.to_vec();
    let length = reader.u32()?;
    let kept = usize::try_from(length).map_or(KEY_KEPT_MAX, |length| length.min(KEY_KEPT_MAX));
    if first.len() != kept {
        return Err(EncodingError::Invalid(
            "a key is cut elsewhere than it has to be",
        ));
    }
    Ok(Subject::Key { first, length })
}

fn read_name(reader: &mut Reader<'_>) -> Result<Name, EncodingError> {
    reader
        .text(NAME_LENGTH_MAX)?
        .parse()
        .map_err(|_| EncodingError::Invalid("a name is malformed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealmoot_crypto::secret::SecretArray;

    fn key(seed: u8) -> MacKey {
        MacKey::from_secret(&SecretArray::from_bytes([seed; 32]))
    }

    fn events() -> Vec<Event> {
        let alice: Name = "alice".parse().expect("a name");
        let peer = |user| Who::Peer {
            key: KeyId::from_bytes([7; 32]),
            origin: "192.0.2.1:5".to_owned(),
            user,
        };
        let subjects = [
            Subject::Nothing,
            Subject::User(alice.clone()),
            Subject::unknown(&key(1), b"hunter2"),
            Subject::Node(alice.clone()),
            Subject::key(b"app/\xff"),
            Subject::key(&[b'k'; 4096]),
        ];
        let whos = [Who::Node, peer(None), peer(Some(alice)), Who::Administrator];
        let mut events = Vec::new();
        for (number, (what, _)) in What::ALL.iter().enumerate() {
            let who = whos[number % whos.len()].clone();
            let subject = subjects[number % subjects.len()].clone();
            events.push(Event::done(5, *what, who, subject).detail("käse"));
        }
        events[0] = events[0].clone().refused();
        events[1].outcome = Outcome::Failed;
        events
    }

    #[test]
    fn what_a_record_changes_is_told_from_the_one_before() {
        use crate::second_factor::SecondFactor;
        use crate::users::tests::device_key;
        use sealmoot_crypto::signature::SigningKey;
        let signing_key = || SigningKey::generate().expect("random");
        let key = || signing_key().verifying_key();
        let old = User {
            name: "alice".parse().expect("a name"),
            version: 1,
            enabled: true,
            deleted: false,
            roles: vec![],
            user_key: Some(key()),
            keys: vec![],
            second_factor: None,
        };
        let changed = |change: &dyn Fn(&mut User)| {
            let mut new = old.clone();
            change(&mut new);
            new
        };
        let secrets = crate::opaque::LoginSecrets::generate().expect("random");
        let realm = crate::realm_id::RealmId::from_bytes([1; 32]);
        let factor = || {
            let enrolled = SecondFactor::enrol(&secrets, &realm, &old.name);
            Some(Box::new(enrolled.expect("enrolled").0))
        };
        let with_factor = changed(&|user| user.second_factor = factor());
        let disabled = changed(&|user| user.enabled = false);
        let deleted = changed(&|user| user.deleted = true);
        for (before, after, expected) in [
            (None, &old, What::UserAdded),
            (None, &deleted, What::UserDeleted),
            (Some(&deleted), &old, What::UserAdded),
            (Some(&old), &deleted, What::UserDeleted),
            (Some(&old), &disabled, What::UserDisabled),
            (Some(&disabled), &old, What::UserEnabled),
            (Some(&old), &old, What::UserChanged),
            (
                Some(&old),
                &changed(&|user| user.user_key = Some(key())),
                What::UserPassword,
            ),
            (
                Some(&old),
                &changed(&|user| user.keys = vec![device_key(&signing_key())]),
                What::UserKeys,
            ),
            (Some(&old), &with_factor, What::SecondFactorEnrolled),
            (
                Some(&with_factor),
                &changed(&|user| user.second_factor = factor()),
                What::SecondFactorEnrolled,
            ),
            (Some(&with_factor), &old, What::SecondFactorRemoved),
        ] {
            assert_eq!(What::of_record(before, after), expected);
        }
    }

    #[test]
    fn every_event_comes_back_as_it_was_and_no_truncation_does() {
        for event in events() {
            let bytes = event.encode();
            assert!(bytes.len() <= EVENT_LENGTH_MAX);
            let read = Event::decode(&bytes).expect("valid");
            assert_eq!(read, event);
            assert_eq!(read.encode(), bytes);
            for length in 0..bytes.len() {
                assert!(Event::decode(&bytes[..length]).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn unknown_numbers_and_trailing_bytes_are_refused_by_name() {
        let bytes = events()[0].encode();
        for (at, named) in [
            (0, "audit event version"),
            (9, "audit event"),
            (10, "audit outcome"),
            (11, "audit actor"),
            (12, "audit subject"),
        ] {
            let mut changed = bytes.clone();
            changed[at] = 0xee;
            let error = Event::decode(&changed).expect_err("refused");
            assert!(
                matches!(error, EncodingError::Unknown { what, value: 0xee } if what == named),
                "{at}: {error}"
            );
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(Event::decode(&longer).is_err());
        assert!(Event::decode(&[0; EVENT_LENGTH_MAX + 1]).is_err());
    }

    #[test]
    fn what_is_too_long_is_cut_and_not_refused() {
        let mut event = events()[1].clone().detail("ä".repeat(1000));
        event.subject = Subject::key(&[b'k'; 4096]);
        event.who = Who::Peer {
            key: KeyId::from_bytes([7; 32]),
            origin: "o".repeat(1000),
            user: Some("a".repeat(NAME_LENGTH_MAX).parse().expect("a name")),
        };
        let bytes = event.encode();
        assert!(bytes.len() <= EVENT_LENGTH_MAX);
        let read = Event::decode(&bytes).expect("valid");
        assert_eq!(read.detail, "ä".repeat(DETAIL_LENGTH_MAX / 2));
        assert_eq!(read.subject, event.subject);
    }

    #[test]
    fn a_key_is_shown_and_drives_no_terminal() {
        let of = |key: &[u8]| {
            let who = Who::Administrator;
            Event::done(1, What::Permission, who, Subject::key(key)).refused()
        };
        let event = of(b"app/\x1b[2Jx");
        assert_eq!(event.to_json()["subject"]["key"], "app/\\u{1b}[2Jx");
        assert!(event.to_line().contains("  key app/\\u{1b}[2Jx"));
        let long = of(&[b'k'; 4096]).to_json()["subject"]["key"].to_string();
        assert!(long.contains("… (4096 bytes)"), "{long}");
    }

    #[test]
    fn a_key_that_is_cut_elsewhere_is_refused() {
        for (kept, length) in [(1, 2), (2, 1), (255, 4096), (256, 255)] {
            let subject = Subject::Key {
                first: vec![b'k'; kept],
                length,
            };
            let bytes = Event::done(1, What::Permission, Who::Node, subject).encode();
            assert!(Event::decode(&bytes).is_err(), "{kept} of {length}");
        }
    }

    #[test]
    fn a_name_that_nobody_has_is_not_in_the_event() {
        let subject = Subject::unknown(&key(1), b"hunter2");
        assert_eq!(subject, Subject::unknown(&key(1), b"hunter2"));
        assert_ne!(subject, Subject::unknown(&key(1), b"hunter3"));
        assert_ne!(subject, Subject::unknown(&key(2), b"hunter2"));
        let event = Event::done(1, What::Login, Who::Node, subject).refused();
        let bytes = event.encode();
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"));
        assert!(!event.to_line().contains("hunter2"));
        assert!(!event.to_json().to_string().contains("hunter2"));
    }

    #[test]
    fn nothing_in_a_line_or_in_json_drives_a_terminal() {
        let event = Event::done(1, What::Permission, Who::Node, Subject::Nothing)
            .detail("a\x1b[2Jb\n\u{202e}c\u{2028}");
        for text in [event.to_line(), event.to_json()["detail"].to_string()] {
            assert!(
                !text.contains(['\x1b', '\n', '\u{202e}', '\u{2028}']),
                "{text:?}"
            );
            assert!(text.contains("[2Jb"), "{text:?}");
        }
    }
}
