//! Serving one router at several URLs.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use rr_spi::observe::Stats;
use rr_spi::{Code, Delivery, DrainReport, Error, Routes, Server, ServerUrl, defaults};

use crate::config::ServerConfig;
use crate::router::Router;
use crate::serve::{drain, either, start};

/// Servers of one router at several URLs, returned by [`serve_all`].
///
/// Dropping the handle stops the servers.
#[derive(Debug)]
#[must_use = "dropping the handle stops the servers"]
pub struct Servers(Vec<Server>);

/// Serves one router at several URLs with the default limits. Returns once each of them can be
/// called.
///
/// The servers start in the order of the URLs; the first ones may be called before the last one has
/// started. All share the handlers and the middleware of the router. The limits hold for each URL
/// separately: with the default of 1024 requests in flight, three URLs together run up to 3072.
///
/// # Errors
///
/// As [`serve`](crate::serve()), with the URL that cannot be served in the message, without its
/// credentials; `InvalidArgument`, not sent, when there is no URL. The servers that have already
/// started are then stopped.
///
/// # Cancel safety
///
/// Dropping the future stops the servers that have already started.
///
/// # Examples
///
/// ```no_run
/// # async fn example(router: rr_core::Router) -> Result<(), rr_core::Error> {
/// use rr_core::{defaults, serve_all};
///
/// let servers = serve_all(["http://0.0.0.0:8080", "nats://broker", "memory://orders"], router).await?;
/// for url in servers.urls() {
///     println!("serving {url}");
/// }
/// let report = servers.shutdown(defaults::DRAIN_GRACE).await;
/// println!("{report:?}");
/// # Ok(()) }
/// ```
pub async fn serve_all<U: AsRef<str>>(
    urls: impl IntoIterator<Item = U>,
    router: impl Into<Router>,
) -> Result<Servers, Error> {
    serve_all_with(urls, router, ServerConfig::default()).await
}

/// Serves one router at several URLs with one configuration, such as an
/// [`IntakeConfig`](crate::config::IntakeConfig). The query of each URL overrides the configuration for that
/// URL.
///
/// # Errors
///
/// As [`serve_all`].
///
/// # Cancel safety
///
/// Dropping the future stops the servers that have already started.
pub async fn serve_all_with<U: AsRef<str>>(
    urls: impl IntoIterator<Item = U>,
    router: impl Into<Router>,
    config: impl Into<ServerConfig>,
) -> Result<Servers, Error> {
    let urls: Vec<String> = urls.into_iter().map(|url| url.as_ref().to_owned()).collect();
    start_all(urls, router.into().into(), config.into()).await
}

/// Serves one router at several URLs until `signal` completes, such as `shutdown_signal()`, or one
/// of the servers ends by itself; then drains all of them within 25 s, after their lame ducks as
/// [`serve_until`](crate::serve_until).
///
/// # Errors
///
/// As [`serve_all`].
///
/// # Cancel safety
///
/// Dropping the future stops the servers immediately.
pub async fn serve_all_until<U: AsRef<str>>(
    urls: impl IntoIterator<Item = U>,
    router: impl Into<Router>,
    signal: impl Future<Output = ()>,
) -> Result<DrainReport, Error> {
    Ok(serve_all(urls, router).await?.until(signal).await)
}

async fn start_all(
    urls: Vec<String>,
    routes: Routes,
    config: ServerConfig,
) -> Result<Servers, Error> {
    if urls.is_empty() {
        let message = "there is no URL to serve the router at";
        return Err(Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message)
            .with_hint("name at least one URL, such as http://0.0.0.0:8080"));
    }
    let mut servers = Servers(Vec::with_capacity(urls.len()));
    for url in urls {
        match start(&url, routes.clone(), config.clone()).await {
            Ok(server) => servers.0.push(server),
            Err(error) => {
                // Waits for their ends, so that the addresses are free when the caller receives the error.
                // The second shutdown ends the lame duck.
                either(servers.shutdown(Duration::ZERO), servers.shutdown(Duration::ZERO)).await;
                return Err(at(&url, &error));
            }
        }
    }
    Ok(servers)
}

impl Servers {
    /// Returns the URLs that requesters connect to, in the order in which they were given; see
    /// [`Server::url`].
    pub fn urls(&self) -> impl Iterator<Item = &ServerUrl> {
        self.0.iter().map(Server::url)
    }

    /// Returns the number of requests in flight at all URLs, plus that of shielded futures.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.iter().map(Server::in_flight).sum()
    }

    /// Returns the sums of the counts of all servers; see [`Server::stats`].
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.iter().fold(Stats::default(), |sum, server| sum.plus(&server.stats()))
    }

    /// Drains all servers simultaneously within one grace, each after its lame duck, and returns
    /// the sums of their reports; see [`Server::shutdown`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the drain.
    pub async fn shutdown(&self, grace: Duration) -> DrainReport {
        let mut total = DrainReport::default();
        for report in all(self.0.iter().map(|server| server.shutdown(grace))).await {
            total.completed += report.completed;
            total.aborted += report.aborted;
            total.refused += report.refused;
        }
        total
    }

    /// Waits until one of the servers has ended, by itself or after a drain. The others continue.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time.
    pub async fn wait(&self) {
        let mut waits: Vec<_> = self.0.iter().map(|server| Box::pin(server.wait())).collect();
        poll_fn(|cx| match waits.iter_mut().any(|wait| wait.as_mut().poll(cx).is_ready()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    /// Serves until `signal` completes, such as `shutdown_signal()`, or one of the servers ends by
    /// itself; then drains all of them within 25 s, after their lame ducks as
    /// [`serve_until`](crate::serve_until).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the servers immediately.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(router: rr_core::Router, signal: impl Future<Output = ()>) -> Result<(), rr_core::Error> {
    /// use rr_core::{serve_all_with, config::ServerConfig};
    ///
    /// let config = ServerConfig::from_env("ORDERS_RR_")?;
    /// let servers = serve_all_with(["http://0.0.0.0:8080"], router, config).await?;
    /// println!("{:?}", servers.until(signal).await);
    /// # Ok(()) }
    /// ```
    pub async fn until(self, signal: impl Future<Output = ()>) -> DrainReport {
        either(signal, self.wait()).await;
        let lame_duck = self.0.iter().map(Server::lame_duck).max().unwrap_or_default();
        drain(lame_duck, || self.shutdown(defaults::DRAIN_GRACE)).await
    }
}

/// Waits for all futures, which make progress simultaneously.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    let mut outputs = Vec::with_capacity(waiting.len());
    poll_fn(|cx| {
        waiting.retain_mut(|future| match future.as_mut().poll(cx) {
            Poll::Ready(output) => {
                outputs.push(output);
                false
            }
            Poll::Pending => true,
        });
        if waiting.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs
}

/// Adds the URL to the error of its server.
fn at(url: &str, error: &Error) -> Error {
    let message = format!("cannot serve `{}`: {}", shown(url), error.message());
    let named = Error::failure(error.code(), error.delivery(), error.reason().cloned(), message);
    let named = named.with_retry(error.retry()).with_hint(error.hint().to_owned());
    named.with_source(error.clone())
}

/// Returns a URL without credentials. The URL may be malformed: the text before the last `@` is
/// hidden, wherever that is, and so are options that may contain a secret.
fn shown(url: &str) -> String {
    let hidden = url.rsplit_once('@').map(|(before, rest)| {
        let scheme = before.split_once("://").map(|(scheme, _)| format!("{scheme}://"));
        format!("{}***@{rest}", scheme.unwrap_or_default())
    });
    let hidden = ServerUrl::from(hidden.unwrap_or_else(|| url.to_owned()));
    // Displayed: as a text, the URL has its secrets.
    rr_spi::excerpt(&format!("{hidden}"), 256)
}

#[cfg(test)]
mod tests {
    use rr_spi::{Intake, IntakeConfig};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_ends_by_itself_ends_the_wait_and_then_all_are_drained() {
        let intake = || Intake::new(Routes::new(), IntakeConfig::default());
        let lasting = || {
            Server::spawn("test://lasting".to_owned(), intake(), |shutdown| async move {
                shutdown.draining().await;
            })
        };
        let ending = Server::spawn("test://ending".to_owned(), intake(), |_| {
            tokio::time::sleep(Duration::from_millis(100))
        });
        let servers = Servers(vec![lasting(), ending, lasting()]);
        let early = tokio::time::timeout(Duration::from_millis(50), servers.wait());
        assert!(early.await.is_err());
        tokio::time::timeout(Duration::from_millis(100), servers.wait()).await.unwrap();
        let all = servers.until(std::future::pending());
        tokio::time::timeout(Duration::from_millis(100), all).await.unwrap();
    }

    #[test]
    fn credentials_are_hidden_in_every_url() {
        for (url, expected) in [
            ("nats://user:hunter2@h:1/team?name=x", "nats://***@h:1/team?name=x"),
            ("nats://user:hun?ter2@h", "nats://***@h"),
            ("nats:/user:hunter2@h", "***@h"),
            ("http://h?proxy=http://user:hunter2&x=1", "http://h?proxy=***&x=1"),
            ("http://h?proxy=user%3Ahunter2%40p", "http://h?proxy=***"),
            ("http://h:1/a?idle_max=3", "http://h:1/a?idle_max=3"),
            ("h\n", "h\\n"),
        ] {
            assert_eq!(shown(url), expected);
        }
        assert_eq!(shown(&"x".repeat(10_000)).len(), 256);
    }
}
