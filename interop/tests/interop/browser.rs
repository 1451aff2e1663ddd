//! Web pages in Chromium that call a server of another origin, with `fetch` and with connect-web.

use crate::check::Outcome;
use crate::example::PING_HTTP;
use crate::page::{Browser, PageServer};
use crate::scripts::tally;

#[test]
fn chromium_page_of_an_allowed_origin() -> Outcome {
    let (page, said) = PageServer::start()?;
    let url = format!("http://127.0.0.1:0?cors_origins=https://shop.example,{}", page.origin());
    let server = PING_HTTP.serve(Some(&url))?;
    let base = server.url().split('?').next().unwrap_or_default();
    let url = format!("{}/page.html?url={base}", page.origin());
    let _browser = Browser::open("chromium-allowed", &url)?;
    tally(11, &said)
}

#[test]
fn chromium_page_of_another_origin() -> Outcome {
    let (page, said) = PageServer::start()?;
    let server = PING_HTTP.serve(Some("http://127.0.0.1:0?cors_origins=https://shop.example"))?;
    let base = server.url().split('?').next().unwrap_or_default();
    let url = format!("{}/page.html?url={base}&stranger", page.origin());
    let _browser = Browser::open("chromium-stranger", &url)?;
    tally(4, &said)
}
