//! Loop that receives and answers the requests of one subscription.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use async_nats::Subscriber;
use rr_spi::observe::Outcome;
use rr_spi::{CancelHandle, Cause, Inbound, Shutdown, Target};
use tokio::task::coop::{consume_budget, unconstrained};
use tokio::time::Instant;

use super::INCOMING_MAX;
use super::inbox::{Inbox, Received};
use super::pace::Pace;
use super::request::{IncomingRequest, KnownTarget, overloaded};
use super::state::ServerState;
use crate::config::NatsDispatch;
use crate::connection::Link;
use crate::sync::{First, first};

/// Maximum number of tasks for refusals whose reply has to wait, in addition to those of requests
/// in flight. Above it no request is answered until replies can leave.
const REFUSALS_MAX: usize = 256;

/// One subscription to requests.
pub(super) struct Subscribed {
    pub(super) subject: String,
    pub(super) subscriber: Subscriber,
    /// The single target of the subject; `None` for a wildcard.
    pub(super) target: Option<Target>,
}

/// Splits a request into the future that answers it, its cancel handle and its key.
type Split<F> = fn(IncomingRequest, Arc<ServerState>, Arc<Link>, Instant) -> (F, CancelHandle, u64);

/// Subscription of a server on one connection; `F` is the future that answers a request.
pub(super) struct Subscription<F> {
    pub(super) state: Arc<ServerState>,
    pub(super) link: Arc<Link>,
    subject: String,
    pub(super) inbox: Inbox,
    /// Number of messages received from the subscription.
    pub(super) received: u64,
    /// The single target of the subscription; `None` for a wildcard.
    known: Option<Arc<KnownTarget>>,
    answer: Split<F>,
    /// Requests that were received and are not yet being answered.
    waiting: VecDeque<IncomingRequest>,
    /// Total body length of the waiting requests, in bytes.
    waiting_bytes: usize,
    /// Decides whether the next request is polled here first.
    pace: Arc<Pace>,
    /// Whether the subscription has ended.
    pub(super) ended: bool,
    /// Allocation for one answer, reused by answers that complete in their first poll.
    spare: Option<Pin<Box<Option<F>>>>,
}

/// Answers the requests of a subscription until its connection is lost or a drain is done. Returns
/// whether a drain ended the subscription.
pub(super) async fn consume(
    state: Arc<ServerState>,
    link: Arc<Link>,
    subscribed: Subscribed,
    shutdown: Shutdown,
) -> bool {
    let Subscribed { subject, subscriber, target } = subscribed;
    let known = target.map(|target| Arc::new(KnownTarget::of(&state, target)));
    let inbox = inbox(&state, known.as_ref(), subscriber);
    let mut subscription = Subscription {
        state,
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
    subscription.run(&shutdown).await
}

fn inbox(
    state: &Arc<ServerState>,
    known: Option<&Arc<KnownTarget>>,
    subscriber: Subscriber,
) -> Inbox {
    // Weak: the client library may keep the inbox for longer than the server lives.
    let (server, known) = (Arc::downgrade(state), known.cloned());
    let give_up = move |message| {
        let Some(server) = server.upgrade() else { return };
        server.counts.given_up(1);
        if server.intake.monitor().observers().is_empty() {
            // It is counted only, which costs less than reading it.
            let watched = server.intake.watch_refused(Inbound::default(), None);
            return watched.end(Outcome::Failure(&overloaded()));
        }
        let received = Received { message, share: Err(overloaded()), arrived: Instant::now() };
        if let Some(arrived) = IncomingRequest::read(&server, known.as_deref(), received) {
            arrived.give_up();
        }
    };
    Inbox::new(subscriber, Arc::clone(&state.account), INCOMING_MAX, Box::new(give_up))
}

impl<F: Future<Output = Duration> + Send + 'static> Subscription<F> {
    async fn run(&mut self, shutdown: &Shutdown) -> bool {
        let alive = self.link.alive().clone();
        // The client library notices a lost connection much later than `alive`.
        let served = shutdown.until_draining(alive.race(self.serve())).await;
        let is_draining = served.is_none();
        if is_draining {
            let _ = alive.race(self.unsubscribe()).await;
        }
        self.start_remaining();
        is_draining
    }

    /// Answers requests until the subscription ends. Whenever the NATS server denies the
    /// subscription, makes it again after a pause.
    async fn serve(&mut self) {
        let mut denials = 0;
        loop {
            let (link, subject) = (Arc::clone(&self.link), self.subject.clone());
            let state = Arc::clone(&self.state);
            let again = state.resubscribe(&link, &subject, denials);
            let First::One((subscriber, known)) = first(again, self.answer_all()).await else {
                return;
            };
            self.collect_ready();
            self.inbox = inbox(&state, self.known.as_ref(), subscriber);
            (self.received, self.ended) = (0, false);
            denials = known;
        }
    }

    /// Answers requests until the subscription ends.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no request.
    pub(super) async fn answer_all(&mut self) {
        while let Some(arrived) = self.next().await {
            self.answer(arrived).await;
        }
    }

    /// Waits for the next request that can be answered now; `None` when there are no more.
    pub(super) async fn next(&mut self) -> Option<IncomingRequest> {
        let tasks = self.state.tasks.clone();
        let tasks_max = self.tasks_max();
        let mut below_max = pin!(tasks.below(tasks_max));
        poll_fn(|cx| {
            // Collects all arrived messages in each poll, however many wait: their deadlines run.
            let _ = self.collect(cx);
            if self.waiting.is_empty() {
                return if self.ended { Poll::Ready(None) } else { Poll::Pending };
            }
            ready!(below_max.as_mut().poll(cx));
            Poll::Ready(self.pop())
        })
        .await
    }

    /// Collects all messages that the client library holds now, whatever is left of the task's
    /// budget.
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

    /// Queues a request that arrived. If the queue is full, starts a refusal; at the limit of
    /// tasks, drops the request and counts it as given up.
    fn receive(&mut self, received: Received) {
        let arrived = IncomingRequest::read(&self.state, self.known.as_deref(), received);
        let Some(mut arrived) = arrived else { return self.state.counts.without_reply() };
        let config = &self.state.config;
        let bytes = self.waiting_bytes.saturating_add(arrived.len());
        let fits = self.waiting.len() < config.waiting_max && bytes <= config.waiting_bytes_max;
        // The next request in turn is always accepted, however large it is.
        if fits || self.waiting.is_empty() {
            self.waiting_bytes = bytes;
            self.waiting.push_back(arrived);
        } else if self.state.tasks.now() < self.tasks_max() {
            arrived.refuse();
            self.start(arrived);
        } else {
            self.state.counts.given_up(1);
            arrived.give_up();
        }
    }

    fn pop(&mut self) -> Option<IncomingRequest> {
        let arrived = self.waiting.pop_front()?;
        self.waiting_bytes -= arrived.len();
        Some(arrived)
    }

    /// Answers one request: polls it here first and moves it to a task if it is pending. After a
    /// slow first poll, requests get a task from the start.
    pub(super) async fn answer(&mut self, arrived: IncomingRequest) {
        self.start(arrived);
        // Answers that never wait would otherwise monopolize the thread.
        consume_budget().await;
    }

    fn start(&mut self, arrived: IncomingRequest) {
        if self.state.cancels.remove_early(arrived.key) {
            arrived.handle.cancel_with(Cause::Cancelled);
        }
        let start = Instant::now();
        let (future, handle, key) =
            (self.answer)(arrived, Arc::clone(&self.state), Arc::clone(&self.link), start);
        let mut answer = match self.spare.take() {
            Some(mut spare) => {
                spare.as_mut().set(Some(future));
                spare
            }
            None => Box::pin(Some(future)),
        };
        let may_wait = self.state.config.dispatch == NatsDispatch::WhenPending;
        let here = may_wait && !self.pace.is_slow(start);
        if here {
            // The task that takes over registers its own waker in its first poll.
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let guard = self.inbox.guard();
            let polled = poll(&mut answer, &mut cx);
            drop(guard);
            if let Poll::Ready(took) = polled {
                self.pace.polled(start, took);
                handle.cancel_with(Cause::Finished);
                answer.as_mut().set(None);
                self.spare = Some(answer);
                return;
            }
            self.pace.polled(start, start.elapsed());
        }
        let running = self.state.tasks.enter();
        let state = Arc::clone(&self.state);
        // While requests get tasks, the first polls in those tasks show whether handlers are still
        // slow.
        let mut pace = (may_wait && !here).then(|| Arc::clone(&self.pace));
        tokio::spawn(async move {
            let own = state.cancels.register(key, handle);
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
                Ok(entry) => state.cancels.deregister(key, entry),
            }
            drop(answer);
            drop(running);
        });
    }

    /// Starts answering the remaining requests without waiting. Requests above the limit of tasks
    /// are given up: the connection to their callers is lost as well.
    fn start_remaining(&mut self) {
        self.collect_ready();
        while let Some(arrived) = self.pop() {
            if self.state.tasks.now() >= self.tasks_max() {
                self.state.counts.given_up(1 + self.waiting.len());
                arrived.give_up();
                self.waiting.drain(..).for_each(IncomingRequest::give_up);
                return;
            }
            self.start(arrived);
        }
    }

    fn tasks_max(&self) -> usize {
        self.state.config.intake.in_flight_max.saturating_add(REFUSALS_MAX)
    }
}

fn poll<F: Future<Output = Duration>>(
    answer: &mut Pin<Box<Option<F>>>,
    cx: &mut std::task::Context<'_>,
) -> Poll<Duration> {
    answer.as_mut().as_pin_mut().map_or(Poll::Ready(Duration::ZERO), |answer| answer.poll(cx))
}
