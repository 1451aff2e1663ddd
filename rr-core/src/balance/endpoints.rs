//! State of all endpoints, and the choice among them: reads no clock and draws no numbers itself.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use rr_spi::Entropy;
use rr_spi::observe::EjectionCause;
use tokio::time::Instant;

use super::EndpointStatus;
use super::config::BalanceConfig;
use super::health::{Entry, Health, Role, after};
use super::latency::PeakAverage;
use super::report::Change;
use super::slow_start;
use super::verdict::Verdict;

/// Largest set whose endpoints are all compared before two are drawn. In a larger set, two random
/// endpoints are both far worse than the cheapest only if many are.
const COMPARED_MAX: usize = 16;

/// An endpoint that costs more than this many times the cheapest is left out of the draw. Of three
/// endpoints, two random ones would otherwise be the two bad ones in a third of all calls.
const COST_RATIO_MAX: f64 = 4.0;

/// Latency below which endpoints do not differ, in seconds: so little is noise of schedulers.
const LATENCY_MIN: f64 = 0.001;

/// The endpoints of a balance; `R` is their requester.
#[derive(Debug)]
pub(super) struct Endpoints<R> {
    slots: Vec<Slot<R>>,
    next_id: u64,
}

#[derive(Debug)]
struct Slot<R> {
    /// Never used again: a call that ends finds its endpoint by it, or finds it removed.
    id: u64,
    name: Arc<str>,
    requester: R,
    in_flight: usize,
    /// The last time that a call got an answer, or the first of several began.
    waiting_since: Instant,
    latency: PeakAverage,
    /// Whether a call has succeeded. The latency of the first one does not count: it includes the
    /// time to connect.
    is_warm: bool,
    health: Health,
    /// Until then, other endpoints are preferred.
    avoided_until: Option<Instant>,
    /// When the slow start began: the endpoint was new, or had returned from an ejection.
    serves_since: Instant,
}

/// Endpoint that was chosen for a call.
#[derive(Debug)]
pub(super) struct Chosen<R> {
    pub(super) name: Arc<str>,
    pub(super) requester: R,
    pub(super) call: Started,
}

/// Call in flight at an endpoint.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) id: u64,
    entry: Entry,
    pub(super) at: Instant,
}

/// End of a call, as far as its endpoint is concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) verdict: Verdict,
    /// Time for which the endpoint is avoided.
    pub(super) avoided: Duration,
}

/// Use of ejected endpoints by a call for which no healthy one is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ejected {
    LastResort,
    /// The call fails rather than wait for an endpoint that is probably dead.
    Unused,
}

impl<R: Clone> Endpoints<R> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), next_id: 0 }
    }

    /// Replaces the endpoints. An endpoint whose name is kept keeps its statistics. Returns the
    /// removed endpoints, which the caller drops outside of the lock.
    pub(super) fn set(&mut self, endpoints: Vec<(Arc<str>, R)>, now: Instant) -> Removed<R> {
        let mut before = std::mem::take(&mut self.slots);
        let mut replaced = Vec::new();
        for (name, requester) in endpoints {
            if let Some(at) = before.iter().position(|slot| slot.name == name) {
                let mut slot = before.swap_remove(at);
                replaced.push(std::mem::replace(&mut slot.requester, requester));
                self.slots.push(slot);
                continue;
            }
            let id = self.next_id;
            self.next_id += 1;
            self.slots.push(Slot {
                id,
                name,
                requester,
                in_flight: 0,
                waiting_since: now,
                latency: PeakAverage::default(),
                is_warm: false,
                health: Health::default(),
                avoided_until: None,
                serves_since: now,
            });
        }
        let ejected = ejected(&before);
        replaced.extend(before.into_iter().map(|slot| slot.requester));
        Removed { requesters: replaced, ejected }
    }

    /// Returns the names of the endpoints that are ejected.
    pub(super) fn ejected(&self) -> Vec<Arc<str>> {
        ejected(&self.slots)
    }

    /// Returns the state of each endpoint.
    pub(super) fn statuses(&self, now: Instant, config: &BalanceConfig) -> Vec<EndpointStatus> {
        let status = |slot: &Slot<R>| EndpointStatus {
            name: Arc::clone(&slot.name),
            in_flight: slot.in_flight,
            latency: slot.latency(now, config).and_then(|s| Duration::try_from_secs_f64(s).ok()),
            ejected_for: slot.health.ejected_for(now),
        };
        self.slots.iter().map(status).collect()
    }

    /// Chooses an endpoint that is not among `tried`, and counts the call as in flight there.
    ///
    /// An endpoint whose ejection is over gets one call as a probe. Otherwise the call goes to the
    /// cheaper of two random endpoints of the first of these groups that is not empty: healthy ones
    /// that did not just refuse a call, healthy ones, and all as `ejected` allows.
    pub(super) fn choose(
        &mut self,
        tried: &[u64],
        ejected: Ejected,
        now: Instant,
        entropy: &dyn Entropy,
        config: &BalanceConfig,
    ) -> Option<Chosen<R>> {
        let (at, role) = match self.probe(tried, now) {
            Some(at) => (at, Role::Probe),
            None => (self.preferred(tried, ejected, now, entropy, config)?, Role::Ordinary),
        };
        Some(self.slots[at].start(role, now))
    }

    /// Returns the identifiers of all endpoints, the preferred ones first: by group as in
    /// [`Endpoints::choose`], then by cost. Endpoints of the same cost begin with a random one.
    pub(super) fn ranked(
        &self,
        now: Instant,
        entropy: &dyn Entropy,
        config: &BalanceConfig,
    ) -> Vec<u64> {
        let typical = self.typical(None, now, config).unwrap_or_default();
        let count = self.slots.len();
        let first = drawn_pair(entropy, count).0;
        let rank = |at: usize| {
            let group = Group::of(Ejected::LastResort)
                .iter()
                .position(|group| group.contains(&self.slots[at], now));
            (group, self.cost(at, || typical, now, config) / self.fraction(at, now, config))
        };
        let slots = (0..count).map(|at| (at + first) % count);
        let mut ranked: Vec<_> = slots.map(|at| (rank(at), self.slots[at].id)).collect();
        ranked.sort_by(|((group, cost), _), ((other_group, other_cost), _)| {
            group.cmp(other_group).then(cost.total_cmp(other_cost))
        });
        ranked.into_iter().map(|(_, id)| id).collect()
    }

    /// Counts a call as in flight at an endpoint; `None` if the endpoint was removed.
    pub(super) fn start(&mut self, id: u64, now: Instant) -> Option<Chosen<R>> {
        let slot = self.slots.iter_mut().find(|slot| slot.id == id)?;
        let role = if slot.health.is_probe_due(now) { Role::Probe } else { Role::Ordinary };
        Some(slot.start(role, now))
    }

    /// Returns the endpoint that this call should probe. A call that another endpoint has refused
    /// already takes no further chance.
    fn probe(&self, tried: &[u64], now: Instant) -> Option<usize> {
        if !tried.is_empty() {
            return None;
        }
        self.slots.iter().position(|slot| slot.health.is_probe_due(now))
    }

    fn preferred(
        &self,
        tried: &[u64],
        ejected: Ejected,
        now: Instant,
        entropy: &dyn Entropy,
        config: &BalanceConfig,
    ) -> Option<usize> {
        Group::of(ejected).iter().find_map(|group| {
            let is_candidate = |at: usize| {
                let slot = &self.slots[at];
                !tried.contains(&slot.id) && group.contains(slot, now)
            };
            self.cheaper_of_two(is_candidate, now, entropy, config)
        })
    }

    /// Draws two different endpoints of a group, and returns the cheaper one.
    fn cheaper_of_two(
        &self,
        is_candidate: impl Fn(usize) -> bool,
        now: Instant,
        entropy: &dyn Entropy,
        config: &BalanceConfig,
    ) -> Option<usize> {
        let candidates = || (0..self.slots.len()).filter(|at| is_candidate(*at));
        let count = candidates().count();
        if count < 2 {
            return candidates().next();
        }
        // Once for all endpoints, and only if the latency of one is unknown.
        let typical = OnceCell::new();
        let usual = || *typical.get_or_init(|| self.typical(None, now, config).unwrap_or_default());
        let cost = |at: usize| self.cost(at, usual, now, config);
        let fraction = |at: usize| self.fraction(at, now, config);
        if count > COMPARED_MAX {
            return cheaper_drawn(candidates, count, cost, fraction, entropy);
        }
        // An endpoint in its slow start is cheap because it gets few calls. Compared by its fraction, it
        // does not keep the others out of the draw.
        let oldest = candidates().map(fraction).fold(0.0, f64::max);
        let fair = |at: usize| cost(at) * oldest / fraction(at);
        let cheapest = candidates().map(fair).fold(f64::INFINITY, f64::min);
        let near = || candidates().filter(|at| cost(*at) <= cheapest * COST_RATIO_MAX);
        cheaper_drawn(near, near().count(), cost, fraction, entropy)
    }

    /// Returns the fraction of its share that an endpoint gets in its slow start.
    fn fraction(&self, at: usize, now: Instant, config: &BalanceConfig) -> f64 {
        let age = now.saturating_duration_since(self.slots[at].serves_since);
        slow_start::fraction(age, config.slow_start)
    }

    /// Returns the cost of one more call: calls in flight, that call included, times the latency;
    /// `usual` is the latency of an endpoint without one.
    fn cost(
        &self,
        at: usize,
        usual: impl Fn() -> f64,
        now: Instant,
        config: &BalanceConfig,
    ) -> f64 {
        let slot = &self.slots[at];
        let latency = slot.latency(now, config).unwrap_or_else(usual);
        (slot.in_flight as f64 + 1.0) * slot.pending(now, latency.max(LATENCY_MIN))
    }

    /// Returns the mean of all known latencies except that of one endpoint.
    fn typical(&self, except: Option<usize>, now: Instant, config: &BalanceConfig) -> Option<f64> {
        let others = self.slots.iter().enumerate().filter(|(at, _)| Some(*at) != except);
        let known = others.filter_map(|(_, slot)| slot.latency(now, config));
        let (sum, count) = known.fold((0.0, 0.0), |(sum, count), one| (sum + one, count + 1.0));
        (count > 0.0).then(|| sum / count)
    }

    /// Records the end of a call; returns how that changed its endpoint. An endpoint that was removed
    /// meanwhile is ignored.
    pub(super) fn end_call(
        &mut self,
        call: &Started,
        ended: Ended,
        now: Instant,
        config: &BalanceConfig,
    ) -> Option<Change> {
        let at = self.slots.iter().position(|slot| slot.id == call.id)?;
        let took = now.saturating_duration_since(call.at);
        if ended.verdict.is_answer() {
            self.slots[at].waiting_since = now;
        }
        let ended = self.concluded(at, ended, took, now, config);
        self.observe(at, ended.verdict, took, now, config);
        let slot = &mut self.slots[at];
        slot.in_flight -= 1;
        if !ended.avoided.is_zero() {
            slot.avoided_until = Some(after(now, ended.avoided));
        }
        let cause = match ended.verdict {
            Verdict::Success => {
                let has_returned = slot.health.success(call.entry, now, config);
                return has_returned.then(|| slot.returned(now));
            }
            Verdict::Failure => slot.health.failure(call.entry, now, config)?,
            Verdict::Late | Verdict::Neutral => {
                slot.health.neutral(call.entry);
                return None;
            }
        };
        self.may_eject(cause, now, config).then(|| self.slots[at].eject(cause, now, config))
    }

    /// Decides whether a call that was late is a failure. If it had less time than calls take at the
    /// other endpoints, the endpoint is not at fault, and is not avoided either.
    fn concluded(
        &self,
        at: usize,
        ended: Ended,
        took: Duration,
        now: Instant,
        config: &BalanceConfig,
    ) -> Ended {
        if ended.verdict != Verdict::Late {
            return ended;
        }
        match self.typical(Some(at), now, config) {
            Some(usual) if took.as_secs_f64() < usual => {
                Ended { verdict: Verdict::Neutral, avoided: Duration::ZERO }
            }
            _ => Ended { verdict: Verdict::Failure, ..ended },
        }
    }

    /// Records the latency of a call. One that failed or was dropped took at least as long, which
    /// counts only if it is longer than usual: a fast refusal does not make an endpoint fast.
    fn observe(
        &mut self,
        at: usize,
        verdict: Verdict,
        took: Duration,
        now: Instant,
        config: &BalanceConfig,
    ) {
        let usual =
            || self.slots[at].latency.last().or_else(|| self.typical(Some(at), now, config));
        let counts = match verdict {
            Verdict::Success => std::mem::replace(&mut self.slots[at].is_warm, true),
            _ => usual().is_some_and(|usual| took.as_secs_f64() > usual),
        };
        if counts {
            self.slots[at].latency.observe(took, now, config.latency_decay);
        }
    }

    /// Returns whether an endpoint may be ejected: never more than half of them, and for its success rate
    /// only if another endpoint has one to compare with.
    fn may_eject(&self, cause: EjectionCause, now: Instant, config: &BalanceConfig) -> bool {
        let ejected = self.slots.iter().filter(|slot| !slot.health.is_healthy()).count();
        let is_one_more = (ejected + 1) * 2 <= self.slots.len();
        let rated = || self.slots.iter().filter(|slot| slot.health.has_success_rate(now, config));
        match cause {
            // The endpoint is one of those that are ejected.
            EjectionCause::ProbeFailed => true,
            EjectionCause::SuccessRate => is_one_more && rated().count() > 1,
            _ => is_one_more,
        }
    }
}

/// Rest of the endpoints that were replaced.
pub(super) struct Removed<R> {
    pub(super) requesters: Vec<R>,
    /// Names of the removed endpoints that were ejected.
    pub(super) ejected: Vec<Arc<str>>,
}

/// Returns the names of the endpoints that are ejected.
fn ejected<R>(slots: &[Slot<R>]) -> Vec<Arc<str>> {
    let ejected = slots.iter().filter(|slot| !slot.health.is_healthy());
    ejected.map(|slot| Arc::clone(&slot.name)).collect()
}

/// Group of endpoints among which a call is placed.
#[derive(Clone, Copy)]
enum Group {
    /// Healthy endpoints that did not just refuse a call.
    Preferred,
    Healthy,
    All,
}

impl Group {
    /// Returns the groups for a call, the best first.
    fn of(ejected: Ejected) -> &'static [Self] {
        match ejected {
            Ejected::LastResort => &[Self::Preferred, Self::Healthy, Self::All],
            Ejected::Unused => &[Self::Preferred, Self::Healthy],
        }
    }

    fn contains<R>(self, slot: &Slot<R>, now: Instant) -> bool {
        match self {
            Self::Preferred => {
                slot.health.is_healthy() && slot.avoided_until.is_none_or(|until| until <= now)
            }
            Self::Healthy => slot.health.is_healthy(),
            Self::All => true,
        }
    }
}

/// Draws two different endpoints of a group of this size, and returns the cheaper one, or instead of
/// one in its slow start the other.
fn cheaper_drawn<I: Iterator<Item = usize>>(
    group: impl Fn() -> I,
    size: usize,
    cost: impl Fn(usize) -> f64,
    fraction: impl Fn(usize) -> f64,
    entropy: &dyn Entropy,
) -> Option<usize> {
    let (one, other) = drawn_pair(entropy, size);
    let one = group().nth(one)?;
    let Some(other) = other.and_then(|other| group().nth(other)) else { return Some(one) };
    let (best, rest) = if cost(other) < cost(one) { (other, one) } else { (one, other) };
    let keeps = slow_start::keeps(fraction(best) / fraction(rest), || entropy.next_u64());
    Some(if keeps { best } else { rest })
}

/// Draws two different numbers below `size`; the second is `None` if there is only one.
fn drawn_pair(entropy: &dyn Entropy, size: usize) -> (usize, Option<usize>) {
    if size < 2 {
        return (0, None);
    }
    let (drawn, size) = (entropy.next_u64(), size as u64);
    let one = ((drawn >> 32) * size) >> 32;
    let other = ((drawn & 0xffff_ffff) * (size - 1)) >> 32;
    let other = if other >= one { other + 1 } else { other };
    (one as usize, Some(other as usize))
}

impl<R: Clone> Slot<R> {
    /// Counts a call as in flight.
    fn start(&mut self, role: Role, now: Instant) -> Chosen<R> {
        if self.in_flight == 0 {
            self.waiting_since = now;
        }
        self.in_flight += 1;
        let call = Started { id: self.id, entry: self.health.enter(role), at: now };
        Chosen { name: Arc::clone(&self.name), requester: self.requester.clone(), call }
    }
}

impl<R> Slot<R> {
    /// Ejects the endpoint.
    fn eject(&mut self, cause: EjectionCause, now: Instant, config: &BalanceConfig) -> Change {
        self.health.eject(now, config);
        let lasts = self.health.ejected_for(now).unwrap_or_default();
        Change::Ejected { name: Arc::clone(&self.name), lasts, cause }
    }

    /// Begins the slow start of an endpoint whose ejection has ended.
    fn returned(&mut self, now: Instant) -> Change {
        self.serves_since = now;
        Change::Returned { name: Arc::clone(&self.name) }
    }

    /// Returns the latency in seconds; `None` until a call has ended. It decays only while nothing
    /// is in flight: an endpoint that leaves calls unanswered has not recovered.
    fn latency(&self, now: Instant, config: &BalanceConfig) -> Option<f64> {
        match self.in_flight {
            0 => self.latency.decayed(now, config.latency_decay),
            _ => self.latency.last(),
        }
    }

    /// Returns `latency`, or the time for which all calls in flight have waited if that is longer:
    /// an endpoint that stops answering is noticed before its calls end.
    fn pending(&self, now: Instant, latency: f64) -> f64 {
        match self.in_flight {
            0 => latency,
            _ => latency.max(now.saturating_duration_since(self.waiting_since).as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests;
