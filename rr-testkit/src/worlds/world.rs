//! One world: a run of the scenario with a script of faults, and what is wrong with it.

use std::any::Any;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

use rr_spi::{Delivery, SeededEntropy};
use tokio::runtime::Builder;
use tokio::time::{Instant, timeout};

use super::fault::Script;
use super::network::Network;
use super::panics::{self, Notes, Panic, message};
use super::trace::{Summary, Trace, What};

/// Limits of a world.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Time after which a scenario that has not ended is stuck: nothing will wake it.
    pub(super) scenario_max: Duration,
    /// Time for which handlers may still run when the scenario has ended.
    pub(super) settle_max: Duration,
    /// Time by which a call may end after its deadline.
    pub(super) late_max: Duration,
}

/// Limits in virtual time, whose timers have whole milliseconds.
const LIMITS: Limits = Limits {
    scenario_max: Duration::from_secs(24 * 3600),
    settle_max: Duration::from_secs(600),
    late_max: Duration::from_millis(2),
};

/// What came of one world.
pub(super) struct World {
    pub(super) trace: Trace,
    /// Equal worlds have the same.
    pub(super) fingerprint: u64,
    /// Faults of the script that have struck.
    pub(super) fired: usize,
    /// What is wrong; `None` if the world passed.
    pub(super) wrong: Option<String>,
    /// Panics of handlers and tasks. Empty over a real transport, where the runtime is not the world's.
    pub(super) panics: Vec<Panic>,
}

/// Runs the scenario with a script, on a runtime of its own.
pub(super) fn run<F, S>(scenario: &F, script: &Script) -> World
where
    F: Fn(Network) -> S,
    S: Future<Output = ()>,
{
    // The randomness of each world is the same.
    let _seeded = SeededEntropy::for_this_thread(0);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without IO needs no resource");
    let running = AssertUnwindSafe(|| {
        runtime.block_on(async {
            let (network, notes) = (Network::with(script.clone()), Notes::begin());
            let mut world = run_in(&network, scenario, LIMITS).await;
            world.panics = notes.end();
            let of_task = world.panics.iter().find(|panic| panic.is_of_task);
            let of_task = of_task.filter(|_| !network.allows_task_panics());
            if let (None, Some(panic)) = (&world.wrong, of_task) {
                world.wrong = Some(format!("a task panicked: {}", panic.message));
            }
            // That of the scenario is what is wrong.
            world.panics.retain(|panic| Some(&panic.message) != world.wrong.as_ref());
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| network.close())) {
                world.wrong.get_or_insert_with(|| dropped(&*panic));
            }
            world
        })
    });
    let world = catch_unwind(running).unwrap_or_else(|panic| World::broken(script, &*panic));
    // Tasks that still hold handlers are dropped with the runtime; a panic of theirs is not the test's.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(runtime)));
    world
}

impl World {
    /// Makes the world of a panic outside of the scenario and of its handlers.
    fn broken(script: &Script, panic: &(dyn Any + Send)) -> Self {
        let (trace, wrong) = (Trace::default(), Some(dropped(panic)));
        Self { trace, fingerprint: 0, fired: script.len(), wrong, panics: Vec::new() }
    }
}

/// Says that a value of the application panicked after the scenario.
fn dropped(panic: &(dyn Any + Send)) -> String {
    format!("a value of a service panicked when it was dropped: {}", message(panic))
}

/// Runs the scenario in a network that is made for it.
pub(super) async fn run_in<F, S>(network: &Network, scenario: F, limits: Limits) -> World
where
    F: Fn(Network) -> S,
    S: Future<Output = ()>,
{
    let woken = Cell::new([Instant::now(); 2]);
    let scenario = caught(|| scenario(network.clone()), &woken);
    let ended = timeout(limits.scenario_max, scenario).await;
    let settled = network.settle(limits.settle_max).await;
    let (trace, fired) = (network.trace(), network.faults_fired());
    let fingerprint = network.fingerprint();
    let wrong = match ended {
        // The last poll is that of the timeout.
        Err(_) if woken.get()[0].elapsed() < limits.scenario_max / 2 => {
            Some(endless(&trace, limits.scenario_max))
        }
        Err(_) => Some(stuck(&trace)),
        Ok(Err(panic)) => Some(panic),
        Ok(Ok(())) if !settled => Some(left(&trace, limits.settle_max)),
        Ok(Ok(())) => network.broken().or_else(|| broken_promise(&trace, limits.late_max)),
    };
    World { trace, fingerprint, fired, wrong, panics: Vec::new() }
}

/// Runs a scenario, and sets the times of its last two polls; returns the message of its panic.
async fn caught<S: Future<Output = ()>>(
    make: impl FnOnce() -> S,
    woken: &Cell<[Instant; 2]>,
) -> Result<(), String> {
    let future = catch_unwind(AssertUnwindSafe(make)).map_err(|panic| message(&*panic))?;
    let mut future = Contained(Some(Box::pin(panics::contained(future))));
    poll_fn(|cx| {
        woken.set([woken.get()[1], Instant::now()]);
        match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
            Err(panic) => Poll::Ready(Err(message(&*panic))),
        }
    })
    .await
}

/// Scenario whose values may panic when it is dropped before its end, as mocks do.
struct Contained<S>(Option<Pin<Box<S>>>);

impl<S: Future<Output = ()>> Contained<S> {
    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<()> {
        self.0.as_mut().map_or(Poll::Ready(()), |scenario| scenario.as_mut().poll(cx))
    }
}

impl<S> Drop for Contained<S> {
    fn drop(&mut self) {
        // The world already has the reason for which the scenario ended early.
        let _ = catch_unwind(AssertUnwindSafe(|| self.0 = None));
    }
}

/// Says who waits for what in a scenario that nothing can wake.
fn stuck(trace: &Trace) -> String {
    let mut open = open_calls(trace);
    if open.is_empty() {
        let text = "  no call is in flight: it waits for something that is outside of this world, such as \
                    another thread or a real connection, or that never comes";
        open.push(text.to_owned());
    }
    format!("the scenario is stuck: nothing can wake it any more\n{}", open.join("\n"))
}

/// Says that a scenario runs for ever: there is always a timer that wakes it.
fn endless(trace: &Trace, scenario_max: Duration) -> String {
    let (hours, messages) = (scenario_max.as_secs() / 3600, trace.places.len());
    format!(
        "the scenario has not ended after {hours} h of virtual time and {messages} messages: it loops \
         for ever"
    )
}

fn left(trace: &Trace, settle_max: Duration) -> String {
    let open = open_calls(trace);
    let seconds = settle_max.as_secs();
    let text = format!("calls or handlers are in flight {seconds} s after the end of the scenario");
    format!("{text}\n{}", open.join("\n"))
}

fn open_calls(trace: &Trace) -> Vec<String> {
    let calls = trace.places.iter().zip(calls(trace));
    let open = calls.filter(|(_, call)| call.returned.is_none() && !call.is_given_up);
    open.map(|(place, _)| format!("  {} waits for {place}", place.from)).collect()
}

/// What became of one call.
#[derive(Clone, Default)]
struct Fate {
    ends_by: Option<Duration>,
    ran: bool,
    returned: Option<(Duration, Summary)>,
    is_given_up: bool,
}

fn calls(trace: &Trace) -> Vec<Fate> {
    let mut calls = vec![Fate::default(); trace.places.len()];
    for event in &trace.events {
        let Some(call) = calls.get_mut(event.call) else { continue };
        match &event.what {
            What::Sent { left } => call.ends_by = left.map(|left| event.at + left),
            What::Answered(summary) => call.ran |= summary.delivery == Delivery::Processed,
            What::Returned(summary) => call.returned = Some((event.at, summary.clone())),
            What::GaveUp => call.is_given_up = true,
            What::Struck(_) | What::Entered { .. } => {}
        }
    }
    calls
}

/// Checks what holds in every world, whatever the application does.
fn broken_promise(trace: &Trace, late_max: Duration) -> Option<String> {
    trace.places.iter().zip(calls(trace)).find_map(|(place, call)| {
        let (at, summary) = call.returned?;
        let denies = matches!(summary.delivery, Delivery::NotSent | Delivery::Rejected);
        if call.ran && denies {
            return Some(format!("{place} ran, and its caller was told {summary}"));
        }
        let late = at.checked_sub(call.ends_by?)?;
        let text = format!("{place} ended {} ms after its deadline", late.as_millis());
        (late > late_max).then_some(text)
    })
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::sleep;

    use super::*;

    fn wrong<S: Future<Output = ()>>(scenario: impl Fn(Network) -> S) -> String {
        run(&scenario, &Script::new()).wrong.unwrap()
    }

    #[test]
    fn a_scenario_that_loops_is_told_from_one_that_waits() {
        let loops = wrong(|_| async {
            loop {
                sleep(Duration::from_secs(60)).await;
            }
        });
        assert!(loops.contains("24 h of virtual time and 0 messages: it loops"), "{loops}");
        let waits = wrong(|_| async {
            sleep(Duration::from_secs(60)).await;
            pending::<()>().await;
        });
        assert!(waits.contains("nothing can wake it any more"), "{waits}");
        assert!(waits.contains("another thread"), "{waits}");
    }
}
