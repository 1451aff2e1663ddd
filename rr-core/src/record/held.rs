//! Memory that a call holds until it is written.

use rr_spi::{AttemptRecord, Detail, Error, Headers, Request, Response, Spent, Timeline};

/// Memory of one header or of one error besides its texts: more than either takes.
const HEADER_BYTES: usize = 64;
const ERROR_BYTES: usize = 512;

/// Returns the number of bytes that a request holds.
pub(super) fn of_request(request: &Request) -> usize {
    request.target.as_str().len() + request.body.len() + of_headers(&request.headers)
}

/// Returns the number of bytes that the metadata of a call holds.
pub(super) fn of_metadata(metadata: &[(&'static str, String)]) -> usize {
    metadata.iter().map(|(_, value)| HEADER_BYTES + value.len()).sum()
}

/// Returns the number of bytes that an outcome holds. The sources of an error do not count: their
/// sizes are not known.
pub(super) fn of_outcome(outcome: &Result<Response, Error>) -> usize {
    match outcome {
        Ok(response) => response.body.len() + of_headers(&response.headers),
        Err(error) => of_error(error),
    }
}

fn of_headers(headers: &Headers) -> usize {
    headers.iter().map(|(name, value)| HEADER_BYTES + name.len() + value.len()).sum()
}

fn of_error(error: &Error) -> usize {
    let detail = |detail: &Detail| size_of::<Detail>() + detail.kind.len() + detail.value.len();
    let texts = error.message().len() + error.hint().len();
    let reason = error.reason().map_or(0, |reason| reason.as_str().len());
    let details = error.details().iter().map(detail).sum::<usize>();
    let attempts = error.attempts().iter().map(of_attempt).sum::<usize>();
    let timeline = error.timeline().map_or(0, of_timeline);
    ERROR_BYTES + texts + reason + of_headers(error.headers()) + details + attempts + timeline
}

fn of_attempt(attempt: &AttemptRecord) -> usize {
    let reason = attempt.reason.as_ref().map_or(0, |reason| reason.as_str().len());
    let endpoint = attempt.endpoint.as_ref().map_or(0, |endpoint| endpoint.len());
    let timeline = attempt.timeline.as_ref().map_or(0, of_timeline);
    size_of::<AttemptRecord>() + reason + endpoint + timeline
}

/// Returns what a timeline holds outside of the record that has it.
fn of_timeline(timeline: &Timeline) -> usize {
    timeline.note().map_or(0, str::len) + timeline.server().map_or(0, of_spent)
}

fn of_spent(spent: &Spent) -> usize {
    size_of::<Spent>() + spent.below.iter().map(of_spent).sum::<usize>()
}
