//! Stores a password and checks it: strength, hash, comparison, rehash, pepper.
//!
//! `cargo run -p sealmoot-crypto --features strength --example hash_a_password`

use std::error::Error;

use sealmoot_crypto::keyset::Keyset;
use sealmoot_crypto::passphrase::{Passphrase, words_for_bits};
use sealmoot_crypto::password::pepper::PepperedRecord;
use sealmoot_crypto::password::{Cost, PasswordRecord, verify_nobody};

fn main() -> Result<(), Box<dyn Error>> {
    let weak = "p4ssw0rd";
    let passphrase = Passphrase::generate(words_for_bits(64))?;
    let password = passphrase.text().expose();
    println!(
        "a passphrase of {} words has {:.1} bits of entropy",
        passphrase.words(),
        passphrase.entropy_bits()
    );

    #[cfg(feature = "strength")]
    for password in [weak, std::str::from_utf8(password)?] {
        let strength = sealmoot_crypto::password::strength::estimate(password, &["alice"]);
        let length = password.chars().count();
        println!(
            "a password of {length} characters scores {} of 4",
            strength.score
        );
        if let Some(warning) = strength.warning {
            println!("  because {warning}");
        }
        for suggestion in &strength.suggestions {
            println!("  so {suggestion}");
        }
        println!(
            "  guessed at a thousand a second in: {}",
            strength.time_to_guess(1000.0)
        );
    }

    let stored = PasswordRecord::hash(password, Cost::OWASP)?.to_phc();
    println!("stored: {stored}");

    let record = PasswordRecord::from_phc(&stored)?;
    println!("the right password matches: {}", record.verify(password)?);
    println!("a wrong one matches: {}", record.verify(weak.as_bytes())?);
    println!(
        "nobody's password matches, after the same work: {}",
        verify_nobody(password, Cost::OWASP)?
    );
    println!(
        "to be hashed anew for {:?}: {}",
        Cost::SERVER.name(),
        record.needs_rehash(Cost::SERVER)
    );

    // The pepper lives elsewhere than the table of records.
    let mut pepper = Keyset::generate()?;
    let version = 1;
    let sealed = PepperedRecord::hash(password, Cost::SERVER, &pepper, b"alice", version)?;
    println!("sealed under a pepper: {} bytes", sealed.to_bytes().len());
    println!(
        "alice's record opens for alice: {}, for bob: {}, for an older version: {}",
        sealed.open(&pepper, b"alice", version).is_ok(),
        sealed.open(&pepper, b"bob", version).is_ok(),
        sealed.open(&pepper, b"alice", version - 1).is_ok()
    );

    let old = pepper.primary_id();
    let new = pepper.add()?;
    pepper.promote(new)?;
    println!(
        "after a change of the pepper, due: {}",
        sealed.needs_rotation(&pepper)
    );
    let rotated = sealed.rotate(&pepper, b"alice", version)?;
    pepper.destroy(old)?;
    println!(
        "rotated without the password, the password matches: {}",
        rotated.verify(password, &pepper, b"alice", version)?
    );
    Ok(())
}
