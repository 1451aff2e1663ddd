use rr_core::{CallError, Client, Context, RequesterExt};

struct Order {
    id: u64,
}

async fn place(client: &Client, ctx: &Context, order: Order) -> Result<u64, CallError> {
    client.call(ctx, "place", &order).await
}

fn main() {
    let _ = (place, Order { id: 1 }.id);
}
