//! The store's state machines in a simulated world, and a checker of what they answered.
//!
//! A history is drawn from a seed: nodes, keys, clients, and which faults happen how
//! often. It runs in one thread on the production machines, with the network, the
//! disks and the clocks simulated. Then it is judged.
//!
//! ```
//! use sealmoot_simulation::examine::examine;
//! use sealmoot_simulation::plan::Plan;
//!
//! let plan = Plan::of_seed(7, 20);
//! let (run, violation) = examine(&plan, false);
//! assert_eq!(violation, None);
//! assert_eq!(run.trace, examine(&plan, false).0.trace);
//! ```
//!
//! | Module | Holds |
//! |---|---|
//! | [`plan`], [`fault`], [`settings`], [`random`] | what a seed decides |
//! | [`world`] | nodes, network, disks, clocks and clients |
//! | [`history`], [`model`], [`linearizable`], [`weak_reads`] | what was answered, and whether it may be |
//! | [`examine`] | a plan run and judged, and made smaller when it fails |
//! | [`stage`], [`costs`] | a world by hand, and what requests cost, counted on it |
//! | [`mutants`] | rules taken out, to see whether this notices |
//!
//! What is simulated and what is not: `DESIGN.md`.

pub mod costs;
pub mod examine;
pub mod fault;
pub mod history;
mod invariants;
mod keys;
pub mod linearizable;
pub mod model;
pub mod mutants;
pub mod plan;
pub mod random;
pub mod settings;
pub mod stage;
pub mod weak_reads;
pub mod world;
