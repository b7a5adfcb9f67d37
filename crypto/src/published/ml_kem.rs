//! ML-KEM-768 against Wycheproof.
