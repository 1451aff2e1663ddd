use rr_core::{Error, Router};

async fn ping() -> Result<String, Error> {
    Ok("pong".to_owned())
}

fn main() {
    let _ = Router::new().route("ping", ping);
}
