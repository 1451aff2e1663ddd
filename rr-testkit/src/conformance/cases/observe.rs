//! The observers of a server are told of every request exactly once.

use std::sync::Arc;

use rr_spi::{Code, Context, Delivery, IntakeConfig, Reason};
use tokio::time::{sleep, timeout};

use super::error_of;
use crate::conformance::stage::{Scene, Stage};
use crate::{Report, Reports};

pub(crate) async fn each_request_is_reported_once(stage: &Stage) {
    let reports = Reports::new();
    let config = IntakeConfig::default().with_observers(reports.observers());
    let scene = stage.open_server(config.clone().with_in_flight_max(1)).await;
    assert_eq!(outcome(&next(stage, &reports).await), RUN, "the first call of the rig");

    let ask = scene.ask().body("body").echo();
    let length = scene.ok(&ask).await.body.len();
    let report = next(stage, &reports).await;
    assert_eq!(outcome(&report), RUN);
    assert_eq!((report.request_bytes, report.response_bytes), (4, length), "{report}");

    scene.err(&scene.ask().fail(Code::NotFound).reason("lab-reason")).await;
    let reason = Reason::parse("lab-reason");
    let failed = Told { code: Some(Code::NotFound), reason, ..RUN };
    assert_eq!(outcome(&next(stage, &reports).await), failed);

    scene.err(&scene.ask().panic_now()).await;
    let report = next(stage, &reports).await;
    let panicked = Told { code: Some(Code::Internal), reason: Some(Reason::PANIC), ..RUN };
    assert_eq!(outcome(&report), panicked);
    assert!(report.panic.is_some(), "the message of a panic is for this process");

    // A broker passes on what is for a service of the server, whatever the method.
    scene.err(&scene.ask().target("lab.closed.missing")).await;
    let (code, reason) = (Some(Code::Unimplemented), Some(Reason::NO_SUCH_TARGET));
    assert_eq!(outcome(&next(stage, &reports).await), Told { code, reason, ..REFUSED });

    dropped(stage, &scene, &reports).await;
    overload(stage, &scene, &reports).await;
    expiry(stage, &reports, config).await;
    sleep(stage.late()).await;
    assert_eq!(reports.take(), [], "reported again");
}

/// A call that is dropped while its handler runs.
async fn dropped(stage: &Stage, scene: &Scene, reports: &Reports) {
    if !stage.capabilities().cancel {
        return;
    }
    let ask = scene.ask().hang();
    scene.call_and_drop(&*scene.client, &Context::background(), &ask).await;
    scene.ended(&ask).await;
    let canceled = Told { code: Some(Code::Canceled), ..RUN };
    assert_eq!(outcome(&next(stage, reports).await), canceled);
    scene.idle().await;
}

/// A call beyond the limit of requests in flight.
async fn overload(stage: &Stage, scene: &Arc<Scene>, reports: &Reports) {
    let held = scene.ask().gate("held");
    let calls = scene.start(&Context::background(), &[held]).await;
    scene.err(&scene.ask()).await;
    let (code, reason) = (Some(Code::ResourceExhausted), Some(Reason::OVERLOADED));
    let refused = Told { code, reason, route: Some("lab.run"), ..REFUSED };
    assert_eq!(outcome(&next(stage, reports).await), refused);
    scene.lab.open_gate("held");
    for call in calls {
        call.await.expect("the task ends").expect("an answer");
    }
    // A requester that tries again makes further requests, which are refused like the first.
    loop {
        let report = next(stage, reports).await;
        if outcome(&report) != refused {
            assert_eq!(outcome(&report), RUN);
            return;
        }
    }
}

/// A call whose time at the server is over before that of its caller.
async fn expiry(stage: &Stage, reports: &Reports, config: IntakeConfig) {
    let scene = stage.open_server(config.with_timeout_max(stage.units(5))).await;
    assert_eq!(outcome(&next(stage, reports).await), RUN, "the first call of the rig");
    let ctx = Context::background().with_timeout(stage.units(1000));
    error_of(scene.call(&ctx, &scene.ask().hang()).await);
    let expired = Told { code: Some(Code::DeadlineExceeded), ..RUN };
    assert_eq!(outcome(&next(stage, reports).await), expired);
}

/// Waits for the next report.
async fn next(stage: &Stage, reports: &Reports) -> Report {
    let report = timeout(stage.timing().patience(), reports.next()).await;
    report.expect("the request is not reported")
}

/// Part of a report that the suite determines.
#[derive(Debug, PartialEq)]
struct Told<'a> {
    route: Option<&'a str>,
    code: Option<Code>,
    reason: Option<Reason>,
    delivery: Delivery,
    is_entered: bool,
}

/// Report of a call that succeeds.
const RUN: Told<'_> = Told {
    route: Some("lab.run"),
    code: None,
    reason: None,
    delivery: Delivery::Processed,
    is_entered: true,
};

/// Report of a call that is refused, without its code and its route.
const REFUSED: Told<'_> =
    Told { route: None, code: None, reason: None, delivery: Delivery::Rejected, is_entered: false };

fn outcome(report: &Report) -> Told<'_> {
    Told {
        route: report.route.as_deref(),
        code: report.code,
        reason: report.reason.clone(),
        delivery: report.delivery,
        is_entered: report.entered.is_some(),
    }
}
