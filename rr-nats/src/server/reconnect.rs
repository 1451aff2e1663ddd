//! Loop of a server over successive connections.

use std::sync::Arc;
use std::time::Duration;

use rr_spi::{CancelHandle, Cause, Context, Shutdown};

use super::state::ServerState;
use super::subscribe::Subscriptions;
use crate::connection::{Dialer, Link, Loss};
use crate::sync::{First, first};

/// Longest wait, at the end of a drain, for the NATS server to confirm that it received the last
/// replies.
const CONFIRM_MAX: Duration = Duration::from_millis(500);

impl ServerState {
    /// Serves on successive connections until a drain is done.
    ///
    /// A drain first leaves each queue group: the NATS server forgets the subscription, and every
    /// request that it sent before is still admitted and answered. Then admission stops, and the
    /// connection stays until every reply has left.
    pub(super) async fn run(
        self: Arc<Self>,
        mut dialer: Dialer,
        mut link: Arc<Link>,
        mut subscriptions: Subscriptions,
        shutdown: &Shutdown,
    ) {
        loop {
            subscriptions.serve(&self, &link, shutdown).await;
            if !link.is_lost() {
                break;
            }
            let loss = self.record_loss(&link).await;
            match shutdown.until_draining(self.reconnect(&mut dialer)).await {
                Some(made) => (link, subscriptions) = made,
                None => break,
            }
            loss.replaced(&link);
            self.connected(&link);
        }
        // No more requests arrive.
        self.intake.stop_admitting();
        self.last_replies(&mut dialer, link).await;
    }

    /// Connects and subscribes again, without a time limit.
    async fn reconnect(&self, dialer: &mut Dialer) -> (Arc<Link>, Subscriptions) {
        loop {
            let link = self.dial(dialer).await;
            match Subscriptions::make(self, &link).await {
                Ok(subscriptions) => return (link, subscriptions),
                Err(error) => self.record_error(error),
            }
        }
    }

    async fn dial(&self, dialer: &mut Dialer) -> Arc<Link> {
        loop {
            dialer.pause().await;
            match dialer.dial(None).await {
                Ok(link) => return Arc::new(link),
                Err(error) => self.record_error(error),
            }
        }
    }

    /// Waits until every reply has left. If the connection is lost meanwhile, connects again for
    /// the remaining replies, without subscribing.
    async fn last_replies(&self, dialer: &mut Dialer, mut link: Arc<Link>) {
        while link.alive().race(self.tasks.idle()).await.is_err() {
            let loss = self.record_loss(&link).await;
            let First::Other(next) = first(self.tasks.idle(), self.dial(dialer)).await else {
                return;
            };
            loss.replaced(&next);
            self.connected(&next);
            link = next;
        }
        let confirm = Context::background().with_timeout(CONFIRM_MAX);
        let _ = confirm.race(link.round_trip()).await;
    }

    async fn record_loss(&self, link: &Link) -> Loss {
        Loss::record(link, self.intake.monitor(), |error| self.record_error(error)).await
    }
}

/// Cleanup at the end of the server. Dropping it closes the connection even if `NatsServerStats` is
/// still held, cancels requests admitted after the last cancel, and ends waits for another
/// connection.
pub(super) struct Cleanup {
    pub(super) state: Arc<ServerState>,
    pub(super) life: CancelHandle,
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        self.state.intake.stop_admitting();
        self.state.intake.cancel_all(Cause::Shutdown);
        self.state.set(|status| status.link = None);
        self.life.cancel_with(Cause::Shutdown);
    }
}
