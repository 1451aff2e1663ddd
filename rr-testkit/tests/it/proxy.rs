//! The proxy: what passes, what is cut, and what is refused.

#![cfg(feature = "proxy")]
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::io::ErrorKind;

use rr_testkit::{Direction, StreamLink, TcpProxy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
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

#[tokio::test]
async fn a_cut_within_a_message_lets_so_many_bytes_of_it_pass_and_later_ones_whole() {
    for direction in [Direction::Requests, Direction::Replies] {
        let proxy = echo().await;
        let mut open = TcpStream::connect(proxy.address()).await.unwrap();
        let mut other = TcpStream::connect(proxy.address()).await.unwrap();
        assert_echo(&mut open).await;
        assert_echo(&mut other).await;
        proxy.cut_after(direction, 3);
        open.write_all(b"message").await.unwrap();
        let mut heard = Vec::new();
        // It may end in a reset, as bytes of the request have no reader any more.
        let _ = open.read_to_end(&mut heard).await;
        assert!(heard.len() <= 3 && b"message".starts_with(&heard[..]), "{heard:?}");
        assert_ends(&mut other).await;
        assert_echo(&mut TcpStream::connect(proxy.address()).await.unwrap()).await;
    }
}

#[tokio::test]
async fn a_cut_that_is_called_off_cuts_nothing() {
    let proxy = echo().await;
    let mut open = TcpStream::connect(proxy.address()).await.unwrap();
    proxy.cut_after(Direction::Requests, 1);
    proxy.restore();
    assert_echo(&mut open).await;
    assert_echo(&mut open).await;
}

/// Carries `message` over a pipe that is cut after so many bytes, and returns what arrives.
async fn arriving(message: &'static [u8], bytes: u64) -> Vec<u8> {
    let link = StreamLink::new();
    let ((mut client, near), (far, mut server)) = (duplex(4), duplex(4));
    let carrying = link.clone();
    let carried = tokio::spawn(async move { carrying.carry(near, far).await });
    link.cut_after(Direction::Requests, bytes);
    let writing = tokio::spawn(async move { client.write_all(message).await.and(Ok(client)) });
    let mut heard = vec![0; message.len()];
    let mut length = 0;
    while length < message.len() {
        match server.read(&mut heard[length..]).await.unwrap() {
            0 => break,
            read => length += read,
        }
    }
    heard.truncate(length);
    // Held until here: an end that goes away would end the stream too.
    let _ = writing.await.unwrap();
    drop(server);
    carried.await.unwrap();
    assert_eq!(link.connections(), 0);
    heard
}

#[tokio::test]
async fn a_pipe_is_cut_at_the_very_byte() {
    for bytes in 0..=9 {
        let length = usize::try_from(bytes).unwrap().min(7);
        assert_eq!(arriving(b"message", bytes).await, &b"message"[..length]);
    }
}
