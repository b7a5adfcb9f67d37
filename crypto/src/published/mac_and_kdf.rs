//! HMAC and HKDF against Wycheproof, RFC 4231 and RFC 5869; BLAKE3 against its own vectors.
