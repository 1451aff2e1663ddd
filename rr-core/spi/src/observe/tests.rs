use std::future::pending;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::*;
use crate::box_future::BoxFuture;
use crate::context::Context;
use crate::error::{Code, Delivery, Error, Reason};
use crate::inbound::Inbound;
use crate::intake::{Intake, IntakeConfig};
use crate::peer::Peer;
use crate::request::Request;
use crate::requester::Requester;
use crate::responder::Responder;
use crate::response::Response;
use crate::routes::{Declared, Route, Routes};
use crate::target::Target;

type Outcomes = Result<Response, Error>;

/// Writes each report as a line.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn push(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Observer for Lines {
    fn started(&self, start: &Start<'_>) -> Option<Box<dyn Span>> {
        self.push(format!("started {:?} {:?}", start.kind, start.route));
        Some(Box::new(self.clone()))
    }

    fn ended(&self, end: &End<'_>) {
        let code = end.outcome.code().map_or("ok", Code::as_str);
        let reason = end.outcome.error().and_then(Error::reason).map(Reason::as_str);
        let (delivery, panic) = (end.outcome.delivery(), end.panic);
        let ran = end.entered.is_some();
        let sizes = (end.request_bytes, end.outcome.response_bytes());
        self.push(format!("{code} {reason:?} {delivery:?} ran={ran} {sizes:?} {panic:?}"));
    }
}

impl Span for Lines {
    fn within(&self, poll: &mut dyn FnMut()) {
        self.push("in".to_owned());
        poll();
        self.push("out".to_owned());
    }

    fn trace(&self) -> Option<(String, Option<String>)> {
        Some(("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned(), None))
    }

    fn ended(self: Box<Self>, _: &End<'_>) {
        self.push("span ended".to_owned());
    }
}

/// Panics in every method.
struct Panics;

impl Observer for Panics {
    fn started(&self, _: &Start<'_>) -> Option<Box<dyn Span>> {
        Some(Box::new(Self))
    }

    fn ended(&self, _: &End<'_>) {
        panic!("in an observer");
    }
}

impl Span for Panics {
    fn within(&self, _: &mut dyn FnMut()) {
        panic!("in a span");
    }

    fn trace(&self) -> Option<(String, Option<String>)> {
        panic!("in the trace context of a span");
    }

    fn ended(self: Box<Self>, _: &End<'_>) {
        panic!("at the end of a span");
    }
}

struct Handler(fn(Context) -> BoxFuture<'static, Outcomes>);

impl Responder for Handler {
    crate::boxed! {
        fn respond(&self, ctx: &Context, _request: Request) -> Result<Response, Error> {
            (self.0)(ctx.clone())
        }
    }
}

fn intake(observers: Observers, handler: fn(Context) -> BoxFuture<'static, Outcomes>) -> Intake {
    let mut routes = Routes::new();
    let insert = |routes: &mut Routes, route| {
        routes.insert(route, Declared::Unspecified, Arc::new(Handler(handler))).unwrap();
    };
    insert(&mut routes, Route::Target("t".into()));
    insert(&mut routes, Route::Service("s".into()));
    Intake::new(routes, IntakeConfig::default().with_observers(observers))
}

/// Handles a request as a server does.
async fn handle(intake: &Intake, target: &'static str) -> Outcomes {
    let (ctx, _handle) = intake.context(Inbound::new(Some(Duration::from_millis(50))));
    let request = Request::new(Target::from_static(target).unwrap(), "body");
    let watched = intake.watch(&ctx, Some(&request.target));
    let outcome = intake.handle(watched.context(&ctx), request).watched(&watched).await;
    watched.end(Outcome::of(&outcome));
    outcome
}

#[tokio::test(start_paused = true)]
async fn each_request_is_reported_once_whatever_became_of_it() {
    let lines = Lines::default();
    let observers = || Observers::new(lines.clone());
    let start = "started ServerRequest Some(\"t\")";
    let expect = |end: &str| {
        let mut reported = lines.take();
        assert!(reported.iter().any(|line| line == "in"), "the handler ran inside of the span");
        reported.retain(|line| line != "in" && line != "out");
        assert_eq!(reported, [start, "span ended", end]);
    };

    let answers = intake(observers(), |ctx| {
        Box::pin(async move { Ok(Response::new(ctx.traceparent().unwrap_or("none").to_owned())) })
    });
    let reply = handle(&answers, "t").await.unwrap();
    assert!(reply.body.starts_with(b"00-4bf92f"), "the span's trace context is passed on");
    expect("ok None Processed ran=true (4, 55) None");

    handle(&answers, "unknown").await.unwrap_err();
    let unknown = "unimplemented Some(\"no-such-target\") Rejected ran=false (4, 0) None";
    assert_eq!(lines.take(), ["started ServerRequest None", "span ended", unknown]);
    handle(&answers, "s.any").await.unwrap();
    assert_eq!(lines.take()[0], "started ServerRequest Some(\"s.*\")");

    let panics = intake(observers(), |_| Box::pin(async { panic!("secret") }));
    handle(&panics, "t").await.unwrap_err();
    expect("internal Some(\"panic\") Processed ran=true (4, 0) Some(\"secret\")");

    let hangs = intake(observers(), |_| Box::pin(pending()));
    handle(&hangs, "t").await.unwrap_err();
    expect("deadline_exceeded None Processed ran=true (4, 0) None");

    let gone = timeout(Duration::from_millis(10), handle(&hangs, "t")).await;
    assert!(gone.is_err());
    expect("canceled None Processed ran=true (4, 0) None");

    let error = Error::failure(Code::InvalidArgument, Delivery::Rejected, None, "a bad head");
    let watched = answers.watch_refused(Inbound::default(), None);
    watched.received(3);
    watched.end(Outcome::Failure(&error));
    let refused = "invalid_argument None Rejected ran=false (3, 0) None";
    assert_eq!(lines.take(), ["started ServerRequest None", "span ended", refused]);
}

/// Answers after 10 ms, with the trace context that it was called with.
struct Remote(Monitor);

impl Requester for Remote {
    crate::boxed! {
        fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
            crate::observed!(&self.0, Kind::ClientAttempt, |ctx, request| async move {
                sleep(Duration::from_millis(10)).await;
                match request.target.as_str() {
                    "t" => Ok(Response::new(ctx.traceparent().unwrap_or("none").to_owned())),
                    _ => panic!("in the call"),
                }
            })
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_reported_once_also_when_it_is_dropped() {
    let (lines, ctx) = (Lines::default(), Context::background());
    let remote = Remote(Monitor::new(Observers::new(lines.clone())));
    let request = || Request::new(Target::from_static("t").unwrap(), "body");
    let reply = remote.request(&ctx, request()).await.unwrap();
    assert!(reply.body.starts_with(b"00-4bf92f"), "the span's trace context is passed on");
    let (start, end) = ("started ClientAttempt Some(\"t\")", "span ended");
    let success = "ok None Processed ran=false (4, 55) None";
    assert_eq!(lines.take(), [start, "in", "out", "in", "out", end, success]);

    assert!(timeout(Duration::from_millis(5), remote.request(&ctx, request())).await.is_err());
    let dropped = "canceled None Unknown ran=false (4, 0) None";
    let mut reported = lines.take();
    reported.retain(|line| line != "in" && line != "out");
    assert_eq!(reported, [start, end, dropped]);

    let remote = Remote(Monitor::default());
    assert_eq!(remote.request(&ctx, request()).await.unwrap().body, "none");
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_harms_no_operation_and_no_other_observer() {
    let (lines, ctx) = (Lines::default(), Context::background());
    let observers = || Observers::new(Panics).and(lines.clone()).and(Panics);
    let answers = intake(observers(), |_| Box::pin(async { Ok(Response::new("done")) }));
    assert_eq!(handle(&answers, "t").await.unwrap().body, "done");
    let reported = lines.take();
    assert_eq!(reported.last().unwrap(), "ok None Processed ran=true (4, 4) None");
    assert_eq!(reported.iter().filter(|line| line.starts_with("ok")).count(), 1);

    let remote = Remote(Monitor::new(observers()));
    let request = |target| Request::new(Target::from_static(target).unwrap(), "");
    assert!(remote.request(&ctx, request("t")).await.is_ok());
    assert_eq!(lines.take().iter().filter(|line| line.starts_with("ok")).count(), 1);

    // The panic of the operation itself is passed on.
    let call = tokio::spawn(async move {
        let ctx = Context::background();
        Remote(Monitor::new(Observers::new(Panics))).request(&ctx, request("panics")).await
    });
    assert!(call.await.unwrap_err().is_panic());
}

/// Panics before it has made a future.
struct Hasty(Monitor);

impl Requester for Hasty {
    crate::boxed! {
        fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
            crate::observed!(&self.0, Kind::ClientAttempt, |ctx, request| fails(ctx, request))
        }
    }
}

fn fails(_: &Context, _: Request) -> BoxFuture<'static, Outcomes> {
    panic!("before the call")
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_before_it_is_made_is_reported_as_dropped() {
    let lines = Lines::default();
    let hasty = Hasty(Monitor::new(Observers::new(lines.clone())));
    let monitor = hasty.0.clone();
    let call = tokio::spawn(async move {
        let request = Request::new(Target::from_static("t").unwrap(), "");
        hasty.request(&Context::background(), request).await
    });
    assert!(call.await.unwrap_err().is_panic());
    let reported = lines.take();
    assert_eq!(reported.last().unwrap(), "canceled None Unknown ran=false (0, 0) None");
    let stats = monitor.stats();
    assert_eq!((stats.started, stats.in_flight, stats.failed), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_request_counts_from_its_arrival() {
    struct Times(Mutex<Vec<(u128, u128)>>);

    impl Observer for Times {
        fn ended(&self, end: &End<'_>) {
            let queued = end.entered.unwrap_or(end.began) - end.began;
            self.0.lock().unwrap().push((queued.as_millis(), end.elapsed().as_millis()));
        }
    }

    let times = Arc::new(Times(Mutex::default()));
    let observers = Observers::default().and_shared(Arc::clone(&times) as Arc<dyn Observer>);
    let slow = intake(observers, |_| {
        Box::pin(async {
            sleep(Duration::from_millis(30)).await;
            Ok(Response::new("done"))
        })
    });
    let (ctx, _handle) = slow.context(Inbound::default());
    sleep(Duration::from_millis(12)).await;
    let watched = slow.watch(&ctx, None);
    let request = Request::new(Target::from_static("t").unwrap(), "");
    let outcome = slow.handle(watched.context(&ctx), request).watched(&watched).await;
    watched.end(Outcome::of(&outcome));
    assert_eq!(*times.0.lock().unwrap(), [(12, 42)]);
}

/// Observes requests while it is asked to, and counts what it hears of them.
#[derive(Default)]
struct AtTimes {
    is_asked: AtomicBool,
    reports: Mutex<Vec<Option<SocketAddr>>>,
}

impl Observer for AtTimes {
    fn observes(&self, kind: Kind) -> bool {
        kind == Kind::ServerRequest && self.is_asked.load(Ordering::Relaxed)
    }

    fn started(&self, start: &Start<'_>) -> Option<Box<dyn Span>> {
        self.reports.lock().unwrap().push(start.peer.and_then(Peer::address));
        None
    }

    fn ended(&self, end: &End<'_>) {
        self.reports.lock().unwrap().push(end.start.peer.and_then(Peer::address));
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_observer_observes_is_not_reported() {
    let at_times = Arc::new(AtTimes::default());
    let observers = Observers::default().and_shared(Arc::clone(&at_times) as Arc<dyn Observer>);
    let intake = intake(observers.clone(), |_| Box::pin(async { Ok(Response::new("done")) }));
    let error = Error::failure(Code::InvalidArgument, Delivery::Rejected, None, "a bad head");
    let peer = Arc::new(Peer::new().with_address(SocketAddr::from(([127, 0, 0, 1], 7))));

    let refuse = || {
        let inbound = Inbound { peer: Some(&peer), ..Inbound::default() };
        let watched = intake.watch_refused(inbound, None);
        let is_observed = watched.is_observed();
        watched.end(Outcome::Failure(&error));
        is_observed
    };
    assert!(!refuse());
    assert!(at_times.reports.lock().unwrap().is_empty());

    at_times.is_asked.store(true, Ordering::Relaxed);
    assert!(refuse());
    // The peer is known also where no handler is entered.
    assert_eq!(*at_times.reports.lock().unwrap(), [peer.address(); 2]);

    let (request, ctx) =
        (Request::new(Target::from_static("t").unwrap(), ""), Context::background());
    assert!(Remote(Monitor::new(observers)).request(&ctx, request).await.is_ok());
    assert_eq!(at_times.reports.lock().unwrap().len(), 2, "it observes no attempts");
}

#[test]
fn an_observer_is_found_by_its_type() {
    let shared: Arc<dyn Observer> = Arc::new(Panics);
    let observers = Observers::new(AtTimes::default());
    assert!(observers.has::<AtTimes>() && !observers.has::<Panics>());
    assert!(observers.and_shared(shared).has::<Panics>());
    assert!(!Observers::default().has::<Panics>());
}

#[test]
fn lists_are_equal_if_they_have_the_same_observers() {
    let one = Observers::new(Panics);
    assert_eq!(one, one.clone());
    assert_ne!(one, Observers::new(Panics));
    assert_ne!(one, Observers::default());
    assert_ne!(one, one.clone().and(Panics));
    assert_eq!(format!("{:?}", one.and(Panics)), "Observers(2)");
}
