//! `#[handler]`: what is accepted, and the words and the place of each refusal.

use proc_macro2::TokenStream;
use proptest::prelude::*;
use syn::{File, Item, ItemFn};

use super::refused::assert_at;
use crate::handler::{Handler, expanded};

fn tokens(text: &str) -> TokenStream {
    text.parse().expect("it consists of tokens")
}

/// Asserts that an item is refused with one error, whose text has these words and whose span is
/// these tokens.
#[track_caller]
fn assert_refused(options: &str, item: &str, words: &str, place: &str) {
    let errors = Handler::parse(tokens(options), tokens(item)).err().expect("it is refused");
    let found: Vec<_> = errors.into_iter().collect();
    let [error] = &*found else { panic!("one error, not {found:?}") };
    let text = error.to_string();
    assert!(text.contains(words), "{text}");
    assert_at(error.span(), place, &text);
}

/// As [`assert_refused`], for the arguments of a function.
#[track_caller]
fn assert_arguments_refused(arguments: &str, words: &str, place: &str) {
    let item = format!("async fn place({arguments}) -> Result<u64, Error> {{}}");
    assert_refused("", &item, words, place);
}

#[test]
fn every_form_of_a_handler_is_accepted_and_stays_as_it_is() {
    for (options, item) in [
        ("", "async fn ping((): ()) -> Result<(), Error> {}"),
        (
            "",
            "pub(crate) async fn ping(ctx: Context, mut a: Vec<u8>,) -> io::Result<Reply<u64>> {}",
        ),
        (
            "",
            "#[doc = \"x\"] pub async fn ping(_: rr_core::Context, r: Request) -> Result<Response, Error> {}",
        ),
        ("", "async fn ping(a: Cow<'static, str>) -> Result<&'static str, Error> {}"),
        ("", "async fn ping(a: &'static str) -> Result<impl Serialize, Error> {}"),
        ("", "async fn ping(self, a: u8) -> Answer {}"),
        ("", "async fn ping(mut self: Arc<Self>, ctx: Context, Order { id }: Order) -> Answer {}"),
        ("state", "async fn ping(shop: Arc<Shop>, a: u8) -> Answer {}"),
        ("codec = [Json, codec::Text], crate = $crate", "async fn ping(a: String) -> Answer {}"),
        ("codec = Text,", "async fn ping(a: String) -> Answer { this is @ no * Rust }"),
    ] {
        let options = options.replace("$crate", "crate::rr");
        let code = expanded(tokens(&options), &tokens(item)).to_string();
        let unchanged = code.strip_prefix(&tokens(item).to_string()).expect(item);
        assert!(!unchanged.contains("compile_error"), "{code}");
        let [Item::Const(_)] = &*syn::parse_str::<File>(unchanged).expect(item).items else {
            panic!("one constant, not {unchanged}");
        };
    }
}

#[test]
fn items_that_are_no_function_are_refused() {
    assert_refused("", "trait Orders {}", "belongs on an `async fn`", "trait");
    assert_refused("", "impl Shop {}", "belongs on an `async fn`", "impl");
    let bodiless = "async fn place(a: u8) -> Result<(), Error>;";
    assert_refused("", bodiless, "has a body", ";");
}

#[test]
fn functions_that_cannot_be_routed_are_refused() {
    let rest = "(a: u8) -> Result<(), Error> {}";
    assert_refused("", &format!("fn place{rest}"), "write `async fn`", "fn");
    assert_refused("", &format!("async unsafe fn place{rest}"), "not `unsafe`", "unsafe");
    assert_refused("", &format!("async fn place<T, 'a>{rest}"), "generic parameters", "T, 'a");
    assert_refused("", "async fn place(a: u8) {}", "returns a `Result`", "place");
}

#[test]
fn inputs_that_are_missing_or_too_many_are_refused() {
    assert_arguments_refused("", "`(): ()` if there is none", "()");
    assert_arguments_refused("ctx: Context", "after the context", "Context");
    assert_arguments_refused("_: Context, a: u8, b: u16", "one input after its context", "u16");
    assert_arguments_refused("_: Context, a: u8, b: u16, c: u32", "a struct", "u16, c: u32");
    assert_arguments_refused("self", "after the state", "(self)");
    let none = "async fn place() -> Answer {}";
    assert_refused("state", none, "the first argument is the state", "()");
    assert_refused("state", "async fn place(s: S) -> Answer {}", "after the state", "(s: S)");
}

#[test]
fn arguments_that_are_borrowed_are_refused() {
    assert_arguments_refused("ctx: &Context, a: u8", "owns its context", "&Context");
    assert_arguments_refused("a: &str", "an input is an owned type", "&");
    assert_arguments_refused("a: Vec<&'a str>", "an input is an owned type", "'");
    assert_arguments_refused("_: Context, a: Cow<'_, str>", "an input is an owned type", "'");
    assert_arguments_refused("a: impl Read", "an input has a named type", "impl Read");
    assert_arguments_refused("&self, a: u8", "`self: Arc<Self>`", "&self");
    assert_arguments_refused("&mut self, a: u8", "`self: Arc<Self>`", "&mut self");
    assert_arguments_refused("self: &Arc<Self>, a: u8", "owns its state", "&");
    assert_refused("state", "async fn place(s: &S, a: u8) -> Answer {}", "owns its state", "&");
}

#[test]
fn a_context_behind_the_input_is_refused() {
    assert_arguments_refused("a: u8, ctx: Context", "before the input", "Context");
    // The compiler compares the types: a context may have another name.
    let renamed = "async fn place(ctx: Ctx, a: u8) -> Answer {}";
    assert!(Handler::parse(TokenStream::new(), tokens(renamed)).is_ok());
}

#[test]
fn malformed_options_of_a_handler_are_refused_at_their_tokens() {
    let item = "async fn place(a: u8) -> Answer {}";
    for (options, words, place) in [
        ("codecs = Text", "the options of a handler are codec, state and crate", "codecs"),
        ("\"orders\"", "expected", "\"orders\""),
        ("codec = []", "at least one codec", "codec"),
        ("codec = \"json\"", "expected", "\"json\""),
        ("codec = A, codec = B", "given twice", "codec = B"),
        ("state = true", "has no value", "state"),
        ("crate = 7", "expected", "7"),
    ] {
        let errors = Handler::parse(tokens(options), tokens(item)).err().expect(options);
        let text = errors.to_string();
        assert!(text.contains(words), "{options}: {text}");
        let at = errors.span().source_text();
        assert!(at.is_none_or(|at| place.starts_with(&at) || at.starts_with(place)), "{options}");
    }
    let method = "async fn place(self, a: u8) -> Answer {}";
    assert_refused("state", method, "leave the option `state` away", "self");
}

#[test]
fn all_errors_of_a_function_are_reported_together() {
    let item = "fn place<T>(self: &Self, ctx: &Context, a: &str) {}";
    let errors = Handler::parse(tokens("state"), tokens(item)).err().unwrap();
    // `fn`; T; `self` twice; the context; the input; the outcome.
    assert_eq!(errors.into_iter().count(), 7);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_signature_of_a_handler_makes_items_and_no_panic(
        options in super::odd::pieces(5),
        inputs in super::odd::pieces(10),
        output in super::odd::pieces(6),
        name in "[a-zA-Z_éß]{1,8}",
    ) {
        let item = format!("async fn {name}({inputs}) -> {output} {{}}");
        let (Ok(options), Ok(item)) = (options.parse(), item.parse::<TokenStream>()) else {
            return Ok(());
        };
        let code = expanded(options, &item);
        // rustc refuses what is no function by itself.
        let is_function = syn::parse2::<ItemFn>(item.clone()).is_ok();
        prop_assert!(!is_function || syn::parse2::<File>(code.clone()).is_ok(), "{code}");
        prop_assert!(code.to_string().starts_with(&item.to_string()));
    }
}
