//! The conformance suite: what every transport must do, case by case.
