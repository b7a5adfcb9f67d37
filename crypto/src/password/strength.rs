//! How guessable a password is, by zxcvbn (Wheeler, "zxcvbn: Low-Budget Password
//! Strength Estimation", USENIX Security 2016).
//!
//! The estimate knows common passwords, names, words, dates, keyboard walks, repeats
//! and what the caller says about the user. It is a measure for advice while somebody
//! types, and proves nothing: a password that is public elsewhere is the affair of
//! [`super::breached`].
//!
//! Its time grows with the cube of the length and with every way to read `@`, `!` and
//! the like as letters, and its arithmetic overflows on long keyboard walks. So it never
//! sees more than [`PIECE_LENGTH`] characters with [`SUBSTITUTES_MAX`] such signs: a
//! password is cut into up to [`PIECES_MAX`] pieces, and counts as strong as its
//! strongest one. What follows the last piece changes nothing. It is an estimate: a word
//! that a cut goes through is not seen as that word.
//!
//! Usual passwords take a quarter of a millisecond a piece, the worst known ones
//! four milliseconds (one of two virtual cores).
//!
//! zxcvbn copies parts of the password and does not wipe them: run it where the password
//! is typed rather than in a server's memory.
//!
//! ```
//! use sealmoot_crypto::password::strength::estimate;
//! let strength = estimate("p4ssw0rd", &["alice", "example.org"]);
//! assert!(strength.score < 3);
//! let warning = strength.warning.map(|warning| warning.to_string());
//! assert_eq!(warning.as_deref(), Some("it is close to a common password"));
//! ```

use alloc::string::String;
use alloc::vec::Vec;

use core::fmt;

use zxcvbn::feedback;

/// How many characters are looked at together. Up to 28 the count of keyboard walks
/// (5^27 of them and fewer) fits 64 bits.
pub const PIECE_LENGTH: usize = 28;
/// How many different signs that stand for letters (those of `@({[<!|$+%`) are looked at
/// together. All ten would be readable in thousands of ways, three in a few hundred.
pub const SUBSTITUTES_MAX: usize = 3;
/// How many pieces are looked at.
pub const PIECES_MAX: usize = 4;
/// How many of the caller's words are looked at.
pub const USER_INPUTS_MAX: usize = 16;
/// How many characters of each; longer than that they are cut as passwords are.
pub const USER_INPUT_LENGTH_MAX: usize = PIECE_LENGTH * PIECES_MAX;

/// Digits are readable as letters as well, but all ten in no more than sixteen ways.
const SUBSTITUTES: &str = "@({[<!|$+%";

/// How guessable a password is.
///
/// ```
/// use sealmoot_crypto::password::strength::estimate;
/// let (weak, strong) = (estimate("letmein", &[]), estimate("wjl3kxhu2qmvz84ptb", &[]));
/// assert!(weak.guesses_log10 < 3.0 && strong.guesses_log10 > 10.0);
/// assert!(!weak.suggestions.is_empty());
/// assert!(strong.warning.is_none() && strong.suggestions.is_empty());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Strength {
    /// 0 to 4: up to 10^3, 10^6, 10^8, 10^10 guesses, or more. Below 3 is too weak
    /// where attackers may have the records.
    pub score: u8,
    /// Logarithm to base 10 of the guesses it takes; 19.3 at most.
    pub guesses_log10: f64,
    /// What is wrong with it, when something is.
    pub warning: Option<Warning>,
    /// How to do better; empty from score 3 upwards.
    pub suggestions: Vec<Suggestion>,
}

impl Strength {
    /// How long guessing takes at so many guesses a second, in words: for a server
    /// that lets ten through, or for one graphics card against records of
    /// [`super::Cost::SERVER`], some thousand.
    ///
    /// ```
    /// use sealmoot_crypto::password::strength::estimate;
    /// assert_eq!(estimate("password", &[]).time_to_guess(10.0), "less than a second");
    /// assert_eq!(estimate("wjl3kxhu2qmvz84ptb", &[]).time_to_guess(1000.0), "centuries");
    /// ```
    #[must_use]
    pub fn time_to_guess(&self, guesses_per_second: f64) -> String {
        let seconds = 10f64.powf(self.guesses_log10) / guesses_per_second;
        const UNITS: [(f64, &str); 6] = [
            (60.0, "second"),
            (60.0, "minute"),
            (24.0, "hour"),
            (30.4, "day"),
            (12.0, "month"),
            (100.0, "year"),
        ];
        if seconds < 1.0 {
            return "less than a second".into();
        }
        let mut amount = seconds;
        for (next, unit) in UNITS {
            if amount < next {
                let count = amount as u64;
                let plural = if count == 1 { "" } else { "s" };
                return format!("{count} {unit}{plural}");
            }
            amount /= next;
        }
        "centuries".into()
    }
}

/// What makes a password easy to guess.
///
/// ```
/// use sealmoot_crypto::password::strength::{Warning, estimate};
/// assert_eq!(estimate("aaaaaaa", &[]).warning, Some(Warning::RepeatedCharacter));
/// assert_eq!(estimate("abcdefg", &[]).warning, Some(Warning::Sequence));
/// assert_eq!(estimate("wjl3kxhu2qmvz84ptb", &[]).warning, None);
/// assert_eq!(Warning::Date.to_string(), "a date is guessed early");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// Neighbouring keys in a row.
    KeyboardRow,
    /// A short walk over neighbouring keys.
    KeyboardWalk,
    /// One character again and again.
    RepeatedCharacter,
    /// One group of characters again and again.
    RepeatedGroup,
    /// Among the ten most common passwords.
    TopTen,
    /// Among the hundred most common passwords.
    TopHundred,
    /// A common password.
    Common,
    /// A common password in disguise.
    LikeCommon,
    /// Characters in the order of the alphabet or of numbers.
    Sequence,
    /// A year of recent decades.
    RecentYear,
    /// A single word.
    SingleWord,
    /// A date.
    Date,
    /// A single name.
    SingleName,
    /// A common name.
    CommonName,
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::KeyboardRow => "keys in a row are among the first guesses",
            Self::KeyboardWalk => "a short walk over neighbouring keys is guessed early",
            Self::RepeatedCharacter => "one character repeated adds next to nothing",
            Self::RepeatedGroup => "a repeated group counts little more than once",
            Self::TopTen => "it is one of the ten most common passwords",
            Self::TopHundred => "it is one of the hundred most common passwords",
            Self::Common => "it is a common password",
            Self::LikeCommon => "it is close to a common password",
            Self::Sequence => "an alphabetical or numerical sequence is guessed early",
            Self::RecentYear => "a year of recent decades is guessed early",
            Self::SingleWord => "a single word is guessed early",
            Self::Date => "a date is guessed early",
            Self::SingleName => "a single name is guessed early",
            Self::CommonName => "a common name is guessed early",
        })
    }
}

/// How to choose a better password.
///
/// ```
/// use sealmoot_crypto::password::strength::{Suggestion, estimate};
/// let advice = estimate("abcdefg", &[]).suggestions;
/// assert!(advice.contains(&Suggestion::AvoidSequences));
/// let shown = Suggestion::AvoidSequences.to_string(); // or a translation of the variant
/// assert_eq!(shown, "leave out sequences");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Suggestion {
    /// Several words that do not belong together.
    UseSeveralWords,
    /// Length does more than special characters.
    SymbolsAreNotNeeded,
    /// Another uncommon word or two.
    AddWords,
    /// A capital at the beginning is expected.
    CapitalsHelpLittle,
    /// All capitals are tried as well.
    AllCapitalsHelpLittle,
    /// Reversed words are tried as well.
    ReversalHelpsLittle,
    /// `@` for `a` is tried as well.
    SubstitutionsHelpLittle,
    /// A longer walk with more turns.
    TakeLongerWalks,
    /// No repeated words or characters.
    AvoidRepeats,
    /// No sequences.
    AvoidSequences,
    /// No recent years.
    AvoidRecentYears,
    /// No year that others connect with the user.
    AvoidYearsOfYours,
    /// No date that others connect with the user.
    AvoidDatesOfYours,
}

impl fmt::Display for Suggestion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::UseSeveralWords => "take several words that do not belong together",
            Self::SymbolsAreNotNeeded => "length does more than digits and symbols",
            Self::AddWords => "add one or two uncommon words",
            Self::CapitalsHelpLittle => "a capital letter at the start is expected",
            Self::AllCapitalsHelpLittle => "writing all in capitals helps little",
            Self::ReversalHelpsLittle => "writing a word backwards helps little",
            Self::SubstitutionsHelpLittle => "writing @ for a and the like helps little",
            Self::TakeLongerWalks => "make walks over the keyboard longer, with turns",
            Self::AvoidRepeats => "leave out what repeats",
            Self::AvoidSequences => "leave out sequences",
            Self::AvoidRecentYears => "leave out recent years",
            Self::AvoidYearsOfYours => "leave out years that others know of you",
            Self::AvoidDatesOfYours => "leave out dates that others know of you",
        })
    }
}

/// How guessable `password` is for somebody who knows `user_inputs`: the user's name,
/// the service's, and the like. Of them the first [`USER_INPUTS_MAX`] count, with
/// [`USER_INPUT_LENGTH_MAX`] characters each.
///
/// ```
/// use sealmoot_crypto::password::strength::{Warning, estimate};
/// let weak = estimate("p4ssw0rd", &[]);
/// assert_eq!((weak.score, weak.warning), (0, Some(Warning::LikeCommon)));
/// assert_eq!(estimate("wjl3kxhu2qmvz84ptb", &[]).score, 4);
/// assert!(estimate("sealmoot", &["sealmoot"]).score < estimate("sealmoot", &[]).score);
/// ```
#[must_use]
pub fn estimate(password: &str, user_inputs: &[&str]) -> Strength {
    // Cut as the password is, so that one that begins with such an input has its pieces.
    let user_inputs: Vec<&str> = user_inputs
        .iter()
        .take(USER_INPUTS_MAX)
        .flat_map(|input| pieces(input))
        .collect();
    let mut strongest = zxcvbn::zxcvbn("", &[]);
    for piece in pieces(password) {
        let entropy = zxcvbn::zxcvbn(piece, &user_inputs);
        if entropy.guesses() >= strongest.guesses() {
            strongest = entropy;
        }
    }
    let advice = strongest.feedback();
    Strength {
        score: u8::from(strongest.score()),
        // Of the empty password it is minus infinity.
        guesses_log10: strongest.guesses_log10().max(0.0),
        warning: advice.and_then(feedback::Feedback::warning).map(warning),
        suggestions: advice
            .map(|advice| {
                advice
                    .suggestions()
                    .iter()
                    .copied()
                    .map(suggestion)
                    .collect()
            })
            .unwrap_or_default(),
    }
}

/// The pieces of a text that are looked at; one empty piece of an empty text.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    core::iter::from_fn(move || {
        let (piece, behind) = split_piece(rest?);
        rest = Some(behind).filter(|behind| !behind.is_empty());
        Some(piece)
    })
    .take(PIECES_MAX)
}

/// The longest piece that a text may begin with, and what follows it.
fn split_piece(text: &str) -> (&str, &str) {
    let mut seen = Vec::with_capacity(SUBSTITUTES_MAX);
    let count = text
        .chars()
        .take(PIECE_LENGTH)
        .take_while(|character| {
            let new = SUBSTITUTES.contains(*character) && !seen.contains(character);
            if new && seen.len() < SUBSTITUTES_MAX {
                seen.push(*character);
                return true;
            }
            !new
        })
        .count();
    split_characters(text, count)
}

/// The first `count` characters of a text, and what follows them.
fn split_characters(text: &str, count: usize) -> (&str, &str) {
    match text.char_indices().nth(count) {
        Some((end, _)) => text.split_at(end),
        None => (text, ""),
    }
}

fn warning(found: feedback::Warning) -> Warning {
    use feedback::Warning as Found;
    match found {
        Found::StraightRowsOfKeysAreEasyToGuess => Warning::KeyboardRow,
        Found::ShortKeyboardPatternsAreEasyToGuess => Warning::KeyboardWalk,
        Found::RepeatsLikeAaaAreEasyToGuess => Warning::RepeatedCharacter,
        Found::RepeatsLikeAbcAbcAreOnlySlightlyHarderToGuess => Warning::RepeatedGroup,
        Found::ThisIsATop10Password => Warning::TopTen,
        Found::ThisIsATop100Password => Warning::TopHundred,
        Found::ThisIsACommonPassword => Warning::Common,
        Found::ThisIsSimilarToACommonlyUsedPassword => Warning::LikeCommon,
        Found::SequencesLikeAbcAreEasyToGuess => Warning::Sequence,
        Found::RecentYearsAreEasyToGuess => Warning::RecentYear,
        Found::AWordByItselfIsEasyToGuess => Warning::SingleWord,
        Found::DatesAreOftenEasyToGuess => Warning::Date,
        Found::NamesAndSurnamesByThemselvesAreEasyToGuess => Warning::SingleName,
        Found::CommonNamesAndSurnamesAreEasyToGuess => Warning::CommonName,
    }
}

fn suggestion(found: feedback::Suggestion) -> Suggestion {
    use feedback::Suggestion as Found;
    match found {
        Found::UseAFewWordsAvoidCommonPhrases => Suggestion::UseSeveralWords,
        Found::NoNeedForSymbolsDigitsOrUppercaseLetters => Suggestion::SymbolsAreNotNeeded,
        Found::AddAnotherWordOrTwo => Suggestion::AddWords,
        Found::CapitalizationDoesntHelpVeryMuch => Suggestion::CapitalsHelpLittle,
        Found::AllUppercaseIsAlmostAsEasyToGuessAsAllLowercase => Suggestion::AllCapitalsHelpLittle,
        Found::ReversedWordsArentMuchHarderToGuess => Suggestion::ReversalHelpsLittle,
        Found::PredictableSubstitutionsDontHelpVeryMuch => Suggestion::SubstitutionsHelpLittle,
        Found::UseALongerKeyboardPatternWithMoreTurns => Suggestion::TakeLongerWalks,
        Found::AvoidRepeatedWordsAndCharacters => Suggestion::AvoidRepeats,
        Found::AvoidSequences => Suggestion::AvoidSequences,
        Found::AvoidRecentYears => Suggestion::AvoidRecentYears,
        Found::AvoidYearsThatAreAssociatedWithYou => Suggestion::AvoidYearsOfYours,
        Found::AvoidDatesAndYearsThatAreAssociatedWithYou => Suggestion::AvoidDatesOfYours,
    }
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;

    fn score(password: &str) -> u8 {
        estimate(password, &[]).score
    }

    #[test]
    fn what_is_common_is_weak_and_says_why() {
        for (password, expected) in [
            ("password", Warning::TopTen),
            ("test", Warning::TopHundred),
            ("p4ssw0rd", Warning::LikeCommon),
            ("qwertyuiop[]", Warning::KeyboardRow),
            ("aaaaaaaaaaaa", Warning::RepeatedCharacter),
            ("abcdefghijklm", Warning::Sequence),
            ("13.05.1987", Warning::Date),
        ] {
            let strength = estimate(password, &[]);
            assert!(strength.score <= 2, "{password}");
            assert_eq!(strength.warning, Some(expected), "{password}");
            assert!(!strength.suggestions.is_empty(), "{password}");
        }
    }

    #[test]
    fn a_long_input_of_the_callers_is_found_in_the_password() {
        let name = "sealmoot-production-cluster-1x";
        assert_eq!(estimate(name, &[]).score, 4);
        assert!(estimate(name, &[name]).score <= 1);
        assert!(estimate(&name.to_uppercase(), &[name]).score <= 1);
    }

    #[test]
    fn what_is_random_is_strong() {
        let strength = estimate("tumbling-ferret-onyx-43-quarrel", &[]);
        assert_eq!((strength.score, strength.warning), (4, None));
        assert!(strength.suggestions.is_empty() && strength.guesses_log10 > 10.0);
    }

    #[test]
    fn the_empty_password_is_the_weakest() {
        let strength = estimate("", &[""]);
        assert_eq!((strength.score, strength.guesses_log10), (0, 0.0));
        assert_eq!(strength.time_to_guess(10.0), "less than a second");
    }

    #[test]
    fn more_characters_never_lower_the_score_once_a_piece_is_full() {
        let whole = "Xk4!qz7Lw9#Tn2vB5mRj8^Hy3pUc";
        assert_eq!(whole.chars().count(), PIECE_LENGTH);
        let alone = estimate(whole, &[]);
        for rest in [
            "a",
            "password",
            &"a".repeat(1000),
            "\u{1f512}",
            &whole.repeat(50),
        ] {
            let longer = estimate(&format!("{whole}{rest}"), &[]);
            assert!(longer.guesses_log10 >= alone.guesses_log10, "{rest}");
        }
    }

    #[test]
    fn a_strong_end_counts_although_the_beginning_is_weak() {
        let weak = "a".repeat(PIECE_LENGTH);
        assert!(score(&weak) <= 1);
        assert_eq!(score(&format!("{weak}Xk4!qz7Lw9#Tn2vB")), 4);
        let beyond = format!("{}Xk4!qz7Lw9#Tn2vB", weak.repeat(PIECES_MAX));
        assert!(
            score(&beyond) <= 1,
            "what follows the last piece is not seen"
        );
    }

    #[test]
    fn what_the_caller_knows_of_the_user_counts() {
        let known = |input| estimate("Grimbolt1987", &[input]).guesses_log10;
        assert!(known("grimbolt") < known("elsewhere"));
        // The seventeenth is not seen; a long one is cut, not refused.
        let mut inputs = vec!["x"; USER_INPUTS_MAX];
        inputs.push("grimbolt");
        assert_eq!(
            estimate("Grimbolt1987", &inputs).guesses_log10,
            known("elsewhere")
        );
        let _ = estimate("Grimbolt1987", &[&"grimbolt".repeat(10_000)]);
    }

    /// Shapes that cost most, or break the estimate when it sees them whole: each is
    /// longer than all pieces together.
    #[test]
    fn hostile_shapes_are_estimated_all_the_same() {
        let shapes = [
            "a",
            "ab",
            "abc",
            "aab",
            "qw",
            "12",
            "1q",
            "zaq1",
            "4",
            "@4",
            "p4$$w0rd",
            "19",
            "1.1.91",
            "1/2/3",
            "password",
            "drowssap",
            "PassWord",
            "pASSWORD",
            "\u{0}",
            "\n",
            "\r\n",
            "\t",
            "\u{7f}",
            "\u{feff}",
            "\u{202e}",
            "\u{300}",
            "e\u{301}",
            "\u{130}",
            "\u{df}",
            "\u{1e9e}",
            "\u{fb01}",
            "\u{3a3}",
            "\u{661}",
            "\u{10ffff}",
            "\u{1f512}",
            "\u{d7ff}\u{e000}",
            "4@8({[<369!1|0$5+7%2",
            "iIlL1|!",
            "(((",
            "\\",
            ".*",
            "(.+)\\1+",
        ];
        for shape in shapes {
            for length in [
                1,
                2,
                3,
                PIECE_LENGTH - 1,
                PIECE_LENGTH,
                PIECE_LENGTH + 1,
                200,
            ] {
                let password: String = shape.chars().cycle().take(length).collect();
                let strength = estimate(&password, &[&password, shape]);
                assert!(strength.score <= 4 && strength.guesses_log10 >= 0.0);
                let behind = estimate(&format!("{password}Q"), &[]);
                assert!(behind.guesses_log10.is_finite());
            }
        }
    }

    #[test]
    fn no_more_than_the_pieces_is_ever_looked_at() {
        let long = "password".repeat(100_000);
        let seen = &long[..PIECE_LENGTH * PIECES_MAX];
        assert_eq!(estimate(&long, &[]), estimate(seen, &[]));
        assert_eq!(split_piece("p@$$w!r|d"), ("p@$$w!r", "|d"));
        assert_eq!(split_piece("1234567890#@@@@@&"), ("1234567890#@@@@@&", ""));
        assert_eq!(split_characters("a\u{df}c", 2), ("a\u{df}", "c"));
        assert_eq!(split_characters("abc", 3), ("abc", ""));
        assert_eq!(split_characters("", 3), ("", ""));
    }

    #[test]
    fn times_are_told_in_the_unit_that_fits() {
        let time = |guesses: f64| {
            Strength {
                score: 0,
                guesses_log10: guesses.log10(),
                warning: None,
                suggestions: Vec::new(),
            }
            .time_to_guess(1.0)
        };
        for (guesses, text) in [
            (0.5, "less than a second"),
            (1.5, "1 second"),
            (59.5, "59 seconds"),
            (90.0, "1 minute"),
            (7300.0, "2 hours"),
            (90_000.0, "1 day"),
            (6e6, "2 months"),
            (4e7, "1 year"),
            (3e9, "95 years"),
            (1e19, "centuries"),
        ] {
            assert_eq!(time(guesses), text);
        }
    }
}
