//! Both services and their customer, in every world of up to two faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rr_core::context::RequestInfo;
use rr_core::{CallOptions, Context, Error, Headers, IdempotencyKey, async_trait, recommended};
use rr_testkit::worlds::{Network, Worlds};
use tokio::time::sleep;

use crate::api::{Order, OrderError, Orders, OrdersClient, Payments, PaymentsClient, Receipt};
use crate::shop::{Bank, Shop, payments};

const STOCK: u32 = 10;

/// The bank, with the sum of what it has charged. It takes a while before and after a charge.
#[derive(Clone, Default)]
struct Audited(Arc<AtomicU64>);

#[async_trait]
impl Payments for Audited {
    async fn charge(&self, ctx: &Context, cents: u64) -> Result<String, Error> {
        sleep(Duration::from_millis(5)).await;
        self.0.fetch_add(cents, Ordering::Relaxed);
        sleep(Duration::from_millis(5)).await;
        Bank.charge(ctx, cents).await
    }
}

/// Serves both services. A crash keeps the state of the shop and the sum, as a database does.
fn serve(network: &Network) -> (Arc<Shop>, Audited) {
    let bank = Audited::default();
    let kept = bank.clone();
    network.serve("payments", move || payments(kept.clone()));
    let payments = PaymentsClient::new(recommended(network.client("orders", "payments")));
    let shop = Arc::new(Shop::new(payments, STOCK));
    let kept = Arc::clone(&shop);
    network.serve("orders", move || Arc::clone(&kept).router(&Arc::default()));
    (shop, bank)
}

/// Places an order of two, and places it again with the same key if that fails.
async fn place(network: &Network) -> Option<Receipt> {
    let key = IdempotencyKey::new("cart-7").unwrap();
    let options = CallOptions::new().header("authorization", "Bearer demo").keyed(key);
    let orders = OrdersClient::new(recommended(network.client("customer", "orders")));
    let orders = orders.with(options.header("x-tenant", "berlin"));
    for _ in 0..2 {
        let ctx = Context::background().with_timeout(Duration::from_secs(5));
        let order = Order { item: "tea".to_owned(), count: 2 };
        if let Ok(reply) = orders.place(&ctx, order).await {
            return Some(reply.value().clone());
        }
    }
    None
}

async fn one_order(network: Network) {
    let (shop, bank) = serve(&network);
    let placed = place(&network).await;
    network.settle(Duration::from_secs(60)).await;

    let charged = bank.0.load(Ordering::Relaxed);
    assert!(charged <= 500, "an order of 500 cents was charged {charged}");
    let all = Order { item: "tea".to_owned(), count: STOCK + 1 };
    let Err(OrderError::OutOfStock { left }) = shop.place(&Context::background(), all).await else {
        panic!("there is never that much tea");
    };
    assert!(left + 2 >= STOCK, "an order of 2 took {} out of stock", STOCK - left);
    assert!(left + 2 == STOCK || charged == 0, "the order was charged, and its goods given back");
    let Some(receipt) = placed else { return };

    let mut headers = Headers::new();
    headers.insert("x-tenant", "berlin").unwrap();
    let berlin = Context::background().with_request(RequestInfo::default().with_headers(headers));
    let stored = shop.get(&berlin, receipt.id).await;
    assert!(stored.is_ok_and(|order| order.count == 2), "a confirmed order is not stored");
    assert_eq!((charged, left), (500, STOCK - 2), "a confirmed order is charged and reserved");
}

#[test]
fn an_order_is_charged_at_most_once_and_a_confirmed_one_is_stored_in_every_world() {
    let report = Worlds::up_to(2).run(one_order);
    assert!(report.is_complete(), "{report}");
}
