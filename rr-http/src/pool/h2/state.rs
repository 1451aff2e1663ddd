//! State of an HTTP/2 pool: its connections, the permits on them, and the decision when to dial.

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use h2::client::SendRequest;
use rr_spi::dial::DialProgress;
use rr_spi::{Deadline, Doubt, Error, Stage};
use tokio::time::Instant;

use super::outgoing::Outgoing;
use crate::config::HttpConfig;
use crate::error::closed_early;
use crate::pool::{AgeLimit, Dialer, Owned, REAP_PAUSE_MIN};
use crate::socket::Refused;

/// State of an HTTP/2 pool.
#[derive(Debug)]
pub(super) struct PoolState {
    dialer: Arc<Dialer>,
    connections: Vec<H2Connection>,
    connections_max: usize,
    streams_max: usize,
    idle_timeout: Duration,
    age: AgeLimit,
    /// Id of the next connection; ids only grow.
    next_id: u64,
    /// Number of calls that wait for a permit.
    waiting: usize,
    dialing: bool,
    /// Number of failed dials, and the last failure.
    failures: u64,
    failure: Option<Error>,
    /// Task that closes unused connections.
    pub(super) reaper: Owned,
    /// Task that dials.
    pub(super) dial: Owned,
    /// Progress of the last dial.
    pub(super) progress: Option<Arc<DialProgress>>,
}

/// One connection among those of the pool.
#[derive(Debug)]
struct H2Connection {
    id: u64,
    /// Opens streams. `None` once the connection takes no more calls; calls in flight continue.
    sender: Option<SendRequest<Outgoing>>,
    /// Maximum number of streams: the smaller of the configured and the server's limit. `None`
    /// until the server's SETTINGS arrive.
    streams_max: Option<usize>,
    in_use: usize,
    /// Whether a call has ever used the connection.
    used: bool,
    idle_since: Instant,
    /// From then on, the connection takes no new calls; `None` without a limit.
    retires: Option<Instant>,
    /// While in doubt, the connection takes no calls, and its task pings the peer.
    doubt: Arc<Doubt>,
    /// Consecutive calls that ended with nothing received since they were sent.
    unheard: usize,
    /// Wakes the task of the connection.
    task: Option<Waker>,
    refused: Refused,
}

/// Consecutive calls that end unheard before the connection is in doubt. Each of them resets a
/// stream, and a server ends the connection when too many resets await processing: h2 allows 20 by
/// default.
const UNHEARD_MAX: usize = 16;

/// Streams on a connection before its server's SETTINGS arrive, so that the first call is sent
/// immediately. More could be refused, or wait inside h2, where an unsent call cannot be told from
/// a sent one. The limit is zero while another connection takes calls.
const STREAMS_BEFORE_SETTINGS: usize = 1;

/// State of the pool when a call starts to wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitTicket {
    /// Id of the oldest connection that the call accepts.
    since: u64,
    /// Number of failures before the call, which do not concern it.
    failures: u64,
}

/// Permit of one stream on a connection.
#[derive(Debug)]
pub(super) struct StreamPermit {
    /// Id of the connection.
    pub(super) id: u64,
    /// Opens a stream.
    pub(super) sender: SendRequest<Outgoing>,
    pub(super) sent: Sent,
    pub(super) refused: Refused,
}

/// Receive count of the connection when a call took its permit, and the deadline of the call once
/// it is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    received: u64,
    pub(super) deadline: Option<Deadline>,
}

/// Next step of a waiting call.
pub(super) enum Step {
    Go(StreamPermit),
    Fail(Error),
    Dial,
    Wait,
}

impl PoolState {
    pub(super) fn new(dialer: Arc<Dialer>, config: &HttpConfig) -> Self {
        Self {
            dialer,
            connections: Vec::new(),
            connections_max: config.h2_connections_max.max(1),
            streams_max: config.h2_streams_max.max(1),
            idle_timeout: config.idle_timeout,
            age: AgeLimit::new(config.connection_age_max),
            next_id: 0,
            waiting: 0,
            dialing: false,
            failures: 0,
            failure: None,
            reaper: Owned::default(),
            dial: Owned::default(),
            progress: None,
        }
    }

    /// Takes a permit immediately, unless none is free or other calls wait.
    pub(super) fn take_unless_others_wait(&mut self) -> Option<StreamPermit> {
        if self.waiting > 0 { None } else { self.take_permit(0) }
    }

    /// Registers a call that waits for a permit: on a connection made from now on if `fresh`,
    /// otherwise on any.
    pub(super) fn wait(&mut self, fresh: bool) -> WaitTicket {
        self.waiting += 1;
        WaitTicket { since: if fresh { self.next_id } else { 0 }, failures: self.failures }
    }

    pub(super) fn wait_no_more(&mut self) {
        self.waiting -= 1;
    }

    pub(super) fn someone_waits(&self) -> bool {
        self.waiting > 0
    }

    /// Returns the next step of the first waiting call.
    pub(super) fn step(&mut self, ticket: WaitTicket) -> Step {
        if let Some(place) = self.take_permit(ticket.since) {
            return Step::Go(place);
        }
        let usable = self.usable().count();
        let failed_since = self.failures > ticket.failures;
        if let Some(failure) = self.failure.as_ref().filter(|_| failed_since && usable == 0) {
            return Step::Fail(failure.clone());
        }
        // A connection that awaits its server's SETTINGS may soon have capacity for all calls.
        let settled = self.usable().all(|link| link.streams_max.is_some());
        if self.has_place() && settled && !self.dialing && !(failed_since && self.failure.is_some())
        {
            self.dialing = true;
            return Step::Dial;
        }
        let old_will_do = ticket.since > 0 && !self.dialing;
        old_will_do.then(|| self.take_permit(0)).flatten().map_or(Step::Wait, Step::Go)
    }

    /// Returns what a call waits for: a stream, or a connection that is being made.
    pub(super) fn awaited(&self) -> Stage {
        let is_full = self.usable().next().is_some() && !self.is_connecting();
        if is_full { Stage::Place } else { Stage::Connection }
    }

    /// Returns the progress of the connection that is being made.
    pub(super) fn progress(&self) -> Option<Arc<DialProgress>> {
        self.progress.clone().filter(|_| self.is_connecting())
    }

    /// Returns whether a dial is in progress, or a connection awaits its server's SETTINGS.
    fn is_connecting(&self) -> bool {
        self.dialing || self.usable().any(|link| link.streams_max.is_none())
    }

    /// Returns the number of streams in use, their maximum, and the number of connections.
    pub(super) fn load(&self) -> (usize, usize, usize) {
        let in_use = self.usable().map(|link| link.in_use).sum();
        let max = self.usable().map(|link| link.streams_max.unwrap_or(STREAMS_BEFORE_SETTINGS));
        (in_use, max.sum(), self.usable().count())
    }

    /// Returns whether one more connection is allowed.
    pub(super) fn has_place(&self) -> bool {
        self.usable().count() < self.connections_max
            // As many again may be closing, with calls in flight.
            && self.connections.len() < self.connections_max.saturating_mul(2)
    }

    /// Takes a permit on the oldest connection that has one free, so that connections made for a
    /// burst run empty and end.
    fn take_permit(&mut self, since: u64) -> Option<StreamPermit> {
        self.expire();
        loop {
            let serves = self.usable().any(|link| link.streams_max.is_some());
            let unsettled_max = if serves { 0 } else { STREAMS_BEFORE_SETTINGS };
            let room = |link: &&mut H2Connection| link.id >= since && link.has_room(unsettled_max);
            // A connection that was in doubt and has answered may have been replaced meanwhile.
            let usable = self.connections.iter_mut().filter(|link| link.is_usable());
            let link = usable.take(self.connections_max).find(room)?;
            let id = link.id;
            if let Some(sender) = link.live() {
                link.in_use += 1;
                link.used = true;
                let sent = Sent { received: link.doubt.received_so_far(), deadline: None };
                let refused = link.refused.clone();
                return Some(StreamPermit { id, sender, sent, refused });
            }
            self.retire(id);
        }
    }

    /// Releases a permit. The connection is in doubt from then on if the call expired with nothing
    /// received since it was sent, or if several consecutive calls ended unheard. In that case,
    /// returns the waker of the connection's task, which pings the peer.
    pub(super) fn release(&mut self, id: u64, sent: Sent) -> Option<Waker> {
        let idle_timeout = self.idle_timeout;
        let link = self.find(id)?;
        link.in_use -= 1;
        if link.in_use == 0 {
            link.idle_since = Instant::now();
            if idle_timeout.is_zero() {
                link.sender = None;
            }
        }
        if link.doubt.received_so_far() != sent.received {
            link.unheard = 0;
            return None;
        }
        link.unheard += 1;
        // The clock is read only if nothing was received.
        let is_suspect =
            link.unheard >= UNHEARD_MAX || sent.deadline.is_some_and(Deadline::has_passed);
        if is_suspect {
            // The answer to the ping shows that the server has read the resets.
            link.unheard = 0;
        }
        (is_suspect && link.doubt.expired(sent.received)).then(|| link.task.clone()).flatten()
    }

    /// Adds a connection, and returns its id.
    pub(super) fn add(
        &mut self,
        sender: SendRequest<Outgoing>,
        doubt: Arc<Doubt>,
        refused: Refused,
    ) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.connections.push(H2Connection {
            id,
            sender: Some(sender),
            streams_max: None,
            in_use: 0,
            used: false,
            idle_since: Instant::now(),
            retires: self.age.retires_at(),
            doubt,
            unheard: 0,
            task: None,
            refused,
        });
        id
    }

    /// Ends a dial; `failure` is its error, if it failed.
    pub(super) fn dialed(&mut self, failure: Option<Error>) {
        self.dialing = false;
        if let Some(failure) = failure {
            self.fail(failure);
        }
    }

    /// Sets the stream limit that the server of a connection allows.
    pub(super) fn set_peer_limit(&mut self, id: u64, allowed: usize) {
        let streams_max = self.streams_max;
        if let Some(link) = self.find(id) {
            link.streams_max = Some(allowed.min(streams_max));
        }
    }

    /// Returns whether there is no connection and no dial in progress.
    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty() && !self.dialing
    }

    /// Returns the number of calls on a connection, and stores the waker of its task. Also returns
    /// the previous waker.
    pub(super) fn in_use(&mut self, id: u64, task: &Waker) -> (usize, Option<Waker>) {
        let Some(link) = self.find(id) else { return (0, None) };
        if link.task.as_ref().is_some_and(|known| known.will_wake(task)) {
            return (link.in_use, None);
        }
        (link.in_use, link.task.replace(task.clone()))
    }

    /// Stops new calls on a connection; calls in flight continue.
    pub(super) fn retire(&mut self, id: u64) {
        let Some(link) = self.find(id) else { return };
        if link.sender.take().is_none() {
            return;
        }
        let was_of_use = link.used && link.streams_max.is_some();
        let refused = link.refused.clone();
        if self.usable().next().is_none() {
            // The last usable connection existed until now: waiting calls may dial again.
            self.failure = None;
        }
        if !was_of_use {
            // Counts as a failed dial: otherwise waiting calls would dial one connection after
            // another.
            let refusal = refused.not_sent();
            self.fail(refusal.unwrap_or_else(|| closed_early(&self.dialer.authority)));
        }
    }

    /// Removes a connection that has ended.
    pub(super) fn remove(&mut self, id: u64) {
        self.retire(id);
        self.connections.retain(|link| link.id != id);
    }

    /// Closes connections that have been unused for too long, and stops new calls on connections
    /// that are too old. Returns whether any take calls.
    pub(super) fn expire(&mut self) -> bool {
        // A connection that was just made counts as unused too.
        let idle_timeout = self.idle_timeout.max(REAP_PAUSE_MIN);
        let now = Instant::now();
        for link in &mut self.connections {
            let is_idle = link.in_use == 0 && now - link.idle_since >= idle_timeout;
            if is_idle || link.retires.is_some_and(|retires| retires <= now) {
                link.sender = None;
            }
        }
        self.connections.iter().any(|link| link.sender.is_some())
    }

    /// Records the failure of a dial or a connection. Calls that already wait may return it.
    fn fail(&mut self, failure: Error) {
        self.failures += 1;
        self.failure = Some(failure);
    }

    /// Returns the connections that take calls: a connection in doubt does not until its peer
    /// answers.
    fn usable(&self) -> impl Iterator<Item = &H2Connection> {
        self.connections.iter().filter(|link| link.is_usable())
    }

    fn find(&mut self, id: u64) -> Option<&mut H2Connection> {
        self.connections.iter_mut().find(|link| link.id == id)
    }
}

impl H2Connection {
    /// Returns whether a permit is free. The limit is `unsettled_max` until the server's SETTINGS
    /// arrive.
    fn has_room(&self, unsettled_max: usize) -> bool {
        self.is_usable() && self.in_use < self.streams_max.unwrap_or(unsettled_max)
    }

    fn is_usable(&self) -> bool {
        self.sender.is_some() && !self.doubt.is_doubted()
    }

    /// Returns the sender, unless the connection has ended or received a GOAWAY.
    fn live(&mut self) -> Option<SendRequest<Outgoing>> {
        let mut sender = self.sender.clone()?;
        let mut cx = TaskContext::from_waker(Waker::noop());
        matches!(sender.poll_ready(&mut cx), Poll::Ready(Ok(()))).then_some(sender)
    }
}

#[cfg(test)]
mod tests;
