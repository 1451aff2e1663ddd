//! The proxy: what passes, what is cut, and what is refused.

#![cfg(feature = "proxy")]
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::io::ErrorKind;

use rr_testkit::TcpProxy;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Answers each byte with itself.
async fn echo() -> TcpProxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await
            });
        }
    });
    TcpProxy::start(address).await.unwrap()
}

async fn assert_echo(stream: &mut TcpStream) {
    stream.write_all(b"x").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'x');
}

/// Waits until the other end is gone.
async fn assert_ends(stream: &mut TcpStream) {
    let mut buffer = [0; 1];
    assert!(matches!(stream.read(&mut buffer).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_cut_ends_what_is_open_and_refusing_what_comes_until_restored() {
    let proxy = echo().await;
    let mut open = TcpStream::connect(proxy.address()).await.unwrap();
    assert_echo(&mut open).await;
    assert_eq!(proxy.connections(), 1);
    proxy.cut_and_refuse();
    assert_ends(&mut open).await;
    assert_ends(&mut TcpStream::connect(proxy.address()).await.unwrap()).await;
    proxy.restore();
    assert_echo(&mut TcpStream::connect(proxy.address()).await.unwrap()).await;
}

#[tokio::test]
async fn a_closed_proxy_refuses_connections_and_keeps_those_that_are_open() {
    let proxy = echo().await;
    let mut open = TcpStream::connect(proxy.address()).await.unwrap();
    assert_echo(&mut open).await;
    proxy.close().await;
    let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_echo(&mut open).await;
}
