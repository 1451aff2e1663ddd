//! Every kind of error type, from the implementation to the caller.

use std::sync::Arc;

use rr_core::{
    AppError, CallError, Code, Context, Delivery, Error, Local, Reason, Request, Requester,
    RequesterExt, Response, Router, async_trait, service,
};
use serde::{Deserialize, Serialize};

use super::shop::{OrderError, Orders, OrdersClient, OrdersServer, Shop};
use super::support::{ctx, rigs};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct OutOfStock {
    left: u32,
}

impl AppError for OutOfStock {
    const TYPE: &'static str = "stock.OutOfStock";
}

/// Error that is no `AppError`: it travels as an `Error`.
#[derive(Debug)]
enum Plain {
    Refused,
    Call(Error),
}

impl From<Error> for Plain {
    fn from(error: Error) -> Self {
        Self::Call(error)
    }
}

impl From<Plain> for Error {
    fn from(error: Plain) -> Self {
        match error {
            Plain::Refused => Self::new(Code::PermissionDenied, "refused"),
            Plain::Call(error) => error,
        }
    }
}

type StockResult<T> = Result<T, CallError<OutOfStock>>;

#[service("stock")]
trait Stock {
    async fn plain(&self, ctx: &Context, down: bool) -> Result<(), Plain>;
    async fn error(&self, ctx: &Context, down: bool) -> Result<(), Error>;
    async fn call_error(&self, ctx: &Context, down: bool) -> StockResult<()>;
    async fn app_error(&self, ctx: &Context, down: bool) -> Result<(), OrderError>;
}

/// Fails with an error of its own, or with that of a service further down.
struct Warehouse {
    down: Arc<Local>,
    orders: OrdersClient,
}

impl Warehouse {
    fn local() -> Local {
        let down = Router::new()
            .route("down.secret", |(): ()| async {
                Err::<(), _>(Error::new(Code::NotFound, "secret"))
            })
            .route("down.away", |(): ()| async {
                Err::<(), _>(Error::new(Code::Unavailable, "secret"))
            })
            .merge(OrdersServer::new(Shop::default()));
        let down = Arc::new(Local::new(down));
        let orders = OrdersClient::new(Arc::clone(&down));
        Local::new(StockServer::new(Self { down, orders }))
    }

    async fn secret(&self, ctx: &Context) -> Result<(), Error> {
        Ok(self.down.call::<()>(ctx, "down.secret", &()).await?)
    }
}

#[async_trait]
impl Stock for Warehouse {
    async fn plain(&self, ctx: &Context, down: bool) -> Result<(), Plain> {
        if down {
            self.secret(ctx).await?;
        }
        Err(Plain::Refused)
    }

    async fn error(&self, ctx: &Context, down: bool) -> Result<(), Error> {
        if down {
            self.secret(ctx).await?;
        }
        Err(Error::new(Code::OutOfRange, "own"))
    }

    async fn call_error(&self, ctx: &Context, down: bool) -> StockResult<()> {
        if down {
            self.secret(ctx).await?;
        }
        Err(CallError::App(OutOfStock { left: 3 }).into_own())
    }

    async fn app_error(&self, ctx: &Context, down: bool) -> Result<(), OrderError> {
        if down {
            let call = self.down.call::<()>(ctx, "down.away", &());
            call.await.map_err(Error::from)?;
        }
        self.orders.find(ctx, 17).await?;
        Ok(())
    }
}

/// Asserts that an error of a service further down has left nothing of itself.
fn assert_rescoped(error: &Error) {
    assert_eq!((error.code(), error.delivery()), (Code::Internal, Delivery::Processed), "{error}");
    assert!(!error.message().contains("secret") && error.details().is_empty(), "{error}");
}

#[tokio::test]
async fn an_error_that_converts_both_ways_travels_as_an_error() {
    let client = StockClient::new(Warehouse::local());
    let Err(Plain::Call(error)) = client.plain(&ctx(), false).await else { panic!("it travels") };
    assert_eq!((error.code(), error.message()), (Code::PermissionDenied, "refused"));
    let Err(Plain::Call(error)) = client.plain(&ctx(), true).await else { panic!("it travels") };
    assert_rescoped(&error);
}

#[tokio::test]
async fn an_error_passes_and_that_of_a_call_is_rescoped() {
    let client = StockClient::new(Warehouse::local());
    let error = client.error(&ctx(), false).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::OutOfRange, "own"));
    assert_rescoped(&client.error(&ctx(), true).await.unwrap_err());
}

#[tokio::test]
async fn the_error_of_typed_calls_is_sorted() {
    let client = StockClient::new(Warehouse::local());
    let error = client.call_error(&ctx(), false).await.unwrap_err();
    assert!(matches!(error, CallError::App(OutOfStock { left: 3 })), "{error:?}");
    let Err(CallError::Rr(error)) = client.call_error(&ctx(), true).await else {
        panic!("it is no application error")
    };
    assert_rescoped(&error);
}

#[tokio::test]
async fn an_application_error_passed_on_is_the_implementations_own() {
    let client = StockClient::new(Warehouse::local());
    let error = client.app_error(&ctx(), false).await.unwrap_err();
    assert!(matches!(error, OrderError::NoSuchOrder(17)), "{error:?}");
}

#[tokio::test]
async fn a_failed_call_that_an_application_error_holds_is_rescoped() {
    let client = StockClient::new(Warehouse::local());
    let Err(OrderError::Call(error)) = client.app_error(&ctx(), true).await else {
        panic!("it is no answer")
    };
    // The code means the same one hop further.
    assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::Processed));
    assert!(!error.message().contains("secret") && error.details().is_empty(), "{error}");
}

#[tokio::test]
async fn an_application_error_keeps_its_code_for_callers_that_do_not_know_it() {
    let ctx = ctx();
    for rig in rigs("service-codes", || OrdersServer::new(Shop::default()).into()).await {
        let call = rig.requester.call_raw(&ctx, OrdersClient::FIND, "17");
        let error = call.await.unwrap_err();
        assert_eq!((error.code(), error.reason()), (Code::NotFound, Some(&Reason::APP)));
    }
}

#[tokio::test]
async fn a_call_that_cannot_be_made_is_the_failure_that_the_error_holds() {
    let nothing = OrdersClient::new(Local::new(Router::new()));
    let Err(OrderError::Call(error)) = nothing.find(&ctx(), 1).await else {
        panic!("nothing answers")
    };
    assert_eq!((error.code(), error.delivery()), (Code::Unimplemented, Delivery::Rejected));
}

/// Requester whose errors do not say that a call failed.
struct Careless;

#[async_trait]
impl Requester for Careless {
    async fn request(&self, _: &Context, _: Request) -> Result<Response, Error> {
        Err(Error::new(Code::NotFound, "secret"))
    }
}

#[tokio::test]
async fn the_error_of_any_requester_is_rescoped_if_it_leaves_an_implementation() {
    let orders = OrdersClient::new(Careless);
    let down = Arc::new(Local::new(Router::new()));
    let client = StockClient::new(Local::new(StockServer::new(Warehouse { down, orders })));
    let Err(OrderError::Call(error)) = client.app_error(&ctx(), false).await else {
        panic!("the call failed")
    };
    assert_rescoped(&error);
}
