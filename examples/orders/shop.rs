//! The orders service: its state, its methods and its middleware. It names no transport.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rr_core::dedup::Deduplicate;
use rr_core::{
    Bytes, Code, Context, Delivery, Error, Middleware, Next, Reply, Request, Response, Router,
    async_trait,
};

use crate::api::{Order, OrderError, Orders, OrdersServer, Payments, PaymentsServer, Receipt};

const CENTS: u64 = 250;

/// State of the service.
pub(crate) struct Shop {
    payments: Arc<dyn Payments>,
    stock: Mutex<Stock>,
    once: Deduplicate,
}

struct Stock {
    left: u32,
    placed: u64,
    orders: HashMap<(String, u64), Order>,
}

impl Shop {
    pub(crate) fn new(payments: impl Payments, left: u32) -> Self {
        let stock = Stock { left, placed: 0, orders: HashMap::new() };
        // An order that arrives twice is placed once. Each tenant has its own keys.
        let tenant =
            |_: &Context, request: &Request| request.headers.get("x-tenant").map(str::to_owned);
        let once = Deduplicate::in_process().with_scope(tenant);
        Self { payments: Arc::new(payments), stock: Mutex::new(stock), once }
    }

    /// Routes of the service, behind its middleware.
    pub(crate) fn router(self: Arc<Self>, calls: &Arc<AtomicU64>) -> Router {
        let (count, once) = (Count(Arc::clone(calls)), self.once.clone());
        let orders: Arc<dyn Orders> = self;
        Router::new().merge(OrdersServer::new(orders)).with(count).with(Authenticate).with(once)
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, count: u32) -> Result<u32, OrderError> {
        let mut stock = self.stock();
        let left = stock.left.checked_sub(count);
        stock.left = left.ok_or(OrderError::OutOfStock { left: stock.left })?;
        Ok(stock.left)
    }
}

fn tenant(ctx: &Context) -> String {
    ctx.request().headers().get("x-tenant").unwrap_or("default").to_owned()
}

#[async_trait]
impl Orders for Shop {
    async fn place(&self, ctx: &Context, order: Order) -> Result<Reply<Receipt>, OrderError> {
        let left = self.take(order.count)?;
        let charged = self.payments.charge(ctx, CENTS * u64::from(order.count)).await;
        let mut stock = self.stock();
        // Only a charge that provably did not happen gives the goods back.
        let payment = charged.inspect_err(|error| match error.delivery() {
            Delivery::NotSent | Delivery::Rejected => stock.left += order.count,
            _ => {}
        })?;
        stock.placed += 1;
        let id = stock.placed;
        stock.orders.insert((tenant(ctx), id), order);
        Ok(Reply::new(Receipt { id, payment }).header("x-left", left.to_string()))
    }

    async fn get(&self, ctx: &Context, id: u64) -> Result<Order, OrderError> {
        let order = self.stock().orders.get(&(tenant(ctx), id)).cloned();
        order.ok_or(OrderError::NoSuchOrder(id))
    }

    async fn cancel(&self, ctx: &Context, id: u64) -> Result<(), OrderError> {
        let mut stock = self.stock();
        if let Some(order) = stock.orders.remove(&(tenant(ctx), id)) {
            stock.left += order.count;
        }
        Ok(())
    }

    async fn stamp(&self, _: &Context, label: Bytes) -> Result<Vec<u8>, OrderError> {
        Ok([b"PAID ", &label[..]].concat())
    }
}

/// Counts calls, and prints the request id of each.
struct Count(Arc<AtomicU64>);

#[async_trait]
impl Middleware for Count {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        let call = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        println!("call {call} of {}: {}", request.target, ctx.request_id().unwrap_or("no id"));
        next.run(ctx, request).await
    }
}

/// Refuses calls without the token, before any handler runs.
struct Authenticate;

#[async_trait]
impl Middleware for Authenticate {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        if request.headers.get("authorization") != Some("Bearer demo") {
            let text = "the token is missing or unknown";
            return Err(Error::failure(Code::Unauthenticated, Delivery::Rejected, None, text));
        }
        next.run(ctx, request).await
    }
}

/// Routes of the payments service: it charges once for each key, however often a call is repeated.
pub(crate) fn payments(bank: impl Payments) -> Router {
    Router::new().merge(PaymentsServer::new(bank)).with(Deduplicate::in_process())
}

/// The payments service, as it might be.
pub(crate) struct Bank;

#[async_trait]
impl Payments for Bank {
    async fn charge(&self, _: &Context, cents: u64) -> Result<String, Error> {
        Ok(format!("payment of {cents} cents"))
    }
}
