//! `Forward` between two servers over memory: what a bridge in a process of its own is.

use std::sync::Arc;
use std::time::Duration;

use rr_core::transport::Routes;
use rr_core::{
    DrainReport, Error, Forward, Requester, Router, Stack, async_trait,
    config::{CallConfig, IntakeConfig},
    defaults,
};
use rr_testkit::conformance::{Capabilities, Harness, Live, Rig, StartOptions, Timing, Typed};

use crate::layered::{Nested, Pass};
use crate::memory::{self, Ends};
use crate::typed::typed;

/// Which side of the bridge is drained, cut off and restarted. What a case configures of the server
/// is always the back's, where the handlers are.
#[derive(Clone, Copy)]
pub(crate) enum Bridge {
    /// The bridge itself, which is all that callers see.
    Front,
    /// What is behind it; the bridge stays.
    Back,
    /// The same, with middleware on both sides of the bridge.
    LayeredBack,
}

#[async_trait]
impl Harness for Bridge {
    fn name(&self) -> &str {
        match self {
            Self::Front => "forward (memory to memory, front)",
            Self::Back => "forward (memory to memory, back)",
            Self::LayeredBack => "forward (memory to memory, layered, back)",
        }
    }

    fn capabilities(&self) -> Capabilities {
        // The suite sets the limit of one of the two servers; the other one keeps its own.
        memory::capabilities().with_parallel_max(defaults::IN_FLIGHT_MAX)
    }

    fn timing(&self) -> Timing {
        Timing::Virtual
    }

    fn typed(&self) -> Option<Typed> {
        Some(typed())
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        let client = memory::client_config(&options);
        let lame_duck = options.server.lame_duck;
        let back = Ends::start(routes, options.server, Some(CallConfig::default())).await?;
        let router = match self {
            Self::Front | Self::Back => Router::new().fallback(Forward(back.requester())),
            Self::LayeredBack => {
                let onward = Stack::new(back.requester()).with(Pass).with(Nested);
                Router::new().fallback(Forward(onward)).with(Nested).with(Pass)
            }
        };
        // Either side may be the one that is stopped.
        let config = IntakeConfig::default().with_lame_duck(lame_duck);
        let front = Ends::start(router.into(), config, Some(client)).await?;
        Ok(Box::new(Running { side: *self, front, back }))
    }
}

struct Running {
    side: Bridge,
    front: Ends,
    back: Ends,
}

impl Running {
    fn side(&self) -> &Ends {
        match self.side {
            Bridge::Front => &self.front,
            Bridge::Back | Bridge::LayeredBack => &self.back,
        }
    }
}

#[async_trait]
impl Rig for Running {
    fn requester(&self) -> Arc<dyn Requester> {
        self.front.requester()
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        self.front.connect_again().await
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        self.side().stop(grace).await
    }

    async fn kill_link(&self) {
        self.side().kill_link().await;
    }

    async fn restore_link(&self) {
        self.side().restore_link().await;
    }

    async fn restart(&self) -> Result<(), Error> {
        self.side().restart().await
    }

    fn live(&self) -> Live {
        let (front, back) = (self.front.live(), self.back.live());
        let both =
            |count: fn(Live) -> Option<usize>| count(front).unwrap_or(0) + count(back).unwrap_or(0);
        let live = Live::default()
            .with_in_flight(both(|live| live.in_flight))
            .with_pending(both(|live| live.pending));
        live.with_subscriptions(self.side().live().subscriptions.unwrap_or(0))
    }
}
