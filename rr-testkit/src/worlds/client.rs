//! Client of a service in a network: a call, the message that it sends, and its outcome.

use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use rr_spi::observe::{Kind, Monitor};
use rr_spi::{
    Attempt, BoxFuture, CallConfig, Code, Context, Deadline, Delivery, Error, ManyRequester,
    Reason, Request, Requester, Response, Target, observed,
};

use super::fault::Fault;
use super::flight::Flight;
use super::life::Life;
use super::network::{Departure, Network};
use super::real::Message;
use super::trace::{Summary, What};

/// Time between the end of a call and the arrival of its request, if it is [late](super::Fault::Late) or
/// [repeated](super::Fault::Repeated).
pub(super) const LATE: Duration = Duration::from_secs(1);

pub(super) type Outcome = Result<Response, Error>;

/// Client of a service in a [`Network`]. Clones are the same client.
#[derive(Clone)]
pub struct NetworkClient {
    pub(super) network: Network,
    pub(super) from: String,
    pub(super) to: String,
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
pub(crate) struct Sent {
    network: Network,
    call: usize,
    has_ended: bool,
}

impl Sent {
    pub(super) fn new(network: Network, call: usize) -> Self {
        Self { network, call, has_ended: false }
    }

    /// Records what the caller got.
    pub(crate) fn end(mut self, outcome: &Outcome) {
        self.has_ended = true;
        let what = What::Returned(Summary::of(outcome));
        self.network.record_outcome(self.call, what, outcome);
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if !self.has_ended {
            self.network.record(self.call, What::GaveUp);
        }
        self.network.call_ended();
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
    fn check_deadline(&self, ctx: &Context, target: &Target) {
        let is_longer = |granted| ctx.deadline().is_none_or(|own| own > granted);
        let broken = match ctx.value::<Within>() {
            _ if self.is_background => return,
            Some(Within { deadline: Some(granted), .. }) if is_longer(*granted) => {
                "may take longer than the request it serves"
            }
            None if self.network.is_serving(&self.from) => {
                "does not carry the context of the request that is answered"
            }
            _ => return,
        };
        self.network.breaks(format!("{}>{}/{target} {broken}", self.from, self.to));
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
        self.check_deadline(attempt.context(), &request.target);
        let sent = Sent::new(self.network.clone(), departure.call);
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
            None => Some(ending.await),
            Some(within) => within.life.race(ending).await,
        };
        let Some(outcome) = outcome else {
            // The instance that calls has crashed.
            drop(sent);
            return pending().await;
        };
        sent.end(&outcome);
        if let Some(within) = within.filter(|_| fault == Some(Fault::CrashedOnReply)) {
            self.network.crash_soon(within.service.clone(), within.instance);
        }
        let response = outcome?;
        self.config.limits.check_incoming(&response)?;
        Ok(response)
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
