//! A requester and a server over one transport, with odd configurations.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rr_core::{
    Code, Context, Delivery, Error, Reason, Request, Requester, Response, Server, async_trait,
    config::{CallConfig, IntakeConfig, Limits},
};
use rr_http::{HttpConfig, HttpServerConfig, HttpVersion};
use rr_testkit::StreamLink;
use rr_testkit::{Direction, MemoryFaults, MemoryLink, MemoryRequester};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::Plant;
use super::handler::{Runs, router};
use crate::input::Input;
use crate::pipe;

/// Times that configurations are made of: none, short, usual, longest.
const TIMES: &[Duration] = &[
    Duration::from_secs(30),
    Duration::ZERO,
    Duration::from_millis(1),
    Duration::from_millis(40),
    Duration::MAX,
];

type Connect = Arc<Mutex<Option<mpsc::Sender<DuplexStream>>>>;

/// One transport.
enum Wire {
    Memory { url: String, link: MemoryLink, config: IntakeConfig },
    Http { connect: Connect, link: StreamLink, config: Box<HttpServerConfig> },
}

/// A requester and a server that can be stopped and started.
pub(super) struct Setup {
    wire: Wire,
    requester: Arc<dyn Requester>,
    server: Option<Server>,
}

impl Setup {
    /// Reads a setup and starts its server.
    pub(super) fn read(input: &mut Input<'_>, runs: &Runs, plant: Plant) -> Self {
        let (wire, requester) = match input.below(3) {
            0 => memory(input),
            1 => http(input, HttpVersion::H1),
            _ => http(input, HttpVersion::H2c),
        };
        let requester = match plant {
            Plant::None => requester,
            plant => Arc::new(Planted { plant, inner: requester }),
        };
        let mut setup = Self { wire, requester, server: None };
        setup.start(runs);
        setup
    }

    pub(super) fn requester(&self) -> Arc<dyn Requester> {
        Arc::clone(&self.requester)
    }

    fn start(&mut self, runs: &Runs) {
        let server = match &self.wire {
            Wire::Memory { url, config, .. } => {
                rr_testkit::serve_with(url, router(runs), config.clone())
            }
            Wire::Http { connect, config, .. } => pipe::serve(router(runs).into(), *config.clone())
                .map(|(server, sender)| {
                    *connect.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
                    server
                }),
        };
        self.server = Some(server.expect("the configuration is valid"));
    }

    /// Cuts the link, now or within a message, or loses single messages.
    pub(super) fn cut(&self, input: &mut Input<'_>) {
        match &self.wire {
            Wire::Memory { link, .. } if input.flag() => link.cut(),
            Wire::Memory { link, .. } => {
                let seed = u64::from(input.byte());
                link.set_faults(MemoryFaults::seeded(seed, 30));
            }
            Wire::Http { link, .. } => match input.below(3) {
                0 => link.cut_and_refuse(),
                1 => link.cut_after(Direction::Requests, u64::from(input.byte())),
                _ => link.cut_after(Direction::Replies, u64::from(input.byte())),
            },
        }
    }

    pub(super) fn restore(&self) {
        match &self.wire {
            Wire::Memory { link, .. } => {
                link.set_faults(MemoryFaults::none());
                link.restore();
            }
            Wire::Http { link, .. } => link.restore(),
        }
    }

    /// Drains the server with this grace and starts another.
    pub(super) async fn restart(&mut self, grace: Duration, runs: &Runs) {
        self.stop_with(grace).await;
        self.start(runs);
    }

    pub(super) async fn stop(&mut self) {
        self.stop_with(Duration::from_secs(1)).await;
    }

    async fn stop_with(&mut self, grace: Duration) {
        if let Some(server) = self.server.take() {
            let _ = server.shutdown(grace).await;
        }
    }
}

fn memory(input: &mut Input<'_>) -> (Wire, Arc<dyn Requester>) {
    static NAMES: AtomicU64 = AtomicU64::new(0);
    let url = format!("memory://fuzz-{}", NAMES.fetch_add(1, Ordering::Relaxed));
    let limits = Limits::default().with_response_bytes_max(input.pick(&[1 << 20, 300, 0]));
    let config = IntakeConfig::default()
        .with_in_flight_max(input.pick(&[1024, 1, 0]))
        .with_timeout_min(input.pick(&[Duration::ZERO, Duration::from_millis(40)]))
        .with_timeout_max(input.pick(TIMES))
        .with_limits(limits);
    let requester = MemoryRequester::new(&url, CallConfig::default()).expect("a valid URL");
    let link = requester.link();
    (Wire::Memory { url, link, config }, Arc::new(requester))
}

fn http(input: &mut Input<'_>, version: HttpVersion) -> (Wire, Arc<dyn Requester>) {
    let mut config = HttpServerConfig::default();
    config.intake.in_flight_max = input.pick(&[1024, 1, 0]);
    config.intake.limits.response_bytes_max = input.pick(&[1 << 20, 300, 0]);
    config.intake.bodies_bytes_max = input.pick(&[1 << 26, 0, 30_000]);
    let mut config = config
        .with_idle_timeout(input.pick(TIMES))
        .with_write_timeout(input.pick(TIMES))
        .with_body_read_timeout(input.pick(TIMES))
        .with_drain_linger(input.pick(TIMES));
    config.intake.timeout_max = input.pick(TIMES);
    config.h2_streams_max = input.pick(&[200, 0, 1]);
    let mut client = HttpConfig::default()
        .with_version(version)
        .with_idle_timeout(input.pick(TIMES))
        .with_connect_timeout(input.pick(TIMES))
        .with_connections_max(input.pick(&[256, 1, 2]))
        .with_h2_connections_max(input.pick(&[4, 0, 1]))
        .with_h2_streams_max(input.pick(&[200, 0, 1]));
    client.calls.limits.response_bytes_max = input.pick(&[1 << 20, 300]);
    client.get_bytes_max = input.pick(&[0, 1 << 12]);
    let pipe_bytes = input.pick(&[64 * 1024, 64, 1000]);
    let (connect, link) = (Connect::default(), StreamLink::new());
    let server = Arc::clone(&connect);
    let server = move || server.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let requester = pipe::requester(server, &link, pipe_bytes, client);
    let requester = requester.expect("the configuration is valid");
    (Wire::Http { connect, link, config: Box::new(config) }, Arc::new(requester))
}

/// A requester with a planted fault.
struct Planted {
    plant: Plant,
    inner: Arc<dyn Requester>,
}

#[async_trait]
impl Requester for Planted {
    async fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        let outcome = self.inner.request(ctx, request.clone()).await;
        let Err(error) = outcome else { return outcome };
        let expired = error.code() == Code::DeadlineExceeded;
        match self.plant {
            Plant::NotSent if expired && error.delivery() == Delivery::Unknown => {
                let reason: Option<Reason> = None;
                Err(Error::failure(error.code(), Delivery::NotSent, reason, "planted"))
            }
            Plant::Twice => self.inner.request(ctx, request).await,
            Plant::Late if expired => {
                sleep(Duration::from_millis(60)).await;
                Err(error)
            }
            _ => Err(error),
        }
    }
}
