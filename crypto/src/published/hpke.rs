//! HPKE against RFC 9180 and X-Wing against its draft.
