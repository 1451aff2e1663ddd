use rr_core::{Error, handler};

struct Shop;

#[handler]
impl Shop {
    async fn double(self, n: u32) -> Result<u32, Error> {
        Ok(n * 2)
    }
}

fn main() {}
