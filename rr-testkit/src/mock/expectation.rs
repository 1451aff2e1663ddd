//! Expectation: conditions on a request, the answers to it, and the number of such requests.

use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_spi::{Error, Request, Response, Target};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answers::{Answer, Lasts, Reply, Step, pick};
use super::condition::{self, Condition};
use super::failure::MockFailure;
use super::json;
use super::times::Times;
use crate::sync::lock;

/// Expectation of a [`Mock`](super::Mock): conditions on requests to one method, the answers to
/// them, and their number.
///
/// All conditions must hold. Answers follow each other: the first request gets the first answer. If
/// there is one answer, every request gets it. If there are several, each is given once, or as often
/// as it says, and a request after the last fails with the reason `mock-exhausted`, unless the last
/// is repeated [forever](Self::forever).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use rr_spi::{Code, Response};
/// use rr_testkit::Mock;
/// # #[derive(Clone, serde::Serialize, serde::Deserialize)]
/// # struct Charge { cents: u64 }
///
/// let mock = Mock::service("payments");
/// // Conditions: a predicate on the input, its exact value, a predicate on the request.
/// mock.on("charge").when(|charge: &Charge| charge.cents == 0).fail(Code::InvalidArgument);
/// mock.on("charge").with(Charge { cents: 13 }).delay(Duration::from_secs(1)).reply("late");
/// mock.on("charge").when_raw(|request| request.headers.contains("x-test")).hang();
/// // Answers: two failures, one reply, and then another for every request.
/// mock.on("charge")
///     .fail_times(2, Code::Unavailable)
///     .reply("first")
///     .reply_with(|charge: &Charge| Ok(format!("{} cents", charge.cents)))
///     .forever();
/// mock.on("ping").reply_raw(Response::new("pong")).expect(..=3);
/// mock.on("refund").expect_none();
/// ```
#[derive(Clone)]
pub struct Expectation(Arc<Rule>);

/// Expectation, as the mock keeps it.
pub(super) struct Rule {
    target: Target,
    at: &'static Location<'static>,
    state: Mutex<RuleState>,
}

struct RuleState {
    conditions: Vec<Condition>,
    steps: Vec<Step>,
    /// Delay of the answer that is added next.
    delay: Duration,
    times: Times,
    count: usize,
}

/// What a request gets that matches an expectation.
pub(super) enum Claim {
    Answer(Step),
    /// The expectation has no answers.
    Unanswered,
    /// A delay is not followed by an answer.
    Misplaced,
    TooMany(Times),
    Over,
}

#[expect(clippy::must_use_candidate, reason = "each method changes the mock; the rest is optional")]
impl Expectation {
    pub(super) fn new(rule: Arc<Rule>) -> Self {
        Self(rule)
    }

    /// Adds the condition that a predicate accepts the decoded input, whose type is that of the
    /// closure's argument. A body that cannot be decoded does not match.
    #[track_caller]
    pub fn when<T: DeserializeOwned + 'static>(
        self,
        predicate: impl Fn(&T) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.condition(condition::when(predicate, Location::caller()))
    }

    /// Adds the condition that a predicate accepts the request: its headers, its idempotency, its
    /// body as bytes.
    #[track_caller]
    pub fn when_raw(self, predicate: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Self {
        self.condition(condition::when_raw(predicate, Location::caller()))
    }

    /// Adds the condition that the input equals a value, compared as JSON. A request that differs is
    /// reported with its differences, field by field.
    ///
    /// # Panics
    ///
    /// When the value cannot be encoded as JSON.
    #[track_caller]
    pub fn with(self, input: impl Serialize) -> Self {
        match serde_json::to_value(&input) {
            Ok(expected) => self.condition(condition::equal(expected)),
            Err(error) => panic!("the expected input cannot be encoded as JSON: {error}"),
        }
    }

    /// Delays the answer that is added next, on tokio's clock. Without this method an answer is
    /// given immediately. A delay after the last answer fails the test when a request comes.
    pub fn delay(self, delay: Duration) -> Self {
        lock(&self.0.state).delay = delay;
        self
    }

    /// Adds the answer with a value, which is encoded as JSON.
    ///
    /// # Panics
    ///
    /// When the value cannot be encoded as JSON.
    #[track_caller]
    pub fn reply(self, value: impl Serialize) -> Self {
        match json::encode(&value) {
            Ok(response) => {
                self.replies(Arc::new(move |request| Ok(json::typed(response.clone(), request))))
            }
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// Adds the answer that a function computes from the decoded input, as a handler does. A body
    /// that cannot be decoded fails with the reason `mock-no-answer`, and fails the test.
    pub fn reply_with<T: DeserializeOwned + 'static, R: Serialize>(
        self,
        function: impl Fn(&T) -> Result<R, Error> + Send + Sync + 'static,
    ) -> Self {
        self.replies(Arc::new(move |request| {
            let input = json::decode(request).map_err(super::responder::undecodable)?;
            Ok(json::typed(json::encode(&function(&input)?)?, request))
        }))
    }

    /// Adds the answer with a response: headers, and a body as bytes.
    pub fn reply_raw(self, response: Response) -> Self {
        self.replies(Arc::new(move |_| Ok(response.clone())))
    }

    /// Adds the answer with an error, given as an [`Error`] or a [`Code`](rr_spi::Code).
    ///
    /// If the error states `NotSent` or `Rejected`, its caller is told that the handler did not run;
    /// otherwise that it did. For an error of the transport itself, use
    /// [`MemoryFaults`](crate::MemoryFaults).
    pub fn fail(self, error: impl MockFailure) -> Self {
        self.answer(Answer::Fail(error.into_error()), Lasts::Unstated)
    }

    /// Adds the answer with an error to a number of requests; see [`Self::fail`]. The next answers
    /// follow.
    pub fn fail_times(self, times: usize, error: impl MockFailure) -> Self {
        self.answer(Answer::Fail(error.into_error()), Lasts::Times(times))
    }

    /// Adds the answer that never comes: the request ends by its deadline, or when its caller leaves.
    pub fn hang(self) -> Self {
        self.answer(Answer::Hang, Lasts::Unstated)
    }

    /// Repeats the answer that was added last, without end.
    ///
    /// # Panics
    ///
    /// When there is no answer yet.
    #[track_caller]
    pub fn forever(self) -> Self {
        let is_repeated = match lock(&self.0.state).steps.last_mut() {
            Some(last) => {
                last.lasts = Lasts::Forever;
                true
            }
            None => false,
        };
        assert!(is_repeated, "`forever` repeats the answer before it: add an answer first");
        self
    }

    /// Expects a number of requests that match: `2`, `1..=3`, `1..`. More than that many fail with
    /// the reason `mock-exhausted`; fewer fail the test when the mock is verified.
    ///
    /// # Panics
    ///
    /// When the range is empty.
    #[track_caller]
    pub fn expect(self, times: impl Into<Times>) -> Self {
        let times = times.into();
        assert!(!times.is_empty(), "no number of requests is in this range; use `expect_none`");
        lock(&self.0.state).times = times;
        self
    }

    /// Expects at least this many requests that match; as `expect(least..)`.
    pub fn expect_at_least(self, least: usize) -> Self {
        self.expect(least..)
    }

    /// Expects no request that matches; as `expect(0)`.
    pub fn expect_none(self) -> Self {
        self.expect(0)
    }

    fn condition(self, condition: Condition) -> Self {
        lock(&self.0.state).conditions.push(condition);
        self
    }

    fn replies(self, reply: Reply) -> Self {
        self.answer(Answer::Reply(reply), Lasts::Unstated)
    }

    fn answer(self, answer: Answer, lasts: Lasts) -> Self {
        let mut state = lock(&self.0.state);
        let delay = std::mem::take(&mut state.delay);
        state.steps.push(Step { answer, delay, lasts });
        drop(state);
        self
    }
}

impl Rule {
    pub(super) fn new(target: Target, at: &'static Location<'static>) -> Self {
        let state = Mutex::new(RuleState {
            conditions: Vec::new(),
            steps: Vec::new(),
            delay: Duration::ZERO,
            times: Times::ANY,
            count: 0,
        });
        Self { target, at, state }
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Returns what differs between a request to the method and the conditions; empty if the
    /// request matches.
    pub(super) fn differences(&self, request: &Request) -> Vec<String> {
        // Outside of the lock: a condition is the test's code.
        let conditions = lock(&self.state).conditions.clone();
        conditions.iter().filter_map(|condition| condition(request).err()).collect()
    }

    /// Counts a request that matches, and returns its answer.
    pub(super) fn claim(&self) -> Claim {
        let mut state = lock(&self.state);
        let before = state.count;
        state.count += 1;
        if !state.times.allows(state.count) {
            return Claim::TooMany(state.times);
        }
        if !state.delay.is_zero() {
            return Claim::Misplaced;
        }
        if state.steps.is_empty() {
            return Claim::Unanswered;
        }
        pick(&state.steps, before).map_or(Claim::Over, |step| Claim::Answer(step.clone()))
    }

    /// Says that too few or too many requests came; `None` if neither.
    pub(super) fn unmet(&self) -> Option<String> {
        let state = lock(&self.state);
        if state.times.contains(state.count) {
            return None;
        }
        Some(format!("{self}: expected {}, received {}", state.times, state.count))
    }
}

/// Prints the method and the place in the test.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` at {}", self.target, self.at)
    }
}

impl fmt::Debug for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expectation({})", self.0)
    }
}
