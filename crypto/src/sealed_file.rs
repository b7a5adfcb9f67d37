//! Files sealed to passphrases, keysets and public keys, one or many.
