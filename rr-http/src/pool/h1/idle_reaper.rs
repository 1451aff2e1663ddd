//! Watches the unused connections of a pool, and closes those that have ended or expired.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{H1Shared, Idle, IdleConnections};
use crate::pool::{Owned, pause};
use crate::self_wake::SelfWake;
use crate::sync::lock;

/// Task that watches unused connections, on the runtime of the pool.
pub(super) struct IdleReaper {
    task: Owned,
    waker: Waker,
}

/// Values left over by [`IdleConnections::keep`], to be dropped outside of the lock.
type Left = (Option<Waker>, Option<Idle>);

impl IdleConnections {
    /// Keeps an unused connection if the limits allow. If no reaper runs, also returns the filter
    /// for the reaper that the caller has to start.
    pub(super) fn keep(&mut self, mut idle: Idle, shared: &H1Shared) -> (Left, Option<SelfWake>) {
        if self.connections.len() >= shared.idle_max || shared.idle_timeout.is_zero() {
            return ((None, Some(idle)), None);
        }
        let mut started = None;
        let reaper = self.reaper.get_or_insert_with(|| {
            let self_wake = started.insert(SelfWake::new());
            IdleReaper { task: Owned::default(), waker: self_wake.waker().clone() }
        });
        let caller = idle.link.self_wake.hand_to(&reaper.waker);
        if idle.link.idle_since.is_none() {
            self.answers += 1;
            idle.link.idle_since = Some(self.answers);
        }
        self.connections.push(idle);
        ((caller, None), started)
    }
}

impl H1Shared {
    /// Starts a reaper. Not under the lock: a runtime that is ending drops the task, which takes
    /// the lock.
    pub(super) fn start_reaper(self: &Arc<Self>, started: Option<SelfWake>) {
        let Some(self_wake) = started else { return };
        let watched = Watched { pool: Arc::downgrade(self), ended: false };
        let task = tokio::spawn(watch_idle(watched, pause(self.idle_timeout), self_wake));
        let mut locked = lock(&self.idle);
        if let Some(reaper) = locked.reaper.as_mut().filter(|reaper| reaper.task.0.is_none()) {
            reaper.task = Owned(Some(task.abort_handle()));
        }
    }

    /// Polls the unused connections that were woken, and drops those that have ended.
    fn poll_idle(self: &Arc<Self>, cx: &mut Context<'_>) {
        // Not under the lock: streams may belong to the application.
        for mut idle in self.remove_where(|idle| idle.link.self_wake.is_woken()) {
            idle.link.poll_idle(cx);
            if idle.link.connection.is_none() {
                continue;
            }
            let mut locked = lock(&self.idle);
            if let Some(call) = locked.waiting.next() {
                drop(locked);
                self.give(idle, Some(call));
            } else if locked.connections.len() < self.idle_max {
                // As the oldest: connections put back meanwhile were used later.
                locked.connections.insert(0, idle);
            }
        }
    }

    /// Closes connections that have been unused for too long. Returns `false` when none are left.
    fn reap(&self) -> bool {
        let now = Instant::now();
        drop(self.remove_where(|idle| now >= idle.expires));
        let mut locked = lock(&self.idle);
        if locked.connections.is_empty() {
            // The next connection that is kept starts another reaper.
            locked.reaper = None;
            return false;
        }
        true
    }

    pub(super) fn remove_where(&self, which: impl Fn(&Idle) -> bool) -> Vec<Idle> {
        let mut locked = lock(&self.idle);
        if !locked.connections.iter().any(&which) {
            return Vec::new();
        }
        let connections = std::mem::take(&mut locked.connections);
        let (taken, left) = connections.into_iter().partition(which);
        locked.connections = left;
        taken
    }
}

/// Watches the unused connections of a pool until there are none.
async fn watch_idle(mut watched: Watched, pause: Duration, mut self_wake: SelfWake) {
    let mut timer = pin!(sleep(pause));
    poll_fn(|cx| {
        let Some(pool) = watched.pool.upgrade() else { return Poll::Ready(()) };
        self_wake.poll(cx, |cx, _| {
            pool.poll_idle(cx);
            while timer.as_mut().poll(cx).is_ready() {
                watched.ended = !pool.reap();
                if watched.ended {
                    return Poll::Ready(());
                }
                timer.as_mut().reset(super::super::after(pause));
            }
            Poll::Pending
        })
    })
    .await;
}

/// Pool whose unused connections are watched. If the task ends early, with its runtime, these
/// connections are closed.
struct Watched {
    pool: Weak<H1Shared>,
    ended: bool,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade().filter(|_| !self.ended) {
            lock(&pool.idle).reaper = None;
            drop(pool.remove_where(|_| true));
        }
    }
}
