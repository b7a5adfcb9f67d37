//! Which codes were used: a value that only grows, so that nodes put together what
//! each knows in any order (RFC 6238, section 5.2: a code is accepted once).
//!
//! ```text
//! offset length
//!      0      8  latest step whose code counts no longer, little-endian
//!      8      2  bit n: the n-th recovery code was used, little-endian
//! ```

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};

use super::recovery::RECOVERY_CODES;
use super::totp::{STEP_MS, STEPS_OFF_MAX};

// Each recovery code has a bit.
const _: () = assert!(RECOVERY_CODES < 16);

/// A code that holds and was not used before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proven {
    /// By the clock: the code of this step.
    Step(u64),
    /// By paper: the code at this place of the sheet.
    Recovery(u8),
}

/// The used codes of one enrolment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    step: u64,
    recovery: u16,
}

impl Used {
    /// Whether the code was used, or a later one of its kind.
    #[must_use]
    pub fn holds(&self, proven: Proven) -> bool {
        match proven {
            // Earlier ones too: they were seen by whoever saw this one.
            Proven::Step(step) => step <= self.step,
            Proven::Recovery(place) => self.recovery & bit(place) != 0,
        }
    }

    /// Notes that a code was used.
    pub fn take(&mut self, proven: Proven, now_ms: u64) {
        match proven {
            Proven::Step(step) => self.step = self.step.max(step.min(latest_step(now_ms))),
            Proven::Recovery(place) => {
                self.recovery |= bit(place);
                // Codes that the clock has passed anyway: so the step tells when an
                // enrolment was used last, whatever it was used with.
                let passed = (now_ms / STEP_MS).saturating_sub(STEPS_OFF_MAX + 1);
                self.step = self.step.max(passed);
            }
        }
    }

    /// Adds what another node knows of the same enrolment; says whether it was news.
    pub fn merge(&mut self, other: &Self) -> bool {
        let before = *self;
        self.step = self.step.max(other.step);
        self.recovery |= other.recovery;
        *self != before
    }

    /// The same with no step beyond the latest whose code anybody can have used by
    /// `now_ms`, with the clocks as far apart as they may be. Who tells of a later one
    /// would keep the user out until then.
    #[must_use]
    pub fn within(self, now_ms: u64) -> Self {
        Self {
            step: self.step.min(latest_step(now_ms)),
            ..self
        }
    }

    /// How many recovery codes are left.
    #[must_use]
    pub fn recovery_codes_left(&self) -> usize {
        RECOVERY_CODES - self.recovery.count_ones() as usize
    }

    /// The step up to which no code counts.
    pub(crate) fn step(&self) -> u64 {
        self.step
    }

    /// Writes the encoding.
    pub fn encode(&self, writer: &mut Writer) {
        writer.u64(self.step);
        writer.fixed(&self.recovery.to_le_bytes());
    }

    /// Reads the encoding.
    ///
    /// # Errors
    /// When a bit stands for no code, or bytes are missing.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        let step = reader.u64()?;
        let recovery = u16::from_le_bytes(reader.array()?);
        if recovery >> RECOVERY_CODES != 0 {
            return Err(EncodingError::Invalid(
                "a used recovery code does not exist",
            ));
        }
        Ok(Self { step, recovery })
    }
}

/// A code of the next step counts already, by a clock that is a step ahead of this one.
fn latest_step(now_ms: u64) -> u64 {
    (now_ms / STEP_MS).saturating_add(STEPS_OFF_MAX + 1)
}

fn bit(place: u8) -> u16 {
    1 << place
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(step: u64, recovery: u16) -> Used {
        Used { step, recovery }
    }

    #[test]
    fn merging_in_any_order_any_number_of_times_is_the_same() {
        let parts = [used(7, 0b1), used(9, 0b100), used(0, 0b10)];
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
            let mut merged = Used::default();
            for index in order {
                merged.merge(&parts[index]);
                assert!(!merged.merge(&parts[index]));
            }
            assert_eq!(merged, used(9, 0b111));
        }
    }

    #[test]
    fn a_recovery_code_uses_up_no_code_that_the_clock_has_not_passed() {
        let mut used = Used::default();
        used.take(Proven::Recovery(3), 100 * STEP_MS);
        assert_eq!(used.recovery_codes_left(), RECOVERY_CODES - 1);
        assert!(used.holds(Proven::Step(98)));
        assert!(!used.holds(Proven::Step(99)));
    }

    #[test]
    fn the_encoding_reads_back_and_strange_ones_are_refused() {
        let mut writer = Writer::new();
        used(77, 0b11_1111_1111).encode(&mut writer);
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes);
        assert_eq!(Used::decode(&mut reader), Ok(used(77, 0b11_1111_1111)));
        assert_eq!(reader.finish(), Ok(()));
        for length in 0..bytes.len() {
            assert!(Used::decode(&mut Reader::new(&bytes[..length])).is_err());
        }
        let mut strange = bytes;
        strange[9] |= 0b100;
        assert!(Used::decode(&mut Reader::new(&strange)).is_err());
    }
}
