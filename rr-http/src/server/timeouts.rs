//! Tracks connection activity; one timer per connection enforces the idle, header-read and write
//! timeouts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rr_spi::{BodyAccount, BodyBudget};
use tokio::time::Instant;

use crate::config::HttpServerConfig;

/// Shortest and longest time between two checks of a connection, whatever its timeouts are: a check
/// costs little, and a timer has a maximum.
const LOOK_MIN: Duration = Duration::from_millis(5);
pub(super) const LOOK_MAX: Duration = Duration::from_secs(60 * 60);

/// Fewest bytes that must leave within a write timeout to restart it. Otherwise a peer that reads a
/// byte now and then could hold its replies, and their part of `bodies_bytes_max`, indefinitely.
/// The value is one HTTP/2 frame of the default size; at the default timeout half a KiB per second.
pub(super) const PROGRESS_BYTES_MIN: usize = 16 * 1024;

/// Activity of a connection: recorded by its socket, its requests and its replies, and checked
/// periodically. Recording sets no timer, so that a request needs none. The clock is read only for
/// a state that still holds after the connection was polled.
pub(super) struct ActivityMonitor {
    born: Instant,
    timeouts: Timeouts,
    /// Packed counter of what keeps the connection in use, in units of [`LEAVING`] and [`ACTIVE`]:
    /// replies that have not wholly left; requests being answered, and unread bodies being
    /// discarded.
    busy: AtomicU64,
    /// Start of the unused time.
    idle: AtomicInstant,
    /// Whether the head of an HTTP/1 request has begun to arrive, and when.
    head_began: AtomicBool,
    head: AtomicInstant,
    /// Time since which the socket has accepted neither all bytes nor [`PROGRESS_BYTES_MIN`] of
    /// them, and the number of bytes accepted since then.
    blocked: AtomicInstant,
    taken: AtomicUsize,
    /// Whether bytes of a reply have moved since the last [`ActivityMonitor::flush_timestamps`].
    stirred: AtomicBool,
    /// When bytes of a reply last moved, or when a reply began to leave while no other did.
    moved: AtomicInstant,
    /// Replies of [`Kind::Timed`] that are leaving, by the round in which they began; a round lasts
    /// a write timeout.
    rounds: [AtomicUsize; 2],
    round: AtomicUsize,
    round_began: AtomicInstant,
    /// Part of the server's body budget that the connection holds.
    account: Arc<BodyAccount>,
}

/// Increments in the packed counter: low half replies leaving, high half requests active. Either
/// count stays far below 2³².
const LEAVING: u64 = 1;
const ACTIVE: u64 = 1 << 32;

/// Timeouts of a connection.
#[derive(Clone, Copy)]
struct Timeouts {
    write: Duration,
    idle: Duration,
    head: Duration,
}

/// Result of a check of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No timeout can pass before this time has elapsed.
    Fine(Duration),
    /// The connection has been unused for too long.
    Unused,
    /// The peer has stalled within a head or a reply.
    Stuck,
}

impl ActivityMonitor {
    pub(super) fn new(config: &HttpServerConfig, bodies: &BodyBudget) -> Arc<Self> {
        let watch = Self {
            born: Instant::now(),
            timeouts: Timeouts {
                write: config.write_timeout,
                idle: config.idle_timeout,
                head: config.header_read_timeout,
            },
            busy: AtomicU64::new(0),
            idle: AtomicInstant::default(),
            head_began: AtomicBool::new(false),
            head: AtomicInstant::default(),
            blocked: AtomicInstant::default(),
            taken: AtomicUsize::new(0),
            stirred: AtomicBool::new(false),
            moved: AtomicInstant::default(),
            rounds: Default::default(),
            round: AtomicUsize::new(0),
            round_began: AtomicInstant::default(),
            account: bodies.connection(),
        };
        watch.idle.set(Duration::ZERO);
        watch.round_began.set(Duration::ZERO);
        Arc::new(watch)
    }

    /// Records that a request has begun, or other work that keeps the connection in use.
    pub(super) fn begin(self: &Arc<Self>) -> Active {
        self.busy.fetch_add(ACTIVE, Ordering::SeqCst);
        self.head_began.store(false, Ordering::SeqCst);
        self.head.clear();
        Active(Arc::clone(self))
    }

    /// Returns the part of the server's body budget that the connection holds.
    pub(super) fn account(&self) -> &Arc<BodyAccount> {
        &self.account
    }

    /// Returns the time without progress after which a stream is reset.
    pub(super) fn write_timeout(&self) -> Duration {
        self.timeouts.write
    }

    /// Records that a reply begins to leave.
    pub(super) fn pass(self: &Arc<Self>, kind: Kind) -> Passing {
        let round = match kind {
            Kind::Moving => {
                self.busy.fetch_add(LEAVING, Ordering::SeqCst);
                None
            }
            Kind::Timed => {
                let round = self.round.load(Ordering::SeqCst) % 2;
                self.rounds[round].fetch_add(1, Ordering::SeqCst);
                Some(round)
            }
        };
        Passing { watch: Arc::clone(self), round }
    }

    /// Starts the next round once the current one has lasted a write timeout. Returns `false` when
    /// a reply that began in the round before the current one has not left.
    fn turn(&self, now: Duration) -> bool {
        let began = self.round_began.get().unwrap_or_default();
        if now < began.saturating_add(self.timeouts.write) {
            return true;
        }
        let next = self.round.load(Ordering::SeqCst).wrapping_add(1);
        if self.rounds[next % 2].load(Ordering::SeqCst) > 0 {
            return false;
        }
        self.round.store(next, Ordering::SeqCst);
        self.round_began.set(now);
        true
    }

    /// Records that bytes of HTTP/1 have arrived. Outside of a request they belong to a head.
    pub(super) fn received(&self) {
        if self.busy.load(Ordering::SeqCst) < ACTIVE {
            self.head_began.store(true, Ordering::SeqCst);
        }
    }

    /// Stores the time of recorded states that still hold. To be called after each poll of the
    /// connection.
    pub(super) fn flush_timestamps(&self) {
        if self.is_leaving() && (self.stirred.swap(false, Ordering::SeqCst) || self.moved.is_none())
        {
            self.moved.set(self.age());
        }
        if self.head_began.load(Ordering::SeqCst) && self.head.is_none() {
            self.head.set(self.age());
        }
    }

    /// Decrements the packed counter by one unit.
    fn end(&self, one: u64) {
        let mut busy = self.busy.load(Ordering::SeqCst);
        loop {
            // Before the decrement, so that a check never sees an outdated time for an unused
            // connection.
            if busy == one {
                self.idle.set(self.age());
            }
            if one == LEAVING && busy % ACTIVE == LEAVING {
                self.moved.clear();
            }
            let less = busy - one;
            match self.busy.compare_exchange(busy, less, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return,
                Err(now) => busy = now,
            }
        }
    }

    /// Records that the socket accepts no more bytes at present.
    pub(super) fn blocked(&self) {
        if self.blocked.is_none() {
            self.taken.store(0, Ordering::SeqCst);
            self.blocked.set(self.age());
        }
    }

    /// Records that the socket accepted `taken` bytes.
    pub(super) fn written(&self, taken: usize) {
        if !self.blocked.is_none()
            && self.taken.fetch_add(taken, Ordering::SeqCst) + taken >= PROGRESS_BYTES_MIN
        {
            self.flushed();
        }
    }

    /// Records that nothing is left to write, or that enough bytes were accepted.
    pub(super) fn flushed(&self) {
        if !self.blocked.is_none() {
            self.idle.set(self.age());
            self.blocked.clear();
        }
    }

    /// Returns the number of requests being answered.
    pub(super) fn active(&self) -> usize {
        usize::try_from(self.busy.load(Ordering::SeqCst) / ACTIVE).unwrap_or(usize::MAX)
    }

    /// Returns whether nothing is left to answer.
    pub(super) fn is_done(&self) -> bool {
        let leaving = self.rounds.iter().any(|round| round.load(Ordering::SeqCst) > 0);
        self.busy.load(Ordering::SeqCst) == 0 && !leaving && self.blocked.is_none()
    }

    fn is_leaving(&self) -> bool {
        self.busy.load(Ordering::SeqCst) % ACTIVE >= LEAVING
    }

    /// Checks the timeouts of the connection.
    pub(super) fn look(&self) -> Verdict {
        self.flush_timestamps();
        let now = self.age();
        if self.turn(now) { self.look_at(now) } else { Verdict::Stuck }
    }

    fn look_at(&self, now: Duration) -> Verdict {
        let Timeouts { write, idle, head } = self.timeouts;
        let moved = self.moved.get().filter(|_| self.is_leaving());
        let stalled = [self.blocked.get(), moved].into_iter().flatten().min();
        let (end, verdict) = match (stalled, self.head.get()) {
            (Some(since), _) => (since.saturating_add(write), Verdict::Stuck),
            _ if !self.is_done() => (Duration::MAX, Verdict::Stuck),
            (None, Some(since)) => (since.saturating_add(head), Verdict::Stuck),
            (None, None) => {
                let since = self.idle.get().unwrap_or_default();
                (since.saturating_add(idle), Verdict::Unused)
            }
        };
        if now >= end { verdict } else { Verdict::Fine((end - now).min(self.pace())) }
    }

    /// Returns the interval between checks: the shortest timeout, since nothing that begins after a
    /// check can time out sooner.
    pub(super) fn pace(&self) -> Duration {
        let Timeouts { write, idle, head } = self.timeouts;
        write.min(idle).min(head).clamp(LOOK_MIN, LOOK_MAX)
    }

    pub(super) fn age(&self) -> Duration {
        self.born.elapsed()
    }
}

/// Guard that keeps a connection in use.
pub(super) struct Active(Arc<ActivityMonitor>);

impl Active {
    pub(super) fn watch(&self) -> &ActivityMonitor {
        &self.0
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.end(ACTIVE);
    }
}

/// Timeout rule of a reply that is leaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Bytes of some reply of the connection must move within a write timeout: HTTP/1.
    Moving,
    /// The whole reply must leave within two write timeouts: HTTP/2, whose stream was ended with
    /// these bytes and cannot be reset apart from its connection.
    Timed,
}

/// Guard of a reply that is leaving; dropping it records that the reply has left.
pub(super) struct Passing {
    watch: Arc<ActivityMonitor>,
    round: Option<usize>,
}

impl Passing {
    /// Records that bytes of the reply have moved.
    pub(super) fn stir(&self) {
        self.watch.stirred.store(true, Ordering::SeqCst);
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        let watch = &self.watch;
        match self.round {
            None => watch.end(LEAVING),
            Some(round) => {
                if watch.busy.load(Ordering::SeqCst) == 0 {
                    watch.idle.set(watch.age());
                }
                watch.rounds[round].fetch_sub(1, Ordering::SeqCst);
            }
        }
    }
}

/// Optional time in the life of a connection: its age in microseconds plus one, or zero for none.
#[derive(Default)]
pub(super) struct AtomicInstant(AtomicU64);

impl AtomicInstant {
    pub(super) fn set(&self, age: Duration) {
        let micros = u64::try_from(age.as_micros()).unwrap_or(u64::MAX - 1);
        self.0.store(micros + 1, Ordering::SeqCst);
    }

    fn clear(&self) {
        self.0.store(0, Ordering::SeqCst);
    }

    fn is_none(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }

    pub(super) fn get(&self) -> Option<Duration> {
        self.0.load(Ordering::SeqCst).checked_sub(1).map(Duration::from_micros)
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
    fn watch() -> Arc<ActivityMonitor> {
        let config = HttpServerConfig::default()
            .with_write_timeout(ms(300))
            .with_idle_timeout(ms(600))
            .with_header_read_timeout(ms(200));
        ActivityMonitor::new(&config, &BodyBudget::new(0))
    }

    #[tokio::test(start_paused = true)]
    async fn an_unused_connection_ends_and_a_request_puts_that_off() {
        let watch = watch();
        pass(500).await;
        assert_eq!(watch.look(), Verdict::Fine(ms(100)));
        let request = watch.begin();
        pass(5_000).await;
        // Nothing times out while a handler runs; the next check comes after the shortest timeout.
        assert_eq!(watch.look(), Verdict::Fine(ms(200)));
        drop(request);
        pass(599).await;
        assert!(matches!(watch.look(), Verdict::Fine(_)));
        pass(1).await;
        assert_eq!(watch.look(), Verdict::Unused);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_has_begun_must_end_however_many_bytes_come() {
        let watch = watch();
        pass(400).await;
        for _ in 0..4 {
            watch.received();
            assert!(matches!(watch.look(), Verdict::Fine(_)));
            pass(50).await;
        }
        assert_eq!(watch.look(), Verdict::Stuck);
        let request = watch.begin();
        // Bytes of a body do not count as a head.
        watch.received();
        drop(request);
        pass(400).await;
        assert!(matches!(watch.look(), Verdict::Fine(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_blocked_socket_is_stuck_unless_it_takes_all_or_enough() {
        let watch = watch();
        for take in
            [ActivityMonitor::flushed, |watch: &ActivityMonitor| watch.written(PROGRESS_BYTES_MIN)]
        {
            watch.blocked();
            pass(250).await;
            watch.written(PROGRESS_BYTES_MIN - 1);
            watch.blocked();
            assert_eq!(watch.look(), Verdict::Fine(ms(50)));
            take(&watch);
        }
        watch.blocked();
        assert!(!watch.is_done());
        for _ in 0..10 {
            watch.written(1);
            pass(30).await;
        }
        assert_eq!(watch.look(), Verdict::Stuck);
        // The time during which the socket was blocked does not count as unused.
        watch.flushed();
        pass(500).await;
        assert!(watch.is_done() && matches!(watch.look(), Verdict::Fine(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_that_does_not_move_on_is_stuck_wherever_it_waits() {
        let watch = watch();
        let first = watch.pass(Kind::Moving);
        watch.flush_timestamps();
        pass(250).await;
        first.stir();
        watch.flush_timestamps();
        pass(250).await;
        assert_eq!(watch.look(), Verdict::Fine(ms(50)));
        // Further replies do not restart the timeout.
        let second = watch.pass(Kind::Moving);
        pass(50).await;
        assert_eq!(watch.look(), Verdict::Stuck);
        drop((first, second));
        assert!(watch.is_done());
        assert_eq!(watch.look(), Verdict::Fine(ms(200)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_that_ended_its_stream_leaves_within_two_write_timeouts() {
        let watch = watch();
        for _ in 0..20 {
            // Each reply leaves in time, and together they keep the connection in use.
            let reply = watch.pass(Kind::Timed);
            pass(150).await;
            assert!(!watch.is_done() && matches!(watch.look(), Verdict::Fine(_)));
            drop(reply);
        }
        let _stays = watch.pass(Kind::Timed);
        let mut looks = 0;
        while watch.look() != Verdict::Stuck {
            pass(50).await;
            // Other replies that leave do not restart the timeout.
            drop(watch.pass(Kind::Timed));
            looks += 1;
        }
        assert!((6..=13).contains(&looks), "{looks}");
    }

    #[tokio::test(start_paused = true)]
    async fn timeouts_of_any_length_are_looked_after_now_and_then() {
        let config = HttpServerConfig::default()
            .with_write_timeout(Duration::MAX)
            .with_idle_timeout(Duration::MAX)
            .with_header_read_timeout(Duration::MAX);
        let watch = ActivityMonitor::new(&config, &BodyBudget::new(0));
        pass(10).await;
        watch.received();
        watch.blocked();
        assert_eq!(watch.look(), Verdict::Fine(LOOK_MAX));
        let config = HttpServerConfig::default().with_idle_timeout(Duration::ZERO);
        let watch = ActivityMonitor::new(&config, &BodyBudget::new(0));
        assert_eq!(watch.look(), Verdict::Unused);
        let _request = watch.begin();
        assert_eq!(watch.look(), Verdict::Fine(LOOK_MIN));
    }
}
