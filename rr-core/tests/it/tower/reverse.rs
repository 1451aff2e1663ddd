//! Requesters and middleware in stacks of tower.

use rr_core::tower::{LayerMiddleware, MiddlewareLayer, RequesterService, ServiceRequester};
use rr_core::{Middleware, Next, Stack};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

use super::*;

/// Adds a header, and runs a failed call once more.
struct TagAndRepeat;

#[async_trait]
impl Middleware for TagAndRepeat {
    async fn handle(
        &self,
        ctx: &Context,
        mut request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        request.headers.insert("x-tag", "a")?;
        match next.run(ctx, request.clone()).await {
            Err(_) => next.run(ctx, request).await,
            done => done,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_requester_is_a_service_in_any_stack() {
    let probe = Probe::holding();
    let stack = ServiceBuilder::new().timeout(ms(50)).concurrency_limit(1);
    let service = stack.service(RequesterService::new(probe.clone()));
    let call = |body| CallRequest::new(within(1_000), request(body));
    assert_eq!(service.clone().oneshot(call("hi")).await.unwrap().body, "hi");
    let error = service.clone().oneshot(call("hang")).await.unwrap_err();
    assert!(error.is::<tower::timeout::error::Elapsed>());
    assert_eq!(probe.ended(), 2);
    let shared: Arc<dyn Requester> = Arc::new(probe);
    let reply = RequesterService::from(shared).oneshot((within(1_000), request("hi")).into());
    assert_eq!(reply.await.unwrap().body, "hi");
}

#[tokio::test(start_paused = true)]
async fn a_middleware_is_a_layer_and_waits_until_its_service_is_ready() {
    let probe = Probe::failing([unavailable(Delivery::NotSent)]);
    let layers = ServiceBuilder::new().layer(MiddlewareLayer::new(TagAndRepeat));
    let service = layers.concurrency_limit(1).service(RequesterService::new(probe.clone()));
    let reply = service.oneshot(CallRequest::new(within(1_000), request("hi"))).await.unwrap();
    assert_eq!((reply.body, probe.runs()), ("hi".into(), 2));
    assert_eq!(probe.0.headers.lock().unwrap().as_deref(), Some("a"));

    let probe = Probe::holding();
    let layers = ServiceBuilder::new().layer(MiddlewareLayer::new(TagAndRepeat));
    let service = layers.concurrency_limit(1).service(RequesterService::new(probe.clone()));
    let first = service.clone().oneshot(CallRequest::new(within(10_000), request("hang")));
    let first = tokio::spawn(first);
    settle().await;
    let error = service.oneshot(CallRequest::new(within(100), request("hi"))).await.unwrap_err();
    assert_eq!(told(&error), (Code::DeadlineExceeded, Delivery::NotSent));
    assert_eq!(probe.runs(), 1);
    probe.release(1);
    first.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_service_is_a_requester_whose_foreign_errors_are_not_sent_only_before_the_call() {
    let probe = Probe::holding();
    let stack = ServiceBuilder::new().timeout(ms(50)).concurrency_limit(1);
    let service = stack.service(RequesterService::new(probe.clone()));
    let client = Arc::new(ServiceRequester::new(service).with_codes(code));
    assert_eq!(client.request(&within(1_000), request("hi")).await.unwrap().body, "hi");
    let error = client.request(&within(1_000), request("hang")).await.unwrap_err();
    assert_eq!(told(&error), (Code::DeadlineExceeded, Delivery::Unknown));

    let held = Arc::new(Semaphore::new(0));
    let waits = ServiceBuilder::new().concurrency_limit(1).service(service_fn({
        let held = Arc::clone(&held);
        move |_: CallRequest| {
            let held = Arc::clone(&held);
            async move {
                held.acquire().await.unwrap().forget();
                Err::<Response, _>(std::fmt::Error)
            }
        }
    }));
    let client = Arc::new(ServiceRequester::new(waits));
    let first = tokio::spawn({
        let client = Arc::clone(&client);
        async move { client.request(&within(10_000), request("hi")).await.unwrap_err() }
    });
    settle().await;
    let error = client.request(&within(100), request("hi")).await.unwrap_err();
    assert_eq!(told(&error), (Code::DeadlineExceeded, Delivery::NotSent));
    held.add_permits(1);
    assert_eq!(told(&first.await.unwrap()), (Code::Unavailable, Delivery::Unknown));
    let error = client.request(&within(100), request("hi")).await.unwrap_err();
    assert_eq!(told(&error), (Code::DeadlineExceeded, Delivery::Unknown));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_rr_keeps_its_delivery_unless_the_request_was_cloned() {
    let error = unavailable(Delivery::NotSent);
    let probe = Probe::failing([error.clone()]);
    let client = ServiceRequester::new(RequesterService::new(probe));
    let told_once = client.request(&within(1_000), request("hi")).await.unwrap_err();
    assert_eq!(told(&told_once), (Code::Unavailable, Delivery::NotSent));
    // A run that may have happened comes before one that did not.
    let probe = Probe::failing([unavailable(Delivery::Unknown), error]);
    let service = ServiceBuilder::new().retry(Again(1)).service(RequesterService::new(probe));
    let client = ServiceRequester::new(service);
    let told_again = client.request(&within(1_000), request("hi")).await.unwrap_err();
    assert_eq!(told(&told_again), (Code::Unavailable, Delivery::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_middleware_in_a_layer_in_a_middleware_runs_the_rest_of_the_call() {
    let probe = Probe::failing([unavailable(Delivery::NotSent)]);
    let layers = || ServiceBuilder::new().layer(MiddlewareLayer::new(TagAndRepeat)).timeout(ms(50));
    let client = Stack::new(probe.clone()).with(LayerMiddleware::new(layers()));
    let reply = client.request(&within(1_000), request("hi")).await.unwrap();
    assert_eq!((reply.body, probe.runs()), ("hi".into(), 2));
    assert_eq!(probe.0.headers.lock().unwrap().as_deref(), Some("a"));

    let refusals = [unavailable(Delivery::Unknown), unavailable(Delivery::NotSent)];
    let probe = Probe::failing(refusals);
    let client = Stack::new(probe.clone()).with(LayerMiddleware::new(layers()));
    let error = client.request(&within(1_000), request("hi")).await.unwrap_err();
    assert_eq!(told(&error), (Code::Unavailable, Delivery::Unknown));
    assert_eq!(probe.runs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_layer_of_a_middleware_gives_foreign_errors_their_codes() {
    let probe = Probe::default();
    let layers = ServiceBuilder::new().layer(MiddlewareLayer::new(TagAndRepeat).with_codes(code));
    let service = layers.timeout(ms(50)).service(RequesterService::new(probe.clone()));
    let error = service.oneshot(CallRequest::new(within(1_000), request("hang")));
    let error = error.await.unwrap_err();
    assert_eq!(told(&error), (Code::DeadlineExceeded, Delivery::Unknown));
}
