use rr_core::{Error, service};

#[service("orders.v1")]
trait Orders {
    async fn place(&self, id: u64) -> Result<u64, Error>;
}

fn main() {}
