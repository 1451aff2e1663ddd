//! Whatever is lost on the way, and however often callers try again: a key runs at most once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use rr_core::dedup::Deduplicate;
use rr_core::transport::Mark;
use rr_core::{
    Code, Context, Delivery, Error, Middleware, Next, Request, Requester as _, Response, Router,
    async_trait,
};
use rr_testkit::{MemoryFault, MemoryFaults};
use tokio::time::{sleep, timeout};

use super::support::{Served, keyed, ms, served};

/// The keys of a round; the handler of each does its own thing.
const KEYS: [&str; 2] = ["a", "b"];

/// What happens on one link.
#[derive(Clone, Debug)]
enum Faults {
    Script(Vec<Option<MemoryFault>>),
    Seeded { seed: u64, percent: u32 },
}

/// What the handler of a key does, after some time.
#[derive(Clone, Copy, Debug)]
enum How {
    Answer,
    Fail,
    Panic,
}

/// What a middleware between the suppression and the handler does with a request.
#[derive(Clone, Copy, Debug)]
enum Step {
    Pass,
    Refuse,
    Hold(u64),
}

/// Somebody who calls with a key until there is an answer, or attempts are over.
#[derive(Clone, Debug)]
struct Caller {
    key: usize,
    starts_ms: u64,
    timeout_ms: u64,
    attempts: usize,
    /// Drops its attempts after that long.
    patience_ms: Option<u64>,
}

#[derive(Clone, Debug)]
struct Round {
    faults: Faults,
    works: Vec<(u64, How)>,
    steps: Vec<Step>,
    callers: Vec<Caller>,
}

fn faults() -> impl Strategy<Value = Faults> {
    let fault = prop::sample::select(MemoryFault::ALL.to_vec());
    prop_oneof![
        prop::collection::vec(prop::option::of(fault), 0..16).prop_map(Faults::Script),
        (any::<u64>(), 0u32..80).prop_map(|(seed, percent)| Faults::Seeded { seed, percent }),
    ]
}

fn callers() -> impl Strategy<Value = Vec<Caller>> {
    let patience = prop::option::weighted(0.2, 1u64..60);
    let caller = (0..KEYS.len(), 0u64..80, 1u64..120, 1usize..6, patience).prop_map(
        |(key, starts_ms, timeout_ms, attempts, patience_ms)| Caller {
            key,
            starts_ms,
            timeout_ms,
            attempts,
            patience_ms,
        },
    );
    prop::collection::vec(caller, 1..6)
}

fn rounds() -> impl Strategy<Value = Round> {
    let how = prop_oneof![3 => Just(How::Answer), 1 => Just(How::Fail), 1 => Just(How::Panic)];
    let works = prop::collection::vec((0u64..60, how), KEYS.len());
    let step = prop_oneof![
        3 => Just(Step::Pass),
        1 => Just(Step::Refuse),
        1 => (1u64..40).prop_map(Step::Hold),
    ];
    let steps = prop::collection::vec(step, 0..8);
    (faults(), works, steps, callers()).prop_map(|(faults, works, steps, callers)| Round {
        faults,
        works,
        steps,
        callers,
    })
}

/// How often each key ran.
#[derive(Clone, Default)]
struct Runs(Arc<Mutex<[usize; KEYS.len()]>>);

impl Runs {
    fn of(&self, key: usize) -> usize {
        self.0.lock().unwrap()[key]
    }

    fn enter(&self, key: usize) -> usize {
        let mut runs = self.0.lock().unwrap();
        runs[key] += 1;
        runs[key]
    }
}

/// Takes a step for each request that would run.
struct Weather(Mutex<VecDeque<Step>>);

#[async_trait]
impl Middleware for Weather {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        let step = self.0.lock().unwrap().pop_front();
        match step.unwrap_or(Step::Pass) {
            Step::Pass => {}
            Step::Hold(millis) => sleep(ms(millis)).await,
            Step::Refuse => {
                let text = "not now";
                return Err(Error::failure(Code::Unavailable, Delivery::Rejected, None, text));
            }
        }
        next.run(ctx, request).await
    }
}

/// Listens to what the server says of each request, at the moment at which it says so: by the time
/// at which the caller hears it, another attempt may have run.
struct Witness {
    runs: Runs,
    lies: Lies,
}

/// What was said of a key that had run.
type Lies = Arc<Mutex<Vec<String>>>;

struct Testimony<'a> {
    witness: &'a Witness,
    ctx: &'a Context,
    key: usize,
    /// What came out; the server makes an error of its own when nothing did.
    outcome: Option<Result<Response, Error>>,
}

impl Drop for Testimony<'_> {
    fn drop(&mut self) {
        let known = self.ctx.delivery().unwrap_or(Delivery::Unknown);
        let said = match (&self.outcome, self.ctx.marked()) {
            (Some(Ok(_)), _) => Delivery::Processed,
            (Some(Err(error)), Mark::Passed) => error.delivery().max(known),
            (None, Mark::Passed) => Delivery::Unknown,
            _ => known,
        };
        let unexecuted = said.is_unexecuted();
        if unexecuted && self.witness.runs.of(self.key) > 0 {
            self.witness.lies.lock().unwrap().push(format!("{:?}", self.outcome));
        }
    }
}

#[async_trait]
impl Middleware for Witness {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        let key = KEYS.iter().position(|key| *key == request.target.as_str()).unwrap();
        let mut testimony = Testimony { witness: self, ctx, key, outcome: None };
        let outcome = next.run(ctx, request).await;
        testimony.outcome = Some(outcome.clone());
        outcome
    }
}

/// Routes one target per key.
fn router(runs: &Runs, works: &[(u64, How)]) -> Router {
    KEYS.iter().zip(works).enumerate().fold(Router::new(), |router, (key, (name, &work))| {
        let runs = runs.clone();
        let handler = move |_: Context, _: Request| {
            let runs = runs.clone();
            async move {
                let run = runs.enter(key);
                let (millis, how) = work;
                sleep(ms(millis)).await;
                match how {
                    How::Answer => Ok(Response::new(format!("run {run}"))),
                    How::Fail => Err(Error::new(Code::Unavailable, format!("run {run}"))),
                    How::Panic => panic!("as asked"),
                }
            }
        };
        router.route(name, handler)
    })
}

/// What a caller was told, attempt by attempt.
type Told = Vec<Result<Response, Error>>;

/// Tries again whatever it is told, but for success: more than any retry would dare.
async fn calls(client: Arc<Served>, caller: Caller) -> Told {
    sleep(ms(caller.starts_ms)).await;
    let mut told = Vec::new();
    for _ in 0..caller.attempts {
        let ctx = Context::background().with_timeout(ms(caller.timeout_ms));
        let name = KEYS[caller.key];
        let attempt = client.requester.request(&ctx, keyed(name, name, "body"));
        let patience = caller.patience_ms.map_or(Duration::MAX, ms);
        let Ok(outcome) = timeout(patience, attempt).await else { continue };
        let answered = outcome.is_ok();
        told.push(outcome);
        if answered {
            break;
        }
    }
    told
}

/// Plays a round; returns what was told of each key and the runs of it, and what was a lie.
fn play(round: &Round, wrap: impl FnOnce(Router) -> Router) -> (Vec<(Told, usize)>, Vec<String>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let runs = Runs::default();
        let weather = Weather(Mutex::new(round.steps.iter().copied().collect()));
        let lies = Lies::default();
        let witness = Witness { runs: runs.clone(), lies: Arc::clone(&lies) };
        let router = wrap(router(&runs, &round.works).with(witness));
        let client = served(router.with(weather));
        client.requester.link().set_faults(match &round.faults {
            Faults::Script(steps) => MemoryFaults::script(steps.iter().copied()),
            Faults::Seeded { seed, percent } => MemoryFaults::seeded(*seed, *percent),
        });
        let client = Arc::new(client);
        let calling: Vec<_> = round
            .callers
            .iter()
            .map(|caller| tokio::spawn(calls(Arc::clone(&client), caller.clone())))
            .collect();
        let mut told: Vec<Told> = vec![Vec::new(); KEYS.len()];
        for (caller, calling) in round.callers.iter().zip(calling) {
            told[caller.key].extend(calling.await.unwrap());
        }
        client.in_flight(0).await;
        let told = told.into_iter().enumerate().map(|(key, told)| (told, runs.of(key))).collect();
        let lies = lies.lock().unwrap().clone();
        (told, lies)
    })
}

proptest! {
    #[test]
    fn a_key_runs_at_most_once_and_nobody_hears_otherwise(round in rounds()) {
        let (keys, lies) = play(&round, |router| router.with(Deduplicate::in_process()));
        prop_assert_eq!(lies, Vec::<String>::new());
        for (told, runs) in keys {
            prop_assert!(runs <= 1, "{runs} runs; {told:#?}");
            for outcome in &told {
                match outcome {
                    Ok(response) => {
                        prop_assert_eq!(&*response.body, b"run 1");
                        prop_assert!(response.dedup().is_some());
                    }
                    Err(error) if error.delivery() == Delivery::Processed => {
                        prop_assert_eq!(runs, 1, "{:?}", error);
                    }
                    Err(_) => {}
                }
            }
            let unexecuted = |told: &Result<_, Error>| {
                told.as_ref().is_err_and(|error| error.delivery().is_unexecuted())
            };
            let dropped = round.callers.iter().any(|caller| caller.patience_ms.is_some());
            prop_assert!(runs == 0 || dropped || !told.iter().all(unexecuted), "{told:#?}");
        }
    }
}

#[test]
fn without_it_a_lost_reply_makes_the_handler_run_again() {
    let caller = Caller { key: 0, starts_ms: 0, timeout_ms: 50, attempts: 3, patience_ms: None };
    let round = Round {
        faults: Faults::Script(vec![Some(MemoryFault::DropReply), Some(MemoryFault::FailAfter)]),
        works: vec![(5, How::Answer); KEYS.len()],
        steps: Vec::new(),
        callers: vec![caller],
    };
    assert_eq!(play(&round, |router| router).0[0].1, 3);
    let played = play(&round, |router| router.with(Deduplicate::in_process()));
    let (told, runs) = &played.0[0];
    let answer = told.last().unwrap().as_ref().unwrap();
    assert_eq!((*runs, &*answer.body), (1, &b"run 1"[..]));
}
