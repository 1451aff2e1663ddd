//! The orders service: its state, its methods and their handlers.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use axum::extract::{FromRequestParts, State};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Extension, Json, Router};
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use tokio_util::task::TaskTracker;

use crate::api::{CallError, Context, Order, OrderError, Payments, Receipt, TENANT};
use crate::middleware::{authenticate, count, limited};

const CENTS: u64 = 250;

/// State of the service.
pub(crate) struct Shop {
    payments: Arc<dyn Payments>,
    stock: Mutex<Stock>,
    /// Orders that are being placed, whether or not their callers still wait.
    pub(crate) placing: TaskTracker,
}

struct Stock {
    left: u32,
    placed: u64,
    orders: HashMap<(String, u64), Order>,
}

impl Shop {
    pub(crate) fn new(payments: impl Payments, left: u32) -> Self {
        let stock = Stock { left, placed: 0, orders: HashMap::new() };
        let payments = Arc::new(payments);
        Self { payments, stock: Mutex::new(stock), placing: TaskTracker::new() }
    }

    /// Routes of the service, behind its middleware.
    pub(crate) fn router(self, calls: &Arc<AtomicU64>) -> Router {
        let routes = Router::new()
            .route("/orders.v1/place", post(place))
            .route("/orders.v1/get", post(get))
            .route("/orders.v1/cancel", post(cancel))
            .route("/orders.v1/stamp", post(stamp))
            .with_state(Arc::new(self))
            .layer(from_fn(authenticate))
            .layer(from_fn_with_state(Arc::clone(calls), count));
        limited(routes)
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

    /// Charges the price of an order and places it. Returns the stock, too.
    pub(crate) async fn place(
        &self,
        ctx: &Context,
        tenant: Tenant,
        order: Order,
    ) -> Result<(Receipt, u32), OrderError> {
        let left = self.take(order.count)?;
        let charged = self.payments.charge(ctx, CENTS * u64::from(order.count)).await;
        let mut stock = self.stock();
        // Only a charge that provably did not happen gives the goods back.
        let payment = charged.map_err(|error| {
            if error.not_run {
                stock.left += order.count;
            }
            OrderError::Call(error)
        })?;
        stock.placed += 1;
        let id = stock.placed;
        stock.orders.insert((tenant.0, id), order);
        Ok((Receipt { id, payment }, left))
    }

    /// Returns an order of the caller's tenant.
    fn get(&self, tenant: Tenant, id: u64) -> Result<Order, OrderError> {
        self.stock().orders.get(&(tenant.0, id)).cloned().ok_or(OrderError::NoSuchOrder(id))
    }

    /// Cancels an order, if it is still there.
    fn cancel(&self, tenant: Tenant, id: u64) {
        let mut stock = self.stock();
        if let Some(order) = stock.orders.remove(&(tenant.0, id)) {
            stock.left += order.count;
        }
    }
}

pub(crate) struct Tenant(pub(crate) String);

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let tenant = parts.headers.get(TENANT).and_then(|tenant| tenant.to_str().ok());
        Ok(Self(tenant.unwrap_or("default").to_owned()))
    }
}

async fn place(
    State(shop): State<Arc<Shop>>,
    Extension(ctx): Extension<Context>,
    tenant: Tenant,
    Json(order): Json<Order>,
) -> Result<impl IntoResponse, OrderError> {
    // In a task, so that it runs to its end when the caller leaves.
    let placing = shop.placing.clone();
    let placed = placing.spawn(async move { shop.place(&ctx, tenant, order).await }).await;
    let panicked = |error| CallError::new(StatusCode::INTERNAL_SERVER_ERROR, error);
    let (receipt, left) = placed.map_err(panicked)??;
    Ok(([("x-left", left.to_string())], Json(receipt)))
}

async fn get(
    State(shop): State<Arc<Shop>>,
    tenant: Tenant,
    Json(id): Json<u64>,
) -> Result<Json<Order>, OrderError> {
    shop.get(tenant, id).map(Json)
}

async fn cancel(State(shop): State<Arc<Shop>>, tenant: Tenant, Json(id): Json<u64>) -> Json<()> {
    shop.cancel(tenant, id);
    Json(())
}

/// Stamps a label, a picture of any format.
async fn stamp(label: Bytes) -> Vec<u8> {
    [b"PAID ", &label[..]].concat()
}

/// The payments service, as it might be.
pub(crate) struct Bank;

#[async_trait]
impl Payments for Bank {
    async fn charge(&self, _: &Context, cents: u64) -> Result<String, CallError> {
        Ok(format!("payment of {cents} cents"))
    }
}

/// Routes of the payments service.
pub(crate) fn payments_router(payments: impl Payments) -> Router {
    let payments: Arc<dyn Payments> = Arc::new(payments);
    limited(Router::new().route("/payments.v1/charge", post(charge)).with_state(payments))
}

async fn charge(
    State(payments): State<Arc<dyn Payments>>,
    Extension(ctx): Extension<Context>,
    Json(cents): Json<u64>,
) -> Result<Json<String>, CallError> {
    payments.charge(&ctx, cents).await.map(Json)
}
