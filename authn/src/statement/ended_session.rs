//! That a session ended, said by the session itself.

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};

use super::Body;

/// Kind *ended session*, issued by the session key: what this key speaks for holds no
/// longer. So nobody ends a session by it who does not hold the session's key, a node
/// neither.
///
/// ```text
/// until u64
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedSession {
    /// When everything is over that the key can speak for, by itself: the end is
    /// remembered until then. In milliseconds since 1970.
    pub until_ms: u64,
}

impl Body for EndedSession {
    const KIND: u8 = 13;
    const DOMAIN: &'static str = "statement/ended-session";

    fn encode(&self, writer: &mut Writer) {
        writer.u64(self.until_ms);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        Ok(Self {
            until_ms: reader.u64()?,
        })
    }
}
