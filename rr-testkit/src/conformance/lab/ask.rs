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

    pub(in crate::conformance) fn sleep(self, time: Duration) -> Self {
        self.set(steering::SLEEP_MS, time.as_millis().to_string())
    }

    pub(in crate::conformance) fn hang(self) -> Self {
        self.set(steering::HANG, "1")
    }

    pub(in crate::conformance) fn gate(self, name: &str) -> Self {
        self.set(steering::GATE, name)
    }

    pub(in crate::conformance) fn shield(self, time: Duration) -> Self {
        self.set(steering::SHIELD_MS, time.as_millis().to_string())
    }

    pub(in crate::conformance) fn watch(self) -> Self {
        self.set(steering::WATCH, "1")
    }

    /// Panics before the first await.
    pub(in crate::conformance) fn panic_now(self) -> Self {
        self.set(steering::PANIC, "now")
    }

    /// Panics after an await.
    pub(in crate::conformance) fn panic_later(self) -> Self {
        self.set(steering::PANIC, "later")
    }

    pub(in crate::conformance) fn fail(self, code: Code) -> Self {
        self.set(steering::FAIL, code.as_str())
    }

    pub(in crate::conformance) fn message(self, text: &str) -> Self {
        self.set(steering::MESSAGE, text)
    }

    pub(in crate::conformance) fn message_bytes(self, bytes: usize) -> Self {
        self.set(steering::MESSAGE_BYTES, bytes.to_string())
    }

    pub(in crate::conformance) fn reason(self, token: &str) -> Self {
        self.set(steering::REASON, token)
    }

    pub(in crate::conformance) fn details(self, count: usize) -> Self {
        self.set(steering::DETAILS, count.to_string())
    }

    pub(in crate::conformance) fn details_of(self, count: usize, bytes: usize) -> Self {
        self.details(count).set(steering::DETAIL_BYTES, bytes.to_string())
    }

    /// Requests a retry hint in milliseconds; a negative value requests `Never`.
    pub(in crate::conformance) fn retry_ms(self, millis: i64) -> Self {
        self.set(steering::RETRY_MS, millis.to_string())
    }

    /// Requests a retry hint in microseconds, which need not be whole milliseconds.
    pub(in crate::conformance) fn retry_us(self, micros: u64) -> Self {
        self.set(steering::RETRY_US, micros.to_string())
    }

    pub(in crate::conformance) fn source(self, text: &str) -> Self {
        self.set(steering::SOURCE, text)
    }

    pub(in crate::conformance) fn app_error(self, left: u32) -> Self {
        self.set(steering::APP, left.to_string())
    }

    pub(in crate::conformance) fn reply_bytes(self, bytes: usize) -> Self {
        self.set(steering::REPLY_BYTES, bytes.to_string())
    }

    pub(in crate::conformance) fn reply_headers(self, entries: usize, bytes: usize) -> Self {
        self.set(steering::REPLY_HEADERS, entries.to_string())
            .set(steering::REPLY_HEADER_BYTES, bytes.to_string())
    }

    pub(in crate::conformance) fn echo(self) -> Self {
        self.set(steering::ECHO, "1")
    }

    pub(in crate::conformance) fn trailers(self) -> Self {
        self.set(steering::TRAILERS, "1")
    }

    pub(in crate::conformance) fn report(self) -> Self {
        self.set(steering::REPORT, "1")
    }

    pub(in crate::conformance) fn onward(mut self, hops: usize) -> Self {
        self.hops = hops;
        self.set(steering::ONWARD, hops.to_string())
    }

    /// Makes the lab call onward once, to a target that need not exist.
    pub(in crate::conformance) fn onward_to(self, target: &str) -> Self {
        self.onward(1).set(steering::ONWARD_TARGET, target)
    }

    pub(in crate::conformance) fn onward_timeout(self, timeout: Duration) -> Self {
        self.set(steering::ONWARD_TIMEOUT_MS, timeout.as_millis().to_string())
    }

    pub(in crate::conformance) fn expose(self) -> Self {
        self.set(steering::EXPOSE, "1")
    }

    fn set(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.insert(name, value.into()).expect("the header fits");
        self
    }
}
