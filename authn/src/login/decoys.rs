//! How the passwords of users who do not exist seem to be stretched.
//!
//! The first reply of a login says how a password is stretched, and existing users
//! differ in that: most have a password of our own, some a hash that was imported, each
//! with a salt. Somebody who does not exist seems to have what a user drawn at random
//! has: a *class* (all but the salt) as frequent among decoys as among users, and a salt
//! of its length. Both come from a MAC of the name under a key that is derived from the
//! login secrets, so that every node says the same, and says it again.
//!
//! What an asker can learn: which classes there are and how frequent each is, from any
//! answers; and, of a name whose answer changes from one class to another while the
//! frequencies shift, that it was a decoy or got another password. Of a name whose
//! answer does not change nothing: each class is as likely for users as for decoys.
//! Disabled and deleted users keep the answer that they had.

use sealmoot_crypto::digest::MacKey;
use sealmoot_crypto::kdf;

use crate::name::Name;
use crate::opaque::{LoginSecrets, PasswordFile, SALT_LENGTH_MAX, Stretching, StretchingClass};

/// What the decoys of a realm come from.
pub(super) struct Decoys {
    key: MacKey,
    /// What a login is answered with when there is nobody to log in. The library would
    /// make one up when it gets none, and be faster by a record that it does not copy
    /// and wipe: two microseconds told enabled users from all others.
    file: PasswordFile,
}

impl Decoys {
    pub(super) fn new(secrets: &LoginSecrets) -> Self {
        let key = kdf::derive(secrets.encode().expose(), "login decoys", &[]);
        Self {
            key: MacKey::from_secret(&key),
            file: secrets.decoy(),
        }
    }

    /// The record that nothing opens.
    pub(super) fn file(&self) -> &PasswordFile {
        &self.file
    }

    /// Where among the users the one stands whom `name` is to resemble, of 2^64.
    pub(super) fn place(&self, name: &Name) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.draw(0, name, &[]);
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// The stretching of `name` in this class; that of new passwords where there are
    /// no users to resemble.
    pub(super) fn stretching(&self, name: &Name, class: Option<StretchingClass>) -> Stretching {
        // The salt is drawn even where there is none: known users go this way too, and
        // all have to take as long.
        let class = class.unwrap_or_else(|| Stretching::DEFAULT.class());
        let mut salt = [0; SALT_LENGTH_MAX];
        salt[..32].copy_from_slice(&self.draw(1, name, &class));
        salt[32..].copy_from_slice(&self.draw(2, name, &class)[..SALT_LENGTH_MAX - 32]);
        Stretching::of_class(&class, &salt).unwrap_or(Stretching::DEFAULT)
    }

    fn draw(&self, use_number: u8, name: &Name, class: &[u8]) -> [u8; 32] {
        // All parts but the last have a fixed length for each use.
        self.key
            .tag(&[&[use_number], class, name.as_str().as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealmoot_crypto::password::Cost;

    const CHEAP: Cost = Cost {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    #[test]
    fn a_decoy_is_the_same_on_every_node_and_another_in_another_realm() {
        let secrets = LoginSecrets::generate().expect("random");
        let again = LoginSecrets::decode(secrets.encode().expose()).expect("decodes");
        let (one, same) = (Decoys::new(&secrets), Decoys::new(&again));
        let other = Decoys::new(&LoginSecrets::generate().expect("random"));
        let class = Stretching::imported(CHEAP, &[0; 16], 32)
            .expect("admitted")
            .class();
        let of = |decoys: &Decoys, user| {
            (
                decoys.place(&name(user)),
                decoys.stretching(&name(user), Some(class)).to_bytes(),
            )
        };
        assert_eq!(of(&one, "eve"), of(&same, "eve"));
        assert_ne!(of(&one, "eve"), of(&other, "eve"));
        assert_ne!(of(&one, "eve"), of(&one, "eva"));
    }

    #[test]
    fn a_decoy_has_the_class_that_it_is_given_and_a_salt_of_its_length() {
        let decoys = Decoys::new(&LoginSecrets::generate().expect("random"));
        for salt_length in [8, 16, 32, 33, 48] {
            let like = Stretching::imported(CHEAP, &vec![1; salt_length], 24).expect("admitted");
            let decoy = decoys.stretching(&name("eve"), Some(like.class()));
            assert_eq!(decoy.class(), like.class());
            let salt = &decoy.to_bytes()[15..15 + salt_length];
            assert!(salt.windows(8).all(|window| window != [0; 8]), "{salt:?}");
        }
        assert_eq!(decoys.stretching(&name("eve"), None), Stretching::DEFAULT);
    }
}
