//! Mocks of services: answers by expectation, or given by the test.

mod answers;
mod condition;
mod expectation;
mod failure;
mod held;
mod json;
mod report;
mod responder;
mod state;
mod times;

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use rr_spi::{Declared, Request, Route, Routes, Target};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

pub use expectation::Expectation;
pub use failure::MockFailure;
pub use held::MockRequest;
pub use times::Times;

use expectation::Rule;
use responder::MockResponder;
use state::{Shared, Unmatched};

use crate::sync::until;

/// Time for which a test waits for a request, unless [`Mock::with_patience`] sets another: far more
/// than any request takes, and short enough for a test that fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// Mock of a service, which stands in for it in a test.
///
/// A mock has [expectations](Mock::on): conditions on a request, and the answers to it. The first
/// expectation that matches a request answers it, in the order in which they were made. `&Mock`
/// converts into [`Routes`]: serve it by [`loopback`], in a network of services, or at any URL by
/// `serve(url, Router::new().merge(&mock))`.
///
/// A request that no expectation matches fails with a message that names the nearest expectation
/// and what differs. Such a request, and an expectation that is not met, fail the test: by a panic
/// with a list of them when the mock is dropped, or in [`Mock::verify`].
///
/// Clones share everything, but only the value that [`Mock::service`] or [`Mock::by_hand`] returned
/// panics when it is dropped. Keep it in the test; a panic in a task of a server fails no test.
/// Nothing is added to a panic that is in progress.
///
/// Inputs and replies are JSON. For other bodies there are [`Expectation::when_raw`] and
/// [`Expectation::reply_raw`].
///
/// # Errors
///
/// The caller of a mock receives these errors in place of an answer. They are `Internal`, processed,
/// and must not be retried:
///
/// | reason | the request |
/// |---|---|
/// | `mock-no-match` | matches no expectation |
/// | `mock-exhausted` | comes after the last answer of its expectation, or is more than were expected |
/// | `mock-no-answer` | was dropped by the test without an answer, or its expectation has none for it |
///
/// [`loopback`]: crate::loopback
///
/// # Examples
///
/// ```
/// use rr_spi::{Code, Context, Error, Request, Requester, Response};
/// use rr_testkit::{Loopback, Mock, loopback};
///
/// #[derive(serde::Deserialize)]
/// struct Charge {
///     cents: u64,
/// }
///
/// async fn charge(payments: &Loopback, body: &'static str) -> Result<Response, Error> {
///     let ctx = Context::background();
///     payments.request(&ctx, Request::new("payments.charge".try_into()?, body)).await
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Error> {
/// let mock = Mock::service("payments");
/// mock.on("charge")
///     .when(|charge: &Charge| charge.cents > 10_000)
///     .fail(Code::ResourceExhausted)
///     .expect(1);
/// mock.on("charge").fail_times(2, Code::Unavailable).reply("receipt 7").expect(3);
/// mock.on("refund").expect_none();
///
/// let payments = loopback(&mock);
/// let error = charge(&payments, r#"{"cents": 20000}"#).await.unwrap_err();
/// assert_eq!(error.code(), Code::ResourceExhausted);
/// for _ in 0..2 {
///     let error = charge(&payments, r#"{"cents": 500}"#).await.unwrap_err();
///     assert_eq!(error.code(), Code::Unavailable);
/// }
/// assert_eq!(charge(&payments, r#"{"cents": 500}"#).await?.body, "\"receipt 7\"");
/// // Dropping the mock checks that there were three such requests, and no refund.
/// # Ok(()) }
/// ```
pub struct Mock {
    shared: Arc<Shared>,
    is_original: bool,
}

impl Mock {
    /// Makes a mock of a service. A request that no expectation matches fails.
    ///
    /// # Panics
    ///
    /// When the name is malformed: it is dotted tokens of letters, digits, `_` and `-`.
    #[track_caller]
    #[must_use]
    pub fn service(name: &str) -> Self {
        Self::new(name, Unmatched::Fails)
    }

    /// Makes a mock of a service whose requests the test answers, one by one, as it takes them by
    /// [`Mock::next_request`].
    ///
    /// An expectation with answers still answers the requests that it matches. A request that the
    /// test has not taken when it verifies the mock fails the test.
    ///
    /// # Panics
    ///
    /// As [`Mock::service`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use rr_spi::{Context, Error, Request, Requester};
    /// use rr_testkit::{Mock, loopback};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Error> {
    /// let mock = Mock::by_hand("payments");
    /// let (client, _server) = loopback(&mock).into_parts();
    /// let call = tokio::spawn(async move {
    ///     let request = Request::new("payments.charge".try_into()?, r#"{"cents": 500}"#);
    ///     client.request(&Context::background(), request).await
    /// });
    ///
    /// let charge = mock.expect_request("charge").await;
    /// assert_eq!(charge.input::<serde_json::Value>()["cents"], 500);
    /// assert!(!call.is_finished());
    /// charge.reply("receipt 7");
    /// assert_eq!(call.await.unwrap()?.body, "\"receipt 7\"");
    /// # Ok(()) }
    /// ```
    #[track_caller]
    #[must_use]
    pub fn by_hand(name: &str) -> Self {
        Self::new(name, Unmatched::Waits)
    }

    #[track_caller]
    fn new(name: &str, unmatched: Unmatched) -> Self {
        let shared = Arc::new(Shared::new(name, unmatched, PATIENCE));
        // Fails here, at the line of the test, and not where the mock is served.
        parsed(name);
        Self { shared, is_original: true }
    }

    /// Replaces the time for which [`Mock::next_request`] and [`Mock::expect_request`] wait; 10 s by
    /// default. In virtual time it passes as soon as nothing else can happen before it.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        self.shared.set_patience(patience);
        self
    }

    /// Adds an expectation of requests to a method.
    ///
    /// Give it conditions, answers and a count by the methods of [`Expectation`]. Without a count,
    /// any number of requests meets it.
    ///
    /// # Panics
    ///
    /// When the method's name is malformed.
    #[track_caller]
    #[expect(clippy::must_use_candidate, reason = "it adds the expectation to the mock")]
    pub fn on(&self, method: &str) -> Expectation {
        let target = self.target(method);
        let rule = Arc::new(Rule::new(target, Location::caller()));
        self.shared.add(Arc::clone(&rule));
        Expectation::new(rule)
    }

    /// Returns the routes of the mock: every method of the service.
    ///
    /// For closures that make routes, which then hold no mock. Otherwise pass `&mock`.
    #[must_use]
    pub fn routes(&self) -> Routes {
        let mut routes = Routes::new();
        let route = Route::Service(self.shared.service().to_owned());
        let responder = Arc::new(MockResponder(Arc::clone(&self.shared)));
        // Safe, so that a mock also answers the methods that clients call by HTTP's GET. It cannot
        // fail: the name was checked, and the table is empty.
        let _ = routes.insert_self_marking(route, Declared::Safe, responder);
        routes
    }

    /// Takes the next request that waits for an answer, in the order of arrival.
    ///
    /// # Panics
    ///
    /// When no request comes within the [patience](Mock::with_patience) of the mock, with a list of
    /// those that came; when the mock was made by [`Mock::service`], whose requests never wait.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes no request.
    #[track_caller]
    pub fn next_request(&self) -> impl Future<Output = MockRequest> + Send + '_ {
        self.take(None, Location::caller())
    }

    /// Takes the next request to a method; other requests keep waiting.
    ///
    /// # Panics
    ///
    /// As [`Mock::next_request`]; when the method's name is malformed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes no request.
    #[track_caller]
    pub fn expect_request(&self, method: &str) -> impl Future<Output = MockRequest> + Send + '_ {
        self.take(Some(self.target(method)), Location::caller())
    }

    async fn take(&self, target: Option<Target>, at: &'static Location<'static>) -> MockRequest {
        let shared = &self.shared;
        assert!(
            shared.unmatched() == Unmatched::Waits,
            "no request to the mock `{}` waits for the test at {at}: make it by `Mock::by_hand`",
            shared.service(),
        );
        let mut taken = None;
        let arrival = until(shared.changed(), || {
            taken = shared.take_held(target.as_ref());
            taken.is_some()
        });
        let patience = shared.patience();
        // Only the request decides: one may have come in the instant in which the patience ended.
        let _ = timeout(patience, arrival).await;
        taken.unwrap_or_else(|| panic!("{}", report::nothing_came(shared, target.as_ref(), at)))
    }

    /// Returns the requests that have come, in the order of arrival, whatever became of them. The
    /// mock keeps the first 10,000.
    #[must_use]
    pub fn received(&self) -> Vec<Request> {
        self.shared.received()
    }

    /// Returns the decoded inputs of the requests to a method that have come, in the order of
    /// arrival.
    ///
    /// # Panics
    ///
    /// When a body cannot be decoded; when the method's name is malformed.
    #[track_caller]
    #[must_use]
    pub fn inputs<T: DeserializeOwned>(&self, method: &str) -> Vec<T> {
        let target = self.target(method);
        let of_method = self.received().into_iter().filter(|request| request.target == target);
        of_method.map(|request| json::input(&request)).collect()
    }

    /// Checks that every expectation is met and that every request was answered as expected.
    ///
    /// # Panics
    ///
    /// When they are not, with a list of what is wrong.
    #[track_caller]
    pub fn verify(&self) {
        if let Some(report) = report::wrong(&self.shared) {
            panic!("{report}");
        }
    }

    /// Verifies the mock, then forgets its expectations and the requests that came, so that the test
    /// can begin its next part.
    ///
    /// # Panics
    ///
    /// As [`Mock::verify`].
    #[track_caller]
    pub fn checkpoint(&self) {
        self.verify();
        self.shared.forget();
    }

    #[track_caller]
    fn target(&self, method: &str) -> Target {
        let target = parsed(&format!("{}.{method}", self.shared.service()));
        assert!(
            target.method() == method,
            "`{method}` is not the name of a method of `{}`: give the last token of the target",
            self.shared.service(),
        );
        target
    }
}

#[track_caller]
fn parsed(name: &str) -> Target {
    match Target::parse(name) {
        Ok(target) => target,
        Err(error) => panic!("{}; {}", error.message(), error.hint()),
    }
}

impl From<&Mock> for Routes {
    fn from(mock: &Mock) -> Self {
        mock.routes()
    }
}

impl Clone for Mock {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), is_original: false }
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        if !self.is_original {
            return;
        }
        let report = report::wrong(&self.shared);
        self.shared.close();
        if let Some(report) = report.filter(|_| !std::thread::panicking()) {
            panic!("{report}");
        }
    }
}

impl fmt::Debug for Mock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mock").field("service", &self.shared.service()).finish_non_exhaustive()
    }
}
