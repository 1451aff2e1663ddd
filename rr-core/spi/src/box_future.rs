//! Boxed future of the traits, and the traits' implementations for pointers.

use std::future::Future;
use std::pin::Pin;

/// Boxed future, as returned by the traits of this crate.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Writes the method of a [`Requester`](crate::Requester) or a [`Responder`](crate::Responder) as a
/// function that returns its boxed future.
///
/// `async_trait` also writes such a method, but its future stores the request twice, and it boxes a
/// future that is boxed already.
///
/// # Examples
///
/// ```
/// use rr_spi::{Context, Error, Request, Requester, Response, boxed};
///
/// struct Logged<R>(R);
///
/// impl<R: Requester> Requester for Logged<R> {
///     boxed! {
///         fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
///             println!("calling {}", request.target);
///             self.0.request(ctx, request)
///         }
///     }
/// }
/// ```
#[macro_export]
macro_rules! boxed {
    (
        $(#[$attribute:meta])*
        fn $method:ident(&$this:ident, $ctx:ident: &Context, $($request:ident)+: Request)
            -> Result<Response, Error> $body:block
    ) => {
        $(#[$attribute])*
        fn $method<'a, 'c, 'f>(
            &'a $this,
            $ctx: &'c $crate::Context,
            $($request)+: $crate::Request,
        ) -> $crate::BoxFuture<'f, ::core::result::Result<$crate::Response, $crate::Error>>
        where
            'a: 'f,
            'c: 'f,
            Self: 'f,
        $body
    };
}

/// Implements a trait for pointers to an implementor by returning the implementor's boxed future,
/// without a second allocation.
macro_rules! forward_to_pointee {
    ($Trait:ident::$method:ident for $($Pointer:ty),*) => {$(
        impl<T: $Trait + ?Sized> $Trait for $Pointer {
            $crate::boxed! {
                fn $method(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
                    (**self).$method(ctx, request)
                }
            }
        }
    )*};
}

pub(crate) use forward_to_pointee;
