//! What a connection is doing, and when it has done too little for too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::time::Instant;

use crate::config::HttpServerConfig;

/// Shortest and longest time between two looks at a connection, whatever its timeouts are: a look
/// costs little, and a timer has an end.
const LOOK_MIN: Duration = Duration::from_millis(5);
const LOOK_MAX: Duration = Duration::from_secs(60 * 60);

/// What a connection is doing: noted by its socket, its requests and its replies, and looked at
/// every so often. Noting costs no timer, so that a request needs none; and it reads the clock
/// only for what is still so when the connection has been polled.
pub(super) struct Watch {
    born: Instant,
    timeouts: Timeouts,
    /// What keeps the connection in use, by [`LEAVING`] and [`ACTIVE`]: replies that have not wholly
    /// left; requests that are being answered, and what is still read of their bodies.
    busy: AtomicU64,
    /// Since when nothing was asked for.
    idle: Moment,
    /// Whether the head of an HTTP/1 request has begun to arrive, and since when.
    head_began: AtomicBool,
    head: Moment,
    /// Since when the socket has taken nothing of what is written.
    blocked: Moment,
    /// Whether a reply has moved on since that was last noted.
    stirred: AtomicBool,
    /// When a reply last moved on, or began to leave while no other did.
    moved: Moment,
}

/// One of each in what keeps a connection in use. There are far fewer than 2³² of either.
const LEAVING: u64 = 1;
const ACTIVE: u64 = 1 << 32;

/// How long a connection may do nothing.
#[derive(Clone, Copy)]
struct Timeouts {
    write: Duration,
    idle: Duration,
    head: Duration,
}

/// What a look at a connection says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is wrong before this time has passed.
    Fine(Duration),
    /// It has been unused for too long.
    Unused,
    /// Its peer does not go on with what it began.
    Stuck,
}

impl Watch {
    pub(super) fn new(config: &HttpServerConfig) -> Arc<Self> {
        let watch = Self {
            born: Instant::now(),
            timeouts: Timeouts {
                write: config.write_timeout,
                idle: config.idle_timeout,
                head: config.header_read_timeout,
            },
            busy: AtomicU64::new(0),
            idle: Moment::default(),
            head_began: AtomicBool::new(false),
            head: Moment::default(),
            blocked: Moment::default(),
            stirred: AtomicBool::new(false),
            moved: Moment::default(),
        };
        watch.idle.set(Duration::ZERO);
        Arc::new(watch)
    }

    /// Notes that a request, or something else that keeps the connection in use, has begun.
    pub(super) fn begin(self: &Arc<Self>) -> Active {
        self.busy.fetch_add(ACTIVE, Ordering::SeqCst);
        self.head_began.store(false, Ordering::SeqCst);
        self.head.clear();
        Active(Arc::clone(self))
    }

    /// Notes that bytes of HTTP/1 have arrived. Outside of a request they are those of a head.
    pub(super) fn received(&self) {
        if self.busy.load(Ordering::SeqCst) < ACTIVE {
            self.head_began.store(true, Ordering::SeqCst);
        }
    }

    /// Takes down the time of what was noted and is still so. For whoever polls the connection,
    /// after it.
    pub(super) fn settle(&self) {
        if self.is_leaving() && (self.stirred.swap(false, Ordering::SeqCst) || self.moved.is_none())
        {
            self.moved.set(self.age());
        }
        if self.head_began.load(Ordering::SeqCst) && self.head.is_none() {
            self.head.set(self.age());
        }
    }

    /// Counts off what kept the connection in use.
    fn end(&self, one: u64) {
        let mut busy = self.busy.load(Ordering::SeqCst);
        loop {
            // Before it is counted off, so that nobody sees old moments with nothing there.
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

    /// Notes whether the socket took what was written.
    pub(super) fn written(&self, taken: bool) {
        match (taken, self.blocked.get()) {
            (false, None) => self.blocked.set(self.age()),
            (true, Some(_)) => {
                self.idle.set(self.age());
                self.blocked.clear();
            }
            _ => {}
        }
    }

    /// Returns how many requests are being answered.
    pub(super) fn active(&self) -> usize {
        usize::try_from(self.busy.load(Ordering::SeqCst) / ACTIVE).unwrap_or(usize::MAX)
    }

    /// Tells whether there is nothing left to answer.
    pub(super) fn is_done(&self) -> bool {
        self.busy.load(Ordering::SeqCst) == 0 && self.blocked.is_none()
    }

    fn is_leaving(&self) -> bool {
        self.busy.load(Ordering::SeqCst) % ACTIVE >= LEAVING
    }

    /// Looks at the connection as it is now.
    pub(super) fn look(&self) -> Verdict {
        self.settle();
        self.look_at(self.age())
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

    /// Returns how often to look: what begins after a look takes at least as long to go wrong.
    pub(super) fn pace(&self) -> Duration {
        let Timeouts { write, idle, head } = self.timeouts;
        write.min(idle).min(head).clamp(LOOK_MIN, LOOK_MAX)
    }

    fn age(&self) -> Duration {
        self.born.elapsed()
    }
}

/// Something that keeps a connection in use.
pub(super) struct Active(Arc<Watch>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.end(ACTIVE);
    }
}

/// The bytes of a reply on their way out. Wherever hyper and h2 keep them, for want of a window
/// too, the connection's watch knows that they have not left.
pub(super) struct Leaving {
    bytes: Bytes,
    watch: Arc<Watch>,
}

impl Leaving {
    pub(super) fn new(bytes: Bytes, watch: &Arc<Watch>) -> Self {
        watch.busy.fetch_add(LEAVING, Ordering::SeqCst);
        Self { bytes, watch: Arc::clone(watch) }
    }
}

impl Buf for Leaving {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, taken: usize) {
        self.bytes.advance(taken);
        self.watch.stirred.store(true, Ordering::SeqCst);
    }

    fn copy_to_bytes(&mut self, taken: usize) -> Bytes {
        self.watch.stirred.store(true, Ordering::SeqCst);
        self.bytes.copy_to_bytes(taken)
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.watch.end(LEAVING);
    }
}

/// A moment in the life of a connection, or none: its age in microseconds, and one more.
#[derive(Default)]
struct Moment(AtomicU64);

impl Moment {
    fn set(&self, age: Duration) {
        let micros = u64::try_from(age.as_micros()).unwrap_or(u64::MAX - 1);
        self.0.store(micros + 1, Ordering::SeqCst);
    }

    fn clear(&self) {
        self.0.store(0, Ordering::SeqCst);
    }

    fn is_none(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }

    fn get(&self) -> Option<Duration> {
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
    fn watch() -> Arc<Watch> {
        let config = HttpServerConfig::default()
            .with_write_timeout(ms(300))
            .with_idle_timeout(ms(600))
            .with_header_read_timeout(ms(200));
        Watch::new(&config)
    }

    #[tokio::test(start_paused = true)]
    async fn an_unused_connection_ends_and_a_request_puts_that_off() {
        let watch = watch();
        pass(500).await;
        assert_eq!(watch.look(), Verdict::Fine(ms(100)));
        let request = watch.begin();
        pass(5_000).await;
        // As long as a handler runs nothing is wrong; what could begin is looked for.
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
        // The bytes of a body are none of a head.
        watch.received();
        drop(request);
        pass(400).await;
        assert!(matches!(watch.look(), Verdict::Fine(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_blocked_socket_is_stuck_unless_it_takes_something() {
        let watch = watch();
        for _ in 0..4 {
            watch.written(false);
            pass(250).await;
            watch.written(false);
            assert_eq!(watch.look(), Verdict::Fine(ms(50)));
            watch.written(true);
        }
        watch.written(false);
        assert!(!watch.is_done());
        pass(300).await;
        assert_eq!(watch.look(), Verdict::Stuck);
        // Once it takes something again, it has not been unused meanwhile.
        watch.written(true);
        pass(500).await;
        assert!(watch.is_done() && matches!(watch.look(), Verdict::Fine(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_that_does_not_move_on_is_stuck_wherever_it_waits() {
        let watch = watch();
        let mut first = Leaving::new(Bytes::from_static(b"hello"), &watch);
        watch.settle();
        pass(250).await;
        first.advance(1);
        watch.settle();
        pass(250).await;
        assert_eq!(watch.look(), Verdict::Fine(ms(50)));
        // Further ones do not make up for it.
        let second = Leaving::new(Bytes::from_static(b"hello"), &watch);
        pass(50).await;
        assert_eq!(watch.look(), Verdict::Stuck);
        drop((first, second));
        assert!(watch.is_done());
        assert_eq!(watch.look(), Verdict::Fine(ms(200)));
    }

    #[tokio::test(start_paused = true)]
    async fn timeouts_of_any_length_are_looked_after_now_and_then() {
        let config = HttpServerConfig::default()
            .with_write_timeout(Duration::MAX)
            .with_idle_timeout(Duration::MAX)
            .with_header_read_timeout(Duration::MAX);
        let watch = Watch::new(&config);
        pass(10).await;
        watch.received();
        watch.written(false);
        assert_eq!(watch.look(), Verdict::Fine(LOOK_MAX));
        let config = HttpServerConfig::default().with_idle_timeout(Duration::ZERO);
        let watch = Watch::new(&config);
        assert_eq!(watch.look(), Verdict::Unused);
        let _request = watch.begin();
        assert_eq!(watch.look(), Verdict::Fine(LOOK_MIN));
    }
}
