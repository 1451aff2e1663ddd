//! A peer below the API of the in-memory transport, with one rule broken.

use std::any::Any;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{self, Poll};

use rr_spi::{
    Bytes, Code, Context, Delivery, Error, Reason, Request, Requester, Response, async_trait,
};
use rr_testkit::conformance::{Raw, RawAnswer, RawGarbage, RawReply, RawRequest, RawUnread};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf, repeat};

use crate::harness::Shared;
use crate::table::Sabotage::{self, *};

pub(crate) struct BrokenRaw {
    pub(crate) inner: Arc<dyn Raw>,
    pub(crate) sabotage: Sabotage,
    pub(crate) shared: Arc<Shared>,
}

#[async_trait]
impl Raw for BrokenRaw {
    async fn send(&self, mut request: RawRequest) -> Result<RawReply, Error> {
        let timeout = request.timeout.clone().unwrap_or_default();
        match self.sabotage {
            RunsMalformedTimeouts if timeout.parse::<u32>().is_err() => request.timeout = None,
            RunsExpired if timeout == "0" => request.timeout = None,
            ShowsForgedHeaders => {
                for (name, _) in &mut request.headers {
                    *name = name.replace("rr-", "x-rr-");
                }
            }
            KeepsTheFirstBaggage => keep_one(&mut request.headers, "baggage"),
            KeepsTheLastState => {
                request.headers.reverse();
                keep_one(&mut request.headers, "tracestate");
                request.headers.reverse();
            }
            TakesAnyNumberOfHeaders => request.headers.truncate(1),
            _ => {}
        }
        self.inner.send(request).await
    }

    async fn answering(&self, answer: RawAnswer) -> Result<Arc<dyn Requester>, Error> {
        let inner = self.inner.answering(answer).await?;
        Ok(Arc::new(BrokenReader { inner, sabotage: self.sabotage }))
    }

    /// Nothing passes as bytes here: what a server makes of them is made up, and honest by default.
    async fn garbage(&self, garbage: RawGarbage) -> Result<Box<dyn Any + Send>, Error> {
        self.shared.garbled.store(true, Ordering::SeqCst);
        if let (RunsPartsOfRequests, RawGarbage::Part(request, _)) = (self.sabotage, garbage) {
            self.inner.send(request).await?;
        }
        self.shared.garbling.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Garbling { sabotage: self.sabotage, shared: Arc::clone(&self.shared) }))
    }

    /// Made up like what garbage does: the head is refused once it is longer than allowed.
    async fn endless(&self, _: RawRequest, bytes_max: usize) -> Result<usize, Error> {
        let is_taken = self.sabotage == TakesHeadsWithoutEnd;
        Ok(if is_taken { bytes_max } else { bytes_max.min(ENDLESS_BYTES) })
    }

    /// Made up as well: what the peer finds when it reads is a piece of the first reply, and the end.
    async fn unread(&self, request: RawRequest, times: usize) -> Result<Vec<RawUnread>, Error> {
        let held = if self.sabotage == HoldsEveryReply { times } else { 1 };
        let mut bytes = 0;
        for _ in 0..held {
            bytes += self.inner.send(request.clone()).await?.body.len();
        }
        let found = repeat(0).take(bytes as u64);
        Ok(vec![match self.sabotage {
            WaitsForReadersForEver => Box::new(found.chain(Silence)),
            _ => Box::new(found),
        }])
    }
}

/// What an honest server takes of a head without end.
const ENDLESS_BYTES: usize = 32 * 1024;

/// A connection on which nothing more comes, and which does not end.
struct Silence;

impl AsyncRead for Silence {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

/// Keeps the first header of one name.
fn keep_one(headers: &mut Vec<(String, Bytes)>, kept: &str) {
    let mut is_first = true;
    headers.retain(|(name, _)| name != kept || std::mem::take(&mut is_first));
}

/// A peer that has sent garbage, until it is dropped.
struct Garbling {
    sabotage: Sabotage,
    shared: Arc<Shared>,
}

impl Drop for Garbling {
    fn drop(&mut self) {
        if self.sabotage != KeepsWhoeverSentGarbage {
            self.shared.garbling.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Reads what a foreign responder says.
struct BrokenReader {
    inner: Arc<dyn Requester>,
    sabotage: Sabotage,
}

#[async_trait]
impl Requester for BrokenReader {
    async fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        let error = match self.inner.request(ctx, request).await {
            Err(error) => error,
            answer => return answer,
        };
        match self.sabotage {
            RefusesUnknownCodes if error.code() == Code::Unknown => {
                let (code, reason) = (Code::Internal, Reason::BAD_RESPONSE);
                Err(Error::failure(code, Delivery::Unknown, reason, "no code that is known"))
            }
            TakesGarbageForAnAnswer if error.reason() == Some(&Reason::BAD_RESPONSE) => {
                Ok(Response::new(""))
            }
            _ => Err(error),
        }
    }
}
