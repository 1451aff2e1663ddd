//! Admin page: what is in flight, the last failures and where their time went.
//!
//! [`Admin`] has an observer and a router. Nothing is collected and nothing is served unless an
//! application sets the observer and merges the router. Needs the feature `admin`.

mod access;
mod failures;
mod format;
mod in_flight;
mod ledger;
mod page;
mod report;
mod watched;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rr_spi::observe::{End, Event, Kind, Observer, Observers, Span, Start};
use rr_spi::wire::DEBUG_TARGET;
use rr_spi::{
    Context, Entropy as _, Error, OsEntropy, Request, Responder, Response, Server, Target, excerpt,
};
use tokio::time::Instant;

use crate::client::Client;
use crate::observe::in_call::{is_part_of_call, polled};
use crate::router::{HandlerExt as _, Router};
use failures::Failures;
use in_flight::{InFlight, Operation, Place};
use watched::Watched;

/// Longest target, route, reason or name of an endpoint that is shown, in characters. No target is
/// longer.
const TARGET_CHARS_MAX: usize = 256;

/// Page that shows what is in flight and what failed last, and the observer that collects it. Needs
/// the feature `admin`.
///
/// The page shows the requests, calls and attempts in flight, oldest first and at most 200 of them;
/// the last 100 errors with their accounts, which do not include operations whose caller went away; the
/// counts and routes of servers and clients that are
/// watched; and whether a server drains. It is HTML for browsers, which send `Accept: text/html`, and
/// JSON for everything else. The members of the JSON document are not a stable interface.
///
/// Over HTTP the page is at `/.well-known/rr/debug`. Over every transport it is the target `rr.debug`:
/// of several processes that serve it over NATS, one answers.
///
/// Clones share everything. The observer may be set at several servers and clients, and the page
/// shows all of them.
///
/// # Access
///
/// The page answers callers on its own machine: from a loopback address, through a Unix socket, or in
/// this process. It refuses all others with `PermissionDenied`:
///
/// * callers at another address, and those that are not known, as over NATS;
/// * requests that a proxy passed on: `forwarded`, `via`, `x-forwarded-for` and similar headers;
/// * over HTTP, requests with a header outside of ASCII or one that `connection` names, which may be
///   such a header;
/// * requests that web pages of another origin made: `origin`, or a `sec-fetch-site` other than `none`
///   and `same-origin`, unless a person follows a link;
/// * requests whose `Host` is neither `localhost` nor an address.
///
/// No header gives access.
///
/// A proxy on the same machine that adds none of these headers makes all of its clients local: block
/// the path there. [`Admin::open_to_all`] gives access to every caller.
///
/// # Secrets
///
/// The page shows no headers, bodies, hints, details or credentials. Messages of errors are shown as in
/// logs: not those that a peer wrote, nor those of refusals that may quote a request. Text that a
/// peer chose, such as a request id, is escaped and cut.
///
/// # Examples
///
/// ```
/// use rr_core::admin::Admin;
/// use rr_core::config::ServerConfig;
/// use rr_core::{Error, Router, Server, serve_with};
///
/// async fn start(url: &str, router: Router) -> Result<Server, Error> {
///     let admin = Admin::new();
///     let config = ServerConfig::default().with_observers(admin.observers());
///     let server = serve_with(url, router.merge(admin.router()), config).await?;
///     admin.watch_server(&server);
///     Ok(server)
/// }
/// ```
#[derive(Clone)]
pub struct Admin {
    state: Arc<State>,
    watched: Arc<Watched>,
}

/// State that the observer and the page share.
struct State {
    began: Instant,
    in_flight: InFlight,
    failures: Failures,
    drains_started: AtomicUsize,
    drains_ended: AtomicUsize,
    is_open: AtomicBool,
    /// For the nonces of the page's style.
    entropy: OsEntropy,
}

impl Default for Admin {
    fn default() -> Self {
        Self::new()
    }
}

impl Admin {
    /// Makes an observer and its page. The uptime on the page counts from here.
    #[must_use]
    pub fn new() -> Self {
        let state = Arc::new(State {
            began: Instant::now(),
            in_flight: InFlight::default(),
            failures: Failures::new(),
            drains_started: AtomicUsize::new(0),
            drains_ended: AtomicUsize::new(0),
            is_open: AtomicBool::new(false),
            entropy: OsEntropy::new(),
        });
        Self { state, watched: Arc::default() }
    }

    /// Replaces the number of failures that are kept, 100 by default; 0 keeps none. Each takes about
    /// 1 KiB of memory.
    #[must_use]
    pub fn with_failures_max(self, failures_max: usize) -> Self {
        self.state.failures.keep(failures_max);
        self
    }

    /// Shows the page to every caller, also from other machines and over NATS.
    ///
    /// For servers whose callers are all trusted, or where middleware of the application checks them:
    /// the page names targets, request ids, addresses of peers, and messages of errors.
    #[must_use]
    pub fn open_to_all(self) -> Self {
        self.state.is_open.store(true, Ordering::Relaxed);
        self
    }

    /// Returns the router of the page, to be merged into that of the application or served at a URL of
    /// its own.
    #[must_use]
    pub fn router(&self) -> Router {
        Router::new().route(DEBUG_TARGET, Page(self.clone()).safe())
    }

    /// Returns a list of the observer alone, to be set at servers and clients. Further observers are
    /// added with [`Observers::and`].
    #[must_use]
    pub fn observers(&self) -> Observers {
        Observers::new(AdminObserver(Arc::clone(&self.state)))
    }

    /// Shows the routes and the counts of a server on the page, for at most 32 servers that are running.
    ///
    /// The page shows the requests of the server only if the server has the observer too. The server is
    /// not kept: dropping it still stops it.
    ///
    /// The page says `serving` as long as a watched server serves, then `draining`, and `drained` once all
    /// watched servers have drained or are gone. Without watched servers it says `unknown` after a drain,
    /// since other servers may still run.
    pub fn watch_server(&self, server: &Server) {
        self.watched.add_server(server);
    }

    /// Shows the counts of a client on the page under a name, for at most 32 clients.
    ///
    /// The page shows the attempts of the client only if the client has the observer too. The client is
    /// kept, with its connections.
    pub fn watch_client(&self, name: impl Into<String>, client: &Client) {
        self.watched.add_client(name.into(), client.clone());
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("is_open", &self.state.is_open).finish_non_exhaustive()
    }
}

/// Observer of [`Admin`].
struct AdminObserver(Arc<State>);

impl Observer for AdminObserver {
    fn shows_progress(&self) -> bool {
        true
    }

    fn started(&self, start: &Start<'_>) -> Option<Box<dyn Span>> {
        // The page does not show its own requests.
        if start.route == Some(DEBUG_TARGET) {
            return None;
        }
        let operation = Arc::new(Operation::new(start));
        let place = self.0.in_flight.add(&operation);
        let is_part_of_call = is_part_of_call(start.kind);
        Some(Box::new(Tracked { state: Arc::clone(&self.0), operation, place, is_part_of_call }))
    }

    fn event(&self, event: &Event<'_>) {
        match event {
            Event::DrainStarted { .. } => self.0.drains_started.fetch_add(1, Ordering::Relaxed),
            Event::DrainEnded { .. } => self.0.drains_ended.fetch_add(1, Ordering::Relaxed),
            _ => return,
        };
    }
}

/// Operation in flight, until its end or until it is dropped.
struct Tracked {
    state: Arc<State>,
    operation: Arc<Operation>,
    place: Place,
    is_part_of_call: bool,
}

impl Span for Tracked {
    fn within(&self, poll: &mut dyn FnMut()) {
        self.operation.enter();
        polled(self.operation.kind, poll);
    }

    fn ended(self: Box<Self>, end: &End<'_>) {
        // The failure of a call tells of its attempts.
        if !self.is_part_of_call {
            self.state.failures.add(end);
        }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.state.in_flight.remove(self.operation.kind, self.place);
    }
}

/// Responder of the page.
struct Page(Admin);

impl Responder for Page {
    rr_spi::boxed! {
        fn respond(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
            let outcome = self.answer(ctx, &request);
            Box::pin(std::future::ready(outcome))
        }
    }
}

impl Page {
    fn answer(&self, ctx: &Context, request: &Request) -> Result<Response, Error> {
        let Admin { state, watched } = &self.0;
        if !state.is_open.load(Ordering::Relaxed) {
            access::check(ctx)?;
        }
        let report = state.report(watched);
        if !page::is_wanted(&request.headers) {
            return report.response();
        }
        let nonce = format!("{:016x}{:016x}", state.entropy.next_u64(), state.entropy.next_u64());
        page::response(&report, &nonce)
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::ServerRequest => "request",
        Kind::ClientCall => "call",
        Kind::ClientAttempt => "attempt",
        _ => "operation",
    }
}

fn target_name(target: Option<&Target>) -> String {
    target.map_or_else(
        || "unknown target".to_owned(),
        |target| excerpt(target.as_str(), TARGET_CHARS_MAX),
    )
}
