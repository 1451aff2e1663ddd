//! How a subscription leaves its queue group without losing a request.

use std::sync::Arc;

use super::consume::Feed;
use crate::connection::Link;
use crate::error;
use crate::wait::{First, first};

impl<F: Future<Output = ()> + Send + 'static> Feed<F> {
    /// Leaves the queue group without losing a request that the server has sent here.
    ///
    /// The server forgets the subscription first. What it has sent by then comes before the proof
    /// that it has, and is answered; then the library forgets the subscription as well.
    pub(super) async fn leave(&mut self) {
        let link = Arc::clone(&self.link);
        let told = match Link::sid(&self.subscriber) {
            Some(sid) => first(link.end_at_server(sid), self.answer_all()).await,
            None => First::One(Err(error::not_connected())),
        };
        if let First::One(Err(_)) = told {
            // The library's own way may lose what is on its way.
            let _ = self.subscriber.drain().await;
            return self.answer_all().await;
        }
        first(link.round_trip(), self.answer_all()).await;
        self.collect_ready();
        self.ended = true;
        self.answer_all().await;
    }
}
