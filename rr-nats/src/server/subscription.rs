//! The loop that receives requests of one subscription and answers them.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use async_nats::Subscriber;
use rr_spi::{CancelHandle, Cause, Shutdown};
use tokio::task::coop::{consume_budget, unconstrained};
use tokio::time::Instant;

use super::INCOMING_MAX;
use super::request::{IncomingRequest, KnownTarget};
use super::inbox::{Inbox, Received};
use super::pace::Pace;
use super::state::ServerState;
use super::subscribe::Subscribed;
use crate::config::NatsDispatch;
use crate::connection::Link;
use crate::wait::{First, first};

/// Tasks beside those of requests in flight, for refusals whose reply has to wait. Over it nothing
/// more is answered until replies can leave.
const REFUSALS_MAX: usize = 256;

/// Takes a request apart into its answer, what cancels it, and its key.
type Split<F> = fn(IncomingRequest, Arc<ServerState>, Arc<Link>, Instant) -> (F, CancelHandle, u64);

/// One subscription of a server on one connection; `F` is the future that answers a request.
pub(super) struct Feed<F> {
    pub(super) site: Arc<ServerState>,
    pub(super) link: Arc<Link>,
    subject: String,
    pub(super) inbox: Inbox,
    /// Messages that the subscription has brought.
    pub(super) received: u64,
    /// The one target of the subscription, if it has one.
    known: Option<KnownTarget>,
    answer: Split<F>,
    /// What it has brought and what is not yet answered.
    waiting: VecDeque<IncomingRequest>,
    /// The bytes of their bodies.
    waiting_bytes: usize,
    /// Whether the next request is polled here first.
    pace: Arc<Pace>,
    /// Whether the subscription is over.
    pub(super) ended: bool,
    /// Memory for one answer, used again as long as answers need not wait.
    spare: Option<Pin<Box<Option<F>>>>,
}

/// Answers the requests of a subscription until its connection is lost, or until a drain is done;
/// tells whether it was a drain.
pub(super) async fn consume(
    site: Arc<ServerState>,
    link: Arc<Link>,
    subscribed: Subscribed,
    shutdown: Shutdown,
) -> bool {
    let Subscribed { subject, subscriber, target } = subscribed;
    let known = target.map(|target| KnownTarget::of(&site, target));
    let inbox = inbox(&site, subscriber);
    let mut feed = Feed {
        site,
        link,
        subject,
        inbox,
        received: 0,
        known,
        answer: IncomingRequest::split,
        waiting: VecDeque::new(),
        waiting_bytes: 0,
        pace: Arc::new(Pace::new(Instant::now())),
        ended: false,
        spare: None,
    };
    feed.run(&shutdown).await
}

fn inbox(site: &ServerState, subscriber: Subscriber) -> Inbox {
    Inbox::new(subscriber, Arc::clone(&site.account), INCOMING_MAX)
}

impl<F: Future<Output = Duration> + Send + 'static> Feed<F> {
    async fn run(&mut self, shutdown: &Shutdown) -> bool {
        let alive = self.link.alive().clone();
        // The library notices much later than we do that a connection is lost.
        let served = shutdown.until_draining(alive.race(self.serve())).await;
        let is_draining = served.is_none();
        if is_draining {
            let _ = alive.race(self.leave()).await;
        }
        self.finish();
        is_draining
    }

    /// Answers requests until the subscription ends. When the server denies the subscription, at
    /// whatever moment, it is asked for again every so often.
    async fn serve(&mut self) {
        let mut denials = 0;
        loop {
            let (link, subject) = (Arc::clone(&self.link), self.subject.clone());
            let site = Arc::clone(&self.site);
            let again = site.resubscribe(&link, &subject, denials);
            let First::One((subscriber, known)) = first(again, self.answer_all()).await else {
                return;
            };
            self.collect_ready();
            (self.inbox, self.received, self.ended) = (inbox(&site, subscriber), 0, false);
            denials = known;
        }
    }

    /// Answers requests until the subscription ends.
    ///
    /// # Cancel safety
    ///
    /// No request is lost when it is dropped.
    pub(super) async fn answer_all(&mut self) {
        while let Some(arrived) = self.next().await {
            self.answer(arrived).await;
        }
    }

    /// Waits for the next request that can be answered now; `None` when no more come.
    pub(super) async fn next(&mut self) -> Option<IncomingRequest> {
        let tasks = self.site.tasks.clone();
        let tasks_max = self.tasks_max();
        let mut room = pin!(tasks.below(tasks_max));
        poll_fn(|cx| {
            // All that has come is collected each time, however many wait: time runs for each.
            let _ = self.collect(cx);
            if self.waiting.is_empty() {
                return if self.ended { Poll::Ready(None) } else { Poll::PendingCall };
            }
            ready!(room.as_mut().poll(cx));
            Poll::Ready(self.pop())
        })
        .await
    }

    /// Collects all that the library has by now, whatever the scheduler thinks of it.
    pub(super) fn collect_ready(&mut self) {
        let collect = pin!(unconstrained(poll_fn(|cx| self.collect(cx))));
        let _ = collect.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    }

    fn collect(&mut self, cx: &mut std::task::Context<'_>) -> Poll<()> {
        while !self.ended {
            match ready!(self.inbox.poll_next(cx)) {
                Some(received) => {
                    self.received += 1;
                    self.receive(received);
                }
                None => self.ended = true,
            }
        }
        Poll::Ready(())
    }

    fn receive(&mut self, received: Received) {
        let arrived = IncomingRequest::read(&self.site, self.known.as_ref(), received);
        let Some(mut arrived) = arrived else { return };
        let config = &self.site.config;
        let bytes = self.waiting_bytes.saturating_add(arrived.len());
        let fits = self.waiting.len() < config.waiting_max && bytes <= config.waiting_bytes_max;
        // The next one in turn has its place, however large it is.
        if fits || self.waiting.is_empty() {
            self.waiting_bytes = bytes;
            self.waiting.push_back(arrived);
        } else if self.site.tasks.now() < self.tasks_max() {
            arrived.refuse();
            self.start(arrived);
        } else {
            self.site.counts.given_up(1);
        }
    }

    fn pop(&mut self) -> Option<IncomingRequest> {
        let arrived = self.waiting.pop_front()?;
        self.waiting_bytes -= arrived.len();
        Some(arrived)
    }

    /// Answers one request: here as far as it gets without waiting, then in a task; after a first
    /// poll that took long, in a task from the start.
    pub(super) async fn answer(&mut self, arrived: IncomingRequest) {
        self.start(arrived);
        // Answers that never wait would otherwise keep the thread to themselves.
        consume_budget().await;
    }

    fn start(&mut self, arrived: IncomingRequest) {
        if self.site.cancels.take_early(arrived.key) {
            arrived.handle.cancel_with(Cause::Cancelled);
        }
        let start = Instant::now();
        let (future, handle, key) =
            (self.answer)(arrived, Arc::clone(&self.site), Arc::clone(&self.link), start);
        let mut answer = match self.spare.take() {
            Some(mut spare) => {
                spare.as_mut().set(Some(future));
                spare
            }
            None => Box::pin(Some(future)),
        };
        let may_wait = self.site.config.dispatch == NatsDispatch::WhenPending;
        let here = may_wait && !self.pace.is_slow(start);
        if here {
            // The task that takes over registers its own waker when it polls first.
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let guard = self.inbox.guard();
            let polled = poll(&mut answer, &mut cx);
            drop(guard);
            let given_up = self.inbox.given_up();
            if given_up > 0 {
                self.site.counts.given_up(given_up);
            }
            if let Poll::Ready(took) = polled {
                self.pace.polled(start, took);
                handle.cancel_with(Cause::Finished);
                answer.as_mut().set(None);
                self.spare = Some(answer);
                return;
            }
            self.pace.polled(start, start.elapsed());
        }
        let running = self.site.tasks.enter();
        let site = Arc::clone(&self.site);
        // While requests get tasks, these tell whether the handlers still compute for long.
        let mut pace = (may_wait && !here).then(|| Arc::clone(&self.pace));
        tokio::spawn(async move {
            let own = site.cancels.register(key, handle);
            poll_fn(|cx| {
                let Some(pace) = pace.take() else { return poll(&mut answer, cx) };
                let start = Instant::now();
                let polled = poll(&mut answer, cx);
                pace.polled(start, start.elapsed());
                polled
            })
            .await;
            match own {
                Err(handle) => handle.cancel_with(Cause::Finished),
                Ok(entry) => site.cancels.finish(key, entry),
            }
            drop(answer);
            drop(running);
        });
    }

    /// Starts answering what was still brought, without waiting for anything: when there is no
    /// room, the connection of its callers is lost as well, and so is the request.
    fn finish(&mut self) {
        self.collect_ready();
        while let Some(arrived) = self.pop() {
            if self.site.tasks.now() >= self.tasks_max() {
                self.site.counts.given_up(1 + self.waiting.len());
                return;
            }
            self.start(arrived);
        }
    }

    fn tasks_max(&self) -> usize {
        self.site.config.intake.in_flight_max.saturating_add(REFUSALS_MAX)
    }
}

fn poll<F: Future<Output = Duration>>(
    answer: &mut Pin<Box<Option<F>>>,
    cx: &mut std::task::Context<'_>,
) -> Poll<Duration> {
    answer.as_mut().as_pin_mut().map_or(Poll::Ready(Duration::ZERO), |answer| answer.poll(cx))
}
