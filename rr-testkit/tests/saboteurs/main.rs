//! The suite is tested too: each saboteur breaks one rule of the in-memory transport, and the
//! case named for that rule must fail.

#![cfg(feature = "conformance")]

mod cut;
mod dedup;
mod harness;
mod limits;
mod raw;
mod requester;
#[cfg(feature = "worlds")]
mod second_fault;
#[path = "../it/support.rs"]
mod support;
mod table;
mod typed;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use rr_testkit::conformance::{Outcome, Plan, cases, run, run_case};

use harness::Broken;
use table::{CAUGHT_BY, Sabotage};

/// Too long to be tried on those it is not named for.
const LONG: &str = "leak/10k_mixed_calls_flat";

#[test]
fn each_saboteur_is_caught_by_the_case_named_for_it() {
    let mut missed = Vec::new();
    for &(sabotage, case) in CAUGHT_BY {
        match run_case(Broken(sabotage), case) {
            Outcome::Failed(text) => {
                println!("{sabotage:?}: {case}: {}", text.lines().next().unwrap_or_default());
            }
            outcome => missed.push((sabotage, case, outcome)),
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:#?}");
}

#[test]
fn there_are_many_of_them() {
    let saboteurs: BTreeSet<Sabotage> = CAUGHT_BY.iter().map(|(sabotage, _)| *sabotage).collect();
    assert!(saboteurs.len() >= 100, "{}", saboteurs.len());
}

#[test]
fn a_wrapper_that_breaks_nothing_passes() {
    let report = run(Broken(Sabotage::Nothing), &Plan::v1());
    println!("{report}");
    report.assert();
    let other: Vec<_> = report.rows.iter().filter(|row| row.outcome != Outcome::Passed).collect();
    assert!(other.is_empty(), "{other:#?}");
}

/// Plays all but the long case, and returns the names of the cases that fail.
fn catching(sabotage: Sabotage) -> BTreeSet<String> {
    let plan = Plan::v1().skip(LONG, "it takes long, and is tried on those it is named for");
    let rows = run(Broken(sabotage), &plan).rows.into_iter();
    rows.filter(|row| matches!(row.outcome, Outcome::Failed(_))).map(|row| row.name).collect()
}

#[test]
fn every_case_catches_a_saboteur() {
    let saboteurs: BTreeSet<Sabotage> = CAUGHT_BY.iter().map(|(sabotage, _)| *sabotage).collect();
    let waiting = Mutex::new(saboteurs);
    let table = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let next = || waiting.lock().expect("nothing panics").pop_first();
                while let Some(sabotage) = next() {
                    let caught = catching(sabotage);
                    table.lock().expect("nothing panics").insert(sabotage, caught);
                }
            });
        }
    });
    let table = table.into_inner().expect("nothing panics");
    let mut idle: BTreeSet<String> = cases().iter().map(|case| case.name()).collect();
    for (sabotage, caught) in &table {
        println!(
            "{sabotage:?} ({}): {}",
            caught.len(),
            Vec::from_iter(caught.iter().map(String::as_str)).join(" ")
        );
        idle.retain(|case| !caught.contains(case));
    }
    idle.remove(LONG);
    assert!(CAUGHT_BY.iter().any(|(_, case)| *case == LONG));
    assert!(idle.is_empty(), "cases that caught nobody: {idle:?}");
}
