//! Reading of a reply.

use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http_body::Body;
use rr_spi::wire::RR_SPENT;
use rr_spi::{Attempt, Context, Delivery, Error, Headers, Response};

use super::Inner;
use crate::body::{self, BodyError};
use crate::compression::{Codec, DecompressError, decompress, decompress_start};
use crate::error::{bad_response, lost};
use crate::wire::{check_body, codec_of, decode_error, decode_response};

/// Maximum number of bytes read of the body of an error reply; bodies of rr servers are far
/// shorter.
const ERROR_BODY_BYTES_MAX: usize = 64 * 1024;

/// Longest wait for the body of an error reply, whose head already carries the essentials. The wait
/// is also at most half of the time that the call has left.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_millis(500);

/// Reply whose head has arrived, and its call.
pub(super) struct Exchange<'a> {
    pub(super) attempt: &'a Attempt,
    pub(super) called: &'a Headers,
    /// Whether a proxy may have repeated the request.
    pub(super) is_replayable: bool,
    pub(super) parts: Parts,
}

impl Inner {
    /// Reads a reply. Returns its outcome, and whether the body was read to its end.
    pub(super) async fn finish<B>(
        &self,
        exchange: &Exchange<'_>,
        body: &mut B,
    ) -> (Result<Response, Error>, bool)
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
    {
        let Exchange { attempt, called, is_replayable, parts } = exchange;
        let ctx = attempt.context();
        attempt.spent(|| parts.headers.get(RR_SPENT)?.to_str().ok());
        if !parts.status.is_success() {
            // Boxed: error replies are rare, and inline this would enlarge every call.
            let (error, whole) = Box::pin(self.read_error(ctx, parts, body)).await;
            // A proxy may have run the request elsewhere too, about which this refusal proves
            // nothing.
            let error = match is_replayable {
                true => error.raised_to(Delivery::Unknown),
                false => error,
            };
            return (Err(error), whole);
        }
        let (mut response, codec) = match decode_response(parts, self.config.accept_encoding) {
            Ok(response) => response,
            Err(error) => return (Err(error), false),
        };
        let max = self.limits.response_bytes_max;
        match body::read(body, codec.map_or(max, |_| Codec::encoded_bytes_max(max))).await {
            Ok(mut body) => {
                if let Some(codec) = codec {
                    // Boxed: compressed replies are rare, and inline this would enlarge every call.
                    body = match Box::pin(self.decompress(codec, body)).await {
                        Ok(body) => body,
                        Err(error) => return (Err(error), true),
                    };
                }
                let checked = check_body(parts.status, &body, called);
                response.body = body;
                (checked.map(|()| response), true)
            }
            Err(BodyError::TooLarge) => (Err(self.limits.response_too_large()), false),
            // The reply had begun: the handler may have run.
            Err(BodyError::Broken(error)) => (Err(lost(error)), false),
        }
    }

    /// Decompresses the body of a success. An empty body was never compressed.
    async fn decompress(&self, codec: Codec, body: Bytes) -> Result<Bytes, Error> {
        let max = self.limits.response_bytes_max;
        decompress(codec, &body, max).await.map_err(|error| match error {
            DecompressError::TooLarge => self.limits.response_too_large(),
            DecompressError::Unsupported(text) => bad_response(Delivery::Processed, text),
            DecompressError::Malformed(error) => {
                let text = "the compressed reply is malformed or cut short";
                bad_response(Delivery::Processed, text).with_source(error)
            }
        })
    }

    /// Reads as much of the body of an error reply as arrives in time, and makes the error. The
    /// delivery that the head states holds even if the body is incomplete. Also returns whether the
    /// body was read to its end.
    async fn read_error<B>(&self, ctx: &Context, parts: &Parts, body: &mut B) -> (Error, bool)
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let half = ctx.remaining().map_or(Duration::MAX, |remaining| remaining / 2);
        let bound = Context::background().with_timeout(ERROR_BODY_TIMEOUT.min(half));
        let mut start = Vec::new();
        let reading = body::read_start(body, &mut start, ERROR_BODY_BYTES_MAX);
        let whole = bound.race(reading).await.unwrap_or(false);
        let mut start = Bytes::from(start);
        if let Ok(Some(codec)) = codec_of(&parts.headers, self.config.accept_encoding) {
            // Like a body that is cut, what is readable remains.
            start = decompress_start(codec, &start, ERROR_BODY_BYTES_MAX).await;
        }
        (decode_error(parts, start, self.config.status_codes), whole)
    }
}
