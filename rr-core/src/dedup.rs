//! Duplicate suppression: a keyed request runs once, and its duplicates get the same answer.
//!
//! # Map
//!
//! | you want to | read |
//! |---|---|
//! | let the routes of a server suppress duplicates | [`Deduplicate`] |
//! | set how much is kept, and for how long | [`MemoryStoreConfig`] |
//! | suppress duplicates among several processes | [`Store`] |

mod fingerprint;
mod memory;
mod run;
mod single_flight;
mod store;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use rr_spi::{
    BoxFuture, Code, Context, Dedup, Delivery, Error, Idempotency, Middleware, Next, Reason,
    Request, Response,
};

use run::DedupRun;
use single_flight::{Follower, Leader, Role, SingleFlight};

pub use fingerprint::Fingerprint;
pub use memory::{MemoryStore, MemoryStoreConfig};
pub use store::{Claim, ScopedKey, Settlement, Store, Ticket};

type Outcome = Result<Response, Error>;

type ScopeOf = dyn Fn(&Context, &Request) -> Option<String> + Send + Sync;

/// Middleware that runs a request with an idempotency key once and gives its duplicates the same
/// answer.
///
/// For routes: add it to a [`Router`](crate::Router) with [`Router::with`](crate::Router::with),
/// outside of all middleware except middleware that refuses callers. Add it only once: inside of a
/// clone of itself it would wait for itself. Requests that are not [`Idempotency::Keyed`] pass
/// through unchanged.
///
/// # Reach
///
/// [`Deduplicate::in_process`] covers **this process only**. If several processes serve a target,
/// behind a load balancer or in a NATS queue group, a duplicate that reaches another process runs
/// there, and a restart forgets all keys. A [`Store`] that the processes share covers all of them.
/// Keys that the store has forgotten, or never knew, are new.
///
/// # Replies to duplicates
///
/// A duplicate is a request with the same key, target and body; headers do not count.
///
/// | the first request | its duplicate |
/// |---|---|
/// | answered, with a success or an error of the handler | gets the same answer, `rr-dedup: replayed` |
/// | is still running here | waits, under its own deadline and cancellation, and gets the same answer |
/// | is still running in another process | `Aborted`, unknown, `duplicate-in-flight` |
/// | was refused before the handler was entered | runs: refusals are not kept |
/// | was cut off, by its deadline, a cancellation or a panic | `Aborted`, unknown, `outcome-lost` |
/// | had another target or body | `InvalidArgument`, rejected, `idempotency-key-reuse` |
///
/// The run belongs to the first request. If that request is cut off, the handler is dropped as
/// without this middleware, and its effects up to then are unknown. No duplicate runs it again, and
/// waiting duplicates fail immediately with `outcome-lost`. If the first request ends before the
/// handler was entered, one of the waiting duplicates runs instead. Use [`Context::shield`] for
/// work that must finish even if the call ends early.
///
/// A duplicate of a request whose handler ran never states that the handler did not run. While a
/// duplicate waits for another run, its delivery is `Unknown`.
///
/// # Effect on requesters
///
/// Every answer to a keyed request that reaches this middleware reports that duplicates are
/// suppressed, including errors that the server makes for a panic or a deadline: see
/// [`Response::dedup`] and [`Error::dedup`]. A retry layer may then repeat such a request even if
/// its handler may have run.
///
/// # Examples
///
/// ```
/// use rr_core::dedup::Deduplicate;
/// use rr_core::{Context, Error, Idempotency, IdempotencyKey, Local, Request, Requester, Response, Router};
/// use rr_core::transport::Dedup;
///
/// async fn place(_: Context, _: Request) -> Result<Response, Error> {
///     Ok(Response::new("order 17"))
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Error> {
/// let router = Router::new().route("orders.place", place).with(Deduplicate::in_process());
/// let client = Local::new(router);
///
/// let key = IdempotencyKey::new("cart-7")?;
/// let request = Request::new("orders.place".try_into()?, "a book")
///     .with_idempotency(Idempotency::Keyed(key));
/// let ctx = Context::background();
/// let first = client.request(&ctx, request.clone()).await?;
/// let again = client.request(&ctx, request).await?;
/// assert_eq!(first.body, again.body);
/// assert_eq!(again.dedup(), Some(Dedup::Replayed));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Deduplicate {
    store: Arc<dyn Store>,
    scope: Option<Arc<ScopeOf>>,
    in_flight: Arc<SingleFlight>,
}

impl Deduplicate {
    /// Suppresses duplicates within this process, with the default [`MemoryStoreConfig`].
    #[must_use]
    pub fn in_process() -> Self {
        Self::new(MemoryStore::new(MemoryStoreConfig::default()))
    }

    /// Suppresses duplicates among all processes that share a store.
    pub fn new(store: impl Store) -> Self {
        Self { store: Arc::new(store), scope: None, in_flight: Arc::default() }
    }

    /// Sets the function that returns the scope of a request's key, such as the caller's verified
    /// name.
    ///
    /// Without a scope, a caller that sends the same key, target and body as another caller
    /// receives the answer of that other caller. A scope must be the same for every attempt of a
    /// call: a token that is renewed is unsuitable. `None` is a separate scope.
    #[must_use]
    pub fn with_scope<F>(mut self, scope: F) -> Self
    where
        F: Fn(&Context, &Request) -> Option<String> + Send + Sync + 'static,
    {
        self.scope = Some(Arc::new(scope));
        self
    }

    async fn once(
        &self,
        ctx: &Context,
        key: ScopedKey,
        request: Request,
        next: Next<'_>,
    ) -> Outcome {
        let fingerprint = Fingerprint::of(&request);
        loop {
            let follower = match self.in_flight.join(&key, fingerprint) {
                Role::Leader(leader) => {
                    return self.lead(ctx, leader, fingerprint, request, next).await;
                }
                Role::Follower(follower) => follower,
                Role::KeyReused => return with_dedup(Err(key_reused()), Dedup::On),
            };
            if let Some(answer) = follow(ctx, follower).await {
                return answer;
            }
        }
    }

    /// Runs the request unless the store knows the key.
    async fn lead(
        &self,
        ctx: &Context,
        leader: Leader,
        fingerprint: Fingerprint,
        request: Request,
        next: Next<'_>,
    ) -> Outcome {
        let (outcome, dedup) = match self.claim(ctx, leader.key(), fingerprint).await {
            Ok(Claim::New(ticket)) => {
                // Declared before the handler's future, and therefore dropped after it.
                let run = DedupRun::new(ctx, Arc::clone(&self.store), ticket, leader);
                let outcome = next.run(ctx, request).await;
                run.record(&outcome);
                return with_dedup(outcome, Dedup::On);
            }
            Ok(Claim::Kept(outcome)) => {
                // Every kept answer is that of a run, whatever delivery the store has kept.
                (outcome.map_err(|error| error.raised_to(Delivery::Processed)), Dedup::Replayed)
            }
            Ok(Claim::Running) => (Err(in_flight_elsewhere()), Dedup::On),
            Ok(Claim::Reused) => (Err(key_reused()), Dedup::On),
            Ok(Claim::Full) => (Err(store_full()), Dedup::On),
            Ok(Claim::Lost) => (Err(outcome_lost()), Dedup::On),
            Err(error) => (Err(store_unreachable(error)), Dedup::On),
        };
        let answer = with_dedup(ctx.pass().resolve(outcome), dedup);
        leader.publish(Some(answer.clone()));
        answer
    }

    /// Claims the key. While the claim is pending, no error may state that the handler of this key
    /// did not run: the claim may find that it did.
    async fn claim(
        &self,
        ctx: &Context,
        key: &ScopedKey,
        fingerprint: Fingerprint,
    ) -> Result<Claim, Error> {
        let mut claiming = pin!(self.store.claim(key, fingerprint));
        if let Poll::Ready(claim) = poll_fn(|cx| Poll::Ready(claiming.as_mut().poll(cx))).await {
            return claim;
        }
        let passage = ctx.pass();
        let claim = claiming.await;
        if claim.is_ok() {
            // The caller reports what the claim found about another run.
            passage.not_run();
        }
        claim
    }
}

/// Waits for the run of another request; `None` if it never ran and the key is free again.
async fn follow(ctx: &Context, follower: Follower) -> Option<Outcome> {
    let passage = ctx.pass();
    match ctx.race(follower.outcome()).await {
        Ok(Some(outcome)) => Some(passage.resolve(outcome)),
        Ok(None) => {
            passage.not_run();
            None
        }
        Err(cause) => {
            let error = Error::from_cause(cause, Delivery::Unknown);
            Some(with_dedup(Err(error), Dedup::On))
        }
    }
}

/// Adds the dedup status to an answer. A `Replayed` that an inner bridge has set stays.
fn with_dedup(outcome: Outcome, dedup: Dedup) -> Outcome {
    let stated = outcome.as_ref().map_or_else(Error::dedup, Response::dedup);
    let dedup = stated.filter(|stated| *stated == Dedup::Replayed).unwrap_or(dedup);
    match outcome {
        Ok(response) => Ok(response.with_dedup(dedup)),
        Err(error) => Err(error.with_dedup(dedup)),
    }
}

impl Middleware for Deduplicate {
    fn handle<'a, 'c, 'n, 'f>(
        &'a self,
        ctx: &'c Context,
        request: Request,
        next: Next<'n>,
    ) -> BoxFuture<'f, Outcome>
    where
        'a: 'f,
        'c: 'f,
        'n: 'f,
    {
        let Idempotency::Keyed(key) = &request.idempotency else {
            return next.run(ctx, request);
        };
        ctx.mark_deduplicated();
        let scope = self.scope.as_ref().and_then(|scope| scope(ctx, &request)).map(Into::into);
        let key = ScopedKey::new(scope, key.clone());
        Box::pin(self.once(ctx, key, request, next))
    }
}

impl fmt::Debug for Deduplicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deduplicate").field("scoped", &self.scope.is_some()).finish_non_exhaustive()
    }
}

fn key_reused() -> Error {
    let (code, reason) = (Code::InvalidArgument, Reason::IDEMPOTENCY_KEY_REUSE);
    let text = "the idempotency key was used with another target or body";
    Error::failure(code, Delivery::Rejected, reason, text)
}

fn in_flight_elsewhere() -> Error {
    let text = "a request with this idempotency key is being handled in another process";
    Error::failure(Code::Aborted, Delivery::Unknown, Reason::DUPLICATE_IN_FLIGHT, text)
}

fn outcome_lost() -> Error {
    let text = "a request with this idempotency key ran before, and its answer is not known";
    Error::failure(Code::Aborted, Delivery::Unknown, Reason::OUTCOME_LOST, text)
}

fn store_full() -> Error {
    let text = "as many idempotency keys as there is room for are in use at this moment";
    Error::failure(Code::ResourceExhausted, Delivery::Rejected, Reason::OVERLOADED, text)
}

fn store_unreachable(error: Error) -> Error {
    let text = "the store of idempotency keys cannot be reached";
    Error::failure(Code::Unavailable, Delivery::Unknown, None, text).with_source(error)
}
