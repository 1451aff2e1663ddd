//! The in-memory transport with one rule broken: its harness, its rig, its peer below the API.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rr_spi::{
    Code, Context, Delivery, DrainReport, Error, Middleware, Reason, Request, Requester, Response,
    Routes, async_trait,
};
use rr_testkit::conformance::{
    Capabilities, Harness, Live, Raw, RawAnswer, RawReply, RawRequest, Rig, StartOptions, Timing,
    Typed,
};

use crate::dedup::Duplicates;
use crate::requester::BrokenRequester;
use crate::support::Memory;
use crate::table::Sabotage::{self, *};
use crate::typed;

/// The in-memory transport with one rule broken, with typed calls and suppression of duplicates.
pub(crate) struct Broken(pub(crate) Sabotage);

#[async_trait]
impl Harness for Broken {
    fn name(&self) -> &str {
        "broken memory"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_dedup(true).with_typed(true)
    }

    fn timing(&self) -> Timing {
        Timing::Virtual
    }

    fn typed(&self) -> Option<Typed> {
        Some(if self.0 == RoundsTypedNumbers { typed::rounded() } else { typed::honest() })
    }

    fn dedup(&self, ttl: Duration) -> Option<Arc<dyn Middleware>> {
        Some(Arc::new(Duplicates::new(self.0, ttl)))
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        let honest = StartOptions::default();
        let options = match self.0 {
            IgnoresTheDefaultTimeout => options.with_client_timeout(honest.client_timeout),
            IgnoresItsLimits => {
                let endless = honest.client_limits.with_request_bytes_max(usize::MAX);
                options.with_client_limits(endless)
            }
            IgnoresTheServersConfig => options.with_server(honest.server),
            _ => options,
        };
        if self.0 == LeavesATaskPerRig {
            tokio::spawn(pending::<()>());
        }
        let inner = Memory.start(routes, options).await?;
        Ok(Box::new(BrokenRig { inner, sabotage: self.0, shared: Arc::default() }))
    }
}

/// What the requesters of a rig share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) restarted: AtomicBool,
    pub(crate) leaked: AtomicUsize,
}

struct BrokenRig {
    inner: Box<dyn Rig>,
    sabotage: Sabotage,
    shared: Arc<Shared>,
}

impl BrokenRig {
    fn broken(&self, inner: Arc<dyn Requester>) -> Arc<dyn Requester> {
        Arc::new(BrokenRequester::new(inner, self.sabotage, Arc::clone(&self.shared)))
    }
}

#[async_trait]
impl Rig for BrokenRig {
    fn requester(&self) -> Arc<dyn Requester> {
        self.broken(self.inner.requester())
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        if self.sabotage == LeavesATaskPerClient {
            tokio::spawn(pending::<()>());
        }
        Ok(self.broken(self.inner.connect_again().await?))
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        match self.sabotage {
            DropsTheGrace => self.inner.stop(Duration::ZERO).await,
            NeverStops => DrainReport::default(),
            _ => self.inner.stop(grace).await,
        }
    }

    async fn kill_link(&self) {
        self.inner.kill_link().await;
    }

    async fn restore_link(&self) {
        self.inner.restore_link().await;
    }

    async fn restart(&self) -> Result<(), Error> {
        self.inner.restart().await?;
        self.shared.restarted.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn raw(&self) -> Option<Arc<dyn Raw>> {
        let inner = self.inner.raw()?;
        Some(Arc::new(BrokenRaw { inner, sabotage: self.sabotage }))
    }

    fn live(&self) -> Live {
        let live = self.inner.live();
        let pending = live.pending.unwrap_or(0) + self.shared.leaked.load(Ordering::SeqCst);
        let live = live.with_pending(pending);
        if self.sabotage == StaysSubscribed { live.with_subscriptions(1) } else { live }
    }
}

struct BrokenRaw {
    inner: Arc<dyn Raw>,
    sabotage: Sabotage,
}

#[async_trait]
impl Raw for BrokenRaw {
    async fn send(&self, mut request: RawRequest) -> Result<RawReply, Error> {
        let timeout = request.timeout.clone().unwrap_or_default();
        match self.sabotage {
            RunsMalformedTimeouts if timeout.parse::<u32>().is_err() => request.timeout = None,
            RunsExpired if timeout == "0" => request.timeout = None,
            ShowsForgedHeaders => {
                for (name, _) in &mut request.headers {
                    *name = name.replace("rr-", "x-rr-");
                }
            }
            _ => {}
        }
        self.inner.send(request).await
    }

    async fn answering(&self, answer: RawAnswer) -> Result<Arc<dyn Requester>, Error> {
        let inner = self.inner.answering(answer).await?;
        Ok(Arc::new(BrokenReader { inner, sabotage: self.sabotage }))
    }
}

/// Reads what a foreign responder says.
struct BrokenReader {
    inner: Arc<dyn Requester>,
    sabotage: Sabotage,
}

#[async_trait]
impl Requester for BrokenReader {
    async fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        let error = match self.inner.request(ctx, request).await {
            Err(error) => error,
            answer => return answer,
        };
        match self.sabotage {
            RefusesUnknownCodes if error.code() == Code::Unknown => {
                let (code, reason) = (Code::Internal, Reason::BAD_RESPONSE);
                Err(Error::failure(code, Delivery::Unknown, reason, "no code that is known"))
            }
            TakesGarbageForAnAnswer if error.reason() == Some(&Reason::BAD_RESPONSE) => {
                Ok(Response::new(""))
            }
            _ => Err(error),
        }
    }
}
