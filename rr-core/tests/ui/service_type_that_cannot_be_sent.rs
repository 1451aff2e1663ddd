use rr_core::{Context, Error, service};

struct Order {
    id: u64,
}

#[service("orders.v1")]
trait Orders {
    async fn place(&self, ctx: &Context, order: Order) -> Result<u64, Error>;
}

fn main() {
    let _ = Order { id: 1 }.id;
}
