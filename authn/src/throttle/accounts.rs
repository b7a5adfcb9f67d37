//! What the realm's records say of the accounts that attempts are about.
//!
//! A key that proved a password is proven for that password alone, and what peers tell of
//! used codes is kept for enrolments that exist alone. Both are known from the records, so
//! whoever holds those says here what stands in them, at the start of all users and then of
//! each that changes.

use std::collections::HashMap;

use sealmoot_crypto::signature::VerifyingKey;

use super::limits::ACCOUNTS_MAX;
use super::names::{AccountHash, SlotHash};
use crate::name::Name;
use crate::statement::CredentialId;
use crate::users::UserRecord;

/// Tells a password, or an enrolment, from others of the same account; zeros where there
/// is none.
pub(super) type Tag = [u8; 8];

/// What a user logs in with now.
#[derive(Debug, Clone, Copy)]
pub struct Account<'a> {
    /// Whose.
    pub user: &'a Name,
    /// The key that the password opens: another password has another.
    pub user_key: Option<VerifyingKey>,
    /// The enrolment of the second factor.
    pub enrolment: Option<CredentialId>,
}

impl<'a> Account<'a> {
    /// What a record says.
    #[must_use]
    pub fn of(record: &'a UserRecord) -> Self {
        let user = record.user();
        Self {
            user: &user.name,
            user_key: user.user_key,
            enrolment: user.second_factor.as_ref().map(|factor| factor.id()),
        }
    }
}

/// The same by the hashes that buckets are called by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Current {
    pub(super) password: Tag,
    pub(super) enrolment: Tag,
}

impl Current {
    pub(super) fn of(account: &Account<'_>) -> Self {
        let mut password = Tag::default();
        if let Some(key) = &account.user_key {
            password.copy_from_slice(&key.key_id().as_bytes()[..8]);
        }
        let enrolment = account.enrolment.map(|id| id.to_bytes());
        Self {
            password,
            enrolment: enrolment.unwrap_or_default(),
        }
    }
}

/// All accounts that there are.
#[derive(Debug, Default)]
pub(super) struct Accounts(HashMap<AccountHash, Current>);

impl Accounts {
    /// What is known of an account; nothing of one that was never told of.
    pub(super) fn get(&self, account: &AccountHash) -> Current {
        self.0.get(account).copied().unwrap_or_default()
    }

    pub(super) fn set(&mut self, account: AccountHash, current: Current) {
        // As many as there can be records of users.
        if self.0.len() < ACCOUNTS_MAX || self.0.contains_key(&account) {
            self.0.insert(account, current);
        }
    }

    /// Whether an account has this enrolment.
    pub(super) fn has_enrolment(&self, slot: &SlotHash) -> bool {
        let (account, enrolment) = slot.split_at(8);
        let account: AccountHash = account.try_into().expect("half of sixteen bytes");
        let current = self.0.get(&account);
        current.is_some_and(|current| {
            current.enrolment != Tag::default() && current.enrolment == *enrolment
        })
    }
}
