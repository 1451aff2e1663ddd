use std::cell::Cell;
use std::sync::Arc;

use rr_core::{Error, handler};

struct Shop {
    left: Cell<u32>,
}

impl Shop {
    #[handler]
    async fn take(self: Arc<Self>, n: u32) -> Result<u32, Error> {
        self.left.set(self.left.get() - n);
        Ok(n)
    }
}

fn main() {}
