#![deny(unused_must_use)]

use rr_core::{Client, Context, RequesterExt};

async fn notify(client: &Client, ctx: &Context) {
    client.call::<()>(ctx, "notify", &2);
}

fn main() {
    let _ = notify;
}
