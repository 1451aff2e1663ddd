//! Chromium: web pages that call a server of another origin, with `fetch` and with connect-web, and the admin page.

use crate::check::{Outcome, command, with_libraries};
use crate::example::PING_HTTP;
use crate::page::{Browser, PageServer, binary};
use crate::scripts::{holds, node, tally};
use crate::server::Server;

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

#[test]
fn chromium_shows_the_admin_page() -> Outcome {
    let mut program = command(env!("CARGO_BIN_EXE_administered"));
    let server = Server::start("administered", program.arg("http://127.0.0.1:0"))?;
    let (binary, usr) = binary();
    let url = format!("{}/.well-known/rr/debug", server.url());
    holds(11, with_libraries(node("admin_page.mjs"), &usr).arg(url).arg(binary))
}
