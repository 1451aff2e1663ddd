//! hyper's HTTP/1.1 connections on both sides, with the smallest pool that works.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::Client;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::{Result, Served};

/// Answers with the body of the request.
pub(super) async fn echo(
    request: hyper::Request<Incoming>,
) -> hyper::Result<hyper::Response<Full<Bytes>>> {
    let body = request.into_body().collect().await?.to_bytes();
    Ok(hyper::Response::new(Full::new(body)))
}

pub(super) async fn serve() -> Result<Served> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let accepting = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let mut builder = http1::Builder::new();
            // Its timer for each head is off, as ours is.
            builder.header_read_timeout(None);
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service_fn(echo)));
        }
    });
    Ok(Served::new(address, accepting))
}

/// Idle connections, the last one used on top.
#[derive(Clone)]
struct Pool {
    address: SocketAddr,
    uri: Uri,
    host: HeaderValue,
    idle: Arc<Mutex<Vec<SendRequest<Full<Bytes>>>>>,
}

pub(super) async fn connect(address: String) -> Result<impl Client> {
    let (uri, host) = (Uri::from_static("/bench/echo"), HeaderValue::from_static("bench"));
    Ok(Pool { address: address.parse()?, uri, host, idle: Arc::default() })
}

impl Pool {
    async fn open(&self) -> Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn take(&self) -> Option<SendRequest<Full<Bytes>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put(&self, sender: SendRequest<Full<Bytes>>) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
    }
}

impl Client for Pool {
    async fn call(&self, body: Bytes) {
        let mut sender = match self.take() {
            Some(sender) => sender,
            None => self.open().await.expect("loopback accepts"),
        };
        sender.ready().await.expect("an idle connection stays");
        let sent = body.len();
        let mut request = hyper::Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().insert(HOST, self.host.clone());
        let answer = sender.send_request(request).await.expect("the call is answered");
        let received = answer.into_body().collect().await.expect("the body arrives").to_bytes();
        assert_eq!(received.len(), sent);
        self.put(sender);
    }
}
