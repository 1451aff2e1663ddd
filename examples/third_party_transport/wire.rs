//! What stands on the wire: pure functions, but for the one that reads a message.
//!
//! A message is the version (u8), the length of what follows (u32) and that: parts that each say
//! their length (u16), an empty one at their end, and the body. Numbers are big-endian. The parts
//! of a request are its target, and names and values of its headers; a reply has no target.

use std::borrow::Cow;
use std::io;

use rr_spi::wire::{
    ErrorDocument, ErrorHeaders, RR_DEDUP, RequestHead, RequestHeaders, ResponseHead,
};
use rr_spi::{Attempt, Bytes, Code, Delivery, Error, Reason, Request, Response, Target};
use tokio::io::{AsyncReadExt, copy, sink};
use tokio::net::TcpStream;

/// Starts each message; alone, it is the first thing that a server says.
pub(crate) const VERSION: u8 = 1;

/// Most bytes of a message besides the body: 16 KiB of headers of the application and 10 KiB of
/// ours, or an error document of 18 KiB, with room for their lengths.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Most bytes that are skipped of a message that is too long: its sender learns why it is refused, if
/// it comes to an end by then.
const SKIPPED_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Reads a message; `None` when it is too long for a body of that size, and was skipped.
pub(crate) async fn read(from: &mut TcpStream, body_bytes_max: usize) -> io::Result<Option<Bytes>> {
    if from.read_u8().await? != VERSION {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let length = from.read_u32().await?;
    let mut message = from.take(length.into());
    if length as usize > body_bytes_max.saturating_add(HEAD_BYTES_MAX) {
        copy(&mut message.take(SKIPPED_BYTES_MAX), &mut sink()).await?;
        return Ok(None);
    }
    let mut bytes = Vec::new();
    message.read_to_end(&mut bytes).await?;
    let is_whole = bytes.len() == length as usize;
    if is_whole { Ok(Some(bytes.into())) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Writes a message of any parts, which need not make sense.
pub(crate) fn message<'a>(parts: impl IntoIterator<Item = &'a [u8]>, body: &[u8]) -> Vec<u8> {
    let mut out = vec![VERSION, 0, 0, 0, 0];
    for part in parts.into_iter().chain([&[][..]]) {
        // rr limits targets, names and values to far less.
        out.extend(u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(part);
    }
    out.extend_from_slice(body);
    let length = u32::try_from(out.len() - 5).unwrap_or(u32::MAX);
    out[1..5].copy_from_slice(&length.to_be_bytes());
    out
}

/// Writes a request. It says how much time is left, so it is to leave at once.
pub(crate) fn write_request(attempt: &Attempt, request: &Request) -> Vec<u8> {
    let own = RequestHeaders::new(attempt.context(), &request.idempotency)
        .with_timeout_millis(attempt.timeout_millis());
    let own: Vec<_> = own.iter().collect();
    let app: Vec<_> = request.headers.encoded().collect();
    let own = own.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
    message(
        [request.target.as_str().as_bytes()].into_iter().chain(own).chain(parts(&app)),
        &request.body,
    )
}

/// Writes a reply.
pub(crate) fn write_reply(outcome: &Result<Response, Error>) -> Vec<u8> {
    let (own, app, body) = match outcome {
        Ok(response) => (ErrorHeaders::default(), &response.headers, response.body.clone()),
        Err(error) => (ErrorHeaders::of(error), error.headers(), ErrorDocument::encode(error)),
    };
    // An error has it among its own headers.
    let dedup = outcome.as_ref().ok().and_then(Response::dedup);
    let dedup = dedup.map(|dedup| (RR_DEDUP, dedup.as_str()));
    let own = own.iter().chain(dedup);
    let own = own.flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
    let app: Vec<_> = app.encoded().collect();
    message(own.chain(parts(&app)), &body)
}

fn parts<'a>(headers: &'a [(&str, Bytes)]) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().flat_map(|(name, value)| [name.as_bytes(), value])
}

/// Reads a request: its target and head, which borrow from the message, and its body. If it is
/// malformed, the handler did not run, and the error says so.
pub(crate) fn read_request(message: &Bytes) -> Result<(RequestHead<'_>, Target, Bytes), Error> {
    let malformed = || {
        let text = "the request could not be understood";
        Error::failure(Code::InvalidArgument, Delivery::Rejected, None, text)
    };
    let mut rest = &message[..];
    let target = part(&mut rest).ok_or_else(malformed)?;
    let target = Target::parse(&String::from_utf8_lossy(target))?;
    let mut head = RequestHead::default();
    while let Some((name, value)) = header(&mut rest).ok_or_else(malformed)? {
        head.receive(&name, value)?;
    }
    Ok((head, target, message.slice_ref(rest)))
}

/// Reads a reply.
pub(crate) fn read_reply(message: &Bytes) -> Result<Response, Error> {
    let mut rest = &message[..];
    let mut head = ResponseHead::default();
    while let Some((name, value)) = header(&mut rest).ok_or_else(bad_response)? {
        head.receive(&name, value);
    }
    head.outcome(message.slice_ref(rest))
}

/// Something answered, and nobody knows what: not even whether the handler ran.
pub(crate) fn bad_response() -> Error {
    let text = "the reply could not be understood";
    Error::failure(Code::Internal, Delivery::Unknown, Reason::BAD_RESPONSE, text)
}

/// Takes the next part off a message; `None` where there is none.
fn part<'a>(message: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::from(u16::from_be_bytes(*message.first_chunk()?));
    let (part, rest) = message[2..].split_at_checked(length)?;
    *message = rest;
    Some(part)
}

/// A name and a value.
pub(crate) type Header<'a> = (Cow<'a, str>, &'a [u8]);

/// Takes the next header off a message; `Some(None)` behind the last, `None` where it breaks off.
pub(crate) fn header<'a>(message: &mut &'a [u8]) -> Option<Option<Header<'a>>> {
    let name = part(message)?;
    if name.is_empty() {
        return Some(None);
    }
    Some(Some((String::from_utf8_lossy(name), part(message)?)))
}
