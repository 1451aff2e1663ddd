//! A transport whose replies come as a test says, and shorthands.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rr_core::many::{ManyConfig, ManyEnd, ManyReply, ManyRequester, Replies, ReplySink};
use rr_core::transport::{Attempt, BoxFuture};
use rr_core::{Context, Error, Request, Requester, Response, async_trait, defaults};
use tokio::time::sleep;

pub(crate) use crate::balance::support::{ms, request, within};

/// What happens next on the wire.
#[derive(Clone)]
pub(crate) enum Step {
    Reply(&'static str),
    Refusal(Error),
    Pause(Duration),
    Sentinel,
    Lost(Error),
    Silence,
}

/// A transport with several replies to each request.
pub(crate) struct Scripted {
    steps: Vec<Step>,
    /// Requests that were dropped before their end.
    pub(crate) dropped: Arc<AtomicUsize>,
}

impl Scripted {
    pub(crate) fn new(steps: &[Step]) -> Self {
        Self { steps: steps.to_vec(), dropped: Arc::default() }
    }

    pub(crate) fn dropped(&self) -> usize {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Counts a request that is dropped before its end.
struct Running(Option<Arc<AtomicUsize>>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(dropped) = &self.0 {
            dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl Requester for Scripted {
    async fn request(&self, _: &Context, _: Request) -> Result<Response, Error> {
        unreachable!("only requests with several replies")
    }
}

impl ManyRequester for Scripted {
    fn request_many<'f>(
        &'f self,
        ctx: &'f Context,
        _: Request,
        _: ManyConfig,
        replies: ReplySink,
    ) -> BoxFuture<'f, Result<ManyEnd, Error>> {
        Box::pin(async move {
            let attempt = Attempt::start(ctx, defaults::CLIENT_TIMEOUT)?;
            attempt.sent();
            let mut running = Running(Some(Arc::clone(&self.dropped)));
            let played = attempt.run(async {
                for step in &self.steps {
                    match step {
                        Step::Reply(body) => {
                            replies.put(ManyReply::new(Ok(Response::new(*body)))).await;
                        }
                        Step::Refusal(error) => {
                            replies.put(ManyReply::new(Err(error.clone()))).await;
                        }
                        Step::Pause(time) => sleep(*time).await,
                        Step::Sentinel => return Ok(ManyEnd::Sentinel),
                        Step::Lost(error) => return Err(error.clone()),
                        Step::Silence => std::future::pending().await,
                    }
                }
                Ok(ManyEnd::AllAnswered)
            });
            let ended = played.await;
            running.0 = None;
            ended
        })
    }
}

/// Reads all replies: their bodies and errors.
pub(crate) async fn all(replies: &mut Replies<'_>) -> Vec<Result<String, Error>> {
    let mut items = Vec::new();
    while let Some(item) = replies.next().await {
        items.push(item.map(|reply| String::from_utf8(reply.body.to_vec()).unwrap()));
    }
    assert!(replies.end().is_some(), "there is a reason for the end");
    items
}

/// Bodies of replies without errors.
pub(crate) fn bodies<E: Debug>(items: Vec<Result<String, E>>) -> Vec<String> {
    items.into_iter().map(Result::unwrap).collect()
}
