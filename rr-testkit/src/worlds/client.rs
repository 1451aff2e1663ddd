//! Client of a service in a network: one message, its fault, and its outcome.

use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use rr_spi::{
    Attempt, BoxFuture, CallConfig, CancelHandle, Code, Context, Deadline, Delivery, Error,
    ManyRequester, Reason, Request, Requester, Response,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::fault::Fault;
use super::network::{Life, Network, Reached};
use super::real::Message;
use super::trace::{Summary, What};

/// Time between the deadline of a call and the arrival of its request, if it is [late](Fault::Late).
pub(super) const LATE: Duration = Duration::from_secs(1);

pub(super) type Outcome = Result<Response, Error>;

/// Client of a service in a [`Network`]. Clones are the same client.
#[derive(Clone)]
pub struct NetworkClient {
    network: Network,
    from: String,
    to: String,
    config: CallConfig,
    is_background: bool,
}

/// Request that a handler answers, in its context.
pub(super) struct Within {
    pub(super) deadline: Option<Deadline>,
    pub(super) service: String,
    pub(super) instance: usize,
    /// That of the instance.
    pub(super) life: Life,
}

/// Call in flight. Dropping it tells the network that the caller gave up.
struct Sent<'a> {
    client: &'a NetworkClient,
    call: usize,
    has_ended: bool,
}

impl Sent<'_> {
    fn end(mut self, outcome: &Outcome) {
        self.has_ended = true;
        self.client.network.record(self.call, What::Returned(Summary::of(outcome)));
    }
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.client.network.record(self.call, What::GaveUp);
        }
        self.client.network.call_ended();
    }
}

impl NetworkClient {
    pub(super) fn new(network: Network, from: String, to: String) -> Self {
        Self { network, from, to, config: CallConfig::default(), is_background: false }
    }

    /// Returns a client for work that belongs to no request.
    ///
    /// Otherwise a call that a service makes while it answers a request must carry the context of the
    /// request: a world in which it does not is a counterexample, since the deadline is not passed on.
    #[must_use]
    pub fn for_background_work(mut self) -> Self {
        self.is_background = true;
        self
    }

    /// Checks that the call carries the deadline of the request for which it is made.
    fn check_deadline(&self, ctx: &Context, place: &str) {
        let deadline = ctx.deadline();
        match ctx.value::<Within>() {
            _ if self.is_background => {}
            Some(Within { deadline: Some(granted), .. })
                if deadline.is_none_or(|own| own > *granted) =>
            {
                self.network.breaks(format!("{place} may take longer than the request it serves"));
            }
            None if self.network.is_serving(&self.from) => {
                let text = "does not carry the context of the request that is answered";
                self.network.breaks(format!("{place} {text}"));
            }
            _ => {}
        }
    }

    /// Ends what a fault breaks once the handler has been polled.
    fn break_off(&self, fault: Option<Fault>, instance: usize) {
        match fault {
            Some(Fault::Reset) => self.network.reset(&self.from, &self.to),
            Some(Fault::Crashed) => self.network.crash(&self.to, instance),
            _ => {}
        }
    }

    async fn perform(&self, ctx: &Context, request: Request) -> Outcome {
        let within = ctx.value::<Within>();
        if within.is_some_and(|within| within.life.has_ended()) {
            // The caller is work that outlived its handler, in an instance that has crashed.
            return pending().await;
        }
        let attempt = Attempt::start(ctx, self.config.timeout)?;
        self.config.limits.check_outgoing(&request)?;
        let left = attempt.timeout_millis().map(Duration::from_millis);
        let link = (self.from.as_str(), self.to.as_str());
        let (call, latency, life, fault) = self.network.send(link, request.target.as_str(), left);
        self.check_deadline(
            attempt.context(),
            &format!("{}>{}/{}", self.from, self.to, request.target),
        );
        let sent = Sent { client: self, call, has_ended: false };
        let flight = Flight { client: self, call, latency, life, left };
        let message = Message { call, from: &self.from, to: &self.to, left, fault };
        let ending: BoxFuture<'_, _> = match self.network.real() {
            Some(real) => Box::pin(real.carry(&self.network, message, &attempt, request)),
            None => Box::pin(attempt.run(flight.outcome(&attempt, fault, request))),
        };
        let outcome = match within {
            None => ending.await,
            Some(within) => match within.life.race(ending).await {
                Some(outcome) => outcome,
                None => {
                    drop(sent);
                    return pending().await;
                }
            },
        };
        let outcome = outcome.and_then(|outcome| outcome.map_err(Error::into_received));
        sent.end(&outcome);
        let response = outcome?;
        self.config.limits.check_incoming(&response)?;
        Ok(response)
    }
}

/// What a message needs on its way.
struct Flight<'a> {
    client: &'a NetworkClient,
    call: usize,
    latency: Duration,
    life: Life,
    left: Option<Duration>,
}

impl Flight<'_> {
    /// Returns the outcome of the server; fails with what the transport says by itself.
    async fn outcome(
        &self,
        attempt: &Attempt,
        fault: Option<Fault>,
        request: Request,
    ) -> Result<Outcome, Error> {
        if fault == Some(Fault::ConnectFails) {
            let text = "no connection could be made";
            return Err(failure(
                Code::Unavailable,
                Delivery::NotSent,
                Reason::CONNECT_FAILED,
                text,
            ));
        }
        attempt.sent();
        let travelled = self.life.race(self.exchange(attempt, fault, request)).await;
        travelled.unwrap_or_else(|| Err(lost()))
    }

    async fn exchange(
        &self,
        attempt: &Attempt,
        fault: Option<Fault>,
        request: Request,
    ) -> Result<Outcome, Error> {
        sleep(self.latency).await;
        match fault {
            Some(Fault::RequestLost | Fault::Partitioned) => pending().await,
            Some(Fault::Draining) => return Ok(Err(draining())),
            Some(Fault::Overloaded) => return Ok(Err(overloaded())),
            Some(Fault::Delayed) => sleep(self.left.unwrap_or_default() / 2).await,
            _ => {}
        }
        let Some(reached) = self.client.network.reach(&self.client.to) else {
            attempt.unsent();
            let text = format!("no service in this network is called `{}`", self.client.to);
            return Err(failure(Code::Unavailable, Delivery::NotSent, Reason::NO_RESPONDER, text));
        };
        if fault == Some(Fault::Late) {
            self.arrive_late(attempt, request, &reached);
            return pending().await;
        }
        let answered = self.run(attempt, fault, request, &reached).await;
        let outcome = answered.ok_or_else(lost)?;
        match fault {
            Some(Fault::ReplyLost) => pending().await,
            Some(Fault::CallerCrashed) => return self.crash_caller(attempt).await,
            Some(Fault::BrokenAfter | Fault::BrokenWithin | Fault::Reset | Fault::Crashed) => {
                return Err(lost());
            }
            _ => {}
        }
        sleep(self.latency).await;
        Ok(outcome)
    }

    /// Ends the instance that waits for this call; breaks the connection if there is none.
    async fn crash_caller(&self, attempt: &Attempt) -> Result<Outcome, Error> {
        let Some(within) = attempt.context().value::<Within>() else { return Err(lost()) };
        self.client.network.crash(&within.service, within.instance);
        pending().await
    }

    /// Runs the handler in a task; `None` if the run was ended from outside.
    async fn run(
        &self,
        attempt: &Attempt,
        fault: Option<Fault>,
        request: Request,
        reached: &Reached,
    ) -> Option<Outcome> {
        let (answers, mut answer) = mpsc::channel(2);
        // Owned by the call: dropping the call cancels the handlers, as every transport does.
        let mut handles = Vec::with_capacity(2);
        let runs = if fault == Some(Fault::Duplicated) { 2 } else { 1 };
        for _ in 0..runs {
            handles.push(self.spawn(attempt, fault, request.clone(), reached, answers.clone()));
        }
        drop(answers);
        let outcome = answer.recv().await;
        drop(handles);
        outcome
    }

    /// Runs the handler when the caller has given up: nothing cancels it, and its answer is lost.
    fn arrive_late(&self, attempt: &Attempt, request: Request, reached: &Reached) {
        let (answers, mut answer) = mpsc::channel(1);
        let handle = self.spawn(attempt, Some(Fault::Late), request, reached, answers);
        tokio::spawn(async move {
            answer.recv().await;
            drop(handle);
        });
    }

    fn spawn(
        &self,
        attempt: &Attempt,
        fault: Option<Fault>,
        request: Request,
        reached: &Reached,
        answers: mpsc::Sender<Outcome>,
    ) -> CancelHandle {
        let late = (fault == Some(Fault::Late)).then(|| self.left.unwrap_or_default() + LATE);
        let mut inbound = attempt.inbound();
        inbound.arrived = late.map(|late| Instant::now() + late);
        let (ctx, handle) = reached.intake.context(inbound);
        let ctx = ctx.with_value(Within {
            deadline: ctx.deadline(),
            service: self.client.to.clone(),
            instance: reached.instance,
            life: reached.life.clone(),
        });
        let (client, call, link) = (self.client.clone(), self.call, self.life.clone());
        let Reached { intake, life, instance } = reached;
        let (intake, life, instance) = (intake.clone(), life.clone(), *instance);
        let expected = client.network.expect();
        tokio::spawn(async move {
            if let Some(late) = late {
                sleep(late).await;
            }
            let _counted = client.network.run(&client.to);
            drop(expected);
            client.network.record(call, What::Entered { instance });
            let handling = pin!(link.race(life.race(intake.handle(&ctx, request))));
            let outcome = match fault {
                Some(Fault::BrokenWithin | Fault::Reset | Fault::Crashed) => {
                    let outcome = first_poll(handling).await;
                    client.break_off(fault, instance);
                    outcome
                }
                _ => Some(handling.await),
            };
            if let Some(outcome) = outcome.flatten().flatten() {
                client.network.record(call, What::Answered(Summary::of(&outcome)));
                // Fails when the caller has gone.
                let _ = answers.send(outcome).await;
            }
        });
        handle
    }
}

/// Polls a future once; `None` if it is pending.
pub(super) async fn first_poll<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

pub(super) fn failure(
    code: Code,
    delivery: Delivery,
    reason: Reason,
    text: impl Into<std::borrow::Cow<'static, str>>,
) -> Error {
    Error::failure(code, delivery, reason, text)
}

fn lost() -> Error {
    let text = "the connection was lost";
    failure(Code::Unavailable, Delivery::Unknown, Reason::CONNECTION_LOST, text)
}

fn draining() -> Error {
    let text = "the server is draining";
    failure(Code::Unavailable, Delivery::Rejected, Reason::DRAINING, text)
}

fn overloaded() -> Error {
    let text = "too many requests are in flight";
    failure(Code::ResourceExhausted, Delivery::Rejected, Reason::OVERLOADED, text)
}

impl ManyRequester for NetworkClient {}

impl Requester for NetworkClient {
    rr_spi::boxed! {
        fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
            Box::pin(self.perform(ctx, request))
        }
    }
}

impl fmt::Debug for NetworkClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NetworkClient({} > {})", self.from, self.to)
    }
}
