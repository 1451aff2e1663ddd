//! The suite is tested too: each saboteur breaks one rule of the in-memory transport, and the
//! case named for that rule must fail.

#![cfg(feature = "conformance")]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_spi::{
    Bytes, Code, Context, Delivery, DrainReport, Error, Headers, Reason, Request, Requester,
    Response, Routes, async_trait,
};
use rr_testkit::conformance::{
    Harness, Live, Outcome, Plan, Rig, StartOptions, Timing, run, run_case,
};

/// Which rule is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sabotage {
    Nothing,
    LosesTheLastHeader,
    ReversesHeaders,
    LosesReplyHeaders,
    MergesRepeatedNames,
    CutsAt64Kib,
    PadsEmptyBodies,
    ClaimsNotSent,
    RetriesOnItsOwn,
    IgnoresCancel,
    IgnoresDrops,
    CallsItCanceled,
    LengthensTheDeadline,
    KeepsTheDeadlineToItself,
    RoundsDown,
    OverflowsFarDeadlines,
    IgnoresTheDefaultTimeout,
    IgnoresItsLimits,
    IgnoresTheServersConfig,
    MakesEveryCodeUnknown,
    LosesDetails,
    LosesReasons,
    LeaksThePanic,
    RepeatsTheLastReply,
    LosesTheTrace,
    DropsTheGrace,
    NeverStops,
    RefusesAsInternal,
}

use Sabotage::*;

/// Each saboteur and the case that is named for the rule it breaks.
const CAUGHT_BY: &[(Sabotage, &str)] = &[
    (LosesTheLastHeader, "headers/request_reaches_responder"),
    (ReversesHeaders, "headers/repeated_names_keep_order"),
    (LosesReplyHeaders, "headers/response_reaches_requester"),
    (MergesRepeatedNames, "headers/repeated_names_keep_order"),
    (CutsAt64Kib, "size/65535_65536_65537"),
    (PadsEmptyBodies, "size/empty_request"),
    (ClaimsNotSent, "deadline/expires_when_handler_hangs"),
    // Not asserted there: the books of the suite catch it in every case.
    (ClaimsNotSent, "deadline/code_is_deadline_exceeded_never_canceled"),
    (RetriesOnItsOwn, "panic/becomes_internal"),
    (RetriesOnItsOwn, "panic/text_redacted"),
    (IgnoresCancel, "cancel/token_returns_canceled"),
    (IgnoresDrops, "cancel/reaches_responder"),
    (IgnoresDrops, "cancel/drop_frees_slot"),
    (CallsItCanceled, "deadline/code_is_deadline_exceeded_never_canceled"),
    (LengthensTheDeadline, "deadline/expires_when_handler_hangs"),
    (KeepsTheDeadlineToItself, "deadline/visible_to_handler"),
    (RoundsDown, "deadline/sub_millisecond_rounds_up"),
    (OverflowsFarDeadlines, "deadline/far_future_no_overflow"),
    (IgnoresTheDefaultTimeout, "deadline/default_applies"),
    (IgnoresItsLimits, "size/max_request_plus_one_not_sent"),
    (IgnoresTheServersConfig, "deadline/server_clamp"),
    (MakesEveryCodeUnknown, "errors/every_code_round_trips"),
    (LosesDetails, "errors/app_error_round_trips"),
    (LosesReasons, "errors/every_code_round_trips"),
    (LeaksThePanic, "panic/text_redacted"),
    (RepeatsTheLastReply, "round_trip/sequential_1000"),
    (LosesTheTrace, "headers/trace_context_passes"),
    (DropsTheGrace, "drain/in_flight_finish"),
    (NeverStops, "drain/grace_exceeded_cancels"),
    (RefusesAsInternal, "drain/newcomers_rejected_retryable"),
];

#[test]
fn each_saboteur_is_caught_by_the_case_named_for_it() {
    let mut missed = Vec::new();
    for &(sabotage, case) in CAUGHT_BY {
        match run_case(Broken(sabotage), case) {
            Outcome::Failed(text) => println!("{sabotage:?}: {case}: {text}"),
            outcome => missed.push((sabotage, case, outcome)),
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:#?}");
}

#[test]
fn a_wrapper_that_breaks_nothing_passes() {
    let report = run(Broken(Nothing), &Plan::v1());
    println!("{report}");
    report.assert();
}

#[test]
fn every_case_catches_a_saboteur() {
    let mut catches: BTreeMap<String, usize> = BTreeMap::new();
    let mut seen: Vec<Sabotage> = CAUGHT_BY.iter().map(|(sabotage, _)| *sabotage).collect();
    seen.dedup();
    let mut table = String::new();
    for sabotage in seen {
        let report = run(Broken(sabotage), &Plan::v1());
        let caught: Vec<&str> = report.failures().map(|row| row.name.as_str()).collect();
        for row in report.rows.iter().filter(|row| !matches!(row.outcome, Outcome::Skipped(_))) {
            let caught = caught.contains(&row.name.as_str());
            *catches.entry(row.name.clone()).or_default() += usize::from(caught);
        }
        table += &format!("{sabotage:?}: {}\n", caught.join(" "));
    }
    println!("{table}");
    let idle: Vec<_> = catches.iter().filter(|(_, count)| **count == 0).collect();
    assert!(idle.is_empty(), "cases that caught nobody: {idle:?}");
}

/// The in-memory transport with one rule broken.
struct Broken(Sabotage);

#[async_trait]
impl Harness for Broken {
    fn name(&self) -> &str {
        "broken memory"
    }

    fn timing(&self) -> Timing {
        Timing::Virtual
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
        let inner = support::Memory.start(routes, options).await?;
        Ok(Box::new(BrokenRig { inner, sabotage: self.0 }))
    }
}

struct BrokenRig {
    inner: Box<dyn Rig>,
    sabotage: Sabotage,
}

impl BrokenRig {
    fn broken(&self, inner: Arc<dyn Requester>) -> Arc<dyn Requester> {
        let last_reply = Arc::new(Mutex::new(None));
        Arc::new(BrokenRequester { inner, sabotage: self.sabotage, last_reply })
    }
}

#[async_trait]
impl Rig for BrokenRig {
    fn requester(&self) -> Arc<dyn Requester> {
        self.broken(self.inner.requester())
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        Ok(self.broken(self.inner.connect_again().await?))
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        match self.sabotage {
            DropsTheGrace => self.inner.stop(Duration::ZERO).await,
            NeverStops => DrainReport::default(),
            _ => self.inner.stop(grace).await,
        }
    }

    fn live(&self) -> Live {
        self.inner.live()
    }
}

#[derive(Clone)]
struct BrokenRequester {
    inner: Arc<dyn Requester>,
    sabotage: Sabotage,
    last_reply: Arc<Mutex<Option<Response>>>,
}

#[async_trait]
impl Requester for BrokenRequester {
    async fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        let ctx = &self.context(ctx);
        let request = self.outgoing(request);
        let outcome = match self.sabotage {
            IgnoresCancel => {
                let deadline = ctx.deadline();
                let detached = ctx.detached();
                let ctx = match deadline {
                    Some(deadline) => detached.with_deadline(deadline),
                    None => detached,
                };
                self.inner.request(&ctx, request).await
            }
            IgnoresDrops => {
                let (inner, ctx) = (Arc::clone(&self.inner), ctx.clone());
                let call = tokio::spawn(async move { inner.request(&ctx, request).await });
                call.await.expect("the inner call ends")
            }
            RetriesOnItsOwn => match self.inner.request(ctx, request.clone()).await {
                Err(_) => self.inner.request(ctx, request).await,
                answer => answer,
            },
            RepeatsTheLastReply => {
                let reply = self.inner.request(ctx, request).await?;
                let before = self.last_reply.lock().expect("nothing panics").replace(reply.clone());
                Ok(before.unwrap_or(reply))
            }
            _ => self.inner.request(ctx, request).await,
        };
        match outcome {
            Ok(response) => Ok(self.incoming(response)),
            Err(error) => Err(self.failed(error)),
        }
    }
}

impl BrokenRequester {
    fn context(&self, ctx: &Context) -> Context {
        let remaining = ctx.remaining();
        match (self.sabotage, remaining) {
            (LengthensTheDeadline, Some(left)) if !left.is_zero() => {
                ctx.detached().with_timeout(left + Duration::from_secs(1))
            }
            (KeepsTheDeadlineToItself, Some(left)) if !left.is_zero() => ctx.detached().unbounded(),
            (RoundsDown, Some(left)) => {
                let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
                ctx.with_timeout(Duration::from_millis(millis))
            }
            // As if the remaining milliseconds were held in 18 bits.
            (OverflowsFarDeadlines, Some(left)) => {
                ctx.with_timeout(Duration::from_millis(left.as_millis() as u64 % (1 << 18)))
            }
            (LosesTheTrace, Some(left)) => Context::background().with_timeout(left),
            (LosesTheTrace, None) => Context::background(),
            _ => ctx.clone(),
        }
    }

    fn outgoing(&self, mut request: Request) -> Request {
        let entries: Vec<(String, Bytes)> =
            request.headers.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
        let own = |name: &str| name.starts_with("x-");
        match self.sabotage {
            LosesTheLastHeader => {
                if let Some((name, _)) = entries.iter().rev().find(|(name, _)| own(name)) {
                    request.headers.remove(name);
                }
            }
            ReversesHeaders => request.headers = headers(entries.into_iter().rev()),
            MergesRepeatedNames => {
                let mut merged: Vec<(String, Bytes)> = Vec::new();
                for (name, value) in entries {
                    match merged.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, first)) => *first = [&first[..], b",", &value[..]].concat().into(),
                        None => merged.push((name, value)),
                    }
                }
                request.headers = headers(merged);
            }
            CutsAt64Kib => request.body.truncate(64 * 1024),
            PadsEmptyBodies if request.body.is_empty() => request.body = "{}".into(),
            _ => {}
        }
        request
    }

    fn incoming(&self, mut response: Response) -> Response {
        if self.sabotage == LosesReplyHeaders {
            response.headers = Headers::new();
        }
        response
    }

    fn failed(&self, error: Error) -> Error {
        let copy = |code, delivery, reason: Option<Reason>, message: String| {
            let copy = Error::failure(code, delivery, reason, message)
                .with_headers(error.headers().clone())
                .with_origin(error.origin());
            error.details().iter().cloned().fold(copy, Error::with_detail).with_retry(error.retry())
        };
        let (code, delivery) = (error.code(), error.delivery());
        let (reason, message) = (error.reason().cloned(), error.message().to_owned());
        match self.sabotage {
            ClaimsNotSent => copy(code, Delivery::NotSent, reason, message),
            CallsItCanceled if code == Code::DeadlineExceeded => {
                copy(Code::Canceled, delivery, reason, message)
            }
            MakesEveryCodeUnknown => copy(Code::Unknown, delivery, reason, message),
            LosesReasons => copy(code, delivery, None, message),
            LosesDetails => Error::failure(code, delivery, reason, message),
            LeaksThePanic if reason == Some(Reason::PANIC) => {
                copy(code, delivery, reason, "panicked: secret-of-the-panic".to_owned())
            }
            RefusesAsInternal if delivery.is_unexecuted() => {
                copy(Code::Internal, delivery, None, message)
            }
            _ => error,
        }
    }
}

fn headers(entries: impl IntoIterator<Item = (String, Bytes)>) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in entries {
        if Headers::is_binary_name(&name) {
            headers.append_bin(name, value).expect("it was a header");
        } else {
            let text = String::from_utf8(value.to_vec()).expect("it was text");
            headers.append(name, text).expect("it was a header");
        }
    }
    headers
}
