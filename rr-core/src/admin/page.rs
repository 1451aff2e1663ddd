//! The page as HTML: self-contained, without scripts.

use std::fmt::{self, Write};

use rr_spi::observe::Stats;
use rr_spi::{Code, Error, Headers, Response};

use super::failures::Failure;
use super::format::{Millis, Text, TimeOfDay};
use super::in_flight::{InFlightReport, Shown};
use super::ledger;
use super::report::{PastFailure, Report};
use super::watched::ServerReport;
use crate::observe::fault::Fault;

/// Number of failures, newest first, whose details are open.
const OPEN_MAX: usize = 5;

const STYLE: &str = include_str!("page/style.css");

/// Returns whether a request asks for HTML rather than JSON.
pub(super) fn is_wanted(headers: &Headers) -> bool {
    // Set by `?encoding=json`, for readers in a browser.
    let wants_json = headers.get("content-type") == Some("application/json");
    let accepts_html = headers.get_all("accept").any(|list| {
        let weights = |kind| list.split(',').filter_map(move |range| weight(range, kind));
        let html = weights("text/html").fold(0.0, f32::max);
        html > 0.0 && html >= weights("application/json").fold(0.0, f32::max)
    });
    accepts_html && !wants_json
}

/// Returns the weight of a media range (RFC 9110 §12.5.1) if it is for this type.
fn weight(range: &str, kind: &str) -> Option<f32> {
    let mut parts = range.split(';').map(str::trim);
    parts.next().filter(|name| name.eq_ignore_ascii_case(kind))?;
    let weight = parts.find_map(|part| part.strip_prefix("q="));
    Some(weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0)))
}

/// Returns the page. The nonce belongs to its style and is used once.
pub(super) fn response(report: &Report, nonce: &str) -> Result<Response, Error> {
    let mut page = String::with_capacity(16 * 1024);
    write_page(&mut page, report, nonce).map_err(|error| {
        Error::new(Code::Internal, "the page cannot be written").with_source(error)
    })?;
    // Nothing is loaded from anywhere. In the sandbox, no other page can read this one.
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; sandbox"
    );
    let mut response = Response::new(page);
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cross-origin-resource-policy", "same-origin"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        ("vary", "accept"),
        ("x-content-type-options", "nosniff"),
    ] {
        response.headers.insert(name, value)?;
    }
    response.headers.insert("content-security-policy", policy)?;
    Ok(response)
}

fn write_page(page: &mut String, report: &Report, nonce: &str) -> fmt::Result {
    let Report { version, phase, .. } = report;
    write!(
        page,
        "<!doctype html><html lang=en><head><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\
         <meta name=color-scheme content=\"light dark\"><link rel=icon href=\"data:,\">\
         <title>rr: {phase}</title><style nonce={nonce}>{STYLE}</style></head><body>\
         <header><h1>rr <span class=\"badge {phase}\">{phase}</span></h1>\
         <p>version {version}, up for {}, at {} UTC</p>\
         <nav><a href=\"?\">Refresh</a> <a href=\"?encoding=json\">JSON</a></nav></header><main>",
        Millis(report.uptime_ms),
        TimeOfDay(report.now_unix_ms),
    )?;
    write_tiles(page, report)?;
    write_in_flight(page, &report.in_flight)?;
    write_failures(page, report)?;
    write_stats(page, report)?;
    write_routes(page, &report.servers)?;
    page.write_str("</main></body></html>\n")
}

fn write_tiles(page: &mut String, report: &Report) -> fmt::Result {
    let InFlightReport { requests, calls, attempts, .. } = report.in_flight;
    page.write_str("<dl class=tiles>")?;
    for (name, number) in [
        ("requests in flight", requests as u64),
        ("calls in flight", calls as u64),
        ("attempts in flight", attempts as u64),
        ("failures", report.failures),
    ] {
        write!(page, "<div><dt>{name}</dt><dd>{number}</dd></div>")?;
    }
    page.write_str("</dl>")
}

/// Begins a table that scrolls within the page.
fn begin_table(page: &mut String, label: &str, columns: &[&str]) -> fmt::Result {
    write!(
        page,
        "<div class=scroll role=region tabindex=0 aria-label=\"{label}\"><table><thead><tr>"
    )?;
    for column in columns {
        write!(page, "<th scope=col>{column}</th>")?;
    }
    page.write_str("</tr></thead><tbody>")
}

fn end_table(page: &mut String) -> fmt::Result {
    page.write_str("</tbody></table></div>")
}

fn write_in_flight(page: &mut String, report: &InFlightReport) -> fmt::Result {
    page.write_str("<section><h2>In flight</h2>")?;
    if report.requests + report.calls + report.attempts == 0 {
        return page.write_str("<p class=empty>Nothing is in flight.</p></section>");
    }
    let columns = ["Age", "Kind", "Target", "Stage", "Deadline", "Retries", "Peer", "Request id"];
    begin_table(page, "In flight", &columns)?;
    report.operations.iter().try_for_each(|shown| write_operation(page, shown))?;
    end_table(page)?;
    if report.left_out > 0 {
        write!(page, "<p class=empty>{} more are not shown.</p>", report.left_out)?;
    }
    page.write_str("</section>")
}

fn write_operation(page: &mut String, shown: &Shown) -> fmt::Result {
    write!(
        page,
        "<tr><td class=num>{}</td><td>{}</td><td><code>{}</code>",
        Millis(shown.age_ms),
        shown.kind,
        Text(&shown.target)
    )?;
    if let Some(route) = &shown.route {
        write!(page, " <small>route <code>{}</code></small>", Text(route))?;
    }
    write!(page, "</td><td>{}</td><td class=num>", shown.stage)?;
    match shown.deadline_in_ms {
        None => page.write_str("none")?,
        Some(0.0) => page.write_str("passed")?,
        Some(left) => write!(page, "in {}", Millis(left))?,
    }
    write!(page, "</td><td class=num>{}</td>", shown.retries)?;
    for text in [&shown.peer, &shown.request_id] {
        write!(
            page,
            "<td class=id><code>{}</code></td>",
            Text(text.as_deref().unwrap_or_default())
        )?;
    }
    page.write_str("</tr>")
}

fn write_failures(page: &mut String, report: &Report) -> fmt::Result {
    let (kept, total) = (report.last_failures.len(), report.failures);
    page.write_str("<section><h2>Failures</h2>")?;
    if total == 0 {
        return page.write_str("<p class=empty>Nothing has failed.</p></section>");
    }
    if (kept as u64) < total {
        write!(page, "<p class=empty>The last {kept} of {total}.</p>")?;
    }
    for (at, past) in report.last_failures.iter().enumerate() {
        write_failure(page, past, at < OPEN_MAX)?;
    }
    page.write_str("</section>")
}

fn write_failure(page: &mut String, past: &PastFailure, is_open: bool) -> fmt::Result {
    let failure = &*past.failure;
    write!(
        page,
        "<details{}><summary><span class=\"badge {}\">{}</span> {} <code>{}</code> \
         <span class=reason>{}</span><span class=when>{}, {} ago</span></summary>",
        if is_open { " open" } else { "" },
        class(failure.fault),
        failure.code,
        failure.kind,
        Text(&failure.target),
        Text(failure.reason.as_deref().unwrap_or_default()),
        Millis(failure.elapsed_ms),
        Millis(past.ago_ms),
    )?;
    if let Some(message) = &failure.message {
        write!(page, "<p>{}</p>", Text(message))?;
    }
    if let Some(account) = &failure.account {
        write!(page, "<p class=account>{}</p>", Text(account))?;
    }
    ledger::write_all(page, &failure.attempts)?;
    write_facts(page, failure, past.at_unix_ms)?;
    page.write_str("</details>")
}

/// Returns the class of a badge.
fn class(fault: Fault) -> &'static str {
    match fault {
        Fault::Service => "fault",
        Fault::Load => "load",
        Fault::Caller | Fault::NoParty => "caller",
    }
}

fn write_facts(page: &mut String, failure: &Failure, at_unix_ms: u64) -> fmt::Result {
    write!(
        page,
        "<dl class=facts><div><dt>delivery</dt><dd>{}</dd></div><div><dt>at</dt><dd>{} UTC</dd></div>\
         <div><dt>request</dt><dd>{} bytes</dd></div>",
        failure.delivery,
        TimeOfDay(at_unix_ms),
        failure.request_bytes
    )?;
    if failure.retries > 0 {
        write!(page, "<div><dt>retries</dt><dd>{}</dd></div>", failure.retries)?;
    }
    for (name, text) in
        [("route", &failure.route), ("request id", &failure.request_id), ("peer", &failure.peer)]
    {
        if let Some(text) = text {
            write!(page, "<div><dt>{name}</dt><dd><code>{}</code></dd></div>", Text(text))?;
        }
    }
    page.write_str("</dl>")
}

fn write_stats(page: &mut String, report: &Report) -> fmt::Result {
    if report.servers.is_empty() && report.clients.is_empty() {
        return Ok(());
    }
    page.write_str("<section><h2>Counts</h2>")?;
    let columns = ["End", "Started", "In flight", "Succeeded", "Failed", "Others"];
    begin_table(page, "Counts", &columns)?;
    for server in &report.servers {
        write_counts(page, "server", &server.url, &server.stats)?;
    }
    for client in &report.clients {
        write_counts(page, "client", &client.name, &client.stats)?;
    }
    end_table(page)?;
    page.write_str("</section>")
}

fn write_counts(page: &mut String, kind: &str, name: &str, stats: &Stats) -> fmt::Result {
    write!(
        page,
        "<tr><td>{kind} <code>{}</code></td><td class=num>{}</td><td class=num>{}</td>\
         <td class=num>{}</td><td class=wide><span class=num>{}</span>",
        Text(name),
        stats.started,
        stats.in_flight,
        stats.succeeded,
        stats.failed,
    )?;
    for (code, count) in stats.failures() {
        let class = class(Fault::of(code, None));
        write!(page, " <span class=\"badge {class}\">{code} {count}</span>")?;
    }
    page.write_str("</td><td class=wide>")?;
    for (at, (name, count)) in stats.others().enumerate() {
        let separator = if at > 0 { ", " } else { "" };
        write!(page, "{separator}{} {count}", name.replace('_', " "))?;
    }
    page.write_str("</td></tr>")
}

fn write_routes(page: &mut String, servers: &[ServerReport]) -> fmt::Result {
    for server in servers {
        write!(page, "<section><h2>Routes of <code>{}</code></h2>", Text(&server.url))?;
        begin_table(page, "Routes", &["Route", "Idempotency"])?;
        for route in &server.routes {
            let (name, idempotency) = (Text(&route.route), route.idempotency);
            write!(page, "<tr><td><code>{name}</code></td><td>{idempotency}</td></tr>")?;
        }
        end_table(page)?;
        if server.routes_left_out > 0 {
            write!(page, "<p class=empty>{} more are not shown.</p>", server.routes_left_out)?;
        }
        page.write_str("</section>")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_flight_and_not_listed_is_counted() {
        let shown = |calls| {
            let operations = Vec::new();
            let report =
                InFlightReport { requests: 0, calls, attempts: 0, left_out: calls, operations };
            let mut page = String::new();
            write_in_flight(&mut page, &report).unwrap();
            page
        };
        let (some, none) = (shown(80_000), shown(0));
        assert!(some.contains("80000 more are not shown."), "{some}");
        assert!(!some.contains("Nothing is in flight."), "{some}");
        assert!(none.contains("Nothing is in flight."), "{none}");
    }

    #[test]
    fn html_is_for_those_who_prefer_it_and_json_for_all_others() {
        let wanted = |accept: &[&'static str]| {
            let mut headers = Headers::new();
            accept.iter().for_each(|value| headers.append("accept", *value).unwrap());
            is_wanted(&headers)
        };
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        assert!(wanted(&[browser]) && wanted(&["*/*", "Text/HTML"]));
        for json in
            ["*/*", "application/json", "text/html;q=0", "application/json, text/html;q=0.9"]
        {
            assert!(!wanted(&[json]), "{json}");
        }
        assert!(!wanted(&[]) && !wanted(&["text/html;q=nonsense"]));
        let mut headers = Headers::new();
        headers.insert("accept", browser).unwrap();
        headers.insert("content-type", "application/json").unwrap();
        assert!(!is_wanted(&headers), "?encoding=json");
    }
}
