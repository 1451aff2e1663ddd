//! curl: what the server answers to single requests.

use crate::check::{Outcome, ensure};
use crate::curl::{Curl, Expected};

/// What `/ping` answers.
const HELLO: &[u8] = b"Hello from the server!\n";

/// Makes curl speak HTTP/2 without asking first.
pub(crate) const H2: &str = "--http2-prior-knowledge";

/// Bytes of a body that takes many reads.
const LARGE: usize = 900 * 1024;

checks! {
    get_ping_is_not_stored: get_ping();
    head_ping_has_the_length_of_get: head_ping(&[]);
    head_ping_has_the_length_of_get_over_http_2: head_ping(&[H2]);
    post_ping_may_be_stored: post_ping();
    get_ping_is_answered_over_http_2: over(&[H2], "2");
    post_ping_is_answered_over_http_2: over(&[H2, "--request", "POST"], "2");
    get_ping_is_answered_over_http_1_0: over(&["--http1.0"], "1");
    echo_is_answered_over_http_1_0: echo(5, &["--http1.0"]);
    upgrade_to_http_2_is_not_needed: over(&["--http2"], "");
    nothing_is_echoed: echo(0, &[]);
    echo_of_900_kib_each_way: echo(LARGE, &["--http1.1"]);
    echo_of_900_kib_each_way_over_http_2: echo(LARGE, &[H2]);
    echo_of_900_kib_chunked: echo(LARGE, &["--header", "transfer-encoding: chunked"]);
    echo_of_900_kib_after_100_continue: echo(LARGE, &["--header", "expect: 100-continue"]);
    times_of_the_handler_are_stated_when_asked_for: times();
    typed_call_is_answered: greet("content-type: application/json");
    content_type_may_have_a_parameter: greet("content-type: Application/JSON; Charset=UTF-8");
    content_type_may_be_absent: greet("content-type:");
    application_error_has_one_detail: application_error();
    malformed_json_is_rejected: malformed_json();
    other_content_type_is_unsupported: unsupported("/greeter.v1/Greet", "content-type: application/proto");
    grpc_content_type_is_unsupported: unsupported("/echo", "content-type: application/grpc+proto");
    connect_get_of_a_safe_method_is_answered: connect_get();
    unknown_path_is_unimplemented: unknown("/nowhere");
    unknown_method_of_a_service_is_unimplemented: unknown("/greeter.v1/Nothing");
    path_in_the_wrong_case_is_unimplemented: unknown("/Ping");
    get_of_a_method_not_declared_safe_is_refused: wrong_verb(&[], "unknown");
    put_is_refused: wrong_verb(&["--request", "PUT"], "rejected");
    unknown_content_encoding_names_gzip: unknown_encoding();
    unknown_protocol_version_is_rejected: unknown_version();
    long_reply_comes_in_gzip: compressed(LARGE, "gzip", Some("gzip"), "--http1.1");
    long_reply_comes_in_gzip_over_http_2: compressed(LARGE, "gzip", Some("gzip"), H2);
    long_reply_comes_in_zstd: compressed(LARGE, "gzip, zstd", Some("zstd"), "--http1.1");
    reply_of_1_kib_comes_in_zstd_over_http_2: compressed(1024, "deflate, zstd", Some("zstd"), H2);
    shorter_reply_comes_as_it_is: compressed(1023, "gzip, zstd", None, "--http1.1");
    reply_comes_as_it_is_if_gzip_is_excluded: compressed(LARGE, "gzip;q=0", None, "--http1.1");
}

fn get_ping() -> Outcome {
    let curl = Curl::start()?;
    let reply = curl.call("/ping", &[])?;
    reply.is_ok(HELLO)?;
    reply.has_header("content-type", Some("text/plain; charset=utf-8"))?;
    reply.has_header("cache-control", Some("no-store"))
}

fn times() -> Outcome {
    let curl = Curl::start()?;
    let reply = curl.call("/ping", &["--request", "POST", "--header", "rr: s=1"])?;
    let spent = reply.header("rr-spent").and_then(|value| value.split_once(','));
    let is_number = |text: &str| text.parse::<u64>().is_ok();
    ensure(spent.is_some_and(|(queue, handler)| is_number(queue) && is_number(handler)), || {
        format!("expected rr-spent to be two numbers: {}", reply.seen())
    })
}

fn head_ping(options: &[&str]) -> Outcome {
    let curl = Curl::start()?;
    let reply = curl.call("/ping", &[&["--head"], options].concat())?;
    reply.is_ok(b"")?;
    // What GET would have sent (RFC 9110 §9.3.2).
    reply.has_header("content-length", Some(&HELLO.len().to_string()))
}

fn post_ping() -> Outcome {
    let curl = Curl::start()?;
    let reply = curl.call("/ping", &["--request", "POST"])?;
    reply.is_ok(HELLO)?;
    reply.has_header("cache-control", None)
}

fn over(options: &[&str], version: &str) -> Outcome {
    let curl = Curl::start()?;
    let reply = curl.call("/ping", options)?;
    reply.is_ok(HELLO)?;
    ensure(reply.version.starts_with(version), || reply.seen())
}

fn echo(bytes: usize, options: &[&str]) -> Outcome {
    let curl = Curl::start()?;
    let body = pattern(bytes);
    let reply = curl.post("/echo", &body, options)?;
    reply.is_ok(&body)?;
    reply.has_header("content-type", Some("application/x-blob"))
}

/// Bytes that do not repeat within a block of the transport.
pub(crate) fn pattern(bytes: usize) -> Vec<u8> {
    let next = |state: &u32| Some(state.wrapping_mul(1_103_515_245).wrapping_add(12_345));
    let states = std::iter::successors(Some(1_u32), next);
    states.map(|state| state.to_be_bytes()[1]).take(bytes).collect()
}

fn greet(content_type: &str) -> Outcome {
    let curl = Curl::start()?;
    let options = ["--header", content_type, "--data-binary", r#"{"name":"curl"}"#];
    let reply = curl.call("/greeter.v1/Greet", &options)?;
    ensure(reply.status == 200, || reply.seen())?;
    let is_json = reply
        .header("content-type")
        .is_some_and(|seen| seen.to_ascii_lowercase().starts_with("application/json"));
    ensure(is_json, || format!("expected a JSON content type: {}", reply.seen()))?;
    ensure(reply.document() == serde_json::json!({ "greeting": "Hello, curl!" }), || reply.seen())
}

fn application_error() -> Outcome {
    let curl = Curl::start()?;
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
    ensure(value.starts_with("eyJoaW50Ij") && !value.ends_with('='), || reply.seen())?;
    // The same value for people.
    ensure(detail["debug"]["hint"].is_string(), || reply.seen())
}

fn malformed_json() -> Outcome {
    let curl = Curl::start()?;
    let reply = curl.json("/greeter.v1/Greet", r#"{"name":"#, &[])?;
    reply.is_error(&Expected {
        status: 400,
        code: "invalid_argument",
        reason: Some("decode"),
        delivery: "rejected",
    })
}

fn unsupported(path: &str, header: &str) -> Outcome {
    let reply = Curl::start()?.call(path, &["--header", header, "--data", "x"])?;
    reply.is_error(&Expected {
        status: 415,
        code: "unimplemented",
        reason: Some("codec"),
        delivery: "rejected",
    })
}

fn connect_get() -> Outcome {
    let curl = Curl::start()?;
    let reply = curl.call("/demo/Stats?message=%7B%7D&encoding=json&connect=v1&other=1", &[])?;
    ensure(reply.status == 200 && reply.document()["started"].is_u64(), || reply.seen())?;
    reply.has_header("content-type", Some("application/json"))?;
    reply.has_header("cache-control", Some("no-store"))
}

fn unknown(path: &str) -> Outcome {
    let curl = Curl::start()?;
    let reply = curl.call(path, &["--request", "POST"])?;
    reply.is_error(&Expected {
        status: 404,
        code: "unimplemented",
        reason: Some("no-such-target"),
        delivery: "rejected",
    })
}

/// A proxy may have repeated a GET, so that its refusal claims nothing of the handler.
fn wrong_verb(options: &[&str], delivery: &str) -> Outcome {
    let curl = Curl::start()?;
    let reply = curl.call("/echo", options)?;
    ensure(reply.status == 405, || format!("expected 405: {}", reply.seen()))?;
    reply.has_header("allow", Some("POST"))?;
    reply.has_header("rr-delivery", Some(delivery))?;
    reply.is_text()
}

fn unknown_encoding() -> Outcome {
    let curl = Curl::start()?;
    let reply = curl.post("/echo", b"squeezed", &["--header", "content-encoding: br"])?;
    reply.has_header("rr-code", Some("unimplemented"))?;
    reply.has_header("rr-delivery", Some("rejected"))?;
    let message = reply.document()["message"].as_str().unwrap_or_default().to_owned();
    ensure(message.contains("gzip"), || format!("expected the message to list gzip: {message}"))
}

/// Echoes text, which curl decompresses.
fn compressed(length: usize, accepted: &str, coding: Option<&str>, version: &str) -> Outcome {
    let curl = Curl::start_compressing()?;
    let text: String =
        (0..length / 5).map(|at| format!("{at},")).collect::<String>() + &"x".repeat(length);
    let text = &text.as_bytes()[..length];
    let accept = format!("accept-encoding: {accepted}");
    let options =
        ["--compressed", "--header", &accept, "--header", "content-type: text/plain", version];
    let reply = curl.text("/echo", text, &options)?;
    ensure(reply.body == text, || format!("the text does not come back: {}", reply.seen()))?;
    reply.has_header("content-encoding", coding)
}

fn unknown_version() -> Outcome {
    let curl = Curl::start()?;
    let reply = curl.json("/demo/Stats", "{}", &["--header", "connect-protocol-version: 2"])?;
    reply.is_error(&Expected {
        status: 400,
        code: "invalid_argument",
        reason: None,
        delivery: "rejected",
    })
}
