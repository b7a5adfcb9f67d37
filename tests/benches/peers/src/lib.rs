//! Sealmoot beside what does the same work, measured in one run.
//!
//! Every figure is a ratio of two times taken in turns on the same machine, so
//! that what else the machine does meanwhile strikes both. The bars and aims are
//! those of the project's design, section "Numbers to reach".

pub mod calls;
pub mod channel;
pub mod file;
pub mod measure;
pub mod password;
pub mod primitives;
pub mod raw;
pub mod record;
pub mod sealing;
pub mod table;
