use rr_core::{CallError, Client, RequesterExt};

async fn double(client: &Client) -> Result<u32, CallError> {
    client.call("double", &2).await
}

fn main() {
    let _ = double;
}
