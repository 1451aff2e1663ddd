//! A call over HTTP/1.1.

use http::header;
use rr_spi::{Attempt, Context, Error, Request, Response, Stage};

use super::reply::Exchange;
use super::{Inner, ROUNDS};
use crate::body::Whole;
use crate::error::{handed_back, of_hyper};
use crate::pool::{H1Connection, H1Pool, Message, Replied};
use crate::wire::{
    ask_for, decimal, emptied, encode_request, granted, is_replayable, set_timeout, turn_into_get,
};

impl Inner {
    /// Makes the call on a leased connection, which the call drives.
    pub(super) async fn call_h1(
        &self,
        pool: &H1Pool,
        attempt: &Attempt,
        request: &Request,
    ) -> Result<Response, Error> {
        // Boxed: rarely used, and inline it would enlarge every call.
        let mut came_back: Option<Box<Message>> = None;
        let mut lease = pool.checkout(attempt).await?;
        for round in 1..=ROUNDS {
            let (reply, is_replayable) =
                match self.send_h1(attempt, request, came_back.take(), &mut lease.link) {
                    Ok(reply) => reply,
                    Err(error) => {
                        pool.put_back(lease, None);
                        return Err(error);
                    }
                };
            let silence = pool.guard_silence(attempt, &mut lease.link);
            let reply = lease.link.drive(reply).await;
            silence.disarm();
            let reply = match reply {
                Ok(reply) => reply,
                Err(mut failed) => match failed.take_message() {
                    // Hyper hands a request back only when no byte of it was written.
                    Some(unwritten) => {
                        came_back = Some(Box::new(unwritten));
                        attempt.unsent();
                        if let Some(refusal) = lease.link.refused().not_sent() {
                            return Err(refusal);
                        }
                        // Boxed: this path is rare, and inline it would enlarge every call.
                        lease = match ROUNDS - round {
                            0 => break,
                            1 => Box::pin(pool.exchange_fresh(lease, attempt)).await?,
                            _ => Box::pin(pool.exchange(lease, attempt)).await?,
                        };
                        continue;
                    }
                    None => {
                        let refusal = lease.link.refused().rejected();
                        return Err(refusal.unwrap_or_else(|| of_hyper(failed.into_error())));
                    }
                },
            };
            attempt.stage(Stage::ReadingReply);
            let (parts, mut body) = reply.into_parts();
            let called = &request.headers;
            let exchange = Exchange { attempt, called, is_replayable, parts };
            let (outcome, whole) = lease.link.drive(self.finish(&exchange, &mut body)).await;
            // The connection is kept only if the body was read to its end: the rest of it would be
            // taken for the next reply.
            if whole {
                let headers = exchange.parts.headers;
                let granted = granted(&headers);
                lease.link.spare = emptied(headers);
                pool.put_back(lease, granted);
            }
            return outcome;
        }
        Err(handed_back())
    }

    /// Hands a request over to a connection: the message that another connection returned
    /// unwritten, or a new one. Returns the future of the reply, and whether a proxy may repeat the
    /// request.
    fn send_h1(
        &self,
        attempt: &Attempt,
        request: &Request,
        came_back: Option<Box<Message>>,
        link: &mut H1Connection,
    ) -> Result<(impl Future<Output = Replied> + use<>, bool), Error> {
        let mut message = match came_back {
            Some(unwritten) => *unwritten,
            None => self.message_h1(attempt.context(), request, link)?,
        };
        set_timeout(message.headers_mut(), attempt.timeout_millis());
        let body_bytes = request.body.len() as u64;
        let is_replayable = is_replayable(message.method(), message.headers(), body_bytes);
        attempt.sent();
        let reply = link.send(message).ok_or_else(handed_back)?;
        Ok((reply, is_replayable))
    }

    /// Makes the head and the body of a request, for one connection.
    fn message_h1(
        &self,
        ctx: &Context,
        request: &Request,
        link: &mut H1Connection,
    ) -> Result<Message, Error> {
        let uri = match &link.last {
            Some((target, uri)) if *target == request.target => uri.clone(),
            _ => {
                let uri = self.path_uri(&request.target)?;
                link.last = Some((request.target.clone(), uri.clone()));
                uri
            }
        };
        let body = Whole::new(request.body.clone());
        let map = std::mem::take(&mut link.spare);
        let mut message = encode_request(ctx, request, uri, Some(&link.host), map, body)?;
        ask_for(self.config.accept_encoding, message.headers_mut());
        if turn_into_get(&mut message, request, self.config.get_bytes_max) {
            *message.body_mut() = Whole::empty();
        } else {
            // Hyper omits `content-length` for an empty body, but some servers require it (RFC 9110
            // §8.6).
            let length = decimal(request.body.len() as u64);
            message.headers_mut().insert(header::CONTENT_LENGTH, length);
        }
        Ok(message)
    }
}
