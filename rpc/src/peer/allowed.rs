//! The simplest authorizer: a list of keys.

use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use sealmoot_crypto::signature::KeyId;

use super::{Authorizer, Candidate, Refusal};
use crate::status::Code;

/// Admits the peers that hold one of these keys, and presents nothing. Whoever is
/// refused is told the id of the key that was proved.
///
/// For a client that pins its server's key, and for a server whose clients are
/// known one by one. Where who may talk changes while the program runs, or is
/// said by signed statements, write an [`Authorizer`].
///
/// ```
/// use sealmoot_crypto::signature::SigningKey;
/// use sealmoot_rpc::AllowedKeys;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = SigningKey::generate()?.verifying_key().key_id();
/// let pinned = AllowedKeys::new([server]);
/// assert!(pinned.contains(&server));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AllowedKeys {
    keys: HashSet<KeyId>,
}

impl AllowedKeys {
    /// Admits these and nobody else; none of them, nobody at all.
    pub fn new(keys: impl IntoIterator<Item = KeyId>) -> Self {
        Self {
            keys: keys.into_iter().collect(),
        }
    }

    /// Whether a key is admitted.
    pub fn contains(&self, key: &KeyId) -> bool {
        self.keys.contains(key)
    }
}

impl Authorizer for AllowedKeys {
    fn present(&self) -> Bytes {
        Bytes::new()
    }

    fn authorize(&self, candidate: &Candidate<'_>) -> Result<Arc<dyn Any + Send + Sync>, Refusal> {
        if self.contains(&candidate.key_id) {
            Ok(Arc::new(()))
        } else {
            // Which one is no secret from its holder, and who has to add it to a list
            // needs to know.
            let message = format!("this key is not admitted: {}", candidate.key_id);
            Err(Refusal::new(Code::PermissionDenied, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use sealmoot_crypto::signature::SigningKey;

    use super::*;
    use crate::channel::Origin;
    use crate::peer::ChannelBinding;

    #[test]
    fn only_a_listed_key_is_admitted() {
        let listed = SigningKey::generate()
            .expect("random source")
            .verifying_key();
        let other = SigningKey::generate()
            .expect("random source")
            .verifying_key();
        let allowed = AllowedKeys::new([listed.key_id()]);
        let binding = ChannelBinding::from_bytes([0; 32]);
        let ask = |allowed: &AllowedKeys, key: &_, key_id| {
            let candidate = Candidate {
                key,
                key_id,
                presented: b"admit me",
                binding: &binding,
                origin: Origin::Network(std::net::SocketAddr::from(([192, 0, 2, 1], 1))),
                transport: crate::channel::Transport::Tls,
            };
            allowed.authorize(&candidate).map(|_| ())
        };
        assert!(ask(&allowed, &listed, listed.key_id()).is_ok());
        let refused = ask(&allowed, &other, other.key_id()).expect_err("not listed");
        assert_eq!(refused.code, Code::PermissionDenied);
        assert!(refused.message.ends_with(&other.key_id().to_string()));
        let nobody = AllowedKeys::new([]);
        assert!(ask(&nobody, &listed, listed.key_id()).is_err());
    }
}
