//! The text form of a context: W3C Trace Context Level 1, section 3.2.
//!
//! ```text
//! 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
//! version  trace-id                   parent-id     flags
//! ```

use std::fmt;

use super::TraceContext;
use crate::hexadecimal::{Hexadecimal, digit};

/// Bytes of version 00, and of what later versions begin with.
const LENGTH: usize = 55;

/// The least significant bit of the flags.
const SAMPLED: u8 = 0x01;

impl TraceContext {
    /// The context that a header says.
    ///
    /// Of a version that is not known, only what version 00 has is read, and more
    /// may stand behind it.
    ///
    /// # Errors
    ///
    /// [`TraceParentError`].
    pub fn parse(header: &[u8]) -> Result<Self, TraceParentError> {
        let Some((known, rest)) = header.split_at_checked(LENGTH) else {
            return Err(TraceParentError::Length(header.len()));
        };
        if [known[2], known[35], known[52]] != [b'-'; 3] {
            return Err(TraceParentError::Separator);
        }
        let [version] = hexadecimal(&known[..2])?;
        match (version, rest.first()) {
            (0xff, _) => return Err(TraceParentError::Version),
            (_, None) => {}
            (0, Some(_)) => return Err(TraceParentError::Length(header.len())),
            (_, Some(b'-')) => {}
            (_, Some(_)) => return Err(TraceParentError::Separator),
        }
        let trace_id = hexadecimal(&known[3..35])?;
        let span_id = hexadecimal(&known[36..52])?;
        let [flags] = hexadecimal(&known[53..])?;
        if trace_id == [0; 16] {
            return Err(TraceParentError::ZeroTraceId);
        }
        if span_id == [0; 8] {
            return Err(TraceParentError::ZeroSpanId);
        }
        Ok(Self {
            trace_id,
            span_id,
            is_sampled: flags & SAMPLED != 0,
        })
    }
}

/// The header, of version 00.
impl fmt::Display for TraceContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = if self.is_sampled { SAMPLED } else { 0 };
        write!(
            formatter,
            "00-{}-{}-{flags:02x}",
            Hexadecimal(&self.trace_id),
            Hexadecimal(&self.span_id)
        )
    }
}

/// Why a header says no context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TraceParentError {
    /// Version 00 has 55 bytes; others no fewer.
    #[error("a traceparent of {0} bytes")]
    Length(usize),
    /// No `-` between two fields.
    #[error("a traceparent whose fields do not stand where they should")]
    Separator,
    /// A byte of a field that is none of `0-9 a-f`.
    #[error("a traceparent with a byte {0:#04x} in a field")]
    Digit(u8),
    /// The version `ff`, which there never is.
    #[error("a traceparent of version ff")]
    Version,
    /// No trace.
    #[error("a traceparent whose trace is zero")]
    ZeroTraceId,
    /// No operation.
    #[error("a traceparent whose parent is zero")]
    ZeroSpanId,
}

/// Twice as many digits as bytes; lower-case alone, as section 3.2.2 has it.
fn hexadecimal<const BYTES: usize>(digits: &[u8]) -> Result<[u8; BYTES], TraceParentError> {
    let value = |character: u8| digit(character).ok_or(TraceParentError::Digit(character));
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    use TraceParentError::*;

    fn refused(header: &str) -> TraceParentError {
        TraceContext::parse(header.as_bytes()).expect_err(header)
    }

    /// The examples of section 3.2.2.5.
    #[test]
    fn the_examples_of_the_standard_are_read_and_written() {
        let sampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let not_sampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        for (header, is_sampled) in [(sampled, true), (not_sampled, false)] {
            let context = TraceContext::parse(header.as_bytes()).expect("sound");
            let trace_id = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128;
            assert_eq!(context.trace_id, trace_id.to_be_bytes());
            assert_eq!(context.span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
            assert_eq!(context.is_sampled, is_sampled);
            assert_eq!(context.to_string(), header);
        }
    }

    /// Values of the working group's own test suite, test/test.py and
    /// test/tracecontext/test_traceparent.py of github.com/w3c/trace-context:
    /// those that a service must take up.
    #[test]
    fn what_the_published_suite_takes_is_taken() {
        for header in [
            "00-12345678901234567890123456789012-1234567890123456-00",
            "00-12345678901234567890123456789012-1234567890123456-01",
            "00-12345678901234567890123456789012-1234567890123456-02",
            "00-12345678901234567890123456789012-1234567890123456-03",
            "00-12345678901234567890123456789012-1234567890123456-ff",
            "00-ffffffffffffffffffffffffffffffff-1234567890123456-00",
            "00-12345678901234567890123456789012-ffffffffffffffff-00",
            "01-12345678901234567890123456789012-1234567890123456-00",
            "02-12345678901234567890123456789012-1234567890123456-00",
            "cc-12345678901234567890123456789012-1234567890123456-00",
            "cc-12345678901234567890123456789012-1234567890123456-01",
            "cc-12345678901234567890123456789012-1234567890123456-01-what-the-future-will-be-like",
        ] {
            let context = TraceContext::parse(header.as_bytes()).expect(header);
            let is_odd = matches!(header.as_bytes()[54], b'1' | b'3' | b'f');
            assert_eq!(context.is_sampled, is_odd, "{header}");
        }
    }

    /// Of the same suite: those that begin a new trace.
    #[test]
    fn what_the_published_suite_refuses_is_refused() {
        for (header, error) in [
            (
                "00-12345678901234567890123456789012-1234567890123456-01.",
                Length(56),
            ),
            (
                "00-12345678901234567890123456789012-1234567890123456-01-what-the-future-will-be-like",
                Length(84),
            ),
            (
                "cc-12345678901234567890123456789012-1234567890123456-01.what-the-future-will-be-like",
                Separator,
            ),
            (
                "ff-12345678901234567890123456789012-1234567890123456-01",
                Version,
            ),
            (
                ".0-12345678901234567890123456789012-1234567890123456-01",
                Digit(b'.'),
            ),
            (
                "0.-12345678901234567890123456789012-1234567890123456-01",
                Digit(b'.'),
            ),
            (
                "000-12345678901234567890123456789012-1234567890123456-01",
                Separator,
            ),
            (
                "0000-12345678901234567890123456789012-1234567890123456-01",
                Separator,
            ),
            (
                "0-12345678901234567890123456789012-1234567890123456-01",
                Length(54),
            ),
            (
                "00-00000000000000000000000000000000-1234567890123456-01",
                ZeroTraceId,
            ),
            (
                "00-.2345678901234567890123456789012-1234567890123456-01",
                Digit(b'.'),
            ),
            (
                "00-1234567890123456789012345678901.-1234567890123456-01",
                Digit(b'.'),
            ),
            (
                "00-123456789012345678901234567890123-1234567890123456-01",
                Separator,
            ),
            (
                "00-1234567890123456789012345678901-1234567890123456-01",
                Length(54),
            ),
            (
                "00-12345678901234567890123456789012-0000000000000000-01",
                ZeroSpanId,
            ),
            (
                "00-12345678901234567890123456789012-.234567890123456-01",
                Digit(b'.'),
            ),
            (
                "00-12345678901234567890123456789012-123456789012345.-01",
                Digit(b'.'),
            ),
            (
                "00-12345678901234567890123456789012-12345678901234567-01",
                Separator,
            ),
            (
                "00-12345678901234567890123456789012-123456789012345-01",
                Length(54),
            ),
            (
                "00-12345678901234567890123456789012-1234567890123456-.0",
                Digit(b'.'),
            ),
            (
                "00-12345678901234567890123456789012-1234567890123456-0.",
                Digit(b'.'),
            ),
            (
                "00-12345678901234567890123456789012-1234567890123456-001",
                Length(56),
            ),
            (
                "00-12345678901234567890123456789012-1234567890123456-1",
                Length(54),
            ),
        ] {
            assert_eq!(refused(header), error, "{header}");
        }
    }

    #[test]
    fn upper_case_and_other_letters_are_refused() {
        let sound = "00-abcdefabcdefabcdefabcdefabcdefab-abcdefabcdefabcd-0f";
        assert!(TraceContext::parse(sound.as_bytes()).is_ok());
        assert_eq!(refused(&sound.to_uppercase()), Digit(b'A'));
        assert_eq!(refused(&sound.replace('f', "g")), Digit(b'g'));
        assert_eq!(
            refused(&sound.replace("00-", "FF-")),
            Digit(b'F'),
            "not taken for version ff"
        );
    }

    #[test]
    fn a_header_cut_short_is_refused() {
        let header = b"cc-12345678901234567890123456789012-1234567890123456-01";
        for length in 0..header.len() {
            let refused = TraceContext::parse(&header[..length]);
            assert_eq!(refused, Err(Length(length)));
        }
    }
}
