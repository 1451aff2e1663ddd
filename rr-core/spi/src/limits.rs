//! Body limits, checked the same way by every transport.

use crate::defaults;
use crate::error::{Code, Delivery, Error, Reason};
use crate::request::Request;
use crate::response::Response;

crate::options! {
    /// Longest bodies, in bytes, that one side sends and accepts.
    ///
    /// Larger bodies need higher limits at both ends. Two other limits hold as well: a server holds
    /// at most [`bodies_bytes_max`](crate::IntakeConfig::bodies_bytes_max) at a time, and a broker
    /// may accept less than both ends, such as a NATS server, whose `max_payload` is 1 MiB by
    /// default, headers included.
    #[derive(Copy)]
    pub struct Limits {
        /// Longest request body in bytes, decoded. Default 1 MiB less 32 KiB; 0 allows only empty
        /// bodies.
        pub request_bytes_max: usize = defaults::BODY_BYTES_MAX, with_request_bytes_max(usize);
        /// Longest response body in bytes. Default 1 MiB less 32 KiB; 0 allows only empty bodies.
        pub response_bytes_max: usize = defaults::BODY_BYTES_MAX, with_response_bytes_max(usize);
    }
}

impl Limits {
    /// Checks a request before it is sent.
    ///
    /// # Errors
    ///
    /// `ResourceExhausted`, not sent, `request-too-large`, when the body is over the limit;
    /// `InvalidArgument`, not sent, when there is a `trailer-` header, which only replies may
    /// carry.
    pub fn check_outgoing(&self, request: &Request) -> Result<(), Error> {
        if let Some(name) = request.headers.reply_only() {
            let message = format!("header name `{name}` is reserved for replies");
            return Err(Error::invalid_argument(message));
        }
        if request.body.len() <= self.request_bytes_max {
            return Ok(());
        }
        Err(self.request_too_large(Delivery::NotSent).into_failure())
    }

    /// Checks a response that has arrived.
    ///
    /// # Errors
    ///
    /// `ResourceExhausted`, processed, `response-too-large`, when the body is over the limit.
    pub fn check_incoming(&self, response: &Response) -> Result<(), Error> {
        if response.body.len() <= self.response_bytes_max {
            return Ok(());
        }
        Err(self.response_too_large().into_failure())
    }

    /// Makes the error for a request over the limit.
    #[must_use]
    pub fn request_too_large(&self, delivery: Delivery) -> Error {
        Error::failure(
            Code::ResourceExhausted,
            delivery,
            Reason::REQUEST_TOO_LARGE,
            format!("the request is larger than {} bytes", self.request_bytes_max),
        )
    }

    /// Makes the error for a response over the limit; the handler has run.
    #[must_use]
    pub fn response_too_large(&self) -> Error {
        Error::failure(
            Code::ResourceExhausted,
            Delivery::Processed,
            Reason::RESPONSE_TOO_LARGE,
            format!("the response is larger than {} bytes", self.response_bytes_max),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_the_limit_passes_and_one_byte_more_does_not() {
        let limits = Limits::default().with_request_bytes_max(2).with_response_bytes_max(3);
        let request = |body: &'static str| Request::new("t".try_into().unwrap(), body);
        limits.check_outgoing(&request("ab")).unwrap();
        assert_eq!(
            limits.check_outgoing(&request("abc")).unwrap_err().delivery(),
            Delivery::NotSent
        );
        let mut trailing = request("");
        trailing.headers.insert("trailer-x", "1").unwrap();
        let error = limits.check_outgoing(&trailing).unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::NotSent));
        limits.check_incoming(&Response::new("abc")).unwrap();
        let error = limits.check_incoming(&Response::new("abcd")).unwrap_err();
        assert_eq!(error.delivery(), Delivery::Processed);
    }
}
