//! Layers around routes.

use rr_core::tower::LayerMiddleware;
use rr_core::{Local, Router};
use tower::ServiceBuilder;

use super::*;

/// Makes a server of a probe in layers.
macro_rules! layered {
    ($probe:expr, $layers:expr) => {
        Arc::new(Local::new(
            Router::new()
                .service("probe", $probe.clone())
                .with(LayerMiddleware::new($layers).with_codes(code)),
        ))
    };
}

fn spawn(
    server: &Arc<Local>,
    body: &'static str,
) -> tokio::task::JoinHandle<Result<Response, Error>> {
    let server = Arc::clone(server);
    tokio::spawn(async move { server.request(&within(10_000), request(body)).await })
}

#[tokio::test(start_paused = true)]
async fn a_timeout_ends_a_handler_which_counts_as_run() {
    let probe = Probe::default();
    let server = layered!(probe, ServiceBuilder::new().timeout(ms(50)));
    assert_eq!(server.request(&within(1_000), request("hi")).await.unwrap().body, "hi");
    let error = server.request(&within(1_000), request("hang")).await.unwrap_err();
    assert_eq!(told(&error), (Code::DeadlineExceeded, Delivery::Processed));
    assert_eq!((probe.runs(), probe.ended()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_shed_request_is_rejected_and_one_that_expires_while_waiting_never_runs() {
    let probe = Probe::holding();
    for shed in [true, false] {
        let layers = ServiceBuilder::new().concurrency_limit(1);
        let server = match shed {
            true => layered!(probe, ServiceBuilder::new().load_shed().layer(layers)),
            false => layered!(probe, layers),
        };
        let before = probe.runs();
        let first = spawn(&server, "hang");
        settle().await;
        let error = server.request(&within(100), request("hi")).await.unwrap_err();
        let expected = match shed {
            true => (Code::ResourceExhausted, Delivery::Rejected),
            // The caller's own timer, which knows nothing of the server.
            false => (Code::DeadlineExceeded, Delivery::Unknown),
        };
        assert_eq!(told(&error), expected);
        assert_eq!(probe.runs(), before + 1);
        probe.release(1);
        first.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_runs_a_handler_again_and_a_failed_one_counts_as_run() {
    let errors = [Error::new(Code::Aborted, "again"), Error::new(Code::Aborted, "again")];
    let probe = Probe::failing(errors.clone());
    let server = layered!(probe, ServiceBuilder::new().retry(Again(2)));
    assert_eq!(server.request(&within(1_000), request("hi")).await.unwrap().body, "hi");
    assert_eq!(probe.runs(), 3);
    let probe = Probe::failing(errors);
    let server = layered!(probe, ServiceBuilder::new().retry(Again(1)));
    let error = server.request(&within(1_000), request("hi")).await.unwrap_err();
    assert_eq!((told(&error), error.message()), ((Code::Aborted, Delivery::Processed), "again"));
}

#[tokio::test(start_paused = true)]
async fn a_buffer_and_a_rate_limit_delay_handlers_and_requests_that_expire_there_never_run() {
    let probe = Probe::default();
    let server = layered!(probe, ServiceBuilder::new().buffer(8).rate_limit(1, ms(1_000)));
    let start = tokio::time::Instant::now();
    for _ in 0..3 {
        server.request(&within(10_000), request("hi")).await.unwrap();
    }
    assert!(start.elapsed() >= ms(2_000) && start.elapsed() < ms(3_000), "{:?}", start.elapsed());
    let error = server.request(&within(100), request("hi")).await.unwrap_err();
    assert_eq!(told(&error), (Code::DeadlineExceeded, Delivery::Unknown));
    tokio::time::sleep(ms(5_000)).await;
    assert_eq!(probe.runs(), 3);
}
