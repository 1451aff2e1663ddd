//! Handing over of replies from a requester to the code that waits for them.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::error::Error;
use crate::response::Response;

/// Reply to a request that may have several, or the error of one responder.
#[derive(Debug)]
#[non_exhaustive]
pub struct ManyReply {
    /// The name of the endpoint, if a balance selected it.
    pub endpoint: Option<Arc<str>>,
    /// The reply or the error of this responder.
    pub outcome: Result<Response, Error>,
}

impl ManyReply {
    /// Makes a reply of an unnamed responder.
    #[must_use]
    pub const fn new(outcome: Result<Response, Error>) -> Self {
        Self { endpoint: None, outcome }
    }

    /// Sets the name of the endpoint.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: Arc<str>) -> Self {
        self.endpoint = Some(endpoint);
        self
    }
}

/// Place for one reply between a requester and the code that waits for it. Clones share the place.
///
/// Holds one reply, so that a requester hands out the next reply only after the previous one was
/// taken.
///
/// # Examples
///
/// ```
/// use rr_spi::{ManyReply, ReplySink, Response};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let sink = ReplySink::default();
/// let put = sink.put(ManyReply::new(Ok(Response::new("pong"))));
/// let take = async { sink.take().unwrap().outcome.unwrap() };
/// let ((), response) = tokio::join!(put, take);
/// assert_eq!(response.body, "pong");
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct ReplySink(Arc<Mutex<Place>>);

#[derive(Debug, Default)]
struct Place {
    reply: Option<ManyReply>,
    waker: Option<Waker>,
    count: usize,
}

impl ReplySink {
    /// Hands a reply over, and waits until it was taken.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the reply was handed over or is dropped.
    pub async fn put(&self, reply: ManyReply) {
        let mut reply = Some(reply);
        poll_fn(|cx| {
            let mut place = self.lock();
            if place.reply.is_none() {
                if reply.is_none() {
                    return Poll::Ready(());
                }
                place.reply = reply.take();
                place.count += 1;
            }
            place.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Takes the reply that was handed over, if there is one.
    #[must_use]
    pub fn take(&self) -> Option<ManyReply> {
        let mut place = self.lock();
        let reply = place.reply.take()?;
        let waker = place.waker.take();
        drop(place);
        if let Some(waker) = waker {
            waker.wake();
        }
        Some(reply)
    }

    /// Returns the number of replies that were handed over so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().count
    }

    fn lock(&self) -> MutexGuard<'_, Place> {
        // No foreign code runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::Context;

    fn reply(body: &'static str) -> ManyReply {
        ManyReply::new(Ok(Response::new(body)))
    }

    fn taken(sink: &ReplySink) -> Option<crate::Bytes> {
        Some(sink.take()?.outcome.unwrap().body)
    }

    #[test]
    fn a_reply_is_handed_over_once_and_the_next_one_waits_for_it() {
        let sink = ReplySink::default();
        let cx = &mut Context::from_waker(Waker::noop());
        let mut first = pin!(sink.put(reply("a")));
        let mut second = pin!(sink.put(reply("b")));
        assert!(first.as_mut().poll(cx).is_pending());
        assert!(second.as_mut().poll(cx).is_pending());
        assert_eq!(taken(&sink).unwrap(), "a");
        assert!(first.as_mut().poll(cx).is_ready());
        assert_eq!(taken(&sink), None);
        assert!(second.as_mut().poll(cx).is_pending());
        assert_eq!(taken(&sink).unwrap(), "b");
        assert!(second.as_mut().poll(cx).is_ready());
    }
}
