use std::sync::{Arc, Mutex};

use rr_core::{Error, Router};

fn main() {
    let count = Arc::new(Mutex::new(0));
    let _ = Router::new().route("count", move |n: u32| {
        let count = count.clone();
        async move {
            let mut count = count.lock().unwrap();
            tokio::task::yield_now().await;
            *count += n;
            Ok::<_, Error>(*count)
        }
    });
}
