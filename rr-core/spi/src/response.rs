//! One response.

use bytes::Bytes;

use crate::headers::Headers;

/// One response: its headers and its body.
///
/// # Examples
///
/// ```
/// let response = rr_spi::Response::new("pong");
/// assert_eq!(response.body, "pong");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// The application's headers.
    pub headers: Headers,
    /// The body, as bytes.
    pub body: Bytes,
}

impl Response {
    /// Makes a response without headers.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { headers: Headers::new(), body: body.into() }
    }

    /// Replaces the headers.
    #[must_use]
    pub fn with_headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn response_and_its_result_stay_small() {
        assert!(size_of::<Response>() <= 48, "{}", size_of::<Response>());
        assert!(size_of::<Result<Response, Error>>() <= 48);
    }
}
