//! Balancing of calls over several endpoints.

mod call;
mod config;
mod endpoints;
mod health;
mod latency;
mod many;
mod report;
mod slow_start;
mod verdict;

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rr_spi::observe::Observers;
use rr_spi::{Code, Delivery, Entropy, Error, OsEntropy, Reason, Requester};
use tokio::time::Instant;

use crate::retry::RetryBudget;
use endpoints::Endpoints;

pub use config::BalanceConfig;
#[cfg(feature = "http")]
pub(crate) use health::after;

/// Maximum number of endpoints of a balance. Each call looks at all of them under a lock,
/// a few times.
pub(crate) const ENDPOINTS_MAX: usize = 1024;

/// Requester that balances calls over several endpoints.
///
/// An endpoint is any requester with a name: a [`Client`](crate::Client) for a host, a
/// [`Stack`](crate::Stack) with limits for one host, or another balance. For hosts in one URL, such
/// as `http://a:1,b:2`, [`connect`](crate::connect) makes a balance itself.
///
/// # Choice
///
/// A call goes to the cheaper of two endpoints drawn at random. The cost of an endpoint is its calls
/// in flight, the new one included, times its latency. The latency is a moving average that jumps to
/// a peak immediately and decays towards recent values; while calls wait for longer than that, the
/// time of their wait counts instead. The first call of an endpoint, which may have to connect, is
/// not counted, and latencies below 1 ms are equal. An endpoint without data has the average of the
/// others. Of up to 16 endpoints, those that cost more than four times the cheapest are not drawn.
///
/// # Moves
///
/// A call that provably did not run at its endpoint is sent to another one immediately: each endpoint
/// gets a call once at most, within the deadline of the call and within the
/// [budget](BalanceConfig::budget). This happens after `Unavailable` (such as `connect-failed`,
/// `draining`, `no-responder`, `breaker-open`), after `DeadlineExceeded` of a timeout inside of the
/// endpoint, and after `ResourceExhausted` with the reason `overloaded`; always only as `NotSent` or
/// `Rejected`, and not with [`RetryHint::Never`](crate::retry::RetryHint::Never). The endpoint that
/// refused is avoided for a second, or for up to 10 s if it asks for that. To an ejected endpoint a
/// call moves only after `connect-failed` and `draining`, and if no other is left. Calls that may have run
/// are never repeated: put [`recommended`](crate::recommended) around the balance for that.
///
/// # Ejection
///
/// An endpoint that fails gets no calls for a while, 30 s at first. It is ejected after five
/// failures in a row, or if less than 80 % of its calls succeed in 10 s, with at least 50 calls there
/// and at another endpoint. After the ejection one call at a time probes it, until one succeeds.
/// Each further ejection is 30 s longer, up to 300 s, and each 30 s of health shorten the next one.
/// No ejection makes it more than half of the endpoints, so that calls go somewhere if all of them fail.
///
/// | outcome | counts as |
/// |---|---|
/// | `Unavailable`; `Internal` and `Unknown` made by a transport or a proxy | failure |
/// | `DeadlineExceeded` | failure, if the call had at least the time that calls take at the other endpoints |
/// | `ResourceExhausted` | nothing: with `overloaded`, calls go elsewhere for a second, without an ejection |
/// | `Canceled`, a dropped call, errors that this process makes before it sends | nothing |
/// | a reply, any other error of the handler | success |
///
/// # Slow start
///
/// An endpoint that is new or has returned from an ejection may have cold caches. It gets a tenth of an
/// equal share of the calls at first, and all of it after 10 s. When it and an older endpoint are drawn,
/// the older one gets the rest. Endpoints of the same age, such as those that a balance was made over,
/// do not slow each other.
///
/// # Several replies
///
/// [`request_many`](crate::many::request_many) sends one request to all endpoints, ejected ones
/// included, or to as many as replies are wanted. It prefers healthy endpoints, and of those the
/// cheapest. Each endpoint gets the request once at most, and the budget does not count it. The outcomes
/// count towards latency and ejection as those of other calls.
///
/// # Errors
///
/// The error of the last endpoint that was tried, with a record of each endpoint
/// ([`Error::attempts`]) if there was more than one. Its delivery is the worst of all. Without
/// endpoints, `Unavailable`, not sent, `no-responder`.
///
/// # Cost
///
/// A balance that was made over one endpoint returns the future of that endpoint, and counts
/// nothing. Otherwise a call takes one allocation more, and a lock before and after.
///
/// # Examples
///
#[cfg_attr(feature = "json", doc = "```")]
#[cfg_attr(not(feature = "json"), doc = "```ignore")]
/// use rr_core::balance::{Balance, Endpoint};
/// use rr_core::{Context, Error, Local, RequesterExt, Router, recommended};
///
/// async fn double(n: u32) -> Result<u32, Error> {
///     Ok(n * 2)
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rr_core::CallError> {
/// let replica = || Local::new(Router::new().route("math.double", double));
/// let balance = Balance::new([
///     Endpoint::new("a", replica()),
///     Endpoint::new("b", replica()),
///     Endpoint::new("c", replica()),
/// ])?;
/// let client = recommended(balance);
/// let six: u32 = client.call(&Context::background(), "math.double", &3).idempotent().await?;
/// assert_eq!(six, 6);
/// # Ok(()) }
/// ```
pub struct Balance {
    config: BalanceConfig,
    budget: Budget,
    entropy: Box<dyn Entropy>,
    observers: Observers,
    /// The only endpoint. Its future borrows it, so it stays here until the balance is dropped.
    sole: Option<Arc<dyn Requester>>,
    /// Set when the endpoints are replaced; `sole` is not used from then on.
    is_changed: AtomicBool,
    endpoints: Mutex<Endpoints<Arc<dyn Requester>>>,
}

/// Budget of the moves. Calls are deposited by the balance, or by the layer that shares the budget.
#[derive(Debug)]
enum Budget {
    Own(RetryBudget),
    Shared(RetryBudget),
}

/// Named endpoint of a [`Balance`].
#[derive(Clone)]
pub struct Endpoint {
    name: Arc<str>,
    requester: Arc<dyn Requester>,
}

impl Endpoint {
    /// Makes an endpoint. The name is shown to operators, and identifies the endpoint when the
    /// endpoints of a balance are replaced.
    pub fn new(name: impl Into<Arc<str>>, requester: impl Requester) -> Self {
        Self { name: name.into(), requester: Arc::new(requester) }
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("name", &self.name).finish_non_exhaustive()
    }
}

/// State of one endpoint; see [`Balance::endpoints`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EndpointStatus {
    /// Name of the endpoint.
    pub name: Arc<str>,
    /// Calls in flight. A balance that was made over one endpoint counts only requests with several
    /// replies.
    pub in_flight: usize,
    /// Moving average of the latency. `None` until two calls have succeeded, as the first may have to
    /// connect, or one without a reply took longer than calls take at the other endpoints.
    pub latency: Option<Duration>,
    /// Rest of the ejection; `None` while the endpoint is not ejected. Zero from the end of the
    /// ejection until a call to the endpoint has succeeded.
    pub ejected_for: Option<Duration>,
}

impl Balance {
    /// Makes a balance with the default configuration.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, without endpoints, with more than 1024, and with two of the same
    /// name.
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>) -> Result<Self, Error> {
        Self::with_config(endpoints, BalanceConfig::default())
    }

    /// Makes a balance with the given configuration.
    ///
    /// # Errors
    ///
    /// As [`Balance::new`].
    pub fn with_config(
        endpoints: impl IntoIterator<Item = Endpoint>,
        config: BalanceConfig,
    ) -> Result<Self, Error> {
        let named = named(endpoints)?;
        let sole = match named.as_slice() {
            [] => return Err(invalid("a balance has no endpoints", "name at least one endpoint")),
            [(_, only)] => Some(Arc::clone(only)),
            _ => None,
        };
        let mut endpoints = Endpoints::new();
        drop(endpoints.set(named, Instant::now()));
        Ok(Self {
            budget: Budget::Own(RetryBudget::with_config(&config.budget)),
            config,
            entropy: Box::new(OsEntropy::new()),
            observers: Observers::default(),
            sole,
            is_changed: AtomicBool::new(false),
            endpoints: Mutex::new(endpoints),
        })
    }

    /// Replaces the configured budget by one that a layer around the balance shares, such as
    /// [`Retry::with_budget`](crate::retry::Retry::with_budget). That layer deposits the calls.
    #[must_use]
    pub fn with_budget(mut self, budget: RetryBudget) -> Self {
        self.budget = Budget::Shared(budget);
        self
    }

    /// Replaces the entropy source of the choice; a seeded source makes a run reproducible.
    #[must_use]
    pub fn with_entropy(mut self, entropy: impl Entropy) -> Self {
        self.entropy = Box::new(entropy);
        self
    }

    /// Replaces the observers; none by default. They are told of each ejection
    /// ([`Event::EndpointEjected`](crate::observe::Event::EndpointEjected)) and its end
    /// ([`EndpointReturned`](crate::observe::Event::EndpointReturned),
    /// [`EjectedEndpointRemoved`](crate::observe::Event::EjectedEndpointRemoved)).
    #[must_use]
    pub fn with_observers(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self
    }

    /// Replaces the endpoints. An endpoint whose name is kept keeps its statistics, with the new
    /// requester. Calls in flight at a removed endpoint continue there. Ejected endpoints that are kept
    /// stay ejected, also if they are then more than half; if all are, all get calls.
    ///
    /// Without endpoints, calls fail with `Unavailable`, not sent, until the next replacement. The
    /// requester of a balance that was made over one endpoint is dropped with the balance.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, with more than 1024 endpoints, and with two of the same name;
    /// the endpoints then stay as they are.
    pub fn set(&self, endpoints: impl IntoIterator<Item = Endpoint>) -> Result<(), Error> {
        let named = named(endpoints)?;
        let removed = self.lock().set(named, Instant::now());
        // Not under the lock: requesters may belong to the application.
        drop(removed.requesters);
        self.report_removed(&removed.ejected);
        self.is_changed.store(true, Ordering::Release);
        Ok(())
    }

    /// Returns the state of each endpoint, in the order in which they were given.
    #[must_use]
    pub fn endpoints(&self) -> Vec<EndpointStatus> {
        self.lock().statuses(Instant::now(), &self.config)
    }

    fn lock(&self) -> MutexGuard<'_, Endpoints<Arc<dyn Requester>>> {
        // A panic cannot leave the state half-changed: no foreign code but the entropy runs under
        // the lock, before any change.
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Named = (Arc<str>, Arc<dyn Requester>);

/// Checks the number and the names of endpoints.
fn named(endpoints: impl IntoIterator<Item = Endpoint>) -> Result<Vec<Named>, Error> {
    let mut names = HashSet::new();
    let mut named = Vec::new();
    for Endpoint { name, requester } in endpoints {
        if named.len() == ENDPOINTS_MAX {
            let message = format!("a balance has more than {ENDPOINTS_MAX} endpoints");
            return Err(invalid(message, "put a balance over balances of fewer endpoints each"));
        }
        if !names.insert(Arc::clone(&name)) {
            let message = format!("two endpoints are called `{}`", rr_spi::excerpt(&name, 64));
            return Err(invalid(message, "give each endpoint a different name"));
        }
        named.push((name, requester));
    }
    Ok(named)
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>, hint: &'static str) -> Error {
    Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message).with_hint(hint)
}

/// Makes the error of a call without endpoints.
fn no_endpoints() -> Error {
    let message = "the balance has no endpoints";
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::NO_RESPONDER, message)
        .with_hint("the endpoints were replaced by none: set at least one")
        .into_failure()
}

impl Requester for Balance {
    rr_spi::boxed! {
        fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
            match &self.sole {
                Some(only) if !self.is_changed.load(Ordering::Acquire) => only.request(ctx, request),
                _ => Box::pin(self.balanced(ctx, request)),
            }
        }
    }
}

impl fmt::Debug for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balance").field("endpoints", &self.endpoints()).finish_non_exhaustive()
    }
}
