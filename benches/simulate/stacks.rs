//! Sets of layers around the calls and around the handlers.

use std::sync::Arc;
use std::time::Duration;

use rr_core::balance::{Balance, Endpoint};
use rr_core::hedge::Hedge;
use rr_core::limit::{AdaptiveConfig, ConcurrencyConfig, ConcurrencyLimit};
use rr_core::retry::{Retry, RetryBudgetConfig, RetryConfig};
use rr_core::throttle::Throttle;
use rr_core::transport::{Entropy as _, SeededEntropy};
use rr_core::{
    Context, Error, Local, Request, Requester, Responder, Response, Router, Stack, async_trait,
    recommended, recommended_server,
};

use crate::scenario::seed_of;
use crate::tower;

/// Set of layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StackKind {
    /// One request per call, to a replica at random; no limit.
    Bare,
    /// Three attempts of 300 ms each, without a budget; otherwise as bare.
    Naive,
    /// The layers of tower, as its documentation puts them together.
    Tower,
    /// Throttle, retries and hedging around a balance at the client; an adaptive limit at the server.
    Rr,
    /// `recommended` around a balance at the client, `recommended_server` at the server. The chance
    /// of its retries and of its throttle has no seed.
    Recommended,
}

impl StackKind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Bare, Self::Naive, Self::Tower, Self::Rr, Self::Recommended];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Naive => "naive retries",
            Self::Tower => "tower",
            Self::Rr => "rr",
            Self::Recommended => "recommended",
        }
    }

    /// Returns the set of layers at both sides.
    pub(crate) const fn layers(self) -> Layers {
        let server = match self {
            Self::Bare | Self::Naive => Server::Bare,
            Self::Tower => Server::Tower,
            Self::Rr => Server::Limit(LimitKind::Adaptive),
            Self::Recommended => Server::Recommended,
        };
        Layers { client: self, server }
    }

    /// Puts the layers of the client around the replicas.
    pub(crate) fn client(self, replicas: Vec<Arc<dyn Requester>>, seed: u64) -> Arc<dyn Requester> {
        let entropy = |part| SeededEntropy::new(seed_of(seed, part));
        let spread = |replicas| Spread { replicas, entropy: entropy(3) };
        match self {
            Self::Bare => Arc::new(spread(replicas)),
            Self::Naive => {
                let budget = RetryBudgetConfig::default().with_percent(1000);
                let config = RetryConfig::default()
                    .with_attempt_timeout(Duration::from_millis(300))
                    .with_budget(budget);
                let retry = Retry::with_config(config).with_entropy(entropy(5));
                Arc::new(Stack::new(spread(replicas)).with(retry))
            }
            Self::Tower => tower::client(spread(replicas)),
            Self::Rr => {
                let retry = Retry::new().with_entropy(entropy(5));
                let throttle = Throttle::new().with_entropy(entropy(6));
                let hedge = Hedge::new().with_budget(retry.budget().clone());
                let stack = Stack::new(balance(replicas).with_entropy(entropy(4))).with(throttle);
                Arc::new(stack.with(retry).with(hedge))
            }
            Self::Recommended => Arc::new(recommended(balance(replicas).with_entropy(entropy(4)))),
        }
    }
}

/// Layers at both sides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layers {
    pub(crate) client: StackKind,
    pub(crate) server: Server,
}

/// Layers around a handler.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Server {
    Bare,
    Tower,
    /// A limit with a wait of up to 50 ms.
    Limit(LimitKind),
    Recommended,
}

/// Number of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitKind {
    Fixed(usize),
    Adaptive,
    Additive,
}

/// Latency that the additive limit takes for an overload.
const SLOW: Duration = Duration::from_millis(300);

impl LimitKind {
    fn limit(self) -> ConcurrencyLimit {
        match self {
            Self::Fixed(calls) => ConcurrencyLimit::fixed(calls),
            Self::Adaptive => ConcurrencyLimit::adaptive(AdaptiveConfig::default()),
            Self::Additive => ConcurrencyLimit::additive(AdaptiveConfig::default(), SLOW),
        }
    }
}

impl Server {
    /// Puts the layers around a handler.
    pub(crate) fn around(self, handler: Arc<dyn Responder>) -> Local {
        let router = Router::new().route("shop.find", move |ctx: Context, request: Request| {
            let handler = Arc::clone(&handler);
            async move { handler.respond(&ctx, request).await }
        });
        Local::new(match self {
            Self::Bare => router,
            Self::Tower => router.with(tower::server()),
            Self::Limit(kind) => {
                let config = ConcurrencyConfig::default().with_wait_max(Duration::from_millis(50));
                router.with(kind.limit().with_config(config))
            }
            Self::Recommended => recommended_server(router),
        })
    }
}

/// Requester that picks a replica at random for each request.
pub(crate) struct Spread {
    replicas: Vec<Arc<dyn Requester>>,
    entropy: SeededEntropy,
}

#[async_trait]
impl Requester for Spread {
    async fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        let drawn = usize::try_from(self.entropy.next_u64() >> 1).unwrap_or(0);
        let replica = self.replicas.get(drawn % self.replicas.len()).expect("a replica");
        replica.request(ctx, request).await
    }
}

fn balance(replicas: Vec<Arc<dyn Requester>>) -> Balance {
    let endpoints =
        replicas.into_iter().enumerate().map(|(at, one)| Endpoint::new(at.to_string(), one));
    Balance::new(endpoints).expect("different names")
}
