//! Exploration level by level: the worlds without faults, of one fault, of two, and those drawn at random.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rr_spi::{Entropy as _, SeededEntropy};

use super::super::fault::Script;
use super::super::network::Network;
use super::super::panics;
use super::super::report::{Counterexample, WorldsReport};
use super::super::world::{self, World};
use super::level::{NextLevel, Passed, Shared};
use super::places::{Numbered, Places};
use super::{Random, Run, Worlds};
use crate::sync::lock;

pub(super) struct Exploration {
    pub(super) worlds: Worlds,
    pub(super) run: Run,
    pub(super) places: Arc<Mutex<Places>>,
    pub(super) report: WorldsReport,
    pub(super) began: Instant,
}

impl Exploration {
    /// Makes the exploration of a scenario.
    pub(super) fn of<F, S>(worlds: Worlds, scenario: F) -> Self
    where
        F: Fn(Network) -> S + Send + Sync + 'static,
        S: Future<Output = ()>,
    {
        Self::new(worlds, Arc::new(move |script: &Script| world::run(&scenario, script)))
    }

    pub(super) fn new(worlds: Worlds, run: Run) -> Self {
        let (places, report) = (Arc::default(), WorldsReport::default());
        Self { worlds, run, places, report, began: Instant::now() }
    }

    pub(super) fn all(mut self) -> WorldsReport {
        self.report.has_orders = self.worlds.has_orders();
        if !self.is_deterministic() {
            return self.report;
        }
        let mut planned = Planned::of(vec![Numbered::new()]);
        let mut left = self.worlds.worlds_max;
        for faults in 0..=self.worlds.faults_max {
            left = left.saturating_sub(planned.scripts.len());
            let next_level = self.next_level(faults);
            let (level, state) = self.level(faults, planned, next_level);
            if self.has_ended() {
                return self.report;
            }
            // Empty after the last level.
            planned = self.children(&level, &state.passed, left);
        }
        if let Some(random) = self.worlds.random {
            let planned = Planned::of(self.drawn(random));
            self.level(random.faults, planned, NextLevel::None);
            self.shrink();
        }
        self.report
    }

    /// Runs the world of a script only. Its panics are printed, too.
    pub(super) fn one(self, script: &Script) -> WorldsReport {
        let longest = self.worlds.world_time_max;
        let run = self.run;
        match in_thread(longest, script, move |script| run(script)) {
            Some(world) => WorldsReport::of(script, world),
            None => {
                let refused = Some(held_up_by(script, longest));
                WorldsReport { refused, ..WorldsReport::default() }
            }
        }
    }

    fn next_level(&self, faults: usize) -> NextLevel {
        match self.worlds.random {
            _ if faults < self.worlds.faults_max => NextLevel::Children,
            Some(_) => NextLevel::Drawn,
            None => NextLevel::None,
        }
    }

    fn has_ended(&self) -> bool {
        let is_over = self.report.levels.last().is_some_and(|level| !level.is_complete());
        is_over || self.report.counterexample.is_some() || self.report.refused.is_some()
    }

    /// Draws worlds at random, from the messages that were seen until now.
    fn drawn(&self, random: Random) -> Vec<Numbered> {
        let entropy = SeededEntropy::new(random.seed);
        let faults = lock(&self.places).faults(&self.worlds.kinds);
        let below = |most: usize| {
            let drawn = entropy.next_u64() % u64::try_from(most.max(1)).unwrap_or(1);
            usize::try_from(drawn).unwrap_or(0)
        };
        let draw = || {
            let mut script = BTreeMap::new();
            for _ in 0..random.faults {
                let place = below(faults.len());
                let kinds = faults.get(place).map_or(&[][..], Vec::as_slice);
                let kind = kinds.get(below(kinds.len()));
                script.extend(kind.map(|kind| (u32::try_from(place).unwrap_or(0), *kind)));
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
            let world = self.run_alone(&fewer);
            match world.and_then(|world| Counterexample::of(fewer, world)) {
                Some(smaller) => found = smaller,
                None => at += 1,
            }
        }
        self.report.counterexample = Some(found);
    }

    /// Runs one world in a thread; `None` if it has not ended after the time of a world.
    fn run_alone(&self, script: &Script) -> Option<World> {
        let run = Arc::clone(&self.run);
        let silently = move |script: &Script| panics::silently(|| run(script));
        in_thread(self.worlds.world_time_max, script, silently)
    }

    /// Runs the world without faults twice, and compares the traces.
    fn is_deterministic(&mut self) -> bool {
        let script = Script::new();
        let run = || self.run_alone(&script);
        let both = || Some((run()?, run()?));
        let Some((first, second)) = both() else {
            self.report.refused = Some(held_up_by(&script, self.worlds.world_time_max));
            return false;
        };
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

    /// Plans the worlds with one more fault, at each message after the last fault: at most as many as
    /// are left to run.
    ///
    /// Two worlds that are equal have the same children, and a world that is equal to its parent has
    /// the parent's: those of the first one are enough.
    fn children(&self, level: &Shared, passed: &HashMap<usize, Passed>, left: usize) -> Planned {
        let mut children = Planned::default();
        let faults = lock(&self.places).faults(&self.worlds.kinds);
        let mut seen = Seen::default();
        for (at, (script, parent)) in level.scripts.iter().zip(&level.parents).enumerate() {
            let Some(passed) = passed.get(&at) else { continue };
            let is_equal = seen.is_equal(passed, *parent) && self.worlds.leaves_out_equal;
            for (place, rivals) in &passed.later {
                let kinds = faults.get(*place as usize).map_or(&[][..], Vec::as_slice);
                let kinds = kinds.iter().filter(|fault| rivals.has(**fault));
                let count = kinds.clone().count();
                children.worlds += count;
                if is_equal {
                    children.equal += count;
                    continue;
                }
                for fault in kinds.take(left - children.scripts.len()) {
                    let mut child = script.clone();
                    child.push((*place, *fault));
                    children.scripts.push(child);
                    children.parents.push(passed.fingerprint);
                }
            }
        }
        children
    }
}

/// Runs one world in a thread; `None` if it has not ended after a time.
fn in_thread(
    longest: Duration,
    script: &Script,
    run: impl FnOnce(&Script) -> World + Send + 'static,
) -> Option<World> {
    let (script, (sender, ended)) = (script.clone(), channel());
    thread::spawn(move || {
        // Fails when the world was given up.
        let _ = sender.send(run(&script));
    });
    ended.recv_timeout(longest).ok()
}

/// Worlds of a level, before they are run.
#[derive(Default)]
pub(super) struct Planned {
    pub(super) scripts: Vec<Numbered>,
    /// Fingerprint of the world of each script without its last fault.
    pub(super) parents: Vec<Option<u64>>,
    /// Worlds that there are.
    pub(super) worlds: usize,
    /// Worlds that are left out, since they are equal to another.
    pub(super) equal: usize,
}

impl Planned {
    pub(super) fn of(scripts: Vec<Numbered>) -> Self {
        let worlds = scripts.len();
        Self { scripts, parents: vec![None; worlds], worlds, equal: 0 }
    }
}

/// Least number of messages before the later ones, by the fingerprint of a world.
#[derive(Default)]
struct Seen(HashMap<u64, usize>);

impl Seen {
    /// Returns whether an earlier world, or the parent, has every child of this one.
    fn is_equal(&mut self, passed: &Passed, parent: Option<u64>) -> bool {
        let Some(fingerprint) = passed.fingerprint else { return false };
        if parent == Some(fingerprint) {
            return true;
        }
        match self.0.get(&fingerprint) {
            Some(before) if *before <= passed.before => true,
            _ => {
                self.0.insert(fingerprint, passed.before);
                false
            }
        }
    }
}

/// Says that a world has not ended.
pub(super) fn held_up_by(script: &Script, longest: Duration) -> String {
    format!(
        "a world has not ended after {} s of real time: the scenario computes for ever, or blocks its \
         thread\n  RR_WORLD='{script}'",
        longest.as_secs_f64()
    )
}

impl fmt::Debug for Exploration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exploration").field("worlds", &self.worlds).finish_non_exhaustive()
    }
}
