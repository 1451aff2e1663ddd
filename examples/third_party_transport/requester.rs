//! The client side: a connection for each call.

use std::io;

use rr_spi::observe::{Kind, Monitor};
use rr_spi::{
    Attempt, CallConfig, Code, Delivery, Error, IntakeConfig, Location, ManyRequester, Reason,
    Request, Requester, Response, Stage, boxed, defaults, observed,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::wire::{self, VERSION};

/// Sends each request over a connection of its own; closing it is how a call is cancelled.
#[derive(Clone, Debug)]
pub(crate) struct FramedRequester {
    address: String,
    calls: CallConfig,
    monitor: Monitor,
}

impl FramedRequester {
    /// Makes a requester for `framed://host:port`; the server need not be there yet.
    pub(crate) fn new(url: &str, calls: CallConfig) -> Result<Self, Error> {
        let location = Location::parse(url)?;
        let (calls, _) = location.configure(calls, IntakeConfig::default())?;
        let monitor = Monitor::new(calls.observers.clone());
        Ok(Self { address: address(&location)?, calls, monitor })
    }

    async fn exchange(&self, attempt: &Attempt, request: &Request) -> Result<Response, Error> {
        attempt.stage(Stage::Connect);
        let connected = timeout(defaults::CONNECT_TIMEOUT, connect(&self.address)).await;
        let mut stream = connected.unwrap_or_else(|late| Err(late.into())).map_err(|error| {
            let (code, reason) = (Code::Unavailable, Reason::CONNECT_FAILED);
            let text = "no connection could be made";
            Error::failure(code, Delivery::NotSent, reason, text).with_source(error)
        })?;
        let message = wire::write_request(attempt, request);
        // Whatever happens from here on, the handler may have run.
        attempt.sent();
        let reply = async {
            stream.write_all(&message).await?;
            wire::read(&mut stream, self.calls.limits.response_bytes_max).await
        };
        let message = reply.await.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => wire::bad_response(),
            _ => {
                let (code, reason) = (Code::Unavailable, Reason::CONNECTION_LOST);
                let text = "the connection was lost before the reply came";
                Error::failure(code, Delivery::Unknown, reason, text).with_source(error)
            }
        })?;
        let message = message.ok_or_else(|| self.calls.limits.response_too_large())?;
        let response = wire::read_reply(&message)?;
        self.calls.limits.check_incoming(&response).map(|()| response)
    }
}

/// A request gets one reply.
impl ManyRequester for FramedRequester {}

impl Requester for FramedRequester {
    boxed! {
        fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
            observed!(&self.monitor, Kind::ClientAttempt, |ctx, request| async move {
                let attempt = Attempt::start(ctx, self.calls.timeout)?;
                self.calls.limits.check_outgoing(&request)?;
                attempt.run(self.exchange(&attempt, &request)).await
            })
        }
    }
}

/// Connects, and waits until the server has spoken. A connection that the system or a proxy took,
/// and behind which nobody is, has then carried no request.
pub(crate) async fn connect(address: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let is_ours = stream.read_u8().await? == VERSION;
    if is_ours { Ok(stream) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Returns the address that a URL of this transport names.
pub(crate) fn address(location: &Location) -> Result<String, Error> {
    if location.scheme() != "framed" || !location.path().is_empty() {
        let text = "a URL of this transport is framed://host:port";
        return Err(Error::failure(Code::InvalidArgument, Delivery::NotSent, None, text));
    }
    Ok(location.authority().to_owned())
}
