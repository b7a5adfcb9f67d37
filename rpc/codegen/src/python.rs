//! Python stubs over the stock protobuf runtime, for the package `sealmoot_rpc`
//! under `rpc/python`.
//!
//! For a file `a/b.proto` two modules are written, without `protoc`:
//!
//! | Module | Holds |
//! |---|---|
//! | `a/b_pb2.py` | the messages, which `google.protobuf` builds from the descriptor |
//! | `a/b_rpc.py` | for each service `Store` the classes `StoreClient`, for asyncio, and `StoreBlockingClient`, with the service's name as `SERVICE` and the fingerprint of its schema as `FINGERPRINT` |
//!
//! Imported files are generated too, except those under `google/protobuf/`,
//! which the runtime brings along. Modules import each other from the top, as
//! those of `protoc` do: the directory written to belongs on Python's path.
//!
//! Each unary call says by which guard it may be sent again (`idempotency_level` or
//! `at_most_once` of its method): a `Connection` sends it once all the same, a
//! `Retrying` goes by it.
//!
//! Beside what the Rust generator refuses it refuses file names that Python
//! cannot import and methods that differ in Rust but not in `snake_case`.

mod messages;
mod names;
mod services;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use protox::prost_reflect::FileDescriptor;

use crate::compiled;
use crate::error::Error;
use crate::guard::Guards;
use crate::method::method_number;
use names::{function_name, module_path};

/// Files of this directory come with the runtime.
const RUNTIME_DIRECTORY: &str = "google/protobuf/";

/// Functions that a generated client has of its own.
const RESERVED_FUNCTIONS: [&str; 3] = ["__init__", "connection", "_connection"];

/// Generates modules below `out_dir`, and returns their paths.
///
/// `protos` are found in `includes`, as are their imports. Nothing is written
/// unless everything could be generated.
///
/// # Errors
///
/// [`Error`]; its text names the file, and the place when there is one.
pub fn generate(
    protos: &[impl AsRef<Path>],
    includes: &[impl AsRef<Path>],
    out_dir: &Path,
) -> Result<Vec<PathBuf>, Error> {
    let compiler = compiled(protos, includes)?;
    let guards = Guards::of_all(&compiler.descriptor_pool())?;
    let mut modules = Vec::new();
    for file in compiler.descriptor_pool().files() {
        if file.name().starts_with(RUNTIME_DIRECTORY) {
            continue;
        }
        check(&file)?;
        let stem = module_path(&file)?.replace('.', "/");
        modules.push((format!("{stem}_pb2.py"), messages::module(&file)?));
        if file.services().len() > 0 {
            modules.push((format!("{stem}_rpc.py"), services::module(&file, &guards)?));
        }
    }
    let mut written = Vec::new();
    for (name, text) in modules {
        let path = out_dir.join(name);
        let directory = path.parent().unwrap_or(out_dir);
        fs::create_dir_all(directory)
            .and_then(|()| fs::write(&path, text))
            .map_err(|source| Error::Write {
                path: path.clone(),
                source,
            })?;
        written.push(path);
    }
    Ok(written)
}

/// Refuses services that cannot become sound stubs.
fn check(file: &FileDescriptor) -> Result<(), Error> {
    for service in file.services() {
        if file.package_name().is_empty() {
            return Err(Error::NoPackage {
                file: file.name().to_owned(),
            });
        }
        let mut numbers = BTreeMap::new();
        let mut functions = BTreeMap::new();
        for method in service.methods() {
            let path = format!("{}/{}", service.full_name(), method.name());
            let name = function_name(method.name());
            if let Some(name) = RESERVED_FUNCTIONS.into_iter().find(|own| *own == name) {
                return Err(Error::ReservedName { method: path, name });
            }
            if let Some(other) = numbers.insert(method_number(&path), path.clone()) {
                return Err(Error::Collision {
                    method: path,
                    other,
                });
            }
            if let Some(other) = functions.insert(name.clone(), path.clone()) {
                return Err(Error::PythonName {
                    method: path,
                    other,
                    name,
                });
            }
        }
    }
    Ok(())
}
