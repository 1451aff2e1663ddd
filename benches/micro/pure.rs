//! The pieces that need no IO, one by one.
//!
//! `cargo bench -p rr-benches --features micro`

use std::future::{Future, IntoFuture as _, poll_fn};
use std::hint::black_box;
use std::mem;
use std::pin::pin;
use std::task::{self, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use rr_core::balance::{Balance, Endpoint};
use rr_core::config::IntakeConfig;
use rr_core::observe::{Observer, Observers, Outcome, TracingObserver};
use rr_core::retry::{Retry, RetryBudget};
use rr_core::transport::wire::ErrorDocument;
use rr_core::transport::{Inbound, Intake};
use rr_core::{
    Code, Context, Delivery, Error, Headers, Reason, Request, Requester, RequesterExt as _,
    Response, Router, Stack, Target, async_trait,
};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

fn headers(criterion: &mut Criterion) {
    // An application's own; those of the project are refused here.
    const NAMES: [&str; 6] =
        ["x-tenant", "x-region", "x-shard", "accept-language", "user-agent", "x-version"];
    criterion.bench_function("headers/insert six", |bencher| {
        bencher.iter(|| {
            let mut headers = Headers::new();
            for name in NAMES {
                headers.insert(black_box(name), "value").expect("a valid header");
            }
            headers
        });
    });
    let mut six = Headers::new();
    for name in NAMES {
        six.insert(name, "value").expect("a valid header");
    }
    criterion.bench_function("headers/get the last of six", |bencher| {
        bencher.iter(|| black_box(&six).get(black_box("x-version")));
    });
    criterion.bench_function("headers/receive six", |bencher| {
        let value = Bytes::from_static(b"value");
        bencher.iter(|| {
            let mut headers = Headers::new();
            for name in NAMES {
                headers.receive(black_box(name), value.clone());
            }
            headers
        });
    });
}

fn targets(criterion: &mut Criterion) {
    criterion.bench_function("target/parse", |bencher| {
        bencher.iter(|| Target::parse(black_box("orders.v1.place")));
    });
    criterion.bench_function("target/static", |bencher| {
        bencher.iter(|| Target::try_from(black_box("orders.v1.place")));
    });
}

fn failure() -> Error {
    let reason = Reason::parse("overloaded");
    let message = "1024 requests are in flight";
    Error::failure(Code::ResourceExhausted, Delivery::Rejected, reason, message)
}

fn error_document(criterion: &mut Criterion) {
    let error = failure();
    criterion.bench_function("error document/encode", |bencher| {
        bencher.iter(|| ErrorDocument::encode(black_box(&error)));
    });
    let document = ErrorDocument::encode(&error);
    criterion.bench_function("error document/decode", |bencher| {
        bencher.iter(|| ErrorDocument::decode(black_box(&document)));
    });
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime starts")
}

/// Polls until it is ready: entering a runtime would cost more than what is measured.
fn to_its_end<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = task::Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

/// Is ready when it is polled for the second time.
fn pending_once() -> impl Future<Output = ()> {
    let mut polled = false;
    poll_fn(move |cx| {
        if mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

fn race(criterion: &mut Criterion) {
    let runtime = runtime();
    let unbounded = Context::background().unbounded();
    let bounded = Context::background().with_timeout(Duration::from_secs(3600));
    let (cancellable, _handle) = bounded.child();
    let contexts =
        [("no deadline", &unbounded), ("a deadline", &bounded), ("a scope as well", &cancellable)];
    for (name, ctx) in contexts {
        criterion.bench_function(&format!("race/ready at once, {name}"), |bencher| {
            bencher.iter(|| to_its_end(ctx.race(std::future::ready(black_box(7)))));
        });
        criterion.bench_function(&format!("race/pends once, {name}"), |bencher| {
            // Inside, since a timer that is armed from outside wakes the runtime.
            bencher.iter_custom(|times| {
                runtime.block_on(async {
                    let begin = Instant::now();
                    for _ in 0..times {
                        let outcome = ctx.race(pending_once()).await;
                        assert!(outcome.is_ok(), "an hour has not passed");
                    }
                    begin.elapsed()
                })
            });
        });
    }
}

/// Always says the same.
struct Says(Result<Response, Error>);

#[async_trait]
impl Requester for Says {
    async fn request(&self, _: &Context, _: Request) -> Result<Response, Error> {
        self.0.clone()
    }
}

/// The decision as a caller pays for it: what the layer adds to a call that it does not try again.
fn retry(criterion: &mut Criterion) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let ctx = Context::background().with_timeout(Duration::from_secs(3600));
    let answered = || Says(Ok(Response::new("x")));
    let failed = || Says(Err(Error::failure(Code::NotFound, Delivery::Processed, None, "no")));
    let requesters: [(&str, Box<dyn Requester>); 4] = [
        ("answered, bare", Box::new(answered())),
        ("answered", Box::new(Stack::new(answered()).with(Retry::new()))),
        ("failed for good, bare", Box::new(failed())),
        ("failed for good", Box::new(Stack::new(failed()).with(Retry::new()))),
    ];
    for (name, requester) in requesters {
        criterion.bench_function(&format!("retry/{name}"), |bencher| {
            bencher.iter(|| {
                to_its_end(requester.call_raw(&ctx, "orders.v1.place", "x").into_future())
            });
        });
    }
    let budget = RetryBudget::new();
    criterion.bench_function("retry/budget, deposit and withdraw", |bencher| {
        bencher.iter(|| {
            budget.deposit();
            budget.withdraw()
        });
    });
}

/// What a balance adds to a call, over one endpoint and over three.
fn balance(criterion: &mut Criterion) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let ctx = Context::background().with_timeout(Duration::from_secs(3600));
    let answered = || Says(Ok(Response::new("x")));
    let over = |count: usize| {
        let named = (0..count).map(|at| Endpoint::new(at.to_string(), answered()));
        Balance::new(named).expect("there are endpoints")
    };
    let requesters: [(&str, Box<dyn Requester>); 4] = [
        ("bare", Box::new(answered())),
        ("over one", Box::new(over(1))),
        ("over three", Box::new(over(3))),
        ("over sixty", Box::new(over(60))),
    ];
    for (name, requester) in requesters {
        criterion.bench_function(&format!("balance/{name}"), |bencher| {
            bencher.iter(|| {
                to_its_end(requester.call_raw(&ctx, "orders.v1.place", "x").into_future())
            });
        });
    }
}

/// Observes everything and does nothing.
struct Idle;

impl Observer for Idle {}

async fn echo(_: Context, request: Request) -> Result<Response, Error> {
    Ok(Response::new(request.body))
}

/// What observation adds to a call and to a request. No subscriber of tracing is set.
fn observe(criterion: &mut Criterion) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let ctx = Context::background().with_timeout(Duration::from_secs(3600));
    let cases: [(&str, Observers); 3] = [
        ("nothing", Observers::default()),
        ("tracing, disabled", Observers::new(TracingObserver::new())),
        ("an idle observer", Observers::new(Idle)),
    ];
    for (name, observers) in cases {
        let answered = Says(Ok(Response::new("x")));
        let stack = Stack::new(answered).observed_by(observers.clone());
        criterion.bench_function(&format!("observe/call, {name}"), |bencher| {
            bencher.iter(|| to_its_end(stack.call_raw(&ctx, "orders.v1.place", "x").into_future()));
        });
        let config = IntakeConfig::default().with_observers(observers);
        let intake = Intake::new(Router::new().service("orders.v1", echo), config);
        let (ctx, _handle) = intake.context(Inbound::default());
        let target = Target::try_from("orders.v1.place").expect("a valid target");
        let outcome = Ok(Response::new("x"));
        criterion.bench_function(&format!("observe/request, {name}"), |bencher| {
            bencher.iter(|| {
                intake.watch(black_box(&ctx), Some(&target)).end(Outcome::of(&outcome));
            });
        });
    }
    criterion.bench_function("observe/clock", |bencher| bencher.iter(Instant::now));
}

criterion_group!(pure, headers, targets, error_document, race, retry, balance, observe);
criterion_main!(pure);
