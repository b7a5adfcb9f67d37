//! Schemas, changes and messages at random.

pub(crate) mod generator;
pub(crate) mod schema;
pub(crate) mod values;
