//! A peer that speaks the frames below the API, for what requester and server never say.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rr_spi::{
    Bytes, CallConfig, CancelHandle, Code, Context, Error, Request, Requester, Response,
    async_trait,
};
use rr_testkit::conformance::{Raw, RawAnswer, RawGarbage, RawReply, RawRequest, RawUnread};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::harness::failed;
use crate::requester::{FramedRequester, connect};
use crate::wire::{self, VERSION};

/// Longest bodies that it reads.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Connections, of a request each, on which replies are left unread.
const UNREAD_MAX: usize = 8;

/// How much of a message without end is written in one piece.
const PIECE_BYTES: usize = 16 * 1024;

pub(crate) struct RawPeer {
    pub(crate) address: SocketAddr,
    /// The server itself, behind the proxy.
    pub(crate) server: SocketAddr,
}

#[async_trait]
impl Raw for RawPeer {
    async fn send(&self, request: RawRequest) -> Result<RawReply, Error> {
        exchange(&self.address.to_string(), &written(&request)).await.map_err(failed)
    }

    async fn answering(&self, answer: RawAnswer) -> Result<Arc<dyn Requester>, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let url = format!("framed://{}", listener.local_addr().map_err(failed)?);
        let inner = FramedRequester::new(&url, CallConfig::default())?;
        let (life, handle) = Context::background().child();
        tokio::spawn(async move {
            let _ = life.race(serve(listener, bytes_of(&answer))).await;
        });
        Ok(Arc::new(Answered { inner, _life: handle }))
    }

    async fn garbage(&self, garbage: RawGarbage) -> Result<Box<dyn Any + Send>, Error> {
        let bytes = match garbage {
            RawGarbage::Noise(bytes) => bytes.to_vec(),
            RawGarbage::Part(request, length) => {
                let mut bytes = written(&request);
                bytes.truncate(length.min(bytes.len() - 1));
                bytes
            }
            RawGarbage::Promise(request, longer) => {
                let mut bytes = written(&request);
                let length = u32::try_from(bytes.len() - 5 + longer).unwrap_or(u32::MAX);
                bytes[1..5].copy_from_slice(&length.to_be_bytes());
                bytes
            }
            other => return Err(unknown(&other)),
        };
        let mut stream = connect(&self.address.to_string()).await.map_err(failed)?;
        // A server that has heard enough need not read on.
        let _ = stream.write_all(&bytes).await;
        Ok(Box::new(stream))
    }

    async fn endless(&self, request: RawRequest, bytes_max: usize) -> Result<usize, Error> {
        let mut stream = connect(&self.address.to_string()).await.map_err(failed)?;
        let mut bytes = written(&request);
        let length = u32::try_from(bytes_max).unwrap_or(u32::MAX);
        bytes[1..5].copy_from_slice(&length.to_be_bytes());
        let mut written = 0;
        while written < bytes_max && stream.write_all(&bytes).await.is_ok() {
            written += bytes.len();
            bytes.resize(PIECE_BYTES, b'v');
        }
        Ok(written)
    }

    async fn unread(&self, request: RawRequest, times: usize) -> Result<Vec<RawUnread>, Error> {
        let mut unread: Vec<RawUnread> = Vec::new();
        for _ in 0..times.min(UNREAD_MAX) {
            // Not through the proxy, which would take what this peer does not.
            let mut stream = connect(&self.server.to_string()).await.map_err(failed)?;
            stream.write_all(&written(&request)).await.map_err(failed)?;
            unread.push(Box::new(stream));
        }
        Ok(unread)
    }
}

/// A requester, and the foreign responder that ends with it.
struct Answered {
    inner: FramedRequester,
    _life: CancelHandle,
}

#[async_trait]
impl Requester for Answered {
    async fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        self.inner.request(ctx, request).await
    }
}

/// Writes a request of any parts.
fn written(request: &RawRequest) -> Vec<u8> {
    let timeout = request.timeout.as_ref();
    let call = timeout.map(|text| ("rr".to_owned(), Bytes::from(format!("t={text}"))));
    let headers: Vec<_> = call.into_iter().chain(request.headers.iter().cloned()).collect();
    let target = [request.target.as_bytes()];
    wire::message(target.into_iter().chain(parts(&headers)), &request.body)
}

fn parts(headers: &[(String, Bytes)]) -> impl Iterator<Item = &[u8]> {
    headers.iter().flat_map(|(name, value)| [name.as_bytes(), value])
}

async fn exchange(address: &str, message: &[u8]) -> io::Result<RawReply> {
    let mut stream = connect(address).await?;
    stream.write_all(message).await?;
    let reply = wire::read(&mut stream, BODY_BYTES_MAX).await?.unwrap_or_default();
    let mut rest = &reply[..];
    let mut headers = Vec::new();
    while let Some(Some((name, value))) = wire::header(&mut rest) {
        headers.push((name.into_owned(), Bytes::copy_from_slice(value)));
    }
    Ok(RawReply::read(headers, reply.slice_ref(rest)))
}

/// Says so when a later suite has a kind of garbage that is not written here.
fn unknown(garbage: &RawGarbage) -> Error {
    Error::new(Code::Unimplemented, format!("{garbage:?} is not known"))
}

fn bytes_of(answer: &RawAnswer) -> Vec<u8> {
    match answer {
        RawAnswer::Reply(reply) => wire::message(parts(&reply.wire_headers()), &reply.wire_body()),
        RawAnswer::Garbage(bytes) => bytes.to_vec(),
        // A kind of answer that a later suite has.
        _ => Vec::new(),
    }
}

/// Answers every request with the same bytes, one after another.
async fn serve(listener: TcpListener, answer: Vec<u8>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        // A client that goes away does not end it.
        let _ = answer_one(stream, &answer).await;
    }
}

async fn answer_one(mut stream: TcpStream, answer: &[u8]) -> io::Result<()> {
    stream.write_u8(VERSION).await?;
    wire::read(&mut stream, BODY_BYTES_MAX).await?;
    stream.write_all(answer).await?;
    stream.shutdown().await
}
