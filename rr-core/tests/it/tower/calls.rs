//! Layers around a requester.

use rr_core::Stack;
use rr_core::tower::LayerMiddleware;
use tower::ServiceBuilder;
use tower_service::Service;

use super::*;

/// Makes a requester of a probe in layers.
macro_rules! layered {
    ($probe:expr, $layers:expr) => {
        Arc::new(Stack::new($probe.clone()).with(LayerMiddleware::new($layers).with_codes(code)))
    };
}

fn spawn(client: &Arc<impl Requester>, ctx: Context, body: &'static str) -> Call {
    let client = Arc::clone(client);
    tokio::spawn(async move { client.request(&ctx, request(body)).await })
}

type Call = tokio::task::JoinHandle<Result<Response, Error>>;

#[tokio::test(start_paused = true)]
async fn a_timeout_ends_the_run_whose_delivery_is_unknown() {
    let probe = Probe::default();
    let client = layered!(probe, ServiceBuilder::new().timeout(ms(50)));
    assert_eq!(client.request(&within(1_000), request("hi")).await.unwrap().body, "hi");
    let start = tokio::time::Instant::now();
    let error = client.request(&within(1_000), request("hang")).await.unwrap_err();
    assert_eq!(told(&error), (Code::DeadlineExceeded, Delivery::Unknown));
    assert_eq!((start.elapsed(), probe.runs(), probe.ended()), (ms(50), 2, 2));
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, tower::timeout::error::Elapsed::new().to_string());
}

#[tokio::test(start_paused = true)]
async fn waiting_for_readiness_ends_at_the_deadline_and_nothing_was_sent() {
    let probe = Probe::holding();
    let client = layered!(probe, ServiceBuilder::new().concurrency_limit(1));
    let first = spawn(&client, within(10_000), "hang");
    settle().await;
    let start = tokio::time::Instant::now();
    let error = client.request(&within(100), request("hi")).await.unwrap_err();
    assert_eq!(told(&error), (Code::DeadlineExceeded, Delivery::NotSent));
    assert_eq!((start.elapsed(), probe.runs()), (ms(100), 1));
    let second = spawn(&client, within(10_000), "hi");
    settle().await;
    assert_eq!(probe.runs(), 1);
    probe.release(1);
    assert_eq!(first.await.unwrap().unwrap().body, "hang");
    assert_eq!(second.await.unwrap().unwrap().body, "hi");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_frees_its_permit_and_its_run() {
    let probe = Probe::default();
    let client = layered!(probe, ServiceBuilder::new().concurrency_limit(1));
    let first = spawn(&client, within(10_000), "hang");
    settle().await;
    first.abort();
    settle().await;
    assert_eq!(probe.ended(), 1);
    assert_eq!(client.request(&within(1_000), request("hi")).await.unwrap().body, "hi");
}

#[tokio::test(start_paused = true)]
async fn a_shed_call_was_not_sent() {
    let probe = Probe::holding();
    let client = layered!(probe, ServiceBuilder::new().load_shed().concurrency_limit(1));
    let first = spawn(&client, within(10_000), "hang");
    settle().await;
    let error = client.request(&within(1_000), request("hi")).await.unwrap_err();
    assert_eq!(told(&error), (Code::ResourceExhausted, Delivery::NotSent));
    assert_eq!(probe.runs(), 1);
    probe.release(1);
    first.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_behind_a_buffer_spreads_calls() {
    let probe = Probe::default();
    let client = layered!(probe, ServiceBuilder::new().buffer(8).rate_limit(2, ms(1_000)));
    let start = tokio::time::Instant::now();
    for _ in 0..5 {
        client.request(&within(10_000), request("hi")).await.unwrap();
    }
    assert!(start.elapsed() >= ms(2_000) && start.elapsed() < ms(3_000), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ends_in_a_buffer_never_runs() {
    let probe = Probe::holding();
    let client = layered!(probe, ServiceBuilder::new().buffer(8).concurrency_limit(1));
    let first = spawn(&client, within(10_000), "hang");
    settle().await;
    let error = client.request(&within(100), request("hi")).await.unwrap_err();
    assert_eq!(told(&error), (Code::DeadlineExceeded, Delivery::NotSent));
    probe.release(1);
    first.await.unwrap().unwrap();
    settle().await;
    assert_eq!(probe.runs(), 1);
    assert_eq!(client.request(&within(1_000), request("hi")).await.unwrap().body, "hi");
}

/// Service that is never ready, and fails if it is asked to be.
#[derive(Clone)]
struct Unready;

impl Service<CallRequest> for Unready {
    type Response = Response;
    type Error = std::fmt::Error;
    type Future = std::future::Pending<Result<Response, std::fmt::Error>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), std::fmt::Error>> {
        std::task::Poll::Ready(Err(std::fmt::Error))
    }

    fn call(&mut self, _: CallRequest) -> Self::Future {
        std::future::pending()
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_buffer_fails_calls_that_were_not_sent() {
    let probe = Probe::default();
    let broken = tower_layer::layer_fn(|_| Unready);
    let client = layered!(probe, ServiceBuilder::new().buffer(8).layer(broken));
    for _ in 0..3 {
        let error = client.request(&within(1_000), request("hi")).await.unwrap_err();
        assert_eq!(told(&error), (Code::Unavailable, Delivery::NotSent));
        assert!(!error.hint().is_empty() && std::error::Error::source(&error).is_some());
    }
    assert_eq!(probe.runs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_retry_tries_again_and_its_error_has_the_worst_delivery_of_all_runs() {
    let errors = [unavailable(Delivery::Unknown), unavailable(Delivery::NotSent)];
    let probe = Probe::failing(errors.clone());
    let client = layered!(probe, ServiceBuilder::new().retry(Again(2)));
    assert_eq!(client.request(&within(1_000), request("hi")).await.unwrap().body, "hi");
    assert_eq!(probe.runs(), 3);
    let probe = Probe::failing(errors);
    let client = layered!(probe, ServiceBuilder::new().retry(Again(1)));
    let error = client.request(&within(1_000), request("hi")).await.unwrap_err();
    assert_eq!((error.reason(), error.message()), (Some(&Reason::CONNECTION_LOST), "scripted"));
    assert_eq!(told(&error), (Code::Unavailable, Delivery::Unknown));
    let once = Probe::failing([unavailable(Delivery::NotSent)]);
    let client = layered!(once, ServiceBuilder::new().retry(Again(0)));
    let error = client.request(&within(1_000), request("hi")).await.unwrap_err();
    assert_eq!(told(&error), (Code::Unavailable, Delivery::NotSent));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_after_a_run_that_came_back_counts_that_run() {
    let probe = Probe::failing([unavailable(Delivery::NotSent)]);
    let layers = ServiceBuilder::new().timeout(ms(50)).retry(Again(1));
    let client = layered!(probe, layers);
    let error = client.request(&within(1_000), request("hang")).await.unwrap_err();
    assert_eq!(told(&error), (Code::DeadlineExceeded, Delivery::Unknown));
    assert_eq!((probe.runs(), probe.ended()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_layer_may_change_headers_and_deadline_but_not_make_requests() {
    let probe = Probe::default();
    let client = layered!(
        probe,
        ServiceBuilder::new().map_request(|mut call: CallRequest| {
            call.request.headers.insert("x-tag", "a").unwrap();
            call.context = call.context.with_timeout(ms(5));
            call
        })
    );
    client.request(&within(1_000), request("hi")).await.unwrap();
    assert_eq!(probe.0.headers.lock().unwrap().as_deref(), Some("a"));
    let client = layered!(
        probe,
        ServiceBuilder::new()
            .map_request(|call: CallRequest| { CallRequest::new(call.context, call.request) })
    );
    let error = client.request(&within(1_000), request("hi")).await.unwrap_err();
    assert_eq!(told(&error), (Code::Internal, Delivery::NotSent));
    assert_eq!(probe.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn runs_that_are_in_progress_at_the_deadline_say_what_they_know() {
    /// Requester that proves at its deadline that nothing has left.
    struct Connecting;

    #[async_trait]
    impl Requester for Connecting {
        async fn request(&self, ctx: &Context, _: Request) -> Result<Response, Error> {
            let attempt = rr_core::transport::Attempt::start(ctx, ms(0))?;
            attempt.run(std::future::pending()).await
        }
    }
    let layers = ServiceBuilder::new().concurrency_limit(1);
    let client = Stack::new(Connecting).with(LayerMiddleware::new(layers));
    let error = client.request(&within(100), request("hi")).await.unwrap_err();
    assert_eq!(told(&error), (Code::DeadlineExceeded, Delivery::NotSent));
    let (ctx, handle) = within(10_000).child();
    let call = client.request(&ctx, request("hi"));
    let (outcome, ()) = tokio::join!(call, async {
        settle().await;
        handle.cancel();
    });
    assert_eq!(told(&outcome.unwrap_err()), (Code::Canceled, Delivery::NotSent));
}

/// Service that asks for a run, drops it, and asks for another one.
#[derive(Clone)]
struct Hasty<S>(S);

impl<S> Service<CallRequest> for Hasty<S>
where
    S: Service<CallRequest, Response = Response, Error = Error, Future: Send + Unpin>,
    S: Clone + Send + 'static,
{
    type Response = Response;
    type Error = Error;
    type Future = rr_core::transport::BoxFuture<'static, Result<Response, Error>>;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, call: CallRequest) -> Self::Future {
        let mut inner = self.0.clone();
        Box::pin(async move {
            let mut dropped = inner.call(call.clone());
            std::future::poll_fn(|cx| {
                let polled = std::pin::Pin::new(&mut dropped).poll(cx);
                assert!(polled.is_pending());
                std::task::Poll::Ready(())
            })
            .await;
            drop(dropped);
            inner.call(call).await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_dropped_before_it_begins_never_runs() {
    let probe = Probe::default();
    let client = layered!(probe, tower_layer::layer_fn(Hasty));
    assert_eq!(client.request(&within(1_000), request("hi")).await.unwrap().body, "hi");
    assert_eq!(probe.runs(), 1);
    let probe = Probe::failing([unavailable(Delivery::NotSent)]);
    let client = layered!(probe, tower_layer::layer_fn(Hasty));
    let error = client.request(&within(1_000), request("hi")).await.unwrap_err();
    assert_eq!(told(&error), (Code::Unavailable, Delivery::NotSent));
}
