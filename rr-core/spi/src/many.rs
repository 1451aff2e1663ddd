//! One request with several replies, for every transport's requester.

mod config;
mod sink;

use std::fmt;
use std::sync::Arc;

use crate::box_future::BoxFuture;
use crate::context::Context;
use crate::error::Error;
use crate::request::Request;
use crate::requester::Requester;

pub use config::ManyConfig;
pub use sink::{ManyReply, ReplySink};

/// Sends one request and receives several replies.
///
/// Applications call `rr_core::many::request_many`.
///
/// # Contract
///
/// * Each reply is handed to the [`ReplySink`], and so is each error that ends only one responder's
///   part. The future's own error ends the collection.
/// * The future may be dropped at any time: it then frees its resources immediately, and cancels
///   handlers that may still run on a best-effort basis.
/// * An error states `NotSent` or `Rejected` only if the request provably ran at none of the
///   responders that it may have reached.
/// * The future ends at the context's deadline, or when the context is cancelled.
/// * [`ManyConfig::replies_max`] and [`ManyConfig::stall`] belong to the receiver, which drops the
///   future. [`ManyConfig::empty_ends`] and the limits on held replies belong to the implementor.
///
/// # For implementors
///
/// The provided method makes one call and hands out its reply. It fits every transport whose requests
/// reach one responder: implement the trait with an empty block. Other transports run the request
/// through [`Attempt`](crate::Attempt), and hand out each reply by [`ReplySink::put`].
///
/// # For wrappers
///
/// Pass on the arguments. A wrapper whose code runs once for each call, such as a stack of
/// [`Middleware`](crate::Middleware), should not implement this trait.
///
/// # Examples
///
/// ```
/// # use rr_spi as rr_core;
/// # mod many { pub use rr_spi::*; }
/// use many::ManyRequester;
/// use rr_core::{Context, Error, Request, Requester, Response, async_trait};
///
/// /// Requester that answers every call itself, for a test.
/// struct Fixed(&'static str);
///
/// #[async_trait]
/// impl Requester for Fixed {
///     async fn request(&self, _: &Context, _: Request) -> Result<Response, Error> {
///         Ok(Response::new(self.0))
///     }
/// }
///
/// /// A request gets one reply.
/// impl ManyRequester for Fixed {}
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not receive several replies to one request",
    note = "middleware handles one reply: pass the requester inside of the stack, or a clone of it",
    note = "a requester whose requests reach one responder implements it by `impl ManyRequester for .. {{}}`"
)]
pub trait ManyRequester: Requester {
    /// Sends one request, hands out its replies, and returns why there are no more.
    ///
    /// # Errors
    ///
    /// The error that ended the collection. If no reply was handed out before, its delivery is that of
    /// the request.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the request.
    fn request_many<'f>(
        &'f self,
        ctx: &'f Context,
        request: Request,
        config: ManyConfig,
        replies: ReplySink,
    ) -> BoxFuture<'f, Result<ManyEnd, Error>> {
        let _ = config;
        Box::pin(async move {
            let response = self.request(ctx, request).await?;
            replies.put(ManyReply::new(Ok(response))).await;
            Ok(ManyEnd::AllAnswered)
        })
    }
}

/// Implements the trait for pointers to an implementor.
macro_rules! forward_many {
    ($($Pointer:ty),*) => {$(
        impl<T: ManyRequester + ?Sized> ManyRequester for $Pointer {
            fn request_many<'f>(
                &'f self,
                ctx: &'f Context,
                request: Request,
                config: ManyConfig,
                replies: ReplySink,
            ) -> BoxFuture<'f, Result<ManyEnd, Error>> {
                (**self).request_many(ctx, request, config, replies)
            }
        }
    )*};
}

forward_many!(Arc<T>, Box<T>, &'static T);

/// Reason why a collection of replies ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ManyEnd {
    /// As many replies came as were wanted.
    Count,
    /// The responder sent an empty message, its mark of the end.
    Sentinel,
    /// No further reply came within [`ManyConfig::stall`].
    Stalled,
    /// The deadline passed. If no reply had come until then, the last item is the error
    /// `DeadlineExceeded`.
    Deadline,
    /// Every responder that was asked has answered or failed.
    AllAnswered,
    /// The last item is an error that ended the collection: the request could not be sent, it was
    /// cancelled, the connection was lost, or more replies were held than the limits allow.
    Failed,
}

impl fmt::Display for ManyEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "as many replies came as were wanted",
            Self::Sentinel => "the responder marked the end",
            Self::Stalled => "no further reply came",
            Self::Deadline => "the deadline passed",
            Self::AllAnswered => "every responder has answered",
            Self::Failed => "an error ended the collection",
        })
    }
}
