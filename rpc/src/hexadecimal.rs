//! Bytes as hexadecimal digits, two each, lower-case alone.

use std::fmt;

/// Shows bytes as digits.
pub(crate) struct Hexadecimal<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hexadecimal<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// What one digit says; none for anything else, capitals included, so that bytes
/// have one form.
pub(crate) fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_two_digits_and_each_digit_is_read_back() {
        assert_eq!(Hexadecimal(&[0x00, 0x0f, 0xa5]).to_string(), "000fa5");
        for value in 0..16 {
            let text = Hexadecimal(&[value]).to_string();
            assert_eq!(digit(text.as_bytes()[1]), Some(value));
        }
        for character in [b'/', b':', b'`', b'g', b'A', b'F', b' ', 0, 0xff] {
            assert_eq!(digit(character), None, "{character}");
        }
    }
}
