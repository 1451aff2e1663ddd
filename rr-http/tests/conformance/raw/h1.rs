//! HTTP/1.1, byte by byte.

use std::io;

use rr_spi::Bytes;
use rr_testkit::conformance::{RawAnswer, RawReply, RawRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::line::Stream;

/// Sends one request, and reads until the server closes.
pub(super) async fn send(mut stream: Box<dyn Stream>, request: RawRequest) -> io::Result<RawReply> {
    let start = format!("POST {} HTTP/1.1\r\nhost: raw\r\n", super::path(&request.target));
    let mut head = start.into_bytes();
    write_headers(&mut head, &super::headers(&request), &request.body);
    stream.write_all(&head).await?;
    stream.write_all(&request.body).await?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await?;
    let (head, body) = split(&reply).ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(RawReply::read(read_headers(head), Bytes::copy_from_slice(body)))
}

/// Answers the request of one connection, and closes it.
pub(super) async fn answer(mut stream: Box<dyn Stream>, answer: RawAnswer) -> io::Result<()> {
    read_request(&mut *stream).await?;
    match answer {
        RawAnswer::Reply(reply) => {
            let body = reply.wire_body();
            let mut head = format!("HTTP/1.1 {} Raw\r\n", super::status(&reply)).into_bytes();
            write_headers(&mut head, &reply.wire_headers(), &body);
            stream.write_all(&head).await?;
            stream.write_all(&body).await?;
        }
        RawAnswer::Garbage(bytes) => stream.write_all(&bytes).await?,
        other => panic!("a raw answer that is not known here: {other:?}"),
    }
    stream.shutdown().await
}

fn write_headers(head: &mut Vec<u8>, headers: &[(String, Bytes)], body: &Bytes) {
    for (name, value) in headers {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    let carrier = format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len());
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
