//! The in-memory transport in a world: the script of the world says which of its faults strikes.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rr_spi::{
    CallConfig, Context, Error, Intake, IntakeConfig, Request, Requester, Response, Routes, Server,
    async_trait,
};

use crate::memory::{MemoryFault, MemoryFaults, MemoryRequester, Registry, serve_at};
use crate::worlds::{Fault, Network, first_poll};

/// Faults that the in-memory transport has.
pub(super) const FAULTS: [Fault; 5] =
    [Fault::ConnectFails, Fault::RequestLost, Fault::ReplyLost, Fault::BrokenAfter, Fault::Reset];

/// Server of one name.
pub(super) struct MemoryService {
    registry: Arc<Registry>,
    server: Server,
}

impl MemoryService {
    pub(super) fn start(name: &str, routes: Routes) -> Self {
        let registry = Arc::new(Registry::default());
        let intake = Intake::new(routes, IntakeConfig::default());
        let server = serve_at(&registry, name, intake).expect("the registry is new");
        Self { registry, server }
    }

    pub(super) fn client(&self, network: &Network, from: &str, to: &str) -> Arc<dyn Requester> {
        let inner = MemoryRequester::at(Arc::clone(&self.registry), CallConfig::default());
        Arc::new(Struck { network: network.clone(), from: from.into(), to: to.into(), inner })
    }

    pub(super) async fn drain(&self, grace: Duration) {
        self.server.shutdown(grace).await;
    }
}

/// Requester whose calls are struck by the faults of the world.
struct Struck {
    network: Network,
    from: String,
    to: String,
    inner: MemoryRequester,
}

#[async_trait]
impl Requester for Struck {
    async fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        let link = (self.from.as_str(), self.to.as_str());
        let (sent, fault) = self.network.carried(link, &request, ctx.remaining());
        let link = self.inner.link();
        link.set_faults(MemoryFaults::script([fault.and_then(memory_fault)]));
        let mut calling = pin!(self.inner.request(ctx, request));
        // The first poll takes the fault, or refuses the call before a fault can strike.
        let first = first_poll(calling.as_mut()).await;
        link.set_faults(MemoryFaults::none());
        if fault == Some(Fault::Reset) {
            link.cut();
            link.restore();
        }
        let outcome = match first {
            Some(outcome) => outcome,
            None => calling.await,
        };
        sent.end(&outcome);
        outcome
    }
}

fn memory_fault(fault: Fault) -> Option<MemoryFault> {
    Some(match fault {
        Fault::ConnectFails => MemoryFault::FailBefore,
        Fault::RequestLost => MemoryFault::DropRequest,
        Fault::ReplyLost => MemoryFault::DropReply,
        Fault::BrokenAfter => MemoryFault::FailAfter,
        _ => return None,
    })
}
