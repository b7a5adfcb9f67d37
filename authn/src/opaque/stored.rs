//! What is stored keeps its meaning: a realm and a user made once must be able to log
//! in for ever, or all users of all realms are locked out by one change.

use sealmoot_crypto::encoding::Reader;
use sealmoot_crypto::signature::KeyId;
use sealmoot_rpc::ChannelBinding;

use super::*;
use crate::user_key;

// Made once, by this crate, for alice with the password "hip roast" in the realm of 32
// ones, stretched by 8 KiB and one pass.
const SECRETS: &str = "\
    01a61c811a6ffdc3cd9b9ca1bed16b31e1753007c485a8b94caa09cd66202de4\
    c2d0f75b01e400bea6c54adbd8a65ba28ed718a298edfbfe14e005f814a93bae\
    70340fc9ded2218d199f4fd804d3ed2a3d750420c37f6e2ff30df05dbfb94110\
    0ebcbb3c7215d09e5f1813deac0275c6200a02b781cdf698f44cd034caf3db5a\
    25";
const FILE: &str = "\
    e2b415c427041a1ba87503627e5fa905b797aa86c484294eace1112bf6ebde2e\
    f7836f167f74f830d66ece0bf8bf5d182c93b49e4dfe73844d2bd62d1b3704ca\
    caa462a3da025c451dbeff84364be39f2e3bd89438b096d9cb07dd2223e81000\
    110961b5e0c415c8c0717c61e3f3a561196fc03a7c0313beb23644f4bfa8ecbc\
    4d9ca1ccdbcd539b4d4bed50e21d1ae96385e8b8d0aae591c1572a21b95c6b0b\
    762fc16ca838f335d2054c0834e0e7d1ea6ae576b660a77c8953d30bed7d9a5b";
const SEALED_USER_KEY: &str = "\
    554413ae0655629db97354b52e1a43c78ef50b6f0daed503110cdfed7be58bb4\
    cbed947d97e05dfacbcb9a6a0d532e8748d87e19d819dd290720f19dc4e5b82f\
    8501341ef54c8d7c";
const USER_KEY: &str = "\
    7aa0688a91d551b3d0ec892120a8b1cd19189775bca39bc24b3c67e68d28e9f4";

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    let digits: Vec<u8> = hex
        .bytes()
        .map(|digit| char::from(digit).to_digit(16).expect("a digit") as u8)
        .collect();
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect();
    bytes.try_into().expect("as long as it says")
}

#[test]
fn a_user_of_the_first_day_logs_in() {
    let secrets = LoginSecrets::decode(&bytes::<LOGIN_SECRETS_LENGTH>(SECRETS)).expect("valid");
    let file = PasswordFile::decode(&mut Reader::new(&bytes::<PASSWORD_FILE_LENGTH>(FILE)));
    let file = file.expect("valid");
    let mut stretching = [0; STRETCHING_LENGTH];
    stretching[1..13].copy_from_slice(&[8u32, 1, 1].map(u32::to_le_bytes).concat());
    let stretching = Stretching::from_bytes(&stretching).expect("admitted");
    let realm = RealmId::from_bytes([1; 32]);
    let alice: Name = "alice".parse().expect("a name");
    let context = || LoginContext {
        realm,
        node: KeyId::from_bytes([2; 32]),
        channel: ChannelBinding::from_bytes([3; 32]),
        session: KeyId::from_bytes([4; 32]),
        user: alice.clone(),
    };
    let (client, ke1) = ClientLogin::start(b"hip roast", context()).expect("started");
    let (server, ke2) =
        ServerLogin::start(&secrets, Some(&file), context(), &ke1).expect("answered");
    let (ke3, export_key, _) = client.finish(stretching, &ke2).expect("the password");
    server.finish(&ke3).expect("the proof");
    let sealed = bytes::<{ user_key::SEALED_USER_KEY_LENGTH }>(SEALED_USER_KEY);
    let expected = sealmoot_crypto::signature::VerifyingKey::from_bytes(&bytes(USER_KEY));
    let expected = expected.expect("a key");
    assert!(user_key::open(&export_key, &realm, &alice, &sealed, &expected).is_some());
}
