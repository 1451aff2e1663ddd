//! The contracts of the two services, shared by their servers and callers.

use std::borrow::Cow;

use rr_core::codec::OctetStream;
use rr_core::schema::JsonSchema;
use rr_core::{AppError, Bytes, Code, Context, Error, Reply, service};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "rr_core::schema::schemars")]
pub(crate) struct Order {
    pub(crate) item: String,
    pub(crate) count: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "rr_core::schema::schemars")]
pub(crate) struct Receipt {
    pub(crate) id: u64,
    pub(crate) payment: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[schemars(crate = "rr_core::schema::schemars")]
pub(crate) enum OrderError {
    #[error("only {left} left")]
    OutOfStock { left: u32 },
    #[error("no order {0}")]
    NoSuchOrder(u64),
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

    fn message(&self) -> Cow<'static, str> {
        self.to_string().into()
    }

    fn failed_call(&self) -> Option<&Error> {
        if let Self::Call(error) = self { Some(error) } else { None }
    }
}

/// Orders of a shop, separate for each tenant.
#[service("orders.v1")]
pub(crate) trait Orders {
    /// Charges the price of an order and places it. The reply has the stock in `x-left`.
    #[rr(keyed, timeout = "5s", run_to_end)]
    async fn place(&self, ctx: &Context, order: Order) -> Result<Reply<Receipt>, OrderError>;

    /// Returns an order of the caller's tenant.
    #[rr(safe)]
    async fn get(&self, ctx: &Context, id: u64) -> Result<Order, OrderError>;

    /// Cancels an order, if it is still there.
    #[rr(idempotent)]
    async fn cancel(&self, ctx: &Context, id: u64) -> Result<(), OrderError>;

    /// Stamps a label, a picture of any format.
    #[rr(codec = OctetStream)]
    async fn stamp(&self, ctx: &Context, label: Bytes) -> Result<Vec<u8>, OrderError>;
}

/// Payments, which run elsewhere.
#[service("payments.v1")]
pub(crate) trait Payments {
    /// Charges an amount and returns the number of the payment.
    #[rr(keyed, timeout = "1s")]
    async fn charge(&self, ctx: &Context, cents: u64) -> Result<String, Error>;
}
