//! HTTP/1.1, byte by byte.

use std::io;

use rr_spi::Bytes;
use rr_testkit::conformance::{RawAnswer, RawGarbage, RawReply, RawRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::line::Stream;

/// How much of a value without end is written in one piece.
const PIECE_BYTES: usize = 16 * 1024;

/// Sends one request, and reads until the server closes.
pub(super) async fn send(mut stream: Box<dyn Stream>, request: RawRequest) -> io::Result<RawReply> {
    // A server that refuses a head need not read it to its end.
    let _ = stream.write_all(&written(&request, 0)).await;
    let mut reply = Vec::new();
    let read = stream.read_to_end(&mut reply).await;
    let Some((head, body)) = split(&reply) else {
        return Err(read.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()));
    };
    let status = String::from_utf8_lossy(head).split(' ').nth(1).unwrap_or_default().to_owned();
    let reply = RawReply::read(read_headers(head), Bytes::copy_from_slice(body));
    Ok(reply.with_mark(status))
}

/// Returns what no server can take for a request, or not for a whole one.
pub(super) fn garbage(garbage: RawGarbage) -> Vec<u8> {
    match garbage {
        RawGarbage::Noise(bytes) => bytes.to_vec(),
        RawGarbage::Part(request, bytes) => super::part(written(&request, 0), bytes),
        RawGarbage::Promise(request, bytes) => written(&request, bytes),
        other => panic!("garbage that is not known here: {other:?}"),
    }
}

/// Returns the beginning of a head whose last value does not end, and a piece of the value.
pub(super) fn endless(request: &RawRequest) -> (Vec<u8>, Vec<u8>) {
    let mut head = start(request);
    head.extend_from_slice(b"x-endless: ");
    (head, vec![b'v'; PIECE_BYTES])
}

/// Writes the same request so many times, one behind the other.
pub(super) fn many(request: &RawRequest, times: usize) -> Vec<u8> {
    let mut one = start(request);
    one.extend(format!("content-length: {}\r\n\r\n", request.body.len()).into_bytes());
    one.extend_from_slice(&request.body);
    one.repeat(times)
}

/// Writes a request that says that its body is so much longer.
fn written(request: &RawRequest, longer: usize) -> Vec<u8> {
    let mut bytes = start(request);
    end_head(&mut bytes, request.body.len() + longer);
    bytes.extend_from_slice(&request.body);
    bytes
}

/// Writes the first line of a request, and its headers.
fn start(request: &RawRequest) -> Vec<u8> {
    let line = format!("POST {} HTTP/1.1\r\nhost: raw\r\n", super::path(&request.target));
    let mut bytes = line.into_bytes();
    write_headers(&mut bytes, &super::headers(request));
    bytes
}

/// Answers the request of one connection, and closes it.
pub(super) async fn answer(mut stream: Box<dyn Stream>, answer: RawAnswer) -> io::Result<()> {
    read_request(&mut *stream).await?;
    match answer {
        RawAnswer::Reply(reply) => {
            let body = reply.wire_body();
            let mut head = format!("HTTP/1.1 {} Raw\r\n", super::status(&reply)).into_bytes();
            write_headers(&mut head, &reply.wire_headers());
            end_head(&mut head, body.len());
            stream.write_all(&head).await?;
            stream.write_all(&body).await?;
        }
        RawAnswer::Garbage(bytes) => stream.write_all(&bytes).await?,
        other => panic!("a raw answer that is not known here: {other:?}"),
    }
    stream.shutdown().await
}

fn write_headers(head: &mut Vec<u8>, headers: &[(String, Bytes)]) {
    for (name, value) in headers {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
}

/// Writes the headers of the carrier, after which the connection ends, and the end of the head.
fn end_head(head: &mut Vec<u8>, length: usize) {
    let carrier = format!("content-length: {length}\r\nconnection: close\r\n\r\n");
    head.extend_from_slice(carrier.as_bytes());
}

/// Reads one whole request, whose length its head says.
async fn read_request(stream: &mut dyn Stream) -> io::Result<()> {
    let mut read = Vec::new();
    loop {
        if let Some((head, body)) = split(&read) {
            let mut headers = read_headers(head).into_iter();
            let length = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            let length = length.and_then(|(_, value)| String::from_utf8(value.to_vec()).ok());
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Ok(());
            }
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Splits what was read into head and body, once the head is there.
fn split(read: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = read.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((&read[..end], &read[end + 4..]))
}

fn read_headers(head: &[u8]) -> Vec<(String, Bytes)> {
    let lines = head.split(|byte| *byte == b'\n').skip(1);
    let headers = lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = String::from_utf8_lossy(&line[..colon]).into_owned();
        Some((name, Bytes::copy_from_slice(line[colon + 1..].trim_ascii())))
    });
    headers.collect()
}
