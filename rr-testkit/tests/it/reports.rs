//! What a run is reported as, and cards that claim the same without a run.

#![cfg(feature = "conformance")]

use std::fs;
use std::path::Path;

use crate::support;
use rr_testkit::conformance::{Capability, Card, Plan, Report, cases, check_cards, run};
use serde_json::Value;

/// A plan with something of everything that a transport may pass with.
fn plan() -> Plan {
    Plan::v1()
        .only("size/*")
        .only("round_trip/echo_bytes")
        .only("round_trip/typed_equals_raw")
        .skip("size/one_byte", "for the test")
        .skip("size/empty_*", "for the test")
        .skip("size/replies_not_taken_are_bounded", "nobody holds a reply but the caller")
        .skip("size/peers_that_take_nothing_are_ended", "nobody holds a reply but the caller")
}

fn report() -> Report {
    run(support::Memory, &plan())
}

#[test]
fn a_card_claims_what_the_run_then_shows() {
    assert_eq!(Card::of(&support::Memory, &plan()).to_string(), report().to_markdown());
}

#[test]
fn a_card_tells_every_skip_and_every_known_failure_under_its_reason() {
    let plan = plan().known_failing("size/client_usable_after", "not yet");
    let card = Card::of(&support::Memory, &plan).to_string();
    let sizes = cases().iter().filter(|case| case.group() == "size").count();
    let sizes = format!("| size | {sizes} | {} | 5 | 1 | |", sizes - 6);
    for line in [
        "* for the test: `size/empty_request`, `size/empty_response`, `size/one_byte`",
        "* nobody holds a reply but the caller: `size/replies_not_taken_are_bounded`, \
         `size/peers_that_take_nothing_are_ended`",
        "* the transport lacks the capability `typed`: `round_trip/typed_equals_raw`",
        "* not yet: `size/client_usable_after`",
        &sizes,
    ] {
        assert!(card.lines().any(|known| known == line), "{line}\n{card}");
    }
    // What the plan leaves out is no secret either.
    let of_group = cases().iter().filter(|case| case.group() == "drain").count();
    assert!(card.contains(&format!("| drain | {of_group} | 0 | | | {of_group} |")), "{card}");
}

#[test]
fn the_json_of_a_report_has_every_case_and_is_the_same_each_time() {
    let report = report();
    let json = report.to_json();
    assert_eq!(json, self::report().to_json());
    let read: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&read["transport"], &read["edition"]), (&"memory".into(), &"v1".into()));
    assert_eq!(read["capabilities"].as_object().unwrap().len(), Capability::ALL.len());
    assert_eq!(read["capabilities"]["client_config"], true);
    assert_eq!(read["capabilities"]["typed"], false);
    assert_eq!(read["cases"].as_array().unwrap().len(), report.rows.len());
    assert_eq!(read["cases"][0]["name"], "round_trip/echo_bytes");
    assert_eq!(read["cases"][0]["outcome"], "passed");
    assert_eq!(read["cases"][1]["outcome"], "skipped");
    assert_eq!(read["cases"][1]["text"], "the transport lacks the capability `typed`");
    assert_eq!(read["totals"]["skipped"], report.skipped());
    assert_eq!(read["totals"]["passed"], report.ran());
}

#[test]
fn a_failure_stands_in_every_form_of_the_report() {
    // It holds, and so expecting it to fail is what fails.
    let plan = Plan::v1().only("size/one_byte").known_failing("size/one_byte", "no more");
    let report = run(support::Memory, &plan);
    let read: Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(read["totals"]["failed"], 1);
    assert!(read["cases"][0]["text"].as_str().unwrap().contains("no more"));
    assert!(report.to_markdown().contains("\nFailed:\n\n* these must hold: `size/one_byte`\n"));
}

fn readme(name: &str, text: &str) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).expect("the folder is there");
    path.display().to_string()
}

#[test]
fn a_current_card_passes_whatever_the_line_ends() {
    let card = Card::of(&support::Memory, &plan());
    let text =
        format!("# t\n<!-- conformance:begin memory -->\n{card}<!-- conformance:end memory -->\n");
    check_cards(readme("current.md", &text.replace('\n', "\r\n")), &[card]);
}

#[test]
#[should_panic(expected = "RR_UPDATE_CARDS=1")]
fn a_stale_card_is_a_failure() {
    let card = Card::of(&support::Memory, &plan());
    let old = Card::of(&support::Memory, &Plan::v1());
    let text = format!("<!-- conformance:begin memory -->\n{old}<!-- conformance:end memory -->\n");
    check_cards(readme("stale.md", &text), &[card]);
}
