//! How a subscription leaves its queue group without losing a request.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::coop::unconstrained;

use super::consume::Feed;
use super::first::first;
use super::tasks::{Running, Tasks};

/// Shortest time for which the rate of requests is looked at before a drain.
const LOOK: Duration = Duration::from_millis(20);

/// Silence after which a subscription counts as quiet: far more than a message takes through a
/// local network.
const QUIET: Duration = Duration::from_millis(30);

/// What may be on its way here although nothing came while we looked.
const SLACK_MIN: u64 = 32;

impl<F: Future<Output = ()> + Send + 'static> Feed<F> {
    /// Leaves the queue group without losing a request that the server has sent here.
    ///
    /// Leaving at once loses what is on its way: the library forgets the subscription before the
    /// server does. So first the server is told to stop after a number of messages that both
    /// count, larger than what can be on its way at the rate that was just seen. Then that number
    /// comes, or there is silence. Once all subscriptions of the connection are silent, leaving
    /// loses nothing, as long as nothing else makes the library look at its socket within the
    /// round trip that it takes.
    pub(super) async fn leave(&mut self, busy: Running, quiet: &Tasks) {
        if self.stop_after_slack().await && self.is_silent_at_last().await {
            drop(busy);
            // Whoever is quiet keeps answering until all are.
            first(quiet.idle(), self.answer_all()).await;
            self.unsubscribe().await;
        }
    }

    /// Tells the server when to stop; tells whether the subscription is still there.
    async fn stop_after_slack(&mut self) -> bool {
        let look = LOOK.max(self.link.rtt() * 2);
        self.collect_ready();
        let before = self.taken;
        let within = rr_spi::Context::background().with_timeout(look);
        if within.race(self.answer_all()).await.is_ok() {
            return false;
        }
        loop {
            // Nothing runs between the count and the command: handlers that compute for long have
            // let messages gather meanwhile, which are collected, and not on their way any more.
            self.collect_ready();
            let slack = SLACK_MIN + 4 * (self.taken - before);
            if let Poll::Ready(told) = self.tell_at_once(self.taken + slack) {
                return told;
            }
            let link = Arc::clone(&self.link);
            first(link.writable(), self.answer_all()).await;
        }
    }

    /// Tells the server after how many messages to stop, unless that has to wait: by then the
    /// number would be wrong.
    fn tell_at_once(&mut self, messages: u64) -> Poll<bool> {
        let told = pin!(unconstrained(self.subscriber.unsubscribe_after(messages)));
        told.poll(&mut Context::from_waker(Waker::noop())).map(|told| told.is_ok())
    }

    /// Answers until nothing has come for a while; `false` when the subscription has ended.
    async fn is_silent_at_last(&mut self) -> bool {
        let quiet = QUIET.max(self.link.rtt() * 2);
        loop {
            let silence = rr_spi::Context::background().with_timeout(quiet);
            match silence.race(self.next()).await {
                Ok(Some(arrived)) => self.answer(arrived).await,
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    async fn unsubscribe(&mut self) {
        // One subscription after the other: any other traffic at this moment would make the
        // library forget this one before the server has.
        let site = Arc::clone(&self.site);
        let _turn = site.leaving.acquire().await;
        if self.subscriber.drain().await.is_ok() {
            self.answer_all().await;
        }
    }
}
