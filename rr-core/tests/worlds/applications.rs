//! The applications.

mod double_charge;
