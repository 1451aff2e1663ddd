//! Limit on the retries of all calls to one destination together.

use std::fmt;
use std::ops::SubAssign;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::window::Window;

/// Slices of the window; the oldest is dropped as a whole.
const SLICES: usize = 10;

/// Cost of a retry in percent: a call deposits `percent`, and a retry withdraws 100.
const COST: u64 = 100;

/// Bounds of the window. A shorter window drops calls before their retries come; a longer one lets
/// an outage spend the deposits of a busy minute.
const WINDOW_MIN: Duration = Duration::from_secs(1);
const WINDOW_MAX: Duration = Duration::from_secs(60);

rr_spi::options! {
    /// Rates and window of a [`RetryBudget`].
    pub struct RetryBudgetConfig {
        /// Retries per 100 calls. Default 20; 0 leaves only the floor.
        pub percent: u32 = 20, with_percent(u32);
        /// Retries per second that are allowed regardless of the number of calls. Default 10; 0
        /// leaves only the percentage, and with both 0 nothing is retried.
        pub floor_per_second: u32 = 10, with_floor_per_second(u32);
        /// Time during which calls and retries count. Default 10 s; clamped to 1 s at least and 60
        /// s at most.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub window: Duration = Duration::from_secs(10), with_window(Duration);
    }
}

/// Limit on the retries of all calls to one destination together: by default one for every five
/// calls of the last 10 s, plus 10 per second.
///
/// The budget keeps retries from amplifying an outage: when every call fails, the destination
/// receives 1.2 times the calls instead of three times. Use one budget for each destination. Clones
/// share it, so that every layer that multiplies requests draws on the same budget.
///
/// # Examples
///
/// ```
/// use rr_core::retry::{RetryBudget, RetryBudgetConfig};
///
/// let config = RetryBudgetConfig::default().with_percent(50).with_floor_per_second(0);
/// let budget = RetryBudget::with_config(&config);
/// let shared = budget.clone();
/// budget.deposit();
/// assert!(!shared.withdraw(), "half a retry is not enough");
/// budget.deposit();
/// assert!(shared.withdraw());
/// ```
#[derive(Clone)]
pub struct RetryBudget(Arc<Mutex<BudgetWindow>>);

impl RetryBudget {
    /// Makes a budget with the default rates.
    #[must_use]
    pub fn new() -> Self {
        Self::with_config(&RetryBudgetConfig::default())
    }

    /// Makes a budget with the given rates.
    #[must_use]
    pub fn with_config(config: &RetryBudgetConfig) -> Self {
        Self(Arc::new(Mutex::new(BudgetWindow::new(config))))
    }

    /// Counts a call; retries do not count as calls. If several layers share the budget, only the
    /// outermost deposits.
    pub fn deposit(&self) {
        let _ = self.deposit_at(Instant::now());
    }

    /// Withdraws one retry and returns whether one was left. Never waits.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        self.withdraw_at(Instant::now())
    }

    /// Returns the number of retries left.
    #[must_use]
    pub fn balance(&self) -> u64 {
        self.balance_at(Instant::now())
    }

    pub(crate) fn balance_at(&self, now: Instant) -> u64 {
        self.lock().balance(now) / COST
    }

    /// Counts a call. Returns the number of retries left if it is the first of a slice of the
    /// window.
    pub(crate) fn deposit_at(&self, now: Instant) -> Option<u64> {
        let mut window = self.lock();
        let is_first = window.deposit(now);
        is_first.then(|| window.balance(now) / COST)
    }

    pub(crate) fn withdraw_at(&self, now: Instant) -> bool {
        self.lock().withdraw(now)
    }

    /// Withdraws one retry if one is left and the condition holds. The lock is held meanwhile, so that
    /// no other call withdraws that retry; the condition must not use this budget.
    pub(crate) fn withdraw_if(&self, now: Instant, condition: impl FnOnce() -> bool) -> bool {
        let mut window = self.lock();
        window.balance(now) >= COST && condition() && window.withdraw(now)
    }

    fn lock(&self) -> MutexGuard<'_, BudgetWindow> {
        // A panic cannot leave the counts half-changed: no foreign code runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let window = self.lock();
        f.debug_struct("RetryBudget")
            .field("percent", &window.percent)
            .field("reserve", &(window.reserve / COST))
            .finish_non_exhaustive()
    }
}

/// Calls and retries of the window: the budget as a pure function of the given times.
struct BudgetWindow {
    percent: u64,
    /// Retries of the floor in one window, in percent of a retry.
    reserve: u64,
    counts: Window<Counts, SLICES>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    calls: u64,
    retries: u64,
}

impl SubAssign for Counts {
    fn sub_assign(&mut self, gone: Self) {
        self.calls -= gone.calls;
        self.retries -= gone.retries;
    }
}

impl BudgetWindow {
    fn new(config: &RetryBudgetConfig) -> Self {
        let window = config.window.clamp(WINDOW_MIN, WINDOW_MAX);
        let millis = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        Self {
            percent: config.percent.into(),
            reserve: u64::from(config.floor_per_second) * millis * COST / 1000,
            counts: Window::new(window),
        }
    }

    /// Counts a call, and returns whether it is the first of its slice.
    fn deposit(&mut self, now: Instant) -> bool {
        self.counts.count(now, |counts| counts.calls += 1).calls == 1
    }

    fn withdraw(&mut self, now: Instant) -> bool {
        let enough = self.balance(now) >= COST;
        if enough {
            self.counts.count(now, |counts| counts.retries += 1);
        }
        enough
    }

    /// Returns the balance, in percent of a retry.
    fn balance(&mut self, now: Instant) -> u64 {
        let Counts { calls, retries } = self.counts.sum(now);
        let earned = calls.saturating_mul(self.percent).saturating_add(self.reserve);
        // Calls leave the window before the retries that they paid for; the balance is then zero.
        earned.saturating_sub(retries * COST)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn window_of(percent: u32, floor: u32, window: Duration) -> BudgetWindow {
        let config = RetryBudgetConfig { percent, floor_per_second: floor, window };
        BudgetWindow::new(&config)
    }

    fn withdrawn(budget: &mut BudgetWindow, now: Instant) -> u32 {
        let mut count = 0;
        while budget.withdraw(now) {
            count += 1;
        }
        count
    }

    #[test]
    fn retries_are_a_part_of_the_calls_and_no_more() {
        let (mut budget, now) = (window_of(20, 0, ms(10_000)), Instant::now());
        for _ in 0..104 {
            budget.deposit(now);
        }
        assert_eq!(withdrawn(&mut budget, now), 20);
        budget.deposit(now);
        assert_eq!(withdrawn(&mut budget, now), 1);
    }

    #[test]
    fn calls_outside_the_window_add_no_tokens() {
        let (mut budget, start) = (window_of(100, 0, ms(10_000)), Instant::now());
        for second in 0..10 {
            budget.deposit(start + ms(second * 1000));
        }
        assert_eq!(budget.balance(start + ms(9999)), 10 * COST);
        assert_eq!(budget.balance(start + ms(10_000)), 9 * COST);
        assert_eq!(budget.balance(start + ms(15_500)), 4 * COST);
        assert_eq!(budget.balance(start + ms(19_000)), 0);
        assert_eq!(budget.balance(start + ms(900_000)), 0);
    }

    #[test]
    fn the_floor_comes_back_as_its_retries_leave_the_window() {
        let (mut budget, start) = (window_of(0, 10, ms(1000)), Instant::now());
        assert_eq!(withdrawn(&mut budget, start), 10);
        assert_eq!(withdrawn(&mut budget, start + ms(999)), 0);
        assert_eq!(withdrawn(&mut budget, start + ms(1000)), 10);
    }

    #[test]
    fn a_condition_is_asked_only_if_a_retry_is_left_and_no_other_call_gets_that_retry() {
        let config = RetryBudgetConfig::default().with_percent(100).with_floor_per_second(0);
        let (budget, now) = (RetryBudget::with_config(&config), Instant::now());
        assert!(!budget.withdraw_if(now, || panic!("no retry is left")));
        let _ = budget.deposit_at(now);
        assert!(!budget.withdraw_if(now, || false));
        assert_eq!(budget.balance_at(now), 1, "a refusal costs nothing");
        assert!(budget.withdraw_if(now, || budget.0.try_lock().is_err()), "the lock is held");
        assert_eq!(budget.balance_at(now), 0);
    }

    /// Events of a schedule: milliseconds since the last event, and whether it is a call or a
    /// retry.
    fn schedule() -> impl Strategy<Value = Vec<(u64, bool)>> {
        let pause = prop_oneof![8 => 0_u64..20, 2 => 0_u64..1500, 1 => 0_u64..40_000];
        prop::collection::vec((pause, any::<bool>()), 0..400)
    }

    proptest! {
        /// At each retry, the calls of the window and the floor pay for all retries of the window.
        #[test]
        fn the_budget_holds_over_any_schedule(
            schedule in schedule(), percent in 0_u32..150, floor in 0_u32..5,
        ) {
            let window = ms(10_000);
            let mut budget = window_of(percent, floor, window);
            let start = Instant::now();
            let (mut now, mut calls, mut retries) = (start, VecDeque::new(), VecDeque::new());
            let mut made = (0_u64, 0_u64);
            for (pause, is_call) in schedule {
                now += ms(pause);
                if is_call {
                    budget.deposit(now);
                    calls.push_back(now);
                    made.0 += 1;
                    continue;
                }
                if !budget.withdraw(now) {
                    continue;
                }
                retries.push_back(now);
                made.1 += 1;
                calls.retain(|at| now.duration_since(*at) <= window);
                // The current slice may have just begun, so only nine slices are sure to count.
                retries.retain(|at| now.duration_since(*at) < window * 9 / 10);
                let earned = calls.len() as u64 * u64::from(percent)
                    + u64::from(floor) * 10 * COST;
                prop_assert!(retries.len() as u64 * COST <= earned);
            }
            let windows = now.duration_since(start).as_millis() as u64 / 10_000 + 1;
            let earned = made.0 * u64::from(percent) + windows * u64::from(floor) * 10 * COST;
            prop_assert!(made.1 * COST <= earned, "{made:?} in {windows} windows");
        }
    }
}
