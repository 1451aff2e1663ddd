//! Serving by URL: limits, names, and the end.

#![cfg(all(feature = "json", feature = "memory"))]

use std::time::Duration;

use rr_core::{
    Code, Context, Delivery, Error, Reason, Request, RequesterExt, Response, Router,
    config::IntakeConfig, connect, recommended, serve, serve_until, serve_with,
};

async fn echo(_: Context, request: Request) -> Result<Response, Error> {
    Ok(Response::new(request.body))
}

fn router() -> Router {
    Router::new().route("a.echo", echo)
}

#[tokio::test]
async fn what_the_server_grants_is_configured_the_same_way_for_every_transport() {
    let config = IntakeConfig::default().with_in_flight_max(0);
    let mut urls = vec!["memory://limited"];
    if cfg!(feature = "http") {
        urls.push("http://127.0.0.1:0");
    }
    for url in urls {
        let server = serve_with(url, router(), config.clone()).await.unwrap();
        let client = connect(server.url()).await.unwrap();
        let error = client.call_raw(&Context::background(), "a.echo", "").await.unwrap_err();
        assert_eq!(error.reason(), Some(&Reason::OVERLOADED), "{url}: {error}");
        assert_eq!(error.delivery(), Delivery::Rejected);
    }
}

#[tokio::test]
async fn limits_in_the_url_of_a_server_hold_there() {
    let mut urls = vec!["memory://url-limits"];
    if cfg!(feature = "http") {
        urls.push("http://127.0.0.1:0");
    }
    for url in urls {
        for (query, body, reason, delivery) in [
            ("request_bytes_max=1000", 1001, Reason::REQUEST_TOO_LARGE, Delivery::Rejected),
            ("response_bytes_max=1000", 1001, Reason::RESPONSE_TOO_LARGE, Delivery::Processed),
            ("in_flight_max=0", 0, Reason::OVERLOADED, Delivery::Rejected),
            ("bodies_bytes_max=1000", 1001, Reason::OVERLOADED, Delivery::Rejected),
        ] {
            let server = serve(&format!("{url}?{query}"), router()).await.unwrap();
            // The requester keeps its own limits, so that the server is asked.
            let plain = server.url().split('?').next().unwrap();
            let client = connect(plain).await.unwrap();
            let ctx = Context::background();
            let call = client.call_raw(&ctx, "a.echo", vec![b'x'; body]);
            let error = call.await.unwrap_err();
            assert_eq!(error.reason(), Some(&reason), "{url} {query}: {error}");
            assert_eq!(error.delivery(), delivery, "{url} {query}");
            if body > 0 {
                let call = client.call_raw(&ctx, "a.echo", vec![b'x'; 1000]);
                assert_eq!(call.await.unwrap().body.len(), 1000, "{url} {query}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_signal_drains_the_server_and_what_was_accepted_is_answered() {
    let slow = Router::new().route("a.slow", |(): ()| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok::<_, Error>(7)
    });
    let signal = tokio::time::sleep(Duration::from_millis(50));
    let call = async {
        let client = connect("memory://until").await.unwrap();
        client.ready(&Context::background()).await.unwrap();
        client.call::<u32>(&Context::background(), "a.slow", &()).await
    };
    let (report, answer) = tokio::join!(serve_until("memory://until", slow, signal), call);
    assert_eq!(answer.unwrap(), 7);
    assert_eq!(report.unwrap().completed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stack_around_a_client_waits_until_the_peer_can_be_reached() {
    let client = recommended(connect("memory://later").await.unwrap());
    let short = Context::background().with_timeout(Duration::from_millis(50));
    let error = client.ready(&short).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::DeadlineExceeded, Delivery::NotSent));
    let ctx = Context::background();
    let served = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        serve("memory://later", router()).await.unwrap()
    };
    let (ready, _server) = tokio::join!(client.ready(&ctx), served);
    ready.unwrap();
    assert_eq!(client.call_raw(&ctx, "a.echo", "hi").await.unwrap().body, "hi");
}

#[tokio::test(start_paused = true)]
async fn a_name_is_served_once_and_is_free_again_when_its_server_is_dropped() {
    let server = serve("memory://once", router()).await.unwrap();
    let error = serve("memory://once", router()).await.unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists);
    drop(server);
    let server = serve("memory://once", router()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let client = connect(server.url()).await.unwrap();
    let answer = client.call_raw(&Context::background(), "a.echo", "hi").await.unwrap();
    assert_eq!(answer.body, "hi", "the predecessor's end does not take the name away");
}

#[tokio::test(start_paused = true)]
async fn a_router_can_be_one_handler_of_another() {
    let inner = Router::new().route("a.echo", echo);
    let outer = Router::new().service("a", inner);
    let client = rr_core::Local::new(outer);
    let ctx = Context::background();
    assert_eq!(client.call_raw(&ctx, "a.echo", "hi").await.unwrap().body, "hi");
    let error = client.call_raw(&ctx, "a.other", "").await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Unimplemented, Delivery::Processed));
}

/// Sends SIGTERM to this process until a future completes.
#[cfg(unix)]
async fn terminated<F: Future>(future: F) -> F::Output {
    let process = std::process::id().to_string();
    let mut future = std::pin::pin!(future);
    loop {
        let kill = std::process::Command::new("kill").args(["-TERM", &process]).status();
        assert!(kill.is_ok_and(|status| status.success()));
        let step = tokio::time::timeout(Duration::from_millis(20), future.as_mut());
        if let Ok(output) = step.await {
            return output;
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_second_signal_ends_the_lame_duck() {
    // From here on the signal does not end the process.
    let first = rr_core::shutdown_signal();
    let mut first = std::pin::pin!(first);
    let installed = tokio::time::timeout(Duration::ZERO, first.as_mut()).await;
    assert!(installed.is_err());
    let url = "memory://lame-duck?lame_duck=24h";
    let served = serve_until(url, router(), std::future::ready(()));
    let report = tokio::time::timeout(Duration::from_secs(20), terminated(served)).await;
    assert_eq!(report.expect("the lame duck continues").unwrap().aborted, 0);
    let urls = ["memory://lame-duck?lame_duck=24h", "memory://no-lame-duck"];
    let served = rr_core::serve_all_until(urls, router(), std::future::ready(()));
    let report = tokio::time::timeout(Duration::from_secs(20), terminated(served)).await;
    assert_eq!(report.expect("the lame duck continues").unwrap().aborted, 0);
}
