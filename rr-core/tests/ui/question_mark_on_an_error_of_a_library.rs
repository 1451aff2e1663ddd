use rr_core::Error;

async fn read(path: String) -> Result<String, Error> {
    let text = std::fs::read_to_string(path)?;
    Ok(text)
}

fn main() {
    let _ = read;
}
