use rr_core::{CallError, Client, Context, RequesterExt};

async fn notify(client: &Client, ctx: &Context) -> Result<(), CallError> {
    client.call(ctx, "notify", &2).await?;
    Ok(())
}

fn main() {
    let _ = notify;
}
