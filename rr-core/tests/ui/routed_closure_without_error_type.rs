use rr_core::Router;

fn main() {
    let _ = Router::new().route("double", |n: u32| async move { Ok(n * 2) });
}
