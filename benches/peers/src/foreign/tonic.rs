//! tonic, its channel and its server, with messages that are bytes.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use crate::Client;
use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{
    Certificate, Channel, ClientTlsConfig, Endpoint, Identity as TonicIdentity, Server,
    ServerTlsConfig,
};
use tonic::{Request, Response, Status, client, server};

use super::tls::{self, Identity};
use super::{Result, Served};

/// A message is its bytes: less than what protocol buffers do.
#[derive(Clone, Copy, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, body: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(body);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// The method.
struct Echo;

impl Service<Request<Bytes>> for Echo {
    type Response = Response<Bytes>;
    type Error = Status;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        ready(Ok(Response::new(request.into_inner())))
    }
}

/// The service, as generated code has it.
#[derive(Clone)]
struct Bench;

impl NamedService for Bench {
    const NAME: &'static str = "Bench";
}

impl Service<http::Request<Body>> for Bench {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move { Ok(server::Grpc::new(Plain).unary(Echo, request).await) })
    }
}

pub(super) async fn serve() -> Result<Served> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = Server::builder().add_service(Bench).serve_with_incoming(incoming);
    Ok(Served::new(url, tokio::spawn(serving)))
}

pub(super) async fn serve_tls() -> Result<Served> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let identity = Identity::new()?;
    let address = identity.address(&listener.local_addr()?.to_string());
    let pair = [std::fs::read(identity.certificate())?, std::fs::read(identity.key())?];
    let [certificate, key] = pair;
    let config = ServerTlsConfig::new().identity(TonicIdentity::from_pem(certificate, key));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = Server::builder().tls_config(config)?.add_service(Bench);
    let serving = tokio::spawn(server.serve_with_incoming(incoming));
    Ok(Served::new(address, (serving, identity)))
}

#[derive(Clone)]
struct Tonic(client::Grpc<Channel>);

pub(super) async fn connect(url: String) -> Result<impl Client> {
    // Its own defaults have TCP_NODELAY on and no timeout.
    Ok(Tonic(client::Grpc::new(Endpoint::from_shared(url)?.connect().await?)))
}

pub(super) async fn connect_tls(address: String) -> Result<impl Client> {
    let (url, certificate) = tls::parts(&address)?;
    let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(certificate));
    let endpoint = Endpoint::from_shared(url.to_owned())?.tls_config(config)?;
    Ok(Tonic(client::Grpc::new(endpoint.connect().await?)))
}

impl Client for Tonic {
    async fn call(&self, body: Bytes) {
        let sent = body.len();
        let mut grpc = self.0.clone();
        grpc.ready().await.expect("the channel stays");
        let path = PathAndQuery::from_static("/Bench/Echo");
        let answer = grpc.unary(Request::new(body), path, Plain).await;
        assert_eq!(answer.expect("the call is answered").into_inner().len(), sent);
    }
}
