//! The client side of the in-memory transport.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;

use rr_spi::{
    Attempt, BoxFuture, CallConfig, CancelHandle, Cause, Code, Context, Delivery, Error, Intake,
    IntakeConfig, Location, Reason, Request, Requester, Response,
};
use tokio::task::coop::consume_budget;

use super::dispatch::{Entered, Handling, Outcome, enter, handling};
use super::link::{Connected, lost};
use super::{Registry, MemoryFault, MemoryLink};

/// Sends requests by value to the server of the same name in this process.
///
/// The handler is entered on the caller's stack, and goes on in a task of its own on the caller's
/// runtime as soon as it waits for anything: dropping the call tells it to stop, as it would behind
/// a network, and does not stop it by itself. While it computes without waiting, so does the call;
/// and until it first waits, it sees the caller's task-locals and current span, which it sees over no
/// network: what it needs belongs in its [`Context`].
#[derive(Clone, Debug)]
pub struct MemoryRequester {
    registry: Arc<Registry>,
    config: CallConfig,
}

impl MemoryRequester {
    /// Makes a requester for `memory://name`, whose query goes over `config`; the server need not be
    /// there yet.
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
        Self { registry, config }
    }

    /// Returns the link to the server, to cut it.
    #[must_use]
    pub fn link(&self) -> MemoryLink {
        MemoryLink::of(&self.registry)
    }

    /// Waits until the server is there and can be reached.
    ///
    /// # Errors
    ///
    /// `DeadlineExceeded` or `Canceled`, not sent, when the context ended first.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time.
    pub async fn ready(&self, ctx: &Context) -> Result<(), Error> {
        let attempt = Attempt::start(ctx, self.config.timeout)?;
        attempt
            .run(async {
                self.registry.served().await;
                Ok(())
            })
            .await
    }
}

impl Requester for MemoryRequester {
    fn request<'a, 'c, 'f>(
        &'a self,
        ctx: &'c Context,
        request: Request,
    ) -> BoxFuture<'f, Result<Response, Error>>
    where
        'a: 'f,
        'c: 'f,
    {
        // The request goes from here straight to its handler: whatever it passes on its way keeps
        // room for it as long as the call waits.
        Box::pin(async move {
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
            // A loop of calls that are all answered at once must let others run now and then.
            consume_budget().await;
            let outcome = match self.registry.wire().fault() {
                None => {
                    let (handling, handle) = begin(&attempt, intake, request);
                    exchange(&attempt, link, handling, handle).await?
                }
                // Boxed: the calls that go well need not have room for it.
                Some(fault) => Box::pin(inject_fault(fault, &attempt, link, intake, request)).await?,
            };
            let response = outcome?;
            self.config.limits.check_incoming(&response)?;
            Ok(response)
        })
    }
}

/// Makes the request's part on the other side, and what tells it of the caller's end.
fn begin(attempt: &Attempt, intake: Intake, request: Request) -> (Handling, CancelHandle) {
    let (ctx, handle) = intake.context(attempt.inbound());
    attempt.sent();
    (handling(intake, ctx, request), handle)
}

/// Hands the request to its handler and waits for what it answers.
///
/// # Errors
///
/// The call's own end: its deadline, its cancellation, or a cut of the link.
async fn exchange(
    attempt: &Attempt,
    link: Connected<'_>,
    handling: Handling,
    // Kept on this side: dropping the call drops it, which tells the handler.
    handle: CancelHandle,
) -> Result<Outcome, Error> {
    let outcome = match enter(handling).await {
        Entered::Answered(outcome) => {
            // It may have computed past the deadline, or the link was cut from another thread.
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

/// Exchanges as far as the fault lets it, and says what a network would.
async fn inject_fault(
    fault: MemoryFault,
    attempt: &Attempt,
    link: Connected<'_>,
    intake: Intake,
    request: Request,
) -> Result<Outcome, Error> {
    match fault {
        MemoryFault::FailBefore => {
            let (code, reason) = (Code::Unavailable, Reason::CONNECT_FAILED);
            let text = "a connection could not be made, as asked";
            return Err(Error::failure(code, Delivery::NotSent, reason, text).into_failure());
        }
        MemoryFault::DropRequest => attempt.sent(),
        MemoryFault::DropReply | MemoryFault::FailAfter => {
            let (handling, handle) = begin(attempt, intake, request);
            drop(exchange(attempt, link, handling, handle).await?);
        }
    }
    if fault == MemoryFault::FailAfter {
        return Err(lost("the connection broke before the reply had passed, as asked"));
    }
    // Nobody tells the caller: its deadline does, or the end of the link.
    match attempt.run(link.race(pending::<Infallible>())).await? {}
}
