//! Exploration of all worlds of up to k faults, the smallest first.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the real time that a test takes; worlds run in virtual time"
)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::env;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rr_spi::{Entropy as _, SeededEntropy};

use super::fault::{Fault, Place, Script};
use super::network::Network;
use super::report::{Counterexample, Level, WorldsReport};
use super::world::{self, World};
use crate::sync::lock;

/// Variable with the script of the only world to run.
const REPLAY: &str = "RR_WORLD";

/// Exploration of the worlds of a scenario.
///
/// # Examples
///
/// ```
/// use rr_testkit::worlds::{Fault, Worlds};
///
/// let report = Worlds::up_to(2).with_faults([Fault::ReplyLost]).run(|network| async move {
///     // Serve the application's services in the network, call them, and assert.
///     assert_eq!(network.in_flight(), 0);
/// });
/// assert!(report.counterexample().is_none(), "{report}");
/// ```
#[derive(Clone, Debug)]
pub struct Worlds {
    faults_max: usize,
    kinds: Vec<Fault>,
    worlds_max: usize,
    messages_max: usize,
    time_max: Duration,
    world_time_max: Duration,
    threads: usize,
    random: Option<Random>,
}

/// Worlds that are drawn at random, after all smaller ones.
#[derive(Clone, Copy, Debug)]
struct Random {
    seed: u64,
    worlds: usize,
    faults: usize,
}

impl Worlds {
    /// Explores worlds of up to this number of faults.
    ///
    /// The default limits are 1,000,000 worlds, faults at the first 1000 messages of a world, and 10
    /// minutes of real time; the report says what they left out. As many threads run as the machine has cores.
    #[must_use]
    pub fn up_to(faults: usize) -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let (kinds, time_max) = (Fault::ALL.to_vec(), Duration::from_secs(600));
        let world_time_max = Duration::from_secs(30);
        Self {
            faults_max: faults,
            kinds,
            worlds_max: 1_000_000,
            messages_max: 1000,
            time_max,
            world_time_max,
            threads,
            random: None,
        }
    }

    /// Also runs so many worlds of this number of faults, drawn from a seed, once all smaller worlds
    /// have passed. A counterexample loses every fault that it does not need.
    #[must_use]
    pub fn with_random(mut self, seed: u64, worlds: usize, faults: usize) -> Self {
        self.random = Some(Random { seed, worlds, faults });
        self
    }

    /// Sets the real time after which a world that has not ended is given up, with the whole
    /// exploration. Default 30 s.
    #[must_use]
    pub fn with_world_time_max(mut self, time: Duration) -> Self {
        self.world_time_max = time;
        self
    }

    /// Tries only these faults. They are tried in the order of [`Fault::ALL`].
    #[must_use]
    pub fn with_faults(mut self, kinds: impl IntoIterator<Item = Fault>) -> Self {
        self.kinds = kinds.into_iter().collect();
        self.kinds.sort_unstable();
        self.kinds.dedup();
        self
    }

    /// Sets the maximum number of worlds.
    #[must_use]
    pub fn with_worlds_max(mut self, worlds: usize) -> Self {
        self.worlds_max = worlds;
        self
    }

    /// Sets the number of messages of a world that faults may strike: the first ones.
    #[must_use]
    pub fn with_messages_max(mut self, messages: usize) -> Self {
        self.messages_max = messages;
        self
    }

    /// Sets the maximum real time. No world is started afterwards.
    #[must_use]
    pub fn with_time_max(mut self, time: Duration) -> Self {
        self.time_max = time;
        self
    }

    /// Sets the number of threads; 0 counts as 1.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Runs the scenario in every world, and panics with the smallest counterexample.
    ///
    /// With the variable `RR_WORLD`, such as `RR_WORLD='shop>payments/payments.charge#1=reply-lost'`,
    /// it runs that world only.
    ///
    /// # Panics
    ///
    /// When a world breaks the scenario, when a world could not be run, or when the scenario sent no
    /// message at all.
    pub fn check<F, S>(self, scenario: F)
    where
        F: Fn(Network) -> S + Send + Sync + 'static,
        S: Future<Output = ()>,
    {
        let report = self.run(scenario);
        assert!(report.has_passed(), "{report}");
    }

    /// Runs the scenario in every world; see [`Worlds::check`].
    ///
    /// # Panics
    ///
    /// When the variable `RR_WORLD` has no script.
    pub fn run<F, S>(self, scenario: F) -> WorldsReport
    where
        F: Fn(Network) -> S + Send + Sync + 'static,
        S: Future<Output = ()>,
    {
        if let Ok(text) = env::var(REPLAY) {
            let script = text.parse().unwrap_or_else(|error| panic!("{REPLAY}: {error}"));
            return Self::replay(&script, scenario);
        }
        let run: Run = Arc::new(move |script: &Script| world::run(&scenario, script));
        Exploration::new(self, run).all()
    }

    /// Runs the scenario in one world only, on this thread.
    pub fn replay<F, S>(script: &Script, scenario: F) -> WorldsReport
    where
        F: Fn(Network) -> S,
        S: Future<Output = ()>,
    {
        WorldsReport::of(script, world::run(&scenario, script))
    }
}

type Run = Arc<dyn Fn(&Script) -> World + Send + Sync>;

/// Script by the numbers of its places: there are few places and many scripts.
type Numbered = Vec<(u32, Fault)>;

/// Numbers of the places that were seen.
#[derive(Default)]
struct Places {
    numbers: HashMap<Place, u32>,
    places: Vec<Place>,
}

impl Places {
    fn number(&mut self, place: &Place) -> u32 {
        if let Some(number) = self.numbers.get(place) {
            return *number;
        }
        let number = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.numbers.insert(place.clone(), number);
        self.places.push(place.clone());
        number
    }

    /// Returns for each place whether a service sends its message.
    fn sent_by_services(&self) -> Vec<bool> {
        let services: HashSet<&str> = self.places.iter().map(|place| place.to.as_str()).collect();
        self.places.iter().map(|place| services.contains(place.from.as_str())).collect()
    }

    fn script(&self, faults: &Numbered) -> Script {
        let place = |number: u32| self.places.get(number as usize).cloned();
        let faults = faults.iter().filter_map(|(number, fault)| Some((place(*number)?, *fault)));
        Script(faults.collect())
    }
}

struct Exploration {
    worlds: Worlds,
    run: Run,
    places: Arc<Mutex<Places>>,
    report: WorldsReport,
    began: Instant,
}

/// Worlds of one number of faults, shared by the threads.
struct Shared {
    run: Run,
    places: Arc<Mutex<Places>>,
    scripts: Vec<Numbered>,
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
struct State {
    /// Messages after the last fault of each world that passed, by its index.
    later: HashMap<usize, Vec<u32>>,
    explored: usize,
    unfired: usize,
    messages: usize,
    failure: Option<(usize, World)>,
    /// Worlds that are running, and since when.
    running: HashMap<usize, Instant>,
    idle: usize,
}

impl Exploration {
    fn new(worlds: Worlds, run: Run) -> Self {
        let (places, report) = (Arc::default(), WorldsReport::default());
        Self { worlds, run, places, report, began: Instant::now() }
    }

    fn all(mut self) -> WorldsReport {
        if !self.is_deterministic() {
            return self.report;
        }
        let (mut scripts, mut worlds) = (vec![Numbered::new()], 1);
        let mut left = self.worlds.worlds_max;
        for faults in 0..=self.worlds.faults_max {
            left = left.saturating_sub(scripts.len());
            let (level, state) = self.level(faults, worlds, scripts);
            if self.has_ended() {
                return self.report;
            }
            (scripts, worlds) = self.children(&level.scripts, &state.later, left);
        }
        if let Some(random) = self.worlds.random {
            let scripts = self.drawn(random);
            let worlds = scripts.len();
            self.level(random.faults, worlds, scripts);
            self.shrink();
        }
        self.report
    }

    fn has_ended(&self) -> bool {
        let is_incomplete = |level: &Level| level.explored < level.worlds;
        let is_over = self.report.levels.last().is_some_and(is_incomplete);
        is_over || self.report.counterexample.is_some() || self.report.refused.is_some()
    }

    /// Draws worlds at random, from the messages that were seen until now.
    fn drawn(&self, random: Random) -> Vec<Numbered> {
        let (entropy, places) = (SeededEntropy::new(random.seed), lock(&self.places).places.len());
        let below = |most: usize| {
            let drawn = entropy.next_u64() % u64::try_from(most.max(1)).unwrap_or(1);
            usize::try_from(drawn).unwrap_or(0)
        };
        let draw = || {
            let mut script = BTreeMap::new();
            for _ in 0..random.faults {
                let place = u32::try_from(below(places)).unwrap_or(0);
                let kind = self.worlds.kinds.get(below(self.worlds.kinds.len()));
                script.extend(kind.map(|kind| (place, *kind)));
            }
            script.into_iter().collect()
        };
        (0..random.worlds).map(|_| draw()).collect()
    }

    /// Removes every fault that the counterexample does not need.
    fn shrink(&mut self) {
        let Some(mut found) = self.report.counterexample.take() else { return };
        let mut at = 0;
        while at < found.script.len() {
            let mut fewer = found.script.clone();
            fewer.0.remove(at);
            let world = world::silently(|| (self.run)(&fewer));
            match Counterexample::of(fewer, world) {
                Some(smaller) => found = smaller,
                None => at += 1,
            }
        }
        self.report.counterexample = Some(found);
    }

    /// Runs the world without faults twice, and compares the traces.
    fn is_deterministic(&mut self) -> bool {
        let run = || world::silently(|| (self.run)(&Script::new()));
        let (first, second) = (run(), run());
        if first.wrong.is_some() || first.trace == second.trace {
            return true;
        }
        let lines = |world: &World| world.trace.to_string();
        let (first, second) = (lines(&first), lines(&second));
        let differs = first.lines().zip(second.lines()).find(|(a, b)| a != b);
        let (a, b) = differs.unwrap_or(("the end", "more messages"));
        self.report.refused = Some(format!(
            "the scenario is not deterministic: two runs without faults differ\n  first:  {a}\n  \
             second: {b}\nlikely causes: the real clock, a HashMap's order, another thread, a \
             select! without `biased`"
        ));
        false
    }

    /// Makes the scripts with one more fault, at each message after the last fault: at most as many as
    /// are left to run. Returns the number that there are, too.
    fn children(
        &self,
        parents: &[Numbered],
        later: &HashMap<usize, Vec<u32>>,
        left: usize,
    ) -> (Vec<Numbered>, usize) {
        let (mut children, mut count) = (Vec::new(), 0);
        let by_services = lock(&self.places).sent_by_services();
        for (at, parent) in parents.iter().enumerate() {
            for place in later.get(&at).into_iter().flatten() {
                let by_service = by_services.get(*place as usize).is_some_and(|is| *is);
                let has = |fault: &&Fault| by_service || **fault != Fault::CallerCrashed;
                let kinds = self.worlds.kinds.iter().filter(has);
                count += kinds.clone().count();
                for fault in kinds.take(left - children.len()) {
                    let mut child = parent.clone();
                    child.push((*place, *fault));
                    children.push(child);
                }
            }
        }
        (children, count)
    }

    /// Runs the worlds of a level; returns when all have ended, or one holds up the others.
    fn level(
        &mut self,
        faults: usize,
        worlds: usize,
        scripts: Vec<Numbered>,
    ) -> (Arc<Shared>, State) {
        let threads = self.worlds.threads.min(scripts.len());
        let shared = Arc::new(Shared {
            run: Arc::clone(&self.run),
            places: Arc::clone(&self.places),
            scripts,
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
        self.report.levels.push(Level { faults, worlds, explored: state.explored });
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
            let places = places.iter().take(self.messages_max).skip(before);
            places.map(|place| numbers.number(place)).collect()
        } else {
            Vec::new()
        };
        let mut state = lock(&self.state);
        state.running.remove(&at);
        state.explored += 1;
        state.unfired += usize::from(world.fired < script.len());
        state.messages = state.messages.max(messages);
        if world.wrong.is_none() {
            state.later.insert(at, later);
            return;
        }
        // A world before it may fail as well: it is the smaller one.
        if at < self.failed.fetch_min(at, Ordering::SeqCst) {
            state.failure = Some((at, world));
        }
    }
}

impl fmt::Debug for Exploration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exploration").field("worlds", &self.worlds).finish_non_exhaustive()
    }
}
