//! A request to several endpoints, each of which answers once.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use rr_spi::{
    Attempt, BoxFuture, Context, Delivery, Error, ManyConfig, ManyEnd, ManyReply, ManyRequester,
    ReplySink, Request, Response,
};
use tokio::time::Instant;

use super::call::Failed;
use super::{Balance, no_endpoints};

/// Call in flight at an endpoint, with the name of that endpoint.
type Asked<'f> = BoxFuture<'f, (Arc<str>, Result<Response, Failed>)>;

/// Number of endpoints to ask.
#[derive(Debug)]
struct Plan {
    /// Replies that are still wanted.
    wanted: usize,
    parallel_max: usize,
}

impl Plan {
    fn new(config: &ManyConfig) -> Self {
        Self { wanted: config.replies_max.max(1), parallel_max: config.parallel_max.max(1) }
    }

    /// Returns whether one more endpoint is asked while so many have not answered yet.
    fn asks_another(&self, in_flight: usize) -> bool {
        in_flight < self.wanted.min(self.parallel_max)
    }

    fn record_reply(&mut self) {
        self.wanted = self.wanted.saturating_sub(1);
    }
}

impl ManyRequester for Balance {
    fn request_many<'f>(
        &'f self,
        ctx: &'f Context,
        request: Request,
        config: ManyConfig,
        replies: ReplySink,
    ) -> BoxFuture<'f, Result<ManyEnd, Error>> {
        Box::pin(self.scattered(ctx, request, config, replies))
    }
}

impl Balance {
    /// Sends a request to as many endpoints as the plan asks, and hands out their replies.
    async fn scattered(
        &self,
        ctx: &Context,
        request: Request,
        config: ManyConfig,
        replies: ReplySink,
    ) -> Result<ManyEnd, Error> {
        // All endpoints share one deadline.
        let attempt = Attempt::start(ctx, self.config.timeout)?;
        let ctx = attempt.context();
        let ranked = self.lock().ranked(Instant::now(), &*self.entropy, &self.config);
        if ranked.is_empty() {
            return Err(no_endpoints());
        }
        let is_sole = ranked.len() == 1;
        let mut untried = ranked.into_iter();
        let mut plan = Plan::new(&config);
        let mut asked: Vec<Asked<'_>> = Vec::new();
        loop {
            while plan.asks_another(asked.len()) && ctx.cause().is_none() {
                let Some(id) = untried.next() else { break };
                let Some(chosen) = self.lock().start(id, Instant::now()) else { continue };
                attempt.sent();
                let (name, request) = (Arc::clone(&chosen.name), request.clone());
                asked.push(Box::pin(async move { (name, self.call(chosen, ctx, request).await) }));
            }
            let Some((name, outcome)) = next_answered(&mut asked).await else { break };
            if outcome.is_ok() {
                plan.record_reply();
            }
            let outcome = outcome.map_err(|failed| failed.of_endpoint(is_sole));
            replies.put(ManyReply::new(outcome).with_endpoint(name)).await;
        }
        // Endpoints that were not asked because the context has ended are no answer.
        if plan.wanted > 0 && untried.len() > 0 {
            attempt.check()?;
        }
        Ok(ManyEnd::AllAnswered)
    }
}

/// Waits for the next call that ends; `None` without calls.
async fn next_answered<'f>(
    asked: &mut Vec<Asked<'f>>,
) -> Option<(Arc<str>, Result<Response, Failed>)> {
    poll_fn(|cx| {
        if asked.is_empty() {
            return Poll::Ready(None);
        }
        for index in 0..asked.len() {
            if let Poll::Ready(answered) = asked[index].as_mut().poll(cx) {
                drop(asked.remove(index));
                return Poll::Ready(Some(answered));
            }
        }
        Poll::Pending
    })
    .await
}

impl Failed {
    /// Returns the error of one endpoint. With other endpoints, which may run the request, its delivery
    /// is at least `Unknown`; the record keeps the delivery at this endpoint.
    fn of_endpoint(self, is_sole: bool) -> Error {
        if is_sole {
            return self.error;
        }
        let error = match self.error.attempts().is_empty() {
            true => self.error.with_attempts(vec![self.record]),
            false => self.error,
        };
        error.raised_to(Delivery::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_endpoints_are_asked_than_replies_are_wanted() {
        let config = ManyConfig::default().with_replies_max(3).with_parallel_max(2);
        let mut plan = Plan::new(&config);
        assert!(plan.asks_another(1) && !plan.asks_another(2));
        plan.record_reply();
        plan.record_reply();
        assert!(plan.asks_another(0) && !plan.asks_another(1));
        plan.record_reply();
        plan.record_reply();
        assert!(!plan.asks_another(0));
        let plan = Plan::new(&config.with_replies_max(0).with_parallel_max(0));
        assert!(plan.asks_another(0) && !plan.asks_another(1));
    }
}
