//! The client side.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Uri, header};
use http_body::Body;
use rr_spi::{
    Attempt, BoxFuture, Code, Context, Delivery, Error, Headers, Limits, Location, Request,
    Requester, Response, Target,
};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::body::{self, BodyError, StreamBody, Whole};
use crate::config::{HttpConfig, HttpVersion};
use crate::count::{Count, CountedHere};
use crate::endpoint::Endpoint;
use crate::error::{handed_back, lost, of_h2, of_hyper};
use crate::pool::{Dialer, H1Pool, H2Pool, Link, Message, Replied};
use crate::socket::Connector;
use crate::wire::{
    check_body, decimal, decode_error, decode_response, emptied, encode_path, encode_request,
    granted, set_timeout, turn_into_get,
};

/// Sends requests over HTTP. Cloning it shares its connections.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), rr_spi::Error> {
/// let client = rr_http::HttpRequester::connect("http://127.0.0.1:8080?version=h2c").await?;
/// client.ready(&rr_spi::Context::background()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HttpRequester(Arc<Inner>);

struct Inner {
    config: HttpConfig,
    limits: Limits,
    endpoint: Endpoint,
    dialer: Arc<Dialer>,
    pool: Pool,
    /// Of HTTP/2; over HTTP/1 each connection remembers its own.
    uris: Mutex<HashMap<Target, Uri>>,
    in_flight: Count,
}

enum Pool {
    H1(H1Pool),
    H2(H2Pool),
}

/// Most targets whose URI is remembered; beyond, it is made for each call.
const URIS_MAX: usize = 1024;

/// How often a request is written before it is given up; only requests that came back unwritten
/// are written again, and the last time on a connection made for it.
const ROUNDS: usize = 3;

/// Longest body of an error reply that is read; ours are far shorter.
const ERROR_BODY_BYTES_MAX: usize = 64 * 1024;

/// Longest wait for the body of an error reply, of which the head has said what matters most;
/// nor is it more than half of the time that the call has left.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_millis(500);

/// Pause between two tries of [`HttpRequester::ready`]: short, so that a test does not wait, and
/// long enough not to press a server that is starting.
const READY_PAUSE: Duration = Duration::from_millis(20);

impl HttpRequester {
    /// Makes a requester for a URL; its query sets fields of [`HttpConfig`]. The peer need not be
    /// there.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when the URL is malformed or has an unknown parameter.
    ///
    /// # Cancel safety
    ///
    /// It never waits.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::new(url, HttpConfig::default())
    }

    /// Makes a requester for a URL, whose query goes over `config`.
    ///
    /// # Errors
    ///
    /// As [`HttpRequester::connect`].
    pub fn new(url: &str, config: HttpConfig) -> Result<Self, Error> {
        let mut location = Location::parse(url)?;
        let config = config.with_location(&mut location)?;
        Self::assemble(Endpoint::of(&location)?, None, config)
    }

    /// Makes a requester whose connections are what `connect` returns, such as pipes within a
    /// process, or TLS; [`serve_streams`](crate::serve_streams) is its counterpart.
    ///
    /// The URL says what the server is called, and gives the prefix of every path; its query goes
    /// over `config`. `https` says that what `connect` returns is encrypted. `connect` is called
    /// once for each connection, within
    /// [`connect_timeout`](HttpConfig::connect_timeout), and dropped beyond; what it fails with
    /// is the source of an error that says `NotSent`, `connect-failed`.
    ///
    /// # Errors
    ///
    /// As [`HttpRequester::connect`].
    ///
    /// # Examples
    ///
    /// A unix socket in Linux's abstract namespace, which no URL names:
    ///
    /// ```
    /// # #[cfg(target_os = "linux")]
    /// # fn example() -> Result<rr_http::HttpRequester, rr_spi::Error> {
    /// use rr_http::{HttpConfig, HttpRequester};
    /// use tokio::net::UnixStream;
    ///
    /// let connect = || UnixStream::connect("\0orders");
    /// HttpRequester::with_connector("http://orders", HttpConfig::default(), connect)
    /// # }
    /// ```
    pub fn with_connector<F, C, S>(url: &str, config: HttpConfig, connect: F) -> Result<Self, Error>
    where
        F: Fn() -> C + Send + Sync + 'static,
        C: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut location = Location::parse(url)?;
        let config = config.with_location(&mut location)?;
        let connector = Connector::new(connect);
        Self::assemble(Endpoint::of_streams(&location)?, Some(connector), config)
    }

    fn assemble(
        endpoint: Endpoint,
        connector: Option<Connector>,
        config: HttpConfig,
    ) -> Result<Self, Error> {
        let host = HeaderValue::from_str(&endpoint.authority).map_err(|_| bad_host())?;
        let base = format!("http://{}{}/", endpoint.authority, endpoint.prefix);
        let _fits: Uri = base.try_into().map_err(|_| bad_host())?;
        let dialer = Arc::new(Dialer::new(endpoint.clone(), connector, config.connect_timeout));
        let pool = match config.version {
            HttpVersion::H1 => Pool::H1(H1Pool::new(Arc::clone(&dialer), host, &config)),
            HttpVersion::H2c => Pool::H2(H2Pool::new(Arc::clone(&dialer), &config)),
        };
        Ok(Self(Arc::new(Inner {
            limits: config.limits(),
            config,
            endpoint,
            dialer,
            pool,
            uris: Mutex::default(),
            in_flight: Count::default(),
        })))
    }

    /// Waits until a connection can be made, trying again after short pauses.
    ///
    /// # Errors
    ///
    /// The last failure, `Unavailable`, not sent, `connect-failed`, when the context ended first.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time.
    pub async fn ready(&self, ctx: &Context) -> Result<(), Error> {
        let attempt = Attempt::start(ctx, self.0.config.timeout)?;
        let mut last = None;
        let tries = async {
            loop {
                match self.0.reach().await {
                    Ok(()) => return Ok(()),
                    Err(error) => last = Some(error),
                }
                tokio::time::sleep(READY_PAUSE).await;
            }
        };
        let outcome = attempt.run(tries).await;
        outcome.map_err(|ended| last.unwrap_or(ended))
    }

    /// Returns how many connections are open, unused ones included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.dialer.open()
    }

    /// Returns how many calls are in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.in_flight.now()
    }
}

fn bad_host() -> Error {
    let message = "the URL's host does not fit into a request";
    Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message)
}

impl fmt::Debug for HttpRequester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequester")
            .field("endpoint", &self.0.endpoint)
            .field("connections", &self.connections())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

// Written out, and not with `async_trait`: each protocol has a box of its own size, and the request
// has its place in it once.
impl Requester for HttpRequester {
    fn request<'a, 'c, 'f>(
        &'a self,
        ctx: &'c Context,
        request: Request,
    ) -> BoxFuture<'f, Result<Response, Error>>
    where
        'a: 'f,
        'c: 'f,
        Self: 'f,
    {
        let inner = &*self.0;
        match &inner.pool {
            Pool::H1(pool) => Box::pin(async move {
                let (attempt, _counted) = inner.begin(ctx, &request)?;
                attempt.run(inner.call_h1(pool, &attempt, &request)).await
            }),
            Pool::H2(pool) => Box::pin(async move {
                let (attempt, _counted) = inner.begin(ctx, &request)?;
                attempt.run(inner.call_h2(pool, &attempt, &request)).await
            }),
        }
    }
}

/// A reply, of which the head has come, and the call that it is for.
struct Exchange<'a> {
    ctx: &'a Context,
    called: &'a Headers,
    parts: Parts,
}

impl Inner {
    /// Starts the attempt of a call, and counts it.
    fn begin(&self, ctx: &Context, request: &Request) -> Result<(Attempt, CountedHere<'_>), Error> {
        let attempt = Attempt::start(ctx, self.config.timeout)?;
        self.limits.check_outgoing(request)?;
        Ok((attempt, self.in_flight.one_here()))
    }

    async fn call_h1(
        &self,
        pool: &H1Pool,
        attempt: &Attempt,
        request: &Request,
    ) -> Result<Response, Error> {
        // In a box, since it hardly ever happens, and room for it would be kept in every call.
        let mut came_back: Option<Box<Message>> = None;
        for round in 1..=ROUNDS {
            let mut lease = match round {
                ROUNDS => pool.checkout_fresh().await?,
                _ => pool.checkout().await?,
            };
            let reply = match self.send_h1(attempt, request, came_back.take(), &mut lease.link) {
                Ok(reply) => reply,
                Err(error) => {
                    pool.put_back(lease, None);
                    return Err(error);
                }
            };
            let reply = match lease.link.drive(reply).await {
                Ok(reply) => reply,
                Err(mut failed) => match failed.take_message() {
                    // Hyper hands a request back only when no byte of it was written.
                    Some(unwritten) => {
                        came_back = Some(Box::new(unwritten));
                        attempt.unsent();
                        continue;
                    }
                    None => return Err(of_hyper(failed.into_error())),
                },
            };
            let (parts, mut body) = reply.into_parts();
            let exchange = Exchange { ctx: attempt.context(), called: &request.headers, parts };
            let (outcome, whole) = lease.link.drive(self.finish(&exchange, &mut body)).await;
            // What was not read to its end would be taken for the next reply: it goes.
            if whole {
                let headers = exchange.parts.headers;
                let granted = granted(&headers);
                lease.link.spare = emptied(headers);
                pool.put_back(lease, granted);
            }
            return outcome;
        }
        Err(handed_back())
    }

    /// Hands a request over to a connection: one that came back, or a new one.
    fn send_h1(
        &self,
        attempt: &Attempt,
        request: &Request,
        came_back: Option<Box<Message>>,
        link: &mut Link,
    ) -> Result<impl Future<Output = Replied> + use<>, Error> {
        let mut message = match came_back {
            Some(unwritten) => *unwritten,
            None => self.message_h1(attempt.context(), request, link)?,
        };
        set_timeout(message.headers_mut(), attempt.timeout_millis());
        attempt.sent();
        link.send(message).ok_or_else(handed_back)
    }

    /// Makes the head and the body of a request, for one connection.
    fn message_h1(
        &self,
        ctx: &Context,
        request: &Request,
        link: &mut Link,
    ) -> Result<Message, Error> {
        let uri = match &link.last {
            Some((target, uri)) if *target == request.target => uri.clone(),
            _ => {
                let uri = self.make_uri(&request.target)?;
                link.last = Some((request.target.clone(), uri.clone()));
                uri
            }
        };
        let body = Whole::new(request.body.clone());
        let map = std::mem::take(&mut link.spare);
        let mut message = encode_request(ctx, request, uri, Some(&link.host), map, body)?;
        if turn_into_get(&mut message, request, self.config.get_bytes_max) {
            *message.body_mut() = Whole::empty();
        } else {
            // Hyper leaves out that of an empty body, on which there are servers that insist
            // (RFC 9110 §8.6).
            let length = decimal(request.body.len() as u64);
            message.headers_mut().insert(header::CONTENT_LENGTH, length);
        }
        Ok(message)
    }

    async fn call_h2(
        &self,
        pool: &H2Pool,
        attempt: &Attempt,
        request: &Request,
    ) -> Result<Response, Error> {
        for round in 1..=ROUNDS {
            let mut lease = match round {
                ROUNDS => pool.checkout_fresh().await?,
                _ => pool.checkout().await?,
            };
            let Some(reply) = self.send_h2(attempt, request, &mut lease.sender)? else {
                lease.retire();
                attempt.unsent();
                continue;
            };
            let (parts, stream) = reply.await.map_err(of_h2)?.into_parts();
            let length = parts.headers.get(header::CONTENT_LENGTH);
            let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
            let mut body = StreamBody::new(stream, length);
            let exchange = Exchange { ctx: attempt.context(), called: &request.headers, parts };
            return self.finish(&exchange, &mut body).await.0;
        }
        Err(handed_back())
    }

    /// Hands a request over to a connection. Returns `None` when that refuses it.
    fn send_h2(
        &self,
        attempt: &Attempt,
        request: &Request,
        sender: &mut SendRequest<Bytes>,
    ) -> Result<Option<ResponseFuture>, Error> {
        let (ctx, map, uri) = (attempt.context(), HeaderMap::new(), self.uri(&request.target)?);
        let mut message = encode_request(ctx, request, uri, None, map, ())?;
        let body = if turn_into_get(&mut message, request, self.config.get_bytes_max) {
            Bytes::new()
        } else {
            let length = decimal(request.body.len() as u64);
            message.headers_mut().insert(header::CONTENT_LENGTH, length);
            request.body.clone()
        };
        set_timeout(message.headers_mut(), attempt.timeout_millis());
        attempt.sent();
        // H2 refuses before it has queued anything.
        let Ok((reply, mut stream)) = sender.send_request(message, body.is_empty()) else {
            return Ok(None);
        };
        if !body.is_empty() {
            // H2 holds the bytes until the peer's window takes them. Should it have closed the
            // stream already, the reply says why.
            let _ = stream.send_data(body, true);
        }
        Ok(Some(reply))
    }

    /// Reads a reply and says what it means, and whether it was read to its end.
    async fn finish<B>(
        &self,
        exchange: &Exchange<'_>,
        body: &mut B,
    ) -> (Result<Response, Error>, bool)
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
    {
        let Exchange { ctx, called, parts } = exchange;
        if !parts.status.is_success() {
            // In a box like all that seldom happens.
            let (error, whole) = Box::pin(read_error(ctx, parts, body)).await;
            return (Err(error), whole);
        }
        let mut response = match decode_response(parts) {
            Ok(response) => response,
            Err(error) => return (Err(error), false),
        };
        match body::read(body, self.limits.response_bytes_max).await {
            Ok(body) => {
                let checked = check_body(parts.status, &body, called);
                response.body = body;
                (checked.map(|()| response), true)
            }
            Err(BodyError::TooLarge) => (Err(self.limits.response_too_large()), false),
            // The reply had begun, so that nothing may say any more that the handler did not run.
            Err(BodyError::Broken(error)) => (Err(lost(error)), false),
        }
    }

    /// Returns the URI of a target, which is remembered.
    fn uri(&self, target: &Target) -> Result<Uri, Error> {
        let known = |uris: &HashMap<Target, Uri>| uris.get(target).cloned();
        if let Some(uri) = known(&self.uris.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(uri);
        }
        let uri = self.make_uri(target)?;
        let mut uris = self.uris.lock().unwrap_or_else(PoisonError::into_inner);
        if uris.len() < URIS_MAX {
            uris.insert(target.clone(), uri.clone());
        }
        Ok(uri)
    }

    /// Makes the URI of a target: a path for HTTP/1.1, absolute for HTTP/2.
    fn make_uri(&self, target: &Target) -> Result<Uri, Error> {
        let path = encode_path(&self.endpoint.prefix, target);
        let text = match self.pool {
            Pool::H1(_) => path,
            Pool::H2(_) => {
                let Endpoint { scheme, authority, .. } = &self.endpoint;
                format!("{scheme}://{authority}{path}")
            }
        };
        Uri::try_from(text).map_err(|_| bad_host())
    }

    /// Makes sure that there is a connection.
    async fn reach(&self) -> Result<(), Error> {
        match &self.pool {
            Pool::H1(pool) => {
                let lease = pool.checkout().await?;
                pool.put_back(lease, None);
            }
            Pool::H2(pool) => drop(pool.checkout().await?),
        }
        Ok(())
    }
}

/// Reads the body of an error reply as far as it comes in time, and makes the error: what the head
/// says of the handler holds, whatever becomes of the body. Tells whether it came to its end.
async fn read_error<B>(ctx: &Context, parts: &Parts, body: &mut B) -> (Error, bool)
where
    B: Body<Data = Bytes> + Unpin,
{
    let half = ctx.remaining().map_or(Duration::MAX, |remaining| remaining / 2);
    let bound = Context::background().with_timeout(ERROR_BODY_TIMEOUT.min(half));
    let mut start = Vec::new();
    let reading = body::read_start(body, &mut start, ERROR_BODY_BYTES_MAX);
    let whole = bound.race(reading).await.unwrap_or(false);
    (decode_error(parts, start.into()), whole)
}
