//! The decoders of `sealmoot-authn`: statements of every kind, what puts them
//! together, and what nodes and clients tell each other.

mod approvals;
mod audit;
mod delegations;
mod records;
mod roots;
mod statements;
mod throttle;

use std::sync::LazyLock;

use sealmoot_authn::name::Name;
use sealmoot_authn::realm_id::RealmId;
use sealmoot_authn::roots::Roots;
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::SigningKey;

use crate::Decoder;

/// Every decoder of the crate.
pub(crate) const FAMILIES: &[&[Decoder]] = &[
    approvals::ALL,
    audit::ALL,
    delegations::ALL,
    records::ALL,
    roots::ALL,
    statements::ALL,
    throttle::ALL,
];

static ROOT: LazyLock<SigningKey> = LazyLock::new(|| key(1));

fn realm() -> RealmId {
    RealmId::without_heir(&ROOT.verifying_key())
}

fn roots() -> Roots {
    Roots::sole(ROOT.verifying_key())
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&SecretArray::from_bytes([number; 32]))
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}
