//! The lab's handler: acts as the request's headers demand.

use std::future::pending;

use rr_spi::{
    Code, Context, Detail, Error, Headers, Reason, Request, Responder, Response, RetryHint, Target,
    async_trait,
};

use super::Lab;
use super::run::RunGuard;
use super::steering::{self, Steering};
use crate::conformance::typed::Refusal;

/// Responder of one route of the lab.
pub(super) struct LabResponder {
    pub(super) lab: Lab,
    pub(super) route: &'static str,
}

#[async_trait]
impl Responder for LabResponder {
    async fn respond(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        let guard = self.lab.enter(self.route, ctx, &request);
        let outcome = self.act(ctx, request, &guard).await;
        guard.mark_returned();
        outcome
    }
}

impl LabResponder {
    async fn act(
        &self,
        ctx: &Context,
        request: Request,
        guard: &RunGuard,
    ) -> Result<Response, Error> {
        let asked = Steering(&request.headers);
        if asked.has(steering::WATCH) {
            self.watch(ctx, guard);
        }
        if asked.text(steering::PANIC) == Some("now") {
            panic!("{PANIC_TEXT}");
        }
        if let Some(time) = asked.millis(steering::SLEEP_MS) {
            tokio::time::sleep(time).await;
        }
        let hops = asked.number(steering::ONWARD).unwrap_or(0);
        if hops > 0 {
            return self.onward(ctx, &request, hops).await;
        }
        if let Some(time) = asked.millis(steering::SHIELD_MS) {
            let (lab, key, at) = (self.lab.clone(), guard.key.clone(), guard.at);
            let section = async move {
                tokio::time::sleep(time).await;
                lab.record_shielded(&key, at);
            };
            ctx.shield(section).await;
        }
        if let Some(gate) = asked.text(steering::GATE) {
            self.lab.until(|lab| lab.gate_is_open(gate)).await;
        }
        if asked.has(steering::HANG) {
            return pending().await;
        }
        if asked.text(steering::PANIC).is_some() {
            tokio::task::yield_now().await;
            panic!("{PANIC_TEXT}");
        }
        answer(self.route, ctx, &request)
    }

    /// Records why the context ended, from a section that outlives the handler.
    fn watch(&self, ctx: &Context, guard: &RunGuard) {
        let (lab, key, at) = (self.lab.clone(), guard.key.clone(), guard.at);
        let own = ctx.clone();
        // The section runs in the background; the case reads its record.
        drop(ctx.shield(async move { lab.record_cause(&key, at, own.cancelled().await) }));
    }

    async fn onward(&self, ctx: &Context, request: &Request, hops: u32) -> Result<Response, Error> {
        let asked = Steering(&request.headers);
        let mut headers = Headers::new();
        let passed = |name: &str| name.starts_with("lab-") || name.starts_with("x-");
        for (name, value) in request.headers.iter().filter(|(name, _)| passed(name)) {
            append(&mut headers, name, value)?;
        }
        headers.insert(steering::ONWARD, (hops - 1).to_string())?;
        let target = match asked.text(steering::ONWARD_TARGET) {
            Some(target) => Target::parse(target)?,
            None => request.target.clone(),
        };
        let ctx = match asked.millis(steering::ONWARD_TIMEOUT_MS) {
            Some(timeout) => ctx.with_timeout(timeout),
            None => ctx.clone(),
        };
        let next = Request::new(target, request.body.clone()).with_headers(headers);
        let outcome = self.lab.onward()?.request(&ctx, next).await;
        // A downstream error leaves the handler like one passed on with `?`.
        outcome.map_err(|error| if asked.has(steering::EXPOSE) { error.expose() } else { error })
    }
}

/// Text of the lab's panics, which must never reach a caller.
pub(super) const PANIC_TEXT: &str = "asked to panic: secret-of-the-panic";

fn answer(route: &str, ctx: &Context, request: &Request) -> Result<Response, Error> {
    let asked = Steering(&request.headers);
    let mut headers = Headers::new();
    for (name, value) in request.headers.iter().filter(|(name, _)| name.starts_with("x-")) {
        if asked.has(steering::ECHO) {
            append(&mut headers, name, value)?;
        }
        if asked.has(steering::TRAILERS) {
            append(&mut headers, &format!("trailer-{name}"), value)?;
        }
    }
    if let Some(left) = asked.number(steering::APP) {
        return Err(Refusal::new(left).into());
    }
    if let Some(code) = asked.text(steering::FAIL).and_then(Code::from_wire) {
        fill(&mut headers, asked);
        return Err(failure(code, asked).with_headers(headers));
    }
    if asked.has(steering::REPORT) {
        report(&mut headers, route, ctx, request)?;
    }
    fill(&mut headers, asked);
    let body = asked.number(steering::REPLY_BYTES).map(super::pattern);
    Ok(Response::new(body.unwrap_or_else(|| request.body.clone())).with_headers(headers))
}

fn fill(headers: &mut Headers, asked: Steering<'_>) {
    if let Some(entries) = asked.number(steering::REPLY_HEADERS) {
        let bytes = asked.number(steering::REPLY_HEADER_BYTES).unwrap_or(entries * 10);
        super::fill(headers, entries, bytes);
    }
}

fn failure(code: Code, asked: Steering<'_>) -> Error {
    let message = match asked.number(steering::MESSAGE_BYTES) {
        Some(bytes) => super::unicode(bytes),
        None => asked.text(steering::MESSAGE).unwrap_or("as asked").replace("\\n", "\n"),
    };
    let mut error = Error::new(code, message);
    if let Some(reason) = asked.text(steering::REASON).and_then(Reason::parse) {
        error = error.with_reason(reason);
    }
    for at in 0..asked.number(steering::DETAILS).unwrap_or(0_usize) {
        let bytes = asked.number(steering::DETAIL_BYTES).unwrap_or(300 * at);
        error = error.with_detail(Detail::new(format!("lab.Detail{at}"), super::pattern(bytes)));
    }
    match asked.number::<i64>(steering::RETRY_MS).map(u64::try_from) {
        None => {}
        Some(Err(_)) => error = error.with_retry(RetryHint::Never),
        Some(Ok(millis)) => {
            let after = std::time::Duration::from_millis(millis);
            error = error.with_retry(RetryHint::After(after));
        }
    }
    if let Some(micros) = asked.number(steering::RETRY_US) {
        error = error.with_retry(RetryHint::After(std::time::Duration::from_micros(micros)));
    }
    match asked.text(steering::SOURCE) {
        Some(text) => error.with_source(std::io::Error::other(text.to_owned())).with_hint(
            // A hint is only for readers of this process's log.
            text.to_owned(),
        ),
        None => error,
    }
}

/// Reports the record of the run in headers, for callers in another process.
fn report(
    headers: &mut Headers,
    route: &str,
    ctx: &Context,
    request: &Request,
) -> Result<(), Error> {
    headers.append("lab-saw-route", route.to_owned())?;
    headers.append("lab-saw-target", request.target.as_str().to_owned())?;
    headers.append("lab-saw-retries", ctx.inbound_retries().to_string())?;
    if let Some(remaining) = ctx.remaining() {
        headers.append("lab-saw-remaining-ms", remaining.as_millis().to_string())?;
    }
    for (name, value) in [("id", ctx.request_id()), ("traceparent", ctx.traceparent())] {
        if let Some(value) = value {
            headers.append(format!("lab-saw-{name}"), value.to_owned())?;
        }
    }
    Ok(())
}

/// Adds a header, as a binary header if its name ends in `-bin`, otherwise as text.
fn append(headers: &mut Headers, name: &str, value: &rr_spi::Bytes) -> Result<(), Error> {
    if Headers::is_binary_name(name) {
        return headers.append_bin(name.to_owned(), value.clone());
    }
    let text = String::from_utf8_lossy(value).into_owned();
    headers.append(name.to_owned(), text)
}
