use rr_core::{CallError, Client, Context, RequesterExt};

async fn double(client: &Client, ctx: &Context) -> Result<u32, CallError> {
    let four: u32 = client.call(ctx, "double", &2)?;
    Ok(four)
}

fn main() {
    let _ = double;
}
