//! One request: from its message to its one reply.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use async_nats::{Message, Subject};
use rr_spi::{
    CancelHandle, Code, Context, Delivery, Error, Inbound, Reason, Request, Response, Target,
};
use tokio::time::Instant;

use super::endpoints::Counters;
use super::site::Site;
use crate::clock;
use crate::connection::{Link, message};
use crate::wire::{Head, block_len, decode_request, encode_reply, minimal, target_of};

/// A request that has arrived, with the context made at once: its deadline runs.
pub(super) struct Arrived {
    pub(super) ctx: Context,
    pub(super) handle: CancelHandle,
    pub(super) reply: Subject,
    /// What identifies it for cancelling.
    pub(super) key: u64,
    request: Result<Request, Error>,
    counters: Option<Arc<Counters>>,
}

/// The one target of a subscription, looked up once.
pub(super) struct Known {
    target: Target,
    counters: Option<Arc<Counters>>,
}

/// Longest reply subject in bytes; a server takes lines of 4096, and inboxes are far shorter.
const REPLY_BYTES_MAX: usize = 1024;

impl Known {
    pub(super) fn of(site: &Site, target: Target) -> Self {
        Self { counters: site.endpoints.of(&target), target }
    }
}

impl Arrived {
    /// Reads a message; `None` when nobody waits for a reply.
    pub(super) fn read(site: &Site, known: Option<&Known>, message: Message) -> Option<Self> {
        // A reply to a subject longer than this would break the server's limit of a line, and the
        // server would close the connection: such a message is as good as one without.
        let Some(reply) = message.reply.filter(|reply| reply.len() <= REPLY_BYTES_MAX) else {
            site.counts.without_reply();
            return None;
        };
        let head = message.headers.as_ref().map_or_else(|| Ok(Head::default()), decode_request);
        let now = site.config.clocks_agree.then(clock::unix_millis);
        let inbound = head.as_ref().map_or_else(|_| Inbound::default(), |head| head.inbound(now));
        let (ctx, handle) = site.intake.context(inbound);
        let key = site.cancels.key(&reply);
        let (target, counters) = match known {
            Some(known) => (Ok(known.target.clone()), known.counters.clone()),
            None => {
                let target = target(&site.prefix, &message.subject);
                let counters = target.as_ref().ok().and_then(|target| site.endpoints.of(target));
                (target, counters)
            }
        };
        let request = head.and_then(|head| {
            site.counts.headers_dropped(head.dropped);
            Ok(Request::new(target?, message.payload)
                .with_headers(head.headers)
                .with_idempotency(head.idempotency))
        });
        Some(Self { ctx, handle, reply, key, request, counters })
    }

    /// Takes the call apart: what is to be done, and what cancels it.
    pub(super) fn split(
        self,
        site: Arc<Site>,
        link: Arc<Link>,
    ) -> (impl Future<Output = ()> + Send + 'static, CancelHandle, u64) {
        let Self { ctx, handle, reply, key, request, counters } = self;
        let answer = async move {
            let start = Instant::now();
            let outcome = match request {
                Ok(request) => site.intake.handle(&ctx, request).await,
                Err(error) => Err(error),
            };
            // Without a queue group every server gets the request: that this one refused it proves
            // nothing of the others.
            let shared = site.config.queue.is_none();
            let outcome = outcome.map_err(|error| if shared { unproven(error) } else { error });
            if let Some(counters) = counters {
                counters.count(start.elapsed(), &outcome);
            }
            if !link.is_lost() {
                return send(&site, &link, reply, outcome).await;
            }
            // The caller may still be there, on another server: as long as the call has time and
            // the server lives, the reply waits for the next connection.
            if let Ok(Ok(next)) = site.life.race(ctx.race(site.next_link())).await {
                send(&site, &next, reply, outcome).await;
            }
        };
        (answer, handle, key)
    }
}

/// Makes a refusal say that the handler may have run, elsewhere.
fn unproven(error: Error) -> Error {
    if !error.delivery().is_unexecuted() {
        return error;
    }
    let text = error.message().to_owned();
    Error::failure(error.code(), Delivery::Unknown, error.reason().cloned(), text)
        .with_headers(error.headers().clone())
        .with_retry(error.retry())
}

fn target(prefix: &str, subject: &str) -> Result<Target, Error> {
    let target = target_of(prefix, subject).and_then(|target| Target::parse(target).ok());
    target.ok_or_else(|| {
        let text = "nothing answers this subject here";
        let reason = Reason::NO_SUCH_TARGET;
        Error::failure(Code::Unimplemented, Delivery::Rejected, reason, text)
    })
}

/// Sends the one reply. When it is longer than the server takes, an error that says so; when even
/// that is, the same without its text.
async fn send(site: &Site, link: &Link, reply: Subject, outcome: Result<Response, Error>) {
    let bytes_max = link.message_bytes_max();
    let failed = outcome.as_ref().err().map(minimal);
    let (mut headers, mut body) = encode_reply(outcome);
    let too_long = |headers: &Option<_>, body: &[u8]| {
        headers.as_ref().map_or(0, block_len) + body.len() > bytes_max
    };
    if too_long(&headers, &body) {
        let text = format!("the reply is longer than the {bytes_max} bytes that the server takes");
        let reason = Reason::RESPONSE_TOO_LARGE;
        let error = failed.unwrap_or_else(|| {
            Error::failure(Code::ResourceExhausted, Delivery::Processed, reason, text)
        });
        let least = minimal(&error);
        (headers, body) = encode_reply(Err(error));
        if too_long(&headers, &body) {
            (headers, body) = encode_reply(Err(least));
        }
    }
    let mut publish = pin!(link.publish(message(reply, None, headers, body)));
    // Also when the server has just ended: what goes at once still goes.
    if poll_fn(|cx| Poll::Ready(publish.as_mut().poll(cx).is_ready())).await {
        return;
    }
    // A reply that cannot leave any more is lost with the connection: the caller, who sees its
    // own end of it or its deadline, says `Unknown`.
    let _ = site.life.race(link.alive().race(publish)).await;
}
