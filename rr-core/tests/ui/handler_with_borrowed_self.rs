use rr_core::{Error, handler};

struct Shop;

impl Shop {
    #[handler]
    async fn double(&self, n: u32) -> Result<u32, Error> {
        Ok(n * 2)
    }
}

fn main() {}
