//! Secrets and hostile text.

use rr_core::call::Detail;
use rr_core::config::IntakeConfig;
use rr_core::{Headers, IdempotencyKey, Target};

use super::*;

const SECRET: &str = "hunter2";

/// Would be markup in HTML and end a string in JSON.
const HOSTILE: &str = "<script>alert(\"1\")</script><img src='x'>&\\";

fn secret_headers() -> Headers {
    let mut headers = Headers::new();
    for name in ["authorization", "cookie", "x-api-key"] {
        headers.insert(name, format!("Bearer {SECRET}")).unwrap();
    }
    headers
}

/// Fails with the secret wherever an error has room for it besides its message.
async fn fail(_: Context, _: Request) -> Result<Response, Error> {
    Err(Error::new(Code::Internal, "no such key")
        .with_detail(Detail::new("token", SECRET))
        .with_headers(secret_headers())
        .with_hint(format!("try {SECRET}"))
        .with_source(std::io::Error::other(SECRET)))
}

async fn double(n: u32) -> Result<u32, Error> {
    Ok(n * 2)
}

#[tokio::test]
async fn no_secret_of_a_caller_or_of_a_service_is_on_the_page() {
    let (admin, hanging) = (Admin::new(), Arc::new(Semaphore::new(0)));
    let config = IntakeConfig::default().with_observers(admin.observers());
    let panics = |_: Context, _: Request| async { panic!("{SECRET}") };
    let panics = move |ctx: Context, request: Request| async move {
        let outcome: Result<Response, Error> = panics(ctx, request).await;
        outcome
    };
    let router = router(&hanging).route("t.fail", fail).route("t.double", double);
    let server = Local::with_config(router.route("t.panic", panics), config);
    let client = recommended_with(server, admin.observers());
    let calls = ["t.fail", "t.panic", "t.unknown", "t.double", "t.hang"].map(|target| {
        let mut request = Request::new(Target::parse(target).unwrap(), format!("\"{SECRET}\""));
        request.headers = secret_headers();
        let key = IdempotencyKey::new(SECRET).unwrap();
        let request = request.with_idempotency(rr_core::Idempotency::Keyed(key));
        let ctx = context().with_baggage("token=hunter2").unwrap();
        let client = &client;
        async move { client.request(&ctx, request).await }
    });
    let [fails, panics, unknown, undecodable, hangs] = calls;
    for call in [fails.await, panics.await, unknown.await, undecodable.await] {
        call.unwrap_err();
    }
    let shown = async {
        hanging.acquire().await.unwrap().forget();
        (page(&admin).await, html(&admin).await)
    };
    let (page, html) = tokio::select! {
        biased;
        _ = hangs => panic!("it hangs"),
        shown = shown => shown,
    };
    assert_eq!((&page["failures"], &page["in_flight"]["requests"]), (&8.into(), &1.into()));
    assert!(!page.to_string().contains(SECRET), "{page:#}");
    assert!(!html.contains(SECRET), "{html}");
    assert!(html.contains("no such key"), "{html}");
}

#[tokio::test]
async fn text_of_others_is_neither_markup_nor_control_characters() {
    let admin = Admin::new();
    let config = IntakeConfig::default().with_observers(admin.observers());
    let fails = |_: Context, _: Request| async {
        let text = format!("{HOSTILE}\u{1b}[31m\u{202e}\r\n");
        Err::<Response, _>(Error::new(Code::Internal, text))
    };
    let local = Local::with_config(Router::new().route("t.fail", fails), config);
    let ctx = context().with_request_id(HOSTILE).unwrap();
    local.call_raw(&ctx, "t.fail", "").await.unwrap_err();
    let page = page(&admin).await;
    let failure = &page["last_failures"][0];
    for text in [&failure["message"], &failure["request_id"]] {
        let text = text.as_str().unwrap();
        assert!(text.starts_with("<script>alert(\\\"1\\\")</script>"), "{text}");
        assert!(!text.contains(|c: char| c.is_control() || c == '\u{202e}'), "{text:?}");
    }
    let html = html(&admin).await;
    assert!(html.contains("&lt;script&gt;alert(\\&quot;1\\&quot;)&lt;/script&gt;"), "{html}");
    for markup in ["<script", "<img", "='x'"] {
        assert!(!html.contains(markup), "{markup}: {html}");
    }
    assert!(!html.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'), "{html}");
}
