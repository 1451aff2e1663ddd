use rr_core::{Context, Error, service};

#[service("orders.v1")]
trait Orders {
    async fn place<T>(&self, ctx: &Context, order: T) -> Result<u64, Error>;
}

fn main() {}
