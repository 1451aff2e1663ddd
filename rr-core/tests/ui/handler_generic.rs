#[rr_core::handler]
async fn same<T: serde::de::DeserializeOwned>(value: T) -> Result<u32, rr_core::Error> {
    drop(value);
    Ok(1)
}

fn main() {}
