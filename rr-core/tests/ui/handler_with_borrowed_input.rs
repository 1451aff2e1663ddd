#[rr_core::handler]
async fn greet(name: &str) -> Result<String, rr_core::Error> {
    Ok(format!("hello, {name}"))
}

fn main() {}
