//! RSA signatures (RFC 8017) for what the world still hands us.
