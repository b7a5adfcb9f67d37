//! AES-256-GCM, ChaCha20-Poly1305 and XChaCha20-Poly1305 against Wycheproof and RFC 8439.
