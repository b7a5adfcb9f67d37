//! What stands between calls and those who make or answer them.
//!
//! A [`ClientInterceptor`] sees every call of an [`Intercepted`] caller, a
//! [`ServerInterceptor`] every call that a [`Router`](crate::Router) answers, of
//! whatever kind. Both may refuse a call before it goes on and are told how it
//! ended. They do not see its messages.

mod client;
mod names;
mod server;

pub use client::{ClientInterceptor, EndedCall, Intercepted, OutgoingCall};
pub use names::MethodNames;
pub use server::{IncomingCall, ServerInterceptor};

pub(crate) use client::Watcher;
pub(crate) use server::intercepted;
