//! The loop that receives requests of one subscription, and how it ends without losing one.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use rr_spi::{CancelHandle, Cause, Context, Shutdown, Target};

use super::Site;
use super::answer::{Arrived, Known};
use crate::config::NatsDispatch;
use crate::connection::{Link, next};

/// Tasks beside those of requests in flight, for refusals whose reply has to wait; over it the
/// loop waits as well, instead of starting more.
const REFUSALS_MAX: usize = 256;

/// Shortest time for which the rate of requests is looked at before a drain.
const LOOK: Duration = Duration::from_millis(20);

/// Silence after which a subscription counts as quiet: far more than a message takes through a
/// local network.
const QUIET: Duration = Duration::from_millis(30);

/// What may be on its way here although nothing came while we looked.
const SLACK_MIN: u64 = 32;

/// Takes a request apart into its answer, what cancels it, and its key.
type Split<F> = fn(Arrived, Arc<Site>, Arc<Link>) -> (F, CancelHandle, u64);

/// One subscription of a server on one connection; `F` is the future that answers a request.
pub(super) struct Feed<F> {
    site: Arc<Site>,
    link: Arc<Link>,
    subscriber: Subscriber,
    /// The one target of the subscription, if it has one.
    known: Option<Known>,
    answer: Split<F>,
    /// How many messages the subscription has brought.
    taken: u64,
    /// Memory for one answer, used again as long as answers need not wait.
    spare: Option<Pin<Box<Option<F>>>>,
}

/// Answers the requests of a subscription until its connection is lost, or until a drain is done.
pub(super) async fn consume(
    site: Arc<Site>,
    link: Arc<Link>,
    subscriber: Subscriber,
    known: Option<Target>,
    shutdown: Shutdown,
) {
    let known = known.map(|target| Known::of(&site, target));
    let (answer, taken, spare) = (Arrived::split as Split<_>, 0, None);
    Feed { site, link, subscriber, known, answer, taken, spare }.run(&shutdown).await;
}

impl<F: Future<Output = ()> + Send + 'static> Feed<F> {
    async fn run(mut self, shutdown: &Shutdown) {
        while let Some(message) = shutdown.until_draining(next(&mut self.subscriber)).await {
            let Some(message) = message else { return };
            self.take(message).await;
        }
        self.drain().await;
    }

    /// Leaves the queue group without losing a request that the server has sent here.
    ///
    /// Leaving at once loses what is on its way: the library forgets the subscription before the
    /// server does. So first the server is told to stop after a number of messages that both
    /// count, larger than what can be on its way at the rate that was just seen. Then that number
    /// comes, or there is silence, and leaving loses nothing.
    async fn drain(&mut self) {
        let look = LOOK.max(self.link.rtt() * 2);
        let before = self.taken;
        if self.take_for(look).await {
            return;
        }
        let slack = SLACK_MIN + 4 * (self.taken - before);
        if self.subscriber.unsubscribe_after(self.taken + slack).await.is_err() {
            return;
        }
        let quiet = QUIET.max(self.link.rtt() * 2);
        loop {
            let silence = Context::background().with_timeout(quiet);
            match silence.race(next(&mut self.subscriber)).await {
                Ok(Some(message)) => self.take(message).await,
                Ok(None) => return,
                Err(_) => break,
            }
        }
        // One subscription after the other: any other traffic at this moment would make the
        // library forget this one before the server has.
        let site = Arc::clone(&self.site);
        let _turn = site.leaving.acquire().await;
        if self.subscriber.drain().await.is_ok() {
            while let Some(message) = next(&mut self.subscriber).await {
                self.take(message).await;
            }
        }
    }

    /// Takes what comes within a time; tells whether the subscription has ended.
    async fn take_for(&mut self, time: Duration) -> bool {
        let limit = Context::background().with_timeout(time);
        while let Ok(message) = limit.race(next(&mut self.subscriber)).await {
            match message {
                Some(message) => self.take(message).await,
                None => return true,
            }
        }
        false
    }

    /// Answers one request: here as far as it gets without waiting, then in a task.
    async fn take(&mut self, message: Message) {
        self.taken += 1;
        let Some(arrived) = Arrived::read(&self.site, self.known.as_ref(), message) else { return };
        let (future, handle, key) =
            (self.answer)(arrived, Arc::clone(&self.site), Arc::clone(&self.link));
        let mut answer = match self.spare.take() {
            Some(mut spare) => {
                spare.as_mut().set(Some(future));
                spare
            }
            None => Box::pin(Some(future)),
        };
        let here = self.site.config.dispatch == NatsDispatch::WhenPending;
        if here && poll_fn(|cx| Poll::Ready(poll(&mut answer, cx).is_ready())).await {
            handle.cancel_with(Cause::Finished);
            answer.as_mut().set(None);
            self.spare = Some(answer);
            return;
        }
        let running = self.site.tasks.enter();
        let site = Arc::clone(&self.site);
        let rest = async move {
            let own = site.cancels.register(key, handle);
            poll_fn(|cx| poll(&mut answer, cx)).await;
            match own {
                Err(handle) => handle.cancel_with(Cause::Finished),
                Ok(entry) => site.cancels.finish(key, entry),
            }
            drop(answer);
            drop(running);
        };
        if self.site.tasks.now() > self.site.config.in_flight_max.saturating_add(REFUSALS_MAX) {
            rest.await;
        } else {
            tokio::spawn(rest);
        }
    }
}

fn poll<F: Future<Output = ()>>(
    answer: &mut Pin<Box<Option<F>>>,
    cx: &mut std::task::Context<'_>,
) -> Poll<()> {
    answer.as_mut().as_pin_mut().map_or(Poll::Ready(()), |answer| answer.poll(cx))
}
