//! HTTP/2, frame by frame: what h2 does by itself is the carrier's.

use std::io;

use h2::{client, server};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use rr_spi::Bytes;
use rr_testkit::conformance::{RawAnswer, RawGarbage, RawReply, RawRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::line::Stream;

/// What goes wrong at this end, which fails the case.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Sends one request, and reads its reply.
pub(super) async fn send(
    stream: Box<dyn Stream>,
    request: RawRequest,
) -> Result<RawReply, Failure> {
    let (sender, connection) = client::handshake(stream).await?;
    let driving = tokio::spawn(connection);
    let uri = format!("http://raw{}", super::path(&request.target));
    let mut head = Request::post(uri).body(()).unwrap();
    *head.headers_mut() = header_map(super::headers(&request));
    let mut sender = sender.ready().await?;
    let (reply, mut body) = sender.send_request(head, request.body.is_empty())?;
    if !request.body.is_empty() {
        body.send_data(request.body, true)?;
    }
    let (head, mut body) = reply.await?.into_parts();
    let mut read = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        read.extend_from_slice(&data);
        let _ = body.flow_control().release_capacity(data.len());
    }
    driving.abort();
    let headers = head.headers.iter();
    let headers = headers
        .map(|(name, value)| (name.as_str().to_owned(), Bytes::copy_from_slice(value.as_bytes())));
    Ok(RawReply::read(headers, read.into()).with_mark(head.status.as_str()))
}

/// Answers every request of one connection.
pub(super) async fn answer(mut stream: Box<dyn Stream>, answer: RawAnswer) -> Result<(), Failure> {
    let reply = match answer {
        RawAnswer::Reply(reply) => reply,
        RawAnswer::Garbage(bytes) => {
            read_request(&mut *stream).await?;
            stream.write_all(&bytes).await?;
            return Ok(stream.shutdown().await?);
        }
        other => panic!("a raw answer that is not known here: {other:?}"),
    };
    let mut connection = server::handshake(stream).await?;
    while let Some(request) = connection.accept().await {
        let (_request, mut respond) = request?;
        let mut head = Response::builder().status(super::status(&reply)).body(()).unwrap();
        *head.headers_mut() = header_map(reply.wire_headers());
        let body = reply.wire_body();
        let mut stream = respond.send_response(head, body.is_empty())?;
        if !body.is_empty() {
            stream.send_data(body, true)?;
        }
    }
    Ok(())
}

/// What a client says first, and how long the head of each frame is (RFC 9113 §3.4, §4.1).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD_LEN: usize = 9;

/// The types of the frames of a request's body and head, and of what the client allows (§6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;

/// Types of frames that widen what a server may send, and that go on with a head (§6.9, §6.10).
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// The setting of a window's first size, that size, and the largest (§6.5.2, §6.9.1).
const INITIAL_WINDOW_SIZE: u16 = 4;
const WINDOW_DEFAULT: u32 = 65_535;
const WINDOW: u32 = (1 << 31) - 1;

/// How long a frame may be before a server has said more (§6.5.2).
const FRAME_BYTES: usize = 16_384;

/// Flags: nothing of the request comes after this frame, nothing of its head does (§6.1, §6.2).
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Returns what no server can take for a request, or not for a whole one; each on a connection that
/// begins as it should.
pub(super) fn garbage(garbage: RawGarbage) -> Vec<u8> {
    let mut bytes = [PREFACE, &frame_head(0, SETTINGS, 0, 0)].concat();
    match garbage {
        RawGarbage::Noise(noise) => bytes.extend_from_slice(&noise),
        RawGarbage::Part(request, length) => {
            write_request(&mut bytes, 1, &request, 0);
            bytes = super::part(bytes, length);
        }
        RawGarbage::Promise(request, longer) => write_request(&mut bytes, 1, &request, longer),
        other => panic!("garbage that is not known here: {other:?}"),
    }
    bytes
}

/// Returns a head to which pieces without end belong, and one of these, with a header in it as often as
/// one frame holds.
pub(super) fn endless(request: &RawRequest) -> (Vec<u8>, Vec<u8>) {
    let mut bytes = [PREFACE, &frame_head(0, SETTINGS, 0, 0)].concat();
    let block = block(request);
    bytes.extend(frame_head(block.len(), HEADERS, 0, 1));
    bytes.extend(block);
    let mut field = Vec::new();
    write_field(&mut field, "x-endless", &[b'v'; 100]);
    let fields = field.repeat(FRAME_BYTES / field.len());
    (bytes, [&frame_head(fields.len(), CONTINUATION, 0, 1), &fields[..]].concat())
}

/// Writes the same request so many times, on a connection whose windows are as wide as can be.
pub(super) fn many(request: &RawRequest, times: usize) -> Vec<u8> {
    let mut bytes = [PREFACE, &frame_head(6, SETTINGS, 0, 0)].concat();
    bytes.extend(INITIAL_WINDOW_SIZE.to_be_bytes());
    bytes.extend(WINDOW.to_be_bytes());
    bytes.extend(frame_head(4, WINDOW_UPDATE, 0, 0));
    bytes.extend((WINDOW - WINDOW_DEFAULT).to_be_bytes());
    // Streams that a client opens have odd numbers.
    for stream in (1..).step_by(2).take(times) {
        write_request(&mut bytes, stream, request, 0);
    }
    bytes
}

/// Writes a request in two frames, the second of which is so much longer by its head.
fn write_request(bytes: &mut Vec<u8>, stream: u32, request: &RawRequest, longer: usize) {
    let block = block(request);
    bytes.extend(frame_head(block.len(), HEADERS, END_HEADERS, stream));
    bytes.extend(block);
    bytes.extend(frame_head(request.body.len() + longer, DATA, END_STREAM, stream));
    bytes.extend_from_slice(&request.body);
}

/// Writes every header of a request.
fn block(request: &RawRequest) -> Vec<u8> {
    let mut block = Vec::new();
    let path = super::path(&request.target);
    for (name, value) in
        [(":method", "POST"), (":scheme", "http"), (":authority", "raw"), (":path", &path)]
    {
        write_field(&mut block, name, value.as_bytes());
    }
    for (name, value) in super::headers(request) {
        write_field(&mut block, &name, &value);
    }
    block
}

fn frame_head(length: usize, kind: u8, flags: u8, stream: u32) -> [u8; FRAME_HEAD_LEN] {
    let [_, high, middle, low] = u32::try_from(length).unwrap().to_be_bytes();
    let [a, b, c, d] = stream.to_be_bytes();
    [high, middle, low, kind, flags, a, b, c, d]
}

/// Writes a header as a literal that is not indexed (RFC 7541 §6.2.2).
fn write_field(block: &mut Vec<u8>, name: &str, value: &[u8]) {
    block.push(0);
    for text in [name.as_bytes(), value] {
        block.push(u8::try_from(text.len()).ok().filter(|&length| length < 127).unwrap());
        block.extend_from_slice(text);
    }
}

/// Reads until a request has begun.
async fn read_request(stream: &mut dyn Stream) -> io::Result<()> {
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface).await?;
    loop {
        let mut head = [0; FRAME_HEAD_LEN];
        stream.read_exact(&mut head).await?;
        let [_, _, _, kind, ..] = head;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await?;
        if kind == HEADERS {
            return Ok(());
        }
    }
}

/// Makes the headers; HTTP/2 itself has none with upper-case names (RFC 9113 §8.2).
fn header_map(headers: Vec<(String, Bytes)>) -> HeaderMap {
    let parsed = headers.into_iter().map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        (name, HeaderValue::from_bytes(&value).unwrap())
    });
    // Extending from single entries keeps those that repeat.
    parsed.fold(HeaderMap::new(), |mut map, (name, value)| {
        map.append(name, value);
        map
    })
}
