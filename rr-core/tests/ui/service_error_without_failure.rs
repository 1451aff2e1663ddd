use rr_core::{AppError, Context, service};

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct OutOfStock;

impl AppError for OutOfStock {
    const TYPE: &'static str = "orders.OutOfStock";
}

#[service("orders.v1")]
trait Orders {
    async fn place(&self, ctx: &Context, id: u64) -> Result<u64, OutOfStock>;
}

fn main() {}
