//! Connecting by URL.

use rr_spi::observe::Stats;
use rr_spi::{
    BoxFuture, Code, Context, Delivery, Error, ManyConfig, ManyEnd, ManyRequester, ReplySink,
    Request, Requester,
};

use crate::config::ClientConfig;
use crate::observe::with_features;

/// Requester for a URL. Clones share its connections.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), rr_core::Error> {
/// use std::time::Duration;
///
/// use rr_core::{Context, connect};
///
/// let client = connect("nats://127.0.0.1").await?;
/// // Waits for the NATS server, for ten seconds at most. Calls would wait for a connection too.
/// client.ready(&Context::background().with_timeout(Duration::from_secs(10))).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Client(Inner);

/// One variant per transport compiled in. Without any, it has no values and a match no arms.
#[derive(Clone, Debug)]
enum Inner {
    #[cfg(feature = "http")]
    Http(rr_http::HttpRequester),
    #[cfg(feature = "http")]
    Hosts(crate::hosts::Hosts),
    #[cfg(feature = "memory")]
    Memory(rr_testkit::MemoryRequester),
    #[cfg(feature = "nats")]
    Nats(rr_nats::NatsRequester),
}

/// Makes a requester for a URL. The peer need not be reachable yet: see [`Client::ready`].
///
#[doc = include_str!("url.md")]
///
/// # Errors
///
/// `InvalidArgument`, not sent, when the URL is malformed or has an unknown parameter, or its scheme
/// is unknown or not compiled in; the hint names the parameters or the cargo feature.
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
///
/// # Examples
///
#[cfg_attr(all(feature = "json", feature = "http"), doc = "```no_run")]
#[cfg_attr(not(all(feature = "json", feature = "http")), doc = "```ignore")]
/// # async fn example() -> Result<(), rr_core::CallError> {
/// use rr_core::{Context, RequesterExt, connect};
///
/// let client = connect("http://127.0.0.1:8080?version=h2c&timeout=2s").await?;
/// let pong: String = client.call(&Context::background(), "service.ping", "hello").await?;
/// # Ok(()) }
/// ```
pub async fn connect(url: &str) -> Result<Client, Error> {
    start(url, ClientConfig::default()).await
}

/// Makes a requester for a URL with a configuration, such as a [`CallConfig`](crate::config::CallConfig) for
/// the part that all transports have in common. The query of the URL overrides the configuration.
///
/// # Errors
///
/// As [`connect`].
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), rr_core::Error> {
/// use std::time::Duration;
///
/// use rr_core::{connect_with, config::CallConfig};
///
/// let config = CallConfig::default().with_timeout(Duration::from_secs(2));
/// let client = connect_with("http://orders:8080", config).await?;
/// # drop(client);
/// # Ok(()) }
/// ```
pub async fn connect_with(url: &str, config: impl Into<ClientConfig>) -> Result<Client, Error> {
    start(url, config.into()).await
}

#[allow(
    clippy::unused_async,
    unused_variables,
    reason = "it depends on the transports compiled in"
)]
async fn start(url: &str, mut config: ClientConfig) -> Result<Client, Error> {
    config.calls.observers = with_features(config.calls.observers);
    match scheme(url).as_str() {
        #[cfg(feature = "http")]
        "http" | "http+unix" => http(url, config),
        #[cfg(all(feature = "http", feature = "tls"))]
        "https" => http(url, config),
        #[cfg(feature = "memory")]
        "memory" => Ok(Client(Inner::Memory(rr_testkit::MemoryRequester::new(url, config.calls)?))),
        #[cfg(feature = "nats")]
        "nats" | "nats+tls" | "tls" | "ws" | "wss" => {
            let config = config.nats.into_config(config.calls);
            Ok(Client(Inner::Nats(rr_nats::NatsRequester::connect_with(url, config).await?)))
        }
        scheme => Err(unknown(scheme)),
    }
}

#[cfg(feature = "http")]
fn http(url: &str, config: ClientConfig) -> Result<Client, Error> {
    let config = config.http.into_config(config.calls);
    Ok(Client(match crate::hosts::connect(url, config)? {
        crate::hosts::Connected::One(requester) => Inner::Http(requester),
        crate::hosts::Connected::Several(hosts) => Inner::Hosts(hosts),
    }))
}

impl Client {
    /// Waits until the peer can be reached; of several hosts, any one of them.
    ///
    /// # Errors
    ///
    /// `DeadlineExceeded` or `Canceled`, not sent, when the context ended first.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time.
    #[allow(clippy::unused_async, unused_variables, reason = "without transports there is no peer")]
    pub async fn ready(&self, ctx: &Context) -> Result<(), Error> {
        match self.0 {
            #[cfg(feature = "http")]
            Inner::Http(ref requester) => requester.ready(ctx).await,
            #[cfg(feature = "http")]
            Inner::Hosts(ref hosts) => hosts.ready(ctx).await,
            #[cfg(feature = "memory")]
            Inner::Memory(ref requester) => requester.ready(ctx).await,
            #[cfg(feature = "nats")]
            Inner::Nats(ref requester) => requester.ready(ctx).await,
        }
    }

    /// Returns the counts of the attempts since the client was made, those of its clones included.
    ///
    /// Counting needs no observer. A call that is retried has several attempts.
    #[must_use]
    pub fn stats(&self) -> Stats {
        match self.0 {
            #[cfg(feature = "http")]
            Inner::Http(ref requester) => requester.stats(),
            #[cfg(feature = "http")]
            Inner::Hosts(ref hosts) => hosts.stats(),
            #[cfg(feature = "memory")]
            Inner::Memory(ref requester) => requester.stats(),
            #[cfg(feature = "nats")]
            Inner::Nats(ref requester) => requester.stats(),
        }
    }
}

impl Requester for Client {
    rr_spi::boxed! {
        #[allow(unused_variables, reason = "without transports there is no variant")]
        fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
            match self.0 {
                #[cfg(feature = "http")]
                Inner::Http(ref requester) => requester.request(ctx, request),
                #[cfg(feature = "http")]
                Inner::Hosts(ref hosts) => hosts.request(ctx, request),
                #[cfg(feature = "memory")]
                Inner::Memory(ref requester) => requester.request(ctx, request),
                #[cfg(feature = "nats")]
                Inner::Nats(ref requester) => requester.request(ctx, request),
            }
        }
    }
}

impl ManyRequester for Client {
    #[allow(unused_variables, reason = "without transports there is no variant")]
    fn request_many<'f>(
        &'f self,
        ctx: &'f Context,
        request: Request,
        config: ManyConfig,
        replies: ReplySink,
    ) -> BoxFuture<'f, Result<ManyEnd, Error>> {
        match self.0 {
            #[cfg(feature = "http")]
            Inner::Http(ref requester) => requester.request_many(ctx, request, config, replies),
            #[cfg(feature = "http")]
            Inner::Hosts(ref hosts) => hosts.request_many(ctx, request, config, replies),
            #[cfg(feature = "memory")]
            Inner::Memory(ref requester) => requester.request_many(ctx, request, config, replies),
            #[cfg(feature = "nats")]
            Inner::Nats(ref requester) => requester.request_many(ctx, request, config, replies),
        }
    }
}

/// Every known scheme, its cargo features, and whether they are enabled.
const SCHEMES: &[(&str, &[&str], bool)] = &[
    ("http", &["http"], cfg!(feature = "http")),
    ("http+unix", &["http"], cfg!(feature = "http")),
    ("https", &["http", "tls"], cfg!(all(feature = "http", feature = "tls"))),
    ("memory", &["memory"], cfg!(feature = "memory")),
    ("nats", &["nats"], cfg!(feature = "nats")),
    ("nats+tls", &["nats", "tls"], cfg!(all(feature = "nats", feature = "tls"))),
    ("tls", &["nats", "tls"], cfg!(all(feature = "nats", feature = "tls"))),
    ("ws", &["websockets"], cfg!(feature = "websockets")),
    ("wss", &["websockets", "tls"], cfg!(all(feature = "websockets", feature = "tls"))),
];

pub(crate) fn scheme(url: &str) -> String {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    scheme.to_ascii_lowercase()
}

/// Makes the error of an unsupported scheme. It lists the compiled-in schemes and names the feature
/// that enables the requested scheme.
pub(crate) fn unknown(scheme: &str) -> Error {
    let compiled: Vec<_> = SCHEMES.iter().filter(|row| row.2).map(|row| row.0).collect();
    let compiled = if compiled.is_empty() { "none".to_owned() } else { compiled.join(", ") };
    let text = match scheme {
        "" => format!("the URL has no scheme; compiled in: {compiled}"),
        _ => format!("unknown scheme `{}`; compiled in: {compiled}", rr_spi::excerpt(scheme, 32)),
    };
    let hint = match SCHEMES.iter().find(|row| row.0 == scheme) {
        Some((_, [feature], _)) => format!("enable the feature `{feature}` of rr-core"),
        Some((_, features, _)) => {
            format!("enable the features `{}` of rr-core", features.join("` and `"))
        }
        None => {
            let all: Vec<_> = SCHEMES.iter().map(|row| row.0).collect();
            format!("a URL looks like scheme://address, with one of {}", all.join(", "))
        }
    };
    Error::failure(Code::InvalidArgument, Delivery::NotSent, None, text).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_error_for_an_unknown_scheme_lists_the_known_ones() {
        let error = connect("gopher://x").await.unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::NotSent));
        assert!(error.hint().contains("memory"), "{}", error.hint());
    }

    #[tokio::test]
    async fn a_url_without_a_scheme_is_told_so() {
        for url in ["", "localhost:8080", "http:/host"] {
            let error = connect(url).await.unwrap_err();
            assert!(error.message().starts_with("the URL has no scheme"), "{url}: {error}");
        }
    }

    #[cfg(not(all(feature = "nats", feature = "tls", feature = "websockets")))]
    #[tokio::test]
    async fn a_scheme_of_nats_names_the_features_that_it_lacks() {
        for (url, feature, has) in [
            ("nats+tls://x", "`tls`", cfg!(all(feature = "nats", feature = "tls"))),
            ("ws://x", "`websockets`", cfg!(feature = "websockets")),
            ("wss://x", "`websockets`", cfg!(feature = "websockets")),
            ("wss://x", "`tls`", cfg!(feature = "tls")),
        ] {
            if !has {
                let error = connect(url).await.unwrap_err();
                assert_eq!(error.code(), Code::InvalidArgument, "{url}");
                assert!(error.hint().contains(feature), "{url}: {}", error.hint());
            }
        }
    }

    #[cfg(not(all(feature = "http", feature = "tls")))]
    #[tokio::test]
    async fn https_names_its_features() {
        let error = connect("https://x").await.unwrap_err();
        assert_eq!(error.hint(), "enable the features `http` and `tls` of rr-core");
    }

    #[cfg(not(feature = "http"))]
    #[tokio::test]
    async fn a_scheme_that_is_not_compiled_in_names_its_feature() {
        let error = connect("http://x").await.unwrap_err();
        assert_eq!(error.hint(), "enable the feature `http` of rr-core");
    }
}
