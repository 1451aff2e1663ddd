//! Grammar of headers, and the names that applications cannot use (docs/src/wire.md#headers).

/// Connect's trailing metadata (unary protocol, "Response"): headers of replies only.
const REPLY_PREFIX: &str = "trailer-";

/// Names that most messages carry; receiving them allocates nothing.
const COMMON: &[&str] = &["content-type", "user-agent", "accept", "authorization"];

/// Names whose values are credentials, and stay out of logs.
const SECRET: &[&str] = &["authorization", "cookie", "set-cookie"];

/// Returns whether a value of this lower-case name must not be shown.
pub(super) fn is_secret(name: &str) -> bool {
    SECRET.contains(&name)
}

/// Returns the static form of a lower-case name that is received often.
pub(super) fn intern(name: &str) -> Option<&'static str> {
    COMMON.iter().copied().find(|common| *common == name)
}

/// Returns the static form of a value that is received often.
pub(super) fn common_value(value: &[u8]) -> Option<&'static [u8]> {
    let json: &[u8] = b"application/json";
    (value == json).then_some(json)
}

/// Returns whether a lower-case name fits the grammar.
pub(crate) fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.bytes().next().is_some_and(plain)
        && name.bytes().all(|byte| plain(byte) || byte == b'-' || byte == b'.')
}

/// Returns whether a value is empty, or printable ASCII without space at the edges.
pub(crate) fn is_text(value: &[u8]) -> bool {
    value.iter().all(|byte| (0x20..0x7f).contains(byte))
        && value.first() != Some(&b' ')
        && value.last() != Some(&b' ')
}

/// Returns whether values of this name are bytes.
pub(crate) fn is_binary(name: &str) -> bool {
    name.ends_with("-bin")
}

/// Returns whether applications may neither set nor see this lower-case name: it belongs to the
/// protocols that rr speaks, to hop-by-hop framing, or to Context and Idempotency.
pub(crate) fn is_reserved(name: &str) -> bool {
    // A `match` compares lengths first. Most headers of an HTTP request are reserved.
    let is_exact = matches!(
        name,
        "rr" | "connection"
            | "keep-alive"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "host"
            | "content-length"
            | "expect"
            | "date"
            | "content-encoding"
            | "accept-encoding"
            | "retry-after"
            | "allow"
            | "traceparent"
            | "tracestate"
            | "baggage"
            | "x-request-id"
            | "idempotency-key"
    );
    let prefixes = ["rr-", "nats-", "connect-", "grpc-", "proxy-"];
    is_exact || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// Returns whether only replies may carry this lower-case name.
pub(super) fn is_of_replies(name: &str) -> bool {
    name.starts_with(REPLY_PREFIX)
}
