use rr_core::{Error, Reply, handler};

struct Receipt {
    id: u64,
}

#[handler]
async fn place(id: u64) -> Result<Reply<Receipt>, Error> {
    Ok(Reply::new(Receipt { id }))
}

fn main() {}
