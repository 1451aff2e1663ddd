//! The subscriptions of a server on one connection.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;
use rr_spi::{Context, Delivery, Error, Shutdown, Target};
use tokio::task::JoinSet;

use super::discovery::VerbSubscription;
use super::state::ServerState;
use super::subscription::{Subscribed, consume};
use crate::connection::{Link, next};
use crate::error;
use crate::wire::{RR_CANCEL, target_of};

/// Time after the round trip within which a denial still fails `serve`. The denial arrives before
/// the proof, but through a channel and a task of the client library, which may run later. The loop
/// of the subscription handles a later denial.
const DENIED_WITHIN: Duration = Duration::from_millis(20);

/// Maximum number of subscriptions between two round trips: the client library drops denials when
/// more than 128 arrive together.
const AT_ONCE: usize = 64;

/// All subscriptions of a server on one connection.
pub(super) struct Subscriptions {
    requests: Vec<Subscribed>,
    cancels: Vec<Subscriber>,
    verbs: Vec<VerbSubscription>,
}

impl Subscriptions {
    /// Subscribes, and proves the subscriptions by a round trip.
    pub(super) async fn make(state: &ServerState, link: &Link) -> Result<Self, Error> {
        let limit = Context::background().with_timeout(state.config.connection.connect_timeout);
        let made = limit.race(async {
            let subscriptions = Self::subscribe(state, link).await?;
            link.round_trip().await?;
            Ok(subscriptions)
        });
        let made = made.await.unwrap_or_else(|_| Err(error::not_connected()))?;
        link.confirm_subscriptions();
        match link.server_error() {
            Some(server_error) => Err(error::refused(&server_error)),
            None => Ok(made),
        }
    }

    /// Fails if the NATS server has denied a subscription to requests. Denials for cancelling and
    /// discovery are ignored: the service works without them.
    pub(super) async fn check(&self, link: &Link) -> Result<(), Error> {
        let denied = || self.requests.iter().find(|one| link.denials(&one.subject) > 0);
        let limit = link.alive().with_timeout(DENIED_WITHIN);
        let _ = limit.race(link.until_proved(|| denied().map(drop))).await;
        match denied() {
            None => Ok(()),
            Some(one) => Err(error::denied("subscribing to", &one.subject, Delivery::NotSent)),
        }
    }

    async fn subscribe(state: &ServerState, link: &Link) -> Result<Self, Error> {
        // Cancels are subscribed to first, so that the cancel of every received request arrives.
        let mut cancels = Vec::new();
        let wanted = state.plan.cancels.iter().filter(|_| state.config.cancel);
        for subject in wanted {
            cancels.push(link.subscribe(subject.clone(), None).await?);
        }
        let mut requests = Vec::new();
        for (at, subject) in state.plan.requests.iter().enumerate() {
            if at % AT_ONCE == 0 {
                link.round_trip().await?;
            }
            let target =
                target_of(&state.prefix, subject).and_then(|name| Target::parse(name).ok());
            let queue = state.config.queue.clone();
            let subscriber = link.subscribe(subject.clone(), queue).await?;
            requests.push(Subscribed { subject: subject.clone(), subscriber, target });
        }
        link.round_trip().await?;
        let verbs = match &state.discovery {
            Some(discovery) => discovery.subscribe_to_verbs(link).await?,
            None => Vec::new(),
        };
        Ok(Self { requests, cancels, verbs })
    }

    /// Serves until the connection is lost, or until a drain has ended every subscription.
    pub(super) async fn serve(
        self,
        state: &Arc<ServerState>,
        link: &Arc<Link>,
        shutdown: &Shutdown,
    ) {
        // Aborted when this function ends: discovery and cancelling run while requests are served.
        let mut helpers = JoinSet::new();
        for subscriber in self.cancels {
            helpers.spawn(cancel(Arc::clone(state), subscriber));
        }
        if let Some(discovery) = &state.discovery {
            for subscription in self.verbs {
                helpers.spawn(Arc::clone(discovery).answer(Arc::clone(link), subscription));
            }
        }
        let mut requests = JoinSet::new();
        for subscribed in self.requests {
            let (state, link) = (Arc::clone(state), Arc::clone(link));
            requests.spawn(consume(state, link, subscribed, shutdown.clone()));
        }
        if requests.is_empty() {
            // A server without routes receives no requests, but discovery still shows it.
            let _ = shutdown.until_draining(link.alive().cancelled()).await;
        }
        while let Some(ended) = requests.join_next().await {
            if !ended.unwrap_or(false) {
                // The task may have panicked, and no other task receives its requests.
                link.mark_lost();
            }
        }
        // Handlers that are still running can be cancelled until they end.
        let _ = link.alive().race(state.tasks.idle()).await;
    }
}

/// Cancels the calls that cancel messages name.
async fn cancel(state: Arc<ServerState>, mut subscriber: Subscriber) {
    while let Some(message) = next(&mut subscriber).await {
        let headers = message.headers.as_ref();
        let mut headers = headers.into_iter().flat_map(|headers| headers.iter());
        // Peers may write header names in any case.
        let named =
            headers.find(|(name, _)| AsRef::<str>::as_ref(*name).eq_ignore_ascii_case(RR_CANCEL));
        if let Some(reply) = named.and_then(|(_, values)| values.first()) {
            state.cancels.cancel(state.cancels.key(reply.as_str()));
        }
    }
}
