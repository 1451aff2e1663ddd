//! Calls to a server are recorded, among them a failure, and replayed without the server.
//!
//! `cargo run --example record_and_replay` records and replays; `cargo test --example
//! record_and_replay` replays one recorded line as a unit test.

use std::env;
use std::fs::{self, File};
use std::process;
use std::sync::Arc;
use std::time::Duration;

use rr_core::record::{Recorder, RecorderConfig, Replay};
use rr_core::{
    AppError, CallError, Code, Context, Error, Requester, RequesterExt, Router, Stack, connect,
    serve,
};
use serde::{Deserialize, Serialize};

/// The application error of the warehouse.
#[derive(Debug, Deserialize, Serialize)]
struct OutOfStock {
    next_delivery: String,
}

impl AppError for OutOfStock {
    const TYPE: &'static str = "warehouse.OutOfStock";

    fn code(&self) -> Code {
        Code::FailedPrecondition
    }
}

async fn take(item: String) -> Result<u32, OutOfStock> {
    match &*item {
        "tea" => Ok(2),
        _ => Err(OutOfStock { next_delivery: "Tuesday".to_owned() }),
    }
}

/// The code under test: takes an item out of the warehouse.
async fn sell(warehouse: &dyn Requester, ctx: &Context, item: &str) -> Result<String, Error> {
    let taken = warehouse.call::<u32>(ctx, "warehouse.take", item);
    match taken.app_error::<OutOfStock>().await {
        Ok(left) => Ok(format!("sold {item}, {left} left")),
        Err(CallError::App(error)) => Ok(format!("more {item} on {}", error.next_delivery)),
        Err(CallError::Rr(error)) => Err(error),
    }
}

/// Sells what is there, what is not, and to a warehouse that is gone in the end.
async fn day(warehouse: &dyn Requester, close: impl AsyncFnOnce()) -> Vec<String> {
    let ctx = Context::background().with_timeout(Duration::from_secs(5));
    let mut sales = Vec::new();
    for item in ["tea", "coffee"] {
        sales.push(sell(warehouse, &ctx, item).await);
    }
    close().await;
    sales.push(sell(warehouse, &ctx, "tea").await);
    let told = |sale: Result<String, Error>| sale.unwrap_or_else(|error| error.to_string());
    sales.into_iter().map(told).collect()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = env::temp_dir().join(format!("warehouse-{}.jsonl", process::id()));

    // Against the server: every call becomes a line of the file.
    let server = serve("http://127.0.0.1:0", Router::new().route("warehouse.take", take)).await?;
    let recorder = Recorder::create(&path, RecorderConfig::default())?;
    let warehouse = Stack::new(connect(server.url()).await?).with(recorder.clone());
    let close = async || {
        server.shutdown(Duration::ZERO).await;
    };
    let recorded = day(&warehouse, close).await;
    recorder.flush().await?;
    print!("{}", fs::read_to_string(&path)?);

    // The same day again, without the server.
    let warehouse = Arc::new(Replay::strict(File::open(&path)?)?);
    let replayed = day(&warehouse, async || {}).await;
    assert_eq!(replayed, recorded);
    assert!(warehouse.remaining().is_empty());
    println!("\n{}", replayed.join("\n"));

    // A call that differs is told how.
    let warehouse = Replay::strict(File::open(&path)?)?;
    if let Err(error) = sell(&warehouse, &Context::background(), "cocoa").await {
        println!("{error}\n  {}", error.hint());
    }
    fs::remove_file(&path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line of a recording. A file in the tests' folder, read by `include_str!`, does as well.
    const OUT_OF_STOCK: &str = r#"{"v":1,"n":2,"at":"2026-11-30T03:12:55.310Z","elapsed_us":912,"target":"warehouse.take","idempotency":"unspecified","timeout_us":4998000,"request":{"body":{"json":"coffee"}},"error":{"code":"failed_precondition","reason":"app","delivery":"processed","origin":"peer","message":"application error warehouse.OutOfStock","hint":"","retry_after_ms":-1,"details":[{"type":"warehouse.OutOfStock","value":{"json":{"next_delivery":"Tuesday"}}}]}}"#;

    #[tokio::test]
    async fn an_item_that_is_out_of_stock_is_announced() {
        let warehouse = Replay::strict(OUT_OF_STOCK.as_bytes()).unwrap();
        let sold = sell(&warehouse, &Context::background(), "coffee").await;
        assert_eq!(sold.unwrap(), "more coffee on Tuesday");
        assert!(warehouse.remaining().is_empty());
    }
}
