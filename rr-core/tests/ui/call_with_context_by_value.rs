use rr_core::{CallError, Client, Context, RequesterExt};

async fn double(client: &Client, ctx: Context) -> Result<u32, CallError> {
    client.call(ctx, "double", &2).await
}

fn main() {
    let _ = double;
}
