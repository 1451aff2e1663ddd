//! Orders of the messages that are ready in the same instant.

use std::sync::{Arc, Mutex};

use rr_core::{Error, RequesterExt, Router};
use rr_testkit::worlds::{Fault, Network, Script, Worlds};

use super::applications::support::within;
use super::exploration::refused;

/// Letters in the order in which the handlers of a service were entered, and the replies arrived.
type Log = Arc<Mutex<String>>;

/// Calls `svc.note` with three letters simultaneously.
async fn three(network: Network) -> (String, String) {
    let (entered, returned) = (Log::default(), Log::default());
    let log = Arc::clone(&entered);
    network.serve("svc", move || {
        let log = Arc::clone(&log);
        Router::new().route("svc.note", move |letter: char| {
            log.lock().unwrap().push(letter);
            async { Ok::<_, Error>(()) }
        })
    });
    let client = network.client("test", "svc");
    let call = async |letter: char| {
        if client.call::<()>(&within(5), "svc.note", &letter).await.is_ok() {
            returned.lock().unwrap().push(letter);
        }
    };
    tokio::join!(biased; call('a'), call('b'), call('c'));
    let read = |log: &Log| log.lock().unwrap().clone();
    (read(&entered), read(&returned))
}

async fn ordered(script: &str) -> (String, String, usize) {
    let network = Network::with(script.parse::<Script>().unwrap());
    let (entered, returned) = three(network.clone()).await;
    (entered, returned, network.faults_fired())
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_overtaken_is_delivered_after_those_that_are_ready() {
    for (script, entered, returned, fired) in [
        ("", "abc", "abc", 0),
        ("test>svc/svc.note#1=overtaken", "bca", "abc", 1),
        ("test>svc/svc.note#2=overtaken", "acb", "abc", 1),
        ("test>svc/svc.note#1=overtaken,test>svc/svc.note#2=overtaken", "cab", "abc", 2),
        ("test>svc/svc.note#1=overtaken,test>svc/svc.note#3=overtaken", "bac", "abc", 2),
        ("test>svc/svc.note#2=reply-overtaken", "abc", "acb", 1),
        // No message follows the last one: it comes when the instant is over.
        ("test>svc/svc.note#3=overtaken", "abc", "abc", 0),
    ] {
        let found = ordered(script).await;
        assert_eq!(found, (entered.to_owned(), returned.to_owned(), fired), "{script}");
    }
}

#[test]
fn only_messages_that_another_follows_in_their_instant_are_overtaken() {
    let alone = |network: Network| async move {
        network.serve("svc", || {
            Router::new().route("svc.note", |(): ()| async { Ok::<_, Error>(()) })
        });
        for _ in 0..3 {
            let client = network.client("test", "svc");
            client.call::<()>(&within(5), "svc.note", &()).await.unwrap();
        }
    };
    let races = Worlds::up_to(1).with_faults([]).with_orders();
    let report = races.clone().run(alone);
    let text = "1 of 1 world without faults, 0 of 0 worlds of 1 fault; a reordering within one \
                instant counts as a fault; no fault applies to its messages, so none was tried";
    assert_eq!(report.to_string(), text);

    let report = races.run(|network| async move { drop(three(network).await) });
    assert!(report.is_complete() && report.unfired() == 0, "{report}");
    assert_eq!(report.explored(), 1 + 4, "two of three requests and two of three replies");
}

#[test]
fn an_order_that_breaks_a_scenario_is_found_and_replayed() {
    let first_is_first = |network: Network| async move {
        let (entered, _) = three(network).await;
        assert!(entered != "cab", "c, then a, then b");
    };
    let worlds = Worlds::up_to(2).with_faults([]);
    let report = worlds.clone().run(first_is_first);
    assert!(report.has_passed(), "{report}");
    let report = worlds.with_orders().run(first_is_first);
    let found = report.counterexample().expect("it is found");
    let script = "test>svc/svc.note#1=overtaken,test>svc/svc.note#2=overtaken";
    assert_eq!(found.script().to_string(), script, "{report}");
    let replayed = Worlds::replay(found.script(), first_is_first);
    refused(&replayed, "c, then a, then b");
}

#[test]
fn worlds_that_are_equal_have_the_same_orders() {
    let worlds = Worlds::up_to(2)
        .with_faults([Fault::BrokenAfter, Fault::BrokenWithin, Fault::Delayed])
        .with_orders();
    let scenario = |network: Network| async move { drop(three(network).await) };
    let report = worlds.clone().run(scenario);
    let all = worlds.with_equal_worlds().run(scenario);
    assert!(report.is_complete() && report.equal() > 0, "{report}");
    assert_eq!(report.explored() + report.equal(), all.explored(), "{report}\n{all}");
}
