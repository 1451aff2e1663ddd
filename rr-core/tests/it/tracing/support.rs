//! A log of everything that a subscriber is given, and a requester that calls an intake in process.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_core::config::IntakeConfig;
use rr_core::context::Peer;
use rr_core::observe::{Kind, Monitor, Observers, Outcome, TracingObserver};
use rr_core::transport::{Attempt, Intake};
use rr_core::{Error, Request, Requester, Router, Target, defaults};
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context as LayerContext, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

pub(super) type Fields = BTreeMap<&'static str, String>;

/// An event, or the end of a span.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The message of the event, or the name of the span that has ended.
    pub(super) name: String,
    pub(super) is_span: bool,
    pub(super) level: Level,
    pub(super) target: &'static str,
    /// The names of the spans around it, the outermost first.
    pub(super) path: Vec<&'static str>,
    pub(super) fields: Fields,
}

impl Entry {
    /// Returns a field; empty if there is none.
    pub(super) fn get(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", String::as_str)
    }
}

/// One line for an entry: where, at which level, what, and the code.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_span { "ends" } else { self.level.as_str() };
        let code = [" ", self.get("rr.code")].concat();
        write!(f, "{}: {} {what}{}", self.path.join(">"), self.name, code.trim_end())
    }
}

/// A subscriber's layer that keeps everything.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<Entry>>>, Arc<Notify>);

impl Log {
    /// Keeps what this thread logs until the guard is dropped.
    pub(super) fn capture() -> (Self, DefaultGuard) {
        let log = Self::default();
        let guard = tracing::subscriber::set_default(Registry::default().with(log.clone()));
        (log, guard)
    }

    /// Takes the entries of rr and of the tests; those of libraries are not kept.
    pub(super) fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// Waits until there are so many ends of spans of this name, and takes the entries. A server
    /// reports a request when its reply is on its way.
    pub(super) async fn ended(&self, name: &str, count: usize) -> Vec<Entry> {
        let is_end = |entry: &&Entry| entry.is_span && entry.name == name;
        while self.0.lock().unwrap().iter().filter(is_end).count() < count {
            let more = timeout(Duration::from_secs(10), self.1.notified()).await;
            assert!(more.is_ok(), "fewer than {count} spans of `{name}` end: {:?}", self.lines());
        }
        self.take()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.take().iter().map(Entry::to_string).collect()
    }

    /// Takes the entries, and returns the events among them.
    pub(super) fn events(&self) -> Vec<Entry> {
        self.take().into_iter().filter(|entry| !entry.is_span).collect()
    }
}

struct Read<'a>(&'a mut Fields);

impl Visit for Read<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        write!(text, "{value:?}").unwrap();
        self.0.insert(field.name(), text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl<S: Subscriber + for<'l> LookupSpan<'l>> Layer<S> for Log {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: LayerContext<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut Read(&mut fields));
        ctx.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: LayerContext<'_, S>) {
        let span = ctx.span(id).unwrap();
        values.record(&mut Read(span.extensions_mut().get_mut::<Fields>().unwrap()));
    }

    fn on_event(&self, event: &Event<'_>, ctx: LayerContext<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut Read(&mut fields));
        let scope = ctx.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        let metadata = event.metadata();
        self.push(Entry {
            name: fields.remove("message").unwrap_or_default(),
            is_span: false,
            level: *metadata.level(),
            target: metadata.target(),
            path: scope.map(|span| span.name()).collect(),
            fields,
        });
    }

    fn on_close(&self, id: Id, ctx: LayerContext<'_, S>) {
        let span = ctx.span(&id).unwrap();
        let fields = span.extensions().get::<Fields>().cloned().unwrap_or_default();
        let (name, metadata) = (span.name(), span.metadata());
        self.push(Entry {
            name: name.to_owned(),
            is_span: true,
            level: *metadata.level(),
            target: metadata.target(),
            path: span.scope().from_root().map(|span| span.name()).collect(),
            fields,
        });
    }
}

impl Log {
    fn push(&self, entry: Entry) {
        if entry.target.starts_with("rr") || entry.target == "app" {
            self.0.lock().unwrap().push(entry);
            self.1.notify_one();
        }
    }
}

pub(super) fn observers() -> Observers {
    Observers::new(TracingObserver::new())
}

/// Calls an intake in process, and observes both sides as a transport does.
#[derive(Clone)]
pub(super) struct InProcess {
    intake: Intake,
    monitor: Monitor,
}

pub(super) const PEER: ([u8; 4], u16) = ([127, 0, 0, 1], 4711);

impl InProcess {
    pub(super) fn new(router: Router, config: IntakeConfig) -> Self {
        let config = config.with_observers(observers());
        Self { intake: Intake::new(router, config), monitor: Monitor::new(observers()) }
    }

    pub(super) fn intake(&self) -> &Intake {
        &self.intake
    }
}

impl Requester for InProcess {
    rr_spi::boxed! {
        fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
            rr_spi::observed!(&self.monitor, Kind::ClientAttempt, |ctx, request| async move {
                let attempt = Attempt::start(ctx, defaults::CLIENT_TIMEOUT)?;
                let peer = Arc::new(Peer::new().with_address(SocketAddr::from(PEER)));
                let mut inbound = attempt.inbound();
                inbound.peer = Some(&peer);
                let (ctx, _handle) = self.intake.context(inbound);
                attempt.sent();
                let watched = self.intake.watch(&ctx, Some(&request.target));
                let ctx = watched.context(&ctx);
                let outcome = self.intake.handle(ctx, request).watched(&watched).await;
                watched.end(Outcome::of(&outcome));
                outcome.map_err(Error::into_received)
            })
        }
    }
}

pub(super) fn request(target: &'static str) -> Request {
    Request::new(Target::from_static(target).unwrap(), "body")
}
