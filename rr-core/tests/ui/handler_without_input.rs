#[rr_core::handler]
async fn ping() -> Result<String, rr_core::Error> {
    Ok("pong".to_owned())
}

fn main() {}
