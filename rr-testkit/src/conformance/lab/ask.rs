//! The requests of the cases to the lab.

use std::time::Duration;

use rr_spi::{Bytes, Code, Headers, Idempotency, IdempotencyKey, Request, Response, Target};

use super::steering::{self, Steering};
use crate::conformance::RawRequest;

/// Builder of a request to the lab. Each request has a unique key.
#[derive(Clone, Debug)]
pub(in crate::conformance) struct Ask {
    key: String,
    target: Target,
    pub(in crate::conformance) headers: Headers,
    body: Bytes,
    idempotency: Idempotency,
    hops: usize,
}

/// Declares the methods that add one control header to a request.
macro_rules! directives {
    ($(
        $(#[$doc:meta])*
        $name:ident($($arg:ident: $Given:ty)?) sets $header:ident = $value:expr;
    )*) => {$(
        $(#[$doc])*
        pub(in crate::conformance) fn $name(self $(, $arg: $Given)?) -> Self {
            self.set(steering::$header, $value.to_string())
        }
    )*};
}

impl Ask {
    pub(in crate::conformance) fn new(key: String) -> Self {
        let target = Target::try_from("lab.run").expect("the name fits");
        let ask = Self {
            key: key.clone(),
            target,
            headers: Headers::new(),
            body: Bytes::new(),
            idempotency: Idempotency::Unspecified,
            hops: 0,
        };
        ask.set(steering::KEY, key)
    }

    pub(in crate::conformance) fn key(&self) -> &str {
        &self.key
    }

    /// Returns whether an answer is the lab's answer to this request: the request's body, unless
    /// another body was requested, and the request's `x-` headers, if an echo was requested.
    pub(in crate::conformance) fn is_answered_by(&self, response: &Response) -> bool {
        let asked = Steering(&self.headers);
        let body = asked.number(steering::REPLY_BYTES).map(super::pattern);
        let echoed = |(name, value): (&str, &Bytes)| {
            !name.starts_with("x-") || response.headers.iter().any(|got| got == (name, value))
        };
        let is_echo = !asked.has(steering::ECHO) || self.headers.iter().all(echoed);
        is_echo && response.body == body.map_or_else(|| self.body.clone(), Bytes::from)
    }

    /// Returns the number of handler runs per executed call: one plus its hops.
    pub(in crate::conformance) fn runs(&self) -> usize {
        1 + self.hops
    }

    pub(in crate::conformance) fn request(&self) -> Request {
        Request::new(self.target.clone(), self.body.clone())
            .with_headers(self.headers.clone())
            .with_idempotency(self.idempotency.clone())
    }

    /// Returns the request as a foreign peer would write it.
    pub(in crate::conformance) fn raw(&self) -> RawRequest {
        let raw = RawRequest::new(self.target.as_str()).with_body(self.body.clone());
        let headers = self.headers.iter();
        headers.fold(raw, |raw, (name, value)| raw.with_header(name, value.clone()))
    }

    pub(in crate::conformance) fn target(mut self, target: &str) -> Self {
        self.target = Target::parse(target).expect("the name fits");
        self
    }

    pub(in crate::conformance) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(in crate::conformance) fn idempotency(mut self, idempotency: Idempotency) -> Self {
        self.idempotency = idempotency;
        self
    }

    /// Sets an idempotency key: all calls of the request together run at most once.
    pub(in crate::conformance) fn keyed(self, key: &str) -> Self {
        let key = IdempotencyKey::new(key).expect("the key fits");
        self.idempotency(Idempotency::Keyed(key))
    }

    pub(in crate::conformance) fn is_keyed(&self) -> bool {
        matches!(self.idempotency, Idempotency::Keyed(_))
    }

    /// Adds a header of the application.
    pub(in crate::conformance) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, value.to_owned()).expect("the header fits");
        self
    }

    /// Adds a binary header of the application.
    pub(in crate::conformance) fn binary(mut self, name: &'static str, value: Vec<u8>) -> Self {
        self.headers.append_bin(name, value).expect("the header fits");
        self
    }

    directives! {
        sleep(time: Duration) sets SLEEP_MS = time.as_millis();
        hang() sets HANG = "1";
        gate(name: &str) sets GATE = name;
        shield(time: Duration) sets SHIELD_MS = time.as_millis();
        watch() sets WATCH = "1";
        /// Panics before the first await.
        panic_now() sets PANIC = "now";
        /// Panics after an await.
        panic_later() sets PANIC = "later";
        fail(code: Code) sets FAIL = code.as_str();
        message(text: &str) sets MESSAGE = text;
        message_bytes(bytes: usize) sets MESSAGE_BYTES = bytes;
        reason(token: &str) sets REASON = token;
        details(count: usize) sets DETAILS = count;
        /// Requests a retry hint in milliseconds; a negative value requests `Never`.
        retry_ms(millis: i64) sets RETRY_MS = millis;
        /// Requests a retry hint in microseconds, which need not be whole milliseconds.
        retry_us(micros: u64) sets RETRY_US = micros;
        source(text: &str) sets SOURCE = text;
        app_error(left: u32) sets APP = left;
        reply_bytes(bytes: usize) sets REPLY_BYTES = bytes;
        echo() sets ECHO = "1";
        trailers() sets TRAILERS = "1";
        report() sets REPORT = "1";
        onward_timeout(timeout: Duration) sets ONWARD_TIMEOUT_MS = timeout.as_millis();
        expose() sets EXPOSE = "1";
    }

    pub(in crate::conformance) fn details_of(self, count: usize, bytes: usize) -> Self {
        self.details(count).set(steering::DETAIL_BYTES, bytes.to_string())
    }

    pub(in crate::conformance) fn reply_headers(self, entries: usize, bytes: usize) -> Self {
        self.set(steering::REPLY_HEADERS, entries.to_string())
            .set(steering::REPLY_HEADER_BYTES, bytes.to_string())
    }

    pub(in crate::conformance) fn onward(mut self, hops: usize) -> Self {
        self.hops = hops;
        self.set(steering::ONWARD, hops.to_string())
    }

    /// Makes the lab call onward once, to a target that need not exist.
    pub(in crate::conformance) fn onward_to(self, target: &str) -> Self {
        self.onward(1).set(steering::ONWARD_TARGET, target)
    }

    fn set(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.insert(name, value.into()).expect("the header fits");
        self
    }
}
