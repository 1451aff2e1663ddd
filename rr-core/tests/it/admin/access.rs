//! Who may see the page.

use std::net::{IpAddr, UdpSocket};

use rr_core::config::IntakeConfig;
use rr_core::{Forward, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::everywhere::everywhere_with;

#[tokio::test]
async fn callers_on_this_machine_see_the_page_and_callers_over_nats_only_if_it_is_open() {
    let config = IntakeConfig::default();
    for (name, admin) in [("admin", Admin::new()), ("admin-open", Admin::new().open_to_all())] {
        everywhere_with(
            name,
            || admin.router(),
            &config,
            async |url, client| {
                let outcome = client.call_raw(&context(), "rr.debug", "").await;
                if url.starts_with("nats") && name == "admin" {
                    let error = outcome.unwrap_err();
                    assert_eq!(error.code(), Code::PermissionDenied, "{url}");
                } else {
                    assert!(outcome.unwrap().body.starts_with(b"{\"version\""), "{url}");
                }
            },
        )
        .await;
    }
}

/// Sends a GET, and returns the reply.
async fn get(address: &str, path: &str, headers: &str) -> String {
    send(address, &format!("GET {path}"), headers).await
}

async fn send(address: &str, method_and_path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method_and_path} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply
}

#[tokio::test]
async fn the_page_has_a_path_of_its_own_where_it_is_mounted() {
    const PATH: &str = "/.well-known/rr/debug";
    let host = "host: localhost\r\nsec-fetch-site: none\r\n";
    let without = serve("http://127.0.0.1:0", router(&Arc::new(Semaphore::new(0)))).await.unwrap();
    let address = without.url().trim_start_matches("http://").to_owned();
    assert!(get(&address, PATH, host).await.starts_with("HTTP/1.1 404"));

    for prefix in ["", "/api"] {
        let url = format!("http://127.0.0.1:0{prefix}");
        let server = serve(&url, Admin::new().router()).await.unwrap();
        let address =
            server.url().trim_start_matches("http://").trim_end_matches(prefix).to_owned();
        for path in [PATH, &format!("{prefix}/rr/debug")] {
            let reply = get(&address, path, host).await;
            assert!(reply.starts_with("HTTP/1.1 200"), "{path}: {reply}");
            assert!(reply.contains("content-type: application/json\r\n"), "{path}: {reply}");
            assert!(reply.contains("cache-control: no-store\r\n"), "{path}: {reply}");
            let policy = "cross-origin-resource-policy: same-origin\r\n";
            assert!(reply.contains(policy), "{path}: {reply}");
            let html =
                get(&address, path, &format!("{host}accept: text/html, */*;q=0.8\r\n")).await;
            assert!(html.contains("content-type: text/html; charset=utf-8\r\n"), "{path}: {html}");
            let policy = "content-security-policy: default-src 'none'; style-src 'nonce-";
            assert!(html.contains(policy) && html.contains("; sandbox\r\n"), "{path}: {html}");
            let json = format!("{path}?encoding=json");
            let json = get(&address, &json, &format!("{host}accept: text/html\r\n")).await;
            assert!(json.contains("content-type: application/json\r\n"), "{path}: {json}");
        }
    }
}

#[tokio::test]
async fn a_page_of_another_domain_and_a_client_behind_a_proxy_are_refused() {
    let server = serve("http://127.0.0.1:0", Admin::new().router()).await.unwrap();
    let open = serve("http://127.0.0.1:0", Admin::new().open_to_all().router()).await.unwrap();
    for headers in [
        "host: evil.example\r\n",
        "host: evil.example:80\r\nx-forwarded-for: 127.0.0.1\r\n",
        "host: localhost\r\nforwarded: for=127.0.0.1\r\n",
        "host: localhost\r\nx-forwarded-for: 127.0.0.1\r\n",
        "host: localhost\r\nvia: 1.1 proxy\r\n",
        "host: localhost\r\ncf-connecting-ip: 127.0.0.1\r\n",
        "host: localhost\r\nX-Forwarded-Port: 80\r\n",
        "host: localhost\r\nx-forwarded-for: \u{e9}, 203.0.113.1\r\n",
        "host: localhost\r\nconnection: x-forwarded-for\r\nx-forwarded-for: 203.0.113.1\r\n",
        "host: localhost\r\norigin: http://evil.example\r\n",
        "host: localhost\r\nsec-fetch-mode: no-cors\r\nSec-Fetch-Site: cross-site\r\n",
        "host: localhost\r\nsec-fetch-site: same-site\r\n",
    ] {
        for path in ["/.well-known/rr/debug", "/rr/debug"] {
            let address = server.url().trim_start_matches("http://");
            let reply = get(address, path, headers).await;
            assert!(reply.starts_with("HTTP/1.1 403"), "{headers}: {reply}");
            assert!(!reply.contains("uptime"), "{headers}: {reply}");
            let reply = get(open.url().trim_start_matches("http://"), path, headers).await;
            assert!(reply.starts_with("HTTP/1.1 200"), "{headers}: {reply}");
        }
    }
}

#[tokio::test]
async fn a_bridge_opens_the_page_to_no_remote_caller() {
    for url in ["memory://admin-behind-a-bridge", "http://127.0.0.1:0"] {
        let back = serve(url, Admin::new().router()).await.unwrap();
        let onward = rr_core::connect(back.url()).await.unwrap();
        let front = Router::new().fallback(Forward(onward));
        let front = serve("http://127.0.0.1:0", front).await.unwrap();
        let address = front.url().trim_start_matches("http://");
        let host = "host: localhost\r\ncontent-length: 0\r\n";
        let asked = async |headers: &str| {
            let reply = send(address, "POST /rr/debug", &format!("{host}{headers}")).await;
            assert!(!reply.contains("uptime"), "{url}: {} bytes: {reply}", headers.len());
            reply[9..12].to_owned()
        };
        assert_eq!(asked("").await, "403", "{url}");
        // From headers with room for another to headers without.
        let long: Vec<_> = (16_340..16_384).map(|n| format!("p: {}\r\n", "x".repeat(n))).collect();
        let many = (50..=64).map(|n| (0..n).map(|at| format!("p{at}: x\r\n")).collect());
        for kind in [long, many.collect()] {
            let mut statuses = Vec::new();
            for headers in kind {
                statuses.push(asked(&headers).await);
            }
            statuses.dedup();
            assert_eq!(statuses, ["403", "413"], "{url}");
        }
    }
}

/// Returns an address of this machine that is not a loopback address, if it has one.
fn own_address() -> Option<IpAddr> {
    // Connecting a datagram socket sends nothing; it selects the address to send from.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("198.51.100.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[tokio::test]
async fn a_caller_from_an_address_that_is_not_loopback_is_refused() {
    // Without such an address, the unit test of the decision remains.
    let Some(own) = own_address() else { return };
    let server = serve("http://0.0.0.0:0", Admin::new().router()).await.unwrap();
    let port = server.url().rsplit_once(':').unwrap().1.to_owned();
    for (address, status) in [(own.to_string(), 403), ("127.0.0.2".to_owned(), 200)] {
        let host = format!("host: {address}:{port}\r\n");
        let reply = get(&format!("{address}:{port}"), "/.well-known/rr/debug", &host).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{address}: {reply}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_caller_at_a_unix_socket_is_local() {
    let folder = std::env::temp_dir().join(format!("rr-admin-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let url = format!("http+unix://{}", folder.join("page.sock").display());
    let server = serve(&url, Admin::new().router()).await.unwrap();
    let client = rr_core::connect(server.url()).await.unwrap();
    let reply = client.call_raw(&context(), "rr.debug", "").await;
    drop(server);
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(reply.is_ok(), "{reply:?}");
}
