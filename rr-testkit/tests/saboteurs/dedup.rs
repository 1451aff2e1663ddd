//! Suppression of duplicates written by hand, as the in-memory transport alone has none: no more of
//! it than the suite looks at, and with one rule broken.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use rr_spi::{
    Bytes, CancelHandle, Code, Context, Dedup, Delivery, Error, Idempotency, IdempotencyKey,
    Middleware, Next, Passage, Reason, Request, Response, Target, async_trait,
};
use tokio::time::Instant;

use crate::table::Sabotage::{self, *};

type Outcome = Result<Response, Error>;

pub(crate) struct Duplicates {
    sabotage: Sabotage,
    ttl: Duration,
    runs: Mutex<HashMap<IdempotencyKey, Run>>,
}

/// A run, under way or over.
struct Run {
    target: Target,
    body: Bytes,
    under_way: Context,
    over: Option<(Instant, Outcome)>,
}

/// How a request stands to what is known of its key.
enum Found {
    New(CancelHandle),
    UnderWay(Context),
    Over(Outcome),
    Other,
}

impl Duplicates {
    pub(crate) fn new(sabotage: Sabotage, ttl: Duration) -> Self {
        Self { sabotage, ttl, runs: Mutex::default() }
    }

    fn find(&self, key: &IdempotencyKey, request: &Request) -> Found {
        let mut runs = self.runs.lock().expect("nothing panics under it");
        let forgotten = |run: &Run| match &run.over {
            // A run that was dropped leaves nothing behind.
            None => self.sabotage == LetsTwinsRun || run.under_way.cause().is_some(),
            Some(_) if self.sabotage == RunsDuplicates => true,
            Some((_, Err(_))) if self.sabotage == RepeatsFailures => true,
            Some((end, _)) => end.elapsed() >= self.ttl && self.sabotage != NeverForgets,
        };
        if let Some(run) = runs.get(key).filter(|run| !forgotten(run)) {
            let same = run.target == request.target && run.body == request.body;
            return match &run.over {
                _ if !same && self.sabotage != TakesAnyBody => Found::Other,
                Some((_, outcome)) => Found::Over(outcome.clone()),
                None => Found::UnderWay(run.under_way.clone()),
            };
        }
        let (under_way, handle) = Context::background().child();
        let (target, body) = (request.target.clone(), request.body.clone());
        runs.insert(key.clone(), Run { target, body, under_way, over: None });
        Found::New(handle)
    }

    async fn wait(&self, ctx: &Context, under_way: &Context) -> Result<(), Error> {
        let _passage = self.pass(ctx);
        let waited = ctx.race(under_way.cancelled()).await;
        waited.map(drop).map_err(|cause| Error::from_cause(cause, Delivery::Unknown))
    }

    /// Without it, the server believes of a duplicate that nothing has run.
    fn pass<'a>(&self, ctx: &'a Context) -> Option<Passage<'a>> {
        (self.sabotage != ForgetsThatItRan).then(|| ctx.pass())
    }
}

#[async_trait]
impl Middleware for Duplicates {
    async fn handle(&self, ctx: &Context, request: Request, next: Next<'_>) -> Outcome {
        let Idempotency::Keyed(key) = request.idempotency.clone() else {
            return next.run(ctx, request).await;
        };
        loop {
            match self.find(&key, &request) {
                Found::UnderWay(under_way) => self.wait(ctx, &under_way).await?,
                Found::Over(outcome) => {
                    drop(self.pass(ctx));
                    return said(outcome, Dedup::Replayed);
                }
                Found::Other => {
                    let (code, reason) = (Code::InvalidArgument, Reason::IDEMPOTENCY_KEY_REUSE);
                    let error = Error::failure(code, Delivery::Rejected, reason, "another body");
                    return said(Err(error), Dedup::On);
                }
                Found::New(handle) => {
                    let outcome = next.run(ctx, request).await;
                    let mut runs = self.runs.lock().expect("nothing panics under it");
                    if let Some(run) = runs.get_mut(&key) {
                        run.over = Some((Instant::now(), outcome.clone()));
                    }
                    drop((runs, handle));
                    return said(outcome, Dedup::On);
                }
            }
        }
    }
}

fn said(outcome: Outcome, dedup: Dedup) -> Outcome {
    match outcome {
        Ok(response) => Ok(response.with_dedup(dedup)),
        Err(error) => Err(error.with_dedup(dedup)),
    }
}
