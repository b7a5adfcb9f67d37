//! Passwords by OPAQUE (RFC 9807): whoever checks a password never learns it.
//!
//! The client blinds the password, the server evaluates a function of its own key on
//! it (an OPRF), and what the client unblinds is stretched by Argon2id into a key. It
//! opens an envelope in the user's record and with it the client's half of a key
//! exchange. The server sees neither the password nor a hash of it, in registration
//! or in any login; a wrong guess costs one login, or, for whoever has the
//! [`LoginSecrets`] and a record or one answer of a server, one Argon2id.
//!
//! Suite: OPRF ristretto255-SHA512 (RFC 9497), 3DH over ristretto255, HKDF and HMAC
//! with SHA-512, [`Stretching`] as key stretching function. `authn/DESIGN.md` draws
//! the messages.
//!
//! This is the one module that knows the library `opaque-ke`: what it shows are bytes
//! and types of its own. States consume each other, so that none is used twice.
//!
//! ```
//! use sealmoot_authn::opaque::{
//!     ClientLogin, LoginContext, LoginSecrets, ServerLogin, Stretching, register,
//! };
//! # use sealmoot_authn::realm_id::RealmId;
//! # use sealmoot_rpc::ChannelBinding;
//! # use sealmoot_crypto::{password::Cost, signature::KeyId};
//! # let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
//! # let (realm, alice) = (RealmId::from_bytes([1; 32]), "alice".parse()?);
//! let secrets = LoginSecrets::generate()?;
//! let stretching = Stretching::new(cost)?;
//! let (file, sealing_key) = register(&secrets, &realm, &alice, b"hip roast", stretching)?;
//!
//! let context = || LoginContext {
//!     realm,
//!     node: KeyId::from_bytes([2; 32]),
//!     channel: ChannelBinding::from_bytes([3; 32]),
//!     session: KeyId::from_bytes([4; 32]),
//!     user: "alice".parse().expect("a name"),
//! };
//! let (client, first) = ClientLogin::start(b"hip roast", context())?;
//! let (server, answer) = ServerLogin::start(&secrets, Some(&file), context(), &first)?;
//! let (proof, export_key, session_key) = client.finish(stretching, &answer)?;
//! assert!(server.finish(&proof)?.same_as(&session_key));
//! assert!(export_key.same_as(&sealing_key));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod login;
mod randomness;
mod registration;
mod secrets;
mod steps;
#[cfg(test)]
mod stored;
mod stretching;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

use sealmoot_crypto::encoding::Writer;
use sealmoot_crypto::random::RandomError;
use sealmoot_crypto::secret::SecretArray;

use crate::name::Name;
use crate::realm_id::RealmId;

pub use login::{ClientLogin, LoginContext, ServerLogin};
pub use registration::{ClientRegistration, PasswordFile, register};
pub use secrets::{LOGIN_SECRETS_LENGTH, LoginSecrets};
pub use stretching::{
    BadStretching, IMPORTED_LENGTH_MAX, SALT_LENGTH_MAX, STRETCHING_CLASS_LENGTH,
    STRETCHING_LENGTH, STRETCHING_LIMITS, Stretching, StretchingClass,
};

/// Length of the client's first message of a login, KE1 (RFC 9807, section 6.1).
pub const KE1_LENGTH: usize = 96;
/// Length of the server's answer, KE2.
pub const KE2_LENGTH: usize = 320;
/// Length of the client's proof, KE3.
pub const KE3_LENGTH: usize = 64;
/// Length of the client's first message of a registration (RFC 9807, section 5.1).
pub const REGISTRATION_REQUEST_LENGTH: usize = 32;
/// Length of the server's answer to it.
pub const REGISTRATION_RESPONSE_LENGTH: usize = 64;
/// Length of a [`PasswordFile`].
pub const PASSWORD_FILE_LENGTH: usize = 192;

/// What the password alone yields, and no server sees: the same in registration and
/// in every login until the password is changed (RFC 9807, `export_key`).
pub type ExportKey = SecretArray<64>;

/// What both sides of one login have in common afterwards, and nobody else.
pub type SessionKey = SecretArray<64>;

/// Why a step of OPAQUE was not taken. To a peer all of it is one refusal.
#[derive(Debug, thiserror::Error)]
pub enum OpaqueError {
    /// A message has another length than it must have, or what stands in it is no
    /// element of the group. This says nothing about any secret.
    #[error("the message is malformed")]
    Malformed,
    /// The server sent back the blinded password as its evaluation: it has no key, or
    /// none that counts.
    #[error("the message is a reflection of the own one")]
    Reflected,
    /// Wrong password, unknown user, another realm, node, channel or key, or a
    /// changed message: nobody is told which.
    #[error("refused")]
    Refused,
    /// The key could not be stretched: there is not enough memory.
    #[error("there is not enough memory to stretch the password")]
    Stretching,
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// What names a user's OPRF key, and binds what the export key seals: the realm's 32
/// bytes, then the name behind its length.
///
/// Neither a version nor a key of the user is in it: the answer to one blinded
/// password would else change when a user comes, changes or goes, and tell.
#[must_use]
pub fn user_binding(realm: &RealmId, user: &Name) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.fixed(realm.as_bytes());
    writer.text(user.as_str());
    writer.finish()
}
