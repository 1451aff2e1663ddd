//! Calls that wait for a reply on one connection.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use async_nats::{Message, Subject};
use bytes::BytesMut;
use rr_spi::observe::{Event, Monitor};
use rr_spi::{Delivery, Error, Target};
use slab::Slab;
use tokio::time::Instant;

use super::collected::{Collected, Ended, HeldMax, Reception};
use super::learned::{Answered, Learned};
use super::stats::NatsStats;
use crate::error;
use crate::wire::{Token, subject_of, target_of};

use crate::sync::lock;

/// Maximum number of targets whose subject is kept; calls of further targets build the subject each
/// time.
const TARGETS_MAX: usize = 1024;

/// Bytes allocated together for reply subjects: some eighty subjects.
const REPLIES_BYTES: usize = 4096;

/// Time for which calls to a denied subject are refused locally: long enough to spare the server,
/// short enough that a granted permission soon takes effect.
const DENIED: Duration = Duration::from_secs(1);

/// Calls that wait for a reply on one connection.
#[derive(Debug)]
pub(crate) struct PendingCalls {
    /// The subject of the inbox without its last token.
    inbox: String,
    prefix: String,
    learned: Arc<Learned>,
    monitor: Monitor,
    table: Mutex<Table>,
    late: AtomicU64,
    duplicate: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    lost: bool,
    entries: Slab<Entry>,
    /// Answered calls that have released their slot.
    answered: Answered,
    traffic: HashMap<Target, Traffic>,
    /// Buffer for reply subjects, many to an allocation. A subject lives until its request is
    /// written.
    replies: BytesMut,
}

#[derive(Debug)]
struct Entry {
    secret: u64,
    target: Target,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting(Option<Waker>),
    Done(Outcome),
    /// A reply was handed out.
    Answered,
    /// Another outcome than a reply was handed out.
    Failed,
    /// The request may have several replies.
    Collecting(Box<Collected>),
}

/// Outcome of a call.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly every call ends in a reply; a box costs more")]
pub(crate) enum Outcome {
    /// A message arrived.
    Reply(Message),
    /// The connection was lost.
    Lost,
    /// The server denied the subject.
    Denied(Delivery),
}

/// Publish and denial counts of one target on this connection.
#[derive(Debug)]
struct Traffic {
    subject: Subject,
    /// Upper bound of the requests that the server received.
    published: u64,
    /// Lower bound of the requests that the server denied.
    denied: u64,
    denied_until: Option<Instant>,
}

/// Slot taken for a call.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) token: Token,
    /// The subject to publish to.
    pub(crate) subject: Subject,
    /// The subject of the reply.
    pub(crate) reply: Subject,
    /// Whether no other call is in flight on the connection.
    pub(crate) alone: bool,
}

impl PendingCalls {
    pub(super) fn new(
        inbox: String,
        prefix: String,
        learned: Arc<Learned>,
        monitor: Monitor,
    ) -> Self {
        let (late, duplicate) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { inbox, prefix, learned, monitor, table: Mutex::default(), late, duplicate }
    }

    /// Takes a slot for a call.
    pub(crate) fn take_slot(&self, target: &Target, secret: u64) -> Result<Slot, Error> {
        let mut table = lock(&self.table);
        if table.lost {
            return Err(error::not_connected());
        }
        let subject = match table.traffic.get_mut(target) {
            Some(traffic) => {
                if traffic.denied_until.is_some_and(|until| Instant::now() < until) {
                    let subject = traffic.subject.clone();
                    return Err(error::denied("publishing to", &subject, Delivery::NotSent));
                }
                traffic.published += 1;
                traffic.subject.clone()
            }
            None => {
                let subject = Subject::from(subject_of(&self.prefix, target));
                if table.traffic.len() < TARGETS_MAX {
                    let traffic = Traffic {
                        subject: subject.clone(),
                        published: 1,
                        denied: 0,
                        denied_until: None,
                    };
                    table.traffic.insert(target.clone(), traffic);
                }
                subject
            }
        };
        let state = State::Waiting(None);
        let slot = table.entries.insert(Entry { secret, target: target.clone(), state });
        let token = Token { slot, secret };
        let reply = table.reply_to(token, &self.inbox);
        Ok(Slot { token, subject, reply, alone: table.entries.len() == 1 })
    }

    /// Polls a slot for its outcome, which is handed out once.
    pub(crate) fn poll(&self, token: Token, waker: &Waker) -> Poll<Outcome> {
        let mut table = lock(&self.table);
        let Some(entry) = table.entries.get_mut(token.slot) else { return Poll::Pending };
        match &mut entry.state {
            State::Waiting(Some(known)) => {
                known.clone_from(waker);
                Poll::Pending
            }
            State::Waiting(none) => {
                *none = Some(waker.clone());
                Poll::Pending
            }
            State::Answered | State::Failed | State::Collecting(_) => Poll::Pending,
            State::Done(outcome) => {
                let is_reply = matches!(outcome, Outcome::Reply(_));
                let next = if is_reply { State::Answered } else { State::Failed };
                match std::mem::replace(&mut entry.state, next) {
                    State::Done(outcome) => Poll::Ready(outcome),
                    _ => Poll::Pending,
                }
            }
        }
    }

    /// Makes a slot that was just taken accept several replies.
    pub(crate) fn collect(&self, token: Token, max: HeldMax) {
        if let Some(entry) = lock(&self.table).entries.get_mut(token.slot) {
            let collecting = State::Collecting(Box::new(Collected::new(max)));
            // The connection may have been lost in between.
            if let State::Done(outcome) = std::mem::replace(&mut entry.state, collecting) {
                entry.complete(outcome);
            }
        }
    }

    /// Polls a slot that accepts several replies for the next one.
    pub(crate) fn poll_next(&self, token: Token, waker: &Waker) -> Poll<Result<Message, Ended>> {
        let mut table = lock(&self.table);
        match table.entries.get_mut(token.slot).map(|entry| &mut entry.state) {
            Some(State::Collecting(collected)) => collected.poll(waker),
            _ => Poll::Pending,
        }
    }

    /// Frees a slot.
    pub(crate) fn release_slot(&self, token: Token) {
        let mut table = lock(&self.table);
        let Some(entry) = table.entries.try_remove(token.slot) else { return };
        if let State::Collecting(collected) = &entry.state {
            self.late.fetch_add(collected.unread(), Ordering::Relaxed);
        }
        if entry.state.is_answered() {
            table.answered.push(token, entry.target);
        }
    }

    /// Hands a message to the slot that its token names.
    pub(super) fn deliver(&self, token: Option<Token>, message: Message) {
        let Some(token) = token else { return self.record_late() };
        let mut table = lock(&self.table);
        let mut is_late = false;
        let Table { entries, answered, .. } = &mut *table;
        let entry = entries.get_mut(token.slot).filter(|entry| entry.secret == token.secret);
        let waker = match entry {
            Some(entry) => match &mut entry.state {
                State::Waiting(waker) => {
                    let waker = waker.take();
                    entry.state = State::Done(Outcome::Reply(message));
                    waker
                }
                State::Collecting(collected) => {
                    match collected.push(message) {
                        Reception::First => {}
                        Reception::Further => self.learned.record_repeated(&entry.target),
                        Reception::Late => is_late = true,
                    }
                    collected.take_waker()
                }
                state if state.is_answered() => return self.record_repeated(&entry.target),
                _ => {
                    is_late = true;
                    None
                }
            },
            None => match answered.find(token) {
                Some(target) => return self.record_repeated(target),
                None => {
                    is_late = true;
                    None
                }
            },
        };
        drop(table);
        if is_late {
            self.record_late();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Records a reply to a call that already had one. Runs under the lock, so that a call that
    /// decodes its first reply later sees the record.
    fn record_repeated(&self, target: &Target) {
        self.duplicate.fetch_add(1, Ordering::Relaxed);
        self.learned.record_repeated(target);
    }

    /// Records a reply to a call that has ended. Not under the lock, since observers are foreign
    /// code.
    fn record_late(&self) {
        self.late.fetch_add(1, Ordering::Relaxed);
        self.monitor.event(&Event::LateReply);
    }

    /// Ends every call whose subject the server denied.
    ///
    /// The server does not say which publish it denied. If it denied as many as were published,
    /// none got through: only then do the calls report `NotSent`. Returns whether a call was woken.
    pub(super) fn deny(&self, subject: &str) -> bool {
        let Some(target) = target_of(&self.prefix, subject) else { return false };
        let Ok(target) = Target::parse(target) else { return false };
        let mut table = lock(&self.table);
        let mut delivery = Delivery::Unknown;
        if let Some(traffic) = table.traffic.get_mut(&target) {
            traffic.denied += 1;
            traffic.denied_until = Some(Instant::now() + DENIED);
            if traffic.denied >= traffic.published {
                delivery = Delivery::NotSent;
            }
        }
        let wakers =
            table.complete(|entry| (entry.target == target).then_some(Outcome::Denied(delivery)));
        drop(table);
        wake(wakers)
    }

    /// Ends the call whose reply subject the server denied: its request was not passed on.
    pub(super) fn deny_reply(&self, token: &str) {
        let Some(token) = Token::parse(token) else { return };
        let mut table = lock(&self.table);
        let waker = table.entries.get_mut(token.slot).and_then(|entry| {
            let ours = entry.secret == token.secret;
            ours.then(|| entry.complete(Outcome::Denied(Delivery::NotSent))).flatten()
        });
        drop(table);
        wake(waker.into_iter().collect());
    }

    /// Records that the connection is lost: ends all calls, and refuses later ones.
    pub(super) fn mark_lost(&self) {
        let mut table = lock(&self.table);
        table.lost = true;
        let wakers = table.complete(|_| Some(Outcome::Lost));
        drop(table);
        wake(wakers);
    }

    pub(crate) fn stats(&self) -> NatsStats {
        NatsStats {
            in_flight: lock(&self.table).entries.len(),
            late_replies: self.late.load(Ordering::Relaxed),
            duplicate_replies: self.duplicate.load(Ordering::Relaxed),
            connects: 1,
        }
    }
}

impl Table {
    fn reply_to(&mut self, token: Token, inbox: &str) -> Subject {
        if self.replies.capacity() < inbox.len() + Token::BYTES_MAX {
            self.replies = BytesMut::with_capacity(REPLIES_BYTES + inbox.len());
        }
        token.write(inbox, &mut self.replies);
        let text = self.replies.split().freeze();
        // The subject is ASCII, so that this never fails.
        Subject::from_utf8(text).unwrap_or_else(|_| token.subject(inbox).into())
    }

    /// Ends the waiting calls for which `outcome` returns one, in the order of their slots. Returns
    /// their wakers.
    fn complete(&mut self, outcome: impl Fn(&Entry) -> Option<Outcome>) -> Vec<Waker> {
        let entries = self.entries.iter_mut();
        let waiting = entries.map(|(_, entry)| outcome(entry).and_then(|it| entry.complete(it)));
        waiting.flatten().collect()
    }
}

impl State {
    /// Returns whether the call had its reply.
    fn is_answered(&self) -> bool {
        match self {
            Self::Collecting(collected) => collected.is_answered(),
            _ => matches!(self, Self::Answered | Self::Done(Outcome::Reply(_))),
        }
    }
}

impl Entry {
    /// Ends a call that still waits, and returns its waker.
    fn complete(&mut self, outcome: Outcome) -> Option<Waker> {
        match &mut self.state {
            State::Waiting(waker) => {
                let waker = waker.take();
                self.state = State::Done(outcome);
                waker
            }
            State::Collecting(collected) => {
                match outcome {
                    Outcome::Lost => collected.end_with(Ended::Lost),
                    Outcome::Denied(delivery) => collected.end_with(Ended::Denied(delivery)),
                    Outcome::Reply(_) => {}
                }
                collected.take_waker()
            }
            _ => None,
        }
    }
}

fn wake(wakers: Vec<Waker>) -> bool {
    let any = !wakers.is_empty();
    wakers.into_iter().for_each(Waker::wake);
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &'static str) -> Target {
        Target::try_from(name).unwrap()
    }

    fn calls(prefix: &str) -> PendingCalls {
        PendingCalls::new(
            "_INBOX.x".to_owned(),
            prefix.to_owned(),
            Arc::default(),
            Monitor::default(),
        )
    }

    fn message() -> Message {
        Message {
            subject: "s".into(),
            reply: None,
            payload: "x".into(),
            headers: None,
            status: None,
            description: None,
            length: 0,
        }
    }

    #[test]
    fn a_reused_slot_takes_no_reply_of_its_former_call() {
        let calls = calls("");
        let Slot { token: first, subject, .. } = calls.take_slot(&target("a.b"), 1).unwrap();
        assert_eq!(subject.as_str(), "a.b");
        calls.release_slot(first);
        let second = calls.take_slot(&target("a.b"), 2).unwrap().token;
        assert_eq!(second.slot, first.slot);
        calls.deliver(Some(first), message());
        assert!(calls.poll(second, Waker::noop()).is_pending());
        calls.deliver(Some(second), message());
        calls.deliver(Some(second), message());
        assert!(matches!(calls.poll(second, Waker::noop()), Poll::Ready(Outcome::Reply(_))));
        let stats = calls.stats();
        assert_eq!((stats.late_replies, stats.duplicate_replies), (1, 1));
        calls.release_slot(second);
        assert_eq!(calls.stats().in_flight, 0);
    }

    #[test]
    fn a_second_reply_marks_its_target_whenever_it_comes() {
        let calls = calls("");
        let take = |name, secret| calls.take_slot(&target(name), secret).unwrap().token;
        let reply = |token| calls.deliver(Some(token), message());
        let (waiting, ended, late) = (take("a.waiting", 1), take("a.ended", 2), take("a.late", 3));
        reply(waiting);
        reply(waiting);
        reply(ended);
        assert!(calls.poll(ended, Waker::noop()).is_ready());
        calls.release_slot(ended);
        let _ = take("a.other", 4);
        reply(ended);
        // A reply whose call gave up before it arrived is late, not a second one.
        calls.release_slot(late);
        reply(late);
        let stats = calls.stats();
        assert_eq!((stats.late_replies, stats.duplicate_replies), (1, 2));
        let marked = |name| calls.learned.is_repeated(&target(name));
        assert!(marked("a.waiting") && marked("a.ended"));
        assert!(!marked("a.late") && !marked("a.other"));
    }

    #[test]
    fn a_denial_claims_not_sent_only_when_everything_was_denied() {
        let calls = calls("team");
        let Slot { token: one, subject, reply, alone } =
            calls.take_slot(&target("a.b"), 1).unwrap();
        assert_eq!(subject.as_str(), "team.a.b");
        let other = calls.take_slot(&target("a.c"), 1).unwrap();
        assert!(alone && !other.alone);
        assert_ne!(reply, other.reply);
        assert_eq!(reply.as_str(), one.subject("_INBOX.x"));
        let other = other.token;
        calls.deny("team.a.b");
        let outcome = calls.poll(one, Waker::noop());
        assert!(matches!(outcome, Poll::Ready(Outcome::Denied(Delivery::NotSent))));
        assert!(calls.poll(other, Waker::noop()).is_pending());
        let refused = calls.take_slot(&target("a.b"), 2).unwrap_err();
        assert_eq!(refused.delivery(), Delivery::NotSent);

        let second = calls.take_slot(&target("a.c"), 1).unwrap().token;
        calls.deny("team.a.c");
        for token in [other, second] {
            let outcome = calls.poll(token, Waker::noop());
            assert!(matches!(outcome, Poll::Ready(Outcome::Denied(Delivery::Unknown))));
        }
    }

    #[test]
    fn a_lost_connection_ends_every_call_and_takes_no_more() {
        let calls = calls("");
        let token = calls.take_slot(&target("a"), 1).unwrap().token;
        calls.mark_lost();
        assert!(matches!(calls.poll(token, Waker::noop()), Poll::Ready(Outcome::Lost)));
        assert!(calls.take_slot(&target("a"), 2).is_err());
    }
}
