//! Calls of mixed behaviour under seeded faults, checked against the lab's run counts.

use std::env;
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use rr_spi::{
    Cause, Code, Context, Delivery, Entropy, Error, IntakeConfig, OsEntropy, Response,
    SeededEntropy,
};
use tokio::time::{sleep, timeout};

use super::Timing;
use super::lab::{Ask, pattern};
use super::stage::{Scene, Stage};

/// Environment variable that repeats a seed.
const SEED_VARIABLE: &str = "RR_CONFORMANCE_SEED";

/// Concurrent callers: more than the server admits, so that it refuses some calls.
const CALLERS: u64 = 10;
const IN_FLIGHT_MAX: usize = 6;

/// Calls per caller and round.
const CALLS: usize = 20;

/// Timeout in units for all calls of a caller: several times the sum of their deadlines.
const PATIENCE_UNITS: u32 = 400;

/// Returns the seed of this run, the value of [`SEED_VARIABLE`] or a fresh seed, and notes it in the
/// timeline.
pub(super) fn seed(stage: &Stage) -> u64 {
    let asked = env::var(SEED_VARIABLE).ok();
    // Short enough to type.
    let fresh = || OsEntropy::new().next_u64() % 1_000_000;
    let seed = asked.and_then(|text| text.parse().ok()).unwrap_or_else(fresh);
    stage.note(format!("the seed is {seed}; {SEED_VARIABLE}={seed} repeats it"));
    seed
}

/// Returns the number of rounds, by their cost on the clock.
pub(super) fn rounds(timing: Timing) -> u64 {
    match timing {
        Timing::Virtual => 12,
        Timing::Real { .. } => 1,
    }
}

/// Seeded random source.
pub(super) struct Chance(SeededEntropy);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(SeededEntropy::new(seed))
    }

    /// Returns a source for another task, whose numbers do not depend on scheduling.
    fn fork(&self) -> Self {
        Self::new(self.0.next_u64())
    }

    /// Returns a number below `end`.
    pub(super) fn below(&self, end: u64) -> u64 {
        // The modulo bias is negligible here.
        self.0.next_u64() % end
    }

    /// Returns random bytes.
    pub(super) fn bytes(&self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.0.next_u64().to_le_bytes()[0]).collect()
    }

    /// Returns a time between 0 and `most`.
    fn up_to(&self, most: Duration) -> Duration {
        most / 16 * u32::try_from(self.below(17)).unwrap_or(0)
    }
}

/// Counts of call outcomes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcomes {
    pub(super) answered: usize,
    pub(super) processed: usize,
    pub(super) unknown: usize,
    pub(super) unexecuted: usize,
    pub(super) dropped: usize,
}

impl Outcomes {
    fn count(&mut self, outcome: Option<&Result<Response, Error>>) {
        let place = match outcome.map(|outcome| outcome.as_ref().map_err(Error::delivery)) {
            None => &mut self.dropped,
            Some(Ok(_)) => &mut self.answered,
            Some(Err(Delivery::Processed)) => &mut self.processed,
            Some(Err(delivery)) if delivery.is_unexecuted() => &mut self.unexecuted,
            Some(Err(_)) => &mut self.unknown,
        };
        *place += 1;
    }
}

impl AddAssign for Outcomes {
    fn add_assign(&mut self, other: Self) {
        self.answered += other.answered;
        self.processed += other.processed;
        self.unknown += other.unknown;
        self.unexecuted += other.unexecuted;
        self.dropped += other.dropped;
    }
}

/// Plays one round on a new rig. The check of the ledger at the end fails the case if an error
/// reports `NotSent` or `Rejected` for a request that ran.
pub(super) async fn round(stage: &Stage, chance: &Chance) -> Outcomes {
    let server = IntakeConfig::default().with_in_flight_max(IN_FLIGHT_MAX);
    let scene = stage.open_server(server).await;
    let unit = stage.timing().unit();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| tokio::spawn(calls(Arc::clone(&scene), chance.fork(), unit)))
        .collect();
    let (playing, over) = Context::background().child();
    let disturbing = stage.capabilities().link.then(|| {
        let (scene, chance) = (Arc::clone(&scene), chance.fork());
        tokio::spawn(async move { disturb(&scene, &chance, &playing, unit).await })
    });
    let mut outcomes = Outcomes::default();
    for caller in callers {
        let ended = timeout(unit * PATIENCE_UNITS, caller).await;
        outcomes += ended.expect("every call ends by its deadline").expect("the task ends");
    }
    over.cancel_with(Cause::Finished);
    if let Some(disturbing) = disturbing {
        disturbing.await.expect("the task ends");
    }
    scene.recovers(&*scene.client).await;
    // Requests whose callers have gone may still be in transit.
    scene.idle().await;
    stage.close(scene).await;
    outcomes
}

/// Cuts and restores the link until the calls are over; leaves the link restored.
async fn disturb(scene: &Scene, chance: &Chance, playing: &Context, unit: Duration) {
    while playing.cause().is_none() {
        let _ = playing.race(sleep(unit / 4 + chance.up_to(unit * 4))).await;
        scene.rig.kill_link().await;
        sleep(chance.up_to(unit)).await;
        scene.rig.restore_link().await;
    }
}

async fn calls(scene: Arc<Scene>, chance: Chance, unit: Duration) -> Outcomes {
    let mut outcomes = Outcomes::default();
    for _ in 0..CALLS {
        let ask = behaviour(scene.ask(), &chance, unit);
        let ctx = Context::background().with_timeout(unit / 2 + chance.up_to(unit * 4));
        let outcome = match chance.below(5) {
            // Drops the call at a random time.
            0 => timeout(chance.up_to(unit * 2), scene.call(&ctx, &ask)).await.ok(),
            // Cancels the call at a random time.
            1 => {
                let (ctx, handle) = ctx.child();
                let call = scene.spawn(&ctx, &ask);
                sleep(chance.up_to(unit * 2)).await;
                handle.cancel();
                Some(call.await.expect("the task ends"))
            }
            _ => Some(scene.call(&ctx, &ask).await),
        };
        if let Some(Ok(response)) = &outcome {
            // An answer belongs to its call, whatever happens to the link.
            assert!(ask.is_answered_by(response), "{} got {response:?}", ask.key());
        }
        outcomes.count(outcome.as_ref());
        sleep(chance.up_to(unit / 2)).await;
    }
    outcomes
}

/// Gives a request a random handler behaviour.
fn behaviour(ask: Ask, chance: &Chance, unit: Duration) -> Ask {
    let key = ask.key().to_owned();
    let ask = ask.body(key.clone()).echo().header("x-of", &key);
    match chance.below(9) {
        0 | 1 => ask,
        2 | 3 => ask.sleep(chance.up_to(unit * 3)),
        4 => {
            let codes = Code::ALL.len() as u64;
            let at = usize::try_from(chance.below(codes)).unwrap_or(0);
            ask.fail(Code::ALL[at]).sleep(chance.up_to(unit))
        }
        5 => ask.hang(),
        6 => ask.body(pattern(200_000)),
        7 => ask.reply_bytes(200_000).sleep(chance.up_to(unit)),
        _ => ask.shield(chance.up_to(unit * 2)),
    }
}
