//! The state machine: attempts and the time go in, decisions come out.

use std::collections::{BTreeMap, BTreeSet};

use sealmoot_crypto::encoding::EncodingError;
use sealmoot_crypto::signature::KeyId;

use super::accounts::{Account, Accounts, Current, Tag};
use super::bucket::Bucket;
use super::limits::{
    PROVEN_FOR_MS, RECORD_ENTRIES_MAX, Rule, ThrottleLimits, UNLOCK_AGE_MS_MAX, UNTOLD_MAX,
};
use super::names::{AccountHash, Kind, Slot, SlotHash, Source, ThrottleKey};
use super::proven::{Proven, ProvenKey};
use super::record::{self, Entry};
use super::table::Tables;
use super::used::{Unconfirmed, UsedCodes};
use crate::name::Name;
use crate::second_factor::{CodeError, Proven as ProvenCode, SecondFactor, Used};
use crate::statement::{CredentialId, NODES_MAX};

/// Who tries what.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// Where from.
    pub source: Source,
    /// The key that the client proved in its channel.
    pub key: KeyId,
    /// The account as asked for, whether there is one or not.
    pub user: &'a Name,
}

/// The attempt is too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many attempts; the next is admitted in {wait_ms} ms")]
pub struct Refused {
    /// How long to wait, in milliseconds.
    pub wait_ms: u64,
}

/// An attempt that was charged. Giving it to [`Throttle::refund`] takes the charge
/// back; dropping it leaves the charge where it is.
#[derive(Debug)]
pub struct Ticket {
    /// Where it was charged, and whether it was counted there.
    charged: Vec<(Slot, bool)>,
    /// What the attempt proves if it succeeds. Its name begins with the account's.
    proves: SlotHash,
    /// Whether the key had proved the account's password before.
    proven: bool,
    /// The account's password when the attempt began.
    password: Tag,
    /// The enrolment of which a code was taken.
    code: Option<CredentialId>,
}

/// An unlocking was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnlockError {
    /// It was issued too long ago, or the clocks differ.
    #[error("the unlocking is of another time than this node's")]
    OtherTime,
    /// It, or a later one, was taken before.
    #[error("the unlocking was taken before")]
    TakenBefore,
}

/// All that a node knows of attempts.
///
/// Each node counts what it admitted itself, and adds to it what its peers told of
/// theirs. So a charge that is taken back is taken back everywhere, and a peer that
/// tells something twice changes nothing.
pub struct Throttle {
    key: ThrottleKey,
    limits: ThrottleLimits,
    own: Tables,
    peers: BTreeMap<Name, Tables>,
    accounts: Accounts,
    proven: Proven,
    unlocked: BTreeMap<AccountHash, u64>,
    used: UsedCodes,
    /// What peers told of enrolments that no record here knows.
    unconfirmed: BTreeMap<Name, Unconfirmed>,
    /// Enrolments whose codes were used since the peers were told, unless all of it has
    /// to be told.
    untold_used: BTreeSet<SlotHash>,
    /// What changed since the peers were told; none when all of it has to be told.
    untold: Option<BTreeSet<Slot>>,
}

/// Changes to be made durable.
#[derive(Debug)]
#[must_use = "a charge that is not durable is gone with the process"]
pub struct Changes(Vec<u8>);

impl Changes {
    /// The record's bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl Throttle {
    /// A state in which nobody has tried anything.
    #[must_use]
    pub fn new(key: ThrottleKey, limits: ThrottleLimits) -> Self {
        Self {
            key,
            limits,
            own: Tables::default(),
            peers: BTreeMap::new(),
            accounts: Accounts::default(),
            proven: Proven::default(),
            unlocked: BTreeMap::new(),
            used: UsedCodes::default(),
            unconfirmed: BTreeMap::new(),
            untold_used: BTreeSet::new(),
            untold: Some(BTreeSet::new()),
        }
    }

    /// Calls buckets by the names that the nodes of the realm have in common, once this
    /// one has its login secrets. Nobody may have tried anything before.
    pub fn call_by(&mut self, key: ThrottleKey) {
        self.key = key;
        // They stand under the names of the key before.
        self.accounts = Accounts::default();
    }

    /// Judges by other limits from now on.
    pub fn set_limits(&mut self, limits: ThrottleLimits) {
        self.limits = limits;
    }

    /// Admits an attempt and charges it, or refuses it and changes nothing.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn charge(
        &mut self,
        attempt: &Attempt<'_>,
        now_ms: u64,
    ) -> Result<(Ticket, Changes), Refused> {
        let account = self.key.account(attempt.user);
        let with_key = self.key.account_with_key(account, &attempt.key);
        let password = self.accounts.get(&account).password;
        let proven = self.proven.holding(&with_key.1, &password, now_ms);
        let proven = proven.is_some();
        let slots = if proven {
            vec![
                with_key,
                self.key.source(Kind::SourceWithKey, attempt.source),
            ]
        } else {
            vec![
                self.key.source(Kind::Source, attempt.source),
                self.key.account_from_source(account, attempt.source),
                Slot::account(account),
            ]
        };
        let (charged, entries) = self.charge_all(slots, now_ms)?;
        let ticket = Ticket {
            charged,
            proves: with_key.1,
            proven,
            password,
            code: None,
        };
        Ok((ticket, Changes(record::encode(&entries, now_ms))))
    }

    /// Admits a code of the second factor in a login that has proved the password, and
    /// charges it to the same ticket, or refuses it and changes nothing. A key has tries
    /// of its own where it has proved a code of this enrolment before; one that proved
    /// the password alone tells nothing of who holds it but that.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn charge_code(
        &mut self,
        ticket: &mut Ticket,
        enrolment: CredentialId,
        now_ms: u64,
    ) -> Result<Changes, Refused> {
        let mut name = ticket.proves;
        let held = self.proven.holding(&name, &ticket.password, now_ms);
        let proven = held.is_some_and(|held| held.enrolment == enrolment.to_bytes());
        if !ticket.proven || !proven {
            name[8..].fill(0);
        }
        let (charged, entries) = self.charge_all(vec![Slot(Kind::Code, name)], now_ms)?;
        ticket.charged.extend(charged);
        Ok(Changes(record::encode(&entries, now_ms)))
    }

    /// Admits that a delegate of the root, or one below it, has a password registered for
    /// `user`, and charges it, or refuses it and changes nothing. `delegate` is the key of
    /// the root's own delegate: who delegates further shares what there is.
    ///
    /// It is a guess like an attempt of a proven key: the answer lets who asks test one
    /// password of that name.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn charge_registration(
        &mut self,
        delegate: &KeyId,
        user: &Name,
        now_ms: u64,
    ) -> Result<Changes, Refused> {
        let account = self.key.account(user);
        let slots = vec![
            self.key.delegate(delegate),
            self.key.account_with_key(account, delegate),
        ];
        let (_, entries) = self.charge_all(slots, now_ms)?;
        Ok(Changes(record::encode(&entries, now_ms)))
    }

    /// Judges a code of `factor`, the second factor of the ticket's account, and notes
    /// that it was used. Nothing may follow from it before that is durable.
    ///
    /// # Errors
    /// [`CodeError`]; then nothing has changed.
    pub fn take_code(
        &mut self,
        ticket: &mut Ticket,
        factor: &SecondFactor,
        typed: &[u8],
        now_ms: u64,
    ) -> Result<(ProvenCode, Used, Changes), CodeError> {
        let mut slot = ticket.proves;
        slot[8..].copy_from_slice(&factor.id().to_bytes());
        let mut used = self.used.get(&slot);
        for told in self.unconfirmed.values() {
            if let Some(told) = told.get(&slot) {
                used.merge(told);
            }
        }
        let proven = factor.prove(typed, &used, now_ms)?;
        used.take(proven, now_ms);
        self.used.merge(slot, &used).ok_or(CodeError::NoRoom)?;
        ticket.code = Some(factor.id());
        self.note_untold_used(slot);
        let entry = Entry::Used(slot, used);
        Ok((proven, used, Changes(record::encode(&[entry], now_ms))))
    }

    /// Takes the charge of an attempt back that was proved, and remembers its key.
    pub fn refund(&mut self, ticket: Ticket, now_ms: u64) -> Changes {
        let mut entries = Vec::with_capacity(ticket.charged.len() + 1);
        for (slot, counted) in ticket.charged {
            let rule = slot.0.rule(&self.limits);
            let others = self.charges_of_peers(slot, &rule, now_ms);
            let mut bucket = self.own_bucket(slot, now_ms);
            if counted {
                bucket.refund(&rule, others, now_ms);
                entries.push(self.set_own(slot, bucket, now_ms));
            }
        }
        let until_ms = now_ms.saturating_add(PROVEN_FOR_MS);
        let key = ProvenKey {
            until_ms,
            password: ticket.password,
            enrolment: ticket.code.map(|id| id.to_bytes()).unwrap_or_default(),
        };
        self.proven.remember(ticket.proves, key);
        self.note_untold(Slot(Kind::AccountWithKey, ticket.proves));
        entries.push(Entry::Proven(ticket.proves, key));
        Changes(record::encode(&entries, now_ms))
    }

    /// Forgets what strangers tried at an account, for an unlocking that the realm's
    /// root issued at `issued_ms`. Each is taken once, or an old one would let
    /// whoever kept it clear his own tries.
    ///
    /// # Errors
    /// [`UnlockError`].
    pub fn unlock(
        &mut self,
        user: &Name,
        issued_ms: u64,
        now_ms: u64,
    ) -> Result<Changes, UnlockError> {
        if issued_ms.abs_diff(now_ms) > UNLOCK_AGE_MS_MAX {
            return Err(UnlockError::OtherTime);
        }
        let account = self.key.account(user);
        if self
            .unlocked
            .get(&account)
            .is_some_and(|at| *at >= issued_ms)
        {
            return Err(UnlockError::TakenBefore);
        }
        self.take_unlock(account, issued_ms, now_ms);
        let entry = Entry::Unlocked(account, issued_ms);
        Ok(Changes(record::encode(&[entry], now_ms)))
    }

    /// Takes a record of this node's own log.
    ///
    /// # Errors
    /// When the bytes are no record.
    pub fn replay(&mut self, bytes: &[u8]) -> Result<(), EncodingError> {
        let (now_ms, entries) = record::decode(bytes, None)?;
        for entry in entries {
            match entry {
                Entry::Bucket(slot, bucket) => self.own.set(slot, bucket, now_ms),
                Entry::Proven(slot, key) => {
                    self.proven.remember(slot, key);
                }
                Entry::Unlocked(account, issued_ms) => {
                    self.take_unlock(account, issued_ms, now_ms);
                }
                // It found room when it was written, and entries come in their order.
                Entry::Used(slot, used) => drop(self.used.merge(slot, &used)),
            }
        }
        Ok(())
    }

    /// Learns what the realm's records say of all accounts, behind a replay: what was
    /// kept of enrolments that none of them has is of no use any longer. Of several of one
    /// user the last holds; the enrolments of all of them are remembered.
    pub fn know_all<'a>(&mut self, accounts: impl IntoIterator<Item = Account<'a>>) {
        let mut enrolments = BTreeSet::new();
        for account in accounts {
            let hash = self.key.account(account.user);
            let current = Current::of(&account);
            self.accounts.set(hash, current);
            enrolments.insert(enrolment_slot(hash, current.enrolment));
        }
        self.used.retain(|slot| enrolments.contains(slot));
    }

    /// Learns what a new record says of an account: keys that proved another password are
    /// proven no longer. Returns what peers told of its enrolment before, to be made
    /// durable; none when there is nothing.
    pub fn know(&mut self, account: &Account<'_>, now_ms: u64) -> Option<Changes> {
        let hash = self.key.account(account.user);
        let current = Current::of(account);
        self.accounts.set(hash, current);
        let slot = enrolment_slot(hash, current.enrolment);
        let mut told: Option<Used> = None;
        for unconfirmed in self.unconfirmed.values_mut() {
            if let Some(used) = unconfirmed.take(&slot) {
                told.get_or_insert_default().merge(&used);
            }
        }
        let told = told?;
        if !self.accounts.has_enrolment(&slot) || self.used.merge(slot, &told) != Some(true) {
            return None;
        }
        self.note_untold_used(slot);
        let entry = Entry::Used(slot, told);
        Some(Changes(record::encode(&[entry], now_ms)))
    }

    /// Ends a replay: brings what is left within the limits and forgets what has
    /// decayed. The peers are told all of it.
    pub fn settle(&mut self, now_ms: u64) {
        self.own.settle(&self.limits, now_ms);
        self.proven.forget_expired(now_ms);
        self.untold = None;
        self.untold_used.clear();
    }

    /// What the peers have not been told yet, as records, at least one: that it is
    /// answered tells whether the peer is still the one that was told before.
    pub fn untold(&mut self, now_ms: u64) -> Vec<Vec<u8>> {
        let Some(untold) = self.untold.replace(BTreeSet::new()) else {
            self.untold_used.clear();
            return self.all(now_ms);
        };
        let used = std::mem::take(&mut self.untold_used);
        let used = used
            .into_iter()
            .map(|slot| Entry::Used(slot, self.used.get(&slot)));
        let entries: Vec<Entry> = untold
            .into_iter()
            .flat_map(|slot| {
                let proven = self
                    .proven
                    .get(&slot.1)
                    .filter(|_| slot.0 == Kind::AccountWithKey);
                let proven = proven.map(|key| Entry::Proven(slot.1, key));
                [Some(Entry::Bucket(slot, self.own.get(slot))), proven]
            })
            .flatten()
            .chain(used)
            .collect();
        portions(&entries, now_ms)
    }

    /// All that this node counted itself, all proven keys and all used codes, as
    /// records, for a peer that may have missed some.
    #[must_use]
    pub fn all(&self, now_ms: u64) -> Vec<Vec<u8>> {
        let buckets = self
            .own
            .iter()
            .filter(|(_, bucket)| !bucket.is_empty(now_ms))
            .map(|(slot, bucket)| Entry::Bucket(slot, bucket));
        let proven = self
            .proven
            .iter()
            .map(|(slot, key)| Entry::Proven(slot, key));
        let used = self.used.iter().map(|(slot, used)| Entry::Used(slot, used));
        portions(
            &buckets.chain(proven).chain(used).collect::<Vec<_>>(),
            now_ms,
        )
    }

    /// Takes what a peer told of its own counting. Returns the proven keys and used codes
    /// that were new, to be made durable; none when there are none.
    ///
    /// # Errors
    /// When the bytes are no record.
    pub fn learn(
        &mut self,
        peer: &Name,
        bytes: &[u8],
        now_ms: u64,
    ) -> Result<Option<Changes>, EncodingError> {
        let (_, entries) = record::decode(bytes, Some(now_ms))?;
        // Peers are members of a roster; this bounds what a caller's fault could do.
        if self.peers.len() >= NODES_MAX && !self.peers.contains_key(peer) {
            return Ok(None);
        }
        let tables = self.peers.entry(peer.clone()).or_default();
        let mut learnt = Vec::new();
        let latest_ms = now_ms.saturating_add(PROVEN_FOR_MS);
        for entry in entries {
            match entry {
                Entry::Bucket(slot, bucket) => {
                    let rule = slot.0.rule(&self.limits);
                    tables.set(slot, bucket.within(&rule, now_ms), now_ms);
                }
                Entry::Proven(slot, mut key) => {
                    key.until_ms = key.until_ms.min(latest_ms);
                    if self.proven.remember(slot, key) {
                        learnt.push(Entry::Proven(slot, key));
                    }
                }
                // Told by the administrator to each node itself.
                Entry::Unlocked(..) => {}
                Entry::Used(slot, used) => {
                    let used = used.within(now_ms);
                    if !self.accounts.has_enrolment(&slot) && !self.used.holds(&slot) {
                        let unconfirmed = self.unconfirmed.entry(peer.clone());
                        unconfirmed.or_default().merge(slot, &used);
                    // One that finds no room here is one whose codes this node refuses.
                    } else if self.used.merge(slot, &used) == Some(true) {
                        learnt.push(Entry::Used(slot, used));
                    }
                }
            }
        }
        for entry in &learnt {
            // Handed on: the teller may not reach everybody.
            if let Entry::Used(slot, _) = entry {
                self.note_untold_used(*slot);
            }
        }
        Ok((!learnt.is_empty()).then(|| Changes(record::encode(&learnt, now_ms))))
    }

    fn take_unlock(&mut self, account: AccountHash, issued_ms: u64, now_ms: u64) {
        for slot in self.own.clear_account(account) {
            self.note_untold(slot);
        }
        for tables in self.peers.values_mut() {
            tables.clear_account(account);
        }
        // Older ones are refused for their age.
        self.unlocked
            .retain(|_, at| at.abs_diff(now_ms) <= 2 * UNLOCK_AGE_MS_MAX);
        self.unlocked.insert(account, issued_ms);
    }

    /// A bucket of this node, brought within its rule for good: a clock that was set
    /// back must not make anybody wait again and again.
    fn own_bucket(&mut self, slot: Slot, now_ms: u64) -> Bucket {
        let held = self.own.get(slot);
        let bucket = held.within(&slot.0.rule(&self.limits), now_ms);
        if bucket != held {
            self.own.set(slot, bucket, now_ms);
        }
        bucket
    }

    fn set_own(&mut self, slot: Slot, bucket: Bucket, now_ms: u64) -> Entry {
        self.own.set(slot, bucket, now_ms);
        self.note_untold(slot);
        Entry::Bucket(slot, bucket)
    }

    fn note_untold(&mut self, slot: Slot) {
        if let Some(untold) = &mut self.untold {
            untold.insert(slot);
            if untold.len() > UNTOLD_MAX {
                self.untold = None;
            }
        }
    }

    fn note_untold_used(&mut self, slot: SlotHash) {
        self.untold_used.insert(slot);
        if self.untold_used.len() > UNTOLD_MAX {
            self.untold = None;
        }
    }

    /// Charges all of `slots`, or none when one of them makes wait.
    #[expect(
        clippy::type_complexity,
        reason = "where it was charged, and what to write"
    )]
    fn charge_all(
        &mut self,
        slots: Vec<Slot>,
        now_ms: u64,
    ) -> Result<(Vec<(Slot, bool)>, Vec<Entry>), Refused> {
        // While a table is full it may be a shared bucket that is charged; what a peer
        // told of the slot itself is looked at all the same.
        let judged: Vec<(Slot, Slot)> = slots
            .into_iter()
            .map(|slot| (slot, self.own.resolve(slot, now_ms)))
            .collect();
        let wait_ms = judged
            .iter()
            .map(|(slot, counted)| self.wait_ms(*slot, *counted, now_ms))
            .max()
            .unwrap_or(0);
        if wait_ms > 0 {
            return Err(Refused { wait_ms });
        }
        let mut entries = Vec::with_capacity(judged.len());
        let mut charged = Vec::with_capacity(judged.len());
        for (_, counted) in judged {
            let rule = counted.0.rule(&self.limits);
            let others = self.charges_of_peers(counted, &rule, now_ms);
            let mut bucket = self.own_bucket(counted, now_ms);
            charged.push((counted, bucket.charge(&rule, others, now_ms)));
            entries.push(self.set_own(counted, bucket, now_ms));
        }
        Ok((charged, entries))
    }

    fn wait_ms(&mut self, slot: Slot, counted: Slot, now_ms: u64) -> u64 {
        let own = self.own_bucket(counted, now_ms).wait_ms(now_ms);
        let peers = self.wait_ms_of_peers(slot, now_ms);
        own.max(peers).max(self.wait_ms_of_peers(counted, now_ms))
    }

    fn wait_ms_of_peers(&mut self, slot: Slot, now_ms: u64) -> u64 {
        let rule = slot.0.rule(&self.limits);
        let wait_ms = |tables: &mut Tables| {
            let held = tables.get(slot);
            let bucket = held.within(&rule, now_ms);
            if bucket != held {
                tables.set(slot, bucket, now_ms);
            }
            bucket.wait_ms(now_ms)
        };
        self.peers.values_mut().map(wait_ms).max().unwrap_or(0)
    }

    fn charges_of_peers(&self, slot: Slot, rule: &Rule, now_ms: u64) -> u64 {
        self.peers
            .values()
            .map(|tables| tables.get(slot).charges(rule, now_ms))
            .fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
impl Throttle {
    /// Has no more room than this for used codes.
    pub(crate) fn remember_at_most(&mut self, enrolments: usize) {
        self.used.hold_at_most(enrolments);
    }
}

/// What the used codes of an enrolment are called by.
fn enrolment_slot(account: AccountHash, enrolment: Tag) -> SlotHash {
    let mut slot = SlotHash::default();
    slot[..8].copy_from_slice(&account);
    slot[8..].copy_from_slice(&enrolment);
    slot
}

fn portions(entries: &[Entry], now_ms: u64) -> Vec<Vec<u8>> {
    if entries.is_empty() {
        return vec![record::encode(&[], now_ms)];
    }
    entries
        .chunks(RECORD_ENTRIES_MAX)
        .map(|entries| record::encode(entries, now_ms))
        .collect()
}
