//! The client side of the in-memory transport.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;

use rr_spi::observe::{Kind, Monitor, Stats};
use rr_spi::{
    Attempt, CallConfig, CancelHandle, Cause, Code, Context, Delivery, Error, Intake, IntakeConfig,
    Location, ManyRequester, Reason, Request, Requester, Response, observed,
};

use super::begun::Begun;
use super::dispatch::{Entered, Handling, Outcome, enter, handler_future};
use super::faults::MemoryFault;
use super::link::MemoryLink;
use super::registry::Registry;
use super::wire::{Connected, lost};

/// Requester that passes requests by value to the server of the same name in this process.
///
/// The handler is first polled on the caller's stack. If it is pending, it continues in a separate
/// task on the caller's runtime. Dropping the call then cancels the handler's context, as over a
/// network; it does not drop the task.
///
/// Until it first yields, the handler blocks the call and sees the caller's task-locals and current
/// span. Over a network it sees neither: pass the data that it needs in its [`Context`].
#[derive(Clone, Debug)]
pub struct MemoryRequester {
    registry: Arc<Registry>,
    config: CallConfig,
    monitor: Monitor,
}

impl MemoryRequester {
    /// Makes a requester for `memory://name`. Query parameters of the URL override `config`; the
    /// server need not be registered yet.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when the URL is malformed or has an unknown parameter.
    pub fn new(url: &str, config: CallConfig) -> Result<Self, Error> {
        let location = Location::parse(url)?;
        let config = location.configure(config, IntakeConfig::default())?.0;
        Ok(Self::at(Registry::of(&location)?, config))
    }

    pub(crate) fn at(registry: Arc<Registry>, config: CallConfig) -> Self {
        let monitor = Monitor::new(config.observers.clone());
        Self { registry, config, monitor }
    }

    /// Returns the link to the server, to cut it or inject faults.
    #[must_use]
    pub fn link(&self) -> MemoryLink {
        MemoryLink::of(&self.registry)
    }

    /// Waits until the server is registered and the link is not cut.
    ///
    /// # Errors
    ///
    /// `DeadlineExceeded` or `Canceled`, not sent, when the context ends first.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time.
    pub async fn ready(&self, ctx: &Context) -> Result<(), Error> {
        let attempt = Attempt::start(ctx, self.config.timeout)?;
        let served = async {
            self.registry.served().await;
            Ok(())
        };
        attempt.run(served).await
    }
}

impl MemoryRequester {
    /// Returns the counts of the attempts since the requester was made, those of its clones
    /// included.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.monitor.stats()
    }
}

impl ManyRequester for MemoryRequester {}

impl Requester for MemoryRequester {
    rr_spi::boxed! {
        fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
            observed!(&self.monitor, Kind::ClientAttempt, |ctx, request| {
                Begun::by(move || self.start(ctx, request))
            })
        }
    }
}

/// Where the request of a call is.
enum Sent {
    /// With its handler.
    Handled(Handling, CancelHandle),
    /// With a fault. Boxed, so that calls without a fault have a smaller future.
    Faulty(Box<(MemoryFault, Intake, Request)>),
}

impl MemoryRequester {
    /// Starts a call: does all that needs its request. Returns the future of the response.
    fn start<'a>(
        &'a self,
        ctx: &Context,
        request: Request,
    ) -> Result<impl Future<Output = Result<Response, Error>> + use<'a>, Error> {
        let attempt = Attempt::start(ctx, self.config.timeout)?;
        self.config.limits.check_outgoing(&request)?;
        let link = self.registry.wire().connected()?;
        let Some(intake) = self.registry.server() else {
            return Err(Error::failure(
                Code::Unavailable,
                Delivery::NotSent,
                Reason::NO_RESPONDER,
                format!("nobody serves `{}` under this name", request.target),
            )
            .into_failure());
        };
        let sent = match self.registry.wire().fault() {
            None => {
                let (handling, handle) = start_handling(&attempt, intake, request);
                Sent::Handled(handling, handle)
            }
            Some(fault) => Sent::Faulty(Box::new((fault, intake, request))),
        };
        Ok(async move {
            let outcome = match sent {
                Sent::Handled(handling, handle) => exchange(&attempt, link, handling, handle).await,
                Sent::Faulty(faulty) => Box::pin(inject_fault(&attempt, link, faulty)).await,
            };
            let outcome = outcome.and_then(|outcome| attempt.take_spent(outcome));
            let response = outcome.map_err(|error| {
                let is_ours = error.timeline().is_some();
                if is_ours { error } else { error.with_timeline(attempt.timeline()) }
            })?;
            self.config.limits.check_incoming(&response)?;
            Ok(response)
        })
    }
}

/// Makes the server-side future of the request and the handle that cancels its context.
fn start_handling(attempt: &Attempt, intake: Intake, request: Request) -> (Handling, CancelHandle) {
    let mut inbound = attempt.inbound();
    inbound.request = Some(&request);
    let (ctx, handle) = intake.context(inbound);
    attempt.sent();
    (handler_future(intake, ctx, request.body), handle)
}

/// Runs the handler and waits for its outcome.
///
/// # Errors
///
/// The deadline or the cancellation of the call, or a cut of the link.
// Not an `async fn`, whose future stores its arguments twice.
#[allow(clippy::manual_async_fn, reason = "see above")]
fn exchange<'a>(
    attempt: &'a Attempt,
    link: Connected<'a>,
    handling: Handling,
    // Owned by the call: dropping the call drops the handle, which cancels the handler's context.
    handle: CancelHandle,
) -> impl Future<Output = Result<Outcome, Error>> + Send + 'a {
    async move {
        let outcome = match enter(handling).await {
            Entered::Answered(outcome) => {
                // The handler may have computed past the deadline, or another thread cut the link.
                attempt.check()?;
                if link.is_cut() {
                    handle.cancel_with(Cause::PeerGone);
                    return Err(lost("the link was cut"));
                }
                outcome
            }
            Entered::Waiting(answer) => match attempt.run(link.race(answer)).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => return Err(lost("the runtime that the handler ran on ended")),
                Err(ended) => {
                    if link.is_cut() {
                        handle.cancel_with(Cause::PeerGone);
                    }
                    return Err(ended);
                }
            },
        };
        handle.cancel_with(Cause::Finished);
        Ok(outcome)
    }
}

/// Runs the exchange up to the fault and returns the error that a network would cause.
async fn inject_fault(
    attempt: &Attempt,
    link: Connected<'_>,
    faulty: Box<(MemoryFault, Intake, Request)>,
) -> Result<Outcome, Error> {
    let (fault, intake, request) = *faulty;
    match fault {
        MemoryFault::FailBefore => {
            let (code, reason) = (Code::Unavailable, Reason::CONNECT_FAILED);
            let text = "a connection could not be made, as asked";
            return Err(Error::failure(code, Delivery::NotSent, reason, text).into_failure());
        }
        MemoryFault::DropRequest => attempt.sent(),
        MemoryFault::DropReply | MemoryFault::FailAfter => {
            let (handling, handle) = start_handling(attempt, intake, request);
            drop(exchange(attempt, link, handling, handle).await?);
        }
    }
    if fault == MemoryFault::FailAfter {
        return Err(lost("the connection broke before the reply had passed, as asked"));
    }
    // The message is lost: the call ends with its context or with a cut of the link.
    match attempt.run(link.race(pending::<Infallible>())).await? {}
}
