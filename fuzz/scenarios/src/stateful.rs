//! Calls of all kinds over memory, HTTP/1.1 and HTTP/2 while links are cut and servers restart.

mod calls;
mod handler;
mod setup;

use std::time::Duration;

use rr_core::{Delivery, Error, Response};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::input::Input;
use crate::world;
use calls::{Ended, Made};
use handler::Runs;
use setup::Setup;

/// Most steps of a scenario.
const STEPS_MAX: usize = 64;

/// Virtual time after the last call in which a late second run would show.
const AFTERMATH: Duration = Duration::from_secs(60);

/// How much later than its deadline a call may end, in virtual time (50 ms).
const MARGIN: Duration = Duration::from_millis(50);

/// A fault that is planted to see that the scenario finds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Plant {
    /// None: rr as it is.
    #[default]
    None,
    /// Expired calls claim that they were not sent.
    NotSent,
    /// Calls that failed are made a second time.
    Twice,
    /// Errors come 60 ms after the deadline.
    Late,
}

impl Plant {
    fn of_environment() -> Self {
        match std::env::var("RR_FUZZ_PLANT").as_deref() {
            Ok("not-sent") => Self::NotSent,
            Ok("twice") => Self::Twice,
            Ok("late") => Self::Late,
            _ => Self::None,
        }
    }
}

/// Plays a scenario; `RR_FUZZ_PLANT` (`not-sent`, `twice`, `late`) plants a fault.
///
/// # Panics
///
/// As [`stateful_with`].
pub fn stateful(bytes: &[u8]) {
    stateful_with(bytes, Plant::of_environment());
}

/// Plays a scenario with a planted fault.
///
/// # Panics
///
/// When an error claims `NotSent` or `Rejected` of a call whose handler ran, or `Processed` of one
/// whose handler did not; when a handler runs twice for one call; when a call ends after its
/// deadline or never; when a reply is that of another call; when anything panics.
pub fn stateful_with(bytes: &[u8], plant: Plant) {
    world::run(async {
        let mut input = Input::new(bytes);
        let runs = Runs::default();
        let mut setup = Setup::read(&mut input, &runs, plant);
        let mut made = Vec::new();
        for _ in 0..STEPS_MAX {
            if input.is_empty() {
                break;
            }
            step(&mut input, &mut setup, &runs, &mut made).await;
        }
        setup.restore();
        let mut ended = Vec::new();
        for call in made {
            ended.push(end(call).await);
        }
        sleep(AFTERMATH).await;
        for call in ended.into_iter().flatten() {
            check(&call, runs.of(call.id));
        }
        runs.check();
        setup.stop().await;
    });
}

async fn step(input: &mut Input<'_>, setup: &mut Setup, runs: &Runs, made: &mut Vec<Made>) {
    match input.below(12) {
        0..=4 => made.push(calls::make(input, setup.requester(), runs.next())),
        5 | 6 => sleep(input.millis()).await,
        7 => {
            if let Some(call) = pick(input, made) {
                call.cancel();
            }
        }
        8 => {
            if let Some(call) = pick(input, made) {
                call.task.abort();
            }
        }
        9 => setup.cut(input),
        10 => setup.restore(),
        _ => setup.restart(input.millis(), runs).await,
    }
    tokio::task::yield_now().await;
}

fn pick<'a>(input: &mut Input<'_>, made: &'a mut [Made]) -> Option<&'a mut Made> {
    let index = usize::from(input.byte()) % made.len().max(1);
    made.get_mut(index)
}

/// Waits for a call; one that was dropped has no outcome.
async fn end(call: Made) -> Option<Ended> {
    let task: JoinHandle<Ended> = call.task;
    match task.await {
        Ok(ended) => Some(ended),
        Err(error) => {
            assert!(error.is_cancelled(), "a call panicked");
            None
        }
    }
}

fn check(call: &Ended, runs: u32) {
    let Ended { id, timeout, took, outcome, expected } = call;
    assert!(*took <= *timeout + MARGIN, "call {id} of {timeout:?} took {took:?}");
    match outcome {
        Ok(Response { body, .. }) => {
            assert_eq!(runs, 1, "call {id} was answered");
            assert!(body.len() == expected.len() && *body == *expected, "call {id}: another reply");
        }
        Err(error) => check_error(*id, error, runs),
    }
}

fn check_error(id: u16, error: &Error, runs: u32) {
    match error.delivery() {
        Delivery::NotSent | Delivery::Rejected => {
            assert_eq!(runs, 0, "a lie: call {id} ran: {error:?}");
        }
        Delivery::Processed => assert_eq!(runs, 1, "call {id} did not run: {error:?}"),
        _ => {}
    }
}
