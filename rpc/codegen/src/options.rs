//! The options that schemas may give to methods, as a file to import.

use protox::Error;
use protox::file::{File, FileResolver};

/// As schemas import it.
pub(crate) const FILE_NAME: &str = "sealmoot/rpc/options.proto";

/// The option's full name.
pub(crate) const AT_MOST_ONCE: &str = "sealmoot.rpc.at_most_once";

/// The same.
pub(crate) const STRICT: &str = "sealmoot.rpc.strict";

const SOURCE: &str = include_str!("../../proto/sealmoot/rpc/options.proto");

/// Finds the file wherever the schema is.
#[derive(Debug)]
pub(crate) struct OptionsFile;

impl FileResolver for OptionsFile {
    fn open_file(&self, name: &str) -> Result<File, Error> {
        if name == FILE_NAME {
            File::from_source(name, SOURCE)
        } else {
            Err(Error::file_not_found(name))
        }
    }
}
