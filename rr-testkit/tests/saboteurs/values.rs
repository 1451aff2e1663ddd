//! Requests, responses and errors, changed on their way.

use std::sync::atomic::Ordering;

use rr_spi::{Bytes, Code, Delivery, Error, Headers, Idempotency, Reason, Request, Response};

use crate::requester::BrokenRequester;
use crate::table::Sabotage::{self, *};

/// Changes a request on its way out.
pub(crate) fn outgoing(sabotage: Sabotage, mut request: Request) -> Request {
    let entries: Vec<(String, Bytes)> =
        request.headers.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
    let own = |name: &str| name.starts_with("x-");
    match sabotage {
        LosesTheLastHeader => {
            if let Some((name, _)) = entries.iter().rev().find(|(name, _)| own(name)) {
                request.headers.remove(name);
            }
        }
        ReversesHeaders => request.headers = headers(entries.into_iter().rev()),
        MergesRepeatedNames => {
            let mut merged: Vec<(String, Bytes)> = Vec::new();
            for (name, value) in entries {
                match merged.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, first)) => *first = [&first[..], b",", &value[..]].concat().into(),
                    None => merged.push((name, value)),
                }
            }
            request.headers = headers(merged);
        }
        LosesTheKey => request.idempotency = Idempotency::Unspecified,
        CutsAt64Kib => request.body.truncate(64 * 1024),
        PadsEmptyBodies if request.body.is_empty() => request.body = "{}".into(),
        _ => {}
    }
    request
}

/// Changes a response on its way in.
pub(crate) fn incoming(sabotage: Sabotage, mut response: Response) -> Response {
    match sabotage {
        LosesReplyHeaders => response.headers = Headers::new(),
        HidesDeduplication => return response.with_dedup(None),
        _ => {}
    }
    response
}

impl BrokenRequester {
    /// Changes an error on its way in.
    pub(crate) fn failed(&self, error: Error) -> Error {
        let copy = |code, delivery, reason: Option<Reason>, message: String| {
            let copy = Error::failure(code, delivery, reason, message)
                .with_headers(error.headers().clone())
                .with_origin(error.origin());
            error.details().iter().cloned().fold(copy, Error::with_detail).with_retry(error.retry())
        };
        let (code, delivery) = (error.code(), error.delivery());
        let (reason, message) = (error.reason().cloned(), error.message().to_owned());
        match self.sabotage {
            ClaimsNotSent => copy(code, Delivery::NotSent, reason, message),
            CallsItCanceled if code == Code::DeadlineExceeded => {
                copy(Code::Canceled, delivery, reason, message)
            }
            MakesEveryCodeUnknown => copy(Code::Unknown, delivery, reason, message),
            LosesReasons => copy(code, delivery, None, message),
            LosesDetails => Error::failure(code, delivery, reason, message),
            LeaksThePanic if reason == Some(Reason::PANIC) => {
                copy(code, delivery, reason, "panicked: secret-of-the-panic".to_owned())
            }
            RefusesAsInternal if delivery.is_unexecuted() => {
                copy(Code::Internal, delivery, None, message)
            }
            CallsAbsenceUnknown if reason == Some(Reason::NO_RESPONDER) => {
                copy(code, Delivery::Unknown, reason, message)
            }
            CallsTheLimitUnknown if reason == Some(Reason::OVERLOADED) => {
                copy(code, Delivery::Unknown, reason, message)
            }
            ClaimsNotSentWhenCut if reason == Some(Reason::CONNECTION_LOST) => {
                copy(code, Delivery::NotSent, reason, message)
            }
            ClaimsUnrunNowAndThen if delivery == Delivery::Unknown => {
                let fifth = self.failures.fetch_add(1, Ordering::SeqCst) % 5 == 4;
                if fifth { copy(code, Delivery::Rejected, reason, message) } else { error }
            }
            _ => error,
        }
    }
}

fn headers(entries: impl IntoIterator<Item = (String, Bytes)>) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in entries {
        if Headers::is_binary_name(&name) {
            headers.append_bin(name, value).expect("it was a header");
        } else {
            let text = String::from_utf8(value.to_vec()).expect("it was text");
            headers.append(name, text).expect("it was a header");
        }
    }
    headers
}
