//! Worlds of one number of faults, run by several threads.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::super::fault::Script;
use super::super::panics;
use super::super::report::{Counterexample, Level};
use super::super::trace::Rivals;
use super::super::world::World;
use super::Run;
use super::exploration::{Exploration, Planned, held_up_by};
use super::places::{Numbered, Places};
use crate::sync::lock;

/// Worlds of one number of faults, shared by the threads.
pub(super) struct Shared {
    run: Run,
    places: Arc<Mutex<Places>>,
    pub(super) scripts: Vec<Numbered>,
    /// Fingerprint of the world of each script without its last fault.
    pub(super) parents: Vec<Option<u64>>,
    messages_max: usize,
    has_orders: bool,
    next_level: NextLevel,
    next: AtomicUsize,
    /// Index of the first world that failed.
    failed: AtomicUsize,
    end: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

/// Worlds that follow those of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextLevel {
    /// Worlds with one more fault.
    Children,
    /// Worlds that are drawn from the places that were seen.
    Drawn,
    None,
}

#[derive(Default)]
pub(super) struct State {
    /// Worlds that passed, by their index, if there will be worlds with one more fault.
    pub(super) passed: HashMap<usize, Passed>,
    explored: usize,
    unfired: usize,
    messages: usize,
    failure: Option<(usize, World)>,
    /// Worlds that are running, and since when.
    running: HashMap<usize, Instant>,
    idle: usize,
}

/// World that passed.
pub(super) struct Passed {
    /// Messages up to the last fault, that of the fault included.
    pub(super) before: usize,
    /// Messages after the last fault.
    pub(super) later: Vec<(u32, Rivals)>,
    /// `None` if a fault never struck.
    pub(super) fingerprint: Option<u64>,
}

impl Exploration {
    /// Runs the worlds of a level; returns when all have ended, or one holds up the others.
    pub(super) fn level(
        &mut self,
        faults: usize,
        planned: Planned,
        next_level: NextLevel,
    ) -> (Arc<Shared>, State) {
        let Planned { scripts, parents, worlds, equal } = planned;
        let threads = self.worlds.threads.min(scripts.len());
        let shared = Arc::new(Shared {
            run: Arc::clone(&self.run),
            places: Arc::clone(&self.places),
            scripts,
            parents,
            messages_max: self.worlds.messages_max,
            has_orders: self.worlds.has_orders(),
            next_level,
            next: AtomicUsize::new(0),
            failed: AtomicUsize::new(usize::MAX),
            end: self.began + self.worlds.time_max,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        for _ in 0..threads {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.work());
        }
        let mut state = self.wait(&shared, threads);
        if let Some((at, _)) = state.failure {
            // Later worlds may have been run as well, by chance.
            state.explored = at + 1;
        }
        self.report.levels.push(Level { faults, worlds, explored: state.explored, equal });
        self.report.unfired += state.unfired;
        self.report.messages = self.report.messages.max(state.messages);
        self.report.messages_tried = self.report.messages.min(self.worlds.messages_max);
        if let Some((at, world)) = state.failure.take() {
            let script = shared.scripts.get(at).map(|faults| lock(&self.places).script(faults));
            self.report.counterexample = Counterexample::of(script.unwrap_or_default(), world);
        }
        (shared, state)
    }

    /// Waits until all threads have ended, or a world holds them up.
    fn wait(&mut self, shared: &Shared, threads: usize) -> State {
        let mut state = lock(&shared.state);
        while state.idle < threads {
            let waited = shared.changed.wait_timeout(state, Duration::from_secs(1));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            let longest = self.worlds.world_time_max;
            let held_up = state.running.iter().find(|(_, since)| since.elapsed() > longest);
            if let Some((at, _)) = held_up {
                let script = shared.scripts.get(*at).map(|it| lock(&shared.places).script(it));
                self.report.refused = Some(held_up_by(&script.unwrap_or_default(), longest));
                break;
            }
        }
        std::mem::take(&mut *state)
    }
}

impl Shared {
    /// Runs worlds until there is none left.
    fn work(&self) {
        loop {
            let at = self.next.fetch_add(1, Ordering::SeqCst);
            let is_left = at < self.failed.load(Ordering::SeqCst) && Instant::now() < self.end;
            let Some(faults) = self.scripts.get(at).filter(|_| is_left) else { break };
            lock(&self.state).running.insert(at, Instant::now());
            let script = lock(&self.places).script(faults);
            let world = panics::silently(|| (self.run)(&script));
            self.ended(at, &script, world);
        }
        lock(&self.state).idle += 1;
        self.changed.notify_all();
    }

    fn ended(&self, at: usize, script: &Script, world: World) {
        let last = script.0.last().map(|(place, _)| place);
        let places = &world.trace.places;
        let messages = places.len();
        let before = last.map_or(0, |last| {
            places.iter().position(|place| place == last).map_or(messages, |at| at + 1)
        });
        let later: Vec<_> = if self.next_level == NextLevel::None {
            Vec::new()
        } else {
            let mut numbers = lock(&self.places);
            let calls = places.iter().zip(&world.trace.profiles).zip(&world.trace.rivals);
            let calls = calls.take(self.messages_max).skip(before);
            let numbered =
                calls.map(|((place, profile), rivals)| (numbers.number(place, *profile), *rivals));
            numbered.collect()
        };
        let mut state = lock(&self.state);
        state.running.remove(&at);
        state.explored += 1;
        state.unfired += usize::from(world.fired < script.len());
        state.messages = state.messages.max(messages);
        if world.wrong.is_none() {
            if self.next_level == NextLevel::Children {
                let fingerprint = (world.fired == script.len()).then(|| self.fingerprint(&world));
                state.passed.insert(at, Passed { before, later, fingerprint });
            }
            return;
        }
        // A world before it may fail as well: it is the smaller one.
        if at < self.failed.fetch_min(at, Ordering::SeqCst) {
            state.failure = Some((at, world));
        }
    }
}

impl Shared {
    /// Returns the fingerprint of a world: equal worlds have the same children. With orders, those
    /// depend on which messages are ready in the same instant.
    fn fingerprint(&self, world: &World) -> u64 {
        if !self.has_orders {
            return world.fingerprint;
        }
        let mut hasher = DefaultHasher::new();
        (world.fingerprint, &world.trace.rivals).hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Worlds;
    use super::*;
    use crate::worlds::Network;
    use crate::worlds::fault::Place;
    use crate::worlds::world;

    /// Runs the world without faults; returns the worlds and the places that are kept.
    fn kept(next_level: NextLevel) -> (usize, bool) {
        let run: Run = Arc::new(|script: &Script| {
            let mut world = world::run(&|_: Network| async {}, script);
            let [from, to, target] = ["a", "b", "b.x"].map(str::to_owned);
            world.trace.places.push(Place { from, to, target, nth: 1 });
            world.trace.profiles.push(crate::worlds::Profile::Memory);
            world.trace.rivals.push(Rivals::default());
            world
        });
        let mut exploration = Exploration::new(Worlds::up_to(0), run);
        let (_, state) = exploration.level(0, Planned::of(vec![Numbered::new()]), next_level);
        assert_eq!(state.explored, 1);
        let has_places = !lock(&exploration.places).faults(&[]).is_empty();
        (state.passed.len(), has_places)
    }

    #[test]
    fn a_level_keeps_what_the_next_one_needs() {
        assert_eq!(kept(NextLevel::Children), (1, true));
        assert_eq!(kept(NextLevel::Drawn), (0, true));
        assert_eq!(kept(NextLevel::None), (0, false));
    }
}
