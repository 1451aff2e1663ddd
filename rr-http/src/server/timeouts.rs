//! Tracks connection activity; one timer per connection enforces the idle, header-read and write
//! timeouts.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_spi::{BodyAccount, BodyBudget};
use tokio::time::Instant;

use crate::config::HttpServerConfig;
use crate::sync::lock;

/// Shortest and longest time between two checks of a connection, whatever its timeouts are: a check
/// costs little, and a timer has a maximum.
const CHECK_MIN: Duration = Duration::from_millis(5);
pub(super) const CHECK_MAX: Duration = Duration::from_secs(60 * 60);

/// Fewest bytes that must leave within a write timeout to restart it. Otherwise a peer that reads
/// single bytes could hold its replies, and their part of `bodies_bytes_max`, indefinitely.
/// The value is one HTTP/2 frame of the default size; at the default timeout half a KiB per second.
pub(super) const PROGRESS_BYTES_MIN: usize = 16 * 1024;

/// Activity of a connection: recorded by its socket, its requests and its replies, and checked
/// periodically. Recording sets no timer, so that a request needs none.
pub(super) struct ActivityMonitor {
    born: Instant,
    timeouts: Timeouts,
    state: Mutex<State>,
    /// Part of the server's body budget that the connection holds.
    account: Arc<BodyAccount>,
}

/// Times are ages of the connection. The clock is read only for a state that still holds after the
/// connection was polled.
#[derive(Default)]
struct State {
    /// Number of requests being answered, and of unread bodies being discarded.
    active: usize,
    /// Number of replies of [`WriteRule::Progress`] that have not wholly left.
    leaving: usize,
    /// Start of the unused time.
    idle_since: Duration,
    /// Whether the head of an HTTP/1 request has begun to arrive, and when.
    head_began: bool,
    head_since: Option<Duration>,
    /// Time since which the socket has accepted neither all bytes nor [`PROGRESS_BYTES_MIN`] of
    /// them, and the number of bytes accepted since then.
    blocked_since: Option<Duration>,
    accepted: usize,
    /// Whether bytes of a reply have moved since [`State::flush_timestamps`].
    has_moved: bool,
    /// When bytes of a reply last moved, or when a reply began to leave while no other did.
    moved_at: Option<Duration>,
    /// Number of replies of [`WriteRule::Whole`] that are leaving, by the round in which they
    /// began: the current one, at index `round`, or the one before. A round lasts a write timeout.
    rounds: [usize; 2],
    /// Index of the current round, and its start.
    round: u8,
    round_since: Duration,
}

/// Timeouts of a connection.
#[derive(Clone, Copy)]
struct Timeouts {
    write: Duration,
    idle: Duration,
    head: Duration,
}

/// Result of a check of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// No timeout can pass before this time has elapsed.
    Fine(Duration),
    /// The connection has been unused for too long.
    Unused,
    /// The peer has stalled within a head or a reply.
    Stuck,
}

impl ActivityMonitor {
    pub(super) fn new(config: &HttpServerConfig, bodies: &BodyBudget) -> Arc<Self> {
        Arc::new(Self {
            born: Instant::now(),
            timeouts: Timeouts {
                write: config.write_timeout,
                idle: config.idle_timeout,
                head: config.header_read_timeout,
            },
            state: Mutex::default(),
            account: bodies.connection(),
        })
    }

    /// Records that a request has begun, or other work that keeps the connection in use.
    pub(super) fn start_request(self: &Arc<Self>) -> Active {
        let mut state = lock(&self.state);
        state.active += 1;
        state.head_began = false;
        state.head_since = None;
        Active(Arc::clone(self))
    }

    /// Records that a reply begins to leave.
    pub(super) fn start_reply(self: &Arc<Self>, rule: WriteRule) -> LeavingReply {
        let mut state = lock(&self.state);
        let round = match rule {
            WriteRule::Progress => {
                state.leaving += 1;
                None
            }
            WriteRule::Whole => {
                let round = state.round;
                state.rounds[usize::from(round)] += 1;
                Some(round)
            }
        };
        LeavingReply { activity: Arc::clone(self), round }
    }

    /// Returns the part of the server's body budget that the connection holds.
    pub(super) fn account(&self) -> &Arc<BodyAccount> {
        &self.account
    }

    /// Returns the time without progress after which a stream is reset.
    pub(super) fn write_timeout(&self) -> Duration {
        self.timeouts.write
    }

    /// Records that bytes of HTTP/1 have arrived. Outside of a request they belong to a head.
    pub(super) fn received(&self) {
        let mut state = lock(&self.state);
        state.head_began |= state.active == 0;
    }

    /// Records that the socket accepts no more bytes at present.
    pub(super) fn blocked(&self) {
        let mut state = lock(&self.state);
        if state.blocked_since.is_none() {
            state.accepted = 0;
            state.blocked_since = Some(self.age());
        }
    }

    /// Records that the socket accepted this number of bytes.
    pub(super) fn written(&self, bytes: usize) {
        let mut state = lock(&self.state);
        state.accepted = state.accepted.saturating_add(bytes);
        if state.accepted >= PROGRESS_BYTES_MIN {
            state.unblock(|| self.age());
        }
    }

    /// Records that nothing is left to write.
    pub(super) fn flushed(&self) {
        lock(&self.state).unblock(|| self.age());
    }

    /// Stores the time of recorded states that still hold. To be called after each poll of the
    /// connection.
    pub(super) fn flush_timestamps(&self) {
        lock(&self.state).flush_timestamps(|| self.age());
    }

    /// Returns the number of requests being answered.
    pub(super) fn active(&self) -> usize {
        lock(&self.state).active
    }

    /// Returns whether no request is active and all replies have left.
    pub(super) fn is_done(&self) -> bool {
        lock(&self.state).is_done()
    }

    /// Checks the timeouts of the connection.
    pub(super) fn check(&self) -> Check {
        let mut state = lock(&self.state);
        let now = self.age();
        state.flush_timestamps(|| now);
        if !state.turn_round(now, self.timeouts.write) {
            return Check::Stuck;
        }
        let (end, passed) = state.next_end(&self.timeouts);
        if now >= end { passed } else { Check::Fine((end - now).min(self.pace())) }
    }

    /// Returns the interval between checks: the shortest timeout, since nothing that begins after a
    /// check can time out sooner.
    pub(super) fn pace(&self) -> Duration {
        let Timeouts { write, idle, head } = self.timeouts;
        write.min(idle).min(head).clamp(CHECK_MIN, CHECK_MAX)
    }

    pub(super) fn age(&self) -> Duration {
        self.born.elapsed()
    }
}

impl State {
    fn unblock(&mut self, age: impl FnOnce() -> Duration) {
        if self.blocked_since.take().is_some() {
            // The time during which the socket was blocked does not count as unused.
            self.idle_since = age();
        }
    }

    fn flush_timestamps(&mut self, age: impl Fn() -> Duration) {
        if self.leaving > 0 && (self.has_moved || self.moved_at.is_none()) {
            self.has_moved = false;
            self.moved_at = Some(age());
        }
        if self.head_began && self.head_since.is_none() {
            self.head_since = Some(age());
        }
    }

    /// Restarts the idle time if no request is active and no reply of [`WriteRule::Progress`] is
    /// leaving.
    fn end_use(&mut self, age: impl FnOnce() -> Duration) {
        if self.active == 0 && self.leaving == 0 {
            self.idle_since = age();
        }
    }

    fn is_done(&self) -> bool {
        self.active == 0
            && self.leaving == 0
            && self.rounds == [0, 0]
            && self.blocked_since.is_none()
    }

    /// Starts the next round once the current one has lasted a write timeout. Returns `false` when
    /// a reply that began in the round before the current one has not left.
    fn turn_round(&mut self, now: Duration, write_timeout: Duration) -> bool {
        if now < self.round_since.saturating_add(write_timeout) {
            return true;
        }
        let next = 1 - self.round;
        if self.rounds[usize::from(next)] > 0 {
            return false;
        }
        self.round = next;
        self.round_since = now;
        true
    }

    /// Returns when the next timeout passes, and what it means.
    fn next_end(&self, timeouts: &Timeouts) -> (Duration, Check) {
        let moved_at = self.moved_at.filter(|_| self.leaving > 0);
        let stalled = [self.blocked_since, moved_at].into_iter().flatten().min();
        match (stalled, self.head_since) {
            (Some(since), _) => (since.saturating_add(timeouts.write), Check::Stuck),
            _ if !self.is_done() => (Duration::MAX, Check::Stuck),
            (None, Some(since)) => (since.saturating_add(timeouts.head), Check::Stuck),
            (None, None) => (self.idle_since.saturating_add(timeouts.idle), Check::Unused),
        }
    }
}

/// Guard that keeps a connection in use.
pub(super) struct Active(Arc<ActivityMonitor>);

impl Active {
    pub(super) fn monitor(&self) -> &ActivityMonitor {
        &self.0
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.active -= 1;
        state.end_use(|| self.0.age());
    }
}

/// Timeout rule of a reply that is leaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteRule {
    /// Bytes of some reply of the connection must move within a write timeout: HTTP/1.
    Progress,
    /// The whole reply must leave within two write timeouts: HTTP/2, whose stream was ended with
    /// these bytes and cannot be reset apart from its connection.
    Whole,
}

/// Guard of a reply that is leaving; dropping it records that the reply has left.
pub(super) struct LeavingReply {
    activity: Arc<ActivityMonitor>,
    /// Round in which a reply of [`WriteRule::Whole`] began.
    round: Option<u8>,
}

impl LeavingReply {
    /// Records that bytes of the reply have moved.
    pub(super) fn moved(&self) {
        lock(&self.activity.state).has_moved = true;
    }
}

impl Drop for LeavingReply {
    fn drop(&mut self) {
        let mut state = lock(&self.activity.state);
        match self.round {
            None => state.leaving -= 1,
            Some(round) => state.rounds[usize::from(round)] -= 1,
        }
        if state.leaving == 0 {
            state.moved_at = None;
        }
        state.end_use(|| self.activity.age());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    async fn pass(millis: u64) {
        tokio::time::sleep(ms(millis)).await;
    }

    /// Timeouts of 300 ms for a write, 600 ms unused and 200 ms for a head.
    fn monitor() -> Arc<ActivityMonitor> {
        let config = HttpServerConfig::default()
            .with_write_timeout(ms(300))
            .with_idle_timeout(ms(600))
            .with_header_read_timeout(ms(200));
        ActivityMonitor::new(&config, &BodyBudget::new(0))
    }

    #[tokio::test(start_paused = true)]
    async fn an_unused_connection_ends_and_a_request_puts_that_off() {
        let monitor = monitor();
        pass(500).await;
        assert_eq!(monitor.check(), Check::Fine(ms(100)));
        let request = monitor.start_request();
        pass(5_000).await;
        // Nothing times out while a handler runs; the next check comes after the shortest timeout.
        assert_eq!(monitor.check(), Check::Fine(ms(200)));
        drop(request);
        pass(599).await;
        assert!(matches!(monitor.check(), Check::Fine(_)));
        pass(1).await;
        assert_eq!(monitor.check(), Check::Unused);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_has_begun_must_end_however_many_bytes_come() {
        let monitor = monitor();
        pass(400).await;
        for _ in 0..4 {
            monitor.received();
            assert!(matches!(monitor.check(), Check::Fine(_)));
            pass(50).await;
        }
        assert_eq!(monitor.check(), Check::Stuck);
        let request = monitor.start_request();
        // Bytes of a body do not count as a head.
        monitor.received();
        drop(request);
        pass(400).await;
        assert!(matches!(monitor.check(), Check::Fine(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_blocked_socket_is_stuck_unless_it_takes_all_or_enough() {
        let monitor = monitor();
        for take in [ActivityMonitor::flushed, |monitor: &ActivityMonitor| {
            monitor.written(PROGRESS_BYTES_MIN)
        }] {
            monitor.blocked();
            pass(250).await;
            monitor.written(PROGRESS_BYTES_MIN - 1);
            monitor.blocked();
            assert_eq!(monitor.check(), Check::Fine(ms(50)));
            take(&monitor);
        }
        monitor.blocked();
        assert!(!monitor.is_done());
        for _ in 0..10 {
            monitor.written(1);
            pass(30).await;
        }
        assert_eq!(monitor.check(), Check::Stuck);
        // The time during which the socket was blocked does not count as unused.
        monitor.flushed();
        pass(500).await;
        assert!(monitor.is_done() && matches!(monitor.check(), Check::Fine(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_that_does_not_move_on_is_stuck_wherever_it_waits() {
        let monitor = monitor();
        let first = monitor.start_reply(WriteRule::Progress);
        monitor.flush_timestamps();
        pass(250).await;
        first.moved();
        monitor.flush_timestamps();
        pass(250).await;
        assert_eq!(monitor.check(), Check::Fine(ms(50)));
        // Further replies do not restart the timeout.
        let second = monitor.start_reply(WriteRule::Progress);
        pass(50).await;
        assert_eq!(monitor.check(), Check::Stuck);
        drop((first, second));
        assert!(monitor.is_done());
        assert_eq!(monitor.check(), Check::Fine(ms(200)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_that_ended_its_stream_leaves_within_two_write_timeouts() {
        let monitor = monitor();
        for _ in 0..20 {
            // Each reply leaves in time, and together they keep the connection in use.
            let reply = monitor.start_reply(WriteRule::Whole);
            pass(150).await;
            assert!(!monitor.is_done() && matches!(monitor.check(), Check::Fine(_)));
            drop(reply);
        }
        let _stays = monitor.start_reply(WriteRule::Whole);
        let mut checks = 0;
        while monitor.check() != Check::Stuck {
            pass(50).await;
            // Other replies that leave do not restart the timeout.
            drop(monitor.start_reply(WriteRule::Whole));
            checks += 1;
        }
        assert!((6..=13).contains(&checks), "{checks}");
    }

    #[tokio::test(start_paused = true)]
    async fn timeouts_of_any_length_are_looked_after_now_and_then() {
        let config = HttpServerConfig::default()
            .with_write_timeout(Duration::MAX)
            .with_idle_timeout(Duration::MAX)
            .with_header_read_timeout(Duration::MAX);
        let monitor = ActivityMonitor::new(&config, &BodyBudget::new(0));
        pass(10).await;
        monitor.received();
        monitor.blocked();
        assert_eq!(monitor.check(), Check::Fine(CHECK_MAX));
        let config = HttpServerConfig::default().with_idle_timeout(Duration::ZERO);
        let monitor = ActivityMonitor::new(&config, &BodyBudget::new(0));
        assert_eq!(monitor.check(), Check::Unused);
        let _request = monitor.start_request();
        assert_eq!(monitor.check(), Check::Fine(CHECK_MIN));
    }
}
