//! Replies to one request, in the order of their arrival.

use std::fmt;
use std::future::{poll_fn, ready};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use rr_spi::{BoxFuture, Context, Error, Request};
use tokio::time::{Sleep, sleep};

use super::rules::Rules;
use super::{ManyConfig, ManyEnd, ManyRequester, ReplySink};
use crate::call::{Outcome, Raw};

/// Replies to one request; see [`request_many`](super::request_many) and
/// [`Call::many`](crate::call::Call::many).
///
/// Dropping this value cancels what is left of the request: over NATS and over a
/// [`Balance`](crate::balance::Balance), handlers that still run are cancelled on a best-effort basis.
/// Until the end or the drop, the request counts as in flight at its requester, also if nothing waits.
#[must_use = "replies are collected by `next`"]
pub struct Replies<'a, K = Raw> {
    /// `None` after the end.
    source: Option<BoxFuture<'a, Result<ManyEnd, Error>>>,
    sink: ReplySink,
    rules: Rules,
    stall: Stall,
    endpoint: Option<Arc<str>>,
    end: Option<ManyEnd>,
    outcome: PhantomData<fn() -> K>,
}

/// Timer of the wait for a further reply.
struct Stall {
    after: Duration,
    /// `None` while nothing waits.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<'a, K: Outcome> Replies<'a, K> {
    /// Prepares the request, which is sent by the first `next`.
    pub(crate) fn new<R: ManyRequester + ?Sized>(
        requester: &'a R,
        ctx: &'a Context,
        request: Result<Request, Error>,
        config: ManyConfig,
    ) -> Self {
        let sink = ReplySink::default();
        let source = match request {
            Ok(request) => requester.request_many(ctx, request, config, sink.clone()),
            Err(error) => Box::pin(ready(Err(error))),
        };
        Self {
            source: Some(source),
            sink,
            rules: Rules::new(&config),
            stall: Stall { after: config.stall, timer: None },
            endpoint: None,
            end: None,
            outcome: PhantomData,
        }
    }

    /// Waits for the next reply; `None` after the end.
    ///
    /// The first call sends the request. Over a [`Balance`](crate::balance::Balance) and over HTTP,
    /// replies are received only while this method waits; over NATS they are received in the
    /// background, and held up to the limits of the [`ManyConfig`].
    ///
    /// # Errors
    ///
    /// The error of one responder, after which others may follow, or the error that ended the
    /// collection: [`Replies::end`] distinguishes them. If the deadline passes before anything came,
    /// it is `DeadlineExceeded`; after that the deadline only ends the collection. After the first
    /// item, the delivery of an error is `Unknown` or `Processed`.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time: no reply is lost.
    pub async fn next(&mut self) -> Option<K::Output> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Polls for the next reply, as [`Replies::next`]: for adapters to a stream.
    pub fn poll_next(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<K::Output>> {
        let Some(source) = &mut self.source else { return Poll::Ready(None) };
        if let Poll::Ready(ended) = source.as_mut().poll(cx) {
            let (error, end) = self.rules.on_end(ended);
            self.finish(end);
            self.endpoint = None;
            return Poll::Ready(error.map(|error| K::convert(Err(error.into_failure()))));
        }
        if let Some(reply) = self.sink.take() {
            self.stall.timer = None;
            self.endpoint = reply.endpoint;
            let (outcome, end) = self.rules.on_outcome(reply.outcome);
            if let Some(end) = end {
                self.finish(end);
            }
            return Poll::Ready(Some(K::convert(outcome.map_err(Error::into_failure))));
        }
        if self.rules.may_stall() && self.stall.poll(cx).is_ready() {
            self.finish(ManyEnd::Stalled);
            return Poll::Ready(None);
        }
        Poll::Pending
    }

    /// Returns why there are no more replies; `None` while more may come.
    #[must_use]
    pub fn end(&self) -> Option<ManyEnd> {
        self.end
    }

    /// Returns the number of replies so far, without errors.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rules.replies()
    }

    /// Returns the name of the endpoint of the last item, if a [`Balance`](crate::balance::Balance)
    /// selected it.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// Ends the collection, which cancels what is left of the request.
    fn finish(&mut self, end: ManyEnd) {
        self.source = None;
        self.stall.timer = None;
        self.end = Some(end);
    }
}

impl Stall {
    /// Polls the timer, which starts with the first poll of a wait.
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        if self.after.is_zero() {
            return Poll::Pending;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.after)));
        timer.as_mut().poll(cx)
    }
}

impl<K> fmt::Debug for Replies<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies")
            .field("replies", &self.rules.replies())
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
