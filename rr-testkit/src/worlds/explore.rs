//! Exploration of all worlds of up to k faults, the smallest first.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the real time that a test takes; worlds run in virtual time"
)]

mod exploration;
mod level;
mod places;

use std::env;
use std::future::Future;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::fault::{Fault, Script};
use super::network::Network;
use super::report::WorldsReport;
use super::world::World;
use exploration::Exploration;

/// Variable with the script of the only world to run.
const REPLAY: &str = "RR_WORLD";

/// Longest time of an exploration: an instant after it can still be represented.
const TIME_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

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
    pub(super) faults_max: usize,
    pub(super) kinds: Vec<Fault>,
    worlds_max: usize,
    messages_max: usize,
    time_max: Duration,
    world_time_max: Duration,
    threads: usize,
    pub(super) random: Option<Random>,
    leaves_out_equal: bool,
}

/// Worlds that are drawn at random, after all smaller ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Random {
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
            leaves_out_equal: true,
        }
    }

    /// Also runs so many worlds of this number of faults, drawn from a seed, once all smaller worlds
    /// have passed. A counterexample loses every fault that it does not need.
    #[must_use]
    pub fn with_random(mut self, seed: u64, worlds: usize, faults: usize) -> Self {
        self.random = Some(Random { seed, worlds, faults });
        self
    }

    /// Also runs the worlds that add a fault to a world which is equal to another.
    ///
    /// Two worlds are equal if their faults have shown the same to the application: with one more
    /// fault, they are equal again, so that by default only the first of them gets one more. This option
    /// is for scenarios that decide by the names of faults in [`Network::trace`] or by
    /// [`Network::faults_fired`], and to check the exploration itself.
    #[must_use]
    pub fn with_equal_worlds(mut self) -> Self {
        self.leaves_out_equal = false;
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

    /// Also tries the orders of messages that are ready in the same instant: [`Fault::ORDERS`]. Each
    /// reordering counts as a fault, so that [`Worlds::up_to`] bounds both together.
    ///
    /// Only requests and replies are reordered, not the timers of the application.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use rr_testkit::worlds::Worlds;
    ///
    /// // No faults, and up to two reorderings.
    /// let races = Worlds::up_to(2).with_faults([]).with_orders();
    /// # races.run(|_| async {});
    /// ```
    #[must_use]
    pub fn with_orders(mut self) -> Self {
        self.kinds.extend(Fault::ORDERS);
        self.kinds.sort_unstable();
        self.kinds.dedup();
        self
    }

    fn has_orders(&self) -> bool {
        self.kinds.iter().any(|kind| kind.leg().is_some())
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

    /// Sets the maximum real time, of at most 100 years. No world is started afterwards.
    #[must_use]
    pub fn with_time_max(mut self, time: Duration) -> Self {
        self.time_max = time.min(TIME_MAX);
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
            return Exploration::of(self, scenario).one(&script);
        }
        Exploration::of(self, scenario).all()
    }

    /// Runs the scenario in one world only, for at most 30 s of real time.
    pub fn replay<F, S>(script: &Script, scenario: F) -> WorldsReport
    where
        F: Fn(Network) -> S + Send + Sync + 'static,
        S: Future<Output = ()>,
    {
        Exploration::of(Self::up_to(0), scenario).one(script)
    }
}

type Run = Arc<dyn Fn(&Script) -> World + Send + Sync>;
