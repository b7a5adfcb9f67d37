//! Names of the schema as Python writes them.

use protox::prost_reflect::FileDescriptor;

use crate::error::Error;

/// Python's keywords (The Python Language Reference, 2.3.1), sorted.
const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue",
    "def", "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import",
    "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while",
    "with", "yield",
];

/// `a/b-c.proto` as `a.b_c`: the module without its suffix.
pub(super) fn module_path(file: &FileDescriptor) -> Result<String, Error> {
    let stem = file.name().strip_suffix(".proto").unwrap_or(file.name());
    let module = stem.replace('-', "_").replace('/', ".");
    let (directories, _) = module.rsplit_once('.').unwrap_or(("", ""));
    // The last part gets a suffix, so it may be a keyword and must still read
    // as a name; those before it stand alone in an import.
    let is_name = module.split('.').all(is_identifier);
    let has_keyword = directories.split('.').any(is_keyword);
    if !is_name || has_keyword {
        return Err(Error::PythonModule {
            file: file.name().to_owned(),
            module,
        });
    }
    Ok(module)
}

/// `GetOrPut` as `get_or_put`; a keyword gets an underscore behind it.
pub(super) fn function_name(method: &str) -> String {
    let characters: Vec<char> = method.chars().collect();
    let mut name = String::new();
    for (index, character) in characters.iter().enumerate() {
        // An acronym is one word: `GetURLNow` is `get_url_now`.
        let follows_lower = index > 0 && !characters[index - 1].is_uppercase();
        let ends_acronym = characters
            .get(index + 1)
            .is_some_and(|next| next.is_lowercase());
        let begins_word = character.is_uppercase() && (follows_lower || ends_acronym);
        if begins_word && index > 0 && !name.ends_with('_') {
            name.push('_');
        }
        name.extend(character.to_lowercase());
    }
    if is_keyword(&name) {
        name.push('_');
    }
    name
}

pub(super) fn is_keyword(name: &str) -> bool {
    KEYWORDS.contains(&name)
}

fn is_identifier(part: &str) -> bool {
    let mut characters = part.chars();
    let first = characters.next();
    first.is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|other| other.is_ascii_alphanumeric() || other == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_become_functions() {
        for (method, function) in [
            ("Get", "get"),
            ("GetOrPut", "get_or_put"),
            ("GetURLNow", "get_url_now"),
            ("get_it", "get_it"),
            ("Get_It", "get_it"),
            ("Import", "import_"),
            ("V2Get", "v2_get"),
        ] {
            assert_eq!(function_name(method), function);
        }
    }

    #[test]
    fn keywords_are_sorted_so_that_one_missing_shows() {
        assert!(KEYWORDS.is_sorted());
    }

    #[test]
    fn parts_that_python_cannot_name_are_told() {
        for part in ["", "1a", "a b", "a.b", "ä"] {
            assert!(!is_identifier(part), "{part}");
        }
        assert!(is_identifier("_a1"));
    }
}
