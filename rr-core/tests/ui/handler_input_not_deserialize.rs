use rr_core::{Error, handler};

struct Order {
    id: u64,
}

#[handler]
async fn place(order: Order) -> Result<u64, Error> {
    Ok(order.id)
}

fn main() {}
