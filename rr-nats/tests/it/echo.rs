//! Calls over a real server, both ways.

use std::time::Duration;

use crate::support::*;
use rr_nats::{NatsDispatch, NatsRequester, NatsServerConfig};
use rr_spi::{
    CallConfig, Code, Declared, Delivery, Detail, Error, Headers, Idempotency, IdempotencyKey,
    IntakeConfig, Limits, Reason, Requester, Response, RetryHint, Route, Routes,
};
use rr_testkit::{NatsServer, NatsServerSetup};

#[tokio::test]
async fn body_and_headers_arrive_and_come_back() {
    let nats = nats().await;
    let url = format!("{}/team/eu", nats.url());
    let server = rr_nats::serve(&url, route("svc.echo", echo)).await.unwrap();
    let client = client(server.url()).await;
    let mut headers = Headers::new();
    headers.append("x-tag", "b").unwrap();
    headers.append("x-tag", "a").unwrap();
    headers.append_bin("sig-bin", vec![0, 13, 10, 255]).unwrap();
    for body in [&b""[..], b"x", &[0, 13, 10, 255], &[7; 900_000]] {
        let request = request("svc.echo", body.to_vec()).with_headers(headers.clone());
        let response = client.request(&within(5000), request).await.unwrap();
        assert_eq!(response.body, body);
        assert_eq!(response.headers.get_all("x-tag").collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(response.headers.get_bin("sig-bin").unwrap()[..], [0, 13, 10, 255]);
    }
}

#[tokio::test]
async fn deadline_retries_trace_and_key_arrive() {
    let nats = nats().await;
    let routes = route("svc.show", |ctx, request| async move {
        let remaining = ctx.remaining().unwrap();
        assert!(remaining <= Duration::from_secs(3) && remaining > Duration::from_secs(1));
        let Idempotency::Keyed(key) = request.idempotency else { panic!("no key") };
        let text = format!(
            "{} {} {:?} {:?} {:?} {:?}",
            key.as_str(),
            ctx.inbound_retries(),
            ctx.request_id(),
            ctx.traceparent(),
            ctx.tracestate(),
            ctx.baggage()
        );
        Ok(Response::new(text))
    });
    let _server = rr_nats::serve(&nats.url(), routes).await.unwrap();
    let client = client(&nats.url()).await;
    let ctx = within(3000).with_retries(2).with_request_id("id").unwrap();
    let ctx = ctx.with_trace("p", Some("s")).unwrap().with_baggage("b").unwrap();
    let key = Idempotency::Keyed(IdempotencyKey::new("k\"1").unwrap());
    let request = request("svc.show", "").with_idempotency(key);
    let response = client.request(&ctx, request).await.unwrap();
    assert_eq!(response.body, r#"k"1 2 Some("id") Some("p") Some("s") Some("b")"#);
}

#[tokio::test]
async fn an_error_of_a_handler_arrives_whole() {
    let nats = nats().await;
    let routes = route("svc.fail", |_, _| async {
        let mut headers = Headers::new();
        headers.insert("x-why", "because").unwrap();
        Err(Error::new(Code::NotFound, "no order\r\n17 für dich")
            .with_reason(Reason::parse("no-order").unwrap())
            .with_detail(Detail::new("a.B", "value"))
            .with_retry(RetryHint::After(Duration::from_millis(20)))
            .with_headers(headers))
    });
    let _server = rr_nats::serve(&nats.url(), routes).await.unwrap();
    let client = client(&nats.url()).await;
    let error = call(&client, &within(5000), "svc.fail").await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::NotFound, Delivery::Processed));
    assert_eq!(error.message(), "no order\r\n17 für dich");
    assert_eq!(error.reason().unwrap().as_str(), "no-order");
    assert_eq!(error.details(), [Detail::new("a.B", "value")]);
    assert_eq!(error.retry(), RetryHint::After(Duration::from_millis(20)));
    assert_eq!(error.headers().get("x-why"), Some("because"));
}

#[tokio::test]
async fn nobody_there_is_said_at_once_and_as_not_sent() {
    let nats = nats().await;
    let client = client(&nats.url()).await;
    let start = tokio::time::Instant::now();
    let outcome = call(&client, &within(5000), "svc.none").await;
    let expected = (Code::Unavailable, Delivery::NotSent, Some("no-responder".to_owned()));
    assert_eq!(told(outcome), expected);
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn an_unknown_method_of_a_whole_service_is_rejected() {
    let nats = nats().await;
    let mut routes = route("svc.echo", echo);
    routes.close_service("svc").unwrap();
    let _server = rr_nats::serve(&nats.url(), routes).await.unwrap();
    let client = client(&nats.url()).await;
    assert!(call(&client, &within(5000), "svc.echo").await.is_ok());
    let outcome = call(&client, &within(5000), "svc.other").await;
    let expected = (Code::Unimplemented, Delivery::Rejected, Some("no-such-target".to_owned()));
    assert_eq!(told(outcome), expected);
}

#[tokio::test]
async fn services_and_fallbacks_answer_and_a_fallback_needs_a_prefix() {
    let nats = nats().await;
    let fallback = || {
        let mut routes = route("a.b.exact", |_, _| async { Ok(Response::new("exact")) });
        let any = std::sync::Arc::new(Do(|_, request: rr_spi::Request| async move {
            Ok(Response::new(request.target.to_string()))
        }));
        routes.insert(Route::Fallback, Declared::Unspecified, any.clone()).unwrap();
        routes.insert(Route::Service("svc".into()), Declared::Unspecified, any).unwrap();
        routes
    };
    let error = rr_nats::serve(&nats.url(), fallback()).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let url = format!("{}/team", nats.url());
    let _server = rr_nats::serve(&url, fallback()).await.unwrap();
    let client = client(&url).await;
    for (target, body) in [("a.b.exact", "exact"), ("svc.x", "svc.x"), ("q", "q")] {
        assert_eq!(call(&client, &within(5000), target).await.unwrap().body, body);
    }
}

#[tokio::test]
async fn a_panic_is_answered_as_processed_and_its_text_stays() {
    let nats = nats().await;
    let routes = route("svc.panic", |_, _| async { panic!("secret") });
    let _server = rr_nats::serve(&nats.url(), routes).await.unwrap();
    let client = client(&nats.url()).await;
    let error = call(&client, &within(5000), "svc.panic").await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Internal, Delivery::Processed));
    assert!(!format!("{error:?}").contains("secret"));
}

#[tokio::test]
async fn one_too_many_is_rejected_as_overloaded() {
    let nats = nats().await;
    for dispatch in [NatsDispatch::WhenPending, NatsDispatch::Always] {
        let (entered, release) = (Count::new(), Count::new());
        let (inside, wait) = (entered.clone(), release.clone());
        let routes = route("svc.wait", move |_, _| {
            let (inside, wait) = (inside.clone(), wait.clone());
            async move {
                inside.up();
                wait.reaches(1).await;
                Ok(Response::new(""))
            }
        });
        let config = NatsServerConfig::from(IntakeConfig::default().with_in_flight_max(1))
            .with_dispatch(dispatch);
        let server = rr_nats::serve_with(&nats.url(), routes, config).await.unwrap();
        let client = client(&nats.url()).await;
        let first = tokio::spawn({
            let client = client.clone();
            async move { call(&client, &within(5000), "svc.wait").await }
        });
        entered.reaches(1).await;
        let outcome = call(&client, &within(5000), "svc.wait").await;
        let expected = (Code::ResourceExhausted, Delivery::Rejected, Some("overloaded".to_owned()));
        assert_eq!(told(outcome), expected);
        release.up();
        first.await.unwrap().unwrap();
        server.shutdown(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn too_large_is_said_both_ways_and_the_connection_stays() {
    let setup = NatsServerSetup::default().with_max_payload(4096);
    let nats = NatsServer::start_with(&setup).await.unwrap();
    let ran = Count::new();
    let inside = ran.clone();
    let routes = route("svc.large", move |_, request| {
        inside.up();
        async move { Ok(Response::new(vec![b'x'; request.body.len() * 10])) }
    });
    let _server = rr_nats::serve(&nats.url(), routes).await.unwrap();
    let client = client(&nats.url()).await;
    for size in [5000, 2_000_000] {
        let outcome = client.request(&within(5000), request("svc.large", vec![0; size])).await;
        let expected =
            (Code::ResourceExhausted, Delivery::NotSent, Some("request-too-large".to_owned()));
        assert_eq!(told(outcome), expected);
    }
    assert_eq!(ran.now(), 0);
    let outcome = client.request(&within(5000), request("svc.large", vec![0; 1000])).await;
    let expected =
        (Code::ResourceExhausted, Delivery::Processed, Some("response-too-large".to_owned()));
    assert_eq!(told(outcome), expected);
    let response = client.request(&within(5000), request("svc.large", vec![0; 10])).await.unwrap();
    assert_eq!(response.body.len(), 100);
    assert_eq!(client.nats_stats().connects, 1);
}

#[tokio::test]
async fn limits_of_configuration_and_url_hold_on_both_sides() {
    let nats = nats().await;
    let config = IntakeConfig::from(Limits::default().with_request_bytes_max(10)).into();
    let _server = rr_nats::serve_with(&nats.url(), route("svc.echo", echo), config).await.unwrap();
    let limits = Limits::default().with_response_bytes_max(5).with_request_bytes_max(1);
    let config = CallConfig::from(limits).into();
    let url = format!("{}?request_bytes_max=11", nats.url());
    let client = NatsRequester::connect_with(&url, config).await.unwrap();
    let outcome = client.request(&within(5000), request("svc.echo", vec![0; 12])).await;
    let expected =
        (Code::ResourceExhausted, Delivery::NotSent, Some("request-too-large".to_owned()));
    assert_eq!(told(outcome), expected);
    let outcome = client.request(&within(5000), request("svc.echo", vec![0; 11])).await;
    let expected =
        (Code::ResourceExhausted, Delivery::Rejected, Some("request-too-large".to_owned()));
    assert_eq!(told(outcome), expected);
    let outcome = client.request(&within(5000), request("svc.echo", vec![0; 6])).await;
    let expected =
        (Code::ResourceExhausted, Delivery::Processed, Some("response-too-large".to_owned()));
    assert_eq!(told(outcome), expected);
}

#[tokio::test]
async fn serving_without_a_server_fails_and_connecting_does_not() {
    let mut nats = nats().await;
    nats.kill().unwrap();
    let error = rr_nats::serve(&nats.url(), Routes::new()).await.unwrap_err();
    assert_eq!(error.reason(), Some(&Reason::CONNECT_FAILED));
    let client = NatsRequester::connect(&nats.url()).await.unwrap();
    let outcome = call(&client, &within(5000), "svc.echo").await;
    let expected = (Code::Unavailable, Delivery::NotSent, Some("connect-failed".to_owned()));
    assert_eq!(told(outcome), expected);
    nats.restart().await.unwrap();
    client.ready(&within(5000)).await.unwrap();
    let _server = rr_nats::serve(&nats.url(), route("svc.echo", echo)).await.unwrap();
    call(&client, &within(5000), "svc.echo").await.unwrap();
}

#[tokio::test]
async fn without_a_queue_group_a_refusal_proves_nothing() {
    let nats = nats().await;
    let intake = IntakeConfig::default().with_in_flight_max(0);
    for (queue, expected) in [(Some("q"), Delivery::Rejected), (None, Delivery::Unknown)] {
        let config = NatsServerConfig::from(intake.clone()).with_queue(queue.map(str::to_owned));
        let routes = route("svc.echo", echo);
        let server = rr_nats::serve_with(&nats.url(), routes, config).await.unwrap();
        let client = client(&nats.url()).await;
        let error = call(&client, &within(5000), "svc.echo").await.unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::ResourceExhausted, expected));
        server.shutdown(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn two_servers_of_one_queue_group_share_and_without_one_both_answer() {
    let nats = nats().await;
    let counts = [Count::new(), Count::new()];
    let serve = |at: usize, queue: Option<&str>| {
        let count = counts[at].clone();
        let routes = route("svc.count", move |_, _| {
            count.up();
            async { Ok(Response::new("")) }
        });
        let config = NatsServerConfig::default().with_queue(queue.map(str::to_owned));
        let url = nats.url();
        async move { rr_nats::serve_with(&url, routes, config).await.unwrap() }
    };
    let client = client(&nats.url()).await;
    let servers = [serve(0, Some("q")).await, serve(1, Some("q")).await];
    for _ in 0..200 {
        call(&client, &within(5000), "svc.count").await.unwrap();
    }
    assert_eq!(counts[0].now() + counts[1].now(), 200);
    assert!(counts[0].now() > 20 && counts[1].now() > 20);
    for server in servers {
        server.shutdown(Duration::from_secs(5)).await;
    }
    let _servers = [serve(0, None).await, serve(1, None).await];
    let before = counts[0].now() + counts[1].now();
    call(&client, &within(5000), "svc.count").await.unwrap();
    counts[0].reaches(1).await;
    let both = async {
        let strays = || client.nats_stats().late_replies + client.nats_stats().duplicate_replies;
        while counts[0].now() + counts[1].now() < before + 2 || strays() < 1 {
            tokio::task::yield_now().await;
        }
    };
    within(5000).race(both).await.unwrap();
}
