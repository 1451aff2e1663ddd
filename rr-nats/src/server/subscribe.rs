//! The subscriptions of a server on one connection.

use std::sync::Arc;

use async_nats::Subscriber;
use rr_spi::{Context, Delivery, Error, Shutdown, Target};
use tokio::task::JoinSet;

use super::Site;
use super::consume::consume;
use super::discovery::Question;
use crate::connection::{Link, next};
use crate::error;
use crate::wire::{RR_CANCEL, target_of};

/// Everything that a server is subscribed to.
pub(super) struct Subscriptions {
    requests: Vec<(Subscriber, Option<Target>)>,
    cancels: Vec<Subscriber>,
    questions: Vec<Question>,
}

impl Subscriptions {
    /// Subscribes, and proves it by a round trip: what the server denies is known by then.
    pub(super) async fn make(site: &Site, link: &Link) -> Result<Self, Error> {
        let limit = Context::background().with_timeout(site.config.connection.connect_timeout);
        let made = limit.race(async {
            let subscriptions = Self::subscribe(site, link).await?;
            link.round_trip().await?;
            Ok(subscriptions)
        });
        let made = made.await.unwrap_or_else(|_| Err(error::not_connected()))?;
        if let Some(complaint) = link.complaint() {
            return Err(error::refused(&complaint));
        }
        let denied = link.subscriptions_denied();
        match site.plan.requests.iter().find(|subject| denied.contains(subject)) {
            // Without cancelling or discovery the service works; without requests it does not.
            None => Ok(made),
            Some(subject) => Err(error::denied("subscribing to", subject, Delivery::NotSent)),
        }
    }

    async fn subscribe(site: &Site, link: &Link) -> Result<Self, Error> {
        // First of all, so that a cancel finds its subscription wherever its request does.
        let mut cancels = Vec::new();
        let wanted = site.plan.cancels.iter().filter(|_| site.config.cancel);
        for subject in wanted {
            cancels.push(link.subscribe(subject.clone(), None).await?);
        }
        let questions = match &site.discovery {
            Some(discovery) => discovery.subscribe(link).await?,
            None => Vec::new(),
        };
        let mut requests = Vec::new();
        for subject in &site.plan.requests {
            let known = target_of(&site.prefix, subject).and_then(|name| Target::parse(name).ok());
            let queue = site.config.queue.clone();
            requests.push((link.subscribe(subject.clone(), queue).await?, known));
        }
        Ok(Self { requests, cancels, questions })
    }

    /// Serves until the connection is lost, or until a drain has ended every subscription.
    pub(super) async fn serve(self, site: &Arc<Site>, link: &Arc<Link>, shutdown: &Shutdown) {
        // Aborted when this ends: discovery and cancelling last as long as requests do.
        let mut beside = JoinSet::new();
        for subscriber in self.cancels {
            beside.spawn(cancel(Arc::clone(site), subscriber));
        }
        if let Some(discovery) = &site.discovery {
            for question in self.questions {
                beside.spawn(Arc::clone(discovery).answer(Arc::clone(link), question));
            }
        }
        let mut requests = JoinSet::new();
        for (subscriber, known) in self.requests {
            let (site, link) = (Arc::clone(site), Arc::clone(link));
            requests.spawn(consume(site, link, subscriber, known, shutdown.clone()));
        }
        while requests.join_next().await.is_some() {}
        if !link.is_lost() {
            // Handlers that are still running can be cancelled to their end.
            site.tasks.idle().await;
        }
    }
}

/// Cancels calls on the word of their callers.
async fn cancel(site: Arc<Site>, mut subscriber: Subscriber) {
    while let Some(message) = next(&mut subscriber).await {
        let headers = message.headers.as_ref();
        if let Some(reply) = headers.and_then(|headers| headers.get(RR_CANCEL)) {
            site.cancels.cancel(site.cancels.key(reply.as_str()));
        }
    }
}
