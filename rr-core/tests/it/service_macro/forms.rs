//! Forms that a trait may take, and names that must not collide with those of the generated code.

use std::sync::Arc;

use rr_core::{Context, Error, Local, Router, async_trait, service};

use super::shop::{OrdersClient, OrdersServer, Shop};
use super::support::ctx;

/// Another path to rr-core, as of a crate that re-exports it.
pub(crate) mod facade {
    pub(crate) mod rr {
        pub(crate) use rr_core::*;
    }
}

#[service("named", crate = self::facade::rr, client = Caller, server = Answers)]
pub(crate) trait Named {
    async fn twice(&self, ctx: &Context, n: u32) -> Result<u32, Error>;
    async fn sum(&self, ctx: &Context, a: u32, b: u32) -> Result<u32, Error>;
}

struct Arithmetic;

#[async_trait]
impl Named for Arithmetic {
    async fn twice(&self, _: &Context, n: u32) -> Result<u32, Error> {
        Ok(n * 2)
    }

    async fn sum(&self, _: &Context, a: u32, b: u32) -> Result<u32, Error> {
        Ok(a + b)
    }
}

#[tokio::test]
async fn names_and_the_path_of_the_crate_can_be_chosen() {
    let client = Caller::new(Local::new(Answers::new(Arithmetic)));
    assert_eq!(client.twice(&ctx(), 21).await.unwrap(), 42);
    assert_eq!(client.sum(&ctx(), 1, 2).await.unwrap(), 3);
}

#[tokio::test]
async fn services_share_a_router() {
    let router =
        Router::new().merge(OrdersServer::new(Shop::default())).merge(Answers::new(Arithmetic));
    let local = Local::new(router);
    let named = Caller::new(local.clone());
    assert_eq!(named.twice(&ctx(), 1).await.unwrap(), 2);
    super::shop::every_outcome_is_as_declared(&OrdersClient::new(local), &ctx()).await;
}

#[test]
fn a_service_routed_twice_is_an_error_and_no_panic() {
    let twice = Router::new().merge(Answers::new(Arithmetic)).try_merge(Answers::new(Arithmetic));
    assert_eq!(twice.unwrap_err().code(), rr_core::Code::AlreadyExists);
}

/// Arguments and methods with the names that generated code might use.
#[service("hygiene")]
#[allow(clippy::too_many_arguments, clippy::wrong_self_convention, clippy::new_ret_no_self)]
trait Hygiene {
    async fn names(
        &self,
        c: &Context,
        ctx: u8,
        service: u8,
        request: u8,
        outcome: u8,
        value: u8,
        error: u8,
        routing: u8,
        r#type: u8,
    ) -> Result<Vec<u8>, Error>;

    async fn r#async(&self, context: &Context, routing: u8) -> Result<u8, Error>;

    async fn new(&self, _: &Context, service: u8) -> Result<u8, Error>;

    async fn description(&self, _ctx: &Context) -> Result<u8, Error> {
        Ok(4)
    }

    async fn clone(&self, ctx: &Context, mut n: u8) -> Result<u8, Error> {
        n += u8::from(ctx.deadline().is_some());
        Ok(n)
    }

    #[cfg(feature = "json")]
    async fn compiled(&self, ctx: &Context, a: u8, b: u8) -> Result<u8, Error>;

    #[cfg(not(feature = "json"))]
    async fn left_out(&self, ctx: &Context, a: NoSuchType, b: u8) -> Result<u8, Error>;
}

struct Clean;

#[async_trait]
impl Hygiene for Clean {
    async fn names(
        &self,
        _: &Context,
        ctx: u8,
        service: u8,
        request: u8,
        outcome: u8,
        value: u8,
        error: u8,
        routing: u8,
        r#type: u8,
    ) -> Result<Vec<u8>, Error> {
        Ok(vec![ctx, service, request, outcome, value, error, routing, r#type])
    }

    async fn r#async(&self, _: &Context, routing: u8) -> Result<u8, Error> {
        Ok(routing)
    }

    async fn new(&self, _: &Context, service: u8) -> Result<u8, Error> {
        Ok(service)
    }

    async fn compiled(&self, _: &Context, a: u8, b: u8) -> Result<u8, Error> {
        Ok(a + b)
    }
}

#[tokio::test]
async fn names_of_the_user_do_not_meet_those_of_the_generated_code() {
    let client = HygieneClient::new(Local::new(HygieneServer::new(Clean)));
    let named = client.names(&ctx(), 1, 2, 3, 4, 5, 6, 7, 8).await.unwrap();
    assert_eq!(named, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(client.r#async(&ctx(), 9).await.unwrap(), 9);
    assert_eq!(HygieneClient::ASYNC, "hygiene.async");
    assert_eq!(Hygiene::new(&client, &ctx(), 3).await.unwrap(), 3);
    assert_eq!(Hygiene::description(&client, &ctx()).await.unwrap(), 4);
    assert_eq!(Hygiene::clone(&client, &ctx(), 4).await.unwrap(), 5);
    let methods = HygieneClient::description().methods.iter().map(|method| method.name);
    assert!(methods.clone().any(|name| name == "compiled"));
    assert!(methods.clone().all(|name| name != "left_out"));
    assert_eq!(client.compiled(&ctx(), 1, 2).await.unwrap(), 3);
}

#[tokio::test]
async fn a_trait_may_be_declared_by_another_macro_and_within_a_function() {
    macro_rules! declare {
        ($name:ident, $kind:ty, $outcome:ty) => {
            #[service("declared", crate = $crate::service_macro::forms::facade::rr)]
            trait $name {
                async fn echo(&self, ctx: &Context, value: $kind) -> $outcome;
                async fn first(&self, ctx: &Context, value: $kind, or: $kind) -> $outcome;
            }
        };
    }
    declare!(Declared, Vec<String>, Result<Vec<String>, Error>);
    struct Echo;
    #[async_trait]
    impl Declared for Echo {
        async fn echo(&self, _: &Context, value: Vec<String>) -> Result<Vec<String>, Error> {
            Ok(value)
        }

        async fn first(
            &self,
            _: &Context,
            value: Vec<String>,
            _: Vec<String>,
        ) -> Result<Vec<String>, Error> {
            Ok(value)
        }
    }
    let client: Arc<dyn Declared> =
        Arc::new(DeclaredClient::new(Local::new(DeclaredServer::new(Echo))));
    let value = vec!["a".to_owned()];
    assert_eq!(client.echo(&ctx(), value.clone()).await.unwrap(), ["a"]);
    assert_eq!(client.first(&ctx(), value, Vec::new()).await.unwrap(), ["a"]);
}

#[test]
fn what_is_generated_can_be_shown_and_cloned() {
    let server = Answers::new(Arithmetic);
    let same = Clone::clone(&server);
    assert_eq!(format!("{server:?} {same:?}"), "Answers { .. } Answers { .. }");
    let client = Caller::new(Local::new(server));
    let same = Clone::clone(&client);
    assert!(format!("{client:?}").starts_with("Caller"));
    assert_eq!(format!("{client:?}"), format!("{same:?}"));
}
