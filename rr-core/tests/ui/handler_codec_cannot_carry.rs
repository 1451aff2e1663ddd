use rr_core::codec::Text;
use rr_core::{Error, handler};

#[handler(codec = Text)]
async fn double(n: u32) -> Result<String, Error> {
    Ok((n * 2).to_string())
}

fn main() {}
