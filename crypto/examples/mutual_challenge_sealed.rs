//! Two parties prove who they are by opening what was sealed to their public keys:
//! the protocol of Needham and Schroeder (1978) as Lowe mended it (1995).
//!
//! ```text
//! Alice -> Bob    sealed to Bob:    nonce A, "alice"
//! Bob   -> Alice  sealed to Alice:  nonce A, nonce B, "bob"
//! Alice -> Bob    sealed to Bob:    nonce B
//! ```
//!
//! Only Bob can read nonce A, so whoever returns it is Bob; only Alice can read
//! nonce B. Lowe added Bob's name to the second message: without it Bob, when Alice
//! talks to him, can pass her messages on to Carol and be taken for Alice there.
//! Both nonces together, which nobody else has seen, give both sides a key.
//!
//! In new designs sign the nonces instead (`mutual_challenge_signed`): a signature
//! proves the same, and keys for sealing stay for sealing.
//!
//! `cargo run -p sealmoot-crypto --example mutual_challenge_sealed`

use std::error::Error;

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::kdf;
use sealmoot_crypto::sealed_box::{self, Kem, PrivateKey, PublicKey};
use sealmoot_crypto::secret::{SecretArray, SecretBytes};

/// Longest name in a message, in bytes.
const NAME_LENGTH_MAX: usize = 64;

type Nonce = SecretArray<32>;

struct Party {
    name: &'static str,
    key: PrivateKey,
}

impl Party {
    fn new(name: &'static str) -> Result<Self, Box<dyn Error>> {
        let key = PrivateKey::generate(Kem::XWing)?;
        Ok(Self { name, key })
    }

    /// The first message, to whoever holds the private half of `peer`.
    fn challenge(&self, nonce: &Nonce, peer: &PublicKey) -> Result<Vec<u8>, Box<dyn Error>> {
        let text = message(&[nonce], self.name);
        Ok(sealed_box::seal(peer, "challenge 1", b"", text.expose())?)
    }

    /// Takes the first message: the nonce in it, and who it says sent it.
    fn read_challenge(&self, sealed: &[u8]) -> Result<(Nonce, String), Box<dyn Error>> {
        let text = sealed_box::open(&self.key, "challenge 1", b"", sealed)?;
        let ([nonce], name) = parse(&text)?;
        Ok((nonce, name))
    }

    /// The second message: what was read is returned, with a challenge of one's own
    /// and one's name.
    fn answer(
        &self,
        theirs: &Nonce,
        ours: &Nonce,
        peer: &PublicKey,
    ) -> Result<Vec<u8>, Box<dyn Error>> {
        let text = message(&[theirs, ours], self.name);
        Ok(sealed_box::seal(peer, "challenge 2", b"", text.expose())?)
    }

    /// Takes the second message: the peer's nonce, when ours came back from `peer`.
    fn read_answer(
        &self,
        ours: &Nonce,
        peer: &str,
        sealed: &[u8],
    ) -> Result<Nonce, Box<dyn Error>> {
        let text = sealed_box::open(&self.key, "challenge 2", b"", sealed)?;
        let ([returned, theirs], name) = parse(&text)?;
        if !returned.same_as(ours) {
            return Err("the answer returns another nonce than ours".into());
        }
        if name != peer {
            return Err(format!("{} asked {peer}, and {name} answers", self.name).into());
        }
        Ok(theirs)
    }

    /// The third message returns the peer's nonce.
    fn confirm(&self, theirs: &Nonce, peer: &PublicKey) -> Result<Vec<u8>, Box<dyn Error>> {
        let text = message(&[theirs], self.name);
        Ok(sealed_box::seal(peer, "challenge 3", b"", text.expose())?)
    }

    fn read_confirmation(&self, ours: &Nonce, sealed: &[u8]) -> Result<(), Box<dyn Error>> {
        let text = sealed_box::open(&self.key, "challenge 3", b"", sealed)?;
        let ([returned], _) = parse(&text)?;
        if !returned.same_as(ours) {
            return Err("the confirmation returns another nonce than ours".into());
        }
        Ok(())
    }
}

fn message(nonces: &[&Nonce], name: &str) -> SecretBytes {
    let mut writer = Writer::with_capacity(nonces.len() * 32 + 4 + name.len());
    for nonce in nonces {
        writer.fixed(nonce.expose());
    }
    writer.text(name);
    SecretBytes::new(writer.finish())
}

fn parse<const N: usize>(text: &SecretBytes) -> Result<([Nonce; N], String), EncodingError> {
    let mut reader = Reader::new(text.expose());
    let mut nonces = [(); N].map(|()| SecretArray::from_bytes([0; 32]));
    for nonce in &mut nonces {
        nonce.expose_mut().copy_from_slice(reader.fixed(32)?);
    }
    let name = reader.text(NAME_LENGTH_MAX)?.to_owned();
    reader.finish()?;
    Ok((nonces, name))
}

/// The key that both nonces give, in the order in which they were drawn.
fn session_key(first: &Nonce, second: &Nonce) -> SecretArray<32> {
    let both = message(&[first, second], "");
    kdf::derive(both.expose(), "mutual challenge", b"")
}

fn main() -> Result<(), Box<dyn Error>> {
    let (alice, bob) = (Party::new("alice")?, Party::new("bob")?);
    let (of_alice, of_bob) = (alice.key.public_key(), bob.key.public_key());

    let nonce_a = Nonce::random()?;
    let first = alice.challenge(&nonce_a, &of_bob)?;
    println!("alice -> bob: {} bytes that only bob can open", first.len());

    let (seen_by_bob, claimed) = bob.read_challenge(&first)?;
    assert_eq!(claimed, "alice", "a claim only: bob answers to alice's key");
    let nonce_b = Nonce::random()?;
    let second = bob.answer(&seen_by_bob, &nonce_b, &of_alice)?;
    println!("bob -> alice: her nonce, his nonce, his name");

    let seen_by_alice = alice.read_answer(&nonce_a, "bob", &second)?;
    println!("alice knows that bob is there: nobody else could read her nonce");
    let third = alice.confirm(&seen_by_alice, &of_bob)?;
    bob.read_confirmation(&nonce_b, &third)?;
    println!("bob knows that alice is there");

    let same = session_key(&nonce_a, &seen_by_alice).same_as(&session_key(&seen_by_bob, &nonce_b));
    println!("both derived the same key: {same}");

    // Lowe's attack: alice talks to mallory, who passes her challenge on to bob in
    // her name and hands her bob's answer. Bob's name in it gives mallory away.
    let mallory = Party::new("mallory")?;
    let nonce_a = Nonce::random()?;
    let to_mallory = alice.challenge(&nonce_a, &mallory.key.public_key())?;
    let (stolen, _) = mallory.read_challenge(&to_mallory)?;
    let passed_on = Party {
        name: "alice",
        ..mallory
    }
    .challenge(&stolen, &of_bob)?;
    let (seen_by_bob, _) = bob.read_challenge(&passed_on)?;
    let second = bob.answer(&seen_by_bob, &Nonce::random()?, &of_alice)?;
    let refused = alice.read_answer(&nonce_a, "mallory", &second);
    println!(
        "mallory in the middle: {}",
        refused.expect_err("bob's name is in the answer")
    );

    // A recorded answer says nothing about who is there now.
    let replayed = alice.read_answer(&Nonce::random()?, "bob", &second);
    println!(
        "an old answer again: {}",
        replayed.expect_err("it returns an old nonce")
    );
    Ok(())
}
