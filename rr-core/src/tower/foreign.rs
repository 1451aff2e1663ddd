//! Errors of tower layers and services.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use rr_spi::{Code, Delivery, Error};

/// Error of a tower service, as tower boxes it.
pub(super) type BoxError = Box<dyn StdError + Send + Sync>;

/// Error of a layer, before it has been boxed with others.
pub(super) type Foreign = dyn StdError + Send + Sync + 'static;

/// Codes of errors that are not rr's.
#[derive(Clone)]
pub(super) struct Codes(Option<Arc<Table>>);

type Table = dyn Fn(&Foreign) -> Code + Send + Sync;

impl Codes {
    /// `Unavailable` for every error.
    pub(super) const UNAVAILABLE: Self = Self(None);

    pub(super) fn new(code: impl Fn(&Foreign) -> Code + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(code)))
    }

    /// Converts an error that left the outermost layer. `least` is the delivery of the runs below,
    /// which an error of rr may exceed.
    pub(super) fn convert(&self, error: BoxError, least: Delivery) -> Error {
        let error = match error.downcast::<Error>() {
            Ok(own) => return own.raised_to(least),
            Err(foreign) => foreign,
        };
        let code = self.0.as_ref().map_or(Code::Unavailable, |code| code(&*error));
        Error::failure(code, least, None, "a tower layer or service failed the call")
            .with_hint("see the source of the error for the layer's own text")
            .with_source(Source(error))
    }
}

/// Source of an error: that of the layer.
#[derive(Debug)]
struct Source(BoxError);

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Source {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}
