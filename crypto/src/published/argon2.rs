//! Argon2id against RFC 9106.
