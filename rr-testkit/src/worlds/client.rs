//! Client of a service in a network: one message, its fault, and its outcome.

use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use rr_spi::observe::{self, Kind, Monitor};
use rr_spi::{
    Attempt, BoxFuture, CallConfig, CancelHandle, Cause, Code, Context, Deadline, Delivery, Error,
    ManyRequester, Reason, Request, Requester, Response, observed,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::fault::Fault;
use super::life::Life;
use super::network::{Departure, Network, Reached};
use super::profile::{Profile, Runs};
use super::real::Message;
use super::trace::{Summary, What};
use super::wire::{self, RequestMessage};

/// Time between the end of a call and the arrival of its request, if it is [late](Fault::Late) or
/// [repeated](Fault::Repeated).
pub(super) const LATE: Duration = Duration::from_secs(1);

pub(super) type Outcome = Result<Response, Error>;

/// Client of a service in a [`Network`]. Clones are the same client.
#[derive(Clone)]
pub struct NetworkClient {
    network: Network,
    from: String,
    to: String,
    config: CallConfig,
    monitor: Monitor,
    is_background: bool,
}

/// Request that a handler answers, in its context.
pub(super) struct Within {
    pub(super) deadline: Option<Deadline>,
    pub(super) service: String,
    pub(super) instance: usize,
    /// That of the instance.
    pub(super) life: Life,
    /// Number of the call that led to the request: one that no handler made.
    pub(super) root: usize,
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
        let what = What::Returned(Summary::of(outcome));
        self.client.network.record_outcome(self.call, what, outcome);
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
        let (config, monitor) = (CallConfig::default(), Monitor::default());
        Self { network, from, to, config, monitor, is_background: false }
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

    /// Sets the timeout, the limits and the observers of each call.
    #[must_use]
    pub fn with_config(mut self, config: CallConfig) -> Self {
        self.monitor = Monitor::new(config.observers.clone());
        self.config = config;
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
        let departure = self.network.send(link, &request, left);
        self.check_deadline(
            attempt.context(),
            &format!("{}>{}/{}", self.from, self.to, request.target),
        );
        let sent = Sent { client: self, call: departure.call, has_ended: false };
        let root = within.map_or(departure.call, |within| within.root);
        self.network.count_message(root);
        let Departure { call, fault, .. } = departure;
        let flight = Flight::new(self, departure, left, root);
        let message = Message { call, root, from: &self.from, to: &self.to, left, fault };
        let ending: BoxFuture<'_, _> = match self.network.real() {
            Some(real) => Box::pin(real.carry(&self.network, message, &attempt, request)),
            None => Box::pin(attempt.run(flight.outcome(&attempt, request))),
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
    /// That of the link.
    life: Life,
    left: Option<Duration>,
    profile: Profile,
    fault: Option<Fault>,
    /// Number of the call that led to this one, or its own.
    root: usize,
}

impl<'a> Flight<'a> {
    fn new(
        client: &'a NetworkClient,
        departure: Departure,
        left: Option<Duration>,
        root: usize,
    ) -> Self {
        let Departure { call, latency, life, profile, fault } = departure;
        Self { client, call, latency, life, left, profile, fault, root }
    }

    /// Returns the outcome of the call: what the server answered, or what the transport says itself.
    async fn outcome(&self, attempt: &Attempt, request: Request) -> Outcome {
        // Over NATS the message reaches the NATS server.
        if self.fault == Some(Fault::ConnectFails) && self.profile != Profile::Nats {
            let text = "no connection could be made";
            return Err(failure(
                Code::Unavailable,
                Delivery::NotSent,
                Reason::CONNECT_FAILED,
                text,
            ));
        }
        let message = RequestMessage::write(attempt, &request);
        attempt.sent();
        let refused = self.profile.refused(&request);
        let exchanged = self.life.race(self.exchange(attempt, &message, refused)).await;
        wire::replied(attempt, &exchanged.unwrap_or_else(|| Err(lost()))?)
    }

    /// Carries a request to a handler and its answer back. A request that is refused has this
    /// delivery.
    async fn exchange(
        &self,
        attempt: &Attempt,
        message: &RequestMessage,
        refused: Delivery,
    ) -> Result<Outcome, Error> {
        sleep(self.latency).await;
        match self.fault {
            Some(Fault::RequestLost | Fault::Partitioned) => pending().await,
            Some(Fault::Draining) => return Ok(Err(draining(refused))),
            Some(Fault::Overloaded) => return Ok(Err(overloaded(refused))),
            Some(Fault::ConnectFails) => {
                sleep(self.latency).await;
                attempt.unsent();
                return Err(self.profile.no_instance("no instance has subscribed".to_owned()));
            }
            Some(Fault::Delayed) => sleep(self.left.unwrap_or_default() / 2).await,
            _ => {}
        }
        let Some(reached) = self.client.network.reach(&self.client.to) else {
            attempt.unsent();
            let text = format!("no service in this network is called `{}`", self.client.to);
            return Err(self.profile.no_instance(text));
        };
        if self.fault == Some(Fault::Late) {
            let after = self.left.unwrap_or_default() + LATE;
            self.arrive_later(message, &reached, after);
            return pending().await;
        }
        match self.run(attempt, message, &reached).await {
            Some(outcome) => {
                if self.fault == Some(Fault::Repeated) {
                    self.arrive_again(message);
                }
                self.reply(attempt, outcome).await
            }
            None => self.instance_gone().await,
        }
    }

    /// Carries an answer back to the caller.
    async fn reply(&self, attempt: &Attempt, outcome: Outcome) -> Result<Outcome, Error> {
        match self.fault {
            Some(Fault::ReplyLost) => return pending().await,
            Some(Fault::CallerCrashed) => return self.crash_caller(attempt).await,
            Some(Fault::BrokenAfter) => return self.break_after(),
            Some(Fault::BrokenWithin | Fault::Reset) => return Err(lost()),
            Some(Fault::Crashed) => return self.instance_gone().await,
            Some(Fault::ReplyDelayed) => {
                let left = attempt.timeout_millis().unwrap_or_default();
                sleep(Duration::from_millis(left) / 2).await;
            }
            _ => {}
        }
        sleep(self.latency).await;
        Ok(outcome)
    }

    /// Breaks the connection; over NATS it is that of every call of the link.
    fn break_after(&self) -> Result<Outcome, Error> {
        if self.profile == Profile::Nats {
            self.client.network.reset(&self.client.from, &self.client.to);
        }
        Err(lost())
    }

    /// Ends a call whose instance has gone.
    async fn instance_gone(&self) -> Result<Outcome, Error> {
        if self.profile.tells_of_crashes() { Err(lost()) } else { pending().await }
    }

    /// Ends the instance that waits for this call; breaks the connection if there is none.
    async fn crash_caller(&self, attempt: &Attempt) -> Result<Outcome, Error> {
        let Some(within) = attempt.context().value::<Within>() else { return self.break_after() };
        self.client.network.crash(&within.service, within.instance);
        pending().await
    }

    /// Runs the handler in a task; `None` if the run was ended from outside.
    async fn run(
        &self,
        attempt: &Attempt,
        message: &RequestMessage,
        reached: &Reached,
    ) -> Option<Outcome> {
        let (sender, answers) = mpsc::channel(2);
        let within = attempt.context().value::<Within>();
        // Owned by the call: dropping the call cancels the handlers, as every transport does.
        let mut runs = Runs {
            profile: self.profile,
            latency: self.latency,
            lives: [Some(self.life.clone()), within.map(|within| within.life.clone())],
            handles: Vec::with_capacity(2),
            answers,
            has_answered: false,
        };
        let count = if self.fault == Some(Fault::Duplicated) { 2 } else { 1 };
        for _ in 0..count {
            runs.handles.extend(self.spawn(message, reached, sender.clone(), None));
        }
        drop(sender);
        runs.answer().await
    }

    /// Runs the handler a second time, at the instance whose turn it is.
    fn arrive_again(&self, message: &RequestMessage) {
        if let Some(reached) = self.client.network.reach(&self.client.to) {
            self.arrive_later(message, &reached, self.latency + LATE);
        }
    }

    /// Runs the handler when the call has ended, and loses its answer. Nothing cancels it.
    fn arrive_later(&self, message: &RequestMessage, reached: &Reached, after: Duration) {
        let (answers, mut answer) = mpsc::channel(1);
        let handle = self.spawn(message, reached, answers, Some(after));
        tokio::spawn(async move {
            answer.recv().await;
            drop(handle);
        });
    }

    /// Runs the handler in a task, now or later. Returns `None` if the message cannot be read.
    fn spawn(
        &self,
        message: &RequestMessage,
        reached: &Reached,
        answers: mpsc::Sender<Outcome>,
        after: Option<Duration>,
    ) -> Option<CancelHandle> {
        let (profile, fault) = (self.profile, self.fault);
        let (head, target) = match message.read() {
            Ok(read) => read,
            Err(error) => {
                // The channel holds an answer of each run.
                let _ = answers.try_send(Err(error));
                return None;
            }
        };
        let mut inbound = head.inbound();
        inbound.arrived = Some(after.map_or(message.sent_at, |after| Instant::now() + after));
        let (ctx, handle) = reached.intake.context(inbound);
        let request = head.into_request(target, message.body());
        let ctx = ctx.with_value(Within {
            deadline: ctx.deadline(),
            service: self.client.to.clone(),
            instance: reached.instance,
            life: reached.life.clone(),
            root: self.root,
        });
        let (client, call) = (self.client.clone(), self.call);
        // Over NATS a handler does not depend on the connection of its caller.
        let link = if profile == Profile::Nats { Life::default() } else { self.life.clone() };
        let Reached { intake, life, instance } = reached;
        let (intake, life, instance) = (intake.clone(), life.clone(), *instance);
        let expected = client.network.expect();
        tokio::spawn(async move {
            if let Some(after) = after {
                sleep(after).await;
            }
            let _counted = client.network.run(&client.to, call);
            drop(expected);
            client.network.record(call, What::Entered { instance });
            let watched = intake.watch(&ctx, Some(&request.target));
            let outcome = {
                let (ctx, clock) = match fault {
                    Some(Fault::ClockJumped) => {
                        let (ctx, clock) = watched.context(&ctx).child();
                        (ctx, Some(clock))
                    }
                    _ => (watched.context(&ctx).clone(), None),
                };
                let handling = intake.handle(&ctx, request).watched(&watched);
                let handling = pin!(link.race(life.race(handling)));
                struck(fault, profile, handling, || match &clock {
                    Some(clock) => clock.cancel_with(Cause::DeadlineExceeded),
                    None => client.break_off(fault, instance),
                })
                .await
            };
            if let Some(outcome) = outcome.flatten().flatten() {
                watched.end(observe::Outcome::of(&outcome));
                client.network.record_outcome(
                    call,
                    What::Answered(Summary::of(&outcome)),
                    &outcome,
                );
                // Fails when the caller has gone.
                let _ = answers.send(outcome).await;
            }
        });
        Some(handle)
    }
}

/// Runs a handler until it has answered, or a fault has ended it.
async fn struck<F: Future>(
    fault: Option<Fault>,
    profile: Profile,
    mut handling: Pin<&mut F>,
    strike: impl FnOnce(),
) -> Option<F::Output> {
    use Fault::{BrokenWithin, ClockJumped, Crashed, Late, Reset};
    match fault {
        Some(BrokenWithin | Reset | Crashed | ClockJumped) => {
            let outcome = first_poll(handling.as_mut()).await;
            strike();
            let continues = fault == Some(ClockJumped) || profile == Profile::Nats;
            if outcome.is_none() && continues { Some(handling.await) } else { outcome }
        }
        // The connection is closed when the request arrives.
        Some(Late) if profile.is_http() => first_poll(handling).await,
        _ => Some(handling.await),
    }
}

/// Polls a future once; `None` if it is pending.
pub(crate) async fn first_poll<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Option<F::Output> {
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

fn draining(delivery: Delivery) -> Error {
    let text = "the server is draining";
    failure(Code::Unavailable, delivery, Reason::DRAINING, text)
}

fn overloaded(delivery: Delivery) -> Error {
    let text = "too many requests are in flight";
    failure(Code::ResourceExhausted, delivery, Reason::OVERLOADED, text)
}

impl ManyRequester for NetworkClient {}

impl Requester for NetworkClient {
    rr_spi::boxed! {
        fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
            observed!(&self.monitor, Kind::ClientAttempt, |ctx, request| self.perform(ctx, request))
        }
    }
}

impl fmt::Debug for NetworkClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NetworkClient({} > {})", self.from, self.to)
    }
}
