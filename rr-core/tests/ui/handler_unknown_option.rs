#[rr_core::handler(safe)]
async fn double(n: u32) -> Result<u32, rr_core::Error> {
    Ok(n * 2)
}

fn main() {}
