//! hyper's HTTP/2 connections on both sides, one for all calls.

use crate::Client;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use super::hyper_h1::echo;
use super::{Result, Served};

pub(super) async fn serve() -> Result<Served> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let accepting = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service_fn(echo)));
        }
    });
    Ok(Served::new(address, accepting))
}

#[derive(Clone)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    uri: hyper::Uri,
}

pub(super) async fn connect(address: String) -> Result<impl Client> {
    let stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(Connection { sender, uri: format!("http://{address}/bench/echo").parse()? })
}

impl Client for Connection {
    async fn call(&self, body: Bytes) {
        let mut sender = self.sender.clone();
        sender.ready().await.expect("the connection stays");
        let sent = body.len();
        let request =
            hyper::Request::post(self.uri.clone()).body(Full::new(body)).expect("a valid request");
        let answer = sender.send_request(request).await.expect("the call is answered");
        let received = answer.into_body().collect().await.expect("the body arrives").to_bytes();
        assert_eq!(received.len(), sent);
    }
}
