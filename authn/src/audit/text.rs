//! The one place where texts of the audit log are made harmless.

use crate::cli::escaped;

/// `text` without anything that drives a terminal, ends a line or turns the direction
/// of writing: such characters stand as `\u{…}`.
#[must_use]
pub fn escape(text: &str) -> String {
    let text = escaped(text);
    if !text.contains(breaks_or_turns) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if breaks_or_turns(character) {
            out.extend(character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    out
}

/// What [`escaped`] leaves because terminals do not obey it, and readers of a log do:
/// line and paragraph separators, the Arabic letter mark, tags.
fn breaks_or_turns(character: char) -> bool {
    matches!(
        character,
        '\u{061c}' | '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_direction_marks_are_spelled_out() {
        for (text, expected) in [
            ("käse/…", "käse/…"),
            ("\x07\r\n", "\\u{7}\\u{d}\\u{a}"),
            ("\u{202e}x\u{2066}", "\\u{202e}x\\u{2066}"),
            ("\u{061c}\u{2028}\u{e0041}", "\\u{61c}\\u{2028}\\u{e0041}"),
            ("\u{9b}31m", "\\u{9b}31m"),
        ] {
            assert_eq!(escape(text), expected);
        }
    }
}
