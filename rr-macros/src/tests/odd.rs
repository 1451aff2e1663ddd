//! No input makes the attribute panic, and its output always consists of items.

use proc_macro2::TokenStream;
use proptest::prelude::*;
use syn::File;

use crate::expanded;

/// Pieces that the input of the attribute may be made of.
const PIECES: [&str; 62] = [
    "trait",
    "Orders",
    "{",
    "}",
    "(",
    ")",
    "<",
    ">",
    "[",
    "]",
    "async",
    "fn",
    "place",
    "&",
    "self",
    "mut",
    ",",
    "ctx",
    ":",
    "Context",
    "->",
    "Result",
    ";",
    "#",
    "rr",
    "safe",
    "keyed",
    "timeout",
    "=",
    "\"2s\"",
    "\"\"",
    "name",
    "alias",
    "\"a.b\"",
    "crate",
    "client",
    "server",
    "Self",
    "'a",
    "'static",
    "where",
    "T",
    "impl",
    "dyn",
    "pub",
    "unsafe",
    "const",
    "type",
    "macro_rules",
    "!",
    "r#type",
    "_",
    "::",
    "..",
    "7",
    "1.5",
    "'c'",
    "b\"x\"",
    "größe",
    "/// doc\n",
    "#[cfg(unix)]",
    "async fn find(&self, ctx: &Context, id: u64) -> Result<u64, Error>;",
];

/// Expands if the texts consist of tokens.
fn expand(options: &str, item: &str) {
    let (Ok(options), Ok(item)) = (options.parse::<TokenStream>(), item.parse::<TokenStream>())
    else {
        return;
    };
    let code = expanded(options.clone(), item.clone());
    let parsed = syn::parse2::<File>(code);
    assert!(parsed.is_ok(), "{options} on {item}: {}", parsed.err().unwrap());
}

pub(super) fn pieces(most: usize) -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(&PIECES[..]);
    proptest::collection::vec(piece, 0..most).prop_map(|pieces| pieces.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_tokens_make_items_and_no_panic(options in pieces(6), item in pieces(30)) {
        expand(&options, &item);
    }

    #[test]
    fn any_signature_makes_items_and_no_panic(
        attribute in pieces(6),
        inputs in pieces(8),
        output in pieces(6),
        name in "[a-zA-Z_éß]{1,8}",
    ) {
        let method = format!("#[rr({attribute})] async fn {name}(&self, {inputs}) -> {output};");
        expand("\"orders\"", &format!("trait Orders {{ {method} }}"));
        let method = format!("async fn {name}(&self, ctx: &Context, a: {inputs}) -> Result<{output}, E>;");
        expand("\"orders\"", &format!("trait Orders {{ {method} }}"));
    }

    #[test]
    fn any_text_of_a_name_or_a_timeout_makes_items_and_no_panic(text in "\\PC{0,12}") {
        let rest = "async fn place(&self, ctx: &Context) -> Result<(), Error>;";
        for option in ["name", "alias", "timeout"] {
            let item = format!("trait Orders {{ #[rr({option} = {text:?})] {rest} }}");
            expand("\"orders\"", &item);
        }
        expand(&format!("{text:?}"), &format!("trait Orders {{ {rest} }}"));
    }
}

#[test]
fn an_empty_attribute_on_nothing_is_an_error() {
    let code = expanded(TokenStream::new(), TokenStream::new()).to_string();
    assert!(code.contains("compile_error"), "{code}");
}
