//! The shop without a network: a mock of payments, faults on the way, and virtual time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rr_core::context::RequestInfo;
use rr_core::{
    CallOptions, Code, Context, Delivery, Error, Headers, Local, Reason, async_trait, recommended,
};
use rr_testkit::{MemoryFault, MemoryFaults, loopback};

use crate::api::{
    Order, OrderError, Orders, OrdersClient, Payments, PaymentsClient, PaymentsServer,
};
use crate::shop::{Bank, Shop};

fn tea(count: u32) -> Order {
    Order { item: "tea".to_owned(), count }
}

/// Payments that fail a number of times, before they take any money.
struct Flaky(AtomicU64);

#[async_trait]
impl Payments for Flaky {
    async fn charge(&self, _: &Context, cents: u64) -> Result<String, Error> {
        let failed =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        match failed {
            Ok(_) => Err(Error::failure(Code::Unavailable, Delivery::Rejected, None, "busy")),
            Err(_) => Ok(cents.to_string()),
        }
    }
}

#[tokio::test]
async fn a_failed_charge_gives_the_goods_back() {
    let shop = Shop::new(Flaky(1.into()), 2);
    let ctx = Context::background();
    assert!(matches!(shop.place(&ctx, tea(2)).await, Err(OrderError::Call(_))));
    assert_eq!(shop.place(&ctx, tea(2)).await.unwrap().value().payment, "500");
    let empty = shop.place(&ctx, tea(1)).await;
    assert!(matches!(empty, Err(OrderError::OutOfStock { left: 0 })), "{empty:?}");
}

#[tokio::test]
async fn tenants_do_not_see_each_others_orders() {
    let shop = Shop::new(Bank, 2);
    let mut headers = Headers::new();
    headers.insert("x-tenant", "berlin").unwrap();
    let berlin = Context::background().with_request(RequestInfo::default().with_headers(headers));
    let placed = shop.place(&berlin, tea(1)).await.unwrap();
    assert_eq!(shop.get(&berlin, placed.value().id).await.unwrap(), tea(1));
    let elsewhere = shop.get(&Context::background(), placed.value().id).await;
    assert!(matches!(elsewhere, Err(OrderError::NoSuchOrder(1))), "{elsewhere:?}");
}

#[tokio::test(start_paused = true)]
async fn payments_that_cannot_be_reached_twice_are_called_a_third_time() {
    let payments = loopback(PaymentsServer::new(Bank));
    let refused = Some(MemoryFault::FailBefore);
    payments.link().set_faults(MemoryFaults::script([refused, refused]));
    let shop = Shop::new(PaymentsClient::new(recommended(payments)), 2);
    shop.place(&Context::background(), tea(2)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_keeps_the_goods_reserved_and_ends_at_the_timeout() {
    let payments = loopback(PaymentsServer::new(Bank));
    payments.link().set_faults(MemoryFaults::script([Some(MemoryFault::DropReply)]));
    let shop = Shop::new(PaymentsClient::new(payments), 2);
    let began = tokio::time::Instant::now();
    let lost = shop.place(&Context::background(), tea(2)).await;
    let Err(OrderError::Call(error)) = lost else { panic!("{lost:?}") };
    assert_eq!((error.code(), error.delivery()), (Code::DeadlineExceeded, Delivery::Unknown));
    assert_eq!(began.elapsed().as_secs(), 1);
    let empty = shop.place(&Context::background(), tea(1)).await;
    assert!(matches!(empty, Err(OrderError::OutOfStock { left: 0 })), "{empty:?}");
}

#[tokio::test]
async fn calls_are_counted_and_need_the_token() {
    let calls = Arc::default();
    let orders = OrdersClient::new(Local::new(Arc::new(Shop::new(Bank, 2)).router(&calls)));
    let ctx = Context::background().with_timeout(Duration::from_secs(1));
    let refused = orders.place(&ctx, tea(1)).await;
    let Err(OrderError::Call(error)) = refused else { panic!("{refused:?}") };
    assert_eq!((error.code(), error.delivery()), (Code::Unauthenticated, Delivery::Rejected));
    assert_ne!(error.reason(), Some(&Reason::NO_SUCH_TARGET));
    let orders = orders.with(CallOptions::new().header("authorization", "Bearer demo"));
    let reply = orders.place(&ctx, tea(1)).await.unwrap();
    assert_eq!(reply.headers().get("x-left"), Some("1"));
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}
