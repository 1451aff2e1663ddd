//! How the one reply of a request leaves.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use async_nats::{HeaderMap, Subject};
use rr_spi::{Bytes, Code, Context, Delivery, Error, Reason, Response};

use super::site::Site;
use crate::connection::{Link, message};
use crate::wire::{block_len, encode_reply, minimal};

/// A reply as it is written.
struct Written {
    to: Subject,
    headers: Option<HeaderMap>,
    body: Bytes,
}

/// Sends the one reply. When the connection is lost before it could be handed over, the caller may
/// still be there, on another server: as long as the call has time and the server lives, the reply
/// waits for the next connection.
pub(super) async fn deliver(
    site: &Site,
    ctx: &Context,
    mut link: Arc<Link>,
    to: Subject,
    outcome: Result<Response, Error>,
) {
    let (headers, body) = fitting(link.message_bytes_max(), outcome);
    let written = Written { to, headers, body };
    loop {
        if !link.is_lost() && (written.is_handed_over(site, &link).await || !link.is_lost()) {
            return;
        }
        match site.life.race(ctx.race(site.next_link())).await {
            Ok(Ok(next)) if written.len() <= next.message_bytes_max() => link = next,
            // Whoever waits hears of it by the deadline, and says `Unknown`.
            _ => return,
        }
    }
}

impl Written {
    fn len(&self) -> usize {
        length(&self.headers, &self.body)
    }

    /// Hands it over to a connection; `false` when it was not and will not be.
    async fn is_handed_over(&self, site: &Site, link: &Link) -> bool {
        let make = || message(self.to.clone(), None, self.headers.clone(), self.body.clone());
        let mut publish = pin!(link.publish_fresh(make));
        // Also when the server has just ended: what goes at once still goes.
        match poll_fn(|cx| Poll::Ready(publish.as_mut().poll(cx))).await {
            Poll::Ready(published) => published.is_ok(),
            Poll::Pending => {
                let published = site.life.race(link.alive().race(publish)).await;
                matches!(published, Ok(Ok(Ok(()))))
            }
        }
    }
}

/// Writes an outcome. When it is longer than the server takes, an error that says so; when even
/// that is, the same without its text.
fn fitting(bytes_max: usize, outcome: Result<Response, Error>) -> (Option<HeaderMap>, Bytes) {
    let failed = outcome.as_ref().err().map(minimal);
    let (headers, body) = encode_reply(outcome);
    if length(&headers, &body) <= bytes_max {
        return (headers, body);
    }
    let text = format!("the reply is longer than the {bytes_max} bytes that the server takes");
    let error = failed.unwrap_or_else(|| {
        let (code, reason) = (Code::ResourceExhausted, Reason::RESPONSE_TOO_LARGE);
        Error::failure(code, Delivery::Processed, reason, text)
    });
    let least = minimal(&error);
    let (headers, body) = encode_reply(Err(error));
    if length(&headers, &body) <= bytes_max {
        return (headers, body);
    }
    encode_reply(Err(least))
}

fn length(headers: &Option<HeaderMap>, body: &Bytes) -> usize {
    headers.as_ref().map_or(0, block_len) + body.len()
}
