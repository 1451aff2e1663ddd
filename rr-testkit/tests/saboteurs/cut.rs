//! A link that is cut in the middle of a message, made up: as if nothing but bodies passed on it.

use rr_spi::{Code, Context, Delivery, Error, Reason, Request, Response};
use rr_testkit::Direction;

use crate::requester::BrokenRequester;
use crate::table::Sabotage::*;

/// Where the link is cut within the next message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) direction: Direction,
    pub(crate) bytes: usize,
}

impl BrokenRequester {
    /// Calls while the link is cut: what has not come whole is not run, and no answer.
    pub(crate) async fn cut(
        &self,
        cut: Cut,
        ctx: &Context,
        mut request: Request,
    ) -> Result<Response, Error> {
        let (length, is_request) = (request.body.len(), cut.direction == Direction::Requests);
        if is_request && cut.bytes < length {
            if self.sabotage == RunsHalfRequests {
                request.body.truncate(cut.bytes);
                let _ = self.inner.request(ctx, request).await;
            }
            return Err(lost());
        }
        let mut response = self.inner.request(ctx, request).await?;
        if is_request && cut.bytes == length {
            return Err(lost());
        }
        if !is_request && cut.bytes < response.body.len() {
            if self.sabotage != TakesHalfReplies {
                return Err(lost());
            }
            response.body.truncate(cut.bytes);
        }
        Ok(response)
    }
}

fn lost() -> Error {
    let (code, reason) = (Code::Unavailable, Reason::CONNECTION_LOST);
    Error::failure(code, Delivery::Unknown, reason, "the link was cut")
}
