use rr_core::{Error, Router};

fn main() {
    let names = vec!["a".to_owned()];
    let count = move |n: usize| async move { Ok::<_, Error>(names.len() + n) };
    let _ = Router::new().route("count", count);
}
