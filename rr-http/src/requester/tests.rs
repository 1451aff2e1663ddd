use std::sync::mpsc;

use rr_spi::{Reason, Stage};
use tokio::time::sleep;

use super::*;

/// A requester of a name that is never looked up, until the sender is dropped.
fn requester(choice: VersionChoice) -> (HttpRequester, mpsc::Sender<()>) {
    let (never, answers) = mpsc::channel();
    let answers = Mutex::new(answers);
    let resolve = move || {
        let _ = answers.lock().unwrap().recv();
        Ok(Vec::new())
    };
    let endpoint = Location::parse("http://name").and_then(|it| Endpoint::of(&it)).unwrap();
    let config = HttpConfig::default();
    let dialer = Dialer::new(endpoint.clone(), None, config.connect_timeout);
    let dialer = dialer.with_resolver(resolve);
    (
        HttpRequester::with_dialer(endpoint, choice, dialer, config, Monitor::default()).unwrap(),
        never,
    )
}

async fn failed(client: &HttpRequester, timeout: Duration) -> Error {
    let ctx = Context::background().with_timeout(timeout);
    let request = Request::new("svc.echo".try_into().unwrap(), "");
    client.request(&ctx, request).await.unwrap_err()
}

fn times(error: &Error) -> Vec<(Stage, Duration)> {
    error.timeline().unwrap().stages().collect()
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_hangs_is_named_by_each_call_that_waited_for_it() {
    let (brief, later) = (Duration::from_secs(2), Duration::from_secs(1));
    for choice in [VersionChoice::H1, VersionChoice::H2] {
        let (client, _never) = requester(choice);
        let second = async {
            sleep(later).await;
            failed(&client, brief).await
        };
        let (first, second) = tokio::join!(failed(&client, brief), second);
        for error in [first, second] {
            assert_eq!(times(&error), [(Stage::Lookup, brief)], "{choice:?}");
            assert_eq!(error.account().to_string(), "2.00s of 2.00s looking up the address");
            assert_eq!(error.reason(), Some(&Reason::EXPIRED_CONNECTING));
            assert_eq!(error.delivery(), Delivery::NotSent);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_dial_has_the_stages_of_the_dial() {
    for choice in [VersionChoice::H1, VersionChoice::H2] {
        let (client, _never) = requester(choice);
        let error = failed(&client, Duration::from_secs(60)).await;
        assert_eq!(error.reason(), Some(&Reason::CONNECT_FAILED));
        let timeout = HttpConfig::default().connect_timeout;
        assert_eq!(times(&error), [(Stage::Lookup, timeout)], "{choice:?}");
        assert_eq!(error.timeline().unwrap().last(), Stage::Lookup);
    }
}
