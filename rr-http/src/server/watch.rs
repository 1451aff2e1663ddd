//! What a connection is doing, and when it has done too little for too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::time::Instant;

use crate::config::HttpServerConfig;

/// Shortest and longest time between two looks at a connection, whatever its timeouts are: a look
/// costs little, and a timer has an end.
const LOOK_MIN: Duration = Duration::from_millis(5);
const LOOK_MAX: Duration = Duration::from_secs(60 * 60);

/// What a connection is doing: noted by its socket, its requests and its replies, and looked at
/// every so often. Noting costs no timer, so that a request needs none.
pub(super) struct Watch {
    born: Instant,
    timeouts: Timeouts,
    /// Requests that are being answered, and what is still read of their bodies.
    active: AtomicUsize,
    /// Replies that have not wholly left.
    leaving: AtomicUsize,
    /// Since when nothing was asked for.
    idle: Moment,
    /// Since when the head of an HTTP/1 request has been arriving.
    head: Moment,
    /// Since when the socket has taken nothing of what is written.
    blocked: Moment,
    /// When a reply last moved on, or began to leave while no other did.
    moved: Moment,
}

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
            active: AtomicUsize::new(0),
            leaving: AtomicUsize::new(0),
            idle: Moment::default(),
            head: Moment::default(),
            blocked: Moment::default(),
            moved: Moment::default(),
        };
        watch.idle.set(Duration::ZERO);
        Arc::new(watch)
    }

    /// Notes that a request, or something else that keeps the connection in use, has begun.
    pub(super) fn begin(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, Ordering::SeqCst);
        self.head.clear();
        Active(Arc::clone(self))
    }

    /// Notes that bytes of HTTP/1 have arrived. Outside of a request they are those of a head.
    pub(super) fn received(&self) {
        if self.active.load(Ordering::SeqCst) == 0 && self.head.get().is_none() {
            self.head.set(self.age());
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

    /// Tells whether there is nothing left to answer.
    pub(super) fn is_done(&self) -> bool {
        self.active.load(Ordering::SeqCst) == 0
            && self.leaving.load(Ordering::SeqCst) == 0
            && self.blocked.get().is_none()
    }

    /// Looks at the connection as it is now.
    pub(super) fn look(&self) -> Verdict {
        self.look_at(self.age())
    }

    fn look_at(&self, now: Duration) -> Verdict {
        let Timeouts { write, idle, head } = self.timeouts;
        let moved = self.moved.get().filter(|_| self.leaving.load(Ordering::SeqCst) > 0);
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
        // Before it is counted off, so that nobody sees an old moment with nothing active.
        self.0.idle.set(self.0.age());
        self.0.active.fetch_sub(1, Ordering::SeqCst);
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
        if watch.leaving.load(Ordering::SeqCst) == 0 {
            watch.moved.set(watch.age());
        }
        watch.leaving.fetch_add(1, Ordering::SeqCst);
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
        self.watch.moved.set(self.watch.age());
    }

    fn copy_to_bytes(&mut self, taken: usize) -> Bytes {
        self.watch.moved.set(self.watch.age());
        self.bytes.copy_to_bytes(taken)
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.watch.idle.set(self.watch.age());
        self.watch.leaving.fetch_sub(1, Ordering::SeqCst);
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
        pass(250).await;
        first.advance(1);
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
