//! A shop that looks whether an order is open, lets the parcels service send it, and notes that: an
//! order that is cancelled in between is sent.

use std::sync::Arc;

use rr_core::{CallError, Code, Error, HandlerExt, RequesterExt, Router, Service};
use rr_testkit::worlds::{Network, Worlds, WorldsReport};

use super::support::{Kept, assert_found, settle, within};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    Cancelled,
    Sent,
}

/// Moves an open order to another state.
fn leave_open(order: &Kept<State>, next: State) -> Result<(), Error> {
    let mut state = order.lock().unwrap();
    if *state != State::Open {
        return Err(Error::new(Code::FailedPrecondition, "the order is not open"));
    }
    *state = next;
    Ok(())
}

struct Orders {
    order: Kept<State>,
    is_right: bool,
}

impl Orders {
    async fn cancel(self: Arc<Self>, (): ()) -> Result<(), Error> {
        leave_open(&self.order, State::Cancelled)
    }

    /// Looks whether the order is open. Rightly, nothing can cancel the order afterwards.
    async fn check(self: Arc<Self>, (): ()) -> Result<(), Error> {
        if self.is_right {
            return leave_open(&self.order, State::Sent);
        }
        match *self.order.lock().unwrap() {
            State::Open => Ok(()),
            _ => Err(Error::new(Code::FailedPrecondition, "the order is not open")),
        }
    }

    async fn note(self: Arc<Self>, (): ()) -> Result<(), Error> {
        let mut state = self.order.lock().unwrap();
        if *state == State::Open {
            *state = State::Sent;
        }
        Ok(())
    }
}

async fn scenario(network: Network, is_right: bool) {
    let (order, sent) = (Kept::<State>::default(), Kept::<u32>::default());
    let orders = Arc::new(Orders { order: Arc::clone(&order), is_right });
    network.serve("orders", move || {
        Service::new("orders", Arc::clone(&orders))
            .method("cancel", Orders::cancel)
            .method("check", Orders::check.safe())
            .method("note", Orders::note)
    });
    let counted = Arc::clone(&sent);
    network.serve("parcels", move || {
        let sent = Arc::clone(&counted);
        Router::new().route("parcels.send", move |(): ()| {
            *sent.lock().unwrap() += 1;
            async { Ok::<_, Error>(()) }
        })
    });

    let orders = network.client("shop", "orders");
    let parcels = network.client("shop", "parcels");
    let ctx = within(10);
    let cancelling = async { orders.call::<()>(&ctx, "orders.cancel", &()).await };
    let sending = async {
        orders.call::<()>(&ctx, "orders.check", &()).await?;
        parcels.call::<()>(&ctx, "parcels.send", &()).await?;
        orders.call::<()>(&ctx, "orders.note", &()).await?;
        Ok::<_, CallError>(())
    };
    drop(tokio::join!(biased; cancelling, sending));
    settle(&network).await;
    let (state, sent) = (*order.lock().unwrap(), *sent.lock().unwrap());
    assert!(state != State::Cancelled || sent == 0, "a cancelled order was sent");
}

fn explore(worlds: Worlds, is_right: bool) -> WorldsReport {
    worlds.run(move |network| scenario(network, is_right))
}

#[test]
fn an_order_that_is_cancelled_after_the_check_is_sent_in_another_order_and_by_no_fault() {
    let without = explore(Worlds::up_to(1), false);
    assert!(without.is_complete(), "{without}");
    assert_found(
        &explore(Worlds::up_to(1).with_orders(), false),
        "shop>orders/orders.cancel#1=overtaken",
        "a cancelled order was sent",
    );
}

#[test]
fn a_check_that_takes_the_order_passes_in_every_order() {
    let report = explore(Worlds::up_to(2).with_orders(), true);
    assert!(report.is_complete(), "{report}");
}
