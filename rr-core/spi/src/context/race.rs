//! Runs a future until it completes or its context ends.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, Waker, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Context;
use super::cause::Cause;
use super::deadline::Deadline;
use super::scope::Scope;

/// Longest time for which a timer is armed. Tokio's timer wheel ends near two years; a later
/// deadline is reached in several steps.
const STRETCH: Duration = Duration::from_secs(365 * 24 * 60 * 60);

pin_project! {
    /// Future of [`Context::race`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Race<'a, F> {
        #[pin]
        future: F,
        #[pin]
        timer: Option<Sleep>,
        waits: Waits<'a>,
        started: bool,
        // Whether the first poll checks the deadline; false if the caller has just checked it.
        check_deadline: bool,
    }
}

impl<'a, F: Future> Race<'a, F> {
    pub(super) fn new(ctx: &'a Context, future: F) -> Self {
        Self { future, timer: None, waits: Waits::new(ctx), started: false, check_deadline: true }
    }

    /// Makes a race for a caller that has just checked that the deadline has not passed.
    pub(crate) fn checked(ctx: &'a Context, future: F) -> Self {
        Self { check_deadline: false, ..Self::new(ctx, future) }
    }
}

impl<F: Future> Future for Race<'_, F> {
    type Output = Result<F::Output, Cause>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let ctx = this.waits.ctx;
        if *this.started {
            if poll_deadline(this.timer.as_mut(), ctx.deadline, cx).is_ready() {
                return Poll::Ready(Err(Cause::DeadlineExceeded));
            }
            if let Some(cause) = ctx.scope_cause() {
                return Poll::Ready(Err(cause));
            }
            if let Poll::Ready(output) = this.future.poll(cx) {
                return Poll::Ready(Ok(output));
            }
            return this.waits.register(cx.waker()).map_or(Poll::Pending, |c| Poll::Ready(Err(c)));
        }
        *this.started = true;
        if let Some(cause) = ctx.scope_cause() {
            return Poll::Ready(Err(cause));
        }
        let deadline = ctx.deadline.filter(|_| *this.check_deadline);
        let now = deadline.map(|_| Instant::now());
        if deadline.zip(now).is_some_and(|(deadline, now)| now >= deadline.instant()) {
            return Poll::Ready(Err(Cause::DeadlineExceeded));
        }
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        if let Some(deadline) = ctx.deadline {
            let now = now.unwrap_or_else(Instant::now);
            this.timer.set(Some(sleep_until(stretch(deadline, now))));
            if poll_deadline(this.timer, ctx.deadline, cx).is_ready() {
                return Poll::Ready(Err(Cause::DeadlineExceeded));
            }
        }
        this.waits.register(cx.waker()).map_or(Poll::Pending, |c| Poll::Ready(Err(c)))
    }
}

fn stretch(deadline: Deadline, now: Instant) -> Instant {
    let far = now.checked_add(STRETCH).unwrap_or_else(|| deadline.instant());
    deadline.instant().min(far)
}

fn poll_deadline(
    mut timer: Pin<&mut Option<Sleep>>,
    deadline: Option<Deadline>,
    cx: &mut TaskContext<'_>,
) -> Poll<()> {
    let (Some(mut timer), Some(deadline)) = (timer.as_mut().as_pin_mut(), deadline) else {
        return Poll::Pending;
    };
    ready!(timer.as_mut().poll(cx));
    while !deadline.has_passed() {
        timer.as_mut().reset(stretch(deadline, Instant::now()));
        ready!(timer.as_mut().poll(cx));
    }
    Poll::Ready(())
}

/// Waiters of a race, one per scope above the context: two inline, further ones on the heap.
struct Waits<'a> {
    ctx: &'a Context,
    first: Option<usize>,
    second: Option<usize>,
    /// A pointer instead of a `Vec`, since every call in flight stores this field twice.
    more: Option<Box<More>>,
    /// Registered waker. Most polls come with the same waker and take no lock.
    waker: Option<Waker>,
}

#[derive(Default)]
struct More(Vec<Option<usize>>);

impl<'a> Waits<'a> {
    fn new(ctx: &'a Context) -> Self {
        Self { ctx, first: None, second: None, more: None, waker: None }
    }

    /// Registers the waker with every scope, or returns the cause of a scope that has ended.
    fn register(&mut self, waker: &Waker) -> Option<Cause> {
        if self.waker.as_ref().is_some_and(|registered| registered.will_wake(waker)) {
            return None;
        }
        for (at, scope) in self.ctx.scopes().enumerate() {
            let key = match at {
                0 => &mut self.first,
                1 => &mut self.second,
                at => {
                    let More(keys) = &mut **self.more.get_or_insert_default();
                    if keys.len() <= at - 2 {
                        keys.push(None);
                    }
                    &mut keys[at - 2]
                }
            };
            *key = scope.register(*key, waker);
            if key.is_none() {
                return scope.cause();
            }
        }
        if self.first.is_some() {
            self.waker = Some(waker.clone());
        }
        None
    }

    fn keys(&self) -> impl Iterator<Item = Option<usize>> {
        let more = self.more.iter().flat_map(|more| more.0.iter().copied());
        [self.first, self.second].into_iter().chain(more)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let waits = self.ctx.scopes().zip(self.keys());
        for (scope, key) in waits.filter_map(|(scope, key)| Some((scope, key?))) {
            Scope::forget(scope, key);
        }
    }
}

impl<F> fmt::Debug for Race<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Race").field("started", &self.started).finish_non_exhaustive()
    }
}
