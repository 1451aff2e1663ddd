//! Each refusal: the words of its error, and the tokens that it points at.

use proc_macro2::Span;

use super::{parse, with_method};

/// Asserts that a span covers these tokens. Spans know their places with the feature `_places`.
#[track_caller]
pub(super) fn assert_at(span: Span, tokens: &str, text: &str) {
    let covered = span.source_text();
    assert_eq!(covered.is_some(), cfg!(feature = "_places"));
    assert_eq!(covered.as_deref().unwrap_or(tokens), tokens, "{text}");
}

/// Asserts that an item is refused with one error, whose text has these words and whose span is
/// these tokens.
#[track_caller]
fn assert_refused(item: &str, words: &str, tokens: &str) {
    let errors = parse("\"orders.v1\"", item).err().expect("it is refused");
    let found: Vec<_> = errors.into_iter().collect();
    let [error] = &*found else { panic!("one error, not {found:?}") };
    let text = error.to_string();
    assert!(text.contains(words), "{text}");
    assert_at(error.span(), tokens, &text);
}

#[track_caller]
fn assert_method_refused(method: &str, words: &str, tokens: &str) {
    assert_refused(&with_method(method), words, tokens);
}

#[test]
fn items_that_are_no_trait_are_refused() {
    assert_refused("struct Orders;", "belongs on a trait", "struct");
    assert_refused("impl Orders for Shop {}", "`#[rr_core::async_trait]`", "impl");
    assert_refused("async fn place() {}", "belongs on a trait", "async");
}

#[test]
fn traits_that_no_caller_could_choose_are_refused() {
    assert_refused("trait Orders<T, U> {}", "no generic parameters", "T, U");
    assert_refused("trait Orders where Self: Sized {}", "no `where` clause", "where Self: Sized");
    assert_refused("unsafe trait Orders {}", "not an `unsafe` trait", "unsafe");
    assert_refused("trait Orders { type Item; }", "move other types out", "type Item;");
    assert_refused("trait Orders { const N: u8; }", "move other constants out", "const N: u8;");
    assert_refused("trait Orders { methods!(); }", "move other macros out", "methods!();");
}

#[test]
fn attributes_that_would_not_hold_for_everything_are_refused() {
    assert_refused(
        "#[rr_core::async_trait] trait Orders {}",
        "remove `#[async_trait]`",
        "#[rr_core::async_trait]",
    );
    assert_refused("#[cfg(unix)] trait Orders {}", "above `#[service]`", "#[cfg(unix)]");
}

#[test]
fn receivers_other_than_a_shared_reference_are_refused() {
    let method =
        |receiver: &str| format!("async fn place({receiver}ctx: &Context) -> Result<(), Error>;");
    assert_method_refused(&method(""), "takes `&self` first", "place");
    assert_method_refused(&method("self, "), "many calls share", "self");
    assert_method_refused(&method("mut self, "), "many calls share", "mut self");
    assert_method_refused(&method("&mut self, "), "use a lock", "&mut self");
    assert_method_refused(&method("self: Arc<Self>, "), "many calls share", "self: Arc<Self>");
    assert_method_refused("async fn place() -> Result<(), Error>;", "takes `&self` first", "place");
}

#[test]
fn methods_without_a_borrowed_context_are_refused() {
    let method = |inputs: &str| format!("async fn place(&self{inputs}) -> Result<(), Error>;");
    assert_method_refused(&method(""), "`ctx: &Context`", "place");
    assert_method_refused(&method(", id: u64"), "`ctx: &Context`", "id: u64");
    assert_method_refused(&method(", id: &u64"), "`ctx: &Context`", "id: &u64");
    assert_method_refused(&method(", ctx: Context"), "the context is borrowed", "Context");
    assert_method_refused(&method(", ctx: &mut Context"), "`ctx: &Context`", "ctx: &mut Context");
}

#[test]
fn functions_that_are_not_plain_async_methods_are_refused() {
    let rest = "(&self, ctx: &Context) -> Result<(), Error>;";
    assert_method_refused(&format!("fn place{rest}"), "write `async fn`", "fn");
    assert_method_refused(&format!("async unsafe fn place{rest}"), "not `unsafe`", "unsafe");
    assert_method_refused(&format!("const async fn place{rest}"), "not `const`", "const");
    assert_method_refused(
        &format!("async extern \"C\" fn place{rest}"),
        "not `extern`",
        "extern \"C\"",
    );
    assert_method_refused(
        &format!("async fn place<T, 'a>{rest}"),
        "no generic parameters",
        "T, 'a",
    );
    let clause = rest.replace(';', " where Self: Sized;");
    assert_method_refused(&format!("async fn place{clause}"), "no `where`", "where Self: Sized");
}

#[test]
fn outcomes_that_cannot_tell_of_a_failure_are_refused() {
    let method = |output: &str| format!("async fn place(&self, ctx: &Context){output};");
    assert_method_refused(&method(""), "`-> Result<T, rr_core::Error>`", "place");
    assert_method_refused(&method(" -> u64"), "`-> Result<T, rr_core::Error>`", "u64");
    assert_method_refused(&method(" -> Option<u64>"), "any call may fail", "Option<u64>");
    assert_method_refused(&method(" -> Result<&str, Error>"), "a reply is an owned type", "&");
    assert_method_refused(&method(" -> Result<Cow<'static, str>, Error>"), "owned type", "'");
    assert_method_refused(&method(" -> Result<Self, Error>"), "no `Self`", "Self");
}

#[test]
fn arguments_that_cannot_be_decoded_are_refused() {
    let method = |input: &str| {
        format!("async fn place(&self, ctx: &Context, {input}) -> Result<(), Error>;")
    };
    assert_method_refused(&method("(a, b): (u8, u8)"), "without a pattern", "(a, b)");
    assert_method_refused(&method("_: u8"), "without a pattern", "_");
    assert_method_refused(&method("ref a: u8"), "without a pattern", "ref a");
    assert_method_refused(&method("name: &str"), "such as `String`", "&");
    assert_method_refused(&method("names: Vec<&'static str>"), "such as `String`", "&");
    assert_method_refused(&method("name: impl Into<String>"), "a named type", "impl Into<String>");
    assert_method_refused(&method("other: Vec<Self>"), "no `Self`", "Self");
    assert_method_refused(&method("#[serde(default)] a: u8"), "no attributes", "#[serde(default)]");
}

#[test]
fn unknown_and_contradictory_options_of_a_method_are_refused() {
    let method = |options: &str| {
        format!("#[rr({options})] async fn place(&self, ctx: &Context) -> Result<(), Error>;")
    };
    let known = "name, alias, safe, idempotent, keyed, timeout, codec and run_to_end";
    assert_method_refused(&method("retry = 3"), known, "retry");
    assert_method_refused(&method("rr::retry"), "`rr :: retry`", "rr::retry");
    for pair in ["safe, keyed", "safe, idempotent", "keyed, safe", "safe, safe"] {
        let second = pair.split_once(", ").map_or("", |(_, second)| second);
        assert_method_refused(&method(pair), "one of `safe`, `idempotent` and `keyed`", second);
    }
    assert_method_refused(&method("safe = true"), "has no value", "safe");
    assert_method_refused(&method("run_to_end(30)"), "has no value", "run_to_end");
    assert_method_refused(&method("name"), "expected `=`", ")");
    assert_method_refused(&method("name = 7"), "expected string literal", "7");
    assert_method_refused(&method("name = \"a\", name = \"b\""), "given twice", "name = \"b\"");
    assert_method_refused(&method("codec = []"), "one to six codecs", "codec = []");
    assert_method_refused(
        &method("codec = [A, B, C, D, E, F, G]"),
        "one to six codecs",
        "codec = [A, B, C, D, E, F, G]",
    );
    assert_method_refused(&method("codec = Json, codec = Json"), "given twice", "codec = Json");
    assert_method_refused(&method("codec = \"json\""), "expected identifier", "\"json\"");
    assert_method_refused(&method("alias = [7]"), "expected string literal", "7");
    let bare = "#[rr] async fn place(&self, ctx: &Context) -> Result<(), Error>;";
    assert_method_refused(bare, "write `#[rr(..)]`", "#[rr]");
}

#[test]
fn malformed_timeouts_are_refused_at_their_text() {
    for (text, words) in [("2", "`1500ms`"), ("soon", "`1500ms`"), ("0s", "zero"), ("", "`1500ms`")]
    {
        let options = format!("timeout = \"{text}\"");
        let method =
            format!("#[rr({options})] async fn place(&self, ctx: &Context) -> Result<(), Error>;");
        assert_method_refused(&method, words, &format!("\"{text}\""));
    }
}

#[test]
fn malformed_names_are_refused_at_their_text() {
    let method = |options: &str, name: &str| {
        format!("#[rr({options})] async fn {name}(&self, ctx: &Context) -> Result<(), Error>;")
    };
    assert_method_refused(&method("name = \"a b\"", "place"), "outside [A-Za-z0-9_-]", "\"a b\"");
    assert_method_refused(&method("alias = \"v2.get\"", "place"), "has a dot", "\"v2.get\"");
    assert_method_refused(&method("alias = \"\"", "place"), "is empty", "\"\"");
    assert_method_refused(&method("safe", "größe"), "`#[rr(name = \"..\")]`", "größe");
    let long = "x".repeat(250);
    assert_method_refused(&method("safe", &long), "more than 256 bytes", &long);
}

#[test]
fn names_that_are_used_twice_are_refused_at_the_second() {
    let two = |first: &str, second: &str| {
        let rest = "(&self, ctx: &Context) -> Result<(), Error>;";
        with_method(&format!("{first}{rest} {second}{rest}"))
    };
    assert_refused(
        &two("async fn get", "#[rr(alias = \"get\")] async fn find"),
        "already a name of the method `get`",
        "\"get\"",
    );
    assert_refused(
        &two("#[rr(name = \"find\")] async fn get", "async fn find"),
        "already a name of the method `get`",
        "find",
    );
    assert_refused(
        &two("#[rr(alias = [\"a\", \"a\"])] async fn get", "async fn find"),
        "already a name of the method `get`",
        "\"a\"",
    );
    assert_refused(&two("async fn find", "async fn FIND"), "same constant", "FIND");
    let same = parse("\"a\"", &two("async fn find", "async fn find")).err().unwrap();
    assert!(same.into_iter().any(|error| error.to_string().contains("already a name")));
}

#[test]
fn methods_with_the_names_of_the_clients_own_items_are_refused_with_a_way_out() {
    let rest = "(&self, ctx: &Context) -> Result<(), Error>;";
    for name in ["service", "with"] {
        let words = format!("`#[rr(name = \"{name}\")]`");
        assert_method_refused(&format!("async fn {name}{rest}"), &words, name);
        let renamed = format!("#[rr(name = \"{name}\")] async fn other{rest}");
        assert!(parse("\"orders\"", &with_method(&renamed)).is_ok());
    }
}

#[test]
fn malformed_options_of_the_trait_are_refused_at_their_tokens() {
    for (options, words, tokens) in [
        ("", "the first argument is the name", ""),
        ("orders", "the first argument is the name", "orders"),
        ("client = A", "the first argument is the name", "client"),
        ("\"\"", "empty token", "\"\""),
        ("\"orders..v1\"", "empty token", "\"orders..v1\""),
        ("\"orders v1\"", "name it like `orders.v1`", "\"orders v1\""),
        ("\"a\", version = 2", "the options of a service are crate, client and server", "version"),
        ("\"a\", client = A, client = B", "given twice", "client"),
        ("\"a\", client = \"A\"", "expected identifier", "\"A\""),
        ("\"a\" client = A", "expected `,`", "client"),
        ("\"a\", client = A, server = A", "have the same name", "A"),
        ("\"a\", crate = 7", "expected identifier", "7"),
    ] {
        let errors = parse(options, "trait Orders {}").err().expect(options);
        assert!(errors.to_string().contains(words), "{options}: {errors}");
        if !tokens.is_empty() {
            assert_at(errors.span(), tokens, &format!("{options}: {errors}"));
        }
    }
}

#[test]
fn all_errors_of_a_trait_are_reported_together() {
    let item = "trait Orders<T> {
        type Item;
        fn place(self) -> u8;
        #[rr(safe, retry)]
        async fn find(&self, ctx: &Context, (a, b): (u8, u8), name: &str) -> Result<(), Error>;
    }";
    let errors = parse("\"a b\"", item).err().unwrap();
    // The name; T; the item; `fn`, `self`, the context and `u8`; `retry`, the pattern and `&`.
    assert_eq!(errors.into_iter().count(), 10);
}
