//! Alice seals one file to Bob and Carol, and signs it.

use sealmoot_crypto::sealed_box::{Kem, PrivateKey};
use sealmoot_crypto::sealed_file::{self, ExpectedSender, Opener, Recipients, Sender};
use sealmoot_crypto::signature::SigningKey;

/// What is sealed here: never opens as anything else.
const CONTEXT: &str = "example: minutes of a meeting";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let alice = SigningKey::generate()?;
    let bob = PrivateKey::generate(Kem::XWing)?;
    let carol = PrivateKey::generate(Kem::X25519)?;
    let stranger = PrivateKey::generate(Kem::XWing)?;
    let (alice_public, bob_public, carol_public) =
        (alice.verifying_key(), bob.public_key(), carol.public_key());

    let recipients = Recipients::new()
        .public_key(&bob_public)
        .public_key(&carol_public)
        .sender(Sender::Signature(&alice));
    let sealed = sealed_file::seal(&recipients, CONTEXT, b"We meet at noon.")?;
    println!("Alice sealed {} bytes to Bob and Carol.", sealed.len());
    println!("Anyone sees: {:?}", sealed_file::inspect(&sealed)?);

    let from_alice = ExpectedSender::Signature(&alice_public);
    for (name, key) in [("Bob", &bob), ("Carol", &carol)] {
        let opener = Opener::private_key(key).expect_sender(from_alice);
        let text = sealed_file::open(&opener, CONTEXT, &sealed)?;
        let text = core::str::from_utf8(text.expose())?;
        println!("{name} reads, from Alice: {text}");
    }

    let opener = Opener::private_key(&stranger).expect_sender(from_alice);
    if let Err(refusal) = sealed_file::open(&opener, CONTEXT, &sealed) {
        println!("A stranger reads nothing: {refusal}.");
    }
    let mallory = SigningKey::generate()?.verifying_key();
    let opener = Opener::private_key(&bob).expect_sender(ExpectedSender::Signature(&mallory));
    if let Err(refusal) = sealed_file::open(&opener, CONTEXT, &sealed) {
        println!("Bob does not take it for Mallory's: {refusal}.");
    }
    if let Err(refusal) = sealed_file::open(&Opener::private_key(&bob), CONTEXT, &sealed) {
        println!("Nor does he read it without asking whose it is: {refusal}.");
    }
    Ok(())
}
