//! Records of users that do not count, kept beside those that do, one a file.
//!
//! ```text
//! former/PATH_NAME   the record of the user NAME by the delegate with this path: it was
//!                    lost when the delegation was narrowed, or stands behind an elder's
//! ```
//!
//! A directory that forgot them would learn an older record of the same delegate as if it
//! were new ([`crate::users::UserDirectory::apply`]), and a delegate would give a lost
//! user a version that nodes have seen.

use std::path::PathBuf;

use super::{OpenRealm, Realm, RealmError, check_owner, damaged};
use crate::delegation::{Chain, SerialPath};
use crate::files::{self, Existing, FileError};
use crate::name::Name;
use crate::users::{RECORD_LENGTH_MAX, RecordError, UserDirectory, UserRecord};

impl Realm {
    /// All of them.
    pub(super) fn former(&self) -> Result<Vec<UserRecord>, RealmError> {
        self.former_where(|_| true)
    }

    /// Those of one user.
    fn former_of(&self, name: &Name) -> Result<Vec<UserRecord>, RealmError> {
        self.former_where(|of| of == name.as_str())
    }

    fn former_where(&self, wanted: impl Fn(&str) -> bool) -> Result<Vec<UserRecord>, RealmError> {
        let directory = self.former_directory();
        let names = match files::names(&directory) {
            Err(FileError::Missing(_)) => return Ok(Vec::new()),
            names => names?,
        };
        let mut records = Vec::new();
        for file in names {
            let path = directory.join(&file);
            // No path has this sign, so it is the first one that ends it.
            let (by, name) = file
                .split_once('_')
                .ok_or_else(|| damaged(&path, &"it is no record's name"))?;
            if !wanted(name) {
                continue;
            }
            let bytes = files::read_secret(&path, RECORD_LENGTH_MAX)?;
            let record = UserRecord::decode(bytes.expose(), &self.roots)
                .map_err(|error: RecordError| damaged(&path, &error))?;
            check_owner(&path, record.user(), name)?;
            if path_of(&record).to_string() != by {
                return Err(damaged(&path, &"it is the record of another delegate"));
            }
            records.push(record);
        }
        Ok(records)
    }

    /// Which record of a user counts, of the one in its place and those that were kept.
    pub(super) fn counting(
        &self,
        name: &Name,
        held: Option<UserRecord>,
    ) -> Result<Option<UserRecord>, RealmError> {
        let former = self.former_of(name)?;
        if former.is_empty() {
            return match held {
                Some(record) => self.not_revoked(record),
                None => Ok(None),
            };
        }
        let mut all = UserDirectory::default();
        if let Some(revocations) = self.revocations()? {
            all.apply_signed(revocations.into());
        }
        for record in former.into_iter().chain(held) {
            all.apply(record);
        }
        Ok(all.record(name).cloned())
    }

    /// The highest version that who signs here, or did under these serials, ever gave a
    /// user, as far as this directory knows; 0 where there is none.
    pub(super) fn highest_version(&self, name: &Name) -> Result<u64, RealmError> {
        let own = self.path();
        let held = self.read_if_there(name)?;
        let all = self.former_of(name)?.into_iter().chain(held);
        let own = all.filter(|record| path_of(record) == own);
        Ok(own.map(|record| record.user().version).max().unwrap_or(0))
    }

    /// The record in a user's place, whether it counts or not.
    fn read_if_there(&self, name: &Name) -> Result<Option<UserRecord>, RealmError> {
        match self.read_user(name.as_str()) {
            Err(RealmError::File(FileError::Missing(_))) => Ok(None),
            record => Ok(Some(record?)),
        }
    }

    fn former_directory(&self) -> PathBuf {
        self.directory.join("former")
    }

    pub(super) fn former_path(&self, record: &UserRecord) -> PathBuf {
        let file = format!("{}_{}", path_of(record), record.user().name);
        self.former_directory().join(file)
    }
}

impl OpenRealm {
    /// Keeps a record that does not count, unless a newer one by the same delegate is kept.
    pub(super) fn keep_former(&self, record: &UserRecord) -> Result<(), RealmError> {
        let kept = self.realm.former_of(&record.user().name)?;
        let newer = kept
            .iter()
            .any(|kept| path_of(kept) == path_of(record) && kept.standing() >= record.standing());
        if newer {
            return Ok(());
        }
        files::ensure_directory(&self.realm.former_directory())?;
        let path = self.realm.former_path(record);
        Ok(files::write(&path, &record.encode(), Existing::Replace)?)
    }

    /// Keeps what lies in the place of `record`, which is about to be written there, where
    /// it is by another delegate. Behind a record of the root nothing ever counts again.
    pub(super) fn keep_replaced(&self, record: &UserRecord) -> Result<(), RealmError> {
        let path = path_of(record);
        if path.is_root() {
            return Ok(());
        }
        match self.realm.read_if_there(&record.user().name)? {
            Some(held) if path_of(&held) != path => self.keep_former(&held),
            _ => Ok(()),
        }
    }

    /// Puts the record of a user in its place that counts now, where revocations have made
    /// it another than the one that lies there.
    pub(super) fn bring_forward(&self, name: &Name) -> Result<(), RealmError> {
        let held = self.realm.read_if_there(name)?;
        let Some(counting) = self.realm.counting(name, held.clone())? else {
            return Ok(());
        };
        if held.is_some_and(|held| held.standing() == counting.standing()) {
            return Ok(());
        }
        self.keep_replaced(&counting)?;
        self.write_user(&counting)
    }

    /// The same of all users of whom records were kept; those by delegates at `ended` or
    /// below, who were revoked for good, are of no use any longer.
    pub(super) fn settle_former(&self, ended: Option<&SerialPath>) -> Result<(), RealmError> {
        for record in self.realm.former()? {
            if ended.is_some_and(|ended| path_of(&record).lies_within(ended)) {
                files::remove(&self.realm.former_path(&record))?;
            } else {
                self.bring_forward(&record.user().name)?;
            }
        }
        Ok(())
    }
}

fn path_of(record: &UserRecord) -> SerialPath {
    record.chain().map(Chain::path).unwrap_or_default()
}
