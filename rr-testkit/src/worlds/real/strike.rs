//! A fault of one message over a real transport: what its call, its handler and its line do.

use std::sync::Arc;
use std::time::Duration;

use rr_spi::{
    BoxFuture, Code, Context, Delivery, Error, Middleware, Next, Reason, Request, Response,
    async_trait,
};
use tokio::sync::{Barrier, Semaphore};
use tokio::time::{sleep, timeout};

use super::Real;
use super::serving::Line;
use super::tap::Gate;
use crate::stream_link::Direction;
use crate::worlds::client::{LATE, Within, first_poll};
use crate::worlds::fault::Fault;
use crate::worlds::life::Life;
use crate::worlds::network::Network;
use crate::worlds::trace::{Summary, What};

/// Header that carries the number of the call to the server. The handler does not see it.
pub(super) const CALL: &str = "world-call";

/// Longest wait for a request that is under way when its caller has given up.
const ARRIVAL_MAX: Duration = Duration::from_secs(30);

/// Fault of a message that has been sent.
pub(super) struct Strike {
    pub(super) fault: Fault,
    pub(super) line: Arc<Line>,
    /// Service and instance whose handler makes the call.
    pub(super) caller: Option<(String, usize)>,
    /// Requests that have arrived.
    arrived: Semaphore,
    /// Lets both runs of a duplicate begin together.
    both: Barrier,
}

impl Strike {
    pub(super) fn new(fault: Fault, line: Arc<Line>, caller: Option<(String, usize)>) -> Self {
        Self { fault, line, caller, arrived: Semaphore::new(0), both: Barrier::new(2) }
    }

    /// Prepares the line before the request is sent.
    pub(super) fn before_sent(self: &Arc<Self>, network: &Network, left: Duration) {
        let tap = &self.line.tap;
        if matches!(self.fault, Fault::Delayed | Fault::Late) {
            tap.set(Direction::Requests, Gate::Held);
        }
        match self.fault {
            Fault::Delayed => {
                let passing = Arc::clone(self).pass_after(Direction::Requests, left / 2);
                drop(tokio::spawn(passing));
            }
            Fault::Late => drop(tokio::spawn(Arc::clone(self).pass_late(network.clone(), left))),
            Fault::Duplicated => drop(tokio::spawn(Arc::clone(self).expect(network.clone(), 2))),
            _ => {}
        }
    }

    async fn pass_after(self: Arc<Self>, direction: Direction, delay: Duration) {
        sleep(delay).await;
        self.line.tap.set(direction, Gate::Open);
    }

    /// Passes on what the caller has sent when it has given up, but not that it has given up.
    async fn pass_late(self: Arc<Self>, network: Network, left: Duration) {
        let counted = network.expect();
        sleep(left / 2).await;
        self.line.tap.set(Direction::Requests, Gate::Lost);
        sleep(left - left / 2 + LATE).await;
        self.line.tap.set(Direction::Requests, Gate::HeldPass);
        self.expect(network, 1).await;
        drop(counted);
    }

    /// Counts a run as in flight until as many requests have arrived.
    async fn expect(self: Arc<Self>, network: Network, requests: u32) {
        let _counted = network.expect();
        let _ = timeout(ARRIVAL_MAX, self.arrived.acquire_many(requests)).await;
    }

    /// Acts when a request has arrived, before its handler runs.
    async fn arrives(&self) {
        self.arrived.add_permits(1);
        match self.fault {
            Fault::ReplyLost => self.line.tap.set(Direction::Replies, Gate::Lost),
            Fault::ReplyDelayed => self.line.tap.set(Direction::Replies, Gate::Held),
            Fault::Duplicated => {
                self.both.wait().await;
            }
            _ => {}
        }
    }

    /// Returns whether the fault strikes while the handler waits for the first time.
    fn is_within(&self, has_broker: bool) -> bool {
        match self.fault {
            Fault::BrokenWithin | Fault::Reset | Fault::Crashed => true,
            // Behind the request comes the end of its connection, if that leads to the server.
            Fault::Late => !has_broker,
            _ => false,
        }
    }
}

/// Outermost middleware of a server: tells the network what its handlers do.
pub(super) struct Watch {
    pub(super) network: Network,
    pub(super) service: String,
    pub(super) instance: usize,
    pub(super) life: Life,
}

#[async_trait]
impl Middleware for Watch {
    async fn handle(
        &self,
        ctx: &Context,
        mut request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        let call = request.headers.get(CALL).and_then(|call| call.parse().ok());
        let (Some(call), Some(real)) = (call, self.network.real()) else {
            let text = "this request is no message of the network";
            let reason = Reason::NO_SUCH_TARGET;
            return Err(Error::failure(Code::Unimplemented, Delivery::Rejected, reason, text));
        };
        request.headers.remove(CALL);
        let _counted = self.network.run(&self.service, call);
        self.network.record(call, What::Entered { instance: self.instance });
        let strike = real.strike(call);
        if let Some(strike) = &strike {
            strike.arrives().await;
        }
        let ctx = ctx.with_value(Within {
            deadline: ctx.deadline(),
            service: self.service.clone(),
            instance: self.instance,
            life: self.life.clone(),
            root: real.root(call),
        });
        let handling = next.run(&ctx, request);
        let outcome = match &strike {
            Some(strike) if strike.is_within(real.has_broker()) => {
                self.broken(real, strike, handling).await
            }
            _ => handling.await,
        };
        self.network.record(call, What::Answered(Summary::of(&outcome)));
        if let Some(strike) = &strike {
            self.answered(real, strike, ctx.remaining().unwrap_or_default());
        }
        outcome
    }
}

impl Watch {
    /// Polls the handler once, and strikes. The handler goes no further if its server notices.
    async fn broken(
        &self,
        real: &Real,
        strike: &Strike,
        mut handling: BoxFuture<'_, Result<Response, Error>>,
    ) -> Result<Response, Error> {
        let first = first_poll(handling.as_mut()).await;
        match strike.fault {
            Fault::Crashed => real.crash(&self.network, &self.service, self.instance),
            _ => strike.line.tap.cut(),
        }
        match first {
            Some(outcome) => outcome,
            // A broker does not tell a server that a caller's connection has ended.
            None if strike.fault != Fault::Crashed && real.has_broker() => handling.await,
            // The server drops the handler here.
            None => std::future::pending().await,
        }
    }

    /// Strikes what is broken between the end of the handler and its reply.
    fn answered(&self, real: &Real, strike: &Arc<Strike>, left: Duration) {
        match (strike.fault, &strike.caller) {
            (Fault::CallerCrashed, Some((service, instance))) => {
                real.crash(&self.network, service, *instance);
            }
            // Its caller crashes when the reply has arrived.
            (Fault::CrashedOnReply, Some(_)) => {}
            (Fault::BrokenAfter | Fault::CallerCrashed | Fault::CrashedOnReply, _) => {
                strike.line.tap.cut();
            }
            (Fault::ReplyDelayed, _) => {
                let passing = Arc::clone(strike).pass_after(Direction::Replies, left / 2);
                drop(tokio::spawn(passing));
            }
            _ => {}
        }
    }
}
