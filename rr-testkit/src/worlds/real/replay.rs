//! Replay of a script over a real transport.

use std::sync::Arc;
use std::time::Duration;

use super::carrier::{self, Carrier};
use crate::worlds::explore::Worlds;
use crate::worlds::fault::Script;
use crate::worlds::network::Network;
use crate::worlds::report::WorldsReport;
use crate::worlds::world::{self, Limits};

/// Limits of a world in real time. A busy machine may end a call long after its deadline.
const LIMITS: Limits = Limits {
    scenario_max: Duration::from_secs(120),
    settle_max: Duration::from_secs(60),
    late_max: Duration::MAX,
};

impl Worlds {
    /// Runs the scenario in one world over a real transport, in real time.
    ///
    /// Each fault of the script is made with real means: a proxy that loses, holds, doubles or cuts, a
    /// server that dies or drains. The scenario is stuck after 120 s, and handlers may run for 60 s
    /// after its end. Whether calls end by their deadlines is not checked: a busy machine may be late.
    ///
    /// A report whose [`has_passed`](WorldsReport::has_passed) is false without a counterexample says
    /// in its text why the script could not be replayed: a fault that the transport cannot make, or a
    /// server that did not start.
    ///
    /// # Panics
    ///
    /// When called outside of a tokio runtime with a clock and IO.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the scenario. Its servers end with the runtime.
    pub async fn replay_over<F, S>(
        carrier: Arc<dyn Carrier>,
        script: &Script,
        scenario: F,
    ) -> WorldsReport
    where
        F: Fn(Network) -> S,
        S: Future<Output = ()>,
    {
        let unmade = script.0.iter().find_map(|(_, fault)| carrier::unmade(&*carrier, *fault));
        if unmade.is_some() {
            return WorldsReport { refused: unmade, ..WorldsReport::default() };
        }
        let name = carrier.name().to_owned();
        let network = Network::over(carrier, script.clone());
        let world = world::run_in(&network, scenario, LIMITS).await;
        let failed = network.refused();
        network.close();
        let mut report = WorldsReport::of(script, world);
        report.refused =
            failed.map(|why| format!("the script was not replayed over {name}: {why}"));
        report
    }
}
