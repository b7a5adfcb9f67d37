//! The product by hand, as a script uses it: separate binaries, no terminal,
//! results as JSON, exit statuses.

mod administration;
mod backups;
mod batches;
mod benchmarks;
mod credentials;
mod delegates;
mod everywhere;
mod keys;
mod limits;
mod lists;
mod namespaces;
mod newcomer;
mod nodes;
mod revocations;
mod rights;
mod roles;
mod rollback;
mod root_rotation;
mod second_factors;
mod sessions;
