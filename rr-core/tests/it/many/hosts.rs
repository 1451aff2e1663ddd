//! Several replies over HTTP: one of each host of a URL.

use rr_core::many::{ManyConfig, ManyEnd, request_many};
use rr_core::{Code, Context, Delivery, Error, Response, Router, Server, connect, serve};

use super::support::*;

async fn named(name: &'static str) -> Server {
    let router = Router::new()
        .route("orders.place", move |_: Context, _: rr_core::Request| async move {
            Ok::<_, Error>(Response::new(name))
        });
    serve("http://127.0.0.1:0", router).await.unwrap()
}

fn address(server: &Server) -> String {
    server.url().to_string().trim_start_matches("http://").to_owned()
}

#[tokio::test]
async fn one_host_gives_one_reply_and_several_give_one_each() {
    let (a, b) = (named("a").await, named("b").await);
    let ctx = within(10_000);
    let client = connect(a.url()).await.unwrap();
    let mut replies = request_many(&client, &ctx, request(), ManyConfig::default());
    assert_eq!(bodies(all(&mut replies).await), ["a"]);
    assert_eq!(replies.end(), Some(ManyEnd::AllAnswered));

    let both = connect(&format!("http://{},{}", address(&a), address(&b))).await.unwrap();
    let mut replies = request_many(&both, &ctx, request(), ManyConfig::default());
    let mut names = bodies(all(&mut replies).await);
    names.sort_unstable();
    assert_eq!((names, replies.end()), (vec!["a".into(), "b".into()], Some(ManyEnd::AllAnswered)));
}

#[tokio::test]
async fn a_host_that_is_gone_is_an_item() {
    let (a, b) = (named("a").await, named("b").await);
    let gone = address(&b);
    b.shutdown(ms(0)).await;
    let ctx = within(10_000);
    let both = connect(&format!("http://{},{gone}", address(&a))).await.unwrap();
    let mut replies = request_many(&both, &ctx, request(), ManyConfig::default());
    let items = all(&mut replies).await;
    let errors: Vec<_> = items.iter().filter_map(|item| item.as_ref().err()).collect();
    assert_eq!((replies.count(), errors.len()), (1, 1));
    assert_eq!((errors[0].code(), errors[0].delivery()), (Code::Unavailable, Delivery::Unknown));
    assert_eq!(errors[0].attempts()[0].delivery, Delivery::NotSent);

    let alone = connect(&format!("http://{gone}")).await.unwrap();
    let mut replies = request_many(&alone, &ctx, request(), ManyConfig::default());
    let error = replies.next().await.unwrap().unwrap_err();
    assert_eq!((error.delivery(), replies.end()), (Delivery::NotSent, Some(ManyEnd::Failed)));
}
