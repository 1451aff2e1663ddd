//! Events of one connection: its loss, denials and proofs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::{ClientError, Event, Message, ServerError};
use rr_spi::dial::DialProgress;
use rr_spi::observe::Monitor;
use rr_spi::{CancelHandle, Cause, Context, Doubt};
use tokio::sync::Notify;

use super::authenticate::Authentication;
use super::learned::Learned;
use super::pending_calls::PendingCalls;
use crate::error::{self, ServerErrorKind, Violation};
use crate::sync::{self, lock};
use crate::wire::{CANCEL, Token};

/// Number of denials since the last confirmation after which a connection is given up: permissions
/// were taken away, and the client library drops events when more than 128 arrive together.
const DENIALS_MAX: usize = 64;

/// Longest wait, after the end of a connection, for the error with which the server ended it: the
/// error arrives through a channel and a task of the client library.
const LAST_ERROR_MAX: Duration = Duration::from_millis(20);

/// State of one connection, updated by callbacks of the client library.
pub(super) struct Events {
    /// The subject of the inbox without its last token.
    pub(super) inbox: String,
    pub(super) calls: PendingCalls,
    pub(super) learned: Arc<Learned>,
    /// Length of the longest message that may have been sent, in bytes with its headers.
    pub(super) longest: AtomicUsize,
    /// Ends when the connection is lost.
    pub(super) alive: Context,
    life: CancelHandle,
    /// Ends when the server announces its end (lame duck mode), at the latest with `alive`.
    pub(super) staying: Context,
    stay: CancelHandle,
    pub(super) authentication: Authentication,
    /// Progress of the dial that makes the connection.
    pub(super) dial: Arc<DialProgress>,
    dials: AtomicUsize,
    refusing: AtomicBool,
    /// Denials since all subscriptions were confirmed; `None` before.
    denied: Mutex<Option<usize>>,
    pub(super) proof: Mutex<Proof>,
    pub(super) proved: Notify,
    pub(super) cancel_denied: AtomicBool,
    pub(super) dropped: AtomicU64,
    pub(super) replies_denied: AtomicU64,
    /// Whether the peer still answers.
    pub(super) doubt: Doubt,
    pub(super) doubted: Notify,
    /// Whether the previous connection was lost without a reason of its server.
    pub(super) suspected: AtomicBool,
}

/// Answers of the server.
#[derive(Debug, Default)]
pub(super) struct Proof {
    /// The number of the last probe that came back.
    pub(super) seen: u64,
    pub(super) inbox_denied: bool,
    /// Number of denied subscriptions by subject.
    pub(super) denials: BTreeMap<String, u64>,
    /// The last server error that is not a permission violation.
    pub(super) server_error: Option<String>,
    /// Whether the client library has reported the end of the connection.
    over: bool,
}

impl Events {
    pub(super) fn new(
        inbox: String,
        prefix: String,
        learned: Arc<Learned>,
        monitor: Monitor,
        dial: Arc<DialProgress>,
    ) -> Self {
        let (alive, life) = Context::background().child();
        let (staying, stay) = alive.child();
        Self {
            calls: PendingCalls::new(inbox.clone(), prefix, Arc::clone(&learned), monitor),
            learned,
            longest: AtomicUsize::new(0),
            inbox,
            alive,
            life,
            staying,
            stay,
            authentication: Authentication::default(),
            dial,
            dials: AtomicUsize::new(0),
            refusing: AtomicBool::new(false),
            denied: Mutex::default(),
            proof: Mutex::default(),
            proved: Notify::new(),
            cancel_denied: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            replies_denied: AtomicU64::new(0),
            doubt: Doubt::default(),
            doubted: Notify::new(),
            suspected: AtomicBool::new(false),
        }
    }

    /// Called by the client library before each attempt to connect. The second call is a reconnect:
    /// the connection is lost, and the reconnect is refused. Unlike events, this call is never
    /// dropped.
    pub(super) fn dialling(&self) {
        if self.dials.fetch_add(1, Ordering::SeqCst) > 0 {
            self.refusing.store(true, Ordering::SeqCst);
            self.mark_lost();
        }
    }

    /// Returns whether authentication must fail, so that the client library does not reconnect.
    pub(super) fn is_refusing(&self) -> bool {
        self.refusing.load(Ordering::SeqCst)
    }

    /// Ends every call on this connection.
    pub(super) fn mark_lost(&self) {
        // The context ends first: a call that ends here and is made again must not find this
        // connection.
        self.life.cancel_with(Cause::PeerGone);
        self.calls.mark_lost();
        self.proved.notify_waiters();
    }

    pub(super) fn on_event(&self, event: Event) {
        match event {
            Event::Disconnected
            | Event::Closed
            | Event::ClientError(ClientError::MaxReconnects) => {
                lock(&self.proof).over = true;
                self.mark_lost();
            }
            Event::ServerError(ServerError::Other(text)) => match Violation::parse(&text) {
                Some(violation) => self.on_violation(violation),
                None => self.on_server_error(text),
            },
            Event::LameDuckMode => self.stay.cancel_with(Cause::Shutdown),
            Event::SlowConsumer(_) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    fn on_server_error(&self, text: String) {
        if ServerErrorKind::parse(&text) == ServerErrorKind::Payload {
            self.learned.payload.record_exceeded(self.longest.load(Ordering::Relaxed));
        }
        lock(&self.proof).server_error = Some(text);
    }

    /// Returns why the connection was lost: the server's error, or else the likely cause.
    pub(super) fn why_lost(&self) -> Option<Cow<'static, str>> {
        let said = lock(&self.proof).server_error.clone();
        let said = said.map(|text| format!("the server said \"{text}\"").into());
        let suspected = self.suspected.load(Ordering::Relaxed);
        said.or_else(|| suspected.then_some(error::UNREADABLE.into()))
    }

    /// Waits until the client library has reported why the connection was lost, for at most
    /// [`LAST_ERROR_MAX`]. Returns the server's error.
    pub(super) async fn awaited_server_error(&self) -> Option<String> {
        let over = sync::until(&self.proved, || {
            let proof = lock(&self.proof);
            (proof.over || proof.server_error.is_some()).then_some(())
        });
        let _ = Context::background().with_timeout(LAST_ERROR_MAX).race(over).await;
        lock(&self.proof).server_error.clone()
    }

    fn on_violation(&self, violation: Violation<'_>) {
        match violation {
            Violation::Publish(subject) => match self.probe_number(subject) {
                Some(number) => self.prove(number),
                None if subject.starts_with(CANCEL) => {
                    self.cancel_denied.store(true, Ordering::Relaxed);
                }
                None if !self.calls.deny(subject) => {
                    self.replies_denied.fetch_add(1, Ordering::Relaxed);
                }
                None => {}
            },
            Violation::Reply(subject) => {
                if let Some(token) = self.token_of(subject) {
                    self.calls.deny_reply(token);
                }
            }
            Violation::Subscribe(subject) => match self.probe_number(subject) {
                Some(number) => self.prove(number),
                None => self.on_subscription_denied(subject),
            },
        }
    }

    fn on_subscription_denied(&self, subject: &str) {
        let mut proof = lock(&self.proof);
        if self.token_of(subject) == Some("*") {
            proof.inbox_denied = true;
        } else {
            // Bounded: one entry for each subject that was subscribed to.
            *proof.denials.entry(subject.to_owned()).or_default() += 1;
        }
        drop(proof);
        self.proved.notify_waiters();
        if lock(&self.denied).as_mut().is_some_and(|denied| {
            *denied += 1;
            *denied > DENIALS_MAX
        }) {
            self.mark_lost();
        }
    }

    /// Records that the server has accepted or denied all subscriptions. Later denials count
    /// towards [`DENIALS_MAX`].
    pub(super) fn confirm_subscriptions(&self) {
        *lock(&self.denied) = Some(0);
    }

    /// Handles a message that arrived in the inbox.
    pub(super) fn on_message(&self, message: Message) {
        self.doubt.received();
        if let Some(number) = self.probe_number(&message.subject) {
            return self.prove(number);
        }
        let token = self.token_of(&message.subject).and_then(Token::parse);
        self.calls.deliver(token, message);
    }

    /// Returns the subject of a probe.
    pub(super) fn probe(&self, number: u64) -> String {
        format!("{}.p{number}", self.inbox)
    }

    /// Records that the server has answered the probe of this number.
    fn prove(&self, number: u64) {
        let mut proof = lock(&self.proof);
        proof.seen = proof.seen.max(number);
        drop(proof);
        self.proved.notify_waiters();
    }

    fn probe_number(&self, subject: &str) -> Option<u64> {
        self.token_of(subject)?.strip_prefix('p')?.parse().ok()
    }

    fn token_of<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(&self.inbox)?.strip_prefix('.')
    }
}
