//! Worlds of one number of faults, run by several threads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::super::fault::Script;
use super::super::report::{Counterexample, Level};
use super::super::world::{self, World};
use super::Run;
use super::exploration::{Exploration, Planned};
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
    /// Whether there will be worlds with one more fault.
    has_children: bool,
    next: AtomicUsize,
    /// Index of the first world that failed.
    failed: AtomicUsize,
    end: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    /// Worlds that passed, by their index.
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
    pub(super) later: Vec<u32>,
    /// `None` if a fault never struck.
    pub(super) fingerprint: Option<u64>,
}

impl Exploration {
    /// Runs the worlds of a level; returns when all have ended, or one holds up the others.
    pub(super) fn level(&mut self, faults: usize, planned: Planned) -> (Arc<Shared>, State) {
        let Planned { scripts, parents, worlds, equal } = planned;
        let threads = self.worlds.threads.min(scripts.len());
        let shared = Arc::new(Shared {
            run: Arc::clone(&self.run),
            places: Arc::clone(&self.places),
            scripts,
            parents,
            messages_max: self.worlds.messages_max,
            has_children: faults < self.worlds.faults_max || self.worlds.random.is_some(),
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
                self.report.refused = Some(format!(
                    "a world has not ended after {} s of real time: the scenario computes for ever, \
                     or blocks its thread\n  RR_WORLD='{}'",
                    longest.as_secs(),
                    script.unwrap_or_default()
                ));
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
            let world = world::silently(|| (self.run)(&script));
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
        let later: Vec<u32> = if self.has_children {
            let mut numbers = lock(&self.places);
            let calls = places.iter().zip(&world.trace.profiles);
            let calls = calls.take(self.messages_max).skip(before);
            calls.map(|(place, profile)| numbers.number(place, *profile)).collect()
        } else {
            Vec::new()
        };
        let mut state = lock(&self.state);
        state.running.remove(&at);
        state.explored += 1;
        state.unfired += usize::from(world.fired < script.len());
        state.messages = state.messages.max(messages);
        if world.wrong.is_none() {
            let fingerprint = (world.fired == script.len()).then_some(world.fingerprint);
            state.passed.insert(at, Passed { before, later, fingerprint });
            return;
        }
        // A world before it may fail as well: it is the smaller one.
        if at < self.failed.fetch_min(at, Ordering::SeqCst) {
            state.failure = Some((at, world));
        }
    }
}
