//! Budget of body bytes that one server holds for requests and for replies until they are sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Code, Delivery, Error, Reason};
use crate::response::Response;

/// Reserve for connections that hold few bytes, as a divisor of the budget.
const RESERVE: usize = 4;

/// Limit of a connection once only the reserve is left, as a divisor of the free bytes.
const RESERVE_PART: usize = 8;

/// Limit of a connection for a request, as a multiple of the free bytes outside of the reserve.
const REQUESTS_PER_FREE: usize = 1;

/// The same limit for a reply. It is higher than for a request, since the handler has run.
const REPLIES_PER_FREE: usize = 3;

/// Budget of body bytes that one server holds, shared by all of its connections.
///
/// A request counts from its first byte until its handler ends; its reply counts from then on until
/// its last byte is sent. A body that does not fit is refused and never waits: a request as
/// `ResourceExhausted`, rejected, `overloaded`, before its handler runs.
#[derive(Clone, Debug)]
pub struct BodyBudget(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    max: usize,
    held: AtomicUsize,
}

/// Part of a [`BodyBudget`] that one connection uses.
///
/// With [`BodyBudget::connection`], a request may raise the bytes of its connection to the number
/// of free bytes outside of the reserve, and a reply to three times that number, so that bytes
/// remain for a second connection: the dynamic threshold of shared-memory switches (Choudhury and
/// Hahne, 1998). The reserve is the last quarter of the budget. Once only the reserve is left, a
/// connection may hold an eighth of the free bytes.
#[derive(Debug)]
pub struct BodyAccount {
    budget: BodyBudget,
    /// Bytes of the connection; `None` if connections are not distinguished.
    own: Option<AtomicUsize>,
    /// Longest reply so far: a request is refused if a reply of this length would not fit.
    reply_max: AtomicUsize,
}

/// Bytes charged to a budget; dropping the share releases them.
#[derive(Debug)]
pub struct BodyShare {
    account: Arc<BodyAccount>,
    bytes: usize,
}

impl BodyBudget {
    /// Makes a budget of this many bytes. With 0, only empty bodies fit.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Pool { max, held: AtomicUsize::new(0) }))
    }

    /// Returns the size of the budget in bytes.
    #[must_use]
    pub fn max(&self) -> usize {
        self.0.max
    }

    /// Returns the number of bytes held now.
    ///
    /// Error replies count and are never refused, so the number can slightly exceed the maximum.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::SeqCst)
    }

    /// Makes the account of one connection, which leaves a part of the budget to other connections.
    #[must_use]
    pub fn connection(&self) -> Arc<BodyAccount> {
        Arc::new(BodyAccount {
            budget: self.clone(),
            own: Some(AtomicUsize::new(0)),
            reply_max: AtomicUsize::new(0),
        })
    }

    /// Makes an account that may use the whole budget.
    ///
    /// For transports that cannot distinguish their callers.
    #[must_use]
    pub fn whole(&self) -> Arc<BodyAccount> {
        Arc::new(BodyAccount { budget: self.clone(), own: None, reply_max: AtomicUsize::new(0) })
    }
}

impl BodyAccount {
    /// Makes an empty share.
    #[must_use]
    pub fn open(self: &Arc<Self>) -> BodyShare {
        BodyShare { account: Arc::clone(self), bytes: 0 }
    }

    /// Charges bytes for a request, if they fit.
    ///
    /// # Errors
    ///
    /// `ResourceExhausted`, rejected, `overloaded`, when the bytes do not fit.
    pub fn request(self: &Arc<Self>, bytes: usize) -> Result<BodyShare, Error> {
        self.withdraw(bytes)?;
        Ok(self.share(bytes))
    }

    /// Charges the body of a handler's reply, until the share is dropped.
    ///
    /// A response that does not fit is dropped and replaced by an error: `ResourceExhausted`,
    /// processed, `overloaded`. An error always fits.
    pub fn reply(
        self: &Arc<Self>,
        outcome: Result<Response, Error>,
    ) -> (Result<Response, Error>, BodyShare) {
        let bytes = outcome.as_ref().map_or(0, |response| response.body.len());
        if bytes > self.reply_max.load(Ordering::Relaxed) {
            self.reply_max.store(bytes, Ordering::Relaxed);
        }
        if bytes == 0 || self.fits(bytes, 0, REPLIES_PER_FREE) {
            return (outcome, self.share(bytes));
        }
        let dedup = outcome.as_ref().map_or(None, Response::dedup);
        let max = self.budget.max();
        let text = format!("the reply was dropped: the server holds bodies of {max} bytes already");
        let (code, reason) = (Code::ResourceExhausted, Reason::OVERLOADED);
        let error = Error::failure(code, Delivery::Processed, reason, text)
            .with_hint("read replies sooner, or raise the server's `bodies_bytes_max`")
            .with_dedup(dedup);
        (Err(error), self.share(0))
    }

    /// Charges bytes of a request whose handler is about to run, or returns why they do not fit.
    pub(super) fn withdraw(&self, bytes: usize) -> Result<(), Error> {
        let reply = self.reply_max.load(Ordering::Relaxed);
        if self.fits(bytes, reply, REQUESTS_PER_FREE) {
            return Ok(());
        }
        let text = format!("the server holds bodies of {} bytes already", self.budget.max());
        let (code, reason) = (Code::ResourceExhausted, Reason::OVERLOADED);
        Err(Error::failure(code, Delivery::Rejected, reason, text)
            .with_hint("retry with backoff, or raise the server's `bodies_bytes_max`"))
    }

    pub(super) fn put_back(&self, bytes: usize) {
        if bytes > 0 {
            self.budget.0.held.fetch_sub(bytes, Ordering::SeqCst);
            if let Some(own) = &self.own {
                own.fetch_sub(bytes, Ordering::SeqCst);
            }
        }
    }

    fn share(self: &Arc<Self>, bytes: usize) -> BodyShare {
        BodyShare { account: Arc::clone(self), bytes }
    }

    /// Charges bytes if they fit into the budget and, together with the bytes that the connection
    /// already holds and `reply` bytes, into the limit of the connection.
    fn fits(&self, bytes: usize, reply: usize, per_free: usize) -> bool {
        let Pool { max, held } = &*self.budget.0;
        let Some(own) = &self.own else {
            let fits = |held: usize| held.checked_add(bytes).filter(|held| held <= max);
            return match bytes {
                0 => held.load(Ordering::SeqCst) <= *max,
                _ => held.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).is_ok(),
            };
        };
        // Concurrent streams of a connection may exceed its limit by a body each, but never the
        // budget.
        let held_here = own.load(Ordering::SeqCst);
        let fits = |held: usize| {
            let free = max.checked_sub(held).filter(|&free| bytes <= free)?;
            let common = free.saturating_sub(max / RESERVE).saturating_mul(per_free);
            let part = common.max(free / RESERVE_PART);
            let is_fair =
                held == 0 || held_here.saturating_add(bytes).saturating_add(reply) <= part;
            is_fair.then_some(held + bytes)
        };
        if bytes == 0 {
            return fits(held.load(Ordering::SeqCst)).is_some();
        }
        let taken = held.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).is_ok();
        if taken {
            own.fetch_add(bytes, Ordering::SeqCst);
        }
        taken
    }
}

impl BodyShare {
    /// Grows to this many bytes for a request.
    ///
    /// # Errors
    ///
    /// `ResourceExhausted`, rejected, `overloaded`, when the bytes do not fit; the share is
    /// unchanged.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 {
            self.account.withdraw(more)?;
            self.bytes += more;
        }
        Ok(())
    }

    /// Grows to the whole body of a request that is about to be handled.
    pub(super) fn cover(&mut self, bytes: usize) -> Result<(), Error> {
        // An empty body is refused too while the budget is exceeded.
        if bytes == 0 { self.account.withdraw(0) } else { self.grow(bytes) }
    }

    /// Grows to this many bytes even if they do not fit, for error replies, which must be sent.
    pub fn raise(&mut self, bytes: usize) {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 {
            self.account.budget.0.held.fetch_add(more, Ordering::SeqCst);
            if let Some(own) = &self.account.own {
                own.fetch_add(more, Ordering::SeqCst);
            }
            self.bytes += more;
        }
    }

    /// Shrinks to this many bytes, as when a body has been compressed.
    pub fn shrink(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        self.account.put_back(less);
        self.bytes -= less;
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        self.account.put_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(account: &Arc<BodyAccount>, bytes: usize) -> (Result<Response, Error>, BodyShare) {
        account.reply(Ok(Response::new(vec![0; bytes])))
    }

    #[test]
    fn shares_come_out_of_the_budget_and_go_back() {
        let budget = BodyBudget::new(10);
        let account = budget.whole();
        let mut first = account.request(4).unwrap();
        first.grow(6).unwrap();
        first.grow(3).unwrap();
        first.grow(11).unwrap_err();
        assert!(account.request(5).is_err());
        let second = account.request(4).unwrap();
        assert_eq!(budget.held(), 10);
        drop(first);
        assert!(account.request(7).is_err());
        drop(second);
        drop(account.request(10).unwrap());
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn a_share_gives_back_what_it_shrinks_by() {
        let budget = BodyBudget::new(10);
        let account = budget.connection();
        let mut share = account.request(8).unwrap();
        share.shrink(9);
        assert_eq!(budget.held(), 8);
        share.shrink(3);
        assert_eq!(budget.held(), 3);
        drop(share);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn a_request_without_a_body_is_refused_only_while_the_budget_is_exceeded() {
        let budget = BodyBudget::new(10);
        let account = budget.whole();
        let mut share = account.request(10).unwrap();
        account.request(0).unwrap();
        share.raise(11);
        let error = account.request(0).unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::ResourceExhausted, Delivery::Rejected));
        assert_eq!(error.reason(), Some(&Reason::OVERLOADED));
    }

    #[test]
    fn a_reply_that_does_not_fit_is_processed_and_holds_nothing() {
        let budget = BodyBudget::new(10);
        let account = budget.whole();
        let (fits, first) = reply(&account, 6);
        assert!(fits.is_ok());
        let (error, _second) = reply(&account, 5);
        let error = error.unwrap_err();
        assert_eq!(error.delivery(), Delivery::Processed);
        assert_eq!(error.reason(), Some(&Reason::OVERLOADED));
        assert_eq!(budget.held(), 6);
        drop(first);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn however_much_some_connections_take_a_body_of_another_one_still_fits() {
        for (greedy, fits) in [(1, 1_000_000), (6, 1_000_000), (30, 20_000)] {
            let budget = BodyBudget::new(64 * 1024 * 1024);
            let mut shares = Vec::new();
            for account in std::iter::repeat_with(|| budget.connection()).take(greedy) {
                shares.extend(std::iter::from_fn(|| account.request(10_000).ok()));
                shares.extend(std::iter::from_fn(|| {
                    let (outcome, share) = reply(&account, 10_000);
                    outcome.ok().map(|_| share)
                }));
            }
            let other = budget.connection();
            drop(other.request(fits).unwrap());
            assert!(reply(&other, fits).0.is_ok());
            assert!(budget.held() <= budget.max());
        }
    }

    #[test]
    fn a_request_is_refused_where_a_reply_as_long_as_the_last_would_be_dropped() {
        let budget = BodyBudget::new(64 * 1024 * 1024);
        let account = budget.connection();
        let mut replies = Vec::new();
        while account.request(0).is_ok() {
            let (outcome, share) = reply(&account, 1_000_000);
            assert!(outcome.is_ok(), "{}", replies.len());
            replies.push(share);
        }
        assert!(replies.len() > 20, "{}", replies.len());
        drop(replies);
        account.request(0).unwrap();
    }

    #[test]
    fn a_connection_that_is_alone_may_hold_one_body_of_the_whole_budget() {
        let budget = BodyBudget::new(10);
        drop(budget.connection().request(10).unwrap());
        assert!(budget.connection().request(11).is_err());
    }
}
