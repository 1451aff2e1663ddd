//! Who runs, who waits and who is refused: a pure decision.

use std::collections::BTreeMap;
use std::sync::Arc;

use rr_spi::Criticality;

use super::config::{ConcurrencyConfig, Order};

/// What the gate knows of a call.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) criticality: Criticality,
    /// Group that the call counts towards, such as a tenant.
    pub(super) key: Option<Arc<str>>,
}

/// Calls that run and calls that wait, each with a value that wakes it, also when it is dropped.
#[derive(Debug)]
pub(super) struct Gate<W> {
    running: usize,
    /// Running calls of each key; no entry is zero.
    by_key: BTreeMap<Arc<str>, usize>,
    /// In the order of their arrival.
    waiting: Vec<Waiting<W>>,
    next: u64,
}

#[derive(Debug)]
struct Waiting<W> {
    id: u64,
    entry: Entry,
    wakes: W,
}

/// Decision on a call that arrives.
#[derive(Debug)]
pub(super) enum Entered {
    Runs,
    /// Waits under this number.
    Waits(u64),
    Refused,
}

impl<W> Default for Gate<W> {
    fn default() -> Self {
        Self { running: 0, by_key: BTreeMap::new(), waiting: Vec::new(), next: 0 }
    }
}

impl<W> Gate<W> {
    /// Returns the number of running calls.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// Returns the number of waiting calls.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Decides on a call that arrives.
    pub(super) fn enter(
        &mut self,
        entry: &Entry,
        limit: usize,
        config: &ConcurrencyConfig,
        wakes: impl FnOnce() -> W,
    ) -> Entered {
        if self.may_run(entry, limit, config) {
            self.begin(entry);
            return Entered::Runs;
        }
        if config.wait_max.is_zero() {
            return Entered::Refused;
        }
        if self.waiting.len() >= config.waiting_max {
            let Some(at) = self.displaceable(entry, config.order) else { return Entered::Refused };
            // Dropping the value tells the waiting call that it has been displaced.
            self.waiting.remove(at);
        }
        let id = self.next;
        self.next += 1;
        self.waiting.push(Waiting { id, entry: entry.clone(), wakes: wakes() });
        Entered::Waits(id)
    }

    /// Ends a running call.
    pub(super) fn leave(&mut self, entry: &Entry) {
        self.running = self.running.saturating_sub(1);
        let Some(key) = &entry.key else { return };
        if let Some(count) = self.by_key.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.by_key.remove(key);
            }
        }
    }

    /// Begins the next waiting call that may run.
    pub(super) fn next(&mut self, limit: usize, config: &ConcurrencyConfig) -> Option<W> {
        let candidates = self.waiting.iter().enumerate();
        let candidates = candidates.filter(|(_, one)| self.may_run(&one.entry, limit, config));
        // The most critical; of those, of the key with the fewest running calls; then by age.
        let age = |at: usize| match config.order {
            Order::OldestFirst => at,
            Order::NewestFirst => usize::MAX - at,
        };
        let next = candidates.min_by_key(|(at, Waiting { entry, .. })| {
            (std::cmp::Reverse(entry.criticality), self.running_of(entry), age(*at))
        });
        let (at, _) = next?;
        let Waiting { entry, wakes, .. } = self.waiting.remove(at);
        self.begin(&entry);
        Some(wakes)
    }

    /// Removes a waiting call; returns `false` if it does not wait any more.
    pub(super) fn withdraw(&mut self, id: u64) -> bool {
        let at = self.waiting.iter().position(|one| one.id == id);
        at.map(|at| self.waiting.remove(at)).is_some()
    }

    fn begin(&mut self, entry: &Entry) {
        self.running += 1;
        if let Some(key) = &entry.key {
            *self.by_key.entry(Arc::clone(key)).or_default() += 1;
        }
    }

    fn running_of(&self, entry: &Entry) -> usize {
        entry.key.as_ref().and_then(|key| self.by_key.get(key)).copied().unwrap_or(0)
    }

    fn may_run(&self, entry: &Entry, limit: usize, config: &ConcurrencyConfig) -> bool {
        let share = part(limit, share_percent(entry.criticality));
        let of_key = part(limit, config.key_percent_max.min(100));
        self.running < share && (entry.key.is_none() || self.running_of(entry) < of_key)
    }

    /// Returns the waiting call that this one displaces: the least critical, and of those the one
    /// that would run last.
    fn displaceable(&self, entry: &Entry, order: Order) -> Option<usize> {
        let last = |at: usize| match order {
            Order::OldestFirst => usize::MAX - at,
            Order::NewestFirst => at,
        };
        let waiting = self.waiting.iter().enumerate();
        let (at, least) = waiting.min_by_key(|(at, one)| (one.entry.criticality, last(*at)))?;
        let gives_way = match order {
            Order::OldestFirst => least.entry.criticality < entry.criticality,
            Order::NewestFirst => least.entry.criticality <= entry.criticality,
        };
        gives_way.then_some(at)
    }
}

/// Returns the part of the limit that calls of a criticality may fill, in percent. The rest is kept
/// for more critical calls.
const fn share_percent(criticality: Criticality) -> u32 {
    match criticality {
        Criticality::Sheddable => 60,
        Criticality::SheddablePlus => 80,
        _ => 100,
    }
}

/// Returns a part of the limit, at least one.
fn part(limit: usize, percent: u32) -> usize {
    let percent = usize::try_from(percent).unwrap_or(100);
    (limit.saturating_mul(percent) / 100).max(1)
}
