//! Decisions about the items of a collection of replies: reads no clock.

use rr_spi::{Code, Delivery, Error, Response};

use super::{ManyConfig, ManyEnd};

/// Progress of one collection.
#[derive(Debug)]
pub(super) struct Rules {
    replies_max: usize,
    replies: usize,
    /// Whether an item was handed out, a reply or an error.
    has_items: bool,
}

impl Rules {
    pub(super) fn new(config: &ManyConfig) -> Self {
        Self { replies_max: config.replies_max.max(1), replies: 0, has_items: false }
    }

    /// Returns the number of replies so far, without errors.
    pub(super) fn replies(&self) -> usize {
        self.replies
    }

    /// Returns whether a wait may stall: the wait for the first item ends at the deadline only.
    pub(super) fn may_stall(&self) -> bool {
        self.has_items
    }

    /// Decides about the outcome of one responder: the item, and whether it is the last one.
    pub(super) fn on_outcome(
        &mut self,
        outcome: Result<Response, Error>,
    ) -> (Result<Response, Error>, Option<ManyEnd>) {
        let item = outcome.map_err(|error| self.scoped(error));
        self.has_items = true;
        self.replies += usize::from(item.is_ok());
        let is_full = item.is_ok() && self.replies >= self.replies_max;
        (item, is_full.then_some(ManyEnd::Count))
    }

    /// Decides about the end of the source: the last item, and the reason of the end.
    pub(super) fn on_end(&self, ended: Result<ManyEnd, Error>) -> (Option<Error>, ManyEnd) {
        match ended {
            Ok(end) => (None, end),
            // The total time has passed as planned, unless nothing came at all.
            Err(error) if error.code() == Code::DeadlineExceeded => {
                (Some(self.scoped(error)).filter(|_| !self.has_items), ManyEnd::Deadline)
            }
            Err(error) => (Some(self.scoped(error)), ManyEnd::Failed),
        }
    }

    /// Raises the delivery of an error after the first item: the request has reached a responder.
    fn scoped(&self, error: Error) -> Error {
        if self.has_items { error.raised_to(Delivery::Unknown) } else { error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(replies_max: usize) -> Rules {
        Rules::new(&ManyConfig::default().with_replies_max(replies_max))
    }

    fn failure(code: Code, delivery: Delivery) -> Error {
        Error::failure(code, delivery, None, "")
    }

    fn reply(rules: &mut Rules) -> Option<ManyEnd> {
        rules.on_outcome(Ok(Response::new(""))).1
    }

    #[test]
    fn replies_count_and_errors_do_not() {
        let mut two = rules(2);
        assert_eq!(reply(&mut two), None);
        let (error, end) = two.on_outcome(Err(failure(Code::Internal, Delivery::Processed)));
        assert_eq!((error.unwrap_err().delivery(), end), (Delivery::Processed, None));
        assert_eq!((reply(&mut two), two.replies()), (Some(ManyEnd::Count), 2));
        assert_eq!(reply(&mut rules(0)), Some(ManyEnd::Count));
    }

    #[test]
    fn no_error_after_the_first_item_claims_that_the_request_did_not_run() {
        for delivery in [Delivery::NotSent, Delivery::Rejected] {
            let refused = || failure(Code::Unavailable, delivery);
            let mut fresh = rules(9);
            assert_eq!(fresh.on_end(Err(refused())).0.unwrap().delivery(), delivery);
            assert_eq!(fresh.on_outcome(Err(refused())).0.unwrap_err().delivery(), delivery);
            assert_eq!(
                fresh.on_outcome(Err(refused())).0.unwrap_err().delivery(),
                Delivery::Unknown
            );
            let (error, end) = fresh.on_end(Err(refused()));
            assert_eq!((error.unwrap().delivery(), end), (Delivery::Unknown, ManyEnd::Failed));
        }
    }

    #[test]
    fn the_deadline_is_an_error_only_if_nothing_came() {
        let late = || Err(failure(Code::DeadlineExceeded, Delivery::Unknown));
        let mut rules = rules(9);
        let (error, end) = rules.on_end(late());
        assert_eq!((error.unwrap().code(), end), (Code::DeadlineExceeded, ManyEnd::Deadline));
        assert!(!rules.may_stall());
        reply(&mut rules);
        assert!(rules.may_stall());
        let (error, end) = rules.on_end(late());
        assert_eq!((error.is_none(), end), (true, ManyEnd::Deadline));
    }
}
