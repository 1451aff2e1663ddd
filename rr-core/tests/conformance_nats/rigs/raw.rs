//! Foreign peers of a bridge, below the API: one that calls it over HTTP/1.1, and one behind it that
//! answers over NATS. What either says crosses the bridge.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rr_core::{Bytes, Code, Delivery, Error, Request, Requester, Response, async_trait};
use rr_testkit::conformance::{Raw, RawAnswer, RawGarbage, RawReply, RawRequest, RawUnread};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::bridge::Front;

/// Longest wait for a reply: far above what any takes, so that a case fails instead of hanging.
const REPLY_WITHIN: Duration = Duration::from_secs(10);

/// Peers in front of a bridge and behind one.
pub(crate) struct Peers {
    /// Where the bridge listens.
    pub(crate) front: String,
    /// Where the nats-server is.
    pub(crate) broker: SocketAddr,
}

#[async_trait]
impl Raw for Peers {
    async fn send(&self, request: RawRequest) -> Result<RawReply, Error> {
        let reply = timeout(REPLY_WITHIN, send(&self.front, request)).await;
        reply.unwrap_or_else(|late| Err(late.into())).map_err(failed)
    }

    async fn answering(&self, answer: RawAnswer) -> Result<Arc<dyn Requester>, Error> {
        static PEERS: AtomicU32 = AtomicU32::new(0);
        let RawAnswer::Reply(reply) = answer else {
            let text = "every message is a reply over NATS";
            return Err(Error::failure(Code::Unimplemented, Delivery::NotSent, None, text));
        };
        let prefix = format!("peer{}", PEERS.fetch_add(1, Ordering::Relaxed));
        let wire = subscribed(self.broker, &format!("{prefix}.>")).await.map_err(failed)?;
        let answering = tokio::spawn(async move { drop(answer_all(wire, reply).await) });
        let answering = answering.abort_handle();
        let bridge = Front::to(&format!("nats://{}/{prefix}", self.broker)).await?;
        Ok(Arc::new(Answered { bridge, answering }))
    }

    async fn garbage(&self, garbage: RawGarbage) -> Result<Box<dyn Any + Send>, Error> {
        let bytes = match garbage {
            RawGarbage::Noise(bytes) => bytes.to_vec(),
            RawGarbage::Part(request, length) => {
                let mut bytes = written(&request, 0);
                bytes.truncate(length.min(bytes.len() - 1));
                bytes
            }
            RawGarbage::Promise(request, longer) => written(&request, longer),
            other => panic!("garbage that is not known here: {other:?}"),
        };
        let mut stream = TcpStream::connect(&self.front).await.map_err(failed)?;
        // A server that has heard enough need not read on.
        let _ = stream.write_all(&bytes).await;
        Ok(Box::new(stream))
    }

    async fn endless(&self, request: RawRequest, bytes_max: usize) -> Result<usize, Error> {
        let mut stream = TcpStream::connect(&self.front).await.map_err(failed)?;
        let head = format!("POST /{} HTTP/1.1\r\nhost: raw\r\nx-endless: ", path(&request.target));
        let mut next = head.as_bytes();
        let mut written = 0;
        while written < bytes_max && stream.write_all(next).await.is_ok() {
            written += next.len();
            next = &[b'v'; 16 * 1024];
        }
        Ok(written)
    }

    async fn unread(&self, request: RawRequest, times: usize) -> Result<Vec<RawUnread>, Error> {
        let mut stream = TcpStream::connect(&self.front).await.map_err(failed)?;
        let bytes = start(&request, "", request.body.len()).repeat(times);
        stream.write_all(&bytes).await.map_err(failed)?;
        Ok(vec![Box::new(stream)])
    }
}

/// A bridge, with the peer that answers behind it.
struct Answered {
    bridge: Front,
    answering: AbortHandle,
}

#[async_trait]
impl Requester for Answered {
    async fn request(&self, ctx: &rr_core::Context, request: Request) -> Result<Response, Error> {
        self.bridge.requester.request(ctx, request).await
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

/// Sends one request to a bridge, and reads until it closes.
async fn send(front: &str, request: RawRequest) -> io::Result<RawReply> {
    let mut stream = TcpStream::connect(front).await?;
    // A server that refuses a head need not read it to its end.
    let _ = stream.write_all(&written(&request, 0)).await;
    let mut reply = Vec::new();
    let read = stream.read_to_end(&mut reply).await;
    let Some(end) = reply.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Err(read.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()));
    };
    let head = String::from_utf8_lossy(&reply[..end]);
    let status = head.split(' ').nth(1).unwrap_or_default();
    let body = Bytes::copy_from_slice(&reply[end + 4..]);
    Ok(RawReply::read(read_headers(&head), body).with_mark(status))
}

/// Writes a request that says that its body is so much longer.
fn written(request: &RawRequest, longer: usize) -> Vec<u8> {
    start(request, "connection: close\r\n", request.body.len() + longer)
}

/// Writes a target as a path.
fn path(target: &str) -> String {
    match target.rsplit_once('.') {
        Some((service, method)) => format!("{service}/{method}"),
        None => target.to_owned(),
    }
}

/// Writes a request that says what becomes of its connection, and a length of its body.
fn start(request: &RawRequest, connection: &str, length: usize) -> Vec<u8> {
    let RawRequest { target, timeout, headers, body, .. } = request;
    let carrier = format!("host: raw\r\n{connection}content-length: {length}\r\n");
    let mut bytes = format!("POST /{} HTTP/1.1\r\n{carrier}", path(target)).into_bytes();
    let timeout = timeout.clone().map(|text| ("connect-timeout-ms".to_owned(), text.into()));
    write(&mut bytes, timeout.iter().chain(headers));
    bytes.extend_from_slice(body);
    bytes
}

/// Connects to a nats-server and subscribes, and proves it: what was sent before has been taken.
async fn subscribed(broker: SocketAddr, subject: &str) -> io::Result<BufStream<TcpStream>> {
    let mut wire = BufStream::new(TcpStream::connect(broker).await?);
    let connect = r#"CONNECT {"verbose":false,"headers":true,"no_responders":true}"#;
    wire.write_all(format!("{connect}\r\nSUB {subject} 1\r\nPING\r\n").as_bytes()).await?;
    wire.flush().await?;
    while !line(&mut wire).await?.starts_with("PONG") {}
    Ok(wire)
}

/// Answers every message alike.
async fn answer_all(mut wire: BufStream<TcpStream>, reply: RawReply) -> io::Result<()> {
    let mut block = b"NATS/1.0\r\n".to_vec();
    write(&mut block, &reply.wire_headers());
    let body = reply.wire_body();
    let (head, all) = (block.len(), block.len() + body.len());
    loop {
        let message = line(&mut wire).await?;
        let words: Vec<&str> = message.split_ascii_whitespace().collect();
        match words[..] {
            ["PING"] => wire.write_all(b"PONG\r\n").await?,
            // Nobody calls without headers: the deadline is one.
            ["HMSG", _, _, to, _, length] => {
                let length: usize = length.parse().map_err(io::Error::other)?;
                wire.read_exact(&mut vec![0; length + 2]).await?;
                wire.write_all(format!("HPUB {to} {head} {all}\r\n").as_bytes()).await?;
                wire.write_all(&[&block, &body[..], b"\r\n"].concat()).await?;
            }
            _ => continue,
        }
        wire.flush().await?;
    }
}

async fn line(wire: &mut BufStream<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    match wire.read_line(&mut line).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line),
    }
}

/// Writes headers, and the empty line after them.
fn write<'a>(block: &mut Vec<u8>, headers: impl IntoIterator<Item = &'a (String, Bytes)>) {
    for (name, value) in headers {
        block.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    block.extend_from_slice(b"\r\n");
}

/// Reads headers, after a first line that is something else.
fn read_headers(head: &str) -> Vec<(String, Bytes)> {
    let headers = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.trim().to_owned().into());
    headers.map(owned).collect()
}

/// Makes the error for what a peer could not do.
fn failed(error: io::Error) -> Error {
    let (code, delivery) = (Code::Unavailable, Delivery::Unknown);
    Error::failure(code, delivery, None, error.to_string()).with_source(error)
}
