//! The binaries under test.
//!
//! Cargo tells a test only about the binaries of its own package, so these are
//! built here: once a process, in the profile and target directory of the test
//! itself. Where `cargo test --workspace` has built them already, this takes a
//! moment. Cargo holds no lock while tests run, and processes that build at the
//! same time wait for each other.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A binary of the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// People and credentials.
    Authctl,
    /// The node.
    Kvd,
    /// The client.
    Kv,
}

impl Program {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Authctl => "authctl",
            Self::Kvd => "kvd",
            Self::Kv => "kv",
        }
    }

    /// Where it lies, built from the present sources.
    #[must_use]
    pub fn path(self) -> PathBuf {
        directory().join(self.name())
    }
}

/// The directory of the binaries, which are built when it is first asked for.
///
/// # Panics
/// When they do not build.
pub fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(build)
}

fn build() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let directory = profile_directory(&test);
    let target = directory.parent().expect("a target directory");
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let output = Command::new(cargo)
        .args([
            "build",
            "--bins",
            "-p",
            "sealmoot-kv",
            "-p",
            "sealmoot-authn",
        ])
        .args(["--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .stdin(Stdio::null())
        .output()
        .expect("cargo runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "the binaries do not build:\n{told}"
    );
    directory.to_owned()
}

/// `target/PROFILE` of `target/PROFILE/deps/TEST`, or of an example's place.
fn profile_directory(test: &Path) -> &Path {
    let directory = test.parent().expect("a file has a directory");
    match directory.file_name().and_then(|name| name.to_str()) {
        Some("deps" | "examples") => directory.parent().expect("it lies in the profile's"),
        _ => directory,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_directory_is_found_from_a_test() {
        let of = |test: &str| profile_directory(Path::new(test)).to_owned();
        assert_eq!(of("/t/debug/deps/demo-1f"), Path::new("/t/debug"));
        assert_eq!(of("/t/release/examples/x"), Path::new("/t/release"));
        assert_eq!(of("/t/release/soak"), Path::new("/t/release"));
    }
}
