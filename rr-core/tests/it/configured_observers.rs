//! Observers of a configuration see every attempt and every request, over every transport.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_core::config::{ClientConfig, ServerConfig};
use rr_core::observe::{End, Event, Kind, Observer, Observers};
use rr_core::{Code, Context, Error, RequesterExt as _, Router, connect_with, serve_with};

/// Keeps the kind, the route and the code of each operation, and each event.
#[derive(Clone, Default)]
struct Reports(Arc<Mutex<Vec<String>>>);

impl Reports {
    fn push(&self, report: String) {
        self.0.lock().unwrap().push(report);
    }
}

impl Observer for Reports {
    fn ended(&self, end: &End<'_>) {
        let code = end.outcome.code().map_or("ok", Code::as_str);
        let route = end.start.route.unwrap_or("no route");
        self.push(format!("{:?} {route} {code}", end.start.kind));
    }

    fn event(&self, event: &Event<'_>) {
        match event {
            Event::DrainStarted { .. } => self.push("drain started".to_owned()),
            Event::DrainEnded { report, .. } => {
                self.push(format!("drain ended, {} aborted", report.aborted));
            }
            _ => {}
        }
    }
}

async fn double(n: u32) -> Result<u32, Error> {
    Ok(n * 2)
}

#[tokio::test]
async fn observers_of_a_configuration_see_attempts_and_requests_and_the_drain() {
    #[cfg(feature = "nats")]
    let nats = rr_testkit::NatsServer::start().await.expect("a nats-server starts");
    let mut urls: Vec<String> = Vec::new();
    if cfg!(feature = "memory") {
        urls.push("memory://observed".to_owned());
    }
    if cfg!(feature = "http") {
        urls.push("http://127.0.0.1:0".to_owned());
    }
    #[cfg(feature = "nats")]
    urls.push(format!("{}/observed", nats.url()));
    for url in urls {
        let (at_server, at_client) = (Reports::default(), Reports::default());
        let config = ServerConfig::default().with_observers(Observers::new(at_server.clone()));
        let router = Router::new().route("math.double", double);
        let server = serve_with(&url, router, config).await.unwrap();
        let config = ClientConfig::default().with_observers(Observers::new(at_client.clone()));
        let client = connect_with(server.url(), config).await.unwrap();
        let ctx = Context::background().with_timeout(Duration::from_secs(10));
        client.ready(&ctx).await.unwrap();
        let four: u32 = client.call(&ctx, "math.double", &2).await.unwrap();
        assert_eq!(four, 4);
        client.call_raw(&ctx, "math.double", "\"x\"").await.unwrap_err();
        server.shutdown(Duration::from_secs(5)).await;
        // A server reports a request when its reply is on its way, and all of them in its drain.
        let mut requests = at_server.0.lock().unwrap().clone();
        requests.retain(|report| report.starts_with(&format!("{:?}", Kind::ServerRequest)));
        assert_eq!(
            requests,
            ["ServerRequest math.double ok", "ServerRequest math.double invalid_argument"],
            "{url}"
        );
        let drain: Vec<_> =
            at_server.0.lock().unwrap().iter().rev().take(2).rev().cloned().collect();
        assert_eq!(drain, ["drain started", "drain ended, 0 aborted"], "{url}");
        let attempts =
            ["ClientAttempt math.double ok", "ClientAttempt math.double invalid_argument"];
        assert_eq!(*at_client.0.lock().unwrap(), attempts, "{url}");
    }
}
