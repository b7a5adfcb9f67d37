//! Ed25519 keys as OpenSSH names and carries them: blobs and fingerprints. Files are
//! read by [`sealmoot_crypto::hazmat::openssh`].

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sealmoot_crypto::digest::sha256;
use sealmoot_crypto::signature::VerifyingKey;

/// The type of key that is taken.
pub const ED25519: &str = "ssh-ed25519";
/// Length of the blob of such a key: its type and its 32 bytes, each behind a length.
pub const BLOB_LENGTH: usize = 4 + ED25519.len() + 4 + 32;

/// The key as a blob (RFC 8709, section 4).
#[must_use]
pub fn blob(key: &VerifyingKey) -> [u8; BLOB_LENGTH] {
    let mut blob = [0; BLOB_LENGTH];
    let (key_type, public) = blob.split_at_mut(4 + ED25519.len());
    // Both lengths are below 256: their last byte is all there is to them.
    key_type[3] = ED25519.len() as u8;
    key_type[4..].copy_from_slice(ED25519.as_bytes());
    public[3] = 32;
    public[4..].copy_from_slice(&key.to_bytes());
    blob
}

/// The fingerprint of a blob, as `ssh-add -l` prints it: `SHA256:` and the digest in
/// base64 without padding.
#[must_use]
pub fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(sha256(blob)))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made by `ssh-keygen -t ed25519`, fingerprint by `ssh-keygen -l`.
    const LINE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAq6CnKIHuBcWa4uptQbGx2gqn4i5ifHVRLQSQler4tN";
    const FINGERPRINT: &str = "SHA256:k31OzyVhDX+rLZ/SLVzYXffCgV25DCTYhFEQNloP52A";

    #[test]
    fn a_fingerprint_is_the_one_that_openssh_prints() {
        let (key, _) = sealmoot_crypto::hazmat::openssh::public_from_line(LINE).expect("a key");
        assert_eq!(fingerprint(&blob(&key)), FINGERPRINT);
    }
}
