//! In-process store.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rr_spi::{Error, Headers, async_trait};
use tokio::time::Instant;

use super::{Claim, Fingerprint, Outcome, ScopedKey, Settlement, Store, Ticket};

/// The longest deadline that a server grants by default, counted from the end of the run.
const TTL: Duration = Duration::from_secs(5 * 60);

/// Some 20 MB with keys of ordinary length.
const ENTRIES_MAX: usize = 65_536;

/// Thirty answers of the greatest length, or 500 bytes for each key.
const BYTES_MAX: usize = 32 * 1024 * 1024;

rr_spi::options! {
    /// Capacity and retention of a [`MemoryStore`].
    pub struct MemoryStoreConfig {
        /// Time for which a key is kept after its run has ended. Default 5 min; 0 keeps nothing, so
        /// that only duplicates in flight are found.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub ttl: Duration = TTL, with_ttl(Duration);
        /// Maximum number of keys. When the store is full, a new key evicts the key that ended
        /// first, and a duplicate of the evicted request would run. Default 65 536, which is 218
        /// keyed requests a second for 5 min; 0 refuses every keyed request.
        pub entries_max: usize = ENTRIES_MAX, with_entries_max(usize);
        /// Maximum number of bytes of answers: bodies, headers, texts. Over the limit, the oldest
        /// answers are dropped and their keys stay: a duplicate does not run and fails with
        /// `outcome-lost`. Default 32 MiB; 0 keeps no answer.
        pub bytes_max: usize = BYTES_MAX, with_bytes_max(usize);
    }
}

/// Bounded store of keys and answers in this process, on tokio's clock.
///
/// **It covers this process only.** If several processes serve a target, behind a load balancer or
/// in a NATS queue group, a duplicate that reaches another process runs there, and a restart
/// forgets all keys. Such processes need another [`Store`] that they share.
pub struct MemoryStore {
    config: MemoryStoreConfig,
    table: Mutex<Table>,
}

impl MemoryStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new(config: MemoryStoreConfig) -> Self {
        Self { config, table: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // A panic cannot leave the table half-changed: no foreign code runs under the lock.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the table. Evicted answers are dropped outside of the lock, since they own foreign
    /// values.
    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let (result, evicted) = {
            let mut table = self.lock();
            table.expire(Instant::now());
            (change(&mut table), mem::take(&mut table.evicted))
        };
        drop(evicted);
        result
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn claim(&self, key: &ScopedKey, fingerprint: Fingerprint) -> Result<Claim, Error> {
        Ok(self.change(|table| table.claim(key, fingerprint, self.config.entries_max)))
    }

    async fn settle(
        &self,
        key: &ScopedKey,
        ticket: Ticket,
        settlement: Settlement,
    ) -> Result<(), Error> {
        let end = Instant::now().checked_add(self.config.ttl);
        let settlement = match settlement {
            // Compacted, so that the counted bytes are those held.
            Settlement::Kept(Ok(response)) => Settlement::Kept(Ok(response.compacted())),
            Settlement::Kept(Err(error)) => Settlement::Kept(Err(error.compacted())),
            other => other,
        };
        self.change(|table| table.settle(key, ticket, settlement, end, self.config.bytes_max));
        Ok(())
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (entries, bytes) = {
            let table = self.lock();
            (table.slots.len(), table.bytes)
        };
        f.debug_struct("MemoryStore")
            .field("config", &self.config)
            .field("entries", &entries)
            .field("bytes", &bytes)
            .finish()
    }
}

#[derive(Default)]
struct Table {
    slots: HashMap<ScopedKey, Slot>,
    /// Keys whose run has ended, oldest first, with the time of expiry; `None` never expires.
    ended: VecDeque<(ScopedKey, Option<Instant>)>,
    /// Keys in `ended` whose answer is kept, in the same order.
    answered: VecDeque<ScopedKey>,
    /// Total bytes of the answers.
    bytes: usize,
    tickets: u64,
    evicted: Vec<State>,
}

struct Slot {
    fingerprint: Fingerprint,
    ticket: Ticket,
    state: State,
}

enum State {
    Running,
    Kept(Outcome),
    Lost,
}

impl Table {
    fn claim(&mut self, key: &ScopedKey, fingerprint: Fingerprint, entries_max: usize) -> Claim {
        if let Some(slot) = self.slots.get(key) {
            if slot.fingerprint != fingerprint {
                return Claim::Reused;
            }
            return match &slot.state {
                State::Running => Claim::Running,
                State::Kept(outcome) => Claim::Kept(outcome.clone()),
                State::Lost => Claim::Lost,
            };
        }
        // Running keys are never evicted: their duplicates would run.
        while self.slots.len() >= entries_max {
            if !self.forget_oldest() {
                return Claim::Full;
            }
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.slots.insert(key.clone(), Slot { fingerprint, ticket, state: State::Running });
        Claim::New(ticket)
    }

    fn settle(
        &mut self,
        key: &ScopedKey,
        ticket: Ticket,
        settlement: Settlement,
        end: Option<Instant>,
        bytes_max: usize,
    ) {
        let Some(slot) = self.slots.get_mut(key).filter(|slot| slot.ticket == ticket) else {
            return;
        };
        if !matches!(slot.state, State::Running) {
            return;
        }
        match settlement {
            Settlement::NotRun => {
                self.slots.remove(key);
                return;
            }
            Settlement::Lost => slot.state = State::Lost,
            Settlement::Kept(outcome) => {
                self.bytes += bytes_of(&outcome);
                slot.state = State::Kept(outcome);
                self.answered.push_back(key.clone());
            }
        }
        self.ended.push_back((key.clone(), end));
        while self.bytes > bytes_max && self.drop_oldest_answer() {}
    }

    /// Removes expired keys. All keys have the same lifetime, so the first to end expires first.
    fn expire(&mut self, now: Instant) {
        let over = |(_, end): &(ScopedKey, Option<Instant>)| end.is_some_and(|end| end <= now);
        while self.ended.front().is_some_and(over) {
            self.forget_oldest();
        }
    }

    /// Removes the key that ended first and returns whether there was one.
    fn forget_oldest(&mut self) -> bool {
        let Some((key, _)) = self.ended.pop_front() else { return false };
        if self.answered.front() == Some(&key) {
            self.drop_oldest_answer();
        }
        self.slots.remove(&key);
        true
    }

    /// Drops the oldest answer and returns whether there was one. Its key stays.
    fn drop_oldest_answer(&mut self) -> bool {
        let oldest = self.answered.pop_front();
        let Some(slot) = oldest.and_then(|key| self.slots.get_mut(&key)) else { return false };
        let evicted = mem::replace(&mut slot.state, State::Lost);
        if let State::Kept(outcome) = &evicted {
            self.bytes -= bytes_of(outcome);
        }
        self.evicted.push(evicted);
        true
    }
}

fn bytes_of(outcome: &Outcome) -> usize {
    let headers = |headers: &Headers| -> usize {
        headers.iter().map(|(name, value)| name.len() + value.len()).sum()
    };
    match outcome {
        Ok(response) => response.body.len() + headers(&response.headers),
        Err(error) => {
            let details = error.details().iter().map(|d| d.kind.len() + d.value.len());
            error.message().len() + headers(error.headers()) + details.sum::<usize>()
        }
    }
}

#[cfg(test)]
mod tests;
