//! A balance around the requester of a rig.

use std::sync::Arc;

use rr_core::Requester;
use rr_core::balance::{Balance, Endpoint};

/// Makes a balance over a requester under so many names. With more than one name, each call passes
/// the choice, and one that is refused moves on.
pub(crate) fn over(requester: &Arc<dyn Requester>, count: usize) -> Arc<dyn Requester> {
    let named = (0..count).map(|at| Endpoint::new(at.to_string(), Arc::clone(requester)));
    Arc::new(Balance::new(named).expect("there is an endpoint, and names differ"))
}
