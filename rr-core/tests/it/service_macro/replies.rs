//! Methods that see the headers of the request and set those of the reply.

use rr_core::{
    CallOptions, Context, Error, Reply, Router, async_trait, call::ReplyHeaders, service,
};

use super::support::{ctx, rigs};

#[service("replies")]
trait Replies {
    #[rr(alias = "hello")]
    async fn greet(&self, ctx: &Context, name: String) -> Result<Reply<String>, Error>;

    async fn tenant(&self, ctx: &Context) -> Result<String, Error>;
}

struct Greeter;

#[async_trait]
impl Replies for Greeter {
    async fn greet(&self, ctx: &Context, name: String) -> Result<Reply<String>, Error> {
        let target = ctx.request().target().map_or_else(String::new, ToString::to_string);
        Ok(Reply::new(format!("Hello, {name}!")).header("x-called", target))
    }

    async fn tenant(&self, ctx: &Context) -> Result<String, Error> {
        Ok(ctx.request().headers().get("x-tenant").unwrap_or("none").to_owned())
    }
}

#[tokio::test]
async fn a_method_sets_headers_and_its_caller_reads_them() {
    let router = || Router::new().merge(RepliesServer::new(Greeter));
    for rig in rigs("service-replies", router).await {
        let headers = ReplyHeaders::new();
        let client = RepliesClient::new(rig.requester);
        let client = client.with(CallOptions::new().reply_headers(&headers));
        let reply = client.greet(&ctx(), "Ada".to_owned()).await.unwrap();
        assert_eq!(reply.headers().get("x-called"), Some(RepliesClient::GREET), "{}", rig.name);
        assert_eq!(headers.latest().get("x-called"), Some(RepliesClient::GREET));
        assert_eq!(reply.into_value(), "Hello, Ada!");
    }
}

#[tokio::test]
async fn a_method_sees_the_headers_of_its_request() {
    let router = || Router::new().merge(RepliesServer::new(Greeter));
    for rig in rigs("service-tenants", router).await {
        let client = RepliesClient::new(rig.requester);
        assert_eq!(client.tenant(&ctx()).await.unwrap(), "none", "{}", rig.name);
        let client = client.with(CallOptions::new().header("x-tenant", "acme"));
        assert_eq!(client.tenant(&ctx()).await.unwrap(), "acme", "{}", rig.name);
    }
}
