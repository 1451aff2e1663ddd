//! The one table of defaults, the same for every transport.

use std::time::Duration;

/// Longest body in bytes, each way: 1 MiB less 32 KiB, so that a body with its headers fits into
/// the 1 MiB that a NATS server allows by default. Larger, and a service could not move to NATS.
pub const BODY_BYTES_MAX: usize = 1024 * 1024 - 32 * 1024;

/// How long a call may take when its context has no deadline. Most calls answer in well under a
/// second; without any default a lost reply would wait for ever.
pub const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a handler may take when the request carried no deadline.
pub const SERVER_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest deadline that a server grants, whatever the request asks for. It bounds how long a
/// request whose caller has vanished can hold its place.
pub const SERVER_TIMEOUT_MAX: Duration = Duration::from_secs(5 * 60);

/// Most requests in flight per server; the next one is refused, never queued.
pub const IN_FLIGHT_MAX: usize = 1024;

/// Most bytes of bodies that one server holds: 64 of the longest, or 64 KiB for each of the most
/// requests in flight.
pub const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Longest wait for one connection to be established.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a drain lets requests in flight finish: less than the 30 s that orchestrators give.
pub const DRAIN_GRACE: Duration = Duration::from_secs(25);

/// Most header entries on one message.
pub const HEADER_ENTRIES_MAX: usize = 64;

/// Most bytes of header names and values together on one message.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Most bytes of an error's message on the wire; longer ones are cut on a character boundary.
pub const ERROR_MESSAGE_BYTES_MAX: usize = 1024;

/// Most bytes of an error's details on the wire, together; whole details are dropped, last first.
pub const ERROR_DETAIL_BYTES_MAX: usize = 8 * 1024;
