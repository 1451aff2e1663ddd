//! A shop that charges twice when a reply is lost: found by trying every world of up to two faults.
//!
//! `-- picture` prints the sequence diagram as SVG.

mod shop;

use rr_testkit::worlds::{Worlds, WorldsReport};
use shop::{Naming, a_key_for_each_attempt, a_key_for_each_order, one_order};

fn every_world(naming: Naming) -> WorldsReport {
    Worlds::up_to(2).run(move |network| one_order(network, naming))
}

fn main() {
    let found = every_world(a_key_for_each_attempt);
    let Some(counterexample) = found.counterexample() else {
        panic!("the mistake was not found: {found}");
    };
    if std::env::args().any(|argument| argument == "picture") {
        print!("{}", counterexample.trace().svg());
        return;
    }
    println!("With a key for each attempt, {found}\n");

    let passed = every_world(a_key_for_each_order);
    assert!(passed.is_complete(), "{passed}");
    println!("With a key for each order, all pass: {passed}.");
}
