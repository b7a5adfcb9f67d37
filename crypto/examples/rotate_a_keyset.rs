//! A keyset is rotated, stored for a passphrase and a recovery key, and loaded again.

use sealmoot_crypto::keyset::Keyset;
use sealmoot_crypto::password::Cost;
use sealmoot_crypto::sealed_box::{Kem, PrivateKey};
use sealmoot_crypto::sealed_file::{Opener, Recipients};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut keyset = Keyset::generate()?;
    let (first, _) = keyset.keys().next().ok_or("a keyset has a key")?;
    let old = keyset.seal("invoice", b"customer 7", b"42 EUR")?;
    println!("One key seals an invoice: {keyset:08x?}");

    let second = keyset.rotate()?;
    let new = keyset.seal("invoice", b"customer 8", b"43 EUR")?;
    println!("Key {second:08x} seals from now on: {keyset:08x?}");
    keyset.open("invoice", b"customer 7", &old)?;
    println!("The old invoice still opens.");

    let recovery = PrivateKey::generate(Kem::XWing)?;
    let recovery_public = recovery.public_key();
    let recipients = Recipients::new()
        .passphrase(b"hip roast lamp", Cost::OWASP)
        .public_key(&recovery_public);
    let stored = keyset.seal_to(&recipients, "example: invoices")?;
    println!("Stored in {} bytes.", stored.len());

    let wrong = Opener::passphrase(b"hip toast lamp");
    if let Err(refusal) = Keyset::open_from(&wrong, "example: invoices", &stored) {
        println!("A wrong passphrase: {refusal}.");
    }
    let opener = Opener::private_key(&recovery);
    let mut keyset = Keyset::open_from(&opener, "example: invoices", &stored)?;
    println!("The recovery key opens it: {keyset:08x?}");

    // What the old key sealed is sealed again, then the key goes.
    let text = keyset.open("invoice", b"customer 7", &old)?;
    let renewed = keyset.seal("invoice", b"customer 7", text.expose())?;
    keyset.disable(first)?;
    if keyset.open("invoice", b"customer 7", &old).is_err() {
        println!("Key {first:08x} is disabled: the old box is closed.");
    }
    keyset.enable(first)?;
    keyset.open("invoice", b"customer 7", &old)?;
    println!("Enabled again, it opens: nothing was lost by trying.");
    keyset.destroy(first)?;
    for (customer, sealed) in [(b"customer 7", &renewed), (b"customer 8", &new)] {
        keyset.open("invoice", customer, sealed)?;
    }
    println!("Key {first:08x} is destroyed; all invoices open: {keyset:08x?}");
    Ok(())
}
