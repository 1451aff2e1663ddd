//! One request with several replies (NATS ADR-47).

use std::future::poll_fn;

use async_nats::{Message, StatusCode};
use rr_spi::observe::{Kind, WatchedAttempt};
use rr_spi::{
    Attempt, BoxFuture, Context, Delivery, Error, ManyConfig, ManyEnd, ManyReply, ManyRequester,
    ReplySink, Request, Response, Target,
};

use super::{Inner, NatsRequester, PendingCall, Receive};
use crate::connection::{Ended, HeldMax, PendingCalls};
use crate::error;
use crate::wire::{Token, decode_reply};

impl ManyRequester for NatsRequester {
    fn request_many<'f>(
        &'f self,
        ctx: &'f Context,
        request: Request,
        config: ManyConfig,
        replies: ReplySink,
    ) -> BoxFuture<'f, Result<ManyEnd, Error>> {
        let inner = &*self.0;
        Box::pin(async move {
            let watched = WatchedAttempt::start(&inner.monitor, Kind::ClientAttempt, ctx, &request);
            let watched = watched.collecting(&replies);
            let own = watched.context();
            let ctx = own.as_ref().unwrap_or(ctx);
            watched.run(inner.collect(ctx, request, config, replies)).await
        })
    }
}

impl Inner {
    /// Sends a request and hands out its replies.
    // Not an `async fn`, whose future stores the request twice.
    #[allow(clippy::manual_async_fn, reason = "see above")]
    fn collect<'f>(
        &'f self,
        ctx: &'f Context,
        mut request: Request,
        config: ManyConfig,
        replies: ReplySink,
    ) -> impl Future<Output = Result<ManyEnd, Error>> + 'f {
        async move {
            let attempt = Attempt::start(ctx, self.config.calls.timeout)?;
            self.limits.check_outgoing(&request)?;
            let several = Several { inner: self, config, replies };
            let ended = attempt.run(self.exchange(&attempt, &mut request, several)).await;
            ended.map_err(|error| self.noted(error))
        }
    }
}

/// Receives replies until the end of the collection.
struct Several<'a> {
    inner: &'a Inner,
    config: ManyConfig,
    replies: ReplySink,
}

impl Receive for Several<'_> {
    type Output = ManyEnd;

    fn prepare(&self, calls: &PendingCalls, token: Token) {
        let max = HeldMax { replies: self.config.held_max, bytes: self.config.held_bytes_max };
        calls.collect(token, max);
    }

    async fn receive(self, pending: &mut PendingCall<'_>) -> Result<ManyEnd, Error> {
        loop {
            let next = poll_fn(|cx| pending.link.calls().poll_next(pending.token, cx.waker()));
            let message = match next.await {
                Ok(message) => message,
                Err(ended) => return Err(self.ended(pending, ended)),
            };
            if is_no_responder(&message) {
                pending.waits = false;
                return decode_reply(&pending.request.target, message)
                    .map(|_| ManyEnd::AllAnswered);
            }
            let is_empty = message.payload.is_empty();
            let outcome = self.decoded(&pending.request.target, message);
            if self.config.empty_ends && is_empty && outcome.is_ok() {
                // The service has ended: there is nothing to cancel.
                pending.waits = false;
                return Ok(ManyEnd::Sentinel);
            }
            self.replies.put(ManyReply::new(outcome)).await;
        }
    }
}

impl Several<'_> {
    /// Decodes the reply of one responder. Its refusal proves nothing about the other responders.
    fn decoded(&self, target: &Target, message: Message) -> Result<Response, Error> {
        let response = decode_reply(target, message)
            .map_err(|error| error.raised_to(Delivery::Unknown).into_failure())?;
        self.inner.limits.check_incoming(&response)?;
        Ok(response)
    }

    /// Returns the error that ended the collection.
    fn ended(&self, pending: &mut PendingCall<'_>, ended: Ended) -> Error {
        match ended {
            Ended::Overflowed => error::too_many_held(&self.config),
            Ended::Lost => {
                pending.waits = false;
                pending.lost()
            }
            Ended::Denied(delivery) => {
                pending.waits = false;
                pending.denied(delivery)
            }
        }
    }
}

/// Returns whether the NATS server answered that the subject has no subscription.
fn is_no_responder(message: &Message) -> bool {
    message.status == Some(StatusCode::NO_RESPONDERS) && message.payload.is_empty()
}
