//! The published vectors of our suite (RFC 9807, appendix C: the real ones over
//! ristretto255 without and with identities, and the fake one), run through the steps
//! of every login. They are for the identity function in place of Argon2id.

use std::collections::VecDeque;

use opaque_ke::Identifiers;
use opaque_ke::rand::{CryptoRng, Error, RngCore};

use super::OpaqueError;
use super::steps::{self, Record, ServerSetup, Terms};
use super::stretching::Stretcher;

/// A vector; all of it in hexadecimal.
struct Vector {
    client_identity: Option<&'static str>,
    server_identity: Option<&'static str>,
    password: &'static str,
    oprf_seed: &'static str,
    credential_identifier: &'static str,
    server_private_key: &'static str,
    server_public_key: &'static str,
    blind_registration: &'static str,
    envelope_nonce: &'static str,
    blind_login: &'static str,
    client_nonce: &'static str,
    client_keyshare_seed: &'static str,
    masking_nonce: &'static str,
    server_nonce: &'static str,
    server_keyshare_seed: &'static str,
    registration_request: &'static str,
    registration_response: &'static str,
    registration_upload: &'static str,
    ke1: &'static str,
    ke2: &'static str,
    ke3: &'static str,
    export_key: &'static str,
    session_key: &'static str,
}

const CONTEXT: &str = "4f50415155452d504f43";

const VECTORS: [Vector; 2] = [
    Vector {
        client_identity: None,
        server_identity: None,
        password: "436f7272656374486f72736542617474657279537461706c65",
        oprf_seed: "f433d0227b0b9dd54f7c4422b600e764e47fb503f1f9a0f0a47c6606b054a7fdc65347f1a08f277e\
             22358bbabe26f823fca82c7848e9a75661f4ec5d5c1989ef",
        credential_identifier: "31323334",
        server_private_key: "47451a85372f8b3537e249d7b54188091fb18edde78094b43e2ba42b5eb89f0d",
        server_public_key: "b2fe7af9f48cc502d016729d2fe25cdd433f2c4bc904660b2a382c9b79df1a78",
        blind_registration: "76cfbfe758db884bebb33582331ba9f159720ca8784a2a070a265d9c2d6abe01",
        envelope_nonce: "ac13171b2f17bc2c74997f0fce1e1f35bec6b91fe2e12dbd323d23ba7a38dfec",
        blind_login: "6ecc102d2e7a7cf49617aad7bbe188556792d4acd60a1a8a8d2b65d4b0790308",
        client_nonce: "da7e07376d6d6f034cfa9bb537d11b8c6b4238c334333d1f0aebb380cae6a6cc",
        client_keyshare_seed: "82850a697b42a505f5b68fcdafce8c31f0af2b581f063cf1091933541936304b",
        masking_nonce: "38fe59af0df2c79f57b8780278f5ae47355fe1f817119041951c80f612fdfc6d",
        server_nonce: "71cd9960ecef2fe0d0f7494986fa3d8b2bb01963537e60efb13981e138e3d4a1",
        server_keyshare_seed: "05a4f54206eef1ba2f615bc0aa285cb22f26d1153b5b40a1e85ff80da12f982f",
        registration_request: "5059ff249eb1551b7ce4991f3336205bde44a105a032e747d21bf382e75f7a71",
        registration_response: "7408a268083e03abc7097fc05b587834539065e86fb0c7b6342fcf5e01e5b019b2fe7af9f48cc502\
             d016729d2fe25cdd433f2c4bc904660b2a382c9b79df1a78",
        registration_upload: "76a845464c68a5d2f7e442436bb1424953b17d3e2e289ccbaccafb57ac5c36751ac5844383c77080\
             77dea41cbefe2fa15724f449e535dd7dd562e66f5ecfb95864eadddec9db5874959905117dad40a4\
             524111849799281fefe3c51fa82785c5ac13171b2f17bc2c74997f0fce1e1f35bec6b91fe2e12dbd\
             323d23ba7a38dfec634b0f5b96109c198a8027da51854c35bee90d1e1c781806d07d49b76de6a28b\
             8d9e9b6c93b9f8b64d16dddd9c5bfb5fea48ee8fd2f75012a8b308605cdd8ba5",
        ke1: "c4dedb0ba6ed5d965d6f250fbe554cd45cba5dfcce3ce836e4aee778aa3cd44dda7e07376d6d6f03\
             4cfa9bb537d11b8c6b4238c334333d1f0aebb380cae6a6cc6e29bee50701498605b2c085d7b241ca\
             15ba5c32027dd21ba420b94ce60da326",
        ke2: "7e308140890bcde30cbcea28b01ea1ecfbd077cff62c4def8efa075aabcbb47138fe59af0df2c79f\
             57b8780278f5ae47355fe1f817119041951c80f612fdfc6dd6ec60bcdb26dc455ddf3e718f102049\
             0c192d70dfc7e403981179d8073d1146a4f9aa1ced4e4cd984c657eb3b54ced3848326f70331953d\
             91b02535af44d9fedc80188ca46743c52786e0382f95ad85c08f6afcd1ccfbff95e2bdeb015b166c\
             6b20b92f832cc6df01e0b86a7efd92c1c804ff865781fa93f2f20b446c8371b671cd9960ecef2fe0\
             d0f7494986fa3d8b2bb01963537e60efb13981e138e3d4a1c4f62198a9d6fa9170c42c3c71f1971b\
             29eb1d5d0bd733e40816c91f7912cc4a660c48dae03e57aaa38f3d0cffcfc21852ebc8b405d15bd6\
             744945ba1a93438a162b6111699d98a16bb55b7bdddfe0fc5608b23da246e7bd73b47369169c5c90",
        ke3: "4455df4f810ac31a6748835888564b536e6da5d9944dfea9e34defb9575fe5e2661ef61d2ae3929b\
             cf57e53d464113d364365eb7d1a57b629707ca48da18e442",
        export_key: "1ef15b4fa99e8a852412450ab78713aad30d21fa6966c9b8c9fb3262a970dc62950d4dd4ed625982\
             29b1b72794fc0335199d9f7fcc6eaedde92cc04870e63f16",
        session_key: "42afde6f5aca0cfa5c163763fbad55e73a41db6b41bc87b8e7b62214a8eedc6731fa3cb857d657ab\
             9b3764b89a84e91ebcb4785166fbb02cedfcbdfda215b96f",
    },
    Vector {
        client_identity: Some("616c696365"),
        server_identity: Some("626f62"),
        password: "436f7272656374486f72736542617474657279537461706c65",
        oprf_seed: "f433d0227b0b9dd54f7c4422b600e764e47fb503f1f9a0f0a47c6606b054a7fdc65347f1a08f277e\
             22358bbabe26f823fca82c7848e9a75661f4ec5d5c1989ef",
        credential_identifier: "31323334",
        server_private_key: "47451a85372f8b3537e249d7b54188091fb18edde78094b43e2ba42b5eb89f0d",
        server_public_key: "b2fe7af9f48cc502d016729d2fe25cdd433f2c4bc904660b2a382c9b79df1a78",
        blind_registration: "76cfbfe758db884bebb33582331ba9f159720ca8784a2a070a265d9c2d6abe01",
        envelope_nonce: "ac13171b2f17bc2c74997f0fce1e1f35bec6b91fe2e12dbd323d23ba7a38dfec",
        blind_login: "6ecc102d2e7a7cf49617aad7bbe188556792d4acd60a1a8a8d2b65d4b0790308",
        client_nonce: "da7e07376d6d6f034cfa9bb537d11b8c6b4238c334333d1f0aebb380cae6a6cc",
        client_keyshare_seed: "82850a697b42a505f5b68fcdafce8c31f0af2b581f063cf1091933541936304b",
        masking_nonce: "38fe59af0df2c79f57b8780278f5ae47355fe1f817119041951c80f612fdfc6d",
        server_nonce: "71cd9960ecef2fe0d0f7494986fa3d8b2bb01963537e60efb13981e138e3d4a1",
        server_keyshare_seed: "05a4f54206eef1ba2f615bc0aa285cb22f26d1153b5b40a1e85ff80da12f982f",
        registration_request: "5059ff249eb1551b7ce4991f3336205bde44a105a032e747d21bf382e75f7a71",
        registration_response: "7408a268083e03abc7097fc05b587834539065e86fb0c7b6342fcf5e01e5b019b2fe7af9f48cc502\
             d016729d2fe25cdd433f2c4bc904660b2a382c9b79df1a78",
        registration_upload: "76a845464c68a5d2f7e442436bb1424953b17d3e2e289ccbaccafb57ac5c36751ac5844383c77080\
             77dea41cbefe2fa15724f449e535dd7dd562e66f5ecfb95864eadddec9db5874959905117dad40a4\
             524111849799281fefe3c51fa82785c5ac13171b2f17bc2c74997f0fce1e1f35bec6b91fe2e12dbd\
             323d23ba7a38dfec1ac902dc5589e9a5f0de56ad685ea8486210ef41449cd4d8712828913c5d2b68\
             0b2b3af4a26c765cff329bfb66d38ecf1d6cfa9e7a73c222c6efe0d9520f7d7c",
        ke1: "c4dedb0ba6ed5d965d6f250fbe554cd45cba5dfcce3ce836e4aee778aa3cd44dda7e07376d6d6f03\
             4cfa9bb537d11b8c6b4238c334333d1f0aebb380cae6a6cc6e29bee50701498605b2c085d7b241ca\
             15ba5c32027dd21ba420b94ce60da326",
        ke2: "7e308140890bcde30cbcea28b01ea1ecfbd077cff62c4def8efa075aabcbb47138fe59af0df2c79f\
             57b8780278f5ae47355fe1f817119041951c80f612fdfc6dd6ec60bcdb26dc455ddf3e718f102049\
             0c192d70dfc7e403981179d8073d1146a4f9aa1ced4e4cd984c657eb3b54ced3848326f70331953d\
             91b02535af44d9fea502150b67fe36795dd8914f164e49f81c7688a38928372134b7dccd50e09f8f\
             ed9518b7b2f94835b3c4fe4c8475e7513f20eb97ff0568a39caee3fd6251876f71cd9960ecef2fe0\
             d0f7494986fa3d8b2bb01963537e60efb13981e138e3d4a1c4f62198a9d6fa9170c42c3c71f1971b\
             29eb1d5d0bd733e40816c91f7912cc4a292371e7809a9031743e943fb3b56f51de903552fc91fba4\
             e7419029951c3970b2e2f0a9dea218d22e9e4e0000855bb6421aa3610d6fc0f4033a6517030d4341",
        ke3: "7a026de1d6126905736c3f6d92463a08d209833eb793e46d0f7f15b3e0f62c7643763c02bbc6b8d3\
             d15b63250cae98171e9260f1ffa789750f534ac11a0176d5",
        export_key: "1ef15b4fa99e8a852412450ab78713aad30d21fa6966c9b8c9fb3262a970dc62950d4dd4ed625982\
             29b1b72794fc0335199d9f7fcc6eaedde92cc04870e63f16",
        session_key: "ae7951123ab5befc27e62e63f52cf472d6236cb386c968cc47b7e34f866aa4bc7638356a73cfce92\
             becf39d6a7d32a1861f12130e824241fe6cab34fbd471a57",
    },
];

/// The answer to whoever asks for a user who does not exist.
struct FakeVector {
    client_identity: &'static str,
    server_identity: &'static str,
    oprf_seed: &'static str,
    credential_identifier: &'static str,
    server_private_key: &'static str,
    client_public_key: &'static str,
    masking_key: &'static str,
    masking_nonce: &'static str,
    server_nonce: &'static str,
    server_keyshare_seed: &'static str,
    ke1: &'static str,
    ke2: &'static str,
}

const FAKE: FakeVector = FakeVector {
    client_identity: "616c696365",
    server_identity: "626f62",
    oprf_seed: "743fc168d1f826ad43738933e5adb23da6fb95f95a1b069f0daa0522d0a78b617f701fc6aa46d3e7\
         981e70de7765dfcd6b1e13e3369a582eb8dc456b10aa53b0",
    credential_identifier: "31323334",
    server_private_key: "c788585ae8b5ba2942b693b849be0c0426384e41977c18d2e81fbe30fd7c9f06",
    client_public_key: "84f43f9492e19c22d8bdaa4447cc3d4db1cdb5427a9f852c4707921212c36251",
    masking_key: "39ebd51f0e39a07a1c2d2431995b0399bca9996c5d10014d6ebab4453dc10ce5cef38ed3df6e56bf\
         ff40c2d8dd4671c2b4cf63c3d54860f31fe40220d690bb71",
    masking_nonce: "9c035896a043e70f897d87180c543e7a063b83c1bb728fbd189c619e27b6e5a6",
    server_nonce: "1e10f6eeab2a7a420bf09da9b27a4639645622c46358de9cf7ae813055ae2d12",
    server_keyshare_seed: "360b0937f47d45f6123a4d8f0d0c0814b6120d840ebb8bc5b4f6b62df07f78c2",
    ke1: "b0a26dcaca2230b8f5e4b1bcab9c84b586140221bb8b2848486874b0be44890542d4e61ed3f8d64c\
         dd3b9d153343eca15b9b0d5e388232793c6376bd2d9cfd0ab641d7f20a245a09f1d4dbb6e301661a\
         f7f352beb0791d055e48d3645232f77f",
    ke2: "928f79ad8df21963e91411b9f55165ba833dea918f441db967cdc09521d229259c035896a043e70f\
         897d87180c543e7a063b83c1bb728fbd189c619e27b6e5a632b5ab1bff96636144faa4f9f9afaac7\
         5dd88ea99cf5175902ae3f3b2195693f165f11929ba510a5978e64dcdabecbd7ee1e4380ce270e58\
         fea58e6462d92964a1aaef72698bca1c673baeb04cc2bf7de5f3c2f5553464552d3a0f7698a9ca7f\
         9c5e70c6cb1f706b2f175ab9d04bbd13926e816b6811a50b4aafa9799d5ed7971e10f6eeab2a7a42\
         0bf09da9b27a4639645622c46358de9cf7ae813055ae2d1298251c5ba55f6b0b2d58d9ff0c88fe41\
         76484be62a96db6e2a8c4d431bd1bf27fe6c1d0537603835217d42ebf7b2581982732e74892fd282\
         11b31ed33863f0beaf75ba6f59474c0aaf9d78a60a9b2f4cd24d7ab54131b3c8efa192df6b72db4c",
};

/// Gives the prescribed bytes, one request after another, and nothing else.
struct Prescribed(VecDeque<u8>);

impl Prescribed {
    fn new(parts: &[&[u8]]) -> Self {
        Self(parts.concat().into())
    }

    #[track_caller]
    fn assert_used_up(&self) {
        assert!(
            self.0.is_empty(),
            "{} bytes were not asked for",
            self.0.len()
        );
    }
}

impl RngCore for Prescribed {
    fn next_u32(&mut self) -> u32 {
        panic!("the suite asks for bytes only")
    }

    fn next_u64(&mut self) -> u64 {
        panic!("the suite asks for bytes only")
    }

    fn fill_bytes(&mut self, output: &mut [u8]) {
        for byte in output {
            *byte = self.0.pop_front().expect("more was asked for");
        }
    }

    fn try_fill_bytes(&mut self, output: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(output);
        Ok(())
    }
}

impl CryptoRng for Prescribed {}

fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text}");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

/// A scalar is drawn as 64 bytes and reduced; one that is reduced already comes out
/// as it is with zeros behind it.
fn scalar(text: &str) -> Vec<u8> {
    let mut bytes = unhex(text);
    bytes.resize(64, 0);
    bytes
}

fn setup(oprf_seed: &str, private_key: &str, fake_public_key: &str) -> ServerSetup {
    let bytes = [oprf_seed, private_key, fake_public_key]
        .map(unhex)
        .concat();
    ServerSetup::deserialize(&bytes).expect("keys")
}

impl Vector {
    fn setup(&self) -> ServerSetup {
        // With a record nothing touches the fake one's key: any key will do.
        setup(
            self.oprf_seed,
            self.server_private_key,
            self.server_public_key,
        )
    }

    fn with_identifiers<T>(&self, use_them: impl FnOnce(Identifiers<'_>) -> T) -> T {
        let (client, server) = (
            self.client_identity.map(unhex),
            self.server_identity.map(unhex),
        );
        use_them(Identifiers {
            client: client.as_deref(),
            server: server.as_deref(),
        })
    }

    /// Registers, and compares every message.
    fn register(&self) -> Record {
        let (password, setup) = (unhex(self.password), self.setup());
        let mut rng = Prescribed::new(&[&scalar(self.blind_registration)]);
        let (state, request) = steps::registration_request(&mut rng, &password).expect("started");
        rng.assert_used_up();
        assert_eq!(request, unhex(self.registration_request)[..]);

        let credential_identifier = unhex(self.credential_identifier);
        let response = steps::registration_response(&setup, &credential_identifier, &request)
            .expect("answered");
        assert_eq!(response, unhex(self.registration_response)[..]);

        let mut rng = Prescribed::new(&[&unhex(self.envelope_nonce)]);
        let (record, export_key) = self
            .with_identifiers(|identifiers| {
                steps::registration_record(
                    &mut rng,
                    state,
                    &password,
                    &Stretcher::Identity,
                    identifiers,
                    &response,
                )
            })
            .expect("registered");
        rng.assert_used_up();
        assert_eq!(export_key.expose()[..], unhex(self.export_key)[..]);
        assert_eq!(record.serialize()[..], unhex(self.registration_upload)[..]);
        record
    }
}

#[test]
fn registrations_are_as_published() {
    for vector in &VECTORS {
        vector.register();
    }
}

#[test]
fn logins_are_as_published() {
    for vector in &VECTORS {
        let record = vector.register();
        let (password, context) = (unhex(vector.password), unhex(CONTEXT));
        let mut rng = Prescribed::new(&[
            &scalar(vector.blind_login),
            &unhex(vector.client_keyshare_seed),
            &unhex(vector.client_nonce),
        ]);
        let (client, ke1) = steps::login_request(&mut rng, &password).expect("started");
        rng.assert_used_up();
        assert_eq!(ke1, unhex(vector.ke1)[..]);

        vector.with_identifiers(|identifiers| {
            let terms = Terms {
                context: &context,
                identifiers,
            };
            let mut rng = Prescribed::new(&[
                // The masking key of a fake record, which is drawn in any case.
                &[0; 64],
                &unhex(vector.masking_nonce),
                &unhex(vector.server_keyshare_seed),
                &unhex(vector.server_nonce),
            ]);
            let (server, ke2) = steps::login_response(
                &mut rng,
                &vector.setup(),
                Some(record),
                &unhex(vector.credential_identifier),
                terms,
                &ke1,
            )
            .expect("answered");
            rng.assert_used_up();
            assert_eq!(ke2, unhex(vector.ke2)[..]);

            let (ke3, export_key, session_key) = steps::login_proof(
                &mut Prescribed::new(&[]),
                client,
                &password,
                &Stretcher::Identity,
                terms,
                &ke2,
            )
            .expect("proved");
            assert_eq!(ke3, unhex(vector.ke3)[..]);
            assert_eq!(export_key.expose()[..], unhex(vector.export_key)[..]);
            assert_eq!(session_key.expose()[..], unhex(vector.session_key)[..]);

            let shared = steps::login_verdict(server, terms, &ke3).expect("proved");
            assert!(shared.same_as(&session_key));
        });
    }
}

#[test]
fn the_answer_for_an_unknown_user_is_as_published() {
    let (client, server) = (unhex(FAKE.client_identity), unhex(FAKE.server_identity));
    let terms = Terms {
        context: &unhex(CONTEXT),
        identifiers: Identifiers {
            client: Some(&client),
            server: Some(&server),
        },
    };
    let mut rng = Prescribed::new(&[
        &unhex(FAKE.masking_key),
        &unhex(FAKE.masking_nonce),
        &unhex(FAKE.server_keyshare_seed),
        &unhex(FAKE.server_nonce),
    ]);
    let setup = setup(
        FAKE.oprf_seed,
        FAKE.server_private_key,
        FAKE.client_public_key,
    );
    let (_, ke2) = steps::login_response(
        &mut rng,
        &setup,
        None,
        &unhex(FAKE.credential_identifier),
        terms,
        &unhex(FAKE.ke1),
    )
    .expect("answered");
    rng.assert_used_up();
    assert_eq!(ke2, unhex(FAKE.ke2)[..]);
}

#[test]
fn another_context_than_the_servers_is_refused() {
    let vector = &VECTORS[1];
    let record = vector.register();
    let password = unhex(vector.password);
    let mut rng = super::randomness::Randomness::draw().expect("random");
    vector.with_identifiers(|identifiers| {
        let terms = |context| Terms {
            context,
            identifiers,
        };
        let (client, ke1) = steps::login_request(&mut rng, &password).expect("started");
        let (_, ke2) = steps::login_response(
            &mut rng,
            &vector.setup(),
            Some(record),
            &unhex(vector.credential_identifier),
            terms(b"one"),
            &ke1,
        )
        .expect("answered");
        let refused = steps::login_proof(
            &mut rng,
            client,
            &password,
            &Stretcher::Identity,
            terms(b"two"),
            &ke2,
        );
        assert!(matches!(refused.err(), Some(OpaqueError::Refused)));
    });
}
