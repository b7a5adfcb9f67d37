//! X25519 against Wycheproof and RFC 7748.
