//! What somebody on the way may do to the first messages of a TLS handshake,
//! and that nothing weaker comes of it.
#![allow(missing_docs)]

mod hostile;

use std::sync::Arc;

use hostile::{Ended, FORMS, Form, Identity, Sender, Serving, handshake, key};
use rustls::crypto::ring::kx_group::{SECP256R1, X25519};
use rustls::{ClientConfig, Error, NamedGroup, PeerIncompatible, PeerMisbehaved, ProtocolVersion};
use sealmoot_rpc::tls::{ServerConfigs, client_config};

const SUPPORTED_GROUPS: u16 = 10;
const SIGNATURE_ALGORITHMS: u16 = 13;
const APPLICATION_PROTOCOLS: u16 = 16;
const CLIENT_CERTIFICATE_TYPE: u16 = 19;
const SERVER_CERTIFICATE_TYPE: u16 = 20;
const SUPPORTED_VERSIONS: u16 = 43;
const KEY_SHARE: u16 = 51;

/// Type and content of each extension, in order.
type Extensions = Vec<(u16, Vec<u8>)>;

/// A ClientHello in one record, taken apart (RFC 8446, section 4.1.2).
struct Hello {
    /// Version and random.
    head: Vec<u8>,
    session_id: Vec<u8>,
    suites: Vec<u8>,
    extensions: Extensions,
}

impl Hello {
    fn parse(record: &[u8]) -> Self {
        assert_eq!((record[0], record[5]), (22, 1), "a ClientHello");
        let mut rest = &record[9..];
        let mut take = |length_bytes: usize, or: usize| {
            let (length, tail) = rest.split_at(length_bytes);
            let length = match length_bytes {
                0 => or,
                _ => length
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
            };
            let (content, tail) = tail.split_at(length);
            rest = tail;
            content.to_vec()
        };
        let head = take(0, 34);
        let session_id = take(1, 0);
        let suites = take(2, 0);
        assert_eq!(take(1, 0), [0], "no compression");
        let all = take(2, 0);
        let mut extensions = Vec::new();
        let mut rest = &all[..];
        while let [kind_high, kind_low, length_high, length_low, tail @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*length_high, *length_low]));
            let (content, tail) = tail.split_at(length);
            extensions.push((
                u16::from_be_bytes([*kind_high, *kind_low]),
                content.to_vec(),
            ));
            rest = tail;
        }
        Self {
            head,
            session_id,
            suites,
            extensions,
        }
    }

    fn record(&self) -> Vec<u8> {
        let with_length = |bytes: &[u8]| {
            let length = u16::try_from(bytes.len()).expect("short");
            [&length.to_be_bytes()[..], bytes].concat()
        };
        let extensions: Vec<u8> = self
            .extensions
            .iter()
            .flat_map(|(kind, content)| [&kind.to_be_bytes()[..], &with_length(content)].concat())
            .collect();
        let body = [
            &self.head[..],
            &[self.session_id.len() as u8],
            &self.session_id,
            &with_length(&self.suites),
            &[1, 0],
            &with_length(&extensions),
        ]
        .concat();
        let message = [&[1, 0][..], &with_length(&body)].concat();
        [&[22, 3, 1][..], &with_length(&message)].concat()
    }

    fn has(&self, kind: u16) -> bool {
        self.extensions.iter().any(|(found, _)| *found == kind)
    }

    fn remove(&mut self, kind: u16) {
        assert!(self.has(kind), "extension {kind} is not there");
        self.extensions.retain(|(found, _)| *found != kind);
    }

    /// Puts `content` in the place of an extension's, or before all others.
    fn set(&mut self, kind: u16, content: &[u8]) {
        match self.extensions.iter_mut().find(|(found, _)| *found == kind) {
            Some((_, old)) => {
                assert_ne!(old, content, "extension {kind} would stay as it is");
                *old = content.to_vec();
            }
            None => self.extensions.insert(0, (kind, content.to_vec())),
        }
    }

    /// The key shares, group and key.
    fn shares(&self) -> Vec<(u16, Vec<u8>)> {
        let (_, content) = self
            .extensions
            .iter()
            .find(|(kind, _)| *kind == KEY_SHARE)
            .expect("key shares");
        let mut rest = &content[2..];
        let mut shares = Vec::new();
        while let [group_high, group_low, length_high, length_low, tail @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*length_high, *length_low]));
            let (key, tail) = tail.split_at(length);
            shares.push((u16::from_be_bytes([*group_high, *group_low]), key.to_vec()));
            rest = tail;
        }
        shares
    }

    fn set_shares(&mut self, shares: &[(u16, Vec<u8>)]) {
        let list: Vec<u8> = shares
            .iter()
            .flat_map(|(group, key)| {
                let length = u16::try_from(key.len()).expect("short");
                [&group.to_be_bytes()[..], &length.to_be_bytes(), key].concat()
            })
            .collect();
        let length = u16::try_from(list.len()).expect("short");
        self.set(KEY_SHARE, &[&length.to_be_bytes()[..], &list].concat());
    }
}

fn ours() -> ServerConfigs {
    ServerConfigs::new(&key()).expect("sound")
}

/// A client of each form: ours, and one that knows certificates alone.
fn clients() -> [(&'static str, Arc<ClientConfig>); 2] {
    let certificate = hostile::client(
        Form::Certificate,
        Identity::honest(Form::Certificate, key()),
    );
    [
        ("raw", client_config(&key()).expect("sound")),
        ("certificate", Arc::new(certificate)),
    ]
}

/// A handshake with our server whose first message is changed on the way.
fn changed(client: &Arc<ClientConfig>, change: &dyn Fn(&mut Hello)) -> Ended {
    handshake(
        Arc::clone(client),
        Serving::Ours(&ours()),
        |from, number, flight| {
            if (from, number) == (Sender::Client, 0) {
                let mut hello = Hello::parse(flight);
                assert_eq!(hello.record(), *flight, "taken apart and put together");
                change(&mut hello);
                let changed = hello.record();
                assert_ne!(changed, *flight, "nothing was changed");
                *flight = changed;
            }
        },
    )
}

fn assert_fails(what: &str, change: impl Fn(&mut Hello)) {
    for (name, client) in clients() {
        changed(&client, &change).assert_neither(&format!("{what}, {name}"));
    }
}

#[test]
fn an_older_version_is_refused() {
    for versions in [&[2, 3, 3][..], &[6, 3, 3, 3, 2, 3, 1], &[2, 3, 0]] {
        assert_fails("versions", |hello| hello.set(SUPPORTED_VERSIONS, versions));
    }
    assert_fails("no versions", |hello| hello.remove(SUPPORTED_VERSIONS));
}

#[test]
fn an_older_version_beside_the_true_one_breaks_the_handshake() {
    for versions in [&[4, 3, 4, 3, 3][..], &[4, 3, 3, 3, 4]] {
        assert_fails("versions", |hello| hello.set(SUPPORTED_VERSIONS, versions));
    }
}

// X25519 alone would do for both sides, and an attacker with a quantum computer
// would like it. Neither side notices from the keys: the signatures tell.
#[test]
fn the_hybrid_group_cannot_be_taken_out() {
    let client = client_config(&key()).expect("sound");
    let ended = changed(&client, &|hello| {
        let classical = u16::from(NamedGroup::X25519);
        let shares = hello.shares();
        assert_eq!(shares.len(), 2, "the hybrid and X25519");
        let kept: Vec<_> = shares
            .into_iter()
            .filter(|(group, _)| *group == classical)
            .collect();
        hello.set_shares(&kept);
        hello.set(SUPPORTED_GROUPS, &[0, 2, 0, 29]);
    });
    ended.assert_neither("X25519 alone");
}

#[test]
fn the_hybrid_share_cannot_be_taken_out() {
    let client = client_config(&key()).expect("sound");
    let ended = changed(&client, &|hello| {
        let shares = hello.shares();
        hello.set_shares(&shares[1..]);
    });
    ended.assert_neither("without the hybrid share");
}

#[test]
fn a_client_that_sent_its_share_is_not_asked_for_it_again() {
    for (name, client) in clients() {
        let ended = changed(&client, &|hello| hello.set_shares(&[]));
        ended.assert_neither(name);
        assert_eq!(
            ended.client_error(),
            Error::PeerMisbehaved(PeerMisbehaved::IllegalHelloRetryRequestWithOfferedGroup),
            "{name}"
        );
    }
}

#[test]
fn a_changed_key_share_breaks_the_handshake() {
    for (name, client) in clients() {
        for which in 0..share_count(&client) {
            changed(&client, &|hello| {
                let mut shares = hello.shares();
                // The last byte: of the X25519 key, whichever group.
                *shares[which].1.last_mut().expect("a key") ^= 1;
                hello.set_shares(&shares);
            })
            .assert_neither(&format!("{name}, share {which}"));
        }
    }
}

fn share_count(client: &Arc<ClientConfig>) -> usize {
    let mut count = 0;
    handshake(
        Arc::clone(client),
        Serving::Ours(&ours()),
        |from, number, flight| {
            if (from, number) == (Sender::Client, 0) {
                count = Hello::parse(flight).shares().len();
            }
        },
    );
    count
}

#[test]
fn a_group_that_the_server_lacks_is_refused() {
    assert_fails("P-256 alone", |hello| {
        hello.set(SUPPORTED_GROUPS, &[0, 2, 0, 23]);
    });
    assert_fails("no group", |hello| hello.remove(SUPPORTED_GROUPS));
}

#[test]
fn another_application_protocol_is_refused_and_none_breaks_the_handshake() {
    assert_fails("h2", |hello| {
        hello.set(APPLICATION_PROTOCOLS, b"\0\x03\x02h2");
    });
    assert_fails("none", |hello| hello.remove(APPLICATION_PROTOCOLS));
    assert_fails("another beside it", |hello| {
        hello.set(APPLICATION_PROTOCOLS, b"\0\x0e\x0asealmoot/1\x02h2");
    });
}

#[test]
fn the_certificate_types_cannot_be_changed() {
    const X509: &[u8] = &[1, 0];
    const RAW: &[u8] = &[1, 2];
    const BOTH: &[u8] = &[2, 0, 2];
    let kinds = [CLIENT_CERTIFICATE_TYPE, SERVER_CERTIFICATE_TYPE];
    let client = client_config(&key()).expect("sound");
    for types in [X509, BOTH, &[2, 2, 0], &[1, 1], &[0]] {
        changed(&client, &|hello| {
            kinds.iter().for_each(|kind| hello.set(*kind, types))
        })
        .assert_neither("both directions of a raw client");
        for kind in kinds {
            changed(&client, &|hello| hello.set(kind, types))
                .assert_neither("one direction of a raw client");
        }
    }
    changed(&client, &|hello| {
        kinds.iter().for_each(|kind| hello.remove(*kind))
    })
    .assert_neither("none");
    for kind in kinds {
        changed(&client, &|hello| hello.remove(kind)).assert_neither("none for one direction");
    }
    let (_, client) = &clients()[1];
    for types in [X509, RAW, BOTH] {
        changed(client, &|hello| {
            kinds.iter().for_each(|kind| hello.set(*kind, types))
        })
        .assert_neither("a client of certificates");
        for kind in kinds {
            changed(client, &|hello| hello.set(kind, types))
                .assert_neither("one direction of a client of certificates");
        }
    }
}

#[test]
fn other_signature_schemes_are_refused() {
    // ecdsa_secp256r1_sha256 and rsa_pss_rsae_sha256.
    assert_fails("without ed25519", |hello| {
        hello.set(SIGNATURE_ALGORITHMS, &[0, 4, 4, 3, 8, 4]);
    });
    assert_fails("beside ed25519", |hello| {
        hello.set(SIGNATURE_ALGORITHMS, &[0, 4, 8, 7, 4, 3]);
    });
    assert_fails("none", |hello| hello.remove(SIGNATURE_ALGORITHMS));
}

#[test]
fn the_cipher_suites_cannot_be_changed() {
    assert_fails("one suite", |hello| {
        let kept = if hello.suites.starts_with(&[0x13, 0x02]) {
            [0x13, 0x03]
        } else {
            [0x13, 0x02]
        };
        hello.suites = kept.to_vec();
    });
    assert_fails("a suite of TLS 1.2", |hello| {
        hello.suites = vec![0xc0, 0x2b];
    });
    assert_fails("in another order", |hello| {
        hello.suites = hello.suites.rchunks(2).flatten().copied().collect();
    });
}

// Record type and lengths included. The record's version, which nothing
// covers, is ignored by both sides (RFC 8446, section 5.1).
#[test]
fn no_byte_of_the_first_message_can_be_changed() {
    for (name, client) in clients() {
        let mut length = usize::MAX;
        let mut at = 0;
        while at < length {
            if !(1..3).contains(&at) {
                let ended = handshake(
                    Arc::clone(&client),
                    Serving::Ours(&ours()),
                    |from, number, flight| {
                        if (from, number) == (Sender::Client, 0) {
                            length = flight.len();
                            flight[at] ^= 1 << (at % 8);
                        }
                    },
                );
                ended.assert_neither(&format!("{name}, byte {at}"));
            }
            // Within the long key of the hybrid one byte is as good as another.
            at += if (300..length.saturating_sub(300)).contains(&at) {
                37
            } else {
                1
            };
        }
    }
}

#[test]
fn no_byte_of_the_servers_first_message_can_be_changed() {
    for (name, client) in clients() {
        let mut length = usize::MAX;
        let mut at = 0;
        while at < length {
            if !(1..3).contains(&at) {
                let ended = handshake(
                    Arc::clone(&client),
                    Serving::Ours(&ours()),
                    |from, number, flight| {
                        if (from, number) == (Sender::Server, 0) {
                            length = 5 + usize::from(u16::from_be_bytes([flight[3], flight[4]]));
                            flight[at] ^= 1 << (at % 8);
                        }
                    },
                );
                ended.assert_neither(&format!("{name}, byte {at}"));
            }
            at += if (200..length.saturating_sub(100)).contains(&at) {
                37
            } else {
                1
            };
        }
    }
}

#[test]
fn a_server_that_chooses_an_older_version_is_left() {
    for (name, client) in clients() {
        let ended = handshake(client, Serving::Ours(&ours()), |from, number, flight| {
            if (from, number) == (Sender::Server, 0) {
                let at = flight
                    .windows(6)
                    .position(|part| part == [0, 43, 0, 2, 3, 4])
                    .expect("the chosen version");
                flight[at + 5] = 3;
            }
        });
        ended.assert_neither(name);
    }
}

/// Both groups, or why not.
fn groups(client: ClientConfig, retried: &mut bool) -> (NamedGroup, NamedGroup) {
    // RFC 8446, section 4.1.3: this random means HelloRetryRequest.
    const RETRY: [u8; 4] = [0xcf, 0x21, 0xad, 0x74];
    let ended = handshake(
        Arc::new(client),
        Serving::Ours(&ours()),
        |from, number, flight| {
            if (from, number) == (Sender::Server, 0) {
                *retried = flight[11..15] == RETRY;
            }
        },
    );
    let client = ended.client.expect("complete");
    let server = ended.server.expect("complete");
    assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    (
        client.negotiated_key_exchange_group().expect("one").name(),
        server.negotiated_key_exchange_group().expect("one").name(),
    )
}

#[test]
fn a_client_whose_first_share_is_of_no_use_is_asked_for_x25519() {
    for form in FORMS {
        let client =
            hostile::client_of_groups(form, Identity::honest(form, key()), vec![SECP256R1, X25519]);
        let mut retried = false;
        let groups = groups(client, &mut retried);
        assert!(retried, "{form:?}");
        assert_eq!(groups, (NamedGroup::X25519, NamedGroup::X25519), "{form:?}");
    }
}

#[test]
fn a_client_of_x25519_alone_needs_no_second_try() {
    for form in FORMS {
        let identity = Identity::honest(form, key());
        let client = hostile::client_of_groups(form, identity, vec![X25519]);
        let mut retried = true;
        let groups = groups(client, &mut retried);
        assert!(!retried, "{form:?}");
        assert_eq!(groups, (NamedGroup::X25519, NamedGroup::X25519), "{form:?}");
    }
}

#[test]
fn a_client_of_p256_alone_is_refused() {
    for form in FORMS {
        let identity = Identity::honest(form, key());
        let client = hostile::client_of_groups(form, identity, vec![SECP256R1]);
        let ended = handshake(Arc::new(client), Serving::Ours(&ours()), |_, _, _| ());
        ended.assert_neither("P-256");
        assert_eq!(
            ended.server_error(),
            Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon)
        );
    }
}

// Asked for X25519, the second first message is changed on the way instead.
#[test]
fn the_second_first_message_cannot_be_changed_either() {
    for form in FORMS {
        for byte in [6, 20, 45, 80] {
            let client = hostile::client_of_groups(
                form,
                Identity::honest(form, key()),
                vec![SECP256R1, X25519],
            );
            let mut seen = false;
            let ended = handshake(
                Arc::new(client),
                Serving::Ours(&ours()),
                |from, number, flight| {
                    if (from, number) == (Sender::Client, 1) {
                        // Behind a record of ChangeCipherSpec, for middleboxes.
                        let at = if flight[0] == 20 { 6 } else { 0 };
                        assert_eq!((flight[at], flight[at + 5]), (22, 1));
                        flight[at + byte] ^= 1;
                        seen = true;
                    }
                },
            );
            assert!(seen, "no second try");
            ended.assert_neither(&format!("{form:?}, byte {byte}"));
        }
    }
}

// A record may carry as little as a byte of a message.
#[test]
fn a_first_message_in_small_records_is_understood() {
    for (name, client) in clients() {
        for size in [1, 7, 100] {
            let ended = handshake(
                Arc::clone(&client),
                Serving::Ours(&ours()),
                |from, number, flight| {
                    if (from, number) == (Sender::Client, 0) {
                        *flight = flight[5..]
                            .chunks(size)
                            .flat_map(|part| {
                                let length = part.len() as u8;
                                [&[22, 3, 1, 0, length], part].concat()
                            })
                            .collect();
                    }
                },
            );
            ended
                .client
                .unwrap_or_else(|error| panic!("{name}, {size}: {error}"));
            ended
                .server
                .unwrap_or_else(|error| panic!("{name}, {size}: {error}"));
        }
    }
}
