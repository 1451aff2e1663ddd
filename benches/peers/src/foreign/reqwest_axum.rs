//! What most services are written with: reqwest and axum.

use std::io;
use std::net::SocketAddr;

use crate::Client;
use axum::Router;
use axum::routing::post;
use axum::serve::{Listener, ListenerExt as _};
use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::tls::{self, Identity};
use super::{Result, Served};

async fn echo(body: Bytes) -> Bytes {
    body
}

fn app() -> Router {
    Router::new().route("/bench/echo", post(echo))
}

pub(super) async fn serve() -> Result<Served> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/bench/echo", listener.local_addr()?);
    let app = app();
    let listener = listener.tap_io(|stream| {
        // Off by default.
        let _ = stream.set_nodelay(true);
    });
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(Served::new(url, serving))
}

/// A listener whose connections are over TLS. Handshakes run in tasks, so that a slow one holds up no
/// other connection.
struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    handshakes: JoinSet<io::Result<(TlsStream<TcpStream>, SocketAddr)>>,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = tokio::select! {
                biased;
                Some(ended) = self.handshakes.join_next() => match ended {
                    Ok(Ok(accepted)) => return accepted,
                    _ => continue,
                },
                accepted = Listener::accept(&mut self.listener) => accepted,
            };
            let _ = stream.set_nodelay(true);
            let handshake = self.acceptor.accept(stream);
            self.handshakes.spawn(async move { Ok((handshake.await?, address)) });
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

pub(super) async fn serve_tls() -> Result<Served> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let identity = Identity::new()?;
    let address = identity.address(&listener.local_addr()?.to_string());
    let acceptor = identity.server_config()?.into();
    let listener = TlsListener { listener, acceptor, handshakes: JoinSet::new() };
    let serving = tokio::spawn(async move { axum::serve(listener, app()).await });
    Ok(Served::new(address, (serving, identity)))
}

#[derive(Clone)]
struct Reqwest {
    client: reqwest::Client,
    url: String,
}

pub(super) async fn connect(url: String) -> Result<impl Client> {
    // Its own defaults have TCP_NODELAY on and no timeout.
    Ok(Reqwest { client: reqwest::Client::new(), url })
}

pub(super) async fn connect_tls(address: String) -> Result<impl Client> {
    let (url, certificate) = tls::parts(&address)?;
    let tls = tls::client_config(&certificate)?;
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls).build()?;
    Ok(Reqwest { client, url: format!("{url}/bench/echo") })
}

impl Client for Reqwest {
    async fn call(&self, body: Bytes) {
        let sent = body.len();
        let request = self.client.post(&self.url).body(body);
        let answer = request.send().await.expect("the call is answered");
        assert_eq!(answer.bytes().await.expect("the body arrives").len(), sent);
    }
}
