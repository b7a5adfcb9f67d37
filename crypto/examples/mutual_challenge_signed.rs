//! Two parties prove to each other that they hold their Ed25519 keys.
//!
//! ```text
//! alice -> bob    nonce of alice
//! bob   -> alice  nonce of bob, signature of bob
//! alice -> bob    signature of alice
//! ```
//!
//! Each signs what both have seen: version, both identities, both nonces, and the
//! role in which it signs. The nonces make every run different, so a signature of an
//! earlier run is no use; the role makes the two signatures of one run different, so
//! neither can be sent back to whoever made it.
//!
//! Not shown: over a network both would also sign what identifies the channel
//! (RFC 9266 for TLS), so that nobody in the middle can hand the proofs on.
//!
//! Run with `cargo run -p sealmoot-crypto --example mutual_challenge_signed`.

use std::error::Error;

use sealmoot_crypto::encoding::Writer;
use sealmoot_crypto::random;
use sealmoot_crypto::signature::{BadSignature, Signature, SigningKey, VerifyingKey};

const DOMAIN: &str = "example mutual challenge";
const VERSION: u16 = 1;

type Nonce = [u8; 32];

#[derive(Clone, Copy)]
enum Role {
    Initiator,
    Responder,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Initiator => "initiator",
            Self::Responder => "responder",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

/// One side of one run. The nonce is drawn here and used once: proving takes the run
/// by reference, but verifying consumes it, whether it succeeds or not.
struct Run<'a> {
    own: &'a SigningKey,
    peer: VerifyingKey,
    role: Role,
    own_nonce: Nonce,
}

impl<'a> Run<'a> {
    fn begin(own: &'a SigningKey, peer: VerifyingKey, role: Role) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            own,
            peer,
            role,
            own_nonce: random::array()?,
        })
    }

    fn prove(&self, peer_nonce: &Nonce) -> Signature {
        let transcript = self.transcript(peer_nonce, self.role);
        self.own.sign(DOMAIN, &transcript)
    }

    fn verify(self, peer_nonce: &Nonce, proof: &Signature) -> Result<(), BadSignature> {
        let transcript = self.transcript(peer_nonce, self.role.other());
        self.peer.verify(DOMAIN, &transcript, proof)
    }

    /// What `signer` signs. Every part has its length in front of it, so no two
    /// transcripts have the same bytes.
    fn transcript(&self, peer_nonce: &Nonce, signer: Role) -> Vec<u8> {
        let own_id = self.own.verifying_key().key_id();
        let peer_id = self.peer.key_id();
        let (own, peer) = (
            (own_id.as_bytes(), &self.own_nonce),
            (peer_id.as_bytes(), peer_nonce),
        );
        let (initiator, responder) = match self.role {
            Role::Initiator => (own, peer),
            Role::Responder => (peer, own),
        };
        let mut writer = Writer::new();
        writer.text(DOMAIN);
        writer.bytes(&VERSION.to_le_bytes());
        writer.bytes(initiator.0);
        writer.bytes(responder.0);
        writer.bytes(initiator.1);
        writer.bytes(responder.1);
        writer.text(signer.name());
        writer.finish()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (alice, bob) = (SigningKey::generate()?, SigningKey::generate()?);
    let (alice_public, bob_public) = (alice.verifying_key(), bob.verifying_key());
    println!("alice is {}", alice_public.key_id());
    println!("bob is   {}", bob_public.key_id());

    // An honest run.
    let at_alice = Run::begin(&alice, bob_public, Role::Initiator)?;
    let at_bob = Run::begin(&bob, alice_public, Role::Responder)?;
    let (alice_nonce, bob_nonce) = (at_alice.own_nonce, at_bob.own_nonce);
    let bobs_proof = at_bob.prove(&alice_nonce);
    let alices_proof = at_alice.prove(&bob_nonce);
    at_alice.verify(&bob_nonce, &bobs_proof)?;
    println!("alice accepts bob's proof");
    at_bob.verify(&alice_nonce, &alices_proof)?;
    println!("bob accepts alice's proof");

    // Replay: an attacker has recorded that run and plays alice's part again. Bob's
    // nonce is another one now.
    let at_bob = Run::begin(&bob, alice_public, Role::Responder)?;
    expect_refused(
        "alice's proof of an earlier run",
        at_bob.verify(&alice_nonce, &alices_proof),
    )?;

    // Reflection: an attacker who calls alice has no key of bob's, and sends back to
    // her what she said herself, nonce and proof.
    let at_alice = Run::begin(&alice, bob_public, Role::Initiator)?;
    let own_nonce = at_alice.own_nonce;
    let own_proof = at_alice.prove(&own_nonce);
    expect_refused(
        "alice's own nonce and proof, sent back to her",
        at_alice.verify(&own_nonce, &own_proof),
    )?;

    // The same between a key and itself: the identities are equal, the role still
    // keeps the two proofs apart.
    let at_alice = Run::begin(&alice, alice_public, Role::Initiator)?;
    let own_nonce = at_alice.own_nonce;
    let own_proof = at_alice.prove(&own_nonce);
    expect_refused(
        "the same where alice is both parties",
        at_alice.verify(&own_nonce, &own_proof),
    )?;

    // Somebody else who answers for bob.
    let mallory = SigningKey::generate()?;
    let at_mallory = Run::begin(&mallory, alice_public, Role::Responder)?;
    let at_alice = Run::begin(&alice, bob_public, Role::Initiator)?;
    let proof = at_mallory.prove(&at_alice.own_nonce);
    expect_refused(
        "mallory's proof in bob's place",
        at_alice.verify(&at_mallory.own_nonce, &proof),
    )?;
    Ok(())
}

fn expect_refused(what: &str, outcome: Result<(), BadSignature>) -> Result<(), Box<dyn Error>> {
    match outcome {
        Err(error) => {
            println!("refused: {what} ({error})");
            Ok(())
        }
        Ok(()) => Err(format!("accepted: {what}").into()),
    }
}
