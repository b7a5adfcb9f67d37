//! Payloads into records.

use std::fmt;
use std::time::Instant;

use zeroize::Zeroize;

use super::super::cipher::CipherKey;
use super::super::error::SendError;
use super::super::limits::{FLAGS_BYTES, FRAGMENT_BYTES_MAX, PREFIX_BYTES, TAG_BYTES};
use super::{FLAG_CLOSE, FLAG_LAST, FLAG_REKEY, TransportSettings};

/// The sending direction of a channel.
pub struct SendHalf {
    /// Gone after the first failure.
    key: Option<CipherKey>,
    settings: TransportSettings,
    /// Bytes of Noise messages under the present key.
    bytes: u64,
    /// When the present key came.
    since: Instant,
}

impl SendHalf {
    pub(super) fn new(key: CipherKey, settings: TransportSettings, now: Instant) -> Self {
        Self {
            key: Some(key),
            settings,
            bytes: 0,
            since: now,
        }
    }

    /// Appends `payload` to `out` as records, one for each 65,518 bytes; an
    /// empty payload is a record too.
    ///
    /// # Errors
    /// [`SendError`]. After [`SendError::PayloadTooLong`] nothing is written
    /// and the channel goes on; after any other it is dead, and `out` is as it
    /// was.
    pub fn seal(
        &mut self,
        payload: &[u8],
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        if self.key.is_none() {
            return Err(SendError::Dead);
        }
        if payload.len() > self.settings.payload_bytes_max {
            return Err(SendError::PayloadTooLong);
        }
        let start = out.len();
        let records = payload.len().div_ceil(FRAGMENT_BYTES_MAX).max(1);
        out.reserve(payload.len() + records * (PREFIX_BYTES + FLAGS_BYTES + TAG_BYTES));
        let mut rest = payload;
        while let Some((fragment, more)) = rest.split_at_checked(FRAGMENT_BYTES_MAX)
            && !more.is_empty()
        {
            self.record(0, fragment, now, out)
                .inspect_err(|_| out.truncate(start))?;
            rest = more;
        }
        self.record(FLAG_LAST, rest, now, out)
            .inspect_err(|_| out.truncate(start))
    }

    /// Appends the close, after which nothing more can be sent: only with it
    /// does the end of the stream mean that nothing is missing.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn close(mut self, now: Instant, out: &mut Vec<u8>) -> Result<(), SendError> {
        self.record(FLAG_CLOSE, &[], now, out)
    }

    fn record(
        &mut self,
        mut flags: u8,
        fragment: &[u8],
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        let mut key = self.key.take().ok_or(SendError::Dead)?;
        let message_bytes = FLAGS_BYTES + fragment.len() + TAG_BYTES;
        let length = u16::try_from(message_bytes).expect("a fragment fits a Noise message");
        self.bytes += u64::from(length);
        let due = self.bytes >= self.settings.rekey_bytes
            || now.saturating_duration_since(self.since) >= self.settings.rekey_age;
        let rekey = due && flags != FLAG_CLOSE;
        if rekey {
            flags |= FLAG_REKEY;
        }
        let start = out.len() + PREFIX_BYTES;
        out.extend_from_slice(&length.to_be_bytes());
        out.push(flags);
        out.extend_from_slice(fragment);
        let Ok(tag) = key.seal(&[], &mut out[start..]) else {
            // Still plaintext.
            out[start..].zeroize();
            out.truncate(start - PREFIX_BYTES);
            return Err(SendError::Exhausted);
        };
        out.extend_from_slice(&tag);
        if rekey {
            key.rekey();
            self.bytes = 0;
            self.since = now;
        }
        self.key = Some(key);
        Ok(())
    }

    #[cfg(test)]
    pub(in super::super) fn key_mut(&mut self) -> &mut CipherKey {
        self.key.as_mut().expect("alive")
    }

    #[cfg(test)]
    pub(in super::super) fn count_bytes(&mut self, bytes: u64) {
        self.bytes += bytes;
    }
}

impl fmt::Debug for SendHalf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SendHalf(redacted)")
    }
}
