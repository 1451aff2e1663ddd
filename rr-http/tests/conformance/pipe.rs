//! Pipes within the process, in virtual time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rr_http::{HttpConfig, HttpRequester, HttpVersion, serve_streams};
use rr_spi::{DrainReport, Error, Requester, Routes, Server, async_trait};
use rr_testkit::conformance::{Harness, Live, Rig, StartOptions, Timing};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;

pub(crate) struct Pipe(pub(crate) HttpVersion);

/// What one pipe holds each way: less than most bodies of the suite that are meant to be long.
const PIPE_BYTES: usize = 16 * 1024;

/// Pipes that were made and not accepted yet.
const QUEUE: usize = 16;

/// Two of the suite's units in virtual time: the default is long for a drain that may take ten.
const DRAIN_LINGER: Duration = Duration::from_millis(20);

#[async_trait]
impl Harness for Pipe {
    fn name(&self) -> &str {
        match self.0 {
            HttpVersion::H2c => "http (h2c, pipe)",
            _ => "http (h1, pipe)",
        }
    }

    fn timing(&self) -> Timing {
        Timing::Virtual
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        let (pipes, incoming) = mpsc::channel(QUEUE);
        let config = super::server(&options).with_drain_linger(DRAIN_LINGER);
        let (server, _) = serve_streams("http://pipe", incoming, routes, config)?;
        let config = super::client(self.0, &options);
        let requester = connect(&pipes, &config)?;
        Ok(Box::new(Running { server, requester, pipes, config }))
    }
}

type Pipes = mpsc::Sender<DuplexStream>;

fn connect(pipes: &Pipes, config: &HttpConfig) -> Result<HttpRequester, Error> {
    let pipes = pipes.clone();
    let connect = move || {
        let pipes = pipes.clone();
        async move {
            let (near, far) = duplex(PIPE_BYTES);
            pipes.send(far).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
            Ok(near)
        }
    };
    HttpRequester::with_connector("http://pipe", config.clone(), connect)
}

struct Running {
    server: Server,
    requester: HttpRequester,
    pipes: Pipes,
    config: HttpConfig,
}

#[async_trait]
impl Rig for Running {
    fn requester(&self) -> Arc<dyn Requester> {
        Arc::new(self.requester.clone())
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        Ok(Arc::new(connect(&self.pipes, &self.config)?))
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        self.server.shutdown(grace).await
    }

    fn live(&self) -> Live {
        Live::default()
            .with_in_flight(self.server.in_flight())
            .with_pending(self.requester.in_flight())
    }
}
