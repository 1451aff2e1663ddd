//! Where a case plays: rigs with a lab behind them, and the books on every call.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rr_spi::{Code, Context, Error, Requester, Response, Routes};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::lab::{Ask, Lab, Run};
use super::ledger::Ledger;
pub(super) use super::stopwatch::Stopwatch;
use super::{Capabilities, Harness, Live, Raw, Rig, StartOptions, Timing, Typed};

/// How much later than its deadline a call may end, and what is cancelled may go on. In virtual time,
/// where work takes none, it bounds everything; in real time it is judged over many calls.
pub(super) const PROMPT: Duration = Duration::from_millis(50);

/// Upper bound in units for a single event in real time, on a loaded machine.
const MARGIN_UNITS_REAL: u32 = 40;

/// Time that a case waits in virtual time for an event without a bound.
const PATIENCE_UNITS_VIRTUAL: u32 = 10;

/// How long the books wait for late second runs: in virtual time, where waiting costs nothing, longer
/// than any peer repeats what it holds to be lost.
const LATE_VIRTUAL: Duration = Duration::from_secs(60);
const LATE_UNITS_REAL: u32 = 3;

/// How long the first call of a rig may take, whatever the case sets as a default.
const WARM_UP: Duration = Duration::from_secs(10);

/// How long a requester may take to find its server again after an outage of a few units.
const RECOVERY_UNITS: u32 = 200;

/// Where a case plays: it opens rigs, and keeps them until the case is over.
pub(super) struct Stage {
    harness: Arc<dyn Harness>,
    scenes: Mutex<Vec<Arc<Scene>>>,
    /// What a failure must tell besides what happened.
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

    /// Returns how long the books wait for late second runs.
    pub(super) fn late(&self) -> Duration {
        match self.timing() {
            Timing::Virtual => LATE_VIRTUAL,
            Timing::Real { .. } => self.units(LATE_UNITS_REAL),
        }
    }

    /// Asserts that events came as soon as they must. In virtual time all of them did; in real time a
    /// loaded machine may hold up most of them, but not a transport the best quarter.
    pub(super) fn assert_prompt(&self, mut lateness: Vec<Duration>, what: &str) {
        lateness.sort_unstable();
        let judged = match self.timing() {
            Timing::Virtual => lateness.last(),
            Timing::Real { .. } => lateness.get(lateness.len() / 4),
        };
        let judged = *judged.expect("there were some");
        assert!(judged <= PROMPT, "{what} {judged:?} late, which is more than {PROMPT:?}");
    }

    /// Returns how much later than asked for something may happen.
    pub(super) fn margin(&self) -> Duration {
        margin(self.timing())
    }

    /// Returns the time that a case waits for an event without a bound.
    pub(super) fn patience(&self) -> Duration {
        patience(self.timing())
    }

    /// Opens a rig with the lab behind it, with the defaults of every transport.
    pub(super) async fn open(&self) -> Arc<Scene> {
        self.open_with(StartOptions::default()).await
    }

    /// Opens a rig with the lab behind it.
    pub(super) async fn open_with(&self, options: StartOptions) -> Arc<Scene> {
        let lab = Lab::new();
        let routes = lab.routes();
        self.open_routes(lab, routes, options).await
    }

    /// Opens a rig with the lab behind it, whose duplicates are suppressed for that long.
    pub(super) async fn open_deduplicating(&self, ttl: Duration) -> Arc<Scene> {
        let dedup = self.harness.dedup(ttl);
        let dedup = dedup.expect("the capability `dedup` is claimed, but there is no `dedup`");
        let lab = Lab::new();
        let routes = lab.routes().wrap(&[dedup]);
        self.open_routes(lab, routes, StartOptions::default()).await
    }

    /// Opens a rig with a lab behind it that may share its routes with others.
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
        // Connections are made before a case starts its watch.
        let warm_up = Context::background().with_timeout(WARM_UP);
        let answer = scene.call(&warm_up, &scene.ask()).await;
        assert!(answer.is_ok(), "the rig does not answer: {answer:?}");
        scene
    }

    /// Ends a rig before the case is over, and checks its books.
    pub(super) async fn close(&self, scene: Arc<Scene>) {
        self.check_ledger(&scene).await;
        lock(&self.scenes).retain(|kept| !Arc::ptr_eq(kept, &scene));
        assert_eq!(Arc::strong_count(&scene), 1, "somebody else still holds the rig");
    }

    /// Keeps something for the timeline of a case that fails, such as a seed.
    pub(super) fn note(&self, text: String) {
        lock(&self.notes).push(text);
    }

    /// Checks the books once late runs, if there are any, have had their time.
    pub(super) async fn check_ledgers(&self) {
        let scenes = lock(&self.scenes).clone();
        for scene in scenes {
            self.check_ledger(&scene).await;
        }
    }

    async fn check_ledger(&self, scene: &Scene) {
        let is_virtual = self.timing() == Timing::Virtual;
        if is_virtual || scene.ledger.has_unexecuted() {
            sleep(self.late()).await;
        }
        scene.ledger.check(&scene.lab);
    }

    /// Ends every rig.
    pub(super) fn end(&self) {
        let scenes = std::mem::take(&mut *lock(&self.scenes));
        drop(scenes);
    }

    /// Tells what the labs saw, for a case that failed.
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

/// A rig with the lab behind it.
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
        // The lab would otherwise keep its own server alive.
        self.lab.set_onward(None);
    }
}

impl Scene {
    /// Makes a request to the lab under a key of its own.
    pub(super) fn ask(&self) -> Ask {
        Ask::new(self.ledger.next_key())
    }

    /// Calls through the rig's requester, and keeps the books.
    pub(super) async fn call(&self, ctx: &Context, ask: &Ask) -> Result<Response, Error> {
        self.call_by(&*self.client, ctx, ask).await
    }

    /// Calls through any requester of the rig, and keeps the books.
    pub(super) async fn call_by(
        &self,
        client: &dyn Requester,
        ctx: &Context,
        ask: &Ask,
    ) -> Result<Response, Error> {
        self.ledger.begun(ask);
        let outcome = client.request(ctx, ask.request()).await;
        self.ledger.ended(ask, &outcome);
        outcome
    }

    /// Returns the peer below the API.
    pub(super) fn raw(&self) -> Arc<dyn Raw> {
        let raw = self.rig.raw();
        raw.expect("the capability `raw` is claimed, but the rig does not have `raw`")
    }

    /// Calls from a task of its own.
    pub(super) fn spawn(
        self: &Arc<Self>,
        ctx: &Context,
        ask: &Ask,
    ) -> JoinHandle<Result<Response, Error>> {
        let (scene, ctx, ask) = (Arc::clone(self), ctx.clone(), ask.clone());
        tokio::spawn(async move { scene.call(&ctx, &ask).await })
    }

    /// Calls, and expects an answer.
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

    /// Calls, and expects an error.
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

    /// Returns the only run of a request.
    #[track_caller]
    pub(super) fn run(&self, ask: &Ask) -> Run {
        let mut runs = self.lab.runs(ask.key());
        assert_eq!(runs.len(), 1, "runs of {}", ask.key());
        runs.remove(0)
    }

    /// Waits until the handler has been entered for a request, as often as one call of it does.
    pub(super) async fn entered(&self, ask: &Ask) {
        let runs = ask.runs();
        let entered = self.lab.until(|lab| lab.count(ask.key()) >= runs);
        let entered = timeout(patience(self.timing), entered).await;
        assert!(entered.is_ok(), "{} did not reach the handler", ask.key());
    }

    /// Waits until every run of a request has ended, and returns them.
    pub(super) async fn ended(&self, ask: &Ask) -> Vec<Run> {
        self.until(ask, "end", |run| run.ended.is_some()).await
    }

    /// Waits until something holds of every run of a request, and returns them.
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
        let reached = timeout(patience(self.timing), reached).await;
        assert!(reached.is_ok(), "{} did not {what}", ask.key());
        self.lab.runs(ask.key())
    }

    /// Waits until nothing is in flight any more, as far as the rig can tell, and no handler runs.
    pub(super) async fn idle(&self) {
        self.alive(|live| live.is_idle()).await;
        let running = |lab: &Lab| lab.timeline().iter().any(|(_, run)| run.ended.is_none());
        let rest = timeout(patience(self.timing), self.lab.until(|lab| !running(lab))).await;
        assert!(rest.is_ok(), "handlers still run");
    }

    /// Waits until something holds of what is alive.
    pub(super) async fn alive(&self, holds: impl Fn(Live) -> bool) {
        let end = Instant::now() + patience(self.timing);
        while !holds(self.rig.live()) {
            assert!(Instant::now() < end, "still alive: {:?}", self.rig.live());
            sleep(self.timing.unit() / 10).await;
        }
    }

    /// Calls by a requester until it is answered again after an outage.
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

    /// Starts a watch.
    pub(super) fn watch(&self) -> Stopwatch {
        Stopwatch::start(margin(self.timing))
    }
}

fn margin(timing: Timing) -> Duration {
    match timing {
        Timing::Virtual => PROMPT,
        Timing::Real { unit } => unit * MARGIN_UNITS_REAL,
    }
}

fn patience(timing: Timing) -> Duration {
    match timing {
        Timing::Virtual => timing.unit() * PATIENCE_UNITS_VIRTUAL,
        Timing::Real { .. } => margin(timing),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic cannot leave these values half-changed, as nothing foreign runs under a lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
