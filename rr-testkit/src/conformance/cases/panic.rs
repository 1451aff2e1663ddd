//! A panic in a handler fails only its own call.

use rr_spi::{Code, Context, Delivery, Reason};

use super::{assert_error, error_of, shown};
use crate::conformance::lab::{Ask, RunEnd};
use crate::conformance::stage::{Scene, Stage, assert_echoed};

/// Returns a request whose handler panics before its first await, and one that panics after it.
fn panics(scene: &Scene) -> [Ask; 2] {
    [scene.ask().panic_now(), scene.ask().panic_later()]
}

pub(crate) async fn becomes_internal(stage: &Stage) {
    let scene = stage.open().await;
    for ask in panics(&scene) {
        let error = scene.err_at_once(&ask).await;
        assert_error(&error, Code::Internal, &[Delivery::Processed], Some(&Reason::PANIC));
        assert_eq!(scene.run(&ask).end(), Some(RunEnd::Panicked));
    }
}

pub(crate) async fn server_survives(stage: &Stage) {
    let scene = stage.open().await;
    for _ in 0..5 {
        for ask in panics(&scene) {
            scene.err(&ask).await;
        }
    }
    for at in 0..10 {
        scene.echo(format!("after {at}")).await;
    }
    scene.idle().await;
}

pub(crate) async fn others_unharmed(stage: &Stage) {
    let scene = stage.open().await;
    let ctx = Context::background();
    let other = |at| scene.ask().gate("others").body(format!("other {at}"));
    let others: Vec<_> = (0..8).map(other).collect();
    let calls = scene.start(&ctx, &others).await;
    let panicking: Vec<_> =
        (0..4).flat_map(|_| panics(&scene)).map(|ask| scene.spawn(&ctx, &ask)).collect();
    for call in panicking {
        let error = error_of(call.await.expect("the task ends"));
        assert_eq!(error.reason(), Some(&Reason::PANIC), "{error:?}");
    }
    scene.lab.open_gate("others");
    assert_echoed(calls, &others).await;
}

pub(crate) async fn text_redacted(stage: &Stage) {
    let scene = stage.open().await;
    for ask in panics(&scene) {
        let error = scene.err(&ask).await;
        let shown = format!("{} {:?}", shown(&error), error.headers());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
