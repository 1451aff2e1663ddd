//! The stage of a case: its rigs, each with a lab and a ledger of every call.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_spi::{Bytes, Code, Context, Error, IntakeConfig, Requester, Response, Routes};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::lab::{Ask, Lab, Run};
use super::ledger::Ledger;
pub(super) use super::stopwatch::Stopwatch;
use super::{Capabilities, Harness, Live, Raw, Rig, StartOptions, Timing, Typed};
use crate::sync::lock;

/// Longest time that a call may outlive its deadline and a handler may outlive its cancellation.
///
/// In virtual time, where work takes no time, this bounds every event. In real time it is compared
/// with the best quarter of many calls.
pub(super) const PROMPT: Duration = Duration::from_millis(50);

/// Bound in units for a single event in real time, on a loaded machine.
const MARGIN_UNITS_REAL: u32 = 40;

/// Units that a case waits in virtual time for an event without a bound.
const PATIENCE_UNITS_VIRTUAL: u32 = 10;

/// Time that the ledger check waits for late second runs. In virtual time, where waiting costs
/// nothing, it is longer than the time for which any peer retransmits a lost message.
const LATE_VIRTUAL: Duration = Duration::from_secs(60);
const LATE_UNITS_REAL: u32 = 3;

/// Timeout of the first call of a rig, independent of the defaults that the case sets.
const WARM_UP: Duration = Duration::from_secs(10);

/// Longest time in units for a requester to recover from an outage of a few units.
const RECOVERY_UNITS: u32 = 200;

/// Stage of one case: opens rigs and keeps them until the case is over.
pub(super) struct Stage {
    harness: Arc<dyn Harness>,
    scenes: Mutex<Vec<Arc<Scene>>>,
    /// Lines for the timeline of a failure, such as seeds.
    notes: Mutex<Vec<String>>,
}

impl Stage {
    pub(super) fn new(harness: Arc<dyn Harness>) -> Self {
        Self { harness, scenes: Mutex::default(), notes: Mutex::default() }
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        self.harness.capabilities()
    }

    pub(super) fn timing(&self) -> Timing {
        self.harness.timing()
    }

    /// Returns the harness's typed calls.
    pub(super) fn typed(&self) -> Typed {
        let typed = self.harness.typed();
        typed.expect("the capability `typed` is claimed, but the harness does not have `typed`")
    }

    pub(super) fn units(&self, units: u32) -> Duration {
        self.timing().unit() * units
    }

    /// Returns the time that the ledger check waits for late second runs.
    pub(super) fn late(&self) -> Duration {
        match self.timing() {
            Timing::Virtual => LATE_VIRTUAL,
            Timing::Real { .. } => self.units(LATE_UNITS_REAL),
        }
    }

    /// Asserts that events were at most [`PROMPT`] late. In virtual time every event counts. In
    /// real time only the best quarter counts, since a loaded machine may delay the rest.
    pub(super) fn assert_prompt(&self, mut lateness: Vec<Duration>, what: &str) {
        lateness.sort_unstable();
        let judged = match self.timing() {
            Timing::Virtual => lateness.last(),
            Timing::Real { .. } => lateness.get(lateness.len() / 4),
        };
        let judged = *judged.expect("there were some");
        assert!(judged <= PROMPT, "{what} {judged:?} late, which is more than {PROMPT:?}");
    }

    /// Opens a rig that serves a new lab, with the defaults of every transport.
    pub(super) async fn open(&self) -> Arc<Scene> {
        self.open_with(StartOptions::default()).await
    }

    /// Opens a rig that serves a new lab, with these limits of the server.
    pub(super) async fn open_server(&self, server: IntakeConfig) -> Arc<Scene> {
        self.open_with(StartOptions::default().with_server(server)).await
    }

    /// Opens a rig that serves a new lab.
    pub(super) async fn open_with(&self, options: StartOptions) -> Arc<Scene> {
        let lab = Lab::new();
        let routes = lab.routes();
        self.open_routes(lab, routes, options).await
    }

    /// Opens a rig that serves a new lab and suppresses duplicates for `ttl`.
    pub(super) async fn open_deduplicating(&self, ttl: Duration) -> Arc<Scene> {
        let dedup = self.harness.dedup(ttl);
        let dedup = dedup.expect("the capability `dedup` is claimed, but there is no `dedup`");
        let lab = Lab::new();
        let routes = lab.routes().wrap(&[dedup]);
        self.open_routes(lab, routes, StartOptions::default()).await
    }

    /// Opens a rig that serves `routes`, which contain those of the lab.
    pub(super) async fn open_routes(
        &self,
        lab: Lab,
        routes: Routes,
        options: StartOptions,
    ) -> Arc<Scene> {
        let rig = self.harness.start(routes, options).await.expect("the rig starts");
        let client = rig.requester();
        lab.set_onward(Some(Arc::clone(&client)));
        let scene = Arc::new(Scene {
            rig,
            lab,
            client,
            timing: self.timing(),
            ledger: Ledger::default(),
            opened_at: Instant::now(),
        });
        lock(&self.scenes).push(Arc::clone(&scene));
        // The first call makes the connections before a case starts its stopwatch.
        let warm_up = Context::background().with_timeout(WARM_UP);
        let answer = scene.call(&warm_up, &scene.ask()).await;
        assert!(answer.is_ok(), "the rig does not answer: {answer:?}");
        scene
    }

    /// Ends a rig before the case is over and checks its ledger.
    pub(super) async fn close(&self, scene: Arc<Scene>) {
        self.check_ledger(&scene).await;
        lock(&self.scenes).retain(|open| !Arc::ptr_eq(open, &scene));
        assert_eq!(Arc::strong_count(&scene), 1, "somebody else still holds the rig");
    }

    /// Adds a line to the timeline of a failing case, such as a seed.
    pub(super) fn note(&self, text: String) {
        lock(&self.notes).push(text);
    }

    /// Checks all ledgers after waiting for late runs.
    pub(super) async fn check_ledgers(&self) {
        let scenes = lock(&self.scenes).clone();
        for scene in scenes {
            self.check_ledger(&scene).await;
        }
    }

    async fn check_ledger(&self, scene: &Scene) {
        self.late_runs(scene).await;
        scene.ledger.check(&scene.lab);
    }

    /// Describes a request of any rig that ran although its error said that it did not. Looked for
    /// after a failure, when the calls of the case need not be over.
    pub(super) async fn lie(&self) -> Option<String> {
        let scenes = lock(&self.scenes).clone();
        for scene in scenes {
            self.late_runs(&scene).await;
            if let Some(lie) = scene.ledger.lie(&scene.lab) {
                return Some(lie);
            }
        }
        None
    }

    /// Waits for runs that come late.
    async fn late_runs(&self, scene: &Scene) {
        let is_virtual = self.timing() == Timing::Virtual;
        if is_virtual || scene.ledger.has_unexecuted() {
            sleep(self.late()).await;
        }
    }

    /// Drops every rig.
    pub(super) fn drop_rigs(&self) {
        let scenes = std::mem::take(&mut *lock(&self.scenes));
        drop(scenes);
    }

    /// Returns the notes and the runs of all labs, for the report of a failing case.
    pub(super) fn timeline(&self) -> String {
        let mut out = String::new();
        for note in lock(&self.notes).iter() {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "  {note}");
        }
        for (at, scene) in lock(&self.scenes).iter().enumerate() {
            let runs = scene.lab.timeline();
            let live = scene.rig.live();
            let _ = writeln!(out, "  lab {at}: {} runs, {live:?}", runs.len());
            for (key, run) in runs.iter().rev().take(20).rev() {
                let _ = writeln!(out, "    {}", line(scene, key, run));
            }
        }
        out
    }
}

fn line(scene: &Scene, key: &str, run: &Run) -> String {
    let since = |at: Instant| at.saturating_duration_since(scene.opened_at);
    let end = match run.ended {
        Some((at, how)) => format!("{how:?} at {:?}", since(at)),
        None => "running".to_owned(),
    };
    let Run { target, remaining, .. } = run;
    format!("{:?} {key} {target}, {remaining:?} left: {end}", since(run.entered_at))
}

/// Task of a call.
pub(super) type CallTask = JoinHandle<Result<Response, Error>>;

/// Asserts that every call is answered with the body of its request.
pub(super) async fn assert_echoed(calls: Vec<CallTask>, asks: &[Ask]) {
    for (call, ask) in calls.into_iter().zip(asks) {
        let answer = call.await.expect("the task ends").expect("an answer");
        assert!(answer.body == ask.request().body, "{} got another body", ask.key());
    }
}

/// Rig with the lab that it serves.
pub(super) struct Scene {
    pub(super) rig: Box<dyn Rig>,
    pub(super) lab: Lab,
    pub(super) client: Arc<dyn Requester>,
    timing: Timing,
    ledger: Ledger,
    opened_at: Instant,
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Breaks a cycle: the lab holds a requester, which may keep the lab's server alive.
        self.lab.set_onward(None);
    }
}

impl Scene {
    /// Makes a request to the lab with a new key.
    pub(super) fn ask(&self) -> Ask {
        Ask::new(self.ledger.next_key())
    }

    /// Calls through the rig's requester and records the outcome in the ledger.
    pub(super) async fn call(&self, ctx: &Context, ask: &Ask) -> Result<Response, Error> {
        self.call_by(&*self.client, ctx, ask).await
    }

    /// Calls through the given requester of the rig and records the outcome in the ledger.
    pub(super) async fn call_by(
        &self,
        client: &dyn Requester,
        ctx: &Context,
        ask: &Ask,
    ) -> Result<Response, Error> {
        self.ledger.record_start(ask);
        let outcome = client.request(ctx, ask.request()).await;
        self.ledger.record_outcome(ask, &outcome);
        outcome
    }

    /// Returns the foreign peer of the rig.
    pub(super) fn raw(&self) -> Arc<dyn Raw> {
        let raw = self.rig.raw();
        raw.expect("the capability `raw` is claimed, but the rig does not have `raw`")
    }

    /// Calls from a separate task.
    pub(super) fn spawn(self: &Arc<Self>, ctx: &Context, ask: &Ask) -> CallTask {
        let (scene, ctx, ask) = (Arc::clone(self), ctx.clone(), ask.clone());
        tokio::spawn(async move { scene.call(&ctx, &ask).await })
    }

    /// Calls from a separate task per request, and waits until every handler was entered.
    pub(super) async fn start(self: &Arc<Self>, ctx: &Context, asks: &[Ask]) -> Vec<CallTask> {
        let calls = asks.iter().map(|ask| self.spawn(ctx, ask)).collect();
        for ask in asks {
            self.entered(ask).await;
        }
        calls
    }

    /// Calls through a requester, waits until the handler was entered, and drops the call.
    pub(super) async fn call_and_drop(&self, client: &dyn Requester, ctx: &Context, ask: &Ask) {
        let mut call = Box::pin(self.call_by(client, ctx, ask));
        tokio::select! {
            biased;
            outcome = &mut call => panic!("it was to wait, not to end: {outcome:?}"),
            () = self.entered(ask) => {}
        }
    }

    /// Calls with a body and asserts that it comes back.
    pub(super) async fn echo(&self, body: impl Into<Bytes>) {
        let ask = self.ask().body(body);
        assert_eq!(self.ok(&ask).await.body, ask.request().body);
    }

    /// Calls and expects an answer.
    #[track_caller]
    pub(super) fn ok<'a>(&'a self, ask: &'a Ask) -> impl Future<Output = Response> + Send + 'a {
        let caller = std::panic::Location::caller();
        async move {
            match self.call(&Context::background(), ask).await {
                Ok(response) => response,
                Err(error) => panic!("{caller}: expected an answer, not {error:?}"),
            }
        }
    }

    /// Calls and expects an error.
    #[track_caller]
    pub(super) fn err<'a>(&'a self, ask: &'a Ask) -> impl Future<Output = Error> + Send + 'a {
        let caller = std::panic::Location::caller();
        async move {
            match self.call(&Context::background(), ask).await {
                Ok(response) => panic!("{caller}: expected an error, not {response:?}"),
                Err(error) => error,
            }
        }
    }

    /// Calls and expects an error immediately.
    #[track_caller]
    pub(super) fn err_at_once<'a>(
        &'a self,
        ask: &'a Ask,
    ) -> impl Future<Output = Error> + Send + 'a {
        let error = self.err(ask);
        async move {
            let watch = self.watch();
            let error = error.await;
            watch.assert_at_once();
            error
        }
    }

    /// Returns the only run of a request.
    #[track_caller]
    pub(super) fn run(&self, ask: &Ask) -> Run {
        let mut runs = self.lab.runs(ask.key());
        assert_eq!(runs.len(), 1, "runs of {}", ask.key());
        runs.remove(0)
    }

    /// Waits until the handler was entered for a request, on every hop of one call.
    pub(super) async fn entered(&self, ask: &Ask) {
        let runs = ask.runs();
        let entered = self.lab.until(|lab| lab.count(ask.key()) >= runs);
        let entered = timeout(self.timing.patience(), entered).await;
        assert!(entered.is_ok(), "{} did not reach the handler", ask.key());
    }

    /// Waits until every run of a request has ended, and returns the runs.
    pub(super) async fn ended(&self, ask: &Ask) -> Vec<Run> {
        self.until(ask, "end", |run| run.ended.is_some()).await
    }

    /// Waits until a condition holds for every run of a request, and returns the runs.
    pub(super) async fn until(
        &self,
        ask: &Ask,
        what: &str,
        holds: impl Fn(&Run) -> bool,
    ) -> Vec<Run> {
        let reached = self.lab.until(|lab| {
            let runs = lab.runs(ask.key());
            runs.len() >= ask.runs() && runs.iter().all(&holds)
        });
        let reached = timeout(self.timing.patience(), reached).await;
        assert!(reached.is_ok(), "{} did not {what}", ask.key());
        self.lab.runs(ask.key())
    }

    /// Waits until the rig reports no request in flight and no pending call, and no handler runs.
    pub(super) async fn idle(&self) {
        self.alive(|live| live.is_idle()).await;
        let running = |lab: &Lab| lab.timeline().iter().any(|(_, run)| run.ended.is_none());
        let rest = timeout(self.timing.patience(), self.lab.until(|lab| !running(lab))).await;
        assert!(rest.is_ok(), "handlers still run");
    }

    /// Waits until a condition on the live resources holds.
    pub(super) async fn alive(&self, holds: impl Fn(Live) -> bool) {
        let end = Instant::now() + self.timing.patience();
        while !holds(self.rig.live()) {
            assert!(Instant::now() < end, "still alive: {:?}", self.rig.live());
            sleep(self.timing.unit() / 10).await;
        }
    }

    /// Calls through a requester until a call is answered again after an outage.
    pub(super) async fn recovers(&self, client: &dyn Requester) {
        let unit = self.timing.unit();
        let end = Instant::now() + unit * RECOVERY_UNITS;
        loop {
            let ctx = Context::background().with_timeout(unit * 10);
            let Err(error) = self.call_by(client, &ctx, &self.ask()).await else { return };
            let expected = [Code::Unavailable, Code::DeadlineExceeded].contains(&error.code());
            assert!(expected, "not how an outage reads: {error:?}");
            assert!(Instant::now() < end, "it does not recover: {error:?}");
            sleep(unit / 2).await;
        }
    }

    /// Starts a stopwatch.
    pub(super) fn watch(&self) -> Stopwatch {
        Stopwatch::start(self.timing.margin())
    }
}

impl Timing {
    /// Returns the tolerance for the lateness of a single event.
    pub(super) fn margin(self) -> Duration {
        match self {
            Self::Virtual => PROMPT,
            Self::Real { unit } => unit * MARGIN_UNITS_REAL,
        }
    }

    /// Returns the time that a case waits for an event without a bound.
    pub(super) fn patience(self) -> Duration {
        match self {
            Self::Virtual => self.unit() * PATIENCE_UNITS_VIRTUAL,
            Self::Real { .. } => self.margin(),
        }
    }
}
