//! The shop without a network: a mock of payments, faults on the way, and virtual time.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tower::ServiceExt as _;

use crate::api::{BODY_BYTES_MAX, CallError, Context, Method, Order, OrderError, Payments, TENANT};
use crate::clients::{OrdersClient, PaymentsClient};
use crate::shop::{Bank, Shop, Tenant, payments_router};
use crate::transport::{Transport, unavailable};

enum Fault {
    FailBefore,
    DropReply,
}

/// Calls a router in this process. The first requests meet a fault each.
struct Local {
    router: Router,
    faults: Mutex<VecDeque<Fault>>,
}

impl Local {
    fn new(router: Router, faults: impl Into<VecDeque<Fault>>) -> Arc<Self> {
        Arc::new(Self { router, faults: Mutex::new(faults.into()) })
    }
}

#[async_trait]
impl Transport for Local {
    async fn send(
        &self,
        method: &Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Bytes>, CallError> {
        let fault = self.faults.lock().unwrap().pop_front();
        if let Some(Fault::FailBefore) = fault {
            return Err(unavailable("cannot be reached").not_run());
        }
        let path = format!("/{}/{}", method.service, method.name);
        let mut request = Request::post(path).body(Body::from(body)).unwrap();
        *request.headers_mut() = headers;
        let Ok(response) = self.router.clone().oneshot(request).await;
        if let Some(Fault::DropReply) = fault {
            pending::<()>().await;
        }
        let (parts, body) = response.into_parts();
        Ok(Response::from_parts(parts, to_bytes(body, BODY_BYTES_MAX).await.unwrap()))
    }
}

fn context() -> Context {
    Context::with_timeout(Duration::from_secs(10))
}

fn tenant() -> Tenant {
    Tenant("default".to_owned())
}

fn tea(count: u32) -> Order {
    Order { item: "tea".to_owned(), count }
}

/// Payments that fail a number of times, before they take any money.
struct Flaky(AtomicU64);

#[async_trait]
impl Payments for Flaky {
    async fn charge(&self, _: &Context, cents: u64) -> Result<String, CallError> {
        let failed =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        match failed {
            Ok(_) => Err(unavailable("busy").not_run()),
            Err(_) => Ok(cents.to_string()),
        }
    }
}

#[tokio::test]
async fn a_failed_charge_gives_the_goods_back() {
    let shop = Shop::new(Flaky(1.into()), 2);
    let ctx = context();
    assert!(matches!(shop.place(&ctx, tenant(), tea(2)).await, Err(OrderError::Call(_))));
    assert_eq!(shop.place(&ctx, tenant(), tea(2)).await.unwrap().0.payment, "500");
    let empty = shop.place(&ctx, tenant(), tea(1)).await;
    assert!(matches!(empty, Err(OrderError::OutOfStock { left: 0 })), "{empty:?}");
}

#[tokio::test]
async fn tenants_do_not_see_each_others_orders() {
    let router = Shop::new(Bank, 2).router(&Arc::default());
    let client = |tenant: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Bearer demo"));
        headers.insert(TENANT, HeaderValue::from_static(tenant));
        OrdersClient::new(Local::new(router.clone(), []), headers)
    };
    let (berlin, elsewhere) = (client("berlin"), client("default"));
    let placed = berlin.place(&context(), &tea(1)).await.unwrap();
    assert_eq!(berlin.get(&context(), placed.body().id).await.unwrap(), tea(1));
    let elsewhere = elsewhere.get(&context(), placed.body().id).await;
    assert!(matches!(elsewhere, Err(OrderError::NoSuchOrder(1))), "{elsewhere:?}");
}

#[tokio::test(start_paused = true)]
async fn payments_that_cannot_be_reached_twice_are_called_a_third_time() {
    let payments = Local::new(payments_router(Bank), [Fault::FailBefore, Fault::FailBefore]);
    let shop = Shop::new(PaymentsClient::new(payments), 2);
    shop.place(&context(), tenant(), tea(2)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_keeps_the_goods_reserved_and_ends_at_the_timeout() {
    let payments = Local::new(payments_router(Bank), [Fault::DropReply]);
    let shop = Shop::new(PaymentsClient::new(payments), 2);
    let began = tokio::time::Instant::now();
    let lost = shop.place(&context(), tenant(), tea(2)).await;
    let Err(OrderError::Call(error)) = lost else { panic!("{lost:?}") };
    assert_eq!((error.status, error.not_run), (StatusCode::GATEWAY_TIMEOUT, false));
    assert_eq!(began.elapsed().as_secs(), 1);
    let empty = shop.place(&context(), tenant(), tea(1)).await;
    assert!(matches!(empty, Err(OrderError::OutOfStock { left: 0 })), "{empty:?}");
}

#[tokio::test]
async fn calls_are_counted_and_need_the_token() {
    let calls = Arc::default();
    let local = Local::new(Shop::new(Bank, 2).router(&calls), []);
    let ctx = Context::with_timeout(Duration::from_secs(1));
    let refused = OrdersClient::new(local.clone(), HeaderMap::new()).place(&ctx, &tea(1)).await;
    let Err(OrderError::Call(error)) = refused else { panic!("{refused:?}") };
    assert_eq!((error.status, error.not_run), (StatusCode::UNAUTHORIZED, true));
    let mut token = HeaderMap::new();
    token.insert("authorization", HeaderValue::from_static("Bearer demo"));
    let reply = OrdersClient::new(local, token).place(&ctx, &tea(1)).await.unwrap();
    assert_eq!(reply.headers().get("x-left").unwrap(), "1");
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}
