//! RSA signatures against Wycheproof.
