use rr_core::{Context, Error, handler};

#[handler]
async fn double(n: u32, _: Context) -> Result<u32, Error> {
    Ok(n * 2)
}

fn main() {}
