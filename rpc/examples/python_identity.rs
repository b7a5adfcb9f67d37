//! Writes an Ed25519 key and its certificate as PEM, for TLS libraries that know
//! no raw public keys, such as Python's: `python_identity KEY.pem CERT.pem`.
//!
//! `KEY.pem` is used when it is there and made, readable by its owner alone,
//! when it is not. Prints the key's id, which servers know its holder by.

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sealmoot_crypto::hazmat::pem;
use sealmoot_crypto::signature::SigningKey;
use sealmoot_rpc::tls::self_signed_certificate;
use zeroize::Zeroizing;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [key_path, certificate_path] = &arguments[..] else {
        return Err("usage: python_identity KEY.pem CERT.pem".into());
    };
    let key = key_at(Path::new(key_path))?;
    let certificate = STANDARD.encode(self_signed_certificate(&key));
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in certificate.as_bytes().chunks(64) {
        text.push_str(str::from_utf8(line)?);
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    fs::write(certificate_path, text)?;
    println!("{}", key.verifying_key().key_id());
    Ok(())
}

fn key_at(path: &Path) -> Result<SigningKey, Box<dyn Error>> {
    match fs::read(path) {
        Ok(text) => return Ok(pem::signing_key_from_pem(&Zeroizing::new(text))?),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let key = SigningKey::generate()?;
    // Never over another file, and never readable by others, not even at first.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(pem::signing_key_to_pem(&key).expose())?;
    file.sync_all()?;
    Ok(key)
}
