//! Where a client gets the codes of a second factor.

use std::future::Future;

use sealmoot_crypto::secret::SecretBytes;

/// What the node wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeAsked {
    /// Whether a code was refused in this login already.
    pub again: bool,
    /// How many codes may still be tried in this login.
    pub tries_left: u32,
}

/// Where codes come from: a person, a file, an app. It is asked while the login waits, so
/// it must not block the thread. A code that leaves by a channel to a node that the realm
/// does not vouch for can be used there first: who asks has judged the node before.
pub trait CodeSource: Send {
    /// The next code, or none to give up.
    fn code(&mut self, asked: CodeAsked) -> impl Future<Output = Option<SecretBytes>> + Send;
}

/// Has none: a login that needs a code ends.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCodes;

impl CodeSource for NoCodes {
    async fn code(&mut self, _: CodeAsked) -> Option<SecretBytes> {
        None
    }
}
