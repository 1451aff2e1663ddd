use rr_core::{Context, Error, Request, handler};

#[handler]
async fn echo(_: Context, request: Request) -> Result<String, Error> {
    Ok(format!("{:?}", request.body))
}

fn main() {}
