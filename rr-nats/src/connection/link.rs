//! Single connection to a NATS server; it never reconnects.

use std::borrow::Cow;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::client::traits::Publisher as _;
use async_nats::message::OutboundMessage;
use async_nats::{
    Client, HeaderMap, HeaderName, HeaderValue, Message, PublishError, Subject, Subscriber,
};
use futures_core::Stream as _;
use rr_spi::dial::DialProgress;
use rr_spi::{Bytes, Code, Context, Delivery, Error};
use tokio::sync::OwnedSemaphorePermit;

use super::channel::Route;
use super::events::Events;
use super::members::Host;
use super::options::{LinkSetup, options, queued_max};
use super::outbox::{Cancel, DirectSender, Outbox};
use super::pending_calls::PendingCalls;
use crate::error::{self, TooLong};
use crate::sync::{self, lock};
use crate::wire::RR_CANCEL;

/// Longest time for handed-over messages to reach the socket when a connection is closed.
const FLUSH_MAX: Duration = Duration::from_millis(500);

/// Connection to one server. It never reconnects: messages that wait in it are dropped with it, so
/// that no message is sent late.
pub(crate) struct Link {
    /// `host:port`, from the URL or as a server announced it.
    address: String,
    route: Route,
    client: Client,
    direct: DirectSender,
    outbox: Outbox,
    events: Arc<Events>,
    probes: AtomicU64,
}

impl Link {
    /// Connects to one IP address of the server at `address`, and proves the connection by a round
    /// trip.
    pub(super) async fn open(
        setup: &LinkSetup,
        host: &Host,
        socket: SocketAddr,
        unique: u64,
        dial: Arc<DialProgress>,
    ) -> Result<Self, Error> {
        let inbox = format!("{}.{unique:016x}", setup.config.inbox_prefix);
        let learned = Arc::clone(&setup.learned);
        let (prefix, monitor) = (setup.prefix.clone(), setup.monitor.clone());
        let events = Arc::new(Events::new(inbox, prefix, learned, monitor, dial));
        let deadline = Context::background().with_timeout(setup.config.connect_timeout);
        let opened = deadline.race(Self::establish(setup, host, socket, &events)).await;
        let opened =
            opened.unwrap_or_else(|_| Err(setup.channel.silent(&host.address, &setup.config)));
        let link = opened.map_err(|error| {
            events.mark_lost();
            explained(error, setup, &events)
        })?;
        // Asked before the first message, which may be too long.
        let server_id = link.server_id();
        let ask = setup.learned.payload.ask(&link.route, &server_id, &setup.config);
        let _: Result<(), _> = deadline.race(ask).await;
        Ok(link)
    }

    async fn establish(
        setup: &LinkSetup,
        host: &Host,
        socket: SocketAddr,
        events: &Arc<Events>,
    ) -> Result<Self, Error> {
        let Host { address, name, .. } = host;
        let channel = &setup.channel;
        let options = channel.secured(options(setup, events), name).await?;
        let connecting = options.connect(channel.url(host, socket));
        let client = connecting.await.map_err(|source| channel.failed(address, source))?;
        let probes = AtomicU64::new(0);
        let events = Arc::clone(events);
        let (outbox, outbox_task) = Outbox::new(queued_max(&setup.config), setup.cancels_max);
        // The task ends with the connection, or when the link is dropped.
        tokio::spawn(outbox_task.run(client.clone(), events.alive.clone()));
        let direct = DirectSender::new(client.clone());
        let route = Route { channel: channel.clone(), socket, name: name.clone() };
        let address = address.clone();
        let link = Self { address, route, client, direct, outbox, events, probes };
        match link.prove(setup.needs_inbox).await {
            Ok(()) => Ok(link),
            Err(error) if error::is_refusal(&error) => Err(error),
            Err(error) => match link.events.awaited_server_error().await {
                Some(said) => Err(error::refused_by(&link.address, &said)),
                None => Err(error),
            },
        }
    }

    /// Subscribes to the inbox, and waits for a probe message to arrive there.
    async fn prove(&self, needs_inbox: bool) -> Result<(), Error> {
        let inbox = format!("{}.*", self.inbox());
        let subscriber = self.subscribe(inbox.clone(), None).await?;
        tokio::spawn(receive(subscriber, Arc::clone(&self.events)));
        self.round_trip().await?;
        if needs_inbox && self.is_inbox_denied() {
            return Err(error::denied("subscribing to", &inbox, Delivery::NotSent)
                .with_hint("set `inbox_prefix` to what the user may subscribe to"));
        }
        Ok(())
    }

    /// Returns the address of the server, from the URL or as a server announced it.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Returns the way to the server.
    pub(super) fn route(&self) -> &Route {
        &self.route
    }

    /// Returns the server's id; a server takes a new id each time that it starts.
    pub(crate) fn server_id(&self) -> String {
        self.client.server_info().server_id
    }

    /// Returns the receive count for [`Link::expired`].
    pub(crate) fn received_so_far(&self) -> u64 {
        self.events.doubt.received_so_far()
    }

    /// Records that a call expired. `received_at_send` is the receive count when its request was
    /// handed over; the connection is in doubt if nothing has arrived since.
    pub(crate) fn expired(&self, received_at_send: u64) {
        if self.events.doubt.expired(received_at_send) {
            self.events.doubted.notify_one();
        }
    }

    /// Returns whether new calls may use the connection: it is neither lost nor in doubt.
    pub(crate) fn is_usable(&self) -> bool {
        !self.is_lost() && !self.events.doubt.is_doubted()
    }

    /// Returns whether the connection is in doubt.
    pub(crate) fn is_in_doubt(&self) -> bool {
        !self.is_lost() && self.events.doubt.is_doubted()
    }

    /// Waits until the connection is in doubt.
    pub(crate) async fn doubted(&self) {
        self.events.doubted.notified().await;
    }

    /// Returns why the connection was lost, if that is known.
    pub(crate) fn why_lost(&self) -> Option<Cow<'static, str>> {
        self.events.why_lost()
    }

    /// Waits for the server's last error after the connection is lost.
    pub(crate) async fn awaited_server_error(&self) -> Option<String> {
        self.events.awaited_server_error().await
    }

    /// Records that the previous connection probably read a message that it could not parse, which
    /// may end this connection as well.
    pub(crate) fn suspect(&self) {
        self.events.suspected.store(true, Ordering::Relaxed);
    }

    /// Returns the context that ends when the connection is lost.
    pub(crate) fn alive(&self) -> &Context {
        &self.events.alive
    }

    /// Returns the context that ends when the server announces its end (lame duck mode), and at the
    /// latest when the connection is lost.
    pub(crate) fn staying(&self) -> &Context {
        &self.events.staying
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.events.alive.cause().is_some()
    }

    pub(crate) fn calls(&self) -> &PendingCalls {
        &self.events.calls
    }

    /// Returns the subject of the inbox without its last token.
    pub(crate) fn inbox(&self) -> &str {
        &self.events.inbox
    }

    pub(crate) fn is_inbox_denied(&self) -> bool {
        lock(&self.events.proof).inbox_denied
    }

    /// Returns how often subscribing to a subject was denied.
    pub(crate) fn denials(&self, subject: &str) -> u64 {
        lock(&self.events.proof).denials.get(subject).copied().unwrap_or(0)
    }

    /// Waits until subscribing to a subject has been denied more often than `known`.
    ///
    /// The server may deny a subscription long after it was made, when a permission is taken away.
    pub(crate) async fn denied(&self, subject: &str, known: u64) {
        self.until_proved(|| (self.denials(subject) > known).then_some(())).await;
    }

    /// Waits until `check` returns `Some`; calls it again after each answer of the server.
    pub(crate) async fn until_proved<T>(&self, check: impl Fn() -> Option<T>) -> T {
        sync::until(&self.events.proved, check).await
    }

    /// Waits until the server denies the inbox.
    pub(crate) async fn inbox_denied(&self) {
        self.until_proved(|| self.is_inbox_denied().then_some(())).await;
    }

    /// Records that all subscriptions were proved or denied.
    pub(crate) fn confirm_subscriptions(&self) {
        self.events.confirm_subscriptions();
    }

    /// Gives the connection up: its owner makes another.
    pub(crate) fn mark_lost(&self) {
        self.events.mark_lost();
    }

    /// Returns the subscription id used with the server; only `Debug` of a subscriber shows it.
    pub(crate) fn sid(subscriber: &Subscriber) -> Option<u64> {
        let shown = format!("{subscriber:?}");
        let (_, rest) = shown.split_once("sid: ")?;
        rest.split_once(',')?.0.parse().ok()
    }

    /// Sends `UNSUB` for a subscription that the library keeps: messages sent before it still
    /// arrive.
    ///
    /// The library's own methods to unsubscribe drop its local state first, and with it all
    /// messages in between. But the library writes the reply subject of a message unchecked: here
    /// it contains the command, between two empty messages to this connection's inbox. A test
    /// proves that no message is lost. Fails if the library no longer accepts such a reply subject.
    pub(crate) async fn end_at_server(&self, sid: u64) -> Result<(), Error> {
        let nowhere = self.events.probe(0);
        let command = format!("{nowhere} 0\r\n\r\nUNSUB {sid}\r\nPUB {nowhere}");
        let published = message(nowhere.into(), Some(command.into()), None, Bytes::new());
        self.publish(published).await.map_err(error::publish)
    }

    /// Returns the last error of the server that names no subject, such as too many subscriptions.
    pub(crate) fn server_error(&self) -> Option<String> {
        lock(&self.events.proof).server_error.clone()
    }

    pub(crate) fn replies_denied(&self) -> u64 {
        self.events.replies_denied.load(Ordering::Relaxed)
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.events.dropped.load(Ordering::Relaxed)
    }

    /// Checks that the server accepts a message of so many bytes, headers included. Records an
    /// accepted length, since the message may be sent from now on.
    ///
    /// # Errors
    ///
    /// The limit that the message exceeds.
    pub(crate) fn check(&self, bytes: usize) -> Result<(), TooLong> {
        let announced = self.client.max_payload();
        match self
            .events
            .learned
            .payload
            .limit_if_exceeded(bytes)
            .filter(|limit| *limit < announced)
        {
            Some(bytes_max) => return Err(TooLong { bytes_max, is_learned: true }),
            None if bytes > announced => {
                return Err(TooLong { bytes_max: announced, is_learned: false });
            }
            None => {}
        }
        let longest = &self.events.longest;
        if bytes > longest.load(Ordering::Relaxed) {
            longest.fetch_max(bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Records that the connection was lost without an error of the server, which may have been
    /// lost as well: the next connection asks the server for its limit.
    pub(crate) fn suspect_limit(&self) {
        self.events.learned.payload.suspect(self.server_id());
    }

    /// Returns the other members of the cluster, as the server announced them.
    pub(crate) fn announced(&self) -> Vec<String> {
        self.client.server_info().connect_urls
    }

    /// Hands a message over to the client library. After `Ok` the message may have been sent. After
    /// an error, or if the future is dropped before it completes, the message was not sent and will
    /// not be.
    pub(crate) async fn publish(&self, message: OutboundMessage) -> Result<(), PublishError> {
        self.client.publish_message(message).await
    }

    /// Hands a message over if that is possible immediately, bypassing [`Link::outbox`]; returns it
    /// otherwise. For single messages, or many in a row from one task.
    #[allow(clippy::result_large_err, reason = "it is moved on at once; a box costs more")]
    pub(crate) fn try_send(&self, message: OutboundMessage) -> Result<(), OutboundMessage> {
        self.direct.try_send(message)
    }

    /// Returns the queue of messages, which leave together with those of other tasks.
    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Queues a cancel message to the servers behind a subject, without waiting. The message holds
    /// the call's permit until the client library has taken the message.
    pub(crate) fn cancel(&self, subject: String, reply: &str, permit: OwnedSemaphorePermit) {
        if self.is_lost() || self.events.cancel_denied.load(Ordering::Relaxed) {
            return;
        }
        let mut headers = HeaderMap::new();
        let Ok(value) = reply.parse::<HeaderValue>() else { return };
        headers.insert(HeaderName::from_static(RR_CANCEL), value);
        let message = message(subject.into(), None, Some(headers), Bytes::new());
        self.outbox.cancel(Cancel { message, _permit: permit });
    }

    pub(crate) async fn subscribe(
        &self,
        subject: String,
        queue: Option<String>,
    ) -> Result<Subscriber, Error> {
        let shown = subject.clone();
        let subscriber = match queue {
            Some(queue) => self.client.queue_subscribe(subject, queue).await,
            None => self.client.subscribe(subject).await,
        };
        subscriber.map_err(|source| error::subscribe(&shown, source))
    }

    /// Waits until the server has received everything that was handed over before: a probe message
    /// to the inbox comes back. If the probe is denied, the denial is the proof.
    ///
    /// Has no time limit; the caller sets one.
    pub(crate) async fn round_trip(&self) -> Result<(), Error> {
        let number = self.probes.fetch_add(1, Ordering::Relaxed) + 1;
        let subject = self.events.probe(number);
        self.outbox.flushed().await;
        let publish = self.publish(message(subject.clone().into(), None, None, Bytes::new()));
        publish.await.map_err(error::publish)?;
        let mut asked = false;
        loop {
            let mut proved = pin!(self.events.proved.notified());
            proved.as_mut().enable();
            let (seen, inbox_denied) = {
                let proof = lock(&self.events.proof);
                (proof.seen, proof.inbox_denied)
            };
            if seen >= number {
                return Ok(());
            }
            if inbox_denied && !asked {
                asked = true;
                // Without an inbox the probe cannot come back, but the denial of this subscription
                // does.
                drop(self.subscribe(subject.clone(), None).await?);
            }
            self.alive().race(proved).await.map_err(|_| error::not_connected())?;
        }
    }

    /// Waits until handed-over messages reach the socket, for at most [`FLUSH_MAX`].
    pub(crate) async fn flush(&self) {
        let limit = self.alive().with_timeout(FLUSH_MAX);
        let flushed = async {
            self.outbox.flushed().await;
            self.client.flush().await
        };
        let _ = limit.race(flushed).await;
    }
}

/// Returns the error of a connection that was not made: why there was no proof of identity, or why it
/// was refused.
fn explained(error: Error, setup: &LinkSetup, events: &Events) -> Error {
    match events.authentication.failure() {
        Some(failure) => failure,
        None if error.code() == Code::Unauthenticated => {
            error.with_hint(setup.config.credentials.hint())
        }
        None => error,
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.events.mark_lost();
    }
}

/// Makes a message.
pub(crate) fn message(
    subject: Subject,
    reply: Option<Subject>,
    headers: Option<HeaderMap>,
    payload: Bytes,
) -> OutboundMessage {
    OutboundMessage { subject, reply, payload, headers }
}

/// Returns the next message of a subscription; `None` when there are no more.
pub(crate) async fn next(subscriber: &mut Subscriber) -> Option<Message> {
    poll_fn(|cx| Pin::new(&mut *subscriber).poll_next(cx)).await
}

/// Passes on the messages of the inbox until the connection ends.
async fn receive(mut inbox: Subscriber, events: Arc<Events>) {
    let messages = async {
        while let Some(message) = next(&mut inbox).await {
            events.on_message(message);
        }
    };
    let _ = events.alive.race(messages).await;
    events.mark_lost();
}
