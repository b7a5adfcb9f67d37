//! wip
pub mod ballot;
pub mod client;
pub mod clock;
pub mod coordinator;
pub mod disk;
pub mod log;
pub mod message;
pub mod node;
pub mod proto;
pub mod quorum;
pub mod record;
pub mod register;
pub mod replica;
pub mod wire;
