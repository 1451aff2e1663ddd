//! Typed calls, which another crate provides as closures.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use rr_spi::{AppError, BoxFuture, Code, Context, Error, Requester, Routes};
use serde::{Deserialize, Serialize};

/// Typed calls of another crate, for the cases that compare them with raw calls.
///
/// # Examples
///
/// With rr-core:
///
/// ```ignore
/// let turned = |parcel: Parcel| async { parcel.turned() };
/// let routes = move || Router::new().route(Typed::TARGET, turned).into();
/// Typed::new(routes, |client, ctx, parcel| async move {
///     client.call(&ctx, Typed::TARGET, &parcel).await.map_err(|error: CallError| error.into())
/// })
/// ```
#[derive(Clone)]
pub struct Typed {
    routes: Arc<dyn Fn() -> Routes + Send + Sync>,
    call: Arc<Call>,
}

type Call = dyn Fn(Arc<dyn Requester>, Context, Parcel) -> BoxFuture<'static, Result<Parcel, Error>>
    + Send
    + Sync;

impl Typed {
    /// The target of the typed responder.
    pub const TARGET: &'static str = "lab.typed";

    /// Makes typed calls from two functions: `routes` returns a responder from [`Parcel`] to
    /// [`Parcel`] at [`Typed::TARGET`] that answers with [`Parcel::turned`]; `call` calls that
    /// responder. Bodies are JSON.
    pub fn new<F>(
        routes: impl Fn() -> Routes + Send + Sync + 'static,
        call: impl Fn(Arc<dyn Requester>, Context, Parcel) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Parcel, Error>> + Send + 'static,
    {
        let call = move |client, ctx, parcel| -> BoxFuture<'static, _> {
            Box::pin(call(client, ctx, parcel))
        };
        Self { routes: Arc::new(routes), call: Arc::new(call) }
    }

    pub(super) fn routes(&self) -> Routes {
        (self.routes)()
    }

    pub(super) async fn call(
        &self,
        client: &Arc<dyn Requester>,
        ctx: &Context,
        parcel: Parcel,
    ) -> Result<Parcel, Error> {
        (self.call)(Arc::clone(client), ctx.clone(), parcel).await
    }
}

impl fmt::Debug for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed").finish_non_exhaustive()
    }
}

/// Request and response body of typed calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Parcel {
    /// Text of any characters.
    pub text: String,
    /// Numbers of any size.
    pub numbers: Vec<i64>,
    /// An optional value.
    pub note: Option<String>,
}

impl Parcel {
    /// Returns the parcel with its numbers in reverse order, the answer of the typed responder.
    ///
    /// # Errors
    ///
    /// [`Refusal`], when the parcel has no numbers.
    pub fn turned(mut self) -> Result<Self, Refusal> {
        if self.numbers.is_empty() {
            return Err(Refusal { left: 2 });
        }
        self.numbers.reverse();
        Ok(self)
    }
}

/// Application error of the suite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Refusal {
    /// Number that selects the code: `NotFound` for 0, else `FailedPrecondition`.
    pub left: u32,
}

impl Refusal {
    pub(super) fn new(left: u32) -> Self {
        Self { left }
    }
}

impl AppError for Refusal {
    const TYPE: &'static str = "rr.lab.Refusal";

    fn code(&self) -> Code {
        if self.left == 0 { Code::NotFound } else { Code::FailedPrecondition }
    }

    fn message(&self) -> Cow<'static, str> {
        format!("{} left", self.left).into()
    }
}
