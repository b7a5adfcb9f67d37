//! The product by hand, as a script uses it: separate binaries, no terminal,
//! results as JSON, exit statuses.

mod administration;
mod batches;
mod keys;
mod limits;
mod lists;
mod nodes;
mod rights;
mod sessions;
