//! Taking in what nodes hold: other issuers make users too.

use sealmoot_crypto::signature::SigningKey;

use super::{OpenRealm, RealmError};
use crate::audit::{Subject, What};
use crate::fetch::Prover;
use crate::files::{self, Existing};
use crate::records::{RecordName, SignedRecord};
use crate::users::{UserDirectory, UserRecord};

impl OpenRealm {
    /// What proves to nodes who signs here.
    #[must_use]
    pub fn prover(&self) -> Prover {
        let issuer = SigningKey::from_seed(&self.issuer.to_seed());
        Prover::new(issuer, self.realm.roots.clone(), self.realm.chain.clone())
    }

    /// Takes the records that prevail over those held here; how many they were. They are
    /// verified already, and none of them replaces what is newer here. At a delegate's,
    /// users of others are left out.
    ///
    /// # Errors
    /// [`RealmError`].
    pub fn learn(&self, records: Vec<SignedRecord>, now_ms: u64) -> Result<usize, RealmError> {
        let _lock = self.lock()?;
        let mut held = self.realm.users()?;
        let mut learnt = Vec::new();
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
            return Ok(0);
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
        Ok(learnt.len())
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
