//! A foreign peer that reads and writes the transport's wire format directly.

use std::any::Any;
use std::sync::Arc;

use rr_spi::wire::{RR_CODE, RR_DELIVERY, RR_REASON};
use rr_spi::{Bytes, Code, Delivery, Error, Requester, async_trait};
use serde::Serialize;
use tokio::io::AsyncRead;

/// Foreign peer that reads and writes the transport's wire format directly, so that it can send
/// messages that rr's requesters and servers never send.
///
/// # Contract
///
/// * The peer writes its input to the wire unchanged. It checks, corrects and adds nothing, except
///   for fields that the carrier requires (a status, a length, a reply subject).
/// * The carrier's mark of an error is that of `unknown` (HTTP: status 500), so that only the
///   content of the reply decides.
/// * The peer returns messages as they were on the wire, with the carrier's mark if there is one.
///
/// # For implementors
///
/// [`RawReply::wire_headers`], [`RawReply::wire_body`] and [`RawReply::read`] encode and decode
/// code, delivery and reason, in the form common to all transports.
///
/// # For wrappers
///
/// Delegate every method, and wrap the requester that [`Raw::answering`] returns.
#[async_trait]
pub trait Raw: Send + Sync + 'static {
    /// Sends a request to the rig's server as a foreign requester would, and returns the server's
    /// reply.
    ///
    /// # Errors
    ///
    /// Any error before a reply was read; the case fails with it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    async fn send(&self, request: RawRequest) -> Result<RawReply, Error>;

    /// Starts a foreign responder that answers every request with `answer`, and returns a requester
    /// of the transport that is connected to it. Both end when the requester or the rig is dropped.
    ///
    /// # Errors
    ///
    /// Any error of starting; the case fails with it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    async fn answering(&self, answer: RawAnswer) -> Result<Arc<dyn Requester>, Error>;

    /// Sends garbage or an incomplete request to the rig's server and returns without waiting for
    /// an answer. The connection stays open until the returned value is dropped or the server
    /// closes it.
    ///
    /// A transport that does not send bytes has no garbage: its plan skips the case with that
    /// reason.
    ///
    /// # Errors
    ///
    /// Any error of connecting; the case fails with it. `Unimplemented`, not sent, when the peer
    /// does not support this.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    async fn garbage(&self, garbage: RawGarbage) -> Result<Box<dyn Any + Send>, Error> {
        let _ = garbage;
        Err(missing("garbage"))
    }

    /// Sends the rig's server a request with an endless head, until the server closes the
    /// connection or has accepted `bytes_max` bytes. Returns the number of bytes that the server,
    /// or a proxy or broker before it, has accepted.
    ///
    /// The endless part is the value of a header or, where a head is sent in pieces, the sequence
    /// of headers. Where a head has a length prefix, the peer announces `bytes_max` bytes and sends
    /// them.
    ///
    /// The plan of a transport that does not send bytes skips the case with that reason.
    ///
    /// # Errors
    ///
    /// Any error of connecting; the case fails with it. `Unimplemented`, not sent, when the peer
    /// does not support this.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    async fn endless(&self, request: RawRequest, bytes_max: usize) -> Result<usize, Error> {
        let _ = (request, bytes_max);
        Err(missing("endless"))
    }

    /// Sends the rig's server `times` requests without waiting for replies. The peer reads replies
    /// only when the returned connections are read, which yield the raw bytes.
    ///
    /// All requests go over one connection, with open flow-control windows where there are any. If
    /// the transport needs a connection per request, the peer sends a few requests and returns each
    /// connection. Dropping a connection closes it.
    ///
    /// A transport that does not send bytes has no unread replies: its plan skips the cases with
    /// that reason.
    ///
    /// # Errors
    ///
    /// Any error of connecting; the case fails with it. `Unimplemented`, not sent, when the peer
    /// does not support this.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    async fn unread(&self, request: RawRequest, times: usize) -> Result<Vec<RawUnread>, Error> {
        let _ = (request, times);
        Err(missing("unread"))
    }
}

/// Connection of a foreign peer that has not read any reply yet.
pub type RawUnread = Box<dyn AsyncRead + Send + Unpin>;

/// Makes the error of a method that the peer does not implement.
fn missing(method: &str) -> Error {
    let text = format!("the capability `raw` is claimed, but the peer does not have `{method}`");
    Error::failure(Code::Unimplemented, Delivery::NotSent, None, text)
}

/// Garbage or incomplete request of a foreign requester.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RawGarbage {
    /// Arbitrary bytes in place of a request. Where a broker validates message frames, the bytes
    /// are the body of messages that are not requests: messages without a reply subject, and the
    /// transport's control messages.
    Noise(Bytes),
    /// The given number of leading bytes of a request, but never the last byte; the rest is not
    /// sent.
    Part(RawRequest, usize),
    /// A request whose frame announces a body that is this many bytes longer than the body sent.
    Promise(RawRequest, usize),
}

/// Request as it is on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RawRequest {
    /// The target, such as `lab.run`, to be written as the transport writes targets.
    pub target: String,
    /// The text of the transport's timeout field, such as `250`, `0` or `soon`; `None` omits the
    /// field. (HTTP: `connect-timeout-ms`. NATS: `t` of `rr`.)
    pub timeout: Option<String>,
    /// Further headers, written unchanged: reserved names, upper-case names, values of any bytes.
    pub headers: Vec<(String, Bytes)>,
    /// The body.
    pub body: Bytes,
}

impl RawRequest {
    /// Makes a request that has only a target.
    #[must_use]
    pub fn new(target: impl Into<String>) -> Self {
        Self { target: target.into(), ..Self::default() }
    }

    setters! {
        /// Sets the text of the timeout field.
        with_timeout(text: impl Into<String>) sets timeout = Some(text.into());
        /// Sets the body.
        with_body(body: impl Into<Bytes>) sets body = body.into();
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// Answer of a foreign responder.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RawAnswer {
    /// A well-framed reply with any content.
    Reply(RawReply),
    /// Bytes that are not a reply; then the responder closes the connection, if there is one.
    ///
    /// If a broker validates messages, every message is a reply and such bytes cannot be sent: the
    /// plan then skips the case with that reason.
    Garbage(Bytes),
}

/// Reply as it is on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RawReply {
    /// The text of the code; `None` for a success.
    pub code: Option<String>,
    /// The text of the delivery.
    pub delivery: Option<String>,
    /// The text of the reason.
    pub reason: Option<String>,
    /// The carrier's mark of the kind of reply: for HTTP the status, such as `431`. Ignored when
    /// the reply is written.
    pub mark: Option<String>,
    /// Further headers, unchanged.
    pub headers: Vec<(String, Bytes)>,
    /// The body. An error with an empty body is written with an error document made of its code,
    /// reason and delivery.
    pub body: Bytes,
}

impl RawReply {
    /// Makes a success.
    #[must_use]
    pub fn success(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// Makes an error with the given code, which need not be a known one.
    #[must_use]
    pub fn failure(code: impl Into<String>) -> Self {
        Self { code: Some(code.into()), ..Self::default() }
    }

    setters! {
        /// Sets the text of the delivery.
        with_delivery(text: impl Into<String>) sets delivery = Some(text.into());
        /// Sets the text of the reason.
        with_reason(text: impl Into<String>) sets reason = Some(text.into());
        /// Sets the carrier's mark, as it was read.
        with_mark(text: impl Into<String>) sets mark = Some(text.into());
        /// Sets the body.
        with_body(body: impl Into<Bytes>) sets body = body.into();
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Returns all headers to be written: code, reason and delivery under the names common to all
    /// transports, then the further headers. The carrier's mark is not among them.
    #[must_use]
    pub fn wire_headers(&self) -> Vec<(String, Bytes)> {
        let said =
            [(RR_CODE, &self.code), (RR_REASON, &self.reason), (RR_DELIVERY, &self.delivery)];
        let own = said.into_iter().filter_map(|(name, text)| {
            text.as_ref().map(|text| (name.to_owned(), Bytes::from(text.clone())))
        });
        own.chain(self.headers.iter().cloned()).collect()
    }

    /// Returns the body to be written: for an error with an empty body, the error document.
    #[must_use]
    pub fn wire_body(&self) -> Bytes {
        let Some(code) = self.code.as_ref().filter(|_| self.body.is_empty()) else {
            return self.body.clone();
        };
        let (reason, delivery) = (&self.reason, &self.delivery);
        let document = Document { code, message: "raw", reason, delivery };
        // Strings always serialize.
        serde_json::to_vec(&document).unwrap_or_default().into()
    }

    /// Makes a reply from the headers and the body that were read.
    #[must_use]
    pub fn read(headers: impl IntoIterator<Item = (String, Bytes)>, body: Bytes) -> Self {
        let mut reply = Self::success(body);
        for (name, value) in headers {
            let text = || String::from_utf8_lossy(&value).into_owned();
            match name.to_ascii_lowercase().as_str() {
                RR_CODE => reply.code = Some(text()),
                RR_DELIVERY => reply.delivery = Some(text()),
                RR_REASON => reply.reason = Some(text()),
                _ => reply.headers.push((name, value)),
            }
        }
        reply
    }
}

/// Error document of a foreign responder, whose values need not be known ones.
#[derive(Serialize)]
struct Document<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: &'a Option<String>,
}

#[cfg(test)]
mod tests {
    use rr_spi::wire::ErrorDocument;
    use rr_spi::{Code, Delivery};

    use super::*;

    #[test]
    fn the_document_of_an_error_says_what_its_headers_say() {
        let reply = RawReply::failure("not_found").with_delivery("processed");
        let document = ErrorDocument::decode(&reply.wire_body()).unwrap();
        assert_eq!(document.code, Some(Code::NotFound));
        assert_eq!(document.delivery, Some(Delivery::Processed));
        let odd = RawReply::failure("a\"b\\c\n");
        assert!(ErrorDocument::decode(&odd.wire_body()).is_some());
    }

    #[test]
    fn what_is_written_is_read() {
        let reply = RawReply::failure("from_the_future").with_delivery("maybe").with_reason("r");
        let reply = reply.with_header("x-a", "1").with_body("b");
        assert_eq!(RawReply::read(reply.wire_headers(), reply.wire_body()), reply);
    }
}
