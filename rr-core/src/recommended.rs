//! Stacks of layers that suit most applications: around a requester, and around the routes of a
//! server.

use std::time::Duration;

use rr_spi::Requester;
use rr_spi::observe::Observers;

use crate::limit::{AdaptiveConfig, ConcurrencyConfig, ConcurrencyLimit};
use crate::observe::with_features;
use crate::retry::Retry;
use crate::throttle::Throttle;
use crate::{Router, Stack};

/// Number of calls in flight below which a server refuses no critical call. 200 long polls fit; a
/// call behind 256 others does not wait for seconds.
const IN_FLIGHT_MIN: usize = 256;

/// Calls in flight from which calls are refused at the latest: the default of the server's limit.
const IN_FLIGHT_MAX: usize = rr_spi::defaults::IN_FLIGHT_MAX;

/// Wait of a call above the limit: longer than a burst, shorter than a caller notices.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// Maximum number of waiting calls: a burst of a quarter of the largest limit. A decision that looks
/// at so many takes about a microsecond.
const WAITING_MAX: usize = 256;

/// Puts the recommended layers around a requester. Make one stack for each destination, and share
/// it.
///
/// # Layers
///
/// | from the outside in | acts | never |
/// |---|---|---|
/// | default deadline | on a call without a deadline: it has 10 s | changes a deadline that the call has |
/// | [`Throttle`] | while a service accepts less than half of the calls of the last 10 s, and 20 more have failed: up to 80 % of the calls fail immediately, as `throttled` | counts an answer of a handler as a failure, whatever its code |
/// | [`Retry`] | on a failed call that did not run, or may run twice: up to three attempts | retries more than a fifth of the calls, plus 10 per second |
///
/// Each layer has its default configuration. [`Stack::with`] adds a layer inside the existing ones.
/// The book lists the order of all layers, and the effects of another order
/// (docs/src/retries.md#the-order-of-layers).
///
/// # Tests of failures
///
/// A test may let hundreds of calls fail: a failure that a handler returns holds no call back. After
/// 20 failed calls to a service that cannot be reached, that refuses calls or that does not answer in
/// time, the next calls may fail as `throttled` instead. A test that counts such calls makes a
/// stack of [`Retry`] alone, or of a throttle with more
/// [`failures_free`](crate::throttle::ThrottleConfig::failures_free).
///
/// # Errors
///
/// `ResourceExhausted`, not sent, `throttled`, for a call that is held back. Otherwise those of
/// [`Retry`].
///
/// # Examples
///
#[cfg_attr(feature = "json", doc = "```")]
#[cfg_attr(not(feature = "json"), doc = "```ignore")]
/// use rr_core::{Context, Error, Local, RequesterExt, Router, recommended};
///
/// async fn double(n: u32) -> Result<u32, Error> {
///     Ok(n * 2)
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rr_core::CallError> {
/// let client = recommended(Local::new(Router::new().route("math.double", double)));
/// let six: u32 = client.call(&Context::background(), "math.double", &3).idempotent().await?;
/// assert_eq!(six, 6);
/// # Ok(()) }
/// ```
#[must_use]
pub fn recommended<R: Requester>(requester: R) -> Stack<R> {
    recommended_with(requester, Observers::default())
}

/// Puts the layers of [`recommended`] around a requester, and reports its calls and retries to
/// these observers. A call that is held back is reported too.
///
/// The requester reports the attempts to the observers of its configuration.
///
/// # Examples
///
/// ```no_run
/// # async fn example(observers: rr_core::observe::Observers) -> Result<(), rr_core::Error> {
/// use rr_core::config::ClientConfig;
/// use rr_core::{connect_with, recommended_with};
///
/// let config = ClientConfig::default().with_observers(observers.clone());
/// let client = recommended_with(connect_with("http://orders:8080", config).await?, observers);
/// # drop(client);
/// # Ok(()) }
/// ```
#[must_use]
pub fn recommended_with<R: Requester>(requester: R, observers: Observers) -> Stack<R> {
    let (mut stack, observers) = (Stack::new(requester), with_features(observers));
    if !observers.is_empty() {
        stack = stack.observed_by(observers.clone());
    }
    let throttle = Throttle::new().with_observers(observers.clone());
    stack.with(throttle).with(Retry::new().with_observers(observers))
}

/// Puts the recommended layer around the routes of a server: an adaptive [`ConcurrencyLimit`], so
/// that a server with too many calls serves some quickly instead of all too late.
///
/// Pass all that is served, with its own middleware such as
/// [`Deduplicate`](crate::dedup::Deduplicate): the limit is outside of it. Use one for all routes of a
/// process that share its CPU or its database. A layer that [`Router::with`] adds to the result is
/// inside of the limit; merge the result into another router to put a layer around it.
///
/// # Limit
///
/// | calls in flight | a further call |
/// |---|---|
/// | fewer than 256 | runs, whatever the latency |
/// | from 256 to 1023 | runs while replies take at most 1.5 times as long as without contention; otherwise it waits up to 50 ms for its turn and is then refused |
/// | 1024, even if [`in_flight_max`](crate::config::IntakeConfig::in_flight_max) is higher | waits up to 50 ms for its turn and is then refused |
///
/// Up to 256 calls wait. While so many wait, a further call is refused immediately, or takes the
/// place of a less critical one.
///
/// A refusal is `ResourceExhausted`, rejected, `overloaded`: the handler did not run, and
/// [`Retry`] repeats the call after a pause. More critical calls run first
/// ([`Criticality`](crate::context::Criticality)): `Sheddable` calls fill at most 60 % of the limit,
/// which is 153 calls at least, and `SheddablePlus` calls 80 %, which is 204 at least. Below these
/// numbers no call is refused.
///
/// # Probes
///
/// The limit learns the latency without contention while fewer than 512 calls are in flight. A server
/// that has more from its start on halves the limit once, after 30 s: some hundred calls may be
/// refused, within about two latencies. While replies take longer than 1.5 times, it halves the limit
/// again, every 2 s to every 30 s, to learn whether the work itself takes longer
/// ([`ConcurrencyLimit::adaptive`]).
///
/// # Slow and fast methods
///
/// A method that waits, such as a long poll, is in flight while it waits. Up to 256 calls of any
/// duration are safe. More of them may be refused when the mean latency rises, for example because
/// waiting calls replace fast ones. Serve them outside of the limit:
///
/// ```
/// use rr_core::{Context, Error, Request, Response, Router, recommended_server};
///
/// async fn find(_: Context, _: Request) -> Result<Response, Error> {
///     Ok(Response::new("tea"))
/// }
/// # use find as poll;
///
/// let fast = Router::new().route("shop.find", find);
/// let waits = Router::new().route("shop.poll", poll);
/// let router = Router::new().merge(recommended_server(fast)).merge(waits);
/// ```
///
/// # When not to use it
///
/// A service whose capacity is below 256 calls for the time that callers wait, such as 8 workers
/// with one second of work each, needs a lower limit: use [`ConcurrencyLimit`] directly, and also if
/// the server shall refuse calls whose deadline is sooner than a call usually takes
/// ([`sheds_hopeless`](ConcurrencyConfig::sheds_hopeless)). Here that is off: a long poll that waits
/// for nearly the whole time of its caller would always be refused.
///
/// # Examples
///
/// ```no_run
/// # use rr_core::{Context, Error, Request, Response, Router, recommended_server, serve};
/// # async fn find(_: Context, _: Request) -> Result<Response, Error> { Ok(Response::new("tea")) }
/// # async fn example() -> Result<(), Error> {
/// let router = Router::new().route("shop.find", find);
/// let server = serve("http://0.0.0.0:8080", recommended_server(router)).await?;
/// # drop(server);
/// # Ok(()) }
/// ```
#[must_use]
pub fn recommended_server(router: impl Into<Router>) -> Router {
    recommended_server_with(router, Observers::default())
}

/// Puts the layer of [`recommended_server`] around the routes of a server, and reports to these
/// observers each call that the limit refuses
/// ([`Event::LimitRefused`](crate::observe::Event::LimitRefused)), and once per second the limit
/// ([`Event::LimitReported`](crate::observe::Event::LimitReported)).
///
/// The server reports the calls that run to the observers of its configuration.
///
/// # Examples
///
/// ```no_run
/// # use rr_core::{Error, Router, Server};
/// # async fn example(observers: rr_core::observe::Observers, shop: Router) -> Result<Server, Error> {
/// use rr_core::config::ServerConfig;
/// use rr_core::{recommended_server_with, serve_with};
///
/// let config = ServerConfig::default().with_observers(observers.clone());
/// serve_with("http://0.0.0.0:8080", recommended_server_with(shop, observers), config).await
/// # }
/// ```
#[must_use]
pub fn recommended_server_with(router: impl Into<Router>, observers: Observers) -> Router {
    let bounds = AdaptiveConfig::default()
        .with_initial(IN_FLIGHT_MAX)
        .with_min(IN_FLIGHT_MIN)
        .with_max(IN_FLIGHT_MAX);
    let waits = ConcurrencyConfig::default()
        .with_wait_max(WAIT_MAX)
        .with_waiting_max(WAITING_MAX)
        .with_sheds_hopeless(false);
    let limit = ConcurrencyLimit::adaptive(bounds).with_config(waits);
    let limit = limit.with_observers(with_features(observers));
    Router::new().merge(router.into()).with(limit)
}
