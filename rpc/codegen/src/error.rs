//! Why nothing was generated.

use std::io;

/// Why nothing was generated.
#[derive(Debug, thiserror::Error)]
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
        path: std::path::PathBuf,
        /// Why.
        source: io::Error,
    },
}
