//! One request with several replies: scatter and gather, or a service that answers in pieces.
//!
//! [`request_many`] sends one request and collects its replies until enough came, no further one
//! comes, the service marks the end, or the deadline passes. A typed call does the same by
//! [`Call::many`](crate::call::Call::many).
//!
#![cfg_attr(feature = "json", doc = "```")]
#![cfg_attr(not(feature = "json"), doc = "```ignore")]
//! use std::time::Duration;
//!
//! use rr_core::balance::{Balance, Endpoint};
//! use rr_core::many::{ManyConfig, ManyEnd};
//! use rr_core::{Context, Error, Local, RequesterExt, Router};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rr_core::CallError> {
//! let warehouse = |left: u32| {
//!     let count = move |_: Context, _item: String| async move { Ok::<_, Error>(left) };
//!     Local::new(Router::new().route("stock.left", count))
//! };
//! let warehouses = Balance::new([
//!     Endpoint::new("berlin", warehouse(3)),
//!     Endpoint::new("oslo", warehouse(4)),
//! ])?;
//!
//! let ctx = Context::background().with_timeout(Duration::from_millis(500));
//! let call = warehouses.call::<u32>(&ctx, "stock.left", "lamp");
//! let mut replies = call.many(ManyConfig::default());
//! let mut left = 0;
//! while let Some(reply) = replies.next().await {
//!     match reply {
//!         Ok(count) => left += count,
//!         Err(error) => eprintln!("{:?} did not answer: {error}", replies.endpoint()),
//!     }
//! }
//! assert_eq!((left, replies.end()), (7, Some(ManyEnd::AllAnswered)));
//! # Ok(()) }
//! ```
//!
//! # Who answers
//!
//! | requester | replies |
//! |---|---|
//! | NATS | every server that the NATS server passes the request to: one of each queue group. A service may also answer several times, as those of other libraries do |
//! | [`Balance`](crate::balance::Balance), or a URL with several hosts over HTTP | one of each endpoint. With [`ManyConfig::replies_max`] below the number of endpoints, the request goes to as many endpoints as replies are wanted, and to another one for each that fails |
//! | any other | one |
//!
//! The servers of rr answer each request once. To let several of them answer one request over NATS,
//! give them different queue groups, or none: `nats://host?queue=berlin`, `nats://host?queue=`.
//!
//! # Errors of responders
//!
//! The error of one responder is an item, and other replies may follow. Since the other responders may
//! have run the request, its delivery is `Unknown` or `Processed`, unless there was only one responder.
//! Over a balance, [`Error::attempts`](crate::Error::attempts) has the delivery at the endpoint itself.
//!
//! # Retries and middleware
//!
//! A request with several replies is never sent again, and `Deduplicate` is a matter of each server.
//! Middleware handles one reply, so that a [`Stack`](crate::Stack), such as
//! [`recommended`](crate::recommended) makes, is not a [`ManyRequester`]: pass a clone of the client
//! that is inside, and set headers on the request. Stacks inside of a balance work: each one handles
//! the call of its endpoint.

mod replies;
mod rules;

use rr_spi::{Context, Request};

pub use replies::Replies;
#[doc(inline)]
pub use rr_spi::{ManyConfig, ManyEnd, ManyReply, ManyRequester, ReplySink};

/// Sends one request, and collects its replies.
///
/// The first [`Replies::next`] sends the request. Dropping the replies cancels what is left of it.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), rr_core::Error> {
/// use std::time::Duration;
///
/// use rr_core::many::{ManyConfig, request_many};
/// use rr_core::{Context, Request, connect};
///
/// let client = connect("nats://127.0.0.1").await?;
/// // All replies within half a second, but at most 200 ms after the previous one.
/// let ctx = Context::background().with_timeout(Duration::from_millis(500));
/// let config = ManyConfig::default().with_stall(Duration::from_millis(200));
/// let request = Request::new("nodes.status".try_into()?, "");
/// let mut replies = request_many(&client, &ctx, request, config);
/// while let Some(reply) = replies.next().await {
///     println!("{:?}", reply?.body);
/// }
/// println!("{} nodes: {:?}", replies.count(), replies.end());
/// # Ok(()) }
/// ```
pub fn request_many<'a, R: ManyRequester + ?Sized>(
    requester: &'a R,
    ctx: &'a Context,
    request: Request,
    config: ManyConfig,
) -> Replies<'a> {
    Replies::new(requester, ctx, Ok(request), config)
}
