//! The application: a typed `orders` service and its customer. It names no transport.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_core::{
    AppError, CallError, Code, Context, Error, HandlerExt, Requester, RequesterExt, Router, Service,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    item: String,
    count: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Placed {
    id: u64,
    cents: u64,
}

/// What the service itself answers when it cannot sell: an answer, not a failure of the call.
#[derive(Debug, Serialize, Deserialize)]
struct OutOfStock {
    left: u32,
}

impl AppError for OutOfStock {
    const TYPE: &'static str = "orders.OutOfStock";
}

/// The service's state.
#[derive(Clone, Default)]
struct Orders {
    placed: Arc<Mutex<HashMap<u64, Placed>>>,
    quotes: Arc<Mutex<u32>>,
}

impl Orders {
    async fn place(self, order: Order) -> Result<Placed, OutOfStock> {
        if order.count > 3 {
            return Err(OutOfStock { left: 3 });
        }
        let mut placed = self.placed.lock().expect("no handler panics while it holds the lock");
        let id = placed.len() as u64 + 1;
        let receipt = Placed { id, cents: 250 * u64::from(order.count) };
        placed.insert(id, receipt.clone());
        Ok(receipt)
    }

    async fn find(self, id: u64) -> Result<Placed, Error> {
        let placed = self.placed.lock().expect("no handler panics while it holds the lock");
        placed.get(&id).cloned().ok_or_else(|| Error::new(Code::NotFound, format!("no order {id}")))
    }

    /// Fails the first time, as services do.
    async fn quote(self, item: String) -> Result<u64, Error> {
        let mut quotes = self.quotes.lock().expect("no handler panics while it holds the lock");
        *quotes += 1;
        if *quotes == 1 {
            return Err(Error::new(Code::Unavailable, "warming up"));
        }
        Ok(item.len() as u64 * 50)
    }

    /// Slow on purpose: the caller's deadline ends it, wherever the caller is.
    async fn audit(self, ctx: Context, (): ()) -> Result<(), Error> {
        let text = format!("the audit was not stopped: {:?}", ctx.cancelled().await);
        Err(Error::new(Code::Internal, text))
    }
}

/// Routes the service.
pub(crate) fn router() -> Router {
    let orders = Service::new("orders.v1", Orders::default())
        .method("place", Orders::place)
        .method("find", Orders::find.safe())
        .method("quote", Orders::quote.idempotent())
        .method("audit", Orders::audit);
    Router::new().merge(orders)
}

/// Uses the service, and returns what happened, line by line.
pub(crate) async fn customer(client: &dyn Requester) -> Vec<String> {
    let ctx = Context::background().with_timeout(Duration::from_secs(5));
    let mut outcomes = Vec::new();

    let order = Order { item: "tea".into(), count: 2 };
    let placed = client.call::<Placed>(&ctx, "orders.v1.place", &order).await;
    outcomes.push(format!("place two:    {}", tell(&placed)));

    let order = Order { count: 9, ..order };
    let refused = client.call::<Placed>(&ctx, "orders.v1.place", &order);
    let refused = refused.app_error::<OutOfStock>().await;
    outcomes.push(format!("place nine:   {}", tell(&refused)));

    let missing = client.call::<Placed>(&ctx, "orders.v1.find", &17).safe().await;
    outcomes.push(format!("find 17:      {}", tell(&missing)));

    let quote = quote_with_retry(client, &ctx).await;
    outcomes.push(format!("quote:        {}", tell(&quote)));

    let short = ctx.with_timeout(Duration::from_millis(200));
    let audit = client.call::<()>(&short, "orders.v1.audit", &()).await;
    outcomes.push(format!("slow audit:   {}", tell(&audit)));

    let (cancelled, handle) = ctx.child();
    let call = client.call::<()>(&cancelled, "orders.v1.audit", &()).into_future();
    tokio::pin!(call);
    tokio::select! {
        biased;
        _ = &mut call => outcomes.push("cancelled:    it ended by itself".into()),
        () = tokio::time::sleep(Duration::from_millis(50)) => {
            handle.cancel();
            outcomes.push(format!("cancelled:    {}", tell(&call.await)));
        }
    }

    let unknown = client.call::<()>(&ctx, "orders.v1.refund", &1).await;
    outcomes.push(format!("no such call: {}", tell(&unknown)));
    outcomes
}

/// Retries by hand: what did not run may always be tried again, and a quote may be anyway.
async fn quote_with_retry(client: &dyn Requester, ctx: &Context) -> Result<u64, CallError> {
    let mut retries = 0;
    loop {
        let attempt = ctx.with_retries(retries);
        match client.call(&attempt, "orders.v1.quote", "teapot").idempotent().await {
            Err(CallError::Rr(error)) if error.code() == Code::Unavailable && retries < 2 => {
                retries += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            outcome => return outcome,
        }
    }
}

/// Tells an outcome in a line; for an error also whether the handler may have run.
fn tell<T: std::fmt::Debug, E: std::fmt::Debug>(outcome: &Result<T, CallError<E>>) -> String {
    match outcome {
        Ok(value) => format!("{value:?}"),
        Err(CallError::App(app)) => format!("the service says {app:?}"),
        Err(CallError::Rr(error)) => error.to_string(),
    }
}
