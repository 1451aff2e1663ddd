//! A request reaches the right handler, and its answer the right caller.

use std::sync::{Arc, LazyLock};

use rr_spi::{Bytes, Code, Context, Delivery, Error, Reason, Requester};
use serde_json::Value;

use super::{assert_error, error_of};
use crate::conformance::lab::{Lab, pattern, unicode};
use crate::conformance::stage::Stage;
use crate::conformance::{Parcel, StartOptions, Typed};

pub(crate) async fn echo_bytes(stage: &Stage) {
    let scene = stage.open().await;
    let all: Bytes = (0..=255_u8).chain((0..=255).rev()).collect();
    let ask = scene.ask().body(all.clone());
    assert_eq!(scene.ok(&ask).await.body, all);
    assert_eq!(scene.run(&ask).body, all);
    let lines = Bytes::from_static(b"\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n-ERR\r\nPUB a 1\r\n");
    let ask = scene.ask().body(lines.clone());
    assert_eq!(scene.ok(&ask).await.body, lines);
    assert_eq!(scene.run(&ask).body, lines);
}

/// Returns bodies for typed calls, with extreme numbers and characters that need escapes.
fn parcels() -> [Parcel; 2] {
    let numbers = vec![0, -1, i64::MAX, i64::MIN, (1 << 53) + 1];
    let full = Parcel { text: unicode(300) + "\0\"\\\n", numbers, note: Some(String::new()) };
    [full, Parcel { numbers: vec![1], ..Parcel::default() }]
}

fn json(body: &Bytes) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|error| panic!("not JSON: {error}: {body:?}"))
}

pub(crate) async fn typed_equals_raw(stage: &Stage) {
    let typed = stage.typed();
    let ctx = Context::background();

    // A typed responder answers typed and raw calls alike.
    let lab = Lab::new();
    let mut routes = lab.routes();
    routes.merge(typed.routes()).expect("the typed target is free");
    let scene = stage.open_routes(lab, routes, StartOptions::default()).await;
    let raw = |body: Vec<u8>| scene.ask().target(Typed::TARGET).body(body).request();
    for parcel in parcels() {
        let turned = parcel.clone().turned().expect("it has numbers");
        let answer = typed.call(&scene.client, &ctx, parcel.clone()).await;
        assert_eq!(answer.expect("an answer"), turned);
        let request = raw(serde_json::to_vec(&parcel).expect("it is plain data"));
        let answer = scene.client.request(&ctx, request).await.expect("an answer");
        assert_eq!(json(&answer.body), serde_json::json!(turned));
    }
    // The same holds for application errors; bodies that do not decode are refused.
    let told = |error: &Error| {
        let reason = error.reason().cloned();
        (error.code(), error.delivery(), reason, error.details().to_vec(), error.retry())
    };
    let refused = typed.call(&scene.client, &ctx, Parcel::default()).await;
    let refused = refused.expect_err("there are no numbers");
    let request = raw(serde_json::to_vec(&Parcel::default()).expect("it is plain data"));
    let raw_refused = error_of(scene.client.request(&ctx, request).await);
    assert_error(&refused, Code::FailedPrecondition, &[Delivery::Processed], Some(&Reason::APP));
    assert_eq!(told(&refused), told(&raw_refused));
    for unreadable in [&b"{"[..], b"[]", b"\xff"] {
        let error = error_of(scene.client.request(&ctx, raw(unreadable.to_vec())).await);
        let decode = Some(&Reason::DECODE);
        assert_error(&error, Code::InvalidArgument, &[Delivery::Rejected], decode);
    }

    // A raw responder sees the JSON of a typed call.
    let lab = Lab::new();
    let mut routes = lab.routes();
    lab.route(&mut routes, Typed::TARGET);
    let scene = stage.open_routes(lab, routes, StartOptions::default()).await;
    for (at, parcel) in parcels().into_iter().enumerate() {
        let answer = typed.call(&scene.client, &ctx, parcel.clone()).await;
        assert_eq!(answer.expect("the lab echoes"), parcel);
        let runs = scene.lab.runs("");
        assert_eq!((runs.len(), json(&runs[at].body)), (at + 1, serde_json::json!(parcel)));
    }
}

/// Targets of maximum length: a single token, as many tokens as possible, and a long service name.
static LONGEST: LazyLock<[String; 3]> = LazyLock::new(|| {
    ["t".repeat(256), "a.".repeat(127) + "ab", format!("{}.whole.run", "s".repeat(246))]
});

pub(crate) async fn targets_of_256_bytes(stage: &Stage) {
    let lab = Lab::new();
    let mut routes = lab.routes();
    for target in LONGEST.iter() {
        lab.route(&mut routes, target);
    }
    let scene = stage.open_routes(lab, routes, StartOptions::default()).await;
    for target in LONGEST.iter() {
        assert_eq!(target.len(), 256);
        let ask = scene.ask().target(target).body("longest");
        assert_eq!(scene.ok(&ask).await.body, "longest");
        let run = scene.run(&ask);
        assert_eq!((run.route, &run.target), (target.as_str(), target));
        // A target that differs in its last byte is another target.
        let other = format!("{}z", &target[..255]);
        assert!(scene.err(&scene.ask().target(&other)).await.delivery().is_unexecuted());
    }
}

pub(crate) async fn routing_never_crosses(stage: &Stage) {
    let scene = stage.open().await;
    let routed = [
        ("ping", "ping"),
        ("lab.run", "lab.run"),
        ("lab.other", "lab.other"),
        ("lab.whole.run", "lab.whole"),
        ("lab.whole.other", "lab.whole"),
        ("lab.closed.known", "lab.closed.known"),
    ];
    let mut calls = Vec::new();
    for round in 0..5 {
        for (target, route) in routed {
            let ask = scene.ask().target(target).body(format!("{target} {round}")).report();
            calls.push((target, route, scene.spawn(&Context::background(), &ask), ask));
        }
    }
    for (target, route, call, ask) in calls {
        let response = call.await.expect("the task ends").expect("an answer");
        assert_eq!(response.body, ask.request().body);
        assert_eq!(response.headers.get("lab-saw-route"), Some(route));
        assert_eq!(response.headers.get("lab-saw-target"), Some(target));
        let run = scene.run(&ask);
        assert_eq!((run.route, run.target.as_str()), (route, target));
    }
}

pub(crate) async fn unknown_method_of_a_service_is_unimplemented(stage: &Stage) {
    let scene = stage.open().await;
    let before = scene.lab.total();
    for target in ["lab.closed.missing", "lab.closed.Known", "lab.closed.known-"] {
        let error = scene.err_at_once(&scene.ask().target(target)).await;
        let reason = Some(&Reason::NO_SUCH_TARGET);
        assert_error(&error, Code::Unimplemented, &[Delivery::Rejected], reason);
    }
    assert_eq!(scene.lab.total(), before);
    scene.ok(&scene.ask().target("lab.closed.known")).await;
}

pub(crate) async fn unknown_target_fails_fast_and_unrun(stage: &Stage) {
    let scene = stage.open().await;
    let before = scene.lab.total();
    for target in ["nobody.home", "nobody", "lab.run.deeper", "Ping", "lab.Run", "Lab.run"] {
        let error = scene.err_at_once(&scene.ask().target(target)).await;
        // A server reports an unknown target; a broker reports that there is no subscriber.
        match error.code() {
            Code::Unavailable => assert_eq!(error.reason(), Some(&Reason::NO_RESPONDER)),
            code => {
                assert_eq!(code, Code::Unimplemented, "{target}: {error:?}");
                assert_eq!(error.reason(), Some(&Reason::NO_SUCH_TARGET));
            }
        }
        assert!(error.delivery().is_unexecuted(), "{target}: {error:?}");
    }
    assert_eq!(scene.lab.total(), before);
}

pub(crate) async fn sequential_1000(stage: &Stage) {
    let scene = stage.open().await;
    let before = scene.lab.total();
    for at in 0..1000 {
        let ask = scene.ask().body(format!("{at} {}", at * 7919));
        assert_eq!(scene.ok(&ask).await.body, ask.request().body, "call {at}");
    }
    assert_eq!(scene.lab.total() - before, 1000);
}

pub(crate) async fn two_clients_isolated(stage: &Stage) {
    let scene = stage.open().await;
    let other = scene.rig.connect_again().await.expect("a second client");
    let ctx = Context::background();
    let waiting = scene.ask().gate("two").body("first");
    let call = scene.spawn(&ctx, &waiting);
    scene.entered(&waiting).await;
    // The second client makes calls and goes away during the first client's call.
    for at in 0..20_usize {
        let ask = scene.ask().body(pattern(at * 100));
        let answer = scene.call_by(&*other, &ctx, &ask).await.expect("an answer");
        assert_eq!(answer.body, ask.request().body);
    }
    let hanging = scene.ask().hang();
    scene.call_and_drop(&*other, &ctx, &hanging).await;
    drop(other);
    scene.lab.open_gate("two");
    assert_eq!(call.await.expect("the task ends").expect("an answer").body, "first");
    scene.ok(&scene.ask()).await;
}

pub(crate) async fn as_dyn_object(stage: &Stage) {
    let scene = stage.open().await;
    let shared: Arc<dyn Requester> = scene.rig.requester();
    let boxed: Box<dyn Requester> = Box::new(Arc::clone(&shared));
    let ask = scene.ask().body("boxed");
    let answer = scene.call_by(&boxed, &Context::background(), &ask).await;
    assert_eq!(answer.expect("an answer").body, "boxed");
    let tasks: Vec<_> = (0..8)
        .map(|at| {
            let (shared, scene) = (Arc::clone(&shared), Arc::clone(&scene));
            tokio::spawn(async move {
                let ask = scene.ask().body(format!("task {at}"));
                let answer = scene.call_by(&shared, &Context::background(), &ask).await;
                (ask, answer)
            })
        })
        .collect();
    for task in tasks {
        let (ask, answer) = task.await.expect("the task ends");
        assert_eq!(answer.expect("an answer").body, ask.request().body);
    }
    let failing = scene.ask().fail(Code::Aborted);
    let failed = scene.call_by(&shared, &Context::background(), &failing).await;
    assert_error(&error_of(failed), Code::Aborted, &[Delivery::Processed], None);
}
