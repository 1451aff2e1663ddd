//! A peer that speaks the NATS protocol by hand, below every client library.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rr_nats::{NatsConfig, NatsRequester};
use rr_spi::{Bytes, Code, Context, Delivery, Error, Request, Requester, Response, async_trait};
use rr_testkit::conformance::{Raw, RawAnswer, RawGarbage, RawReply, RawRequest, RawUnread};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// Longest wait for a reply: far above what any takes, so that a case fails instead of hanging.
const REPLY_WITHIN: Duration = Duration::from_secs(10);

/// Pause between questions to a service whose node may not have heard of it.
const AGAIN: Duration = Duration::from_millis(20);

/// A foreign peer at one node.
pub(crate) struct Peer {
    node: SocketAddr,
    config: NatsConfig,
}

impl Peer {
    pub(crate) fn at(node: SocketAddr) -> Self {
        Self { node, config: NatsConfig::default() }
    }

    /// Sets what requesters that it answers are made of.
    pub(crate) fn answering_with(mut self, config: NatsConfig) -> Self {
        self.config = config;
        self
    }

    /// Waits until a service answers discovery. Its subscriptions to requests are older, and reach
    /// this node before.
    pub(crate) async fn finds_a_service(&self) {
        let found = async {
            let mut wire = Wire::connect(self.node).await?;
            wire.subscribe("found").await?;
            loop {
                wire.publish("$SRV.PING", Some("found"), &[], b"").await?;
                if let Ok(message) = timeout(AGAIN, wire.message()).await {
                    // Nobody is there yet when it is the status 503.
                    if message?.status.is_none() {
                        return io::Result::Ok(());
                    }
                }
            }
        };
        timeout(REPLY_WITHIN, found).await.expect("a service in time").expect("a connection");
    }
}

#[async_trait]
impl Raw for Peer {
    async fn send(&self, request: RawRequest) -> Result<RawReply, Error> {
        let exchange = async {
            let mut wire = Wire::connect(self.node).await?;
            wire.subscribe("raw.reply").await?;
            let timeout = request.timeout.map(|text| ("rr".to_owned(), format!("t={text}").into()));
            let headers: Vec<_> = timeout.into_iter().chain(request.headers).collect();
            let subject = format!("case.{}", request.target);
            wire.publish(&subject, Some("raw.reply"), &headers, &request.body).await?;
            let message = wire.message().await?;
            Ok(RawReply::read(message.headers, message.body))
        };
        timeout(REPLY_WITHIN, exchange)
            .await
            .unwrap_or_else(|late| Err(late.into()))
            .map_err(failed)
    }

    async fn answering(&self, answer: RawAnswer) -> Result<Arc<dyn Requester>, Error> {
        static PEERS: AtomicU32 = AtomicU32::new(0);
        let RawAnswer::Reply(reply) = answer else {
            let text = "every message is a reply over NATS";
            return Err(Error::failure(Code::Unimplemented, Delivery::NotSent, None, text));
        };
        let prefix = format!("peer{}", PEERS.fetch_add(1, Ordering::Relaxed));
        let mut wire = Wire::connect(self.node).await.map_err(failed)?;
        wire.subscribe(&format!("{prefix}.>")).await.map_err(failed)?;
        let answering = tokio::spawn(async move {
            let (headers, body) = (reply.wire_headers(), reply.wire_body());
            while let Ok(message) = wire.message().await {
                let Some(to) = message.reply else { continue };
                if wire.publish(&to, None, &headers, &body).await.is_err() {
                    return;
                }
            }
        });
        let url = format!("nats://{}/{prefix}", self.node);
        let client = NatsRequester::connect_with(&url, self.config.clone()).await?;
        client.ready(&Context::background()).await?;
        Ok(Arc::new(Answered { client, answering: answering.abort_handle() }))
    }

    /// A header block that is none ends the connection that receives it, in the client library: there
    /// is no noise in those (the README says so, and `foreign.rs` shows that it costs no more than that).
    async fn garbage(&self, garbage: RawGarbage) -> Result<Box<dyn Any + Send>, Error> {
        let bytes = match garbage {
            RawGarbage::Noise(noise) => {
                let subjects =
                    ["case.lab.run", "_RR.cancel.case.lab", "$SRV.PING", "$SRV.INFO.lab"];
                subjects.iter().flat_map(|subject| frame(subject, None, &[], &noise, 0)).collect()
            }
            RawGarbage::Part(request, length) => {
                let mut bytes = garbled(&request, 0);
                bytes.truncate(length.min(bytes.len() - 1));
                bytes
            }
            RawGarbage::Promise(request, longer) => garbled(&request, longer),
            other => panic!("garbage that is not known here: {other:?}"),
        };
        let mut wire = Wire::connect(self.node).await.map_err(failed)?;
        wire.write(&bytes).await.map_err(failed)?;
        Ok(Box::new(wire))
    }

    /// The frame of a message says how long its head is before it comes.
    async fn endless(&self, request: RawRequest, bytes_max: usize) -> Result<usize, Error> {
        let mut wire = Wire::connect(self.node).await.map_err(failed)?;
        let subject = format!("case.{}", request.target);
        let head = format!("HPUB {subject} raw.endless {bytes_max} {bytes_max}\r\nNATS/1.0\r\nx: ");
        let mut written = 0;
        let mut next = head.as_bytes();
        while written < bytes_max && wire.write(next).await.is_ok() {
            written += next.len();
            next = &[b'v'; 16 * 1024];
        }
        Ok(written)
    }

    async fn unread(&self, request: RawRequest, times: usize) -> Result<Vec<RawUnread>, Error> {
        let mut wire = Wire::connect(self.node).await.map_err(failed)?;
        wire.subscribe("raw.answers").await.map_err(failed)?;
        wire.write(&garbled(&request, 0).repeat(times)).await.map_err(failed)?;
        Ok(vec![Box::new(wire.0)])
    }
}

/// What the frame of a request is, and how much of it comes.
fn garbled(wire_request: &RawRequest, longer: usize) -> Vec<u8> {
    let RawRequest { target, timeout, headers, body, .. } = wire_request;
    let call = timeout.iter().map(|text| ("rr".to_owned(), format!("t={text}").into()));
    let headers: Vec<_> = call.chain(headers.iter().cloned()).collect();
    frame(&format!("case.{target}"), Some("raw.answers"), &headers, body, longer)
}

/// A requester, with the peer that answers it.
struct Answered {
    client: NatsRequester,
    answering: AbortHandle,
}

#[async_trait]
impl Requester for Answered {
    async fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        self.client.request(ctx, request).await
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

/// A connection, on which lines and bytes are written as they are.
struct Wire(BufStream<TcpStream>);

/// A message as it stands on the wire.
struct Message {
    reply: Option<String>,
    status: Option<String>,
    headers: Vec<(String, Bytes)>,
    body: Bytes,
}

impl Wire {
    async fn connect(node: SocketAddr) -> io::Result<Self> {
        let mut wire = Self(BufStream::new(TcpStream::connect(node).await?));
        wire.line().await?;
        let options = r#"{"verbose":false,"headers":true,"no_responders":true}"#;
        wire.write(format!("CONNECT {options}\r\n").as_bytes()).await?;
        Ok(wire)
    }

    /// Subscribes, and proves it: what was sent before has been taken.
    async fn subscribe(&mut self, subject: &str) -> io::Result<()> {
        self.write(format!("SUB {subject} 1\r\nPING\r\n").as_bytes()).await?;
        while !self.line().await?.starts_with("PONG") {}
        Ok(())
    }

    async fn publish(
        &mut self,
        subject: &str,
        reply: Option<&str>,
        headers: &[(String, Bytes)],
        body: &[u8],
    ) -> io::Result<()> {
        self.write(&frame(subject, reply, headers, body, 0)).await
    }

    /// Waits for the next message.
    async fn message(&mut self) -> io::Result<Message> {
        loop {
            let line = self.line().await?;
            let mut words = line.split_ascii_whitespace();
            let has_headers = match words.next() {
                Some("PING") => {
                    self.write(b"PONG\r\n").await?;
                    continue;
                }
                Some("HMSG") => true,
                Some("MSG") => false,
                Some("-ERR") => return Err(io::Error::other(line)),
                _ => continue,
            };
            let rest: Vec<&str> = words.collect();
            let sizes = if has_headers { 2 } else { 1 };
            let size = |at: usize| rest[rest.len() - at].parse::<usize>().unwrap();
            let mut block = vec![0; if has_headers { size(2) } else { 0 }];
            let mut body = vec![0; size(1) - block.len()];
            let reply = (rest.len() - sizes > 2).then(|| rest[2].to_owned());
            self.0.read_exact(&mut block).await?;
            self.0.read_exact(&mut body).await?;
            self.0.read_exact(&mut [0; 2]).await?;
            let (status, headers) = read(&block);
            return Ok(Message { reply, status, headers, body: body.into() });
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await
    }
}

/// Writes a message, of which the last so many bytes by its frame are missing.
fn frame(
    subject: &str,
    reply: Option<&str>,
    headers: &[(String, Bytes)],
    body: &[u8],
    longer: usize,
) -> Vec<u8> {
    let mut block = b"NATS/1.0\r\n".to_vec();
    for (name, value) in headers {
        block.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    block.extend(b"\r\n");
    let reply = reply.unwrap_or_default();
    let (head, all) = (block.len(), block.len() + body.len() + longer);
    let mut bytes = format!("HPUB {subject} {reply} {head} {all}\r\n").into_bytes();
    bytes.extend([&block, body].concat());
    // The end of a message does not come when some of it is missing.
    bytes.extend(if longer == 0 { &b"\r\n"[..] } else { b"" });
    bytes
}

/// Takes a block of headers apart.
fn read(block: &[u8]) -> (Option<String>, Vec<(String, Bytes)>) {
    let text = String::from_utf8_lossy(block);
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|first| first.strip_prefix("NATS/1.0 "));
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), Bytes::from(value.trim().to_owned())))
    });
    (status.map(str::to_owned), headers.collect())
}

/// Makes the error for what a peer could not do.
fn failed(error: io::Error) -> Error {
    let (code, delivery) = (Code::Unavailable, Delivery::Unknown);
    Error::failure(code, delivery, None, error.to_string()).with_source(error)
}
