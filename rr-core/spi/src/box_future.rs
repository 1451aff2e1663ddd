//! Boxed future of the traits, and the traits' implementations for pointers.

use std::future::Future;
use std::pin::Pin;

/// Boxed future, as returned by the traits of this crate.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Implements a trait for pointers to an implementor by returning the implementor's boxed future,
/// without a second allocation.
macro_rules! forward_to_pointee {
    ($Trait:ident::$method:ident for $($Pointer:ty),*) => {$(
        impl<T: $Trait + ?Sized> $Trait for $Pointer {
            fn $method<'a, 'c, 'f>(
                &'a self,
                ctx: &'c Context,
                request: Request,
            ) -> $crate::BoxFuture<'f, Result<Response, Error>>
            where
                'a: 'f,
                'c: 'f,
                Self: 'f,
            {
                (**self).$method(ctx, request)
            }
        }
    )*};
}

pub(crate) use forward_to_pointee;
