//! Runs cases, each on a separate runtime and under a watchdog.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::stage::Stage;
use super::{Case, Harness, Outcome, Plan, Report, Timing, cases};
use crate::sync::lock;

/// Timeout of a case on the real clock. The longest case takes a few seconds in a debug build.
const REAL_TIME_MAX: Duration = Duration::from_secs(60);

/// Timeout of a case in virtual time, where waiting costs nothing. It is far above every timer of
/// the suite, so that reaching it means that no other event was left.
const VIRTUAL_TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Timeout of the thread of a case, for cases that neither end nor yield.
const THREAD_TIME_MAX: Duration = Duration::from_secs(90);

/// Timeout for reading the timeline of a stuck case.
const TIMELINE_TIME_MAX: Duration = Duration::from_secs(1);

/// Serializes real-time cases within one process, since they disturb each other's timing.
static REAL_TIME: Mutex<()> = Mutex::new(());

/// Failure of a case.
#[derive(Debug)]
struct Failure {
    text: String,
    /// Whether an error said `NotSent` or `Rejected` of a request that ran. No plan expects that.
    is_lie: bool,
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self { text, is_lie: false }
    }
}

/// Runs the conformance suite: expands to one `#[test]` per case, in a module per group.
///
/// Takes an expression for a [`Harness`](crate::conformance::Harness), evaluated once per case, and
/// optionally an expression for a [`Plan`](crate::conformance::Plan). Several harnesses in one file
/// need a module each, since the groups expand to modules. See the
/// [module](mod@crate::conformance) for an example.
#[macro_export]
macro_rules! conformance {
    ($harness:expr $(,)?) => {
        $crate::conformance!($harness, $crate::conformance::Plan::v1());
    };
    ($harness:expr, $plan:expr $(,)?) => {
        $crate::__conformance_list! { __conformance_tests ($harness) ($plan) }
    };
}

/// Expands the list to one test per case; see [`conformance!`](crate::conformance!).
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    (
        { ($harness:expr) ($plan:expr) }
        $($group:ident { $($level:ident $case:ident $(: $needs:ident)?;)* })*
    ) => {
        #[test]
        fn the_plan_runs_something() {
            $crate::conformance::check_plan(&$harness, &$plan);
        }

        $(
        mod $group {
            #[allow(unused_imports)]
            use super::*;

            $(
                #[test]
                fn $case() {
                    let name = concat!(stringify!($group), "/", stringify!($case));
                    $crate::conformance::check($harness, &$plan, name);
                }
            )*
        }
    )*};
}

/// Runs every case of a plan, without stopping at the first failure, and returns the report.
///
/// Blocks the calling thread. Each case runs on a separate thread and runtime.
///
/// # Panics
///
/// When the plan names a case that does not exist, or lists a case without a reason.
pub fn run(harness: impl Harness, plan: &Plan) -> Report {
    let harness: Arc<dyn Harness> = Arc::new(harness);
    Report::new(&*harness, plan, |case| outcome(&harness, plan, case))
}

/// Runs one case by its name, without a plan, and returns its outcome.
///
/// # Panics
///
/// When no case has this name.
pub fn run_case(harness: impl Harness, name: &str) -> Outcome {
    let harness: Arc<dyn Harness> = Arc::new(harness);
    outcome(&harness, &Plan::v1(), named(name))
}

/// Runs one case as a test; [`conformance!`](crate::conformance!) expands to calls of this.
///
/// # Panics
///
/// * When the case fails, unless its level does not fail the run: [`Level::Preview`], or
///   [`Level::Should`] under a lenient plan. A case that passes although the plan lists it as known
///   to fail counts as failed.
/// * When the plan or `name` names a case that does not exist.
/// * When the plan lists a case without a reason.
///
/// [`Level::Preview`]: super::Level::Preview
/// [`Level::Should`]: super::Level::Should
pub fn check(harness: impl Harness, plan: &Plan, name: &str) {
    plan.assert_sound();
    let case = named(name);
    if !plan.includes(&case.name()) {
        println!("{}: not in the plan", case.name());
        return;
    }
    let harness: Arc<dyn Harness> = Arc::new(harness);
    match outcome(&harness, plan, case) {
        Outcome::Passed => {}
        Outcome::Skipped(reason) => println!("{}: skipped: {reason}", case.name()),
        Outcome::FailedAsKnown(reason) => println!("{}: failed as known: {reason}", case.name()),
        Outcome::Failed(text) if !plan.binding().holds(case.level()) => {
            println!("{}: warning: {text}", case.name());
        }
        Outcome::Failed(text) => panic!("{} over {}: {text}", case.name(), harness.name()),
    }
}

/// Checks that a plan runs at least one case, since a suite of skips proves nothing.
/// [`conformance!`](crate::conformance!) expands to a test that calls this.
///
/// # Panics
///
/// When every case is skipped or not in the plan.
pub fn check_plan(harness: &dyn Harness, plan: &Plan) {
    let runs = |case: &Case| plan.includes(&case.name()) && left_out(harness, plan, case).is_none();
    assert!(cases().iter().any(runs), "no case runs over {}", harness.name());
}

fn named(name: &str) -> &'static Case {
    let wanted = name.replacen("/_", "/", 1);
    let found = cases().iter().find(|case| case.name() == wanted);
    found.unwrap_or_else(|| panic!("there is no case `{name}`"))
}

/// Returns the outcome of a case that must be skipped; `None` for a case that runs.
pub(super) fn left_out(harness: &dyn Harness, plan: &Plan, case: &Case) -> Option<Outcome> {
    if let Some(reason) = plan.skipped(&case.name()) {
        return Some(Outcome::Skipped(reason.to_owned()));
    }
    let missing = case.needs().filter(|needed| !harness.capabilities().has(*needed))?;
    Some(Outcome::Skipped(format!("the transport lacks the capability `{missing}`")))
}

fn outcome(harness: &Arc<dyn Harness>, plan: &Plan, case: &'static Case) -> Outcome {
    if let Some(left_out) = left_out(&**harness, plan, case) {
        return left_out;
    }
    match (execute(harness, case), plan.expected_failure(&case.name())) {
        (Ok(()), None) => Outcome::Passed,
        (Ok(()), Some(reason)) => {
            Outcome::Failed(format!("it passes, but is listed as known to fail: {reason}"))
        }
        (Err(failure), Some(reason)) if !failure.is_lie => {
            Outcome::FailedAsKnown(reason.to_owned())
        }
        (Err(failure), _) => Outcome::Failed(failure.text),
    }
}

/// Runs a case on a separate thread. The thread of a stuck case is leaked.
fn execute(harness: &Arc<dyn Harness>, case: &'static Case) -> Result<(), Failure> {
    let real = matches!(harness.timing(), Timing::Real { .. });
    let _alone = real.then(|| lock(&REAL_TIME));
    execute_within(THREAD_TIME_MAX, harness, case)
}

fn execute_within(
    limit: Duration,
    harness: &Arc<dyn Harness>,
    case: &'static Case,
) -> Result<(), Failure> {
    let stage = Arc::new(Stage::new(Arc::clone(harness)));
    let (done, result) = sync_channel(1);
    let playing = Arc::clone(&stage);
    let thread = std::thread::Builder::new().name(case.name()).spawn(move || {
        // Sending fails when the watchdog has timed out.
        let _ = done.send(run_on_runtime(&playing, case));
    });
    let Ok(thread) = thread else { return Err("no thread could be started".to_owned().into()) };
    match result.recv_timeout(limit) {
        Ok(outcome) => {
            // The runtime and the remaining tasks of the case were dropped before the result came.
            let _ = thread.join();
            outcome
        }
        Err(RecvTimeoutError::Timeout) => {
            Err(format!("stuck for {limit:?}\n{}", timeline_of_stuck_case(stage)).into())
        }
        Err(RecvTimeoutError::Disconnected) => {
            Err("its thread ended without a result".to_owned().into())
        }
    }
}

/// Returns the timeline of a stuck case. Reads it on another thread, which may block on a lock that
/// the case holds.
fn timeline_of_stuck_case(stage: Arc<Stage>) -> String {
    let (told, tells) = sync_channel(1);
    let asking = std::thread::Builder::new().spawn(move || {
        let _ = told.send(stage.timeline());
        // The rigs belong to the runtime of the stuck thread and must not be dropped here.
        std::mem::forget(stage);
    });
    let told = asking.ok().and_then(|_| tells.recv_timeout(TIMELINE_TIME_MAX).ok());
    told.unwrap_or_else(|| "  nothing can be told: what it saw is locked".to_owned())
}

fn run_on_runtime(stage: &Stage, case: &'static Case) -> Result<(), Failure> {
    let timing = stage.timing();
    let runtime = runtime(timing)?;
    let limit = match timing {
        Timing::Virtual => VIRTUAL_TIME_MAX,
        Timing::Real { .. } => REAL_TIME_MAX,
    };
    let work = async {
        (case.run)(stage).await;
        stage.check_ledgers().await;
    };
    let driven = || runtime.block_on(async { tokio::time::timeout(limit, work).await });
    let text = match catch_unwind(AssertUnwindSafe(driven)) {
        Ok(Ok(())) => None,
        Ok(Err(_)) => Some(format!("not over after {limit:?}\n{}", stage.timeline())),
        Err(panic) => Some(format!("{}\n{}", text_of(&*panic), stage.timeline())),
    };
    let outcome = text.map_or(Ok(()), |text| {
        Err(match runtime.block_on(stage.lie()) {
            Some(lie) => Failure { text: format!("{lie}\n{text}"), is_lie: true },
            None => text.into(),
        })
    });
    // Rigs are dropped inside their runtime, as in an application.
    let _inside = runtime.enter();
    stage.drop_rigs();
    outcome
}

fn runtime(timing: Timing) -> Result<Runtime, String> {
    let built = match timing {
        // Without `enable_io`: the paused clock would jump even while a socket is awaited.
        Timing::Virtual => Builder::new_current_thread().enable_time().start_paused(true).build(),
        Timing::Real { .. } => Builder::new_multi_thread().worker_threads(2).enable_all().build(),
    };
    built.map_err(|error| format!("no runtime could be built: {error}"))
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("panicked")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use rr_spi::{Error, Routes, async_trait};

    use super::*;
    use crate::conformance::{Rig, StartOptions};

    /// Harness whose start blocks its thread, or only its task with `None`.
    struct Stuck(Option<Mutex<Receiver<()>>>);

    #[async_trait]
    impl Harness for Stuck {
        fn name(&self) -> &str {
            "stuck"
        }

        fn timing(&self) -> Timing {
            Timing::Virtual
        }

        async fn start(&self, _: Routes, _: StartOptions) -> Result<Box<dyn Rig>, Error> {
            if let Some(release) = &self.0 {
                let _ = release.lock().unwrap().recv();
            }
            std::future::pending().await
        }
    }

    #[test]
    fn a_case_that_never_ends_fails_with_its_timeline() {
        let harness: Arc<dyn Harness> = Arc::new(Stuck(None));
        let text = execute(&harness, named("size/one_byte")).unwrap_err().text;
        assert!(text.starts_with("not over after 86400s\n"), "{text}");
    }

    #[test]
    fn a_case_that_never_yields_fails_with_its_timeline() {
        let (_release, held) = channel();
        let harness: Arc<dyn Harness> = Arc::new(Stuck(Some(Mutex::new(held))));
        let limit = Duration::from_millis(100);
        let text = execute_within(limit, &harness, named("size/one_byte")).unwrap_err().text;
        assert!(text.starts_with("stuck for 100ms\n"), "{text}");
    }
}
