use rr_core::{Context, Error, handler};

#[handler]
async fn add(_: Context, a: u32, b: u32) -> Result<u32, Error> {
    Ok(a + b)
}

fn main() {}
