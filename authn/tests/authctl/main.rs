//! The real `authctl`, as scripts and people use it: every command, its exit
//! status, its JSON, and above all its refusals.

mod check;
mod fixture;
mod help;
mod node;
mod realm;
mod secrets;
mod terminal;
mod user;
