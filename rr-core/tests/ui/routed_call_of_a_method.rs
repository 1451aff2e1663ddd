use rr_core::{Error, Router};

struct Shop;

impl Shop {
    async fn double(&self, n: u32) -> Result<u32, Error> {
        Ok(n * 2)
    }
}

fn main() {
    let shop = Shop;
    let _ = Router::new().route("double", shop.double(2));
}
