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
const CHECK_MIN: Duration = Duration::from_millis(5);
pub(super) const CHECK_MAX: Duration = Duration::from_secs(60 * 60);

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
    /// Age from which the connection should be replaced, and whether a check has found that it has
    /// come.
    age_max: Duration,
    is_retired: AtomicBool,
    /// Start of the unused time.
    idle_since: AtomicInstant,
    /// Whether the head of an HTTP/1 request has begun to arrive, and when.
    head_began: AtomicBool,
    head_since: AtomicInstant,
    /// Time since which the socket has accepted neither all bytes nor [`PROGRESS_BYTES_MIN`] of
    /// them, and the number of bytes accepted since then.
    blocked_since: AtomicInstant,
    taken: AtomicUsize,
    /// Whether bytes of a reply have moved since the last [`ActivityMonitor::flush_timestamps`].
    has_moved: AtomicBool,
    /// When bytes of a reply last moved, or when a reply began to leave while no other did.
    moved_at: AtomicInstant,
    /// Replies of [`WriteRule::Whole`] that are leaving, by the round in which they began; a round
    /// lasts a write timeout.
    rounds: [AtomicUsize; 2],
    round: AtomicUsize,
    round_since: AtomicInstant,
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
pub(super) enum Check {
    /// No timeout can pass before this time has elapsed.
    Fine(Duration),
    /// The connection has been unused for too long.
    Unused,
    /// The peer has stalled within a head or a reply.
    Stuck,
}

impl ActivityMonitor {
    /// Makes the monitor of a connection that should be replaced at an age of `age_max`.
    pub(super) fn new(
        config: &HttpServerConfig,
        bodies: &BodyBudget,
        age_max: Duration,
    ) -> Arc<Self> {
        let monitor = Self {
            born: Instant::now(),
            timeouts: Timeouts {
                write: config.write_timeout,
                idle: config.idle_timeout,
                head: config.header_read_timeout,
            },
            age_max,
            is_retired: AtomicBool::new(age_max.is_zero()),
            busy: AtomicU64::new(0),
            idle_since: AtomicInstant::default(),
            head_began: AtomicBool::new(false),
            head_since: AtomicInstant::default(),
            blocked_since: AtomicInstant::default(),
            taken: AtomicUsize::new(0),
            has_moved: AtomicBool::new(false),
            moved_at: AtomicInstant::default(),
            rounds: Default::default(),
            round: AtomicUsize::new(0),
            round_since: AtomicInstant::default(),
            account: bodies.connection(),
        };
        monitor.idle_since.set(Duration::ZERO);
        monitor.round_since.set(Duration::ZERO);
        Arc::new(monitor)
    }

    /// Records that a request has begun, or other work that keeps the connection in use.
    pub(super) fn start_request(self: &Arc<Self>) -> Active {
        self.busy.fetch_add(ACTIVE, Ordering::SeqCst);
        self.head_began.store(false, Ordering::SeqCst);
        self.head_since.clear();
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
    pub(super) fn start_reply(self: &Arc<Self>, rule: WriteRule) -> LeavingReply {
        let round = match rule {
            WriteRule::Progress => {
                self.busy.fetch_add(LEAVING, Ordering::SeqCst);
                None
            }
            WriteRule::Whole => {
                let round = self.current_round();
                self.rounds[usize::from(round)].fetch_add(1, Ordering::SeqCst);
                Some(round)
            }
        };
        LeavingReply { activity: Arc::clone(self), round, moved: 0 }
    }

    /// Returns the index of the current round.
    fn current_round(&self) -> u8 {
        (self.round.load(Ordering::SeqCst) % 2) as u8
    }

    /// Starts the next round once the current one has lasted a write timeout. Returns `false` when
    /// a reply that began in the round before the current one has not left.
    fn turn_round(&self, now: Duration) -> bool {
        let began = self.round_since.get().unwrap_or_default();
        if now < began.saturating_add(self.timeouts.write) {
            return true;
        }
        let next = self.round.load(Ordering::SeqCst).wrapping_add(1);
        if self.rounds[next % 2].load(Ordering::SeqCst) > 0 {
            return false;
        }
        self.round.store(next, Ordering::SeqCst);
        self.round_since.set(now);
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
        if self.is_leaving()
            && (self.has_moved.swap(false, Ordering::SeqCst) || self.moved_at.is_none())
        {
            self.moved_at.set(self.age());
        }
        if self.head_began.load(Ordering::SeqCst) && self.head_since.is_none() {
            self.head_since.set(self.age());
        }
    }

    /// Decrements the packed counter by one unit.
    fn release(&self, one: u64) {
        let mut busy = self.busy.load(Ordering::SeqCst);
        loop {
            // Before the decrement, so that a check never sees an outdated time for an unused
            // connection.
            if busy == one {
                self.idle_since.set(self.age());
            }
            if one == LEAVING && busy % ACTIVE == LEAVING {
                self.moved_at.clear();
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
        if self.blocked_since.is_none() {
            self.taken.store(0, Ordering::SeqCst);
            self.blocked_since.set(self.age());
        }
    }

    /// Records that the socket accepted `taken` bytes.
    pub(super) fn written(&self, taken: usize) {
        if !self.blocked_since.is_none()
            && self.taken.fetch_add(taken, Ordering::SeqCst) + taken >= PROGRESS_BYTES_MIN
        {
            self.flushed();
        }
    }

    /// Records that nothing is left to write, or that enough bytes were accepted.
    pub(super) fn flushed(&self) {
        if !self.blocked_since.is_none() {
            self.idle_since.set(self.age());
            self.blocked_since.clear();
        }
    }

    /// Returns the number of requests being answered.
    pub(super) fn active(&self) -> usize {
        usize::try_from(self.busy.load(Ordering::SeqCst) / ACTIVE).unwrap_or(usize::MAX)
    }

    /// Returns whether nothing is left to answer.
    pub(super) fn is_done(&self) -> bool {
        let leaving = self.rounds.iter().any(|round| round.load(Ordering::SeqCst) > 0);
        self.busy.load(Ordering::SeqCst) == 0 && !leaving && self.blocked_since.is_none()
    }

    fn is_leaving(&self) -> bool {
        self.busy.load(Ordering::SeqCst) % ACTIVE >= LEAVING
    }

    /// Checks the timeouts of the connection.
    pub(super) fn check(&self) -> Check {
        self.flush_timestamps();
        let now = self.age();
        if now >= self.age_max {
            self.is_retired.store(true, Ordering::Relaxed);
        }
        if self.turn_round(now) { self.check_at(now) } else { Check::Stuck }
    }

    /// Returns whether the connection should be replaced because of its age.
    pub(super) fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Relaxed)
    }

    fn check_at(&self, now: Duration) -> Check {
        let Timeouts { write, idle, head } = self.timeouts;
        let moved = self.moved_at.get().filter(|_| self.is_leaving());
        let stalled = [self.blocked_since.get(), moved].into_iter().flatten().min();
        let (end, verdict) = match (stalled, self.head_since.get()) {
            (Some(since), _) => (since.saturating_add(write), Check::Stuck),
            _ if !self.is_done() => (Duration::MAX, Check::Stuck),
            (None, Some(since)) => (since.saturating_add(head), Check::Stuck),
            (None, None) => {
                let since = self.idle_since.get().unwrap_or_default();
                (since.saturating_add(idle), Check::Unused)
            }
        };
        // An age that has come needs no check.
        let age_left = self.age_max.checked_sub(now).filter(|left| !left.is_zero());
        let wait = self.pace().min(age_left.unwrap_or(Duration::MAX));
        if now >= end { verdict } else { Check::Fine((end - now).min(wait)) }
    }

    /// Returns the time until the first check by the timer. A connection whose first bytes came late
    /// may have reached its age already.
    pub(super) fn first_check(&self) -> Duration {
        match self.check() {
            Check::Fine(wait) => wait.max(CHECK_MIN),
            Check::Unused | Check::Stuck => CHECK_MIN,
        }
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

/// Guard that keeps a connection in use.
pub(super) struct Active(Arc<ActivityMonitor>);

impl Active {
    pub(super) fn monitor(&self) -> &ActivityMonitor {
        &self.0
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.release(ACTIVE);
    }
}

/// Timeout rule of a reply that is leaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteRule {
    /// Bytes of some reply of the connection must move within a write timeout: HTTP/1.
    Progress,
    /// Within two write timeouts, the reply must leave or move [`PROGRESS_BYTES_MIN`] bytes: HTTP/2,
    /// whose stream was ended with these bytes and cannot be reset apart from its connection.
    Whole,
}

/// Guard of a reply that is leaving; dropping it records that the reply has left.
pub(super) struct LeavingReply {
    activity: Arc<ActivityMonitor>,
    /// For a reply of [`WriteRule::Whole`]: the round in which it began or last made progress.
    round: Option<u8>,
    /// Number of bytes that have left since then.
    moved: u32,
}

impl LeavingReply {
    /// Records that bytes of the reply have moved. [`PROGRESS_BYTES_MIN`] of them are progress.
    pub(super) fn record_moved(&mut self, bytes: usize) {
        let activity = &self.activity;
        let Some(round) = &mut self.round else {
            activity.has_moved.store(true, Ordering::SeqCst);
            return;
        };
        self.moved = self.moved.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        if self.moved as usize >= PROGRESS_BYTES_MIN {
            self.moved = 0;
            let current = activity.current_round();
            // Counted in one round at all times.
            activity.rounds[usize::from(current)].fetch_add(1, Ordering::SeqCst);
            activity.rounds[usize::from(*round)].fetch_sub(1, Ordering::SeqCst);
            *round = current;
        }
    }
}

impl Drop for LeavingReply {
    fn drop(&mut self) {
        let activity = &self.activity;
        match self.round {
            None => activity.release(LEAVING),
            Some(round) => {
                if activity.busy.load(Ordering::SeqCst) == 0 {
                    activity.idle_since.set(activity.age());
                }
                activity.rounds[usize::from(round)].fetch_sub(1, Ordering::SeqCst);
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
mod tests;
