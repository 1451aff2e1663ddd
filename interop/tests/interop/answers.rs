//! curl: what the server answers to single requests.

use super::curl::{Curl, Expected, Reply};
use super::{Report, ensure};
use crate::command::Outcome;

/// What `/ping` answers.
const HELLO: &[u8] = b"Hello from the server!\n";

/// Makes curl speak HTTP/2 without asking first.
const H2: &str = "--http2-prior-knowledge";

/// Runs all checks of this file.
pub(super) fn check(curl: &Curl, report: &mut Report) {
    report.check("curl: GET /ping", get_ping(curl));
    report.check("curl: HEAD /ping", head_ping(curl, &[]));
    report.check("curl: HEAD /ping, HTTP/2", head_ping(curl, &[H2]));
    report.check("curl: POST /ping", post_ping(curl));
    report.check("curl: GET /ping, HTTP/2", over(curl, &[H2], "2"));
    report.check("curl: POST /ping, HTTP/2", over(curl, &[H2, "--request", "POST"], "2"));
    report.check("curl: GET /ping, HTTP/1.0", over(curl, &["--http1.0"], "1"));
    report.check("curl: POST /echo, HTTP/1.0", echo(curl, 5, &["--http1.0"]));
    report.check("curl: upgrade to HTTP/2 is not needed", over(curl, &["--http2"], ""));
    report.check("curl: POST /echo, empty", echo(curl, 0, &[]));
    for (name, option) in [("HTTP/1.1", "--http1.1"), ("HTTP/2", H2)] {
        let large = echo(curl, 900 * 1024, &[option]);
        report.check(&format!("curl: POST /echo, 900 KiB each way, {name}"), large);
    }
    let chunked = ["--header", "transfer-encoding: chunked"];
    report.check("curl: POST /echo, 900 KiB chunked", echo(curl, 900 * 1024, &chunked));
    let expect = ["--header", "expect: 100-continue"];
    report.check("curl: POST /echo, 100 Continue", echo(curl, 900 * 1024, &expect));
    report.check("curl: POST Greet, typed", greet(curl, "content-type: application/json"));
    let charset = "content-type: Application/JSON; Charset=UTF-8";
    report.check("curl: POST Greet, content type with a parameter", greet(curl, charset));
    report.check("curl: POST Greet, no content type", greet(curl, "content-type:"));
    report.check("curl: POST Greet, application error", application_error(curl));
    report.check("curl: POST Greet, malformed JSON", malformed_json(curl));
    report.check("curl: POST Greet, other content type", other_content_type(curl));
    report.check("curl: POST /echo, gRPC content type", grpc(curl));
    report.check("curl: Connect GET of a safe method", connect_get(curl));
    report.check("curl: unknown path", unknown(curl, "/nowhere"));
    report.check("curl: unknown method of a service", unknown(curl, "/greeter.v1/Nothing"));
    report.check("curl: a path in the wrong case", unknown(curl, "/Ping"));
    report.check("curl: GET of a method not declared safe", wrong_verb(curl, &[], "unknown"));
    report.check("curl: PUT", wrong_verb(curl, &["--request", "PUT"], "rejected"));
    report.check("curl: unknown content encoding", unknown_encoding(curl));
    report.check("curl: unknown protocol version", unknown_version(curl));
}

fn get_ping(curl: &Curl) -> Outcome {
    let reply = curl.call("/ping", &[])?;
    reply.is_ok(HELLO)?;
    reply.has_header("content-type", Some("text/plain; charset=utf-8"))?;
    reply.has_header("cache-control", Some("no-store"))
}

fn head_ping(curl: &Curl, options: &[&str]) -> Outcome {
    let reply = curl.call("/ping", &[&["--head"], options].concat())?;
    reply.is_ok(b"")?;
    // What GET would have sent (RFC 9110 §9.3.2).
    reply.has_header("content-length", Some(&HELLO.len().to_string()))
}

fn post_ping(curl: &Curl) -> Outcome {
    let reply = curl.call("/ping", &["--request", "POST"])?;
    reply.is_ok(HELLO)?;
    reply.has_header("cache-control", None)
}

fn over(curl: &Curl, options: &[&str], version: &str) -> Outcome {
    let reply = curl.call("/ping", options)?;
    reply.is_ok(HELLO)?;
    ensure(reply.version.starts_with(version), || reply.seen())
}

fn echo(curl: &Curl, bytes: usize, options: &[&str]) -> Outcome {
    let body = pattern(bytes);
    let reply = curl.post("/echo", &body, options)?;
    reply.is_ok(&body)?;
    reply.has_header("content-type", Some("application/x-blob"))
}

/// Bytes that do not repeat within a block of the transport.
pub(super) fn pattern(bytes: usize) -> Vec<u8> {
    let next = |state: &u32| Some(state.wrapping_mul(1_103_515_245).wrapping_add(12_345));
    let states = std::iter::successors(Some(1_u32), next);
    states.map(|state| state.to_be_bytes()[1]).take(bytes).collect()
}

fn greet(curl: &Curl, content_type: &str) -> Outcome {
    let options = ["--header", content_type, "--data-binary", r#"{"name":"curl"}"#];
    let reply = curl.call("/greeter.v1/Greet", &options)?;
    ensure(reply.status == 200, || reply.seen())?;
    let is_json = reply
        .header("content-type")
        .is_some_and(|seen| seen.to_ascii_lowercase().starts_with("application/json"));
    ensure(is_json, || format!("expected a JSON content type: {}", reply.seen()))?;
    ensure(reply.document() == serde_json::json!({ "greeting": "Hello, curl!" }), || reply.seen())
}

fn application_error(curl: &Curl) -> Outcome {
    let reply = curl.json("/greeter.v1/Greet", r#"{"name":""}"#, &[])?;
    reply.is_error(&Expected {
        status: 400,
        code: "failed_precondition",
        reason: Some("app"),
        delivery: "processed",
    })?;
    let document = reply.document();
    let details = document["details"].as_array().map_or(0, Vec::len);
    ensure(details == 1, || format!("expected one detail: {}", reply.seen()))?;
    let detail = &document["details"][0];
    ensure(detail["type"] == "greeter.v1.NoName", || reply.seen())?;
    // `{"hint":` in base64, up to what the next byte decides.
    let value = detail["value"].as_str().unwrap_or_default();
    ensure(value.starts_with("eyJoaW50Ij") && !value.ends_with('='), || reply.seen())
}

fn malformed_json(curl: &Curl) -> Outcome {
    let reply = curl.json("/greeter.v1/Greet", r#"{"name":"#, &[])?;
    reply.is_error(&Expected {
        status: 400,
        code: "invalid_argument",
        reason: Some("decode"),
        delivery: "rejected",
    })
}

fn other_content_type(curl: &Curl) -> Outcome {
    let header = ["--header", "content-type: application/proto"];
    let reply = curl.call("/greeter.v1/Greet", &[&header[..], &["--data", "x"]].concat())?;
    unsupported(&reply)
}

fn grpc(curl: &Curl) -> Outcome {
    let header = ["--header", "content-type: application/grpc+proto"];
    unsupported(&curl.call("/echo", &[&header[..], &["--data", "x"]].concat())?)
}

fn unsupported(reply: &Reply) -> Outcome {
    reply.is_error(&Expected {
        status: 415,
        code: "unimplemented",
        reason: Some("codec"),
        delivery: "rejected",
    })
}

fn connect_get(curl: &Curl) -> Outcome {
    let reply = curl.call("/demo/Stats?message=%7B%7D&encoding=json&connect=v1&other=1", &[])?;
    ensure(reply.status == 200 && reply.document()["started"].is_u64(), || reply.seen())?;
    reply.has_header("content-type", Some("application/json"))?;
    reply.has_header("cache-control", Some("no-store"))
}

fn unknown(curl: &Curl, path: &str) -> Outcome {
    let reply = curl.call(path, &["--request", "POST"])?;
    reply.is_error(&Expected {
        status: 404,
        code: "unimplemented",
        reason: Some("no-such-target"),
        delivery: "rejected",
    })
}

/// A proxy may have repeated a GET, so that its refusal claims nothing of the handler.
fn wrong_verb(curl: &Curl, options: &[&str], delivery: &str) -> Outcome {
    let reply = curl.call("/echo", options)?;
    ensure(reply.status == 405, || format!("expected 405: {}", reply.seen()))?;
    reply.has_header("allow", Some("POST"))?;
    reply.has_header("rr-delivery", Some(delivery))?;
    reply.is_text()
}

fn unknown_encoding(curl: &Curl) -> Outcome {
    let reply = curl.post("/echo", b"squeezed", &["--header", "content-encoding: br"])?;
    reply.has_header("rr-code", Some("unimplemented"))?;
    reply.has_header("rr-delivery", Some("rejected"))?;
    let message = reply.document()["message"].as_str().unwrap_or_default().to_owned();
    ensure(message.contains("gzip"), || format!("expected the message to list gzip: {message}"))
}

fn unknown_version(curl: &Curl) -> Outcome {
    let reply = curl.json("/demo/Stats", "{}", &["--header", "connect-protocol-version: 2"])?;
    reply.is_error(&Expected {
        status: 400,
        code: "invalid_argument",
        reason: None,
        delivery: "rejected",
    })
}
