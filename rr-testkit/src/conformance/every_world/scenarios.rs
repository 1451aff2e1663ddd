//! The scenarios: calls whose outcomes are compared with what ran.

use std::time::Duration;

use rr_spi::{BoxFuture, Code, Idempotency};
use tokio::join;
use tokio::time::sleep;

use super::book::Client;
use super::simulation::Simulation;
use crate::conformance::lab::Ask;

/// Scenario that runs in a simulation.
type Scenario = for<'a> fn(&'a Simulation) -> BoxFuture<'a, ()>;

/// Every scenario. Each has services with other names, so that a script belongs to one of them.
pub(super) const SCENARIOS: [Scenario; 5] = [
    |simulation| Box::pin(sequence(simulation)),
    |simulation| Box::pin(concurrent(simulation)),
    |simulation| Box::pin(two_hops(simulation)),
    |simulation| Box::pin(repeated(simulation)),
    |simulation| Box::pin(drain(simulation)),
];

/// Time that a handler waits or shields.
const WORK: Duration = Duration::from_millis(10);

/// Attempts of a caller that repeats its call.
const ATTEMPTS: usize = 3;

/// Returns calls of each idempotency, to handlers of each kind.
fn asks() -> [Ask; 5] {
    let ask = |key: &str| Ask::new(key.to_owned()).body(key.to_owned());
    [
        ask("answers").keyed("first"),
        ask("waits").sleep(WORK),
        ask("fails").idempotency(Idempotency::Safe).fail(Code::Unavailable).retry_ms(0),
        ask("shields").idempotency(Idempotency::Idempotent).shield(WORK),
        ask("waits-keyed").keyed("second").sleep(WORK),
    ]
}

async fn sequence(simulation: &Simulation) {
    simulation.serve("sequence");
    let client = simulation.client("test", "sequence");
    for ask in asks() {
        let _ = client.call(&ask).await;
    }
}

async fn concurrent(simulation: &Simulation) {
    simulation.serve("concurrent");
    let client = simulation.client("test", "concurrent");
    let [answers, waits, fails, shields, last] = asks();
    let _ = join!(
        client.call(&answers),
        client.call(&waits),
        client.call(&fails),
        client.call(&shields),
    );
    let _ = client.call(&last).await;
}

async fn two_hops(simulation: &Simulation) {
    simulation.serve("back");
    let front = simulation.serve("front");
    front.set_onward(Some(simulation.client("front", "back").requester()));
    let client = simulation.client("test", "front");
    let [_, waits, fails, ..] = asks();
    let _ = client.call(&waits.onward(1)).await;
    let _ = client.call(&fails.onward(1)).await;
    front.set_onward(None);
}

/// Repeats calls that did not run, and an idempotent call after any error.
async fn repeated(simulation: &Simulation) {
    simulation.serve("repeated");
    let client = simulation.client("test", "repeated");
    let [answers, waits, _, shields, _] = asks();
    for (ask, is_idempotent) in [(answers, false), (shields, true), (waits, false)] {
        repeat(&client, &ask, is_idempotent).await;
    }
}

async fn repeat(client: &Client, ask: &Ask, is_idempotent: bool) {
    for _ in 0..ATTEMPTS {
        match client.call(ask).await {
            Err(error) if is_idempotent || error.delivery().is_unexecuted() => {}
            _ => break,
        }
    }
}

/// Drains while one handler finishes within the grace and another does not.
async fn drain(simulation: &Simulation) {
    simulation.serve("drained");
    let client = simulation.client("test", "drained");
    let [_, waits, _, _, late] = asks();
    let hangs = Ask::new("hangs".to_owned()).body("hangs").hang();
    let drain = async {
        sleep(WORK / 2).await;
        let _ = join!(simulation.drain("drained", WORK * 3), client.call(&late));
        let [answers, ..] = asks();
        let _ = client.call(&answers).await;
    };
    let _ = join!(client.call(&waits), client.call(&hangs), drain);
}
