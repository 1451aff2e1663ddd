use rr_core::{Context, Error, service};

#[service("orders.v1")]
trait Orders {
    async fn get(&self, ctx: &Context, id: u64) -> Result<u64, Error>;
    #[rr(alias = "get")]
    async fn find(&self, ctx: &Context, id: u64) -> Result<u64, Error>;
}

fn main() {}
