//! The book of one world: what the callers were told, compared with what ran.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_spi::{Bytes, Context, Delivery, Error, Request, Requester, Response, async_trait};
use tokio::time::Instant;

use crate::conformance::lab::{Ask, Lab};
use crate::conformance::stage::PROMPT;
use crate::sync::lock;

/// Timeout of each call: longer than a partition lasts, so that one partition does not lose two calls
/// of a sequence.
const TIMEOUT: Duration = Duration::from_secs(6);

/// What the callers were told, by service and by key of the request.
#[derive(Default)]
pub(super) struct Book(Mutex<BTreeMap<(&'static str, String), Entry>>);

#[derive(Default)]
struct Entry {
    /// Calls that have not ended with `NotSent` or `Rejected`, so that their handlers may have run.
    possible: usize,
    /// Calls that ended with an answer or with `Processed`.
    ran: usize,
    /// What each call was told.
    told: Vec<String>,
    /// The first mistake that does not depend on the number of runs.
    wrong: Option<String>,
}

/// Client whose outcomes are noted in the book.
#[derive(Clone)]
pub(super) struct Client(Arc<Witness>);

struct Witness {
    to: &'static str,
    inner: Arc<dyn Requester>,
    book: Arc<Book>,
}

impl Client {
    pub(super) fn new(to: &'static str, inner: Arc<dyn Requester>, book: Arc<Book>) -> Self {
        Self(Arc::new(Witness { to, inner, book }))
    }

    /// Calls with the timeout of every scenario.
    pub(super) async fn call(&self, ask: &Ask) -> Result<Response, Error> {
        let ctx = Context::background().with_timeout(TIMEOUT);
        self.0.request(&ctx, ask.request()).await
    }

    pub(super) fn requester(&self) -> Arc<dyn Requester> {
        Arc::clone(&self.0) as Arc<dyn Requester>
    }
}

#[async_trait]
impl Requester for Witness {
    async fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        let (deadline, body) = (ctx.deadline(), request.body.clone());
        let key = (self.to, request.headers.get("lab-key").unwrap_or_default().to_owned());
        lock(&self.book.0).entry(key.clone()).or_default().possible += 1;
        let outcome = self.inner.request(ctx, request).await;
        let since = |at: Instant| Instant::now().saturating_duration_since(at);
        let late = deadline.map_or(Duration::ZERO, |deadline| since(deadline.instant()));
        lock(&self.book.0).entry(key).or_default().note(&outcome, &body, late);
        outcome
    }
}

impl Book {
    /// Describes the first request to a service whose callers were told something false.
    ///
    /// `repeated` is the number of messages to the service that the network repeated.
    pub(super) fn wrong(&self, service: &str, lab: &Lab, repeated: &mut usize) -> Option<String> {
        let book = lock(&self.0);
        let mut requests = book.iter().filter(|((to, _), _)| *to == service);
        requests.find_map(|((_, key), entry)| {
            let wrong = entry.wrong(lab.count(key), repeated)?;
            Some(format!("`{key}` at `{service}` {wrong}"))
        })
    }
}

impl Entry {
    fn note(&mut self, outcome: &Result<Response, Error>, body: &Bytes, late: Duration) {
        let mut told = String::new();
        match outcome {
            Ok(response) => {
                self.ran += 1;
                told.push_str("ok");
                if response.body != body {
                    let text = String::from_utf8_lossy(&response.body);
                    let wrong = || format!("got the answer of another request: {text}");
                    self.wrong.get_or_insert_with(wrong);
                }
            }
            Err(error) => {
                self.ran += usize::from(error.delivery() == Delivery::Processed);
                self.possible -= usize::from(error.delivery().is_unexecuted());
                // Writing to a string cannot fail.
                let _ = write!(told, "{} ({})", error.code().as_str(), error.delivery().as_str());
            }
        }
        if late > PROMPT {
            let wrong = || format!("ended {} ms after its deadline", late.as_millis());
            self.wrong.get_or_insert_with(wrong);
        }
        self.told.push(told);
    }

    /// Describes what is wrong. `repeated` is the number of messages that the network repeated; those
    /// that explain runs of this request are subtracted from it.
    fn wrong(&self, runs: usize, repeated: &mut usize) -> Option<String> {
        let told = self.told.join(", ");
        let callers = if self.told.len() == 1 { "its caller was" } else { "its callers were" };
        let surplus = runs.saturating_sub(self.possible);
        let ran = match runs {
            0 => "never ran".to_owned(),
            1 => "ran once".to_owned(),
            runs => format!("ran {runs} times"),
        };
        if surplus > *repeated || (surplus > 0 && self.possible == 0) {
            let at_most = match self.possible {
                0 => String::new(),
                1 => " where one run was possible".to_owned(),
                possible => format!(" where {possible} were possible"),
            };
            return Some(format!("{ran}{at_most}, and {callers} told {told}"));
        }
        *repeated -= surplus;
        if self.ran > runs {
            return Some(format!("{ran}, and {callers} told {told}"));
        }
        self.wrong.clone()
    }
}
