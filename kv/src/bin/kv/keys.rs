//! Keys and values as the command line takes them.

use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use sealmoot_authn::cli::{Code, Failure, is_terminal};
use sealmoot_authn::policy::RESERVED_PREFIX;
use sealmoot_kv::client::Level;
use sealmoot_kv::register::{KEY_LENGTH_MAX, VALUE_LENGTH_MAX};

/// How much a read promises.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub(crate) enum Consistency {
    /// Sees all that was acknowledged; reads never step back
    #[default]
    Linearizable,
    /// Sees all that was acknowledged; two reads may step back in time
    Quorum,
    /// What one replica holds, however old
    One,
}

impl From<Consistency> for Level {
    fn from(consistency: Consistency) -> Self {
        match consistency {
            Consistency::Linearizable => Self::Linearizable,
            Consistency::Quorum => Self::Quorum,
            Consistency::One => Self::One,
        }
    }
}

/// A key of permitted length outside the reserved namespace.
pub(crate) fn key(bytes: &[u8]) -> Result<Bytes, Failure> {
    if bytes.is_empty() || bytes.len() > KEY_LENGTH_MAX {
        return Err(Failure::usage(format!(
            "a key has 1 to {KEY_LENGTH_MAX} bytes, this one {}",
            bytes.len()
        )));
    }
    if bytes.starts_with(RESERVED_PREFIX) {
        return Err(Failure::usage("keys below system/ are reserved"));
    }
    Ok(Bytes::copy_from_slice(bytes))
}

/// A value of permitted length.
pub(crate) fn value(bytes: Vec<u8>) -> Result<Bytes, Failure> {
    if bytes.len() > VALUE_LENGTH_MAX {
        return Err(Failure::usage(format!(
            "a value has at most {VALUE_LENGTH_MAX} bytes"
        )));
    }
    Ok(Bytes::from(bytes))
}

/// A value from standard input (`-`), a file (`@FILE`) or the argument itself.
pub(crate) fn value_argument(argument: Option<&str>) -> Result<Bytes, Failure> {
    match argument {
        None | Some("-") => {
            // Whoever waits for a prompt would wait for ever.
            if is_terminal() {
                eprintln!("(the value from the terminal; end with Ctrl-D)");
            }
            value(read_bounded(std::io::stdin().lock(), "standard input")?)
        }
        Some(argument) => match argument.strip_prefix('@') {
            Some(path) => {
                let file = std::fs::File::open(Path::new(path))
                    .map_err(|error| Failure::new(Code::Config, format!("{path}: {error}")))?;
                value(read_bounded(file, path)?)
            }
            None => value(argument.as_bytes().to_vec()),
        },
    }
}

fn read_bounded(source: impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    source
        .take(VALUE_LENGTH_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::new(Code::Config, format!("{name}: {error}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_bounded_and_not_reserved() {
        assert!(key(b"app/x").is_ok());
        assert!(key(&[0xff; KEY_LENGTH_MAX]).is_ok());
        for bad in [&b""[..], &[b'a'; KEY_LENGTH_MAX + 1], b"system/x"] {
            assert_eq!(key(bad).expect_err("refused").code, Code::Usage);
        }
    }

    #[test]
    fn values_are_bounded() {
        assert!(value(vec![0; VALUE_LENGTH_MAX]).is_ok());
        assert!(value(vec![0; VALUE_LENGTH_MAX + 1]).is_err());
    }
}
