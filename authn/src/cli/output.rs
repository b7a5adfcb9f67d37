//! Results on standard output, everything else on standard error.

use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};

use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::terminal::escaped;

/// The form in which results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One JSON document a line.
    Jsonl,
    /// The bytes themselves, where there are any.
    Raw,
}

impl Format {
    /// Whether machines read it.
    #[must_use]
    pub fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::Jsonl)
    }
}

/// Where results, notices and warnings of one command go.
pub struct Output {
    program: &'static str,
    /// The chosen form.
    pub format: Format,
    quiet: bool,
    warnings: RefCell<Vec<String>>,
}

impl Output {
    /// For one command of `program`.
    #[must_use]
    pub fn new(program: &'static str, format: Format, quiet: bool) -> Self {
        Self {
            program,
            format,
            quiet,
            warnings: RefCell::new(Vec::new()),
        }
    }

    /// The result of the command: as JSON, or as text that `text` makes.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn result(
        &self,
        kind: &str,
        data: &Value,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if self.format.is_json() {
            // Written out to keep the order that people read it in.
            let (kind, warnings) = (json!(kind), json!(*self.warnings.borrow()));
            let envelope =
                format!("{{\"v\":1,\"kind\":{kind},\"data\":{data},\"warnings\":{warnings}}}\n");
            return self.bytes(envelope.as_bytes());
        }
        let text = text();
        if text.is_empty() {
            return Ok(());
        }
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// Exactly these bytes on standard output.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(()),
            // The reader has what it wanted (`kv ls | head`).
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(Failure::internal(format!("standard output: {error}"))),
        }
    }

    /// Something that people want to know, on standard error.
    pub fn notice(&self, text: impl AsRef<str>) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{}", escaped(text.as_ref()));
        }
    }

    /// What to do next, for a person at a terminal; scripts know.
    pub fn hint(&self, text: impl AsRef<str>) {
        if !self.quiet && !self.format.is_json() && io::stderr().is_terminal() {
            let _ = writeln!(io::stderr(), "  next: {}", escaped(text.as_ref()));
        }
    }

    /// Something that may be wrong: on standard error, and in the JSON result.
    pub fn warning(&self, text: impl AsRef<str>) {
        let text = escaped(text.as_ref());
        if !self.format.is_json() && !self.quiet {
            let _ = writeln!(io::stderr(), "{}: warning: {text}", self.program);
        }
        self.warnings.borrow_mut().push(text);
    }

    /// The failure of the command, on standard error.
    pub fn failure(&self, failure: &Failure) {
        let text = if self.format.is_json() {
            failure.to_json().to_string()
        } else {
            failure.to_text(self.program)
        };
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// `bytes` as `NAME` if they are UTF-8, else as `NAME_b64` in base64; never both.
pub fn bytes_fields(fields: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => fields.insert(name.to_owned(), json!(text)),
        Err(_) => fields.insert(format!("{name}_b64"), json!(base64(bytes))),
    };
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A time in milliseconds since 1970 as RFC 3339 in UTC, whole seconds.
#[must_use]
pub fn rfc3339(milliseconds: u64) -> String {
    i64::try_from(milliseconds / 1000)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| "never".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_or_base64_and_never_both() {
        let mut fields = Map::new();
        bytes_fields(&mut fields, "value", "ä".as_bytes());
        bytes_fields(&mut fields, "other", &[0xff]);
        assert_eq!(
            Value::Object(fields),
            json!({"value": "ä", "other_b64": "/w=="})
        );
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(u64::MAX), "never");
    }
}
