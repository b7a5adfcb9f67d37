//! Events, entries and heads of audit logs.

use sealmoot_authn::audit::chain::{Entry, decode_entries, encode_entries};
use sealmoot_authn::audit::{Event, SignedHead, Subject, What, Who};
use sealmoot_crypto::encoding::{Reader, Writer};
use sealmoot_crypto::hash_chain::Chain;
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::KeyId;

use super::{key, name, realm};
use crate::{Decoder, Outcome};

pub(super) const ALL: &[Decoder] = &[
    Decoder {
        name: "audit_event",
        authenticates: false,
        samples: || events().iter().map(Event::encode).collect(),
        check: |bytes| {
            let event = Event::decode(bytes);
            if let Ok(event) = &event {
                assert_eq!(event.encode(), bytes);
                let line = event.to_line();
                assert!(!line.chars().any(char::is_control), "{line:?}");
            }
            Outcome::of(&event)
        },
    },
    Decoder {
        name: "audit_entries",
        authenticates: false,
        samples: || {
            let mut writer = Writer::new();
            encode_entries(&mut writer, &entries());
            vec![writer.finish()]
        },
        check: |bytes| {
            let mut reader = Reader::new(bytes);
            let entries = decode_entries(&mut reader).and_then(|entries| {
                reader.finish()?;
                Ok(entries)
            });
            if let Ok(entries) = &entries
                && !entries.is_empty()
            {
                let mut writer = Writer::new();
                encode_entries(&mut writer, entries);
                assert_eq!(writer.finish(), bytes);
            }
            Outcome::of(&entries)
        },
    },
    Decoder {
        name: "audit_head",
        authenticates: true,
        samples: || {
            let mut chain = Chain::start(&SecretArray::from_bytes([1; 32]), [2; 32]);
            chain.append(b"one").expect("room");
            let head = SignedHead::sign(&key(4), &realm(), [2; 32], chain.head(), 5);
            vec![head.bytes().to_vec()]
        },
        check: |bytes| {
            let head = SignedHead::verify(bytes, &realm(), &key(4).verifying_key());
            if let Ok(head) = &head {
                assert_eq!(head.bytes(), bytes);
            }
            Outcome::of(&head)
        },
    },
];

fn events() -> Vec<Event> {
    let peer = Who::Peer {
        key: KeyId::from_bytes([9; 32]),
        origin: "127.0.0.1:7".to_owned(),
        user: Some(name("alice")),
    };
    vec![
        Event::done(5, What::Login, peer, Subject::User(name("alice"))),
        Event::done(6, What::UserDisabled, Who::Administrator, Subject::Nothing)
            .refused()
            .detail("a\u{202e}b\n"),
    ]
}

fn entries() -> Vec<Entry> {
    let mut chain = Chain::start(&SecretArray::from_bytes([1; 32]), [2; 32]);
    (0..)
        .zip(events())
        .map(|(sequence, event)| {
            let event = event.encode();
            let link = chain.append(&event).expect("room");
            Entry {
                sequence,
                event,
                link,
            }
        })
        .collect()
}
