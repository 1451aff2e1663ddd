//! Defaults, the same for every transport.

use std::time::Duration;

/// Longest body in bytes, each way: 1 MiB less 32 KiB, so that a body with its headers fits into
/// the 1 MiB that a NATS server allows by default. With a larger default, a service could not move
/// to NATS.
pub const BODY_BYTES_MAX: usize = 1024 * 1024 - 32 * 1024;

/// Timeout of a call whose context has no deadline. Most calls take well under a second; without a
/// default, a call whose reply is lost would wait for ever.
pub const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Timeout of a handler whose request carried none.
pub const SERVER_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest timeout that a server grants, regardless of the request. It bounds how long a request
/// whose caller has vanished stays in flight.
pub const SERVER_TIMEOUT_MAX: Duration = Duration::from_secs(5 * 60);

/// Maximum number of requests in flight per server; further requests are refused, never queued.
pub const IN_FLIGHT_MAX: usize = 1024;

/// Maximum number of body bytes that one server holds: 64 bodies of the longest length, or 64 KiB
/// for each of the most requests in flight.
pub const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Longest time to establish one connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time that a drain leaves to requests in flight: less than the 30 s that orchestrators give.
pub const DRAIN_GRACE: Duration = Duration::from_secs(25);

/// Maximum number of header entries on one message.
pub const HEADER_ENTRIES_MAX: usize = 64;

/// Maximum number of bytes of header names and values together on one message.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Maximum number of bytes of an error's message on the wire; longer messages are cut on a
/// character boundary.
pub const ERROR_MESSAGE_BYTES_MAX: usize = 1024;

/// Maximum number of bytes of all details of an error on the wire; whole details are dropped, last
/// first.
pub const ERROR_DETAIL_BYTES_MAX: usize = 8 * 1024;
