//! Requests, responses and errors, changed on their way.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rr_spi::{
    Bytes, Code, Delivery, Error, Headers, Idempotency, Reason, Request, Response, RetryHint,
};

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
        LosesLongKeys if matches!(&request.idempotency, Idempotency::Keyed(key) if key.as_str().len() > 64) =>
        {
            request.idempotency = Idempotency::Unspecified;
        }
        LosesHeadersAfter32 => request.headers = headers(entries.into_iter().take(32)),
        CutsLongBinaryHeaders => {
            let cut = |(name, value): (String, Bytes)| {
                let length = value.len().min(1024);
                let is_binary = Headers::is_binary_name(&name);
                (name, if is_binary { value.slice(..length) } else { value })
            };
            request.headers = headers(entries.into_iter().map(cut));
        }
        FlipsAByteOfLargeBodies if (200_000..900_000).contains(&request.body.len()) => {
            let mut body = request.body.to_vec();
            body[150_000] ^= 1;
            request.body = body.into();
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
        LosesTrailers => response.headers = untrailed(&response.headers),
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
        let header_bytes: usize =
            error.headers().iter().map(|(name, value)| name.len() + value.len()).sum();
        match self.sabotage {
            KeepsTheFirstLineOfMessages => {
                let line = message.lines().next().unwrap_or_default().to_owned();
                copy(code, delivery, reason, line)
            }
            FillsEmptyMessages if message.is_empty() => {
                copy(code, delivery, reason, "no message".to_owned())
            }
            LosesLongReasons if reason.as_ref().is_some_and(|token| token.as_str().len() > 24) => {
                copy(code, delivery, None, message)
            }
            LosesLargeErrorHeaders if header_bytes > 2048 => {
                copy(code, delivery, reason, message).with_headers(Headers::new())
            }
            HoldsHintsIn16Bits => match error.retry() {
                RetryHint::After(after) => {
                    let millis = after.as_millis() as u64 & 0xffff;
                    error.with_retry(RetryHint::After(Duration::from_millis(millis)))
                }
                _ => error,
            },
            LosesLongDetails if error.details().iter().any(|detail| detail.value.len() > 1024) => {
                Error::failure(code, delivery, reason, message)
            }
            LosesManyDetails if error.details().len() > 8 => {
                Error::failure(code, delivery, reason, message)
            }
            LosesTrailersOfErrors => {
                copy(code, delivery, reason, message).with_headers(untrailed(error.headers()))
            }
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

/// Leaves out what Connect has for trailing metadata.
fn untrailed(all: &Headers) -> Headers {
    let kept = all.iter().filter(|(name, _)| !name.starts_with("trailer-"));
    headers(kept.map(|(name, value)| (name.to_owned(), value.clone())))
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
