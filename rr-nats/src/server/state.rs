//! State shared by the parts of one server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::Subscriber;
use rr_spi::{BodyAccount, Context, Delivery, Error, Intake};
use tokio::sync::{Notify, Semaphore};

use super::cancels::Cancels;
use super::discovery::Discovery;
use super::endpoint_stats::Endpoints;
use super::tasks::Tasks;
use crate::config::{NatsServerConfig, QUEUE};
use crate::connection::{Link, NatsState};
use crate::error;
use crate::sync::{lock, until};
use crate::wire::SubscriptionSet;

/// Pause before a denied subscription is made again: permissions return only when an operator
/// grants them or the NATS server reloads.
const DENIED_PAUSE: Duration = Duration::from_secs(2);

/// Prefix of the reply subjects that a NATS server writes into requests from another account.
const OTHER_ACCOUNT: &str = "_R_.";

/// State shared by the parts of one server.
pub(super) struct ServerState {
    pub(super) prefix: String,
    pub(super) intake: Intake,
    pub(super) config: NatsServerConfig,
    pub(super) plan: SubscriptionSet,
    pub(super) endpoints: Endpoints,
    pub(super) discovery: Option<Arc<Discovery>>,
    pub(super) cancels: Cancels,
    pub(super) tasks: Tasks,
    pub(super) counts: Counts,
    /// Budget for body bytes, one for all callers: the server cannot distinguish them.
    pub(super) account: Arc<BodyAccount>,
    /// Lets one subscription at a time be made again.
    resubscribing: Semaphore,
    /// Ends with the server.
    pub(super) life: Context,
    status: Mutex<Status>,
    changed: Notify,
}

#[derive(Default)]
pub(super) struct Status {
    pub(super) link: Option<Arc<Link>>,
    last_error: Option<Error>,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) connects: AtomicU64,
    pub(super) without_reply: AtomicU64,
    pub(super) given_up: AtomicU64,
    pub(super) headers_dropped: AtomicU64,
}

impl Counts {
    pub(super) fn without_reply(&self) {
        self.without_reply.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn given_up(&self, requests: usize) {
        self.given_up.fetch_add(requests as u64, Ordering::Relaxed);
    }

    pub(super) fn headers_dropped(&self, headers: u64) {
        if headers > 0 {
            self.headers_dropped.fetch_add(headers, Ordering::Relaxed);
        }
    }
}

impl ServerState {
    pub(super) fn new(
        prefix: String,
        intake: Intake,
        config: NatsServerConfig,
        id: u64,
        life: Context,
    ) -> Result<Self, Error> {
        let plan = SubscriptionSet::of(&prefix, intake.routes())?;
        let endpoints = Endpoints::of_routes(intake.routes());
        let name = if prefix.is_empty() { &config.connection.name } else { &prefix };
        let (queue, version) = (config.queue.clone(), config.version.clone());
        let routes = intake.routes();
        let discovery = config.discovery.then(|| {
            Arc::new(Discovery::new(routes, &endpoints, &prefix, name, queue, version, id))
        });
        let bodies = intake.bodies().whole();
        Ok(Self {
            prefix,
            intake,
            config,
            plan,
            endpoints,
            discovery,
            cancels: Cancels::default(),
            tasks: Tasks::default(),
            counts: Counts::default(),
            account: bodies,
            resubscribing: Semaphore::new(1),
            life,
            status: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Returns whether no other responder received the request of this reply subject, so that a
    /// refusal proves that no handler ran.
    ///
    /// Each queue group receives every request, and the servers of the default group trust that
    /// there is no other group (docs/src/wire.md#refusals-over-nats). A request from another
    /// account may have been received in that account as well.
    pub(super) fn is_only_receiver(&self, reply: &str) -> bool {
        match &self.config.queue {
            None => false,
            Some(_) if self.config.sole_group => true,
            Some(queue) => queue == QUEUE && !reply.starts_with(OTHER_ACCOUNT),
        }
    }

    /// Waits until a subscription is denied, and makes it again after [`DENIED_PAUSE`]. Returns the
    /// new subscription and the number of denials before it.
    pub(super) async fn resubscribe(
        &self,
        link: &Link,
        subject: &str,
        mut denials: u64,
    ) -> (Subscriber, u64) {
        loop {
            link.denied(subject, denials).await;
            self.record_error(error::denied("subscribing to", &subject, Delivery::NotSent));
            tokio::time::sleep(DENIED_PAUSE).await;
            denials = link.denials(subject);
            // One at a time: the client library drops denials when many arrive together.
            let _turn = self.resubscribing.acquire().await;
            let subscribed = link.subscribe(subject.to_owned(), self.config.queue.clone()).await;
            let proved = link.round_trip().await;
            link.confirm_subscriptions();
            match subscribed.and_then(|subscriber| proved.map(|()| subscriber)) {
                Ok(subscriber) => return (subscriber, denials),
                Err(error) => self.record_error(error),
            }
        }
    }

    /// Waits for a connection that is not lost.
    pub(super) async fn next_link(&self) -> Arc<Link> {
        self.until(|status| status.link.clone().filter(|link| !link.is_lost())).await
    }

    pub(super) fn current(&self) -> Option<Arc<Link>> {
        lock(&self.status).link.clone()
    }

    pub(super) fn state(&self) -> NatsState {
        lock(&self.status).state()
    }

    /// Waits until the state differs from `known`, and returns it.
    pub(super) async fn changed(&self, known: NatsState) -> NatsState {
        self.until(|status| Some(status.state()).filter(|state| *state != known)).await
    }

    pub(super) fn last_error(&self) -> Option<Error> {
        lock(&self.status).last_error.clone()
    }

    pub(super) fn connected(&self, link: &Arc<Link>) {
        self.counts.connects.fetch_add(1, Ordering::Relaxed);
        self.set(|status| status.link = Some(Arc::clone(link)));
    }

    /// Records an error, which stays readable after a reconnect.
    pub(super) fn record_error(&self, error: Error) {
        self.set(|status| status.last_error = Some(error));
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut Status)) {
        change(&mut lock(&self.status));
        self.changed.notify_waiters();
    }

    /// Waits until `check` returns `Some` for the status.
    async fn until<T>(&self, check: impl Fn(&Status) -> Option<T>) -> T {
        until(&self.changed, || check(&lock(&self.status))).await
    }
}

impl Status {
    fn state(&self) -> NatsState {
        let refused = error::is_refusal;
        match &self.link {
            Some(link) if !link.is_lost() => NatsState::Connected,
            _ if self.last_error.as_ref().is_some_and(refused) => NatsState::Refused,
            _ => NatsState::Disconnected,
        }
    }
}
