//! Taking in what nodes hold: other issuers make users too.

use std::collections::BTreeSet;

use sealmoot_crypto::signature::SigningKey;

use super::delegations::Issued;
use super::{OpenRealm, RealmError};
use crate::audit::{Subject, What};
use crate::fetch::Prover;
use crate::files::{self, Existing};
use crate::records::{RecordName, SignedRecord};
use crate::users::{UserDirectory, UserRecord};

/// What came of taking in records that nodes hold.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Learnt {
    /// How many records were taken.
    pub taken: usize,
    /// At the root's: what the root signed, or a delegate whom nobody here made one, and
    /// this directory does not know. It is an older copy, or somebody else has the key.
    pub foreign: Vec<RecordName>,
}

impl OpenRealm {
    /// What proves to nodes who signs here.
    #[must_use]
    pub fn prover(&self) -> Prover {
        let issuer = SigningKey::from_seed(&self.issuer.to_seed());
        Prover::new(issuer, self.realm.roots.clone(), self.realm.chain.clone())
    }

    /// Takes the records that prevail over those held here. They are verified already, and
    /// none of them replaces what is newer here. At a delegate's, users of others are left
    /// out. At the root's, users of delegates are all that is taken: what the root signed
    /// was signed here, or by somebody who should not have its key.
    ///
    /// # Errors
    /// [`RealmError`].
    pub fn learn(&self, records: Vec<SignedRecord>, now_ms: u64) -> Result<Learnt, RealmError> {
        let _lock = self.lock()?;
        let mut held = self.realm.users()?;
        let mut learnt = Vec::new();
        let (records, foreign) = match self.realm.chain() {
            Some(_) => (records, Vec::new()),
            None => accounted_for(records, &held, &self.realm.issued()?),
        };
        // Revocations first: what they end is not taken to be forgotten again.
        let (first, users): (Vec<_>, Vec<_>) = records
            .into_iter()
            .partition(|record| !matches!(record, SignedRecord::User(_)));
        for record in first.into_iter().chain(users) {
            if let SignedRecord::User(user) = &record
                && (self.check_own(user).is_err() || held.check_room(1).is_err())
            {
                continue;
            }
            if held.apply_signed(record.clone()) {
                learnt.push(record);
            }
        }
        if learnt.is_empty() {
            return Ok(Learnt { taken: 0, foreign });
        }
        let count = format!("{} records", learnt.len());
        self.record(now_ms, What::RecordsLearnt, Subject::Nothing, count)?;
        for record in &learnt {
            match record {
                SignedRecord::User(record) => self.write_learnt(record, &held)?,
                SignedRecord::Roles(record) => {
                    let path = self.realm.directory.join("roles");
                    files::write(&path, &record.encode(), Existing::Replace)?;
                }
                SignedRecord::RevokedSessions(record) => {
                    let path = self.realm.revoked_sessions_path();
                    files::write(&path, &record.encode(), Existing::Replace)?;
                }
                SignedRecord::RevokedNodes(record) => {
                    let path = self.realm.revoked_nodes_path();
                    files::write(&path, &record.encode(), Existing::Replace)?;
                }
                SignedRecord::Revocations(record) => {
                    let path = self.realm.revocations_path();
                    files::write(&path, &record.encode(), Existing::Replace)?;
                }
            }
        }
        let is_revocation = |record: &SignedRecord| matches!(record, SignedRecord::Revocations(_));
        if learnt.iter().any(is_revocation) {
            self.settle_former(None)?;
        }
        Ok(Learnt {
            taken: learnt.len(),
            foreign,
        })
    }

    /// Writes a record in its user's place if it counts, and beside it otherwise.
    fn write_learnt(&self, record: &UserRecord, held: &UserDirectory) -> Result<(), RealmError> {
        let name = &record.user().name;
        let counting = held.standing(&RecordName::User(name.clone()));
        if counting.is_none_or(|counting| counting != record.standing()) {
            return self.keep_former(record);
        }
        self.keep_replaced(record)?;
        self.write_user(record)
    }
}

/// The users of delegates among what nodes showed the root, and what of the rest is news
/// here that cannot be.
fn accounted_for(
    records: Vec<SignedRecord>,
    held: &UserDirectory,
    issued: &Issued,
) -> (Vec<SignedRecord>, Vec<RecordName>) {
    let (mut wanted, mut foreign) = (Vec::new(), BTreeSet::new());
    for record in records {
        let chain = match &record {
            SignedRecord::User(user) => user.chain(),
            _ => None,
        };
        if chain.is_some_and(|chain| issued.first_of(chain).is_some()) {
            wanted.push(record);
            continue;
        }
        let name = record.name();
        if held.wants(&name, &record.standing()) {
            foreign.insert(name);
        }
    }
    (wanted, foreign.into_iter().collect())
}
