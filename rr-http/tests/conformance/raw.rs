//! A peer that speaks HTTP below the API.

mod h1;
mod h2;

use std::any::Any;
use std::io;
use std::sync::Arc;

use rr_http::{HttpConfig, HttpVersion};
use rr_spi::{Error, Requester, async_trait};
use rr_testkit::conformance::{Raw, RawAnswer, RawGarbage, RawReply, RawRequest, RawUnread};
use tokio::io::AsyncWriteExt as _;

use crate::line::{Foreign, Line, Stream, failed};

/// Speaks one version of HTTP at both ends of a line.
pub(crate) struct Peer {
    line: Arc<dyn Line>,
    config: HttpConfig,
}

impl Peer {
    pub(crate) fn new(line: Arc<dyn Line>, config: HttpConfig) -> Self {
        Self { line, config }
    }
}

#[async_trait]
impl Raw for Peer {
    async fn send(&self, request: RawRequest) -> Result<RawReply, Error> {
        let stream = self.line.stream().await.map_err(failed)?;
        let reply = match self.config.version {
            HttpVersion::H2 | HttpVersion::H2c => {
                h2::send(stream, request).await.map_err(io::Error::other)
            }
            _ => h1::send(stream, request).await,
        };
        reply.map_err(failed)
    }

    async fn answering(&self, answer: RawAnswer) -> Result<Arc<dyn Requester>, Error> {
        let is_h2 = matches!(self.config.version, HttpVersion::H2 | HttpVersion::H2c);
        let foreign: Foreign = Arc::new(move |stream| {
            let answer = answer.clone();
            Box::pin(async move {
                // How a connection ends is seen at its other end.
                match is_h2 {
                    true => drop(h2::answer(stream, answer).await),
                    false => drop(h1::answer(stream, answer).await),
                }
            })
        });
        Ok(Arc::new(self.line.foreign(self.config.clone(), foreign).await?))
    }

    async fn garbage(&self, garbage: RawGarbage) -> Result<Box<dyn Any + Send>, Error> {
        let mut stream = self.line.stream().await.map_err(failed)?;
        let bytes = match self.config.version {
            HttpVersion::H2 | HttpVersion::H2c => h2::garbage(garbage),
            _ => h1::garbage(garbage),
        };
        // A server that has heard enough need not read on.
        let _ = stream.write_all(&bytes).await;
        Ok(Box::new(stream))
    }

    async fn endless(&self, request: RawRequest, bytes_max: usize) -> Result<usize, Error> {
        let mut stream = self.line.stream().await.map_err(failed)?;
        let (head, piece) = match self.config.version {
            HttpVersion::H2 | HttpVersion::H2c => h2::endless(&request),
            _ => h1::endless(&request),
        };
        Ok(write_on(&mut *stream, &head, &piece, bytes_max).await)
    }

    async fn unread(&self, request: RawRequest, times: usize) -> Result<Vec<RawUnread>, Error> {
        let mut stream = self.line.stream().await.map_err(failed)?;
        let bytes = match self.config.version {
            HttpVersion::H2 | HttpVersion::H2c => h2::many(&request, times),
            _ => h1::many(&request, times),
        };
        stream.write_all(&bytes).await.map_err(failed)?;
        Ok(vec![Box::new(stream)])
    }
}

/// Writes a head, and the same piece behind it again and again, until the server ends the connection
/// or has taken so many bytes; returns how many it has taken.
async fn write_on(stream: &mut dyn Stream, head: &[u8], piece: &[u8], bytes_max: usize) -> usize {
    let (mut written, mut next) = (0, head);
    while written < bytes_max {
        match stream.write(next).await {
            Ok(bytes) if bytes > 0 => (written, next) = (written + bytes, &next[bytes..]),
            _ => break,
        }
        next = if next.is_empty() { piece } else { next };
    }
    written
}

/// Returns the beginning of a request, without its last byte at most.
fn part(mut request: Vec<u8>, bytes: usize) -> Vec<u8> {
    request.truncate(bytes.min(request.len() - 1));
    request
}

/// Writes a target as a path.
fn path(target: &str) -> String {
    match target.rsplit_once('.') {
        Some((service, method)) => format!("/{service}/{method}"),
        None => format!("/{target}"),
    }
}

/// Returns every header line of a request.
fn headers(request: &RawRequest) -> Vec<(String, rr_spi::Bytes)> {
    let timeout = request.timeout.clone();
    let timeout = timeout.map(|text| ("connect-timeout-ms".to_owned(), text.into()));
    timeout.into_iter().chain(request.headers.iter().cloned()).collect()
}

/// Returns the status without which HTTP has no reply: our headers and document say the rest.
fn status(reply: &RawReply) -> u16 {
    if reply.code.is_some() { 500 } else { 200 }
}
