//! Ed25519 against Wycheproof, RFC 8032, CCTV and "Taming the many EdDSAs".
