use rr_core::{Context, Error, handler};

#[handler]
async fn double(_: &Context, n: u32) -> Result<u32, Error> {
    Ok(n * 2)
}

fn main() {}
