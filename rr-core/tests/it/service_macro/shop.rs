//! The service of these tests.

use std::collections::BTreeMap;
use std::sync::Mutex;

use rr_core::{AppError, Code, Context, Error, async_trait, service};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) item: String,
    pub(super) amount: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Receipt {
    pub(super) id: u64,
}

/// Application error that can hold a failed call.
#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
pub(super) enum OrderError {
    #[error("no order {0}")]
    NoSuchOrder(u64),
    #[error("only {left} left")]
    OutOfStock { left: u32 },
    #[serde(skip)]
    #[error(transparent)]
    Call(#[from] Error),
}

impl AppError for OrderError {
    const TYPE: &'static str = "orders.OrderError";

    fn code(&self) -> Code {
        match self {
            Self::NoSuchOrder(_) => Code::NotFound,
            _ => Code::FailedPrecondition,
        }
    }

    fn failed_call(&self) -> Option<&Error> {
        match self {
            Self::Call(error) => Some(error),
            _ => None,
        }
    }
}

/// Orders of one shop.
///
/// Nothing is kept after the process ends.
#[service("orders.v1")]
pub(super) trait Orders {
    /// Places an order.
    ///
    /// Refuses more than ten pieces.
    #[rr(keyed, timeout = "2s")]
    async fn place(&self, ctx: &Context, order: Order) -> Result<Receipt, OrderError>;

    /// Returns an order.
    #[rr(safe, alias = "get", alias = ["fetch", "read"])]
    async fn find(&self, ctx: &Context, id: u64) -> Result<Order, OrderError>;

    #[rr(idempotent)]
    async fn move_to(&self, ctx: &Context, id: u64, place: String) -> Result<(), OrderError>;

    #[rr(name = "List")]
    async fn list(&self, ctx: &Context) -> Result<Vec<Order>, Error>;

    /// Counts the orders.
    async fn count(&self, ctx: &Context) -> Result<usize, Error> {
        Ok(self.list(ctx).await?.len())
    }
}

/// Implementation in memory.
#[derive(Default)]
pub(super) struct Shop {
    pub(super) orders: Mutex<BTreeMap<u64, Order>>,
    pub(super) places: Mutex<BTreeMap<u64, String>>,
}

#[async_trait]
impl Orders for Shop {
    async fn place(&self, _: &Context, order: Order) -> Result<Receipt, OrderError> {
        if order.amount > 10 {
            return Err(OrderError::OutOfStock { left: 10 });
        }
        let mut orders = self.orders.lock().unwrap();
        let id = orders.len() as u64 + 1;
        orders.insert(id, order);
        Ok(Receipt { id })
    }

    async fn find(&self, _: &Context, id: u64) -> Result<Order, OrderError> {
        let found = self.orders.lock().unwrap().get(&id).cloned();
        found.ok_or(OrderError::NoSuchOrder(id))
    }

    async fn move_to(&self, ctx: &Context, id: u64, place: String) -> Result<(), OrderError> {
        self.find(ctx, id).await?;
        self.places.lock().unwrap().insert(id, place);
        Ok(())
    }

    async fn list(&self, _: &Context) -> Result<Vec<Order>, Error> {
        Ok(self.orders.lock().unwrap().values().cloned().collect())
    }
}

pub(super) fn book(amount: u32) -> Order {
    Order { item: "a book".to_owned(), amount }
}

/// Every kind of call with its outcome, on any implementation.
pub(super) async fn every_outcome_is_as_declared(orders: &dyn Orders, ctx: &Context) {
    assert!(orders.list(ctx).await.unwrap().is_empty());
    let Receipt { id } = orders.place(ctx, book(3)).await.unwrap();
    assert_eq!(orders.find(ctx, id).await.unwrap(), book(3));
    orders.move_to(ctx, id, "shelf 7".to_owned()).await.unwrap();
    assert_eq!(orders.list(ctx).await.unwrap(), [book(3)]);
    assert_eq!(orders.count(ctx).await.unwrap(), 1);
    let error = orders.place(ctx, book(11)).await.unwrap_err();
    assert!(matches!(error, OrderError::OutOfStock { left: 10 }), "{error:?}");
    let error = orders.move_to(ctx, 99, String::new()).await.unwrap_err();
    assert!(matches!(error, OrderError::NoSuchOrder(99)), "{error:?}");
}
