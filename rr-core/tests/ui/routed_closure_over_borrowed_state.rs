use rr_core::{Error, Router};

fn main() {
    let names = vec!["a".to_owned()];
    let _ = Router::new().route("count", |n: usize| {
        let names = &names;
        async move { Ok::<_, Error>(names.len() + n) }
    });
}
