use rr_core::{Context, Error, service};

#[service("orders.v1")]
trait Orders {
    #[rr(retry = 3)]
    async fn place(&self, ctx: &Context, id: u64) -> Result<u64, Error>;
}

fn main() {}
