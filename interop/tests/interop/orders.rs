//! The example `orders`, whose services are made of traits, called by clients that know no trait.

use serde_json::{Value, json};

use crate::check::{Outcome, ensure};
use crate::curl::{Curl, Reply};
use crate::example::ORDERS;
use crate::nats::broker;
use crate::openapi::written;
use crate::scripts::{holds, node, python};

const TOKEN: [&str; 2] = ["--header", "authorization: Bearer demo"];

checks! {
    curl_places_an_order_and_reads_the_headers_of_the_reply: places();
    curl_gets_by_get_and_cancels: gets_and_cancels();
    curl_reads_an_application_error: application_error();
    curl_needs_the_token: needs_the_token();
    curl_sends_bytes_and_is_told_the_content_type: sends_bytes();
    curl_calls_no_other_method: no_other_method();
}

#[test]
fn python_client_of_orders() -> Outcome {
    let (_broker, url) = broker()?;
    let server = ORDERS.serve_at("ORDERS_URL", &url)?;
    holds(6, python("orders_client.py").arg(server.url()))
}

#[test]
fn node_client_generated_for_orders() -> Outcome {
    let document = written("orders.json", &ORDERS.openapi()?)?;
    let server = ORDERS.serve_at("ORDERS_URL", "http://127.0.0.1:0")?;
    holds(8, node("orders_client.mjs").arg(server.url()).arg(document))
}

fn curl() -> Outcome<Curl> {
    Ok(Curl { server: ORDERS.serve_at("ORDERS_URL", "http://127.0.0.1:0")? })
}

fn place(curl: &Curl, count: u32) -> Outcome<Reply> {
    let order = json!({"item": "tea", "count": count}).to_string();
    curl.json("/orders.v1/place", &order, &TOKEN)
}

fn document(reply: &Reply) -> Outcome<Value> {
    serde_json::from_slice(&reply.body).map_err(|error| format!("{error}: {:?}", reply.body))
}

fn is(reply: &Reply, status: u16, expected: &Value) -> Outcome {
    let document = document(reply)?;
    let is_expected = reply.status == status && document == *expected;
    ensure(is_expected, || format!("{} {document}", reply.status))
}

fn places() -> Outcome {
    let reply = place(&curl()?, 2)?;
    is(&reply, 200, &json!({"id": 1, "payment": "payment of 500 cents"}))?;
    let left = reply.headers.iter().find(|(name, _)| name == "x-left");
    ensure(left.is_some_and(|(_, value)| value == "98"), || format!("{:?}", reply.headers))
}

fn gets_and_cancels() -> Outcome {
    let curl = curl()?;
    place(&curl, 2)?;
    let get = "/orders.v1/get?connect=v1&encoding=json&message=1";
    is(&curl.call(get, &TOKEN)?, 200, &json!({"item": "tea", "count": 2}))?;
    is(&curl.json("/orders.v1/cancel", "1", &TOKEN)?, 200, &json!({}))?;
    let gone = curl.call(get, &TOKEN)?;
    ensure(gone.status == 404, || format!("{} {:?}", gone.status, document(&gone)))
}

fn application_error() -> Outcome {
    let reply = place(&curl()?, 101)?;
    let document = document(&reply)?;
    let told = (&document["code"], &document["message"], &document["details"][0]);
    let (code, message, detail) = told;
    let is_expected = *code == "failed_precondition"
        && *message == "only 100 left"
        && detail["type"] == "orders.OrderError"
        && detail["debug"] == json!({"OutOfStock": {"left": 100}});
    ensure(is_expected, || document.to_string())
}

fn needs_the_token() -> Outcome {
    let curl = curl()?;
    let order = json!({"item": "tea", "count": 1}).to_string();
    let reply = curl.json("/orders.v1/place", &order, &[])?;
    ensure(reply.status == 401, || format!("{} {:?}", reply.status, document(&reply)))
}

fn sends_bytes() -> Outcome {
    let curl = curl()?;
    let bytes = ["--header", "content-type: application/octet-stream", "--data-binary", "label"];
    let reply = curl.call("/orders.v1/stamp", &[&bytes[..], &TOKEN].concat())?;
    ensure(reply.body == b"PAID label", || format!("{} {:?}", reply.status, reply.body))?;
    let refused = curl.json("/orders.v1/stamp", "{}", &TOKEN)?;
    let text = String::from_utf8_lossy(&refused.body);
    let is_told = refused.status == 415 && text.contains("send application/octet-stream");
    ensure(is_told, || format!("{} {text}", refused.status))
}

fn no_other_method() -> Outcome {
    let reply = curl()?.json("/orders.v1/refund", "1", &TOKEN)?;
    let code = document(&reply)?["code"].clone();
    ensure(reply.status == 404 && code == "unimplemented", || format!("{} {code}", reply.status))
}
