use rr_core::{Context, Error, service};

struct Orders;

#[service("orders.v1")]
impl Orders {
    async fn place(&self, _ctx: &Context, id: u64) -> Result<u64, Error> {
        Ok(id)
    }
}

fn main() {}
