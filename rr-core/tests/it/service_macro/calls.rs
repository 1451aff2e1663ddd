//! Calls through the client reach the implementation, on every transport.

use std::sync::Arc;

use rr_core::transport::Routes;
use rr_core::{Code, Delivery, Error, Local, Reason, RequesterExt, Router, async_trait};

use super::shop::{
    Order, OrderError, Orders, OrdersClient, OrdersServer, Receipt, Shop, book,
    every_outcome_is_as_declared,
};
use super::support::{Recorder, ctx, rigs};
use rr_core::Context;

fn router() -> Router {
    OrdersServer::new(Shop::default()).into()
}

#[tokio::test]
async fn results_and_application_errors_arrive_as_values() {
    for rig in rigs("service-values", router).await {
        println!("{}", rig.name);
        every_outcome_is_as_declared(&OrdersClient::new(rig.requester), &ctx()).await;
    }
}

#[tokio::test]
async fn code_over_the_trait_runs_on_the_implementation_itself_or_behind_an_arc() {
    every_outcome_is_as_declared(&Shop::default(), &ctx()).await;
    let shared: Arc<dyn Orders> = Arc::new(Shop::default());
    every_outcome_is_as_declared(&shared, &ctx()).await;
    let served: Arc<dyn Orders> = Arc::new(Shop::default());
    let client = OrdersClient::new(Local::new(OrdersServer::new(served)));
    let shared: Arc<dyn Orders> = Arc::new(client.clone());
    every_outcome_is_as_declared(&*shared, &ctx()).await;
}

/// Answers every call by itself.
struct Mock;

#[async_trait]
impl Orders for Mock {
    async fn place(&self, _: &Context, order: Order) -> Result<Receipt, OrderError> {
        Ok(Receipt { id: u64::from(order.amount) })
    }

    async fn find(&self, _: &Context, id: u64) -> Result<Order, OrderError> {
        Err(OrderError::NoSuchOrder(id))
    }

    async fn move_to(&self, _: &Context, _: u64, _: String) -> Result<(), OrderError> {
        Ok(())
    }

    async fn list(&self, _: &Context) -> Result<Vec<Order>, Error> {
        Ok(Vec::new())
    }

    async fn count(&self, _: &Context) -> Result<usize, Error> {
        Ok(42)
    }
}

#[tokio::test]
async fn an_implementation_may_replace_a_provided_method_and_the_client_calls_it() {
    let mock: Arc<dyn Orders> = Arc::new(Mock);
    assert_eq!(mock.count(&ctx()).await.unwrap(), 42);
    let client = OrdersClient::new(Local::new(OrdersServer::new(mock)));
    assert_eq!(client.count(&ctx()).await.unwrap(), 42);
    assert_eq!(client.place(&ctx(), book(5)).await.unwrap(), Receipt { id: 5 });
}

#[tokio::test]
async fn several_arguments_travel_as_fields_with_their_names() {
    let recorder = Recorder::default();
    let router = || Router::new().with(recorder.clone()).merge(router());
    let ctx = ctx();
    for rig in rigs("service-fields", router).await {
        let client = OrdersClient::new(Arc::clone(&rig.requester));
        client.place(&ctx, book(1)).await.unwrap();
        client.move_to(&ctx, 1, "shelf 7".to_owned()).await.unwrap();
        assert_eq!(recorder.latest().body, r#"{"id":1,"place":"shelf 7"}"#, "{}", rig.name);
        assert_eq!(recorder.latest().target.as_str(), OrdersClient::MOVE_TO);
        // The order of the fields does not matter, and unknown ones are for later versions.
        let body = r#"{"later":true,"place":"x","id":1}"#;
        let moved = rig.requester.call_raw(&ctx, OrdersClient::MOVE_TO, body);
        assert_eq!(moved.await.unwrap().body, "{}");
        let moved = rig.requester.call_raw(&ctx, OrdersClient::MOVE_TO, r#"{"id":1}"#);
        let error = moved.await.unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::Rejected));
        assert!(error.message().contains("missing field `place`"), "{error}");
    }
}

#[tokio::test]
async fn one_argument_travels_as_its_value_and_none_as_unit() {
    let recorder = Recorder::default();
    let router = Router::new().with(recorder.clone()).merge(router());
    let client = OrdersClient::new(Local::new(router));
    client.place(&ctx(), book(1)).await.unwrap();
    assert_eq!(recorder.latest().body, r#"{"item":"a book","amount":1}"#);
    client.list(&ctx()).await.unwrap();
    assert_eq!(recorder.latest().body, "{}");
}

#[tokio::test]
async fn a_method_answers_to_its_name_and_its_aliases() {
    let ctx = ctx();
    for rig in rigs("service-aliases", router).await {
        let client = OrdersClient::new(Arc::clone(&rig.requester));
        client.place(&ctx, book(2)).await.unwrap();
        for name in ["find", "get", "fetch", "read"] {
            let call = rig.requester.call::<Order>(&ctx, format!("orders.v1.{name}"), &1);
            assert_eq!(call.safe().await.unwrap(), book(2), "{} {name}", rig.name);
        }
        let call = rig.requester.call::<Vec<Order>>(&ctx, "orders.v1.List", &());
        assert_eq!(call.await.unwrap(), [book(2)]);
    }
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented_even_with_a_fallback() {
    async fn fallback(_: Context, (): ()) -> Result<(), Error> {
        Ok(())
    }
    let router = || Router::new().merge(OrdersServer::new(Shop::default())).fallback(fallback);
    for rig in rigs("service-unknown", router).await {
        rig.requester.call::<()>(&ctx(), "orders.v2.place", &()).await.unwrap();
        for target in ["orders.v1.drop_all", "orders.v1.list"] {
            let error = rig.requester.call_raw(&ctx(), target, "{}").await.unwrap_err();
            assert_eq!(
                (error.code(), error.delivery()),
                (Code::Unimplemented, Delivery::Rejected),
                "{} {target}",
                rig.name
            );
            assert_eq!(error.reason(), Some(&Reason::NO_SUCH_TARGET));
        }
    }
}

#[test]
fn the_client_knows_its_targets() {
    assert_eq!(OrdersClient::SERVICE, "orders.v1");
    assert_eq!(OrdersClient::PLACE, "orders.v1.place");
    assert_eq!(OrdersClient::MOVE_TO, "orders.v1.move_to");
    assert_eq!(OrdersClient::LIST, "orders.v1.List");
}

#[test]
fn the_description_has_the_docs_and_what_is_declared() {
    use rr_core::transport::Declared;
    use std::time::Duration;

    let service = OrdersClient::description();
    assert_eq!(service.name, "orders.v1");
    assert_eq!(service.docs, "Orders of one shop.\n\nNothing is kept after the process ends.");
    let names: Vec<_> = service.methods.iter().map(|method| method.name).collect();
    assert_eq!(names, ["place", "find", "move_to", "List", "count"]);
    let place = service.method("place").unwrap();
    assert_eq!(place.docs, "Places an order.\n\nRefuses more than ten pieces.");
    assert_eq!(place.target, OrdersClient::PLACE);
    assert_eq!((place.idempotency, place.timeout), (Declared::Keyed, Some(Duration::from_secs(2))));
    let find = service.method("read").unwrap();
    assert_eq!((find.name, find.aliases), ("find", &["get", "fetch", "read"][..]));
    assert_eq!((find.idempotency, find.timeout), (Declared::Safe, None));
    assert_eq!(service.method("move_to").unwrap().docs, "");
    assert_eq!(find.content_types, ["application/json"]);
    assert!(service.method("drop_all").is_none());
}

#[test]
fn the_routes_carry_the_description_until_it_is_removed() {
    let router = || Router::new().merge(OrdersServer::new(Shop::default()));
    let routes: Routes = router().into();
    let (service, description) = routes.descriptions().next().unwrap();
    assert_eq!(service, OrdersClient::SERVICE);
    assert_eq!(*description, OrdersClient::description().to_json());
    let find = &description["methods"][1];
    assert_eq!((&find["idempotency"], &find["name"]), (&"safe".into(), &"find".into()));
    let routes: Routes = router().without_descriptions().into();
    assert_eq!(routes.descriptions().count(), 0);
}
