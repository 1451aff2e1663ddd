#[rr_core::handler]
async fn forget(n: u32) {
    drop(n);
}

fn main() {}
