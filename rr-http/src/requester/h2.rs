//! A call over HTTP/2.

use std::collections::HashMap;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Uri, header};
use rr_spi::{Attempt, Error, Request, Response, Stage, Target};

use super::reply::Exchange;
use super::{Inner, ROUNDS};
use crate::body::StreamBody;
use crate::config::HttpRefusals;
use crate::error::{handed_back, is_spared, of_h2};
use crate::pool::{H2Pool, Outgoing, OutgoingWatch};
use crate::sync::lock;
use crate::wire::{ask_for, decimal, encode_request, is_replayable, set_timeout, turn_into_get};

/// Maximum number of targets whose URI is remembered. The URIs of further targets are made for each
/// call.
const URIS_MAX: usize = 1024;

/// Whether the request of a call was sent again after a GOAWAY. That happens once in a call, even
/// if the server changes its version of HTTP meanwhile.
#[derive(Default)]
pub(super) struct Resent(bool);

/// Request that was handed over to a connection.
struct Handed {
    reply: ResponseFuture,
    watch: OutgoingWatch,
    /// Whether a proxy may repeat the request.
    is_replayable: bool,
}

/// Wait for a reply. If the call ends before the request has left, as with an exhausted window, the
/// call waited to send.
struct Sending<'a> {
    attempt: &'a Attempt,
    watch: OutgoingWatch,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if self.watch.is_unsent() {
            self.attempt.still_sending();
        }
    }
}

impl Inner {
    /// Makes the call on a stream of a pooled connection.
    pub(super) async fn call_h2(
        &self,
        pool: &H2Pool,
        attempt: &Attempt,
        request: &Request,
        resent: &mut Resent,
    ) -> Result<Response, Error> {
        attempt.stage(Stage::Connection);
        let believes_goaway = self.config.refusals != HttpRefusals::None;
        for round in 1..=ROUNDS {
            // Other existing connections may be closing too.
            let mut lease = if round == ROUNDS || resent.0 {
                pool.checkout_fresh(attempt).await?
            } else {
                pool.checkout(attempt).await?
            };
            let Some(Handed { reply, watch, is_replayable }) =
                self.send_h2(attempt, request, &mut lease.sender)?
            else {
                lease.retire();
                attempt.unsent();
                match lease.refused().not_sent() {
                    Some(refusal) => return Err(refusal),
                    None => continue,
                }
            };
            lease.sent(attempt.context().deadline());
            let sending = Sending { attempt, watch };
            let reply = reply.await;
            drop(sending);
            let (parts, stream) = match reply {
                Ok(reply) => reply.into_parts(),
                // The GOAWAY proves that the server did not process the request: resend it once.
                Err(error)
                    if believes_goaway && is_spared(&error) && !resent.0 && round < ROUNDS =>
                {
                    resent.0 = true;
                    lease.retire();
                    attempt.unsent();
                    continue;
                }
                Err(error) => {
                    let refusal = lease.refused().rejected();
                    return Err(refusal.unwrap_or_else(|| of_h2(error, self.config.refusals)));
                }
            };
            attempt.stage(Stage::ReadingReply);
            let length = parts.headers.get(header::CONTENT_LENGTH);
            let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
            let mut body = StreamBody::new(stream, length);
            let called = &request.headers;
            let exchange = Exchange { attempt, called, is_replayable, parts };
            return self.finish(&exchange, &mut body).await.0;
        }
        Err(handed_back())
    }

    /// Hands a request over to a connection; returns `None` when the connection refuses it.
    fn send_h2(
        &self,
        attempt: &Attempt,
        request: &Request,
        sender: &mut SendRequest<Outgoing>,
    ) -> Result<Option<Handed>, Error> {
        let (ctx, map, uri) = (attempt.context(), HeaderMap::new(), self.uri(&request.target)?);
        let mut message = encode_request(ctx, request, uri, None, map, ())?;
        ask_for(self.config.accept_encoding, message.headers_mut());
        let is_get = turn_into_get(&mut message, request, self.config.get_bytes_max);
        let body = if is_get {
            Bytes::new()
        } else {
            let length = decimal(request.body.len() as u64);
            message.headers_mut().insert(header::CONTENT_LENGTH, length);
            request.body.clone()
        };
        set_timeout(message.headers_mut(), attempt.timeout_millis());
        let body_bytes = request.body.len() as u64;
        let is_replayable = is_replayable(message.method(), message.headers(), body_bytes);
        attempt.sent();
        // A refused request was not queued.
        let Ok((reply, mut stream)) = sender.send_request(message, body.is_empty()) else {
            return Ok(None);
        };
        let is_empty = body.is_empty();
        let (body, watch) = Outgoing::new(body);
        if !is_empty {
            // H2 buffers the bytes until the peer's window admits them. If the stream is closed
            // already, the reply reports why.
            let _ = stream.send_data(body, true);
        }
        Ok(Some(Handed { reply, watch, is_replayable }))
    }

    /// Returns the URI of a target, and remembers it.
    fn uri(&self, target: &Target) -> Result<Uri, Error> {
        let known = |uris: &HashMap<Target, Uri>| uris.get(target).cloned();
        if let Some(uri) = known(&lock(&self.uris)) {
            return Ok(uri);
        }
        let uri = self.absolute_uri(target)?;
        let mut uris = lock(&self.uris);
        if uris.len() < URIS_MAX {
            uris.insert(target.clone(), uri.clone());
        }
        Ok(uri)
    }
}
