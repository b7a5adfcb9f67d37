//! From schemas to files of Rust code.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use protox::prost_reflect::DescriptorPool;

use crate::error::Error;
use crate::evolution::{self, Incompatibility, Version};
use crate::fingerprint::fingerprint;
use crate::generator::{Generator, Prints};
use crate::guard::Guards;
use crate::{DESCRIPTOR_FILE_NAME, check, compiled, descriptors, options, strict};

/// Earlier versions of a service, at most: as many as reflection tells
/// (`sealmoot_rpc::limits::reflection::EARLIER_MAX`).
pub const EARLIER_MAX: usize = 16;

/// Generates stubs of schemas that have a history.
///
/// ```no_run
/// // build.rs
/// fn main() -> Result<(), sealmoot_rpc_codegen::Error> {
///     sealmoot_rpc_codegen::Builder::new(&["proto/greeter.proto"], &["proto"])
///         .earlier("proto/earlier/1/greeter.proto")
///         .compile()
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    protos: Vec<PathBuf>,
    includes: Vec<PathBuf>,
    earlier: Vec<PathBuf>,
}

impl Builder {
    /// Of the schemas `protos`, which are found in `includes`, as are their
    /// imports.
    #[must_use]
    pub fn new(protos: &[impl AsRef<Path>], includes: &[impl AsRef<Path>]) -> Self {
        let owned = |path: &Path| path.to_owned();
        Self {
            protos: protos.iter().map(|path| owned(path.as_ref())).collect(),
            includes: includes.iter().map(|path| owned(path.as_ref())).collect(),
            earlier: Vec::new(),
        }
    }

    /// With a former version of one of the schemas, as it was published. Its
    /// imports are looked for beside it first and then where the present ones are:
    /// an import that has changed since is kept there too, so that versions belong
    /// into directories of their own.
    ///
    /// Programs of either version can call each other: the build refuses a version
    /// with which the present one does not get along, and the others are named by
    /// fingerprint in `ServiceDescriptor::earlier`.
    #[must_use]
    pub fn earlier(mut self, proto: impl AsRef<Path>) -> Self {
        self.earlier.push(proto.as_ref().to_owned());
        self
    }

    /// Generates into `OUT_DIR` and tells cargo which files to watch.
    ///
    /// # Errors
    ///
    /// [`Error`]; its text names the file, and the place when there is one.
    pub fn compile(&self) -> Result<(), Error> {
        let out_dir = std::env::var_os("OUT_DIR").ok_or(Error::OutsideBuildScript)?;
        for path in self.compile_into(Path::new(&out_dir))? {
            println!("cargo:rerun-if-changed={}", path.display());
        }
        Ok(())
    }

    /// Generates into a directory, and returns the files that were read.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn compile_into(&self, out_dir: &Path) -> Result<Vec<PathBuf>, Error> {
        let compiler = compiled(&self.protos, &self.includes)?;
        let pool = compiler.descriptor_pool();
        let guards = Guards::of_all(&pool)?;
        let strict = strict::methods(&pool)?;
        let mut descriptors = compiler.file_descriptor_set();
        check(&descriptors)?;
        // Files that come with the compiler have no path.
        let read = compiler.files().filter_map(|file| file.path());
        let mut read: Vec<PathBuf> = read.map(Path::to_path_buf).collect();
        let mut prints = present(&pool, &guards);
        for path in &self.earlier {
            for path in add_earlier(path, &self.includes, &pool, &guards, &mut prints)? {
                if !read.contains(&path) {
                    read.push(path);
                }
            }
        }
        // It declares an option and no message, and descriptors are no part of the
        // schema either unless it says so itself.
        descriptors
            .file
            .retain(|file| file.name() != options::FILE_NAME);
        let is_used = |name: &str| {
            let mut imports = descriptors.file.iter().flat_map(|file| &file.dependency);
            imports.any(|import| import == name)
        };
        if !is_used(DESCRIPTOR_FILE_NAME) {
            descriptors
                .file
                .retain(|file| file.name() != DESCRIPTOR_FILE_NAME);
        }
        prost_build::Config::new()
            .bytes(["."])
            // Typed details of a status are found by name.
            .enable_type_names()
            // Fields without a comment in the schema are the schema's business.
            .type_attribute(".", "#[allow(missing_docs, clippy::all)]")
            .service_generator(Box::new(Generator::new(guards, prints, strict)))
            .out_dir(out_dir)
            .compile_fds(descriptors)
            .map_err(Error::Generate)?;
        strict::append_markers(&pool, out_dir).map_err(Error::Generate)?;
        write_descriptors(&pool, out_dir)?;
        Ok(read)
    }
}

/// The fingerprints of all services, by full name, without a past.
fn present(pool: &DescriptorPool, guards: &Guards) -> HashMap<String, Prints> {
    pool.services()
        .map(|service| {
            let prints = Prints {
                present: fingerprint(&service, guards),
                earlier: Vec::new(),
            };
            (service.full_name().to_owned(), prints)
        })
        .collect()
}

/// Adds the fingerprints of a former version, if the present one gets along with
/// it. Returns the files that were read.
fn add_earlier(
    path: &Path,
    includes: &[PathBuf],
    present: &DescriptorPool,
    guards: &Guards,
    prints: &mut HashMap<String, Prints>,
) -> Result<Vec<PathBuf>, Error> {
    let beside = path.parent().map(Path::to_path_buf);
    let includes: Vec<PathBuf> = beside.into_iter().chain(includes.iter().cloned()).collect();
    // In a pool of its own: it has the package and the names of the present one.
    let compiler = compiled(&[path], &includes)?;
    let pool = compiler.descriptor_pool();
    let earlier_guards = Guards::of_all(&pool)?;
    let opened: BTreeSet<&str> = compiler
        .files()
        .filter(|file| !file.is_import())
        .map(|file| file.name())
        .collect();
    let is_opened = |name: &str| opened.contains(name);
    let mut is_empty = true;
    for service in pool.services() {
        if !is_opened(service.parent_file().name()) {
            continue;
        }
        is_empty = false;
        let name = service.full_name();
        let incompatible = |change| Error::Incompatible {
            earlier: path.to_owned(),
            change,
        };
        let (Some(now), Some(known)) = (present.get_service_by_name(name), prints.get_mut(name))
        else {
            let service = name.to_owned();
            return Err(incompatible(Incompatibility::ServiceRemoved { service }));
        };
        let earlier = Version {
            service: &service,
            guards: &earlier_guards,
        };
        let now = Version {
            service: &now,
            guards,
        };
        evolution::check(earlier, now).map_err(incompatible)?;
        let print = fingerprint(&service, &earlier_guards);
        if print != known.present && !known.earlier.contains(&print) {
            known.earlier.push(print);
        }
        if known.earlier.len() > EARLIER_MAX {
            return Err(Error::TooManyEarlier {
                service: name.to_owned(),
            });
        }
    }
    if is_empty {
        let file = path.to_owned();
        return Err(Error::EarlierWithoutService { file });
    }
    let read = compiler.files().filter_map(|file| file.path());
    Ok(read.map(Path::to_path_buf).collect())
}

/// The schema of each package that has services, beside its code.
fn write_descriptors(pool: &DescriptorPool, out_dir: &Path) -> Result<(), Error> {
    let packages: BTreeSet<String> = pool
        .services()
        .map(|service| service.package_name().to_owned())
        .collect();
    for package in packages {
        let path = out_dir.join(descriptors::file_name(&package));
        let bytes = descriptors::of_package(pool, &package);
        fs::write(&path, bytes).map_err(|source| Error::Write { path, source })?;
    }
    Ok(())
}
