//! Why nothing was generated.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::builder::EARLIER_MAX;
use crate::evolution::Incompatibility;

pub use crate::strict::NotDeterministic;

/// Why nothing was generated.
///
/// Its `Debug` is its text: a build script that returns it shows it by that.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file is missing or is not a valid schema.
    #[error("{0}")]
    Schema(#[from] protox::Error),
    /// A service outside of any package would have an ambiguous name.
    #[error("{file} has services and no package: add `package name.v1;`")]
    NoPackage {
        /// As found among the includes.
        file: String,
    },
    /// Two methods of a service share a number: rename one.
    #[error("{method} and {other} share a method number: rename one")]
    Collision {
        /// As `package.Service/Method`.
        method: String,
        /// As `package.Service/Method`.
        other: String,
    },
    /// The generated client has a function of that name.
    #[error("{method} would collide with the generated client's own `{name}`: rename it")]
    ReservedName {
        /// As `package.Service/Method`.
        method: String,
        /// The function.
        name: &'static str,
    },
    /// The generated client has a function of that name for another method's
    /// options.
    #[error(
        "{method} would collide with the client's function for the options of {other}: rename it"
    )]
    NameTaken {
        /// As `package.Service/Method`.
        method: String,
        /// As `package.Service/Method`.
        other: String,
    },
    /// Idempotent methods need no memory of the server; the others no promise.
    #[error("{method} has both `idempotency_level` and `at_most_once`: choose one")]
    TwoGuards {
        /// As `package.Service/Method`.
        method: String,
    },
    /// The server remembers replies, and a stream is none.
    #[error("{method} has a stream and cannot be `at_most_once`: remove one of them")]
    StreamOnce {
        /// As `package.Service/Method`.
        method: String,
    },
    /// The present schema does not get along with a former one.
    #[error("{earlier} and the present schema do not get along: {change}")]
    Incompatible {
        /// The file of the former schema.
        earlier: PathBuf,
        /// What changed.
        #[source]
        change: Incompatibility,
    },
    /// What was named as a former schema has no service.
    #[error("{file} has no service that could have an earlier version")]
    EarlierWithoutService {
        /// The file.
        file: PathBuf,
    },
    /// A service has more former versions than programs tell each other.
    #[error("{service} has more than {EARLIER_MAX} earlier versions: drop the oldest")]
    TooManyEarlier {
        /// Its full name.
        service: String,
    },
    /// A message of it has more than one encoding, or one that other languages
    /// would not write.
    #[error("{method} cannot be `strict`: {message} {why}")]
    Strict {
        /// As `package.Service/Method`.
        method: String,
        /// The message that is at fault, by its full name.
        message: String,
        /// Why.
        why: NotDeterministic,
    },
    /// The code could not be made or written.
    #[error("cannot generate code: {0}")]
    Generate(#[source] io::Error),
    /// `OUT_DIR` is not set.
    #[error("OUT_DIR is not set: call this from a build script")]
    OutsideBuildScript,
    /// Two methods of a service have one name in Python: rename one.
    #[error("{method} and {other} would both be `{name}` in Python: rename one")]
    PythonName {
        /// As `package.Service/Method`.
        method: String,
        /// As `package.Service/Method`.
        other: String,
        /// The function.
        name: String,
    },
    /// No Python module can have the name of that file, or a request or reply in
    /// it has the name of a keyword.
    #[error("{file} cannot be used in Python because of the name `{module}`: rename it")]
    PythonModule {
        /// As found among the includes.
        file: String,
        /// The module or class that it would be.
        module: String,
    },
    /// A module could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
