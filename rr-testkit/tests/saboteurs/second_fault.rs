//! Saboteurs that are honest under every single fault, and lie under a certain second one: only the
//! exploration of every world finds them.

use std::sync::{Arc, Mutex};

use rr_spi::{
    Bytes, Code, Context, Delivery, Error, Idempotency, Middleware, Next, Reason, Request,
    Requester, Response, Routes, async_trait,
};
use rr_testkit::conformance::{WrappedTransport, Wrapper, every_world};
use rr_testkit::worlds::{Fault, Worlds, WorldsReport};
use tokio::time::sleep;

use crate::requester::LATE;

type Outcome = Result<Response, Error>;

/// Which rule is broken, once a second fault has struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// Repeats refused calls, and tells the truth about them.
    Nothing,
    /// Counts lost connections and never resets the count: the second loss counts as a failure to
    /// connect.
    CountsLossesForEver,
    /// Repeats a refused call, and keeps the mark that it was never sent.
    KeepsTheMarkAcrossItsRetry,
    /// Takes silence after a refused call for another refusal.
    TakesSilenceForARefusal,
    /// Believes until the next reply that it is still connecting, once it has lost a connection.
    StaysConnecting,
    /// Tells late replies apart by a generation of one bit for each slot: the second late reply of a
    /// slot makes room for the first.
    RepeatsAGeneration,
    /// Recovers its store of answers from the first entry only, after the second crash.
    ReplaysTheFirstKey,
    /// Swaps replies when four calls are in flight.
    SwapsRepliesOfFour,
    /// Calls a lost connection unsent, for calls that a handler makes.
    LiesToHandlers,
    /// Sends a request twice that it has sent before.
    DoublesRepetitions,
    /// Says of a call that a draining server refuses that it ran.
    TakesDrainsForRuns,
    /// Ends expired calls late.
    EndsLate,
}

use Lie::*;

/// The lie in one world.
struct Liar {
    lie: Lie,
    store: Arc<Mutex<Store>>,
}

/// Answers that outlive a crash.
#[derive(Default)]
struct Store {
    lives: usize,
    first: Option<Response>,
}

impl Wrapper for Liar {
    fn requester(&self, inner: Arc<dyn Requester>) -> Arc<dyn Requester> {
        Arc::new(LyingRequester { lie: self.lie, inner, state: Mutex::default() })
    }

    fn routes(&self, routes: Routes) -> Routes {
        if self.lie != ReplaysTheFirstKey {
            return routes;
        }
        self.store.lock().expect("nothing panics under it").lives += 1;
        routes.wrap(&[Arc::new(Recovering(Arc::clone(&self.store)))])
    }
}

struct LyingRequester {
    lie: Lie,
    inner: Arc<dyn Requester>,
    state: Mutex<State>,
}

#[derive(Clone, Default)]
struct State {
    /// Number of the connection, from 0.
    connection: usize,
    was_refused: bool,
    is_connecting: bool,
    slots: Vec<Slot>,
    /// Bodies of the requests that were sent.
    sent: Vec<Bytes>,
}

/// Place of a call that waits for a reply.
#[derive(Clone, Default)]
struct Slot {
    is_taken: bool,
    generation: bool,
    /// Replies that are still on their way.
    late: Vec<(bool, Bytes)>,
}

#[async_trait]
impl Requester for LyingRequester {
    async fn request(&self, ctx: &Context, request: Request) -> Outcome {
        let body = request.body.clone();
        let is_onward = request.headers.get("lab-onward") == Some("0");
        let (slot, begun) = self.begin(&body);
        let is_repeated = begun.sent.iter().filter(|sent| **sent == body).count() > 1;
        if self.lie == DoublesRepetitions && is_repeated {
            let _ = self.inner.request(ctx, request.clone()).await;
        }
        let outcome = self.send(ctx, request).await;
        let outcome = self.end(slot, &begun, &body, outcome);
        match self.lie {
            LiesToHandlers if is_onward && is(&outcome, &Reason::CONNECTION_LOST) => {
                unsent(outcome)
            }
            _ => outcome,
        }
    }
}

impl LyingRequester {
    async fn send(&self, ctx: &Context, request: Request) -> Outcome {
        let outcome = self.inner.request(ctx, request.clone()).await;
        let is_refused = matches!(&outcome, Err(error) if error.delivery() == Delivery::Rejected);
        match self.lie {
            Nothing | KeepsTheMarkAcrossItsRetry if is_refused => {
                let outcome = self.inner.request(ctx, request).await;
                let keeps = self.lie == KeepsTheMarkAcrossItsRetry
                    && is(&outcome, &Reason::CONNECTION_LOST);
                if keeps { unsent(outcome) } else { outcome }
            }
            EndsLate if is_silent(&outcome) => {
                sleep(LATE).await;
                outcome
            }
            _ => outcome,
        }
    }

    /// Takes a slot; returns its number, and the state at the start of the call.
    fn begin(&self, body: &Bytes) -> (usize, State) {
        let mut state = self.state.lock().expect("nothing panics under it");
        state.sent.push(body.clone());
        let free = state.slots.iter().position(|slot| !slot.is_taken);
        let at = free.unwrap_or_else(|| {
            state.slots.push(Slot::default());
            state.slots.len() - 1
        });
        state.slots[at].is_taken = true;
        (at, state.clone())
    }

    fn end(&self, at: usize, begun: &State, body: &Bytes, outcome: Outcome) -> Outcome {
        let mut state = self.state.lock().expect("nothing panics under it");
        let is_lost = is(&outcome, &Reason::CONNECTION_LOST);
        let is_silent = is_silent(&outcome);
        if is_lost && begun.connection == state.connection {
            state.connection += 1;
        }
        let was_refused =
            std::mem::replace(&mut state.was_refused, is(&outcome, &Reason::OVERLOADED));
        state.is_connecting = is_lost || (is_silent && state.is_connecting);
        let slot = &mut state.slots[at];
        slot.is_taken = false;
        if is_silent {
            slot.late.push((slot.generation, body.clone()));
            slot.generation = !slot.generation;
        }
        match self.lie {
            CountsLossesForEver if is_lost && begun.connection > 0 => unsent(outcome),
            StaysConnecting if is_silent && begun.is_connecting => unsent(outcome),
            TakesSilenceForARefusal if is_silent && was_refused => {
                restated(outcome, Delivery::Rejected)
            }
            TakesDrainsForRuns if is(&outcome, &Reason::DRAINING) => {
                restated(outcome, Delivery::Processed)
            }
            SwapsRepliesOfFour if begun.slots.iter().filter(|slot| slot.is_taken).count() >= 4 => {
                outcome.map(|_| Response::new(begun.sent[0].clone()))
            }
            RepeatsAGeneration => outcome.map(|response| {
                let late = slot.late.iter().find(|(generation, _)| *generation == slot.generation);
                late.map_or(response, |(_, body)| Response::new(body.clone()))
            }),
            _ => outcome,
        }
    }
}

fn is(outcome: &Outcome, reason: &Reason) -> bool {
    matches!(outcome, Err(error) if error.reason() == Some(reason))
}

fn is_silent(outcome: &Outcome) -> bool {
    matches!(outcome, Err(error) if error.code() == Code::DeadlineExceeded)
}

fn unsent(outcome: Outcome) -> Outcome {
    restated(outcome, Delivery::NotSent)
}

/// States another delivery than the error does.
fn restated(outcome: Outcome, delivery: Delivery) -> Outcome {
    outcome.map_err(|error| {
        let (code, message) = (error.code(), error.message().to_owned());
        Error::failure(code, delivery, error.reason().cloned(), message)
    })
}

/// Stores the first answer to a request with a key, and recovers it wrongly.
struct Recovering(Arc<Mutex<Store>>);

#[async_trait]
impl Middleware for Recovering {
    async fn handle(&self, ctx: &Context, request: Request, next: Next<'_>) -> Outcome {
        if !matches!(request.idempotency, Idempotency::Keyed(_)) {
            return next.run(ctx, request).await;
        }
        let recovered = {
            let store = self.0.lock().expect("nothing panics under it");
            store.first.clone().filter(|_| store.lives > 2)
        };
        if let Some(response) = recovered {
            return Ok(response);
        }
        let outcome = next.run(ctx, request).await;
        if let Ok(response) = &outcome {
            let mut store = self.0.lock().expect("nothing panics under it");
            store.first.get_or_insert_with(|| response.clone());
        }
        outcome
    }
}

fn with_faults(faults: usize, lie: Lie) -> WorldsReport {
    every_world(Worlds::up_to(faults), move || Liar { lie, store: Arc::default() })
}

/// Asserts that no single fault shows the lie, and that the smallest world that does has two faults.
#[track_caller]
fn needs_two_faults(lie: Lie, wrong: &str) {
    let one = with_faults(1, lie);
    assert!(one.is_complete(), "{one}");
    let two = with_faults(2, lie);
    let found = two.counterexample().expect("the lie is found");
    println!("{}: {}", found.script(), found.wrong());
    assert_eq!(found.script().len(), 2, "{two}");
    assert!(found.wrong().contains(wrong), "{two}");
}

#[test]
fn a_count_of_losses_that_is_never_reset() {
    needs_two_faults(CountsLossesForEver, "told unavailable (not_sent)");
}

#[test]
fn a_mark_of_never_sent_that_survives_a_retry() {
    needs_two_faults(KeepsTheMarkAcrossItsRetry, "told unavailable (not_sent)");
}

#[test]
fn silence_that_is_taken_for_a_refusal() {
    needs_two_faults(TakesSilenceForARefusal, "told deadline_exceeded (rejected)");
}

#[test]
fn a_connection_that_is_believed_to_be_dialed() {
    needs_two_faults(StaysConnecting, "told deadline_exceeded (not_sent)");
}

#[test]
fn a_late_reply_that_answers_another_call() {
    needs_two_faults(RepeatsAGeneration, "got the answer of another request");
}

#[test]
fn a_stored_answer_that_is_recovered_for_every_key() {
    needs_two_faults(ReplaysTheFirstKey, "never ran, and its caller was told ok");
}

#[test]
fn an_honest_wrapper_passes_every_world_of_two_faults() {
    // Those that a retry could mistake for another: it makes more messages, and so more worlds.
    let faults = [Fault::ConnectFails, Fault::Draining, Fault::ReplyLost, Fault::BrokenAfter];
    let worlds = Worlds::up_to(2).with_faults(faults);
    let report = every_world(worlds, || Liar { lie: Nothing, store: Arc::default() });
    println!("{report}");
    assert!(report.is_complete(), "{report}");
}

#[test]
fn each_scenario_finds_a_lie() {
    for (lie, faults, wrong) in [
        (SwapsRepliesOfFour, 0, "at `concurrent` got the answer of another request"),
        (TakesDrainsForRuns, 0, "at `drained` never ran"),
        (LiesToHandlers, 1, "at `back` ran once"),
        (EndsLate, 1, "at `sequence` ended 60 ms after its deadline"),
        (DoublesRepetitions, 1, "at `repeated` ran 2 times where one run was possible"),
    ] {
        if faults > 0 {
            let fewer = with_faults(faults - 1, lie);
            assert!(fewer.is_complete(), "{lie:?}: {fewer}");
        }
        let report = with_faults(faults, lie);
        let found = report.counterexample().unwrap_or_else(|| panic!("{lie:?}: {report}"));
        assert_eq!(found.script().len(), faults, "{lie:?}: {report}");
        assert!(found.wrong().contains(wrong), "{lie:?}: {report}");
    }
}

/// The in-memory transport, inside a lie.
struct InMemory(Liar);

impl Wrapper for InMemory {
    fn transport(&self) -> WrappedTransport {
        WrappedTransport::Memory
    }

    fn requester(&self, inner: Arc<dyn Requester>) -> Arc<dyn Requester> {
        self.0.requester(inner)
    }

    fn routes(&self, routes: Routes) -> Routes {
        self.0.routes(routes)
    }
}

fn in_memory(faults: usize, lie: Lie) -> WorldsReport {
    let make = move || InMemory(Liar { lie, store: Arc::default() });
    every_world(Worlds::up_to(faults), make)
}

#[test]
fn the_in_memory_transport_passes_every_world_of_two_faults() {
    let report = in_memory(2, Nothing);
    println!("{report}");
    assert!(report.is_complete(), "{report}");
}

#[test]
fn lies_over_the_in_memory_transport_need_two_faults() {
    for lie in [CountsLossesForEver, StaysConnecting, RepeatsAGeneration] {
        let one = in_memory(1, lie);
        assert!(one.is_complete(), "{lie:?}: {one}");
        let two = in_memory(2, lie);
        let found = two.counterexample().unwrap_or_else(|| panic!("{lie:?} is not found: {two}"));
        println!("{lie:?}: {}: {}", found.script(), found.wrong());
        assert_eq!(found.script().len(), 2, "{lie:?}: {two}");
    }
}

#[test]
fn no_wrapper_passes_every_world_of_two_faults() {
    let report = every_world(Worlds::up_to(2), || ());
    println!("{report}");
    assert!(report.is_complete(), "{report}");
}
