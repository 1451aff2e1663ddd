#[rr_core::handler]
fn double(n: u32) -> Result<u32, rr_core::Error> {
    Ok(n * 2)
}

fn main() {}
