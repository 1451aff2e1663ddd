//! TLS through the tunnel of a forward proxy: the names and certificates are those of the server.

use rr_http::{HttpConfig, HttpRequester};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::authority::Authority;
use crate::support::{VERSIONS, address, assert_not_sent, echo, serve, server_tls, trusting};

/// Serves one proxy, whose tunnels all lead to one port of this machine.
async fn proxy(listener: TcpListener, port: u16) {
    let mut tunnels = tokio::task::JoinSet::new();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tunnels.spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            assert!(head.starts_with(b"CONNECT orders.invalid:443 HTTP/1.1\r\n"));
            let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let _ = copy_bidirectional(&mut stream, &mut server).await;
        });
    }
}

#[tokio::test]
async fn a_tunnel_carries_tls_to_the_server_whose_name_the_certificate_has() {
    let authority = Authority::new("a");
    for (name, is_right) in [("orders.invalid", true), ("other.invalid", false)] {
        let (server, _) = serve(server_tls(&authority.pair(&[name]))).await;
        let port = address(&server).rsplit(':').next().unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let proxy = tokio::spawn(proxy(listener, port));
        for version in VERSIONS {
            let config = HttpConfig::default()
                .with_tls(trusting(&authority))
                .with_version(version)
                .with_proxy(url.parse().unwrap());
            let client = HttpRequester::new("https://orders.invalid", config).unwrap();
            match echo(&client, "x").await {
                Ok(reply) => assert!(is_right && reply == "x", "{version:?}"),
                Err(error) => {
                    assert!(!is_right, "{version:?}: {error}");
                    assert_not_sent(&error);
                }
            }
        }
        proxy.abort();
    }
}
