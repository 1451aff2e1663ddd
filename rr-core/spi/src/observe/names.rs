//! Names of attributes and instruments: those of the semantic conventions of OpenTelemetry, version
//! 1.42.0, for RPC, and rr's own, which begin with `rr.`.
//!
//! Spans, metrics and their exporters use these names and no others. Prometheus writes them with
//! underscores and with the unit at the end, such as `rpc_server_call_duration_seconds`.

/// The schema of the names that do not begin with `rr.`.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.42.0";

/// The value of [`RPC_SYSTEM_NAME`].
pub const SYSTEM: &str = "rr";

/// The value of [`RPC_METHOD`] for a method that the server does not have, or that has not answered a
/// call yet; also of [`RPC_METHOD`] and [`RR_SERVICE`] for those beyond the number that has names; see
/// [`Measurements`](super::measurements::Measurements).
pub const OTHER: &str = "_OTHER";

/// Attribute: the RPC system.
pub const RPC_SYSTEM_NAME: &str = "rpc.system.name";
/// Attribute: service and method, such as `orders.v1/place`.
pub const RPC_METHOD: &str = "rpc.method";
/// Attribute of spans: the target of a request that no route answers.
pub const RPC_METHOD_ORIGINAL: &str = "rpc.method_original";
/// Attribute: the code of an error in lower snake case, or `ok`.
pub const RPC_RESPONSE_STATUS_CODE: &str = "rpc.response.status_code";
/// Attribute of failures: the reason token of the error, or else its code.
pub const ERROR_TYPE: &str = "error.type";
/// Attribute of spans: the address of the peer of a request.
pub const NETWORK_PEER_ADDRESS: &str = "network.peer.address";
/// Attribute of spans: the port of the peer of a request.
pub const NETWORK_PEER_PORT: &str = "network.peer.port";
/// Event of spans: a panic of a handler.
pub const EXCEPTION: &str = "exception";
/// Attribute of [`EXCEPTION`]: the message.
pub const EXCEPTION_MESSAGE: &str = "exception.message";

/// Attribute of failures: whether the handler may have run.
pub const RR_DELIVERY: &str = "rr.delivery";
/// Attribute of spans: the number of earlier attempts.
pub const RR_RETRIES: &str = "rr.retries";
/// Attribute of spans: where the time of a failed call or attempt went.
pub const RR_ACCOUNT: &str = "rr.account";
/// Attribute of [`CLIENT_RETRY_BUDGET`] and [`CONCURRENCY_LIMIT`]: the service of a target, or the target
/// if it has none.
pub const RR_SERVICE: &str = "rr.service";
/// Attribute of [`CLIENT_EJECTIONS`]: the [`EjectionCause`](super::EjectionCause).
pub const RR_CAUSE: &str = "rr.cause";

/// Bounds of the buckets of durations in seconds, as the conventions advise for durations.
pub const DURATION_BOUNDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Histogram in seconds: calls, with all of their attempts.
pub const CLIENT_CALL_DURATION: &str = "rpc.client.call.duration";
/// Histogram in seconds: requests, from their arrival to their outcome.
pub const SERVER_CALL_DURATION: &str = "rpc.server.call.duration";
/// Histogram in seconds: attempts of calls.
pub const CLIENT_ATTEMPT_DURATION: &str = "rr.client.attempt.duration";
/// Histogram in seconds: requests, from their arrival until the handler was entered.
pub const SERVER_QUEUE_DURATION: &str = "rr.server.queue.duration";
/// Up-down counter: attempts in flight.
pub const CLIENT_IN_FLIGHT: &str = "rr.client.in_flight";
/// Up-down counter: requests in flight.
pub const SERVER_IN_FLIGHT: &str = "rr.server.in_flight";
/// Counter: requests that were refused before their handler ran, by [`ERROR_TYPE`].
pub const SERVER_REFUSED: &str = "rr.server.refused";
/// Counter: attempts that followed a failed one.
pub const CLIENT_RETRIES: &str = "rr.client.retries";
/// Counter: failed attempts that no attempt followed because the retry budget was spent.
pub const CLIENT_RETRIES_REFUSED: &str = "rr.client.retries_refused";
/// Gauge: retries left in the retry budget of a client, when a call last read it.
pub const CLIENT_RETRY_BUDGET: &str = "rr.client.retry_budget";
/// Counter: replies that arrived after their call had ended.
pub const CLIENT_LATE_REPLIES: &str = "rr.client.late_replies";
/// Counter: ejections of endpoints, by [`RR_CAUSE`].
pub const CLIENT_EJECTIONS: &str = "rr.client.ejections";
/// Up-down counter: endpoints that are ejected.
pub const CLIENT_ENDPOINTS_EJECTED: &str = "rr.client.endpoints_ejected";
/// Counter: second requests for calls that took unusually long.
pub const CLIENT_HEDGES: &str = "rr.client.hedges";
/// Counter: second requests whose outcome became that of their call.
pub const CLIENT_HEDGES_WON: &str = "rr.client.hedges_won";
/// Counter: second requests that were not sent because a budget was spent.
pub const CLIENT_HEDGES_REFUSED: &str = "rr.client.hedges_refused";
/// Counter: calls that were held back because their destination refuses or fails most calls.
pub const CLIENT_THROTTLED: &str = "rr.client.throttled";
/// Counter: calls that a limit of calls in flight or of calls per second refused, by [`ERROR_TYPE`].
pub const LIMIT_REFUSED: &str = "rr.limit_refused";
/// Gauge: the number of calls that a limit admits simultaneously, when a call last ended.
pub const CONCURRENCY_LIMIT: &str = "rr.concurrency_limit";
/// Counter: lasting connections that were lost.
pub const DISCONNECTS: &str = "rr.disconnects";
/// Counter: lasting connections that are back.
pub const RECONNECTS: &str = "rr.reconnects";
/// Counter: connections that a server refused during their handshake.
pub const HANDSHAKES_REFUSED: &str = "rr.server.handshakes_refused";
/// Gauge: open connections of one end. Not recorded by an observer: an application that wants it sets
/// it from the figure `connections` of [`Stats`](super::Stats).
pub const CONNECTIONS: &str = "rr.connections";
