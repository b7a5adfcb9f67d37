//! Merkle trees with proofs of inclusion and consistency (RFC 9162).
