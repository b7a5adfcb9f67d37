//! What a terminal is told, and what it must not be told.

use std::io::IsTerminal;

/// Whether both standard input and standard error are a terminal, so that a
/// question can be asked and answered.
#[must_use]
pub fn is_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// `text` with control characters and what redirects the reading order escaped:
/// names and keys come from outside and must not drive the terminal.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let redirects = matches!(
            character,
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        );
        if character.is_control() || redirects {
            out.extend(character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_drives_a_terminal_is_escaped() {
        assert_eq!(escaped("käse/…"), "käse/…");
        assert_eq!(escaped("a\x1b[0m\n"), "a\\u{1b}[0m\\u{a}");
        assert_eq!(escaped("\u{202e}x"), "\\u{202e}x");
    }
}
