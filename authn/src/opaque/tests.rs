//! What OPAQUE promises, and what it refuses.

use opaque_ke::keypair::{OprfSeed, PrivateKey};
use sealmoot_crypto::encoding::{Reader, Writer};
use sealmoot_crypto::password::{Cost, PASSWORD_LENGTH_MAX};
use sealmoot_crypto::signature::KeyId;
use sealmoot_rpc::ChannelBinding;
use sha2_for_opaque::Sha512;
use zeroize::ZeroizeOnDrop;

use super::randomness::Randomness;
use super::*;

const PASSWORD: &[u8] = b"correct horse battery";

fn cheap() -> Stretching {
    let cost = Cost {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };
    Stretching::new(cost).expect("admitted")
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn context(user: &str) -> LoginContext {
    LoginContext {
        realm: RealmId::from_bytes([1; 32]),
        node: KeyId::from_bytes([2; 32]),
        channel: ChannelBinding::from_bytes([3; 32]),
        session: KeyId::from_bytes([4; 32]),
        user: name(user),
    }
}

/// A realm's server with alice's record.
struct Server {
    secrets: LoginSecrets,
    file: PasswordFile,
    export_key: ExportKey,
}

impl Server {
    fn new() -> Self {
        let secrets = LoginSecrets::generate().expect("random");
        let (file, export_key) = registered(&secrets, "alice");
        Self {
            secrets,
            file,
            export_key,
        }
    }

    /// Answers as a server that believes in `context`.
    fn answer(&self, context: LoginContext, ke1: &[u8]) -> (ServerLogin, [u8; KE2_LENGTH]) {
        ServerLogin::start(&self.secrets, Some(&self.file), context, ke1).expect("answered")
    }
}

fn registered(secrets: &LoginSecrets, user: &str) -> (PasswordFile, ExportKey) {
    let realm = RealmId::from_bytes([1; 32]);
    register(secrets, &realm, &name(user), PASSWORD, cheap()).expect("registered")
}

fn client(password: &[u8]) -> (ClientLogin, [u8; KE1_LENGTH]) {
    ClientLogin::start(password, context("alice")).expect("started")
}

#[track_caller]
fn assert_refused<T>(outcome: Result<T, OpaqueError>) {
    assert!(matches!(outcome.err(), Some(OpaqueError::Refused)));
}

#[track_caller]
fn assert_malformed<T>(outcome: Result<T, OpaqueError>) {
    assert!(matches!(outcome.err(), Some(OpaqueError::Malformed)));
}

#[test]
fn the_right_password_yields_the_keys_of_the_registration() {
    let server = Server::new();
    let mut session_keys = Vec::new();
    for _ in 0..2 {
        let (client, ke1) = client(PASSWORD);
        let (waiting, ke2) = server.answer(context("alice"), &ke1);
        let (ke3, export_key, session_key) = client.finish(cheap(), &ke2).expect("proved");
        let shared = waiting.finish(&ke3).expect("proved");
        assert!(shared.same_as(&session_key));
        assert!(export_key.same_as(&server.export_key));
        session_keys.push(session_key);
    }
    assert!(!session_keys[0].same_as(&session_keys[1]));
}

#[test]
fn a_wrong_password_is_noticed_by_the_client_before_it_proves_anything() {
    let server = Server::new();
    for wrong in [
        &b"correct horse batterz"[..],
        b"",
        b"correct horse",
        &[0; 64],
    ] {
        let (client, ke1) = client(wrong);
        let (_, ke2) = server.answer(context("alice"), &ke1);
        assert_refused(client.finish(cheap(), &ke2));
    }
}

#[test]
fn a_password_that_nobody_can_have_is_refused_before_it_is_blinded() {
    let long = vec![b'a'; PASSWORD_LENGTH_MAX + 1];
    assert_refused(ClientLogin::start(&long, context("alice")));
    assert_refused(ClientRegistration::start(&long));
    assert!(ClientLogin::start(&long[1..], context("alice")).is_ok());
}

#[test]
fn another_stretching_than_at_registration_opens_nothing() {
    let server = Server::new();
    for (memory_kib, passes, lanes) in [(16, 1, 1), (8, 2, 1), (16, 1, 2)] {
        let cost = Cost {
            memory_kib,
            passes,
            lanes,
        };
        let (client, ke1) = client(PASSWORD);
        let (_, ke2) = server.answer(context("alice"), &ke1);
        assert_refused(client.finish(Stretching::new(cost).expect("admitted"), &ke2));
    }
}

#[test]
fn an_unknown_user_is_answered_alike_and_nobody_gets_in() {
    let server = Server::new();
    let (client, ke1) = client(PASSWORD);
    let known = server.answer(context("alice"), &ke1).1;
    let answer = || ServerLogin::start(&server.secrets, None, context("alice"), &ke1);
    let (waiting, fake) = answer().expect("answered");
    assert_eq!(known.len(), fake.len());
    // The evaluation of one blinded password stays the same whether the user is
    // there or not; all else is new each time.
    assert_eq!(known[..32], fake[..32]);
    let again = answer().expect("answered").1;
    assert_eq!(fake[..32], again[..32]);
    for at in (32..KE2_LENGTH).step_by(32) {
        assert_ne!(known[at..at + 32], fake[at..at + 32], "{at}");
        assert_ne!(fake[at..at + 32], again[at..at + 32], "{at}");
    }
    assert_refused(client.finish(cheap(), &fake));
    assert_refused(waiting.finish(&[0; KE3_LENGTH]));
}

#[test]
fn a_login_for_another_realm_node_channel_key_or_user_is_refused() {
    let server = Server::new();
    let believed = [
        LoginContext {
            realm: RealmId::from_bytes([9; 32]),
            ..context("alice")
        },
        LoginContext {
            node: KeyId::from_bytes([9; 32]),
            ..context("alice")
        },
        LoginContext {
            channel: ChannelBinding::from_bytes([9; 32]),
            ..context("alice")
        },
        LoginContext {
            session: KeyId::from_bytes([9; 32]),
            ..context("alice")
        },
        context("alicf"),
    ];
    for believed in believed {
        let (client, ke1) = client(PASSWORD);
        let (_, ke2) = server.answer(believed.clone(), &ke1);
        let outcome = client.finish(cheap(), &ke2);
        assert!(
            matches!(outcome.err(), Some(OpaqueError::Refused)),
            "{believed:?}"
        );
    }
}

/// Of realm and user the record and the OPRF key know too; here only the context
/// differs.
#[test]
fn each_part_of_a_context_alone_makes_it_another_login() {
    let server = Server::new();
    let (realm, alice) = (RealmId::from_bytes([1; 32]), name("alice"));
    let log_in = |believed: &LoginContext| {
        let believed = believed.encode();
        let own = context("alice").encode();
        let terms = |context| steps::Terms {
            context,
            identifiers: registration::identifiers(&realm, &alice),
        };
        let draw = || Randomness::draw().expect("random");
        let (state, ke1) = steps::login_request(&mut draw(), PASSWORD).expect("started");
        let (_, ke2) = steps::login_response(
            &mut draw(),
            server.secrets.setup(),
            Some(server.file.record()),
            &user_binding(&realm, &alice),
            terms(&believed),
            &ke1,
        )
        .expect("answered");
        let stretcher = cheap().stretcher();
        steps::login_proof(&mut draw(), state, PASSWORD, &stretcher, terms(&own), &ke2)
    };
    assert!(log_in(&context("alice")).is_ok());
    let mut others: Vec<LoginContext> = vec![context("alicf"); 5];
    for other in &mut others[1..] {
        other.user = name("alice");
    }
    others[1].realm = RealmId::from_bytes([9; 32]);
    others[2].node = KeyId::from_bytes([9; 32]);
    others[3].channel = ChannelBinding::from_bytes([9; 32]);
    others[4].session = KeyId::from_bytes([9; 32]);
    for other in others {
        assert_refused(log_in(&other));
    }
}

#[test]
fn no_part_of_a_context_runs_into_the_next() {
    let mut expected = b"\x0e\0\0\0sealmoot/login\x01\0\0\0\x01".to_vec();
    for part in [1, 2, 3, 4] {
        expected.extend_from_slice(&32u32.to_le_bytes());
        expected.extend_from_slice(&[part; 32]);
    }
    expected.extend_from_slice(b"\x05\0\0\0alice");
    assert_eq!(context("alice").encode(), expected);
}

#[test]
fn a_record_of_another_user_is_refused() {
    let server = Server::new();
    let (file, _) = registered(&server.secrets, "bob");
    let (client, ke1) = client(PASSWORD);
    let (_, ke2) =
        ServerLogin::start(&server.secrets, Some(&file), context("alice"), &ke1).expect("answered");
    assert_refused(client.finish(cheap(), &ke2));
}

#[test]
fn a_record_names_its_user_and_realm_besides_what_the_oprf_key_does() {
    let server = Server::new();
    let (realm, other_realm) = (RealmId::from_bytes([1; 32]), RealmId::from_bytes([9; 32]));
    let (alice, bob) = (name("alice"), name("bob"));
    let log_in = |realm: &RealmId, user: &Name| {
        let terms = steps::Terms {
            context: b"the same for all",
            identifiers: registration::identifiers(realm, user),
        };
        let mut rng = randomness::Randomness::draw().expect("random");
        let (client, ke1) = steps::login_request(&mut rng, PASSWORD).expect("started");
        let (_, ke2) = steps::login_response(
            &mut rng,
            server.secrets.setup(),
            Some(server.file.record()),
            &user_binding(&RealmId::from_bytes([1; 32]), &name("alice")),
            terms,
            &ke1,
        )
        .expect("answered");
        let stretcher = cheap().stretcher();
        steps::login_proof(&mut rng, client, PASSWORD, &stretcher, terms, &ke2)
    };
    assert!(log_in(&realm, &alice).is_ok());
    assert_refused(log_in(&other_realm, &alice));
    assert_refused(log_in(&realm, &bob));
}

#[test]
fn another_realms_secrets_are_refused() {
    let server = Server::new();
    let other = LoginSecrets::generate().expect("random");
    let (client, ke1) = client(PASSWORD);
    let (_, ke2) =
        ServerLogin::start(&other, Some(&server.file), context("alice"), &ke1).expect("answered");
    assert_refused(client.finish(cheap(), &ke2));
}

#[test]
fn a_replayed_message_is_worth_nothing_in_another_login() {
    let server = Server::new();
    let (first, ke1) = client(PASSWORD);
    let (waiting, ke2) = server.answer(context("alice"), &ke1);
    let (ke3, ..) = first.finish(cheap(), &ke2).expect("proved");
    waiting.finish(&ke3).expect("proved");

    // The same KE1 again, and the proof that was good for it.
    let (waiting, fresh) = server.answer(context("alice"), &ke1);
    assert_ne!(fresh, ke2);
    assert_refused(waiting.finish(&ke3));
    // The old answer to a new login.
    let (second, _) = client(PASSWORD);
    assert_refused(second.finish(cheap(), &ke2));
    // An old proof in a new login.
    let (_, ke1) = client(PASSWORD);
    let (waiting, _) = server.answer(context("alice"), &ke1);
    assert_refused(waiting.finish(&ke3));
}

#[test]
fn reflected_messages_are_refused() {
    let server = Server::new();
    let (reflected, ke1) = client(PASSWORD);
    let (waiting, mut ke2) = server.answer(context("alice"), &ke1);
    ke2[..32].copy_from_slice(&ke1[..32]);
    assert!(matches!(
        reflected.finish(cheap(), &ke2).err(),
        Some(OpaqueError::Reflected)
    ));
    // The server's own MAC as the client's.
    assert_refused(waiting.finish(&ke2[KE2_LENGTH - 64..]));
    // A whole KE1 where KE2 belongs.
    let (reflected, ke1) = client(PASSWORD);
    assert_malformed(reflected.finish(cheap(), &ke1));

    let (registration, request) = ClientRegistration::start(PASSWORD).expect("started");
    let realm = RealmId::from_bytes([1; 32]);
    let mut response = server
        .secrets
        .answer_registration(&realm, &name("alice"), &request)
        .expect("answered");
    response[..32].copy_from_slice(&request);
    assert!(matches!(
        registration
            .finish(&realm, &name("alice"), cheap(), &response)
            .err(),
        Some(OpaqueError::Reflected)
    ));
}

#[test]
fn a_flipped_bit_in_any_byte_of_a_message_is_refused() {
    let server = Server::new();
    for at in 0..KE1_LENGTH {
        let (client, mut ke1) = client(PASSWORD);
        ke1[at] ^= 1 << (at % 8);
        let answered =
            ServerLogin::start(&server.secrets, Some(&server.file), context("alice"), &ke1);
        match answered {
            Ok((_, ke2)) => assert_refused(client.finish(cheap(), &ke2)),
            Err(error) => assert!(matches!(error, OpaqueError::Malformed), "{at}"),
        }
    }
    for at in 0..KE2_LENGTH {
        let (client, ke1) = client(PASSWORD);
        let (_, mut ke2) = server.answer(context("alice"), &ke1);
        ke2[at] ^= 1 << (at % 8);
        match client.finish(cheap(), &ke2).err() {
            Some(OpaqueError::Refused | OpaqueError::Malformed) => {}
            other => panic!("byte {at}: {other:?}"),
        }
    }
    for at in 0..KE3_LENGTH {
        let (client, ke1) = client(PASSWORD);
        let (waiting, ke2) = server.answer(context("alice"), &ke1);
        let (mut ke3, ..) = client.finish(cheap(), &ke2).expect("proved");
        ke3[at] ^= 1 << (at % 8);
        assert_refused(waiting.finish(&ke3));
    }
}

#[test]
fn messages_of_another_length_are_malformed() {
    let server = Server::new();
    let (_, ke1) = client(PASSWORD);
    let start =
        |ke1: &[u8]| ServerLogin::start(&server.secrets, Some(&server.file), context("alice"), ke1);
    for ke1 in [
        &ke1[..KE1_LENGTH - 1],
        &ke1[..32],
        &[],
        &[&ke1[..], &[0]].concat(),
    ] {
        assert_malformed(start(ke1));
    }
    let (_, ke2) = server.answer(context("alice"), &ke1);
    for ke2 in [
        &ke2[..KE2_LENGTH - 1],
        &ke2[..96],
        &[],
        &[&ke2[..], &[0]].concat(),
    ] {
        let (client, _) = client(PASSWORD);
        assert_malformed(client.finish(cheap(), ke2));
    }
    for ke3 in [&[7; KE3_LENGTH - 1][..], &[], &[7; KE3_LENGTH + 1]] {
        let (waiting, _) = server.answer(context("alice"), &start_message());
        assert_malformed(waiting.finish(ke3));
    }
}

fn start_message() -> [u8; KE1_LENGTH] {
    client(PASSWORD).1
}

#[test]
fn points_that_are_none_or_the_identity_are_malformed() {
    let server = Server::new();
    let ke1 = start_message();
    // Zero is the identity's encoding; 0xff is not canonical; 1 is negative.
    let mut odd = [0; 32];
    odd[0] = 1;
    for point in [[0; 32], [0xff; 32], odd] {
        for at in [0, 64] {
            let mut ke1 = ke1;
            ke1[at..at + 32].copy_from_slice(&point);
            assert_malformed(ServerLogin::start(
                &server.secrets,
                Some(&server.file),
                context("alice"),
                &ke1,
            ));
        }
        let realm = RealmId::from_bytes([1; 32]);
        assert_malformed(
            server
                .secrets
                .answer_registration(&realm, &name("alice"), &point),
        );
        for at in [0, 224] {
            let (client, ke1) = client(PASSWORD);
            let (_, mut ke2) = server.answer(context("alice"), &ke1);
            ke2[at..at + 32].copy_from_slice(&point);
            assert_malformed(client.finish(cheap(), &ke2));
        }
    }
}

#[test]
fn two_logins_share_no_message_and_none_shows_the_password() {
    let server = Server::new();
    let transcript = || {
        let (client, ke1) = client(PASSWORD);
        let (waiting, ke2) = server.answer(context("alice"), &ke1);
        let (ke3, export_key, session_key) = client.finish(cheap(), &ke2).expect("proved");
        waiting.finish(&ke3).expect("proved");
        let messages = [&ke1[..], &ke2, &ke3].concat();
        for secret in [PASSWORD, export_key.expose(), session_key.expose()] {
            let shown = messages
                .windows(8)
                .any(|part| secret.windows(8).any(|window| window == part));
            assert!(!shown);
        }
        messages
    };
    let (one, other) = (transcript(), transcript());
    for (at, part) in one.chunks(32).enumerate() {
        assert!(!other.chunks(32).any(|chunk| chunk == part), "part {at}");
    }
    // Nor what is stored.
    let mut writer = Writer::new();
    server.file.encode(&mut writer);
    let stored = writer.finish();
    assert!(
        !one.windows(16)
            .any(|part| stored.windows(16).any(|window| window == part))
    );
}

#[test]
fn one_password_gives_another_record_each_time_and_each_realm() {
    let secrets = LoginSecrets::generate().expect("random");
    let encoded = |file: PasswordFile| {
        let mut writer = Writer::new();
        file.encode(&mut writer);
        writer.finish()
    };
    let (one, one_key) = registered(&secrets, "alice");
    let (two, two_key) = registered(&secrets, "alice");
    let (bob, bob_key) = registered(&secrets, "bob");
    assert!(!one_key.same_as(&two_key) && !one_key.same_as(&bob_key));
    let (one, two, bob) = (encoded(one), encoded(two), encoded(bob));
    assert_eq!(one.len(), PASSWORD_FILE_LENGTH);
    assert!(one != two && one != bob);
}

#[test]
fn a_password_file_has_one_encoding() {
    let server = Server::new();
    let mut writer = Writer::new();
    server.file.encode(&mut writer);
    let bytes = writer.finish();
    let mut reader = Reader::new(&bytes);
    let read = PasswordFile::decode(&mut reader).expect("valid");
    reader.finish().expect("nothing follows");
    let mut again = Writer::new();
    read.encode(&mut again);
    assert_eq!(again.finish(), bytes);
    for length in 0..bytes.len() {
        assert!(PasswordFile::decode(&mut Reader::new(&bytes[..length])).is_err());
    }
    let mut no_point = bytes;
    no_point[..32].fill(0xff);
    assert!(PasswordFile::decode(&mut Reader::new(&no_point)).is_err());
}

#[test]
fn login_secrets_survive_their_encoding_and_nothing_else_passes() {
    let server = Server::new();
    let bytes = server.secrets.encode();
    assert_eq!(bytes.len(), LOGIN_SECRETS_LENGTH);
    let read = LoginSecrets::decode(bytes.expose()).expect("valid");
    assert_eq!(read.encode().expose(), bytes.expose());
    let (client, ke1) = client(PASSWORD);
    let (waiting, ke2) =
        ServerLogin::start(&read, Some(&server.file), context("alice"), &ke1).expect("answered");
    let (ke3, ..) = client.finish(cheap(), &ke2).expect("proved");
    waiting.finish(&ke3).expect("proved");

    for length in 0..bytes.len() {
        assert!(LoginSecrets::decode(&bytes.expose()[..length]).is_err());
    }
    assert!(LoginSecrets::decode(&[bytes.expose(), &[0]].concat()).is_err());
    for (at, fill) in [(0, 0), (0, 2), (65, 0), (65, 0xff), (97, 0), (97, 0xff)] {
        let mut changed = bytes.expose().to_vec();
        let end = if at == 0 { 1 } else { at + 32 };
        changed[at..end].fill(fill);
        assert!(LoginSecrets::decode(&changed).is_err(), "{fill} at {at}");
    }
}

#[test]
fn nothing_secret_is_printed() {
    let server = Server::new();
    assert_eq!(format!("{:?}", server.secrets), "LoginSecrets(redacted)");
    assert_eq!(format!("{:?}", server.file), "PasswordFile(redacted)");
    assert_eq!(
        format!("{:?}", server.export_key),
        "SecretArray<64>(redacted)"
    );
}

/// Compiles only as long as every state and every key wipes itself.
#[test]
fn states_and_keys_are_wiped_when_dropped() {
    fn wiped<T: ZeroizeOnDrop>() {}
    wiped::<steps::ClientLoginState>();
    wiped::<steps::ServerLoginState>();
    wiped::<steps::ClientRegistrationState>();
    wiped::<steps::Record>();
    // Together they are `LoginSecrets`.
    wiped::<PrivateKey<opaque_ke::Ristretto255>>();
    wiped::<OprfSeed<Sha512>>();
}
