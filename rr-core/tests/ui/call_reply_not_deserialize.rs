use rr_core::{CallError, Client, Context, RequesterExt};

struct Receipt {
    id: u64,
}

async fn place(client: &Client, ctx: &Context) -> Result<Receipt, CallError> {
    client.call(ctx, "place", &7).await
}

fn main() {
    let _ = (place, Receipt { id: 1 }.id);
}
