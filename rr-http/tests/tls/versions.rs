//! Servers that change their version of HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rr_http::{HttpConfig, HttpRequester, HttpServerConfig};
use rr_spi::{Context, Delivery, Request, Requester as _, Server};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::authority::{Authority, Pair};
use crate::support::{address, echo, serve_at, server_tls, trusting, until};

/// A server behind TLS of the test, which agrees to one version of HTTP.
struct Front {
    url: String,
    /// Number of connections of each version.
    made: Arc<[AtomicUsize; 2]>,
    /// Which version the next connection gets: HTTP/1.1, HTTP/2, or each in turn.
    next: Arc<AtomicUsize>,
    _backend: Server,
    _tasks: JoinSet<()>,
}

const H1: usize = 0;
const H2: usize = 1;
const IN_TURN: usize = 2;

impl Front {
    async fn start(authority: &Authority, first: usize) -> Self {
        let pair = authority.pair(&["localhost"]);
        let (backend, _) = serve_at("http://localhost:0", HttpServerConfig::default()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let (made, next) = (Arc::default(), Arc::new(AtomicUsize::new(first)));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(
            listener,
            pair,
            address(&backend),
            Arc::clone(&made),
            Arc::clone(&next),
        ));
        Self { url, made, next, _backend: backend, _tasks: tasks }
    }

    fn made(&self) -> [usize; 2] {
        [H1, H2].map(|version| self.made[version].load(Ordering::SeqCst))
    }

    fn becomes(&self, version: usize) {
        self.next.store(version, Ordering::SeqCst);
    }
}

async fn accept(
    listener: TcpListener,
    pair: Pair,
    backend: String,
    made: Arc<[AtomicUsize; 2]>,
    next: Arc<AtomicUsize>,
) {
    let tls = server_tls(&pair);
    let acceptors = [&[&b"http/1.1"[..]][..], &[b"h2"]]
        .map(|alpn| rr_tls::TlsAcceptor::new(&tls, alpn).unwrap().server_config());
    let mut tasks = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let version = match next.load(Ordering::SeqCst) {
            IN_TURN => (made[H1].load(Ordering::SeqCst) + made[H2].load(Ordering::SeqCst)) % 2,
            version => version,
        };
        made[version].fetch_add(1, Ordering::SeqCst);
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&acceptors[version]));
        let backend = backend.clone();
        tasks.spawn(async move {
            let Ok(mut near) = acceptor.accept(stream).await else { return };
            let mut far = TcpStream::connect(backend).await.unwrap();
            let _ = copy_bidirectional(&mut near, &mut far).await;
        });
    }
}

fn requester(front: &Front, authority: &Authority) -> HttpRequester {
    let config = HttpConfig::default().with_tls(trusting(authority));
    // Each connection is closed as soon as it is unused.
    HttpRequester::new(&front.url, config.with_idle_timeout(Duration::ZERO)).unwrap()
}

fn kept(front: &Front, authority: &Authority) -> HttpRequester {
    HttpRequester::new(&front.url, HttpConfig::default().with_tls(trusting(authority))).unwrap()
}

/// Makes calls that are in flight simultaneously.
async fn burst(client: &HttpRequester, count: usize) {
    let calls = (0..count).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { echo(&client, "x").await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap().unwrap(), "x");
    }
}

#[tokio::test]
async fn one_dial_decides_for_all_calls_that_wait() {
    let authority = Authority::new("a");
    let front = Front::start(&authority, H2).await;
    let client = kept(&front, &authority);
    burst(&client, 50).await;
    assert_eq!(front.made(), [0, 1]);

    let front = Front::start(&authority, H1).await;
    let client = kept(&front, &authority);
    echo(&client, "x").await.unwrap();
    assert_eq!(front.made(), [1, 0], "the connection that decided serves the call");
    burst(&client, 20).await;
    assert_eq!(front.made()[H2], 0);
    assert!(front.made()[H1] <= 20, "{:?}", front.made());
}

#[tokio::test]
async fn a_server_that_changes_its_version_is_followed() {
    let authority = Authority::new("a");
    let front = Front::start(&authority, H1).await;
    let client = requester(&front, &authority);
    for (round, version) in [H1, H2, H1, H2].into_iter().enumerate() {
        front.becomes(version);
        let before = front.made()[version];
        burst(&client, 10).await;
        assert!(front.made()[version] > before, "round {round}: {:?}", front.made());
        until(|| client.connections() == 0).await;
    }
}

#[tokio::test]
async fn servers_of_both_versions_behind_one_name_fail_no_call() {
    let authority = Authority::new("a");
    let front = Front::start(&authority, IN_TURN).await;
    for client in [requester(&front, &authority), kept(&front, &authority)] {
        for _ in 0..6 {
            burst(&client, 8).await;
        }
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_while_its_connection_is_made_leaves_it_to_others() {
    let authority = Authority::new("a");
    let front = Front::start(&authority, H1).await;
    let client = kept(&front, &authority);
    {
        let ctx = Context::background();
        let request = Request::new("lab.echo".try_into().unwrap(), "x");
        let call = client.request(&ctx, request);
        let _ = tokio::time::timeout(Duration::ZERO, call).await;
    }
    until(|| client.connections() == 1).await;
    assert_eq!(echo(&client, "x").await.unwrap(), "x");
    assert_eq!(front.made(), [1, 0]);
}

/// Serves one connection of HTTP/2 with a GOAWAY that does not count its first request. Returns
/// whether there was one.
async fn spare_the_request(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> bool {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const HEADERS: u8 = 1;
    stream.write_all(&SETTINGS).await.unwrap();
    let mut preface = [0; b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len()];
    stream.read_exact(&mut preface).await.unwrap();
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return false;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; length as usize]).await.unwrap();
        if head[3] == HEADERS {
            stream.write_all(&GOAWAY).await.unwrap();
            let _ = stream.shutdown().await;
            return true;
        }
    }
}

#[tokio::test]
async fn a_request_is_resent_once_although_the_version_changes_in_between() {
    let authority = Authority::new("a");
    let tls = server_tls(&authority.pair(&["localhost"]));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let acceptors = [&[&b"http/1.1"[..]][..], &[b"h2"]]
            .map(|alpn| rr_tls::TlsAcceptor::new(&tls, alpn).unwrap().server_config());
        let mut connections = JoinSet::new();
        for number in 1.. {
            let (stream, _) = listener.accept().await.unwrap();
            // The requester does not keep the second connection, since it is unused.
            let version = if number == 2 { H1 } else { H2 };
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&acceptors[version]));
            let counted = Arc::clone(&counted);
            connections.spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                if version == H1 {
                    let _ = stream.read_u8().await;
                } else if spare_the_request(stream).await {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    let config = HttpConfig::default().with_tls(trusting(&authority));
    let client = HttpRequester::new(&url, config.with_idle_timeout(Duration::ZERO)).unwrap();
    let error = echo(&client, "x").await.unwrap_err();
    assert_eq!(error.delivery(), Delivery::Rejected, "{error}");
    assert_eq!(requests.load(Ordering::SeqCst), 2);
}
