//! Requesters of one address of a name.

use crate::support::{context, read_request, request};
use rr_http::{HttpConfig, HttpRequester};
use rr_spi::{Code, Delivery, Requester as _};
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpListener;

#[tokio::test]
async fn a_requester_of_one_address_keeps_host_and_path_of_the_name() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let named = HttpRequester::connect("http://orders.invalid:1234/api?timeout=5s").await.unwrap();
    let one = named.at(listener.local_addr().unwrap()).unwrap();
    assert_eq!(one.addresses().await.unwrap(), [listener.local_addr().unwrap()]);
    let answer = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        head
    };
    let (ctx, asked) = (context(), request("echo", "x"));
    let (head, reply) = tokio::join!(answer, one.request(&ctx, asked));
    assert_eq!(reply.unwrap().body, "ok");
    assert!(head.starts_with("POST /api/"), "{head}");
    assert!(head.to_ascii_lowercase().contains("\r\nhost: orders.invalid:1234\r\n"), "{head}");
    assert_eq!(named.connections(), 0, "they share no connections");
}

#[tokio::test]
async fn only_a_requester_of_a_name_has_addresses() {
    let connect = || async { Err::<DuplexStream, _>(std::io::ErrorKind::Other.into()) };
    let piped = HttpRequester::with_connector("http://pipe", HttpConfig::default(), connect);
    let piped = piped.unwrap();
    let error = piped.at("127.0.0.1:1".parse().unwrap()).unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::NotSent));
    assert!(piped.addresses().await.is_err());
    let literal = HttpRequester::connect("http://127.0.0.1:7").await.unwrap();
    assert_eq!(literal.addresses().await.unwrap(), ["127.0.0.1:7".parse().unwrap()]);
    let error = HttpRequester::connect("http://a:1,b:2").await.unwrap_err();
    assert!(error.hint().contains("rr_core::connect"), "{}", error.hint());
}
