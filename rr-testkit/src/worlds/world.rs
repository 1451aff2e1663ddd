//! One world: a run of the scenario with a script of faults, and what is wrong with it.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

use rr_spi::Delivery;
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::fault::Script;
use super::network::{Network, seeded};
use super::trace::{Trace, What};

/// Virtual time after which a scenario that has not ended is stuck: nothing will wake it.
const SCENARIO_MAX: Duration = Duration::from_secs(24 * 3600);

/// Virtual time for which handlers may still run when the scenario has ended.
const SETTLE_MAX: Duration = Duration::from_secs(600);

/// Time by which a call may end after its deadline: timers have whole milliseconds.
const LATE_MAX: Duration = Duration::from_millis(2);

/// What came of one world.
pub(super) struct World {
    pub(super) trace: Trace,
    /// Faults of the script that have struck.
    pub(super) fired: usize,
    /// What is wrong; `None` if the world passed.
    pub(super) wrong: Option<String>,
}

/// Runs the scenario with a script, on a runtime of its own.
pub(super) fn run<F, S>(scenario: &F, script: &Script) -> World
where
    F: Fn(Network) -> S,
    S: Future<Output = ()>,
{
    let _seeded = seeded();
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without IO needs no resource");
    let world = runtime.block_on(async {
        let network = Network::with(script.clone());
        let ended = timeout(SCENARIO_MAX, caught(|| scenario(network.clone()))).await;
        let settled = network.settle(SETTLE_MAX).await;
        let (trace, fired) = (network.trace(), network.faults_fired());
        let wrong = match ended {
            Err(_) => Some(stuck(&trace)),
            Ok(Err(panic)) => Some(panic),
            Ok(Ok(())) if !settled => Some(left(&trace)),
            Ok(Ok(())) => network.broken().or_else(|| broken_promise(&trace)),
        };
        network.close();
        World { trace, fired, wrong }
    });
    // Tasks that still hold handlers are dropped with the runtime; a panic of theirs is not the test's.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(runtime)));
    world
}

/// Runs a scenario; returns the message of its panic.
async fn caught<S: Future<Output = ()>>(make: impl FnOnce() -> S) -> Result<(), String> {
    let future = catch_unwind(AssertUnwindSafe(make)).map_err(|panic| message(&*panic))?;
    let mut future = Contained(Some(Box::pin(future)));
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
        Err(panic) => Poll::Ready(Err(message(&*panic))),
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

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".to_owned())
}

/// Says who waits for what in a scenario that nothing can wake.
fn stuck(trace: &Trace) -> String {
    let mut open = open_calls(trace);
    if open.is_empty() {
        open.push("no call is in flight: the scenario waits for something else".to_owned());
    }
    format!("the scenario is stuck: nothing can wake it any more\n{}", open.join("\n"))
}

fn left(trace: &Trace) -> String {
    let open = open_calls(trace);
    let seconds = SETTLE_MAX.as_secs();
    let text = format!("calls or handlers are in flight {seconds} s after the end of the scenario");
    format!("{text}\n{}", open.join("\n"))
}

fn open_calls(trace: &Trace) -> Vec<String> {
    let is_open = |call: usize| {
        let ended = |what: &What| matches!(what, What::Returned(_) | What::GaveUp);
        !trace.0.iter().any(|event| event.call == call && ended(&event.what))
    };
    let calls = trace.places().enumerate().filter(|(call, _)| is_open(*call));
    calls.map(|(_, place)| format!("  {} waits for {place}", place.from)).collect()
}

/// Checks what holds in every world, whatever the application does.
fn broken_promise(trace: &Trace) -> Option<String> {
    for (call, place) in trace.places().enumerate() {
        let of_call = || trace.0.iter().filter(|event| event.call == call);
        let sent = of_call().find_map(|event| match event.what {
            What::Sent { left, .. } => Some((event.at, left)),
            _ => None,
        });
        let ran = of_call().any(|event| match event.what {
            What::Answered(summary) => summary.delivery == Delivery::Processed,
            _ => false,
        });
        for event in of_call() {
            let What::Returned(summary) = event.what else { continue };
            let denies = matches!(summary.delivery, Delivery::NotSent | Delivery::Rejected);
            if ran && denies {
                return Some(format!("{place} ran, and its caller was told {summary}"));
            }
            if let Some((began, Some(left))) = sent {
                if event.at > began + left + LATE_MAX {
                    let late = (event.at - began - left).as_millis();
                    return Some(format!("{place} ended {late} ms after its deadline"));
                }
            }
        }
    }
    None
}
