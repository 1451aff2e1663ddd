use std::rc::Rc;

use rr_core::{Error, handler};

#[handler]
async fn double(n: u32) -> Result<u32, Error> {
    let shared = Rc::new(n);
    tokio::task::yield_now().await;
    Ok(*shared * 2)
}

fn main() {}
