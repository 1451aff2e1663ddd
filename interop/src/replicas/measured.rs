//! What the callers of the replicas noticed.

use std::time::Duration;

use rr_core::Error;
use tokio::time::Instant;

use crate::load::{Phases, TIMEOUT};

/// Call that has ended.
pub(crate) struct Call {
    pub(crate) due: Instant,
    pub(crate) took: Duration,
    pub(crate) error: Option<Error>,
}

/// Largest ratio of the 99th percentiles with a slow replica and without.
const P99_RATIO_MAX: f64 = 2.0;

/// Shortest trouble after which the percentiles are judged: with fewer calls chance decides.
const JUDGED: Duration = Duration::from_secs(30);

/// Most requests per call with a slow replica, beyond one, in percent.
const EXTRA_PERCENT_MAX: f64 = 1.5;

/// Errors from which on a run fails, in percent of the calls before the trouble, and of those from [`SETTLED`] on.
const ERRORS_PERCENT_MAX: f64 = 1.0;

/// Seconds after which a slow or silent replica is avoided.
const SETTLED: usize = 5;

/// Measurements of a run.
pub(crate) struct Measured {
    calls: Vec<Call>,
    /// Requests that were sent until the end of the trouble.
    requests: u64,
    phases: Phases,
}

impl Measured {
    pub(crate) fn new(calls: Vec<Call>, requests: u64, phases: Phases) -> Self {
        Self { calls, requests, phases }
    }

    fn before(&self) -> Vec<&Call> {
        self.between(self.phases.begin, self.phases.trouble)
    }

    fn in_trouble(&self) -> Vec<&Call> {
        self.between(self.phases.trouble, self.phases.after)
    }

    fn between(&self, begin: Instant, end: Instant) -> Vec<&Call> {
        self.calls.iter().filter(|call| (begin..end).contains(&call.due)).collect()
    }

    /// Requests beyond one per call, in percent of the calls from the start to the end of the trouble: second
    /// requests in the trouble are paid by the calls of ten seconds, also of those before it.
    fn extra_percent(&self) -> f64 {
        let calls = self.calls.iter().filter(|call| call.due < self.phases.after).count() as f64;
        (self.requests as f64 - calls) * 100.0 / calls
    }

    fn p99_ratio(&self) -> f64 {
        quantile(&self.in_trouble(), 99).as_secs_f64() / quantile(&self.before(), 99).as_secs_f64()
    }

    /// Errors of each second from the beginning of the trouble to the end of the run, in percent.
    fn errors_by_second(&self) -> Vec<f64> {
        let seconds = self.calls.iter().map(|call| call.due).max();
        let seconds = seconds.map_or(0, |last| (last - self.phases.trouble).as_secs());
        let second = |at| self.phases.trouble + Duration::from_secs(at);
        (0..seconds).map(|at| errors_percent(&self.between(second(at), second(at + 1)))).collect()
    }

    /// Calls from [`SETTLED`] seconds after the beginning of the trouble to its end.
    fn settled(&self) -> Vec<&Call> {
        let settled = self.phases.trouble + Duration::from_secs(SETTLED as u64);
        self.between(settled, self.phases.after)
    }

    /// Returns the seconds from the beginning of the trouble until less than 1 % of the calls fail, for good.
    fn recovered_after(&self) -> usize {
        let errors = self.errors_by_second();
        errors.iter().rposition(|percent| *percent >= ERRORS_PERCENT_MAX).map_or(0, |at| at + 1)
    }

    /// Row of a table, and the errors second by second.
    pub(crate) fn row(&self, name: &str, trouble: &str) -> String {
        let (before, during) = (self.before(), self.in_trouble());
        let millis = |calls: &[&Call], percent| quantile(calls, percent).as_millis();
        let by_second = self.errors_by_second();
        let by_second: Vec<_> = by_second.iter().map(|percent| format!("{percent:.1}")).collect();
        format!(
            "| {name} | {trouble} | {} | {:.2} % | {:.2} % | {} ms | {} ms | {} ms | {} ms | {:.2} % | {:.2} % | {} s |\n\
             errors by second of the trouble, in percent: {}; load average {}",
            self.calls.len(),
            100.0 - errors_percent(&before),
            100.0 - errors_percent(&during),
            millis(&before, 50),
            millis(&during, 50),
            millis(&before, 99),
            millis(&during, 99),
            self.extra_percent(),
            errors_percent(&self.settled()),
            self.recovered_after(),
            by_second.join(" "),
            load_average(),
        )
    }

    /// Fails if the callers noticed too much.
    pub(crate) fn judge(&self, trouble: &str) -> Result<(), String> {
        judge_errors("before the trouble", &self.before())?;
        judge_errors(&format!("from {SETTLED} s on"), &self.settled())?;
        let (ratio, extra) = (self.p99_ratio(), self.extra_percent());
        if trouble == "slow-replica" && extra > EXTRA_PERCENT_MAX {
            return Err(format!("{extra:.2} % more requests than calls"));
        }
        let is_long = self.phases.after - self.phases.trouble >= JUDGED;
        if trouble == "slow-replica" && is_long && ratio > P99_RATIO_MAX {
            return Err(format!(
                "the 99th percentile is {ratio:.2} times that of healthy replicas"
            ));
        }
        Ok(())
    }
}

/// Fails if a phase has no calls, or too many that failed.
fn judge_errors(phase: &str, calls: &[&Call]) -> Result<(), String> {
    if calls.is_empty() {
        return Err(format!(
            "no call was due {phase}: the trouble must last longer than {SETTLED} s"
        ));
    }
    let errors = errors_percent(calls);
    if errors >= ERRORS_PERCENT_MAX {
        return Err(format!("{errors:.2} % of the calls failed {phase}"));
    }
    Ok(())
}

fn errors_percent(calls: &[&Call]) -> f64 {
    let failed = calls.iter().filter(|call| call.error.is_some()).count();
    failed as f64 * 100.0 / (calls.len().max(1)) as f64
}

/// Returns a quantile of the latencies. A call that failed took as long as a call may take.
fn quantile(calls: &[&Call], percent: usize) -> Duration {
    let took = |call: &&Call| if call.error.is_some() { call.took.max(TIMEOUT) } else { call.took };
    let mut times: Vec<_> = calls.iter().map(took).collect();
    times.sort_unstable();
    times.get(times.len() * percent / 100).copied().unwrap_or_default()
}

/// The system's load average of the last minute.
fn load_average() -> String {
    let averages = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    averages.split(' ').next().unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use rr_core::Code;

    use super::*;

    /// Makes 100 calls per second; those fail of which `fails` holds, by the seconds from the beginning of the trouble.
    fn judged(trouble: &str, seconds: u64, fails: impl Fn(f64) -> bool) -> Result<(), String> {
        let phases = Phases::new(Duration::from_secs(seconds));
        let mut calls = Vec::new();
        let mut due = phases.begin;
        while due < phases.after {
            let since =
                (due - phases.begin).as_secs_f64() - (phases.trouble - phases.begin).as_secs_f64();
            let error = fails(since).then(|| Error::new(Code::Unavailable, "no reply"));
            calls.push(Call { due, took: Duration::from_millis(20), error });
            due += Duration::from_millis(10);
        }
        let requests = calls.len() as u64;
        Measured::new(calls, requests, phases).judge(trouble)
    }

    #[test]
    fn a_run_in_which_calls_fail_does_not_pass() {
        for trouble in ["slow-replica", "black-hole"] {
            judged(trouble, 10, |_| false).unwrap();
            judged(trouble, 10, |since| (0.0..4.9).contains(&since)).unwrap();
            let failed = judged(trouble, 10, |since| since > 5.0).unwrap_err();
            assert_eq!(failed, "100.00 % of the calls failed from 5 s on", "{trouble}");
            let failed = judged(trouble, 10, |since| since < 0.0).unwrap_err();
            assert_eq!(failed, "100.00 % of the calls failed before the trouble", "{trouble}");
        }
    }

    #[test]
    fn a_run_without_calls_to_judge_does_not_pass() {
        let text = "no call was due from 5 s on: the trouble must last longer than 5 s";
        assert_eq!(judged("slow-replica", 3, |_| false).unwrap_err(), text);
    }
}
