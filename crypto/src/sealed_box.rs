//! Messages sealed to a public key: HPKE (RFC 9180) with X25519 or X-Wing.
