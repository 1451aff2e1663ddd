use rr_core::{Context, Error, service};

#[service("orders.v1")]
trait Orders {
    async fn place(&self, ctx: &Context, item: &str) -> Result<u64, Error>;
}

fn main() {}
