//! A peer that speaks the transport's wire below the API.

use std::any::Any;
use std::fmt::Write as _;
use std::sync::Arc;

use rr_spi::wire::{RR_CODE, RR_DELIVERY, RR_REASON};
use rr_spi::{Bytes, Code, Delivery, Error, Requester, async_trait};
use tokio::io::AsyncRead;

/// A peer that speaks the transport's wire below the API, so that it can say what a requester or
/// a server of ours never would.
///
/// # Contract
///
/// * What it is given goes onto the wire as it is: nothing is checked, corrected or added, except
///   what the carrier itself cannot do without (a status, a length, a reply subject).
/// * The carrier's own mark of an error is that of `unknown` (HTTP: status 500), so that nothing
///   but what the reply says decides.
/// * What it reads, it returns as it was on the wire, with the carrier's mark where it has one.
///
/// # For implementors
///
/// [`RawReply::wire_headers`], [`RawReply::wire_body`] and [`RawReply::read`] know where code,
/// delivery and reason travel on every transport.
///
/// # For wrappers
///
/// Delegate every method but [`Raw::answering`]; wrap the requester that [`Raw::answering`] returns.
#[async_trait]
pub trait Raw: Send + Sync + 'static {
    /// Sends a request to the rig's server as a foreign requester would, and returns what the
    /// server wrote.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from reading a reply; the case fails with it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    async fn send(&self, request: RawRequest) -> Result<RawReply, Error>;

    /// Starts a foreign responder that answers every request like this, and returns a requester
    /// of the transport that is connected to it. Both end with the requester or with the rig.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from starting; the case fails with it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    async fn answering(&self, answer: RawAnswer) -> Result<Arc<dyn Requester>, Error>;

    /// Sends the rig's server what is no request, or not a whole one, and returns without waiting for
    /// an answer. The connection stays open until what is returned is dropped, unless the server ends
    /// it before.
    ///
    /// Where nothing passes as bytes there is no garbage: the plan skips the case with that reason.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from connecting; the case fails with it. `Unimplemented`, not sent, when the
    /// peer cannot do it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    async fn garbage(&self, garbage: RawGarbage) -> Result<Box<dyn Any + Send>, Error> {
        let _ = garbage;
        Err(missing("garbage"))
    }

    /// Sends the rig's server a request whose head does not end, until the server ends the connection
    /// or has taken `bytes_max`. Returns how many bytes the server, or what lies before it, has taken.
    ///
    /// What does not end is the value of a header, or, where a head comes in pieces, its headers. Where
    /// a head says before how long it is, it says so many bytes and sends them.
    ///
    /// The plan of a transport that passes no bytes skips the case with that reason.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from connecting; the case fails with it. `Unimplemented`, not sent, when the
    /// peer cannot do it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    async fn endless(&self, request: RawRequest, bytes_max: usize) -> Result<usize, Error> {
        let _ = (request, bytes_max);
        Err(missing("endless"))
    }

    /// Sends the rig's server so many requests, without waiting for a reply in between, and takes nothing
    /// of what the server answers until what is returned is read: the connection as it stands on the wire.
    ///
    /// All are on one connection, and its windows are open, where it has any. Where a request has a
    /// connection to itself, a few are sent, and each connection is returned. A connection ends when it
    /// is dropped.
    ///
    /// Where nothing passes as bytes, nothing waits to be read: the plan skips the cases with that reason.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from connecting; the case fails with it. `Unimplemented`, not sent, when the
    /// peer cannot do it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    async fn unread(&self, request: RawRequest, times: usize) -> Result<Vec<RawUnread>, Error> {
        let _ = (request, times);
        Err(missing("unread"))
    }
}

/// A connection of a foreign peer that has not read anything yet.
pub type RawUnread = Box<dyn AsyncRead + Send + Unpin>;

/// Makes the error for what a peer does not have.
fn missing(method: &str) -> Error {
    let text = format!("the capability `raw` is claimed, but the peer does not have `{method}`");
    Error::failure(Code::Unimplemented, Delivery::NotSent, None, text)
}

/// What a foreign requester sends that is no request, or not a whole one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RawGarbage {
    /// Bytes in the place of a request. Where a broker checks the frames of messages, they are the body
    /// of messages that are no requests: those that nobody is to answer, and the transport's own.
    Noise(Bytes),
    /// The first so many bytes of a request, but never the last one; nothing more comes.
    Part(RawRequest, usize),
    /// A request whose frame says that the body is so much longer than what comes of it.
    Promise(RawRequest, usize),
}

/// A request as it stands on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RawRequest {
    /// The target, such as `lab.run`, to be written as the transport writes targets.
    pub target: String,
    /// The text that stands where the transport carries the time that is left, such as `250`,
    /// `0` or `soon`; `None` says nothing of it. (HTTP: `connect-timeout-ms`. NATS: `t` of `rr`.)
    pub timeout: Option<String>,
    /// Further headers as they are: reserved ones, upper-case ones, values of any bytes.
    pub headers: Vec<(String, Bytes)>,
    /// The body.
    pub body: Bytes,
}

impl RawRequest {
    /// Makes a request that says nothing but its target.
    #[must_use]
    pub fn new(target: impl Into<String>) -> Self {
        Self { target: target.into(), ..Self::default() }
    }

    /// Sets the text that stands where the time that is left does.
    #[must_use]
    pub fn with_timeout(mut self, text: impl Into<String>) -> Self {
        self.timeout = Some(text.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

/// What a foreign responder answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RawAnswer {
    /// A reply of the protocol, whatever it says.
    Reply(RawReply),
    /// Bytes that are no reply of the protocol at all; then the connection ends, if there is one.
    ///
    /// Where every message is a reply, as behind a broker that checks them, there are no such
    /// bytes: the plan skips the case with that reason.
    Garbage(Bytes),
}

/// A reply as it stands on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RawReply {
    /// The text of the code; `None` is a success.
    pub code: Option<String>,
    /// The text of the delivery.
    pub delivery: Option<String>,
    /// The text of the reason.
    pub reason: Option<String>,
    /// The carrier's own mark of what kind of reply it is: of HTTP the status, such as `431`. Of a
    /// reply that is to be written it is not looked at.
    pub mark: Option<String>,
    /// Further headers as they are.
    pub headers: Vec<(String, Bytes)>,
    /// The body. An error whose body is empty is written with the document that its code, reason
    /// and delivery make.
    pub body: Bytes,
}

impl RawReply {
    /// Makes a success.
    #[must_use]
    pub fn success(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// Makes an error of any code, those that nobody knows yet included.
    #[must_use]
    pub fn failure(code: impl Into<String>) -> Self {
        Self { code: Some(code.into()), ..Self::default() }
    }

    /// Sets the text of the delivery.
    #[must_use]
    pub fn with_delivery(mut self, text: impl Into<String>) -> Self {
        self.delivery = Some(text.into());
        self
    }

    /// Sets the text of the reason.
    #[must_use]
    pub fn with_reason(mut self, text: impl Into<String>) -> Self {
        self.reason = Some(text.into());
        self
    }

    /// Sets the carrier's own mark, as it was read.
    #[must_use]
    pub fn with_mark(mut self, text: impl Into<String>) -> Self {
        self.mark = Some(text.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Returns every header to be written: code, reason and delivery where they travel on every
    /// transport, then the further ones. The carrier's own mark of an error is not among them.
    #[must_use]
    pub fn wire_headers(&self) -> Vec<(String, Bytes)> {
        let said =
            [(RR_CODE, &self.code), (RR_REASON, &self.reason), (RR_DELIVERY, &self.delivery)];
        let own = said.into_iter().filter_map(|(name, text)| {
            text.as_ref().map(|text| (name.to_owned(), Bytes::from(text.clone())))
        });
        own.chain(self.headers.iter().cloned()).collect()
    }

    /// Returns the body to be written: of an error without one, the document.
    #[must_use]
    pub fn wire_body(&self) -> Bytes {
        let Some(code) = self.code.as_ref().filter(|_| self.body.is_empty()) else {
            return self.body.clone();
        };
        let mut document = format!(r#"{{"code":"{}","message":"raw""#, escaped(code));
        for (member, text) in [("reason", &self.reason), ("delivery", &self.delivery)] {
            if let Some(text) = text {
                // Writing to a string cannot fail.
                let _ = write!(document, r#","{member}":"{}""#, escaped(text));
            }
        }
        document.push('}');
        document.into()
    }

    /// Makes a reply of the headers and the body that were read.
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

/// Writes text so that it can stand between the quotes of a JSON string.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if u32::from(control) < 0x20 => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            plain => out.push(plain),
        }
    }
    out
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
