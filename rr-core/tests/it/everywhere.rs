//! Runs a check over every transport compiled in.

use rr_core::config::IntakeConfig;
use rr_core::{Client, Router, Server, connect, serve_with};

/// Serves the router over every transport compiled in, one after the other, and runs the check with
/// a client of each. The name makes the memory URL unique in this process.
pub(crate) async fn everywhere(
    name: &str,
    router: impl Fn() -> Router,
    check: impl AsyncFn(&str, Client),
) {
    everywhere_with(name, router, &IntakeConfig::default(), check).await;
}

/// As [`everywhere`], with a configuration of the servers.
pub(crate) async fn everywhere_with(
    name: &str,
    router: impl Fn() -> Router,
    config: &IntakeConfig,
    check: impl AsyncFn(&str, Client),
) {
    everywhere_served(name, router, config, async |_, url, client| check(url, client).await).await;
}

/// As [`everywhere_with`], for checks that need the server.
pub(crate) async fn everywhere_served(
    name: &str,
    router: impl Fn() -> Router,
    config: &IntakeConfig,
    check: impl AsyncFn(&Server, &str, Client),
) {
    #[cfg(feature = "nats")]
    let nats = rr_testkit::NatsServer::start().await.expect("a nats-server starts");
    let mut urls = Vec::new();
    if cfg!(feature = "memory") {
        urls.push((format!("memory://{name}"), ""));
    }
    if cfg!(feature = "http") {
        urls.push(("http://127.0.0.1:0".to_owned(), ""));
        urls.push(("http://127.0.0.1:0".to_owned(), "?version=h2c"));
    }
    #[cfg(feature = "nats")]
    urls.push((format!("{}/{name}", nats.url()), ""));
    for (url, query) in urls {
        let server =
            serve_with(&url, router(), config.clone()).await.expect("the router is served");
        let url = format!("{}{query}", server.url());
        check(&server, &url, connect(&url).await.expect("the URL is valid")).await;
        server.shutdown(std::time::Duration::ZERO).await;
    }
}
