use rr_core::{Context, Error, handler};

#[handler]
async fn ping(_ctx: Context) -> Result<String, Error> {
    Ok("pong".to_owned())
}

fn main() {}
