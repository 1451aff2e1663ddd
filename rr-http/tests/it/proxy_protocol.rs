//! Connections that begin with a header of the PROXY protocol.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::sync::Arc;
use std::time::Duration;

use rr_http::{
    HttpConfig, HttpProxyProtocol, HttpRequester, HttpServerConfig, HttpVersion, serve_with,
};
use rr_spi::{
    Context, Declared, Error, Request, Requester as _, Responder, Response, Route, Routes, Server,
    async_trait,
};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::*;

/// Header that announces 192.0.2.7:57005.
const CLIENT: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\xde\xad\0\x50";

/// Header that announces 127.0.0.1:57005, a client on the proxy's machine.
const LOOPBACK: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x0a\0\0\x01\xde\xad\0\x50";

/// Header of the proxy's own connections.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Header of a client whose address the proxy does not know, with an extension of 3 bytes.
const UNKNOWN: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\x03\x04\0\0";

/// Answers with the address of the peer, and whether it is on this machine.
struct Whoami;

#[async_trait]
impl Responder for Whoami {
    async fn respond(&self, ctx: &Context, _: Request) -> Result<Response, Error> {
        let peer = ctx.request().peer().cloned().unwrap_or_default();
        let address = peer.address().map_or_else(|| "unknown".to_owned(), |at| at.to_string());
        let place = if peer.is_local() { ", local" } else { "" };
        Ok(Response::new(format!("{address}{place}")))
    }
}

async fn served(config: HttpServerConfig) -> Server {
    let mut routes = Routes::new();
    let route = Route::Target("whoami".into());
    routes.insert(route, Declared::Unspecified, Arc::new(Whoami)).unwrap();
    let config = config.with_proxy_protocol(HttpProxyProtocol::Required);
    serve_with("http://127.0.0.1:0", routes, config).await.unwrap()
}

fn address(server: &Server) -> String {
    server.url().trim_start_matches("http://").to_owned()
}

async fn connect(server: &Server) -> Raw {
    Raw(TcpStream::connect(address(server)).await.unwrap())
}

/// Asks who the peer is, on a connection that begins with `header`.
async fn whoami(server: &Server, header: &'static [u8], version: HttpVersion) -> String {
    let address = address(server);
    let connect = move || {
        let address = address.clone();
        async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(header).await?;
            Ok(stream)
        }
    };
    let config = HttpConfig::default().with_version(version);
    let client = HttpRequester::with_connector("http://proxied", config, connect).unwrap();
    let answer = client.request(&context(), request("whoami", "")).await.unwrap();
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[tokio::test]
async fn the_peer_has_the_address_that_the_proxy_announces() {
    let server = served(HttpServerConfig::default()).await;
    for version in [HttpVersion::H1, HttpVersion::H2c] {
        assert_eq!(whoami(&server, CLIENT, version).await, "192.0.2.7:57005");
        let proxy = whoami(&server, LOCAL, version).await;
        assert!(proxy.starts_with("127.0.0.1:") && proxy.ends_with(", local"), "{proxy}");
        assert_eq!(whoami(&server, LOOPBACK, version).await, "127.0.0.1:57005");
        assert_eq!(whoami(&server, UNKNOWN, version).await, "unknown");
    }
}

#[tokio::test]
async fn a_header_in_pieces_is_read_and_the_request_may_come_with_it() {
    let server = served(HttpServerConfig::default()).await;
    let mut raw = connect(&server).await;
    for byte in CLIENT {
        raw.0.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    for _ in 0..2 {
        raw.post("/whoami", "", "").await;
        assert_eq!(raw.answer().await.unwrap().text(), "192.0.2.7:57005");
    }
    let mut raw = connect(&server).await;
    let ask = b"POST /whoami HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n";
    raw.0.write_all(&[CLIENT, ask].concat()).await.unwrap();
    assert_eq!(raw.answer().await.unwrap().text(), "192.0.2.7:57005");
}

#[tokio::test]
async fn a_connection_with_another_beginning_is_closed_without_an_answer() {
    let server = served(HttpServerConfig::default()).await;
    for begin in [
        &b"GET /whoami HTTP/1.1\r\nhost: h\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 57005 80\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x22\x11\0\x0c",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
    ] {
        let mut raw = connect(&server).await;
        raw.0.write_all(begin).await.unwrap();
        assert_eq!(raw.rest().await, b"", "{begin:?}");
    }
    assert_eq!(whoami(&server, CLIENT, HttpVersion::H1).await, "192.0.2.7:57005");
}

#[tokio::test]
async fn a_header_that_does_not_arrive_in_time_closes_the_connection() {
    let config = HttpServerConfig::default().with_first_bytes_timeout(Duration::from_millis(100));
    let server = served(config).await;
    for begin in [&b""[..], &CLIENT[..20], LOCAL] {
        let mut raw = connect(&server).await;
        raw.0.write_all(begin).await.unwrap();
        assert_eq!(raw.rest().await, b"", "{begin:?}");
    }
}

#[tokio::test]
async fn without_the_option_a_header_is_a_malformed_request() {
    let fixture = fixture(HttpServerConfig::default()).await;
    let mut raw = fixture.raw().await;
    raw.0.write_all(CLIENT).await.unwrap();
    raw.post("/echo", "", "").await;
    let answer = raw.answer().await;
    assert!(answer.is_none_or(|answer| answer.status == 400));
    assert_eq!(fixture.runs(), 0);
}
