//! Ends a subscription without losing a request that the NATS server has sent.

use std::sync::Arc;

use std::time::Duration;

use rr_spi::Context;

use super::subscription::Subscription;
use crate::connection::Link;
use crate::error;
use crate::sync::{First, first};

/// Minimum number of requests still accepted when a subscription ends by count: more than are in
/// transit if hardly any arrived during a round trip.
const SLACK_MIN: u64 = 32;

/// Time without a request after which a subscription that ends by count stops waiting for the rest.
const QUIET: Duration = Duration::from_millis(100);

impl<F: Future<Output = Duration> + Send + 'static> Subscription<F> {
    /// Leaves the queue group without losing a request that the server has sent here.
    ///
    /// The NATS server forgets the subscription first. Requests that it sent before arrive ahead of
    /// the answer to a round trip, and are answered. Then the client library forgets the
    /// subscription as well.
    pub(super) async fn unsubscribe(&mut self) {
        let link = Arc::clone(&self.link);
        let sid = self.inbox.with_source(Link::sid).filter(|_| !self.state.config.drain_by_count);
        let told = match sid {
            Some(sid) => first(link.end_at_server(sid), self.answer_all()).await,
            None => First::One(Err(error::not_connected())),
        };
        if let First::One(Err(_)) = told {
            return self.unsubscribe_by_count(&link).await;
        }
        first(link.round_trip(), self.answer_all()).await;
        self.collect_ready();
        self.ended = true;
        self.answer_all().await;
    }

    /// Leaves with the library's `unsubscribe_after`: the subscription ends after a number of
    /// requests that server and library count alike, and that exceeds the requests in transit.
    /// Waits until that many have arrived, or until none arrives for [`QUIET`].
    async fn unsubscribe_by_count(&mut self, link: &Link) {
        let before = self.received;
        first(link.round_trip(), self.answer_all()).await;
        self.collect_ready();
        // The command takes up to a round trip to arrive; the factor of four allows for bursts.
        let slack = (self.received - before).saturating_mul(4).saturating_add(SLACK_MIN);
        let last = self.received.saturating_add(slack);
        if let Some(mut subscriber) = self.inbox.take_source() {
            let _ = subscriber.unsubscribe_after(last).await;
            self.inbox.put_source_back(subscriber);
        }
        loop {
            let before = self.received;
            let pause = Context::background().with_timeout(QUIET);
            if pause.race(self.answer_all()).await.is_ok() {
                return;
            }
            self.collect_ready();
            if self.received == before {
                break;
            }
        }
        if let Some(mut subscriber) = self.inbox.take_source() {
            let _ = subscriber.drain().await;
            self.inbox.put_source_back(subscriber);
        }
        self.answer_all().await;
    }
}
