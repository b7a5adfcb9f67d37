//! ML-KEM-768 (FIPS 203): a shared secret that a quantum computer does not find.
