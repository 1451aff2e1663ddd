//! TLS over sockets on the loopback interface.

use std::io;
use std::sync::{Arc, OnceLock};

use rr_http::{
    HttpConfig, HttpRequester, HttpServerConfig, HttpServerStats, HttpVersion, serve_with_stats,
};
use rr_spi::{BoxFuture, Error, Routes, Server, async_trait};
use rr_tls::{TlsAcceptor, TlsClientAuth, TlsConfig, TlsConnector, TlsServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{Foreign, Line, Stream, failed};
use crate::authority::Authority;

/// A server with a certificate on a port of the loopback interface.
pub(crate) struct Tls {
    address: OnceLock<String>,
    server: TlsServerConfig,
    client: TlsConfig,
    /// The foreign servers, which end with the line.
    foreign: std::sync::Mutex<JoinSet<()>>,
}

impl Tls {
    pub(crate) fn new() -> Self {
        let authority = Authority::new("conformance");
        let pair = authority.pair(&["127.0.0.1"]);
        let server =
            TlsServerConfig::default().with_certificate(pair.certificate).with_key(pair.key);
        let client = TlsConfig::default().with_roots(authority.pem());
        Self { address: OnceLock::new(), server, client, foreign: std::sync::Mutex::default() }
    }

    /// Both ends give certificates.
    pub(crate) fn mutual() -> Self {
        let (this, clients) = (Self::new(), Authority::new("clients"));
        let pair = clients.pair(&["client"]);
        let server =
            this.server.with_client_auth(TlsClientAuth::Required).with_client_roots(clients.pem());
        let client = this.client.with_certificate(pair.certificate).with_key(pair.key);
        Self { server, client, ..Self::new() }
    }

    fn address(&self) -> &str {
        self.address.get().unwrap()
    }
}

#[async_trait]
impl Line for Tls {
    async fn serve(
        &self,
        routes: Routes,
        config: HttpServerConfig,
    ) -> Result<(Server, HttpServerStats), Error> {
        let config = config.with_tls(self.server.clone());
        let served = serve_with_stats("https://127.0.0.1:0", routes, config).await?;
        self.address.set(served.0.url().trim_start_matches("https://").to_owned()).unwrap();
        Ok(served)
    }

    fn requester(&self, config: HttpConfig) -> Result<HttpRequester, Error> {
        let url = format!("https://{}", self.address());
        HttpRequester::new(&url, config.with_tls(self.client.clone()))
    }

    async fn stream(&self) -> io::Result<Box<dyn Stream>> {
        let connector = TlsConnector::new(&self.client, &[]).map_err(io::Error::other)?;
        let name = connector.server_name("127.0.0.1").map_err(io::Error::other)?;
        let tcp = TcpStream::connect(self.address()).await?;
        tcp.set_nodelay(true)?;
        let connector = tokio_rustls::TlsConnector::from(connector.client_config().await);
        Ok(Box::new(connector.connect(name, tcp).await?))
    }

    async fn foreign(&self, config: HttpConfig, server: Foreign) -> Result<HttpRequester, Error> {
        let alpn: &[&[u8]] = match config.version {
            HttpVersion::H2 => &[b"h2"],
            _ => &[b"http/1.1"],
        };
        let acceptor = TlsAcceptor::new(&self.server, alpn)?;
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let url = format!("https://{}", listener.local_addr().map_err(failed)?);
        let accepting = async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(accept(acceptor.clone(), stream, Arc::clone(&server)));
            }
        };
        self.foreign.lock().unwrap().spawn(accepting);
        HttpRequester::new(&url, config.with_tls(self.client.clone()))
    }
}

fn accept(acceptor: TlsAcceptor, stream: TcpStream, server: Foreign) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let acceptor = tokio_rustls::TlsAcceptor::from(acceptor.server_config());
        if let Ok(stream) = acceptor.accept(stream).await {
            server(Box::new(stream)).await;
        }
    })
}
