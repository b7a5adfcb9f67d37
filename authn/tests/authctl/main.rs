//! The real `authctl`, as scripts and people use it: every command, its exit
//! status, its JSON, and above all its refusals.

mod admin;
mod audit;
mod backup;
mod check;
mod concurrent;
mod crashes;
mod every_command;
mod fixture;
mod help;
mod import;
mod node;
mod realm;
mod role;
mod second_factor;
mod secrets;
mod session;
mod terminal;
mod user;
