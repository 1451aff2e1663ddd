//! The phases of a shutdown: lame duck, drain, end.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

use crate::context::{CancelHandle, Cause, Context, Deadline};
use crate::intake::Intake;
use crate::observe::Event;

/// Time for the replies of requests that were cancelled at the end of the grace to leave.
/// Sufficient for a local network; the drain does not wait longer for a peer that does not read.
pub(super) const FLUSH: Duration = Duration::from_millis(500);

/// State of a shutdown, shared by the handle of a server and its task. Each of them begins the
/// drain at the end of the lame duck: the handle may be dropped, and the task may not be driven.
pub(super) struct Phases {
    pub(super) intake: Intake,
    /// Ends the contexts of the same names.
    pub(super) announced: CancelHandle,
    pub(super) draining: CancelHandle,
    pub(super) times: Mutex<Times>,
}

/// Times of a shutdown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    /// Shortest grace that was asked for; `None` before the first shutdown.
    grace: Option<Duration>,
    /// End of the grace, set when the drain begins; a later call can only shorten it.
    end: Option<Deadline>,
    /// Whether the server's task has noticed the end.
    is_over: bool,
}

impl Phases {
    /// Records that a shutdown was asked for. The first call begins the lame duck, if the
    /// configuration has one; every other call begins the drain. Returns the time until the drain
    /// begins by itself.
    pub(super) fn shut_down(&self, grace: Duration) -> Duration {
        let lame_duck = self.intake.config().lame_duck;
        let is_first = {
            let mut times = lock(&self.times);
            let before = times.grace;
            times.grace = Some(before.map_or(grace, |before| before.min(grace)));
            times.end = times.end.map(|end| end.min(Deadline::after(grace)));
            before.is_none()
        };
        if is_first && !lame_duck.is_zero() {
            self.announce();
            return lame_duck;
        }
        self.drain();
        Duration::ZERO
    }

    fn announce(&self) {
        self.intake.announce_drain();
        self.announced.cancel_with(Cause::Shutdown);
    }

    /// Begins the drain, unless it has begun.
    pub(super) fn drain(&self) {
        let is_first = {
            let mut times = lock(&self.times);
            let is_first = times.end.is_none();
            let grace = times.grace.unwrap_or_default();
            times.end.get_or_insert_with(|| Deadline::after(grace));
            is_first
        };
        if is_first {
            let in_flight = self.intake.in_flight();
            self.intake.monitor().event(&Event::DrainStarted { in_flight });
        }
        self.announce();
        self.intake.drain();
        self.draining.cancel_with(Cause::Shutdown);
    }

    fn has_begun_to_drain(&self) -> bool {
        lock(&self.times).end.is_some()
    }

    /// Returns whether the server's task has noticed the end of the grace.
    pub(super) fn is_over(&self) -> bool {
        lock(&self.times).is_over
    }
}

/// Owner of the transport's future, which runs it through the phases of a shutdown.
pub(super) struct Supervisor {
    pub(super) phases: Arc<Phases>,
    pub(super) alive: Context,
    pub(super) announced: Context,
    pub(super) draining: Context,
    pub(super) closing: CancelHandle,
}

impl Supervisor {
    pub(super) async fn run(self, transport: impl Future<Output = ()>) {
        let intake = &self.phases.intake;
        let (mut transport, mut is_done) = (pin!(transport), false);
        // May be awaited again after it has completed.
        let mut transport = pin!(poll_fn(|cx| {
            if !is_done {
                ready!(transport.as_mut().poll(cx));
                is_done = true;
            }
            Poll::Ready(())
        }));
        // A transport that ends by itself has lost its socket: no request in flight can be answered.
        if self.announced.race(transport.as_mut()).await.is_ok() {
            return;
        }
        let lame_duck = self.draining.with_timeout(intake.config().lame_duck);
        if lame_duck.race(transport.as_mut()).await.is_ok() {
            return;
        }
        self.phases.drain();
        let drained = async {
            transport.as_mut().await;
            // Requests by value or detached from a connection may outlive the transport's future.
            intake.idle().await;
        };
        if self.within_grace(pin!(drained)).await {
            return;
        }
        lock(&self.phases.times).is_over = true;
        intake.cancel_all(Cause::Shutdown);
        // Shielded work cannot be cancelled: it continues, but the drain no longer waits for it.
        let flushed = async {
            transport.as_mut().await;
            intake.no_requests().await;
        };
        if self.alive.with_timeout(FLUSH).race(flushed).await.is_ok() {
            return;
        }
        self.closing.cancel_with(Cause::Shutdown);
        let _ = self.alive.with_timeout(FLUSH).race(transport.as_mut()).await;
    }

    /// Runs the drain until the grace is over and returns whether the drain ended first.
    ///
    /// A later, shorter grace counts from its own call.
    async fn within_grace(&self, mut drained: Pin<&mut impl Future<Output = ()>>) -> bool {
        loop {
            let Times { end, .. } = *lock(&self.phases.times);
            let Some(end) = end else { return false };
            if end.has_passed() {
                return false;
            }
            // Checked again every 50 ms, since a second call may have shortened the grace.
            let step = self.alive.with_deadline(end).with_timeout(Duration::from_millis(50));
            match step.race(drained.as_mut()).await {
                Ok(()) => return true,
                Err(Cause::DeadlineExceeded) => {}
                Err(_) => return false,
            }
        }
    }
}

impl Drop for Supervisor {
    /// Stops admission and cancels all requests however the server ends, including by a panic of
    /// its transport. Reports the end of a drain.
    fn drop(&mut self) {
        let intake = &self.phases.intake;
        intake.drain();
        intake.cancel_all(Cause::Shutdown);
        if self.phases.has_begun_to_drain() {
            intake.monitor().event(&Event::DrainEnded { report: intake.report() });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Values are only copied under the lock, so a panic leaves a valid value.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
