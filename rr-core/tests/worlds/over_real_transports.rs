//! The faults one by one over real transports, and the applications' smallest counterexamples
//! replayed there.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rr_core::config::IntakeConfig;
use rr_core::transport::Routes;
use rr_core::{Code, Delivery, Error, Requester, RequesterExt, Router, Server, async_trait};
use rr_http::HttpVersion;
use rr_testkit::worlds::{Carrier, Fault, Network, Profile, Script, Worlds, WorldsReport};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::applications::{
    self,
    support::{explore, within},
};
use super::carriers::Http;
#[cfg(feature = "nats")]
use super::carriers::Nats;
use super::exploration::{serve, work};

fn http_1() -> Arc<dyn Carrier> {
    Arc::new(Http(HttpVersion::H1))
}

fn http_2() -> Arc<dyn Carrier> {
    Arc::new(Http(HttpVersion::H2c))
}

#[cfg(feature = "nats")]
async fn nats() -> Arc<dyn Carrier> {
    Arc::new(Nats::start().await)
}

/// What a caller learns from a fault, the reason included, and how many runs ended.
type Told = (Fault, String, usize);

/// Faults that no real transport can make.
const UNMADE: [Fault; 2] = [Fault::Repeated, Fault::ClockJumped];

/// Strikes one call by each fault, in a network of its own.
async fn told(
    faults: impl IntoIterator<Item = Fault>,
    make: impl Fn(Script) -> Network,
) -> Vec<Told> {
    let mut tasks = JoinSet::new();
    for fault in faults {
        let network = make(first(fault));
        tasks.spawn(async move {
            let runs = serve(&network);
            let client = network.client("test", "svc");
            let outcome = client.call::<usize>(&within(5), "svc.work", &()).await;
            let text = outcome.map_or_else(|error| text(&error.into()), |_| "ok".to_owned());
            assert!(network.settle(Duration::from_secs(60)).await, "{}", network.trace());
            assert_eq!(network.faults_fired(), 1, "{}", network.trace());
            (fault, text, runs.load(Ordering::SeqCst))
        });
    }
    let mut told = tasks.join_all().await;
    told.sort_by_key(|(fault, ..)| *fault);
    told
}

/// Returns the script of a world in which the only call is struck.
fn first(fault: Fault) -> Script {
    Script::new().at("test", "svc", "svc.work", 1, fault)
}

/// Returns what the simulation tells the callers by the rules of a transport.
fn told_by_simulation(faults: impl IntoIterator<Item = Fault>, profile: Profile) -> Vec<Told> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(told(faults, |script| {
        let network = Network::with(script);
        network.set_profile("svc", profile);
        network
    }))
}

/// Returns what a transport tells the callers.
async fn told_over(
    faults: impl IntoIterator<Item = Fault>,
    carrier: Arc<dyn Carrier>,
) -> Vec<Told> {
    told(faults, |script| Network::over(Arc::clone(&carrier), script)).await
}

/// Asserts that a profile is right: each of its faults tells the caller what the transport does, and
/// lets the handler run as often.
#[track_caller]
fn assert_profile(profile: Profile, carrier: impl Future<Output = Arc<dyn Carrier>>) {
    let faults = || {
        let makeable = Fault::ALL.into_iter().filter(|fault| !UNMADE.contains(fault));
        makeable.filter(move |fault| profile.has(*fault))
    };
    let over = real_time().block_on(async { told_over(faults(), carrier.await).await });
    assert_eq!(over, told_by_simulation(faults(), profile));
}

/// Asserts that a fault that a profile leaves out does what one of its other faults does.
async fn assert_other(profile: Profile, carrier: Arc<dyn Carrier>, left_out: Fault, other: Fault) {
    assert!(!profile.has(left_out) && profile.has(other));
    let told = told_over([left_out, other], carrier).await;
    let [(_, text, runs), (_, other_text, other_runs)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((text, runs), (other_text, other_runs), "{told:?}");
}

fn real_time() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn text(error: &Error) -> String {
    let reason = error.reason().map_or("no reason", |reason| reason.as_str());
    format!("{} {} {reason}", error.code().as_str(), error.delivery().as_str())
}

#[test]
fn over_http_1_each_fault_tells_the_caller_what_its_profile_says() {
    assert_profile(Profile::Http1, async { http_1() });
}

#[test]
fn over_http_2_each_fault_tells_the_caller_what_its_profile_says() {
    assert_profile(Profile::Http2, async { http_2() });
}

#[cfg(feature = "nats")]
#[test]
fn over_nats_each_fault_tells_the_caller_what_its_profile_says() {
    assert_profile(Profile::Nats, nats());
}

#[tokio::test]
async fn a_reset_over_http_1_is_a_connection_that_breaks_within_the_handler() {
    assert_other(Profile::Http1, http_1(), Fault::Reset, Fault::BrokenWithin).await;
}

/// The broker knows no responder any more, and no server gets to know of lost connections.
#[cfg(feature = "nats")]
#[tokio::test]
async fn the_faults_that_nats_does_not_have_are_others() {
    let carrier = nats().await;
    let other =
        |left_out, other| assert_other(Profile::Nats, Arc::clone(&carrier), left_out, other);
    other(Fault::Draining, Fault::ConnectFails).await;
    other(Fault::BrokenWithin, Fault::Reset).await;
}

/// HTTP repeats no request, so that no profile of HTTP has this fault. The proxy makes it.
#[tokio::test]
async fn a_duplicate_over_http_is_that_of_the_simulation() {
    for carrier in [http_1(), http_2()] {
        let over = told_over([Fault::Duplicated], carrier).await;
        assert_eq!(over, [(Fault::Duplicated, "ok".to_owned(), 2)]);
    }
}

/// Explores a mistaken application in virtual time, and runs it in the world that was found over a
/// real transport, together with its right twin. Returns the reports of both, and what was wrong.
fn replayed<C, F, S>(carrier: C, scenario: F) -> (WorldsReport, WorldsReport, String)
where
    C: Future<Output = Arc<dyn Carrier>>,
    F: Fn(Network, bool) -> S + Copy + Send + Sync + 'static,
    S: Future<Output = ()>,
{
    let report = explore(false, scenario);
    let found = report.counterexample().expect("the mistake is found");
    let (mistaken, right) = real_time().block_on(async {
        let carrier = carrier.await;
        let replay = |is_right| {
            let scenario = move |network| scenario(network, is_right);
            Worlds::replay_over(Arc::clone(&carrier), found.script(), scenario)
        };
        tokio::join!(biased; replay(false), replay(true))
    });
    (mistaken, right, found.wrong().to_owned())
}

/// Asserts that an application fails over a transport as in the simulation, and its twin passes.
#[track_caller]
fn assert_same((mistaken, right, wrong): (WorldsReport, WorldsReport, String)) {
    let found = mistaken.counterexample().map(|found| found.wrong());
    assert_eq!((found, mistaken.unfired()), (Some(wrong.as_str()), 0), "{mistaken}");
    assert!(right.has_passed(), "{right}");
}

/// Asserts that an application and its twin pass over a transport.
#[track_caller]
fn assert_harmless((mistaken, right, _): (WorldsReport, WorldsReport, String)) {
    assert!(mistaken.has_passed() && mistaken.unfired() == 0, "{mistaken}");
    assert!(right.has_passed(), "{right}");
}

/// Makes a test of each application.
macro_rules! replays {
    ($assert:ident, $carrier:expr, $($application:ident)*) => {
        use super::*;

        $(#[test]
        fn $application() {
            $assert(replayed(async { $carrier }, applications::$application::scenario));
        })*
    };
}

/// The applications that need no hour, and no schedule to the second.
mod over_http_1 {
    replays! {
        assert_same, http_1(),
        concurrent_duplicates confirmed_before_stored counted_attempts crash_before_order
        deadline_not_passed_on deadline_taken_for_not_run double_charge late_booking
        lost_compensation lost_in_a_crash lost_update not_run_to_its_end outbox_after_call
        paid_before_reply refund_without_charge reservation_left retry_by_hand stale_read
        store_per_instance unknown_taken_for_failed
    }
}

/// Those whose faults depend on how a connection carries requests.
mod over_http_2 {
    replays! {
        assert_same, http_2(),
        concurrent_duplicates crash_before_order late_booking lost_in_a_crash lost_update
        reservation_left retry_by_hand
    }
}

#[cfg(feature = "nats")]
mod over_nats {
    replays! {
        assert_same, nats().await,
        concurrent_duplicates confirmed_before_stored counted_attempts deadline_not_passed_on
        deadline_taken_for_not_run double_charge late_booking lost_compensation lost_in_a_crash
        lost_update refund_without_charge retry_by_hand stale_read store_per_instance
        unknown_taken_for_failed
    }
}

/// The mistake needs a request that states the time left at its arrival. Over a real transport it
/// states that at its departure, and the handler of a delayed request has more time than its caller.
mod over_http_1_without_harm {
    replays! { assert_harmless, http_1(), retry_beyond_deadline }
}

/// A lost connection stops no handler, and what a crash interrupts has left already.
#[cfg(feature = "nats")]
mod over_nats_without_harm {
    replays! {
        assert_harmless, nats().await,
        key_from_a_counter not_run_to_its_end outbox_after_call paid_before_reply reservation_left
        retry_beyond_deadline
    }
}

/// Carrier that cannot make one fault.
struct Limited;

#[async_trait]
impl Carrier for Limited {
    fn name(&self) -> &str {
        "semaphores"
    }

    fn cannot(&self, fault: Fault) -> Option<&'static str> {
        (fault == Fault::Reset).then_some("there are no connections")
    }

    async fn serve(
        &self,
        _: &str,
        _: SocketAddr,
        _: Routes,
        _: IntakeConfig,
    ) -> Result<Server, Error> {
        Err(Error::new(Code::Unavailable, "no server can be started"))
    }

    async fn connect(&self, _: &str, _: SocketAddr) -> Result<Arc<dyn Requester>, Error> {
        Err(Error::new(Code::Unavailable, "no connection can be made"))
    }

    async fn connect_to_none(&self, _: SocketAddr) -> Result<Arc<dyn Requester>, Error> {
        Err(Error::new(Code::Unavailable, "no connection can be made"))
    }
}

/// Replays a call over a carrier that cannot do what is needed; returns the report.
async fn refused(fault: Fault) -> String {
    let script = first(fault);
    let replay = Worlds::replay_over(Arc::new(Limited), &script, |network| async move {
        serve(&network);
        let _ = work(&network).await;
    });
    let report = replay.await;
    assert!(!report.has_passed() && report.counterexample().is_none(), "{report}");
    report.to_string()
}

#[tokio::test]
async fn a_fault_that_a_transport_cannot_make_is_refused() {
    let text = "`reset` cannot be made over semaphores: there are no connections";
    assert_eq!(refused(Fault::Reset).await.trim_end(), text);
}

#[tokio::test]
async fn a_fault_that_no_transport_can_make_fails_its_call_and_nothing_else() {
    for fault in UNMADE {
        let network = Network::over(http_1(), first(fault));
        let runs = serve(&network);
        assert_eq!(network.refused(), None);
        let error = work(&network).await.unwrap_err();
        let text = format!("`{fault}` cannot be made over HTTP/1.1: ");
        assert_eq!((error.code(), error.delivery()), (Code::Unimplemented, Delivery::NotSent));
        assert!(error.message().starts_with(&text), "{error}");
        assert_eq!(network.refused().as_deref(), Some(error.message()));
        assert_eq!((runs.load(Ordering::SeqCst), network.faults_fired()), (0, 0), "{fault}");
        let client = network.client("test", "svc");
        assert_eq!(client.call::<usize>(&within(60), "svc.work", &()).await.unwrap(), 0);
        assert!(refused(fault).await.starts_with(&text.replace("HTTP/1.1", "semaphores")));
    }
}

#[tokio::test]
async fn a_server_that_does_not_start_refuses_the_replay() {
    let report = refused(Fault::Delayed).await;
    assert!(report.contains("was not replayed over semaphores"), "{report}");
    assert!(report.contains("no server can be started"), "{report}");
}

#[tokio::test]
async fn a_reset_ends_every_call_of_the_link_over_http() {
    let script = Script::new().at("test", "svc", "svc.wait", 2, Fault::Reset);
    let network = Network::over(http_1(), script);
    let entered = Arc::new(Notify::new());
    let notified = Arc::clone(&entered);
    network.serve("svc", move || {
        let entered = Arc::clone(&notified);
        Router::new().route("svc.wait", move |(): ()| {
            entered.notify_one();
            std::future::pending::<Result<(), Error>>()
        })
    });
    let (client, ctx) = (network.client("test", "svc"), within(60));
    let wait = || client.call::<()>(&ctx, "svc.wait", &());
    let second = async {
        entered.notified().await;
        wait().await
    };
    let (first, second) = tokio::join!(biased; wait(), second);
    for outcome in [first, second] {
        let error = Error::from(outcome.unwrap_err());
        assert_eq!(text(&error), "unavailable unknown connection-lost", "{}", network.trace());
    }
}

#[tokio::test]
async fn a_partition_loses_what_is_sent_within_5_s_and_heals_over_http() {
    let network = Network::over(http_1(), first(Fault::Partitioned));
    let runs = serve(&network);
    let client = network.client("test", "svc");
    let work = async |seconds| client.call::<usize>(&within(seconds), "svc.work", &()).await;
    for _ in 0..2 {
        let error = Error::from(work(1).await.unwrap_err());
        assert_eq!(error.code(), Code::DeadlineExceeded, "{}", network.trace());
    }
    sleep(Duration::from_secs(4)).await;
    assert!(work(60).await.is_ok(), "{}", network.trace());
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}
