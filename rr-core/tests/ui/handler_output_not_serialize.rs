use rr_core::{Error, handler};

struct Receipt {
    id: u64,
}

#[handler]
async fn place(id: u64) -> Result<Receipt, Error> {
    Ok(Receipt { id })
}

fn main() {}
