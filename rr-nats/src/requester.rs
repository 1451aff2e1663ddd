//! Requester over NATS.

mod many;

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use async_nats::Message;
use async_nats::message::OutboundMessage;
use rr_spi::observe::{Kind, Monitor, Stats};
use rr_spi::wire::RR_SPENT;
use rr_spi::{
    Attempt, Bytes, Code, Context, Delivery, Entropy, Error, Limits, OsEntropy, Request, Requester,
    Stage, Target, Timeline, observed,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock;
use crate::config::{NatsConfig, NatsServerConfig};
use crate::connection::{
    Channel, Connections, Learned, Link, LinkSetup, Members, NatsState, NatsStats, Outcome,
    PendingCalls, SendPermit, Slot, message,
};
use crate::endpoint;
use crate::error;
use crate::wire::{Token, block_len, cancel_subject, decode_reply, encode_request};

/// Number of late replies that may be buffered, in addition to one reply for each call in flight.
const STRAY_REPLIES_MAX: usize = 1024;

/// Maximum number of buffered replies, whatever `in_flight_max` is: a channel's capacity is limited
/// to an eighth of the address space, and a million replies are more than any server sends in one
/// burst.
const INCOMING_MAX: usize = 1 << 20;

/// Requester over NATS; clones share its connections.
///
/// A requester has one connection for each tokio runtime that makes calls, made by the first call
/// on that runtime. The requester therefore outlives the runtime in which it was created. Beyond
/// 1024 connections, those without calls are closed, the least recently used first.
///
/// # Examples
///
/// ```no_run
/// use rr_nats::NatsRequester;
/// use rr_spi::{Context, Request, Requester};
///
/// # async fn example() -> Result<(), rr_spi::Error> {
/// let client = NatsRequester::connect("nats://127.0.0.1:4222/team").await?;
/// let request = Request::new("service.ping".try_into()?, "ping");
/// let response = client.request(&Context::background(), request).await?;
/// # drop(response);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct NatsRequester(Arc<Inner>);

struct Inner {
    connections: Connections,
    prefix: String,
    config: NatsConfig,
    limits: Limits,
    permits: Arc<Semaphore>,
    entropy: Arc<dyn Entropy>,
    learned: Arc<Learned>,
    monitor: Monitor,
}

impl NatsRequester {
    /// Creates a requester for a URL and starts connecting. No server has to be reachable yet.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, if the URL is malformed or a file of TLS cannot be used.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::connect_with(url, NatsConfig::default()).await
    }

    /// Creates a requester for a URL; options in the URL take precedence over `config`.
    ///
    /// # Errors
    ///
    /// As [`NatsRequester::connect`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    #[allow(clippy::unused_async, reason = "it starts connecting on the runtime that awaits it")]
    pub async fn connect_with(url: &str, config: NatsConfig) -> Result<Self, Error> {
        let server = NatsServerConfig::default();
        let (endpoint, config, _) = endpoint::configure(url, config, server)?;
        let learned = Arc::new(Learned::default());
        let monitor = Monitor::new(config.calls.observers.clone());
        let setup = LinkSetup {
            channel: Channel::new(endpoint.scheme, &config.connection)?,
            config: config.connection.clone(),
            prefix: endpoint.prefix.clone(),
            incoming_max: config.in_flight_max.saturating_add(STRAY_REPLIES_MAX).min(INCOMING_MAX),
            cancels_max: config.in_flight_max,
            learned: Arc::clone(&learned),
            needs_inbox: true,
            monitor: monitor.clone(),
        };
        let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy::new());
        let members =
            Members::new(endpoint.addresses, endpoint.scheme, config.connection.ignore_discovered);
        let connections = Connections::new(setup, members, Arc::clone(&entropy));
        // Outside of a runtime, the first call starts the connection.
        let _ = connections.current();
        Ok(Self(Arc::new(Inner {
            connections,
            prefix: endpoint.prefix,
            limits: config.calls.limits,
            permits: Arc::new(Semaphore::new(config.in_flight_max.min(Semaphore::MAX_PERMITS))),
            config,
            entropy,
            learned,
            monitor,
        })))
    }

    /// Waits until there is a connection to a NATS server. Does not check for a responder: only a
    /// call shows whether there is one.
    ///
    /// # Errors
    ///
    /// The delivery is always `NotSent`. Immediately, since waiting does not help:
    /// `Unauthenticated` if a server refuses the credentials, `PermissionDenied` if it denies the
    /// inbox, `FailedPrecondition` if it requires TLS, has headers disabled or limits protocol lines
    /// to less than rr-nats needs, or if a file of credentials cannot be used, and `Unavailable` if
    /// a certificate cannot be verified or a TLS handshake fails otherwise. At the deadline:
    /// the error of the last attempt to connect, or else `DeadlineExceeded`. `Canceled` if the call was cancelled.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time.
    pub async fn ready(&self, ctx: &Context) -> Result<(), Error> {
        let attempt = Attempt::start(ctx, self.0.config.calls.timeout)?;
        let connection = self.0.connections.current()?;
        let outcome = attempt.run(async { connection.up().await.map(drop) }).await;
        outcome.map_err(|ended| match ended.code() {
            Code::DeadlineExceeded => connection.failure().unwrap_or(ended),
            _ => ended,
        })
    }

    /// Returns the state of the current runtime's connection, or else of the newest connection.
    #[must_use]
    pub fn state(&self) -> NatsState {
        self.0.connections.state()
    }

    /// Returns the error of the last connection that was lost or not made. A reconnect does not
    /// clear it.
    #[must_use]
    pub fn last_error(&self) -> Option<Error> {
        self.0.connections.last_error()
    }

    /// Waits until the state of the current runtime's connection differs from `known`, and returns
    /// it.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time.
    pub async fn state_changed(&self, known: NatsState) -> NatsState {
        match self.0.connections.current() {
            Ok(connection) => connection.changed(known).await,
            // Outside of a runtime there is no connection, and nothing changes.
            Err(_) => std::future::pending().await,
        }
    }

    /// Returns the counts of the attempts since the requester was made, those of its clones
    /// included. The figures of the transport are `connects` and `duplicate_replies`, as in
    /// [`NatsStats`].
    #[must_use]
    pub fn stats(&self) -> Stats {
        let own = self.nats_stats();
        let stats = self.0.monitor.stats();
        stats
            .with_figure("connects", own.connects)
            .with_figure("duplicate_replies", own.duplicate_replies)
    }

    /// Returns the counters of the connections since the requester was made.
    #[must_use]
    pub fn nats_stats(&self) -> NatsStats {
        self.0.connections.stats()
    }
}

// Written without `async_trait`, whose future stores the request twice.
impl Requester for NatsRequester {
    rr_spi::boxed! {
        fn request(&self, ctx: &Context, mut request: Request) -> Result<Response, Error> {
            let inner = &*self.0;
            observed!(&inner.monitor, Kind::ClientAttempt, |ctx, request| async move {
                let attempt = Attempt::start(ctx, inner.config.calls.timeout)?;
                inner.limits.check_outgoing(&request)?;
                let reply = attempt.run(inner.exchange(&attempt, &mut request, One)).await;
                let reply = reply.map_err(|error| inner.noted(error))?;
                attempt.spent(|| Some(reply.headers.as_ref()?.get(RR_SPENT)?.as_str()));
                let outcome = decode_reply(&request.target, reply);
                let response =
                    outcome.map_err(|error| {
                        let error = inner.believed(&request.target, error);
                        error.with_timeline(attempt.timeline()).into_failure()
                    })?;
                inner.limits.check_incoming(&response)?;
                Ok(response)
            })
        }
    }
}

impl Inner {
    /// Raises the delivery of a `Rejected` refusal to `Unknown` if calls of the target may reach
    /// several responders: another responder may have run its handler. The error for a subject
    /// without responders comes from the NATS server and stays as it is.
    fn believed(&self, target: &Target, error: Error) -> Error {
        if error.delivery() == Delivery::Rejected && self.learned.is_repeated(target) {
            return error.raised_to(Delivery::Unknown);
        }
        error
    }

    /// Adds a note to the error of an attempt that ended before it was sent.
    fn noted(&self, error: Error) -> Error {
        let Some(last) = error.timeline().map(Timeline::last) else { return error };
        let note = match last {
            Stage::Place => {
                let max = self.config.in_flight_max;
                Some(format!("{max} of {max} calls in flight"))
            }
            Stage::Connection | Stage::Lookup | Stage::Connect | Stage::Handshake => {
                self.connections.current().ok().and_then(|connection| connection.outage())
            }
            _ => None,
        };
        match note {
            Some(note) => error.map_timeline(|times| times.with_note(note)),
            None => error,
        }
    }

    /// Sends a request and receives what comes back.
    ///
    /// Moves the body out of the request instead of cloning it: it is not needed any more.
    async fn exchange<R: Receive>(
        &self,
        attempt: &Attempt,
        request: &mut Request,
        receive: R,
    ) -> Result<R::Output, Error> {
        // Acquiring consumes the task's budget, so that a loop of calls that fail immediately
        // yields.
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        // The semaphore is never closed: the requester outlives its calls.
        let mut permit = Some(permit.map_err(|_| error::closed())?);
        let mut body = std::mem::take(&mut request.body);
        let request = &*request;
        // One more round for each connection that is lost before it takes the request.
        loop {
            attempt.stage(Stage::Connection);
            let link = self.connections.link(attempt, self.config.connection_wait).await?;
            let slot = match link.calls().take_slot(&request.target, self.entropy.next_u64()) {
                Ok(slot) => slot,
                Err(_) if link.is_lost() => continue,
                Err(denied) => return Err(denied),
            };
            receive.prepare(link.calls(), slot.token);
            let mut pending = PendingCall {
                link: &link,
                token: slot.token,
                attempt,
                request,
                cancel: self.config.cancel.then_some(self.prefix.as_str()),
                clocks_agree: self.config.clocks_agree,
                permit: &mut permit,
                waits: false,
                received: 0,
            };
            if let Some(message) = pending.send(body, slot)? {
                // Boxed because it is rare: inline, its state would enlarge the future of every
                // call.
                if let Some(back) = Box::pin(pending.send_later(message)).await? {
                    body = back;
                    continue;
                }
            }
            return receive.receive(&mut pending).await;
        }
    }
}

/// Reception of what comes back for a request.
trait Receive {
    type Output;

    /// Prepares the slot of the request before the request is sent.
    fn prepare(&self, calls: &PendingCalls, token: Token);

    /// Receives until the request has ended.
    async fn receive(self, pending: &mut PendingCall<'_>) -> Result<Self::Output, Error>;
}

/// Reception of one reply.
struct One;

impl Receive for One {
    type Output = Message;

    fn prepare(&self, _: &PendingCalls, _: Token) {}

    async fn receive(self, pending: &mut PendingCall<'_>) -> Result<Message, Error> {
        let outcome = poll_fn(|cx| pending.link.calls().poll(pending.token, cx.waker())).await;
        pending.waits = false;
        match outcome {
            Outcome::Reply(message) => Ok(message),
            Outcome::Lost => Err(pending.lost()),
            Outcome::Denied(delivery) => Err(pending.denied(delivery)),
        }
    }
}

/// Call that holds a slot. Dropping it frees the slot, and cancels the handler if it may be
/// running.
struct PendingCall<'a> {
    link: &'a Link,
    token: Token,
    attempt: &'a Attempt,
    /// The request, whose body is passed separately.
    request: &'a Request,
    /// The prefix of the URL if cancel messages are sent; `None` otherwise.
    cancel: Option<&'a str>,
    /// Whether the request carries its send time.
    clocks_agree: bool,
    /// The permit of the call, until a cancel message takes it.
    permit: &'a mut Option<OwnedSemaphorePermit>,
    /// Whether the request was handed over and has no outcome yet.
    waits: bool,
    /// Receive count of the connection when the request was handed over.
    received: u64,
}

impl PendingCall<'_> {
    /// Hands the request over. Returns it if the queue is full or the connection is lost.
    fn send(&mut self, body: Bytes, slot: Slot) -> Result<Option<OutboundMessage>, Error> {
        let mut message = message(slot.subject, Some(slot.reply), None, body);
        if slot.alone {
            match self.link.try_send(self.written(message)?) {
                Ok(()) => {
                    self.handed_over();
                    return Ok(None);
                }
                Err(back) => message = back,
            }
        }
        let permit = if self.link.is_lost() { None } else { self.link.outbox().try_reserve() };
        let Some(permit) = permit else { return Ok(Some(message)) };
        self.send_with(permit, message)?;
        Ok(None)
    }

    /// Waits for a place in the queue and hands the request over. Returns the body if the
    /// connection is lost before that: the request was never handed over.
    async fn send_later(&mut self, message: OutboundMessage) -> Result<Option<Bytes>, Error> {
        self.attempt.stage(Stage::Sending);
        let Ok(Some(permit)) = self.link.alive().race(self.link.outbox().reserve()).await else {
            return Ok(Some(message.payload));
        };
        // The headers are written only now: the remaining time has shrunk during the wait.
        self.send_with(permit, message)?;
        Ok(None)
    }

    fn send_with(&mut self, permit: SendPermit<'_>, message: OutboundMessage) -> Result<(), Error> {
        permit.send(self.written(message)?);
        self.handed_over();
        Ok(())
    }

    /// Writes the header block of a request that is about to be handed over.
    fn written(&self, mut message: OutboundMessage) -> Result<OutboundMessage, Error> {
        let timeout_millis = self.attempt.timeout_millis();
        // Read after the timeout: time between the two reads does not count as time in queues.
        let sent_at_millis = self.clocks_agree.then(clock::unix_millis);
        let ctx = self.attempt.context();
        message.headers = encode_request(ctx, self.request, timeout_millis, sent_at_millis);
        // async-nats would drop a longer message without reporting it to the call.
        let bytes = message.headers.as_ref().map_or(0, block_len) + message.payload.len();
        self.link.check(bytes).map_err(|limit| error::longer_than(limit, bytes))?;
        Ok(message)
    }

    /// Records that the request may have been sent. Called in the poll that hands it over, so that
    /// the call cannot expire in between.
    fn handed_over(&mut self) {
        self.attempt.sent();
        self.received = self.link.received_so_far();
        self.waits = true;
    }

    /// Makes the error for a lost connection.
    fn lost(&self) -> Error {
        error::lost(self.attempt.delivery(), self.link.why_lost().as_deref())
    }

    /// Makes the error for a subject that the server denies.
    fn denied(&self, delivery: Delivery) -> Error {
        error::denied("publishing to", &self.request.target, delivery)
    }
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        self.link.calls().release_slot(self.token);
        if !self.waits {
            return;
        }
        if self.attempt.context().is_at_deadline() {
            // The handler's own deadline ends it.
            return self.link.expired(self.received);
        }
        let (Some(prefix), Some(permit)) = (self.cancel, self.permit.take()) else { return };
        let subject = cancel_subject(prefix, self.request.target.service());
        self.link.cancel(subject, &self.token.subject(self.link.inbox()), permit);
    }
}

impl fmt::Debug for NatsRequester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsRequester")
            .field("state", &self.state())
            .field("stats", &self.nats_stats())
            .finish_non_exhaustive()
    }
}
