#[rr_core::handler]
async fn add(a: u32, b: u32) -> Result<u32, rr_core::Error> {
    Ok(a + b)
}

fn main() {}
