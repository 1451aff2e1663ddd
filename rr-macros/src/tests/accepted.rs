//! What is accepted, and what becomes of it.

use std::time::Duration;

use quote::ToTokens as _;
use syn::{File, Item};

use super::{parse, with_method};
use crate::expand::expand;
use crate::expanded;
use crate::method_options::Declared;

const ORDERS: &str = r#"
    /// Orders.
    pub(crate) trait Orders: Debug {
        /// Places an order.
        #[rr(keyed, timeout = "2s")]
        async fn place(&self, ctx: &Context, order: Order) -> Result<Receipt, OrderError>;
        #[rr(safe, alias = "get", alias = ["fetch", "read"], name = "Find")]
        async fn find(&self, _: &'_ Context, r#type: u64, mut id: u64) -> io::Result<Order> { body() }
        #[rr(idempotent)]
        #[rr(run_to_end)]
        #[cfg(unix)]
        async fn list(&self, ctx: &rr_core::Context,) -> Result<Vec<Order>, Error>;
    }
"#;

#[test]
fn options_of_methods_are_read() {
    let item = ORDERS.replace("&'_ ", "&");
    let service = parse("\"orders.v1\"", &item).unwrap();
    let [place, find, list] = &*service.methods else { panic!("three methods") };
    assert_eq!(place.options.declared, Declared::Keyed);
    assert_eq!(place.options.timeout, Some(Duration::from_secs(2)));
    assert_eq!(place.parts.arguments[0].name, "order");
    let names: Vec<_> = find.names().map(syn::LitStr::value).collect();
    assert_eq!(names, ["Find", "get", "fetch", "read"]);
    assert_eq!(find.options.declared, Declared::Safe);
    assert_eq!(find.parts.arguments.len(), 2);
    assert_eq!(list.options.declared, Declared::Idempotent);
    assert!(list.options.run_to_end && !find.options.run_to_end);
    assert_eq!((list.conditions.len(), list.constant().to_string()), (1, "LIST".to_owned()));
    assert_eq!(
        (service.client.to_string(), service.server.to_string()),
        ("OrdersClient".to_owned(), "OrdersServer".to_owned())
    );
}

#[test]
fn options_of_the_trait_are_read() {
    let options = "\"orders\", crate = crate::facade::rr, client = Caller, server = Answers,";
    let service = parse(options, "trait Orders {}").unwrap();
    assert_eq!(service.client, "Caller");
    assert_eq!(service.server, "Answers");
    let root = service.root.to_token_stream().to_string().replace(' ', "");
    assert_eq!(root, "crate::facade::rr");
}

#[test]
fn the_code_is_a_trait_two_types_and_a_constant_and_keeps_docs_and_bodies() {
    let item = ORDERS.replace("&'_ ", "&");
    let service = parse("\"orders.v1\"", &item).unwrap();
    let file: File = syn::parse2(expand(&service)).unwrap();
    let [Item::Trait(item), Item::Struct(client), Item::Struct(server), Item::Const(_)] =
        &*file.items
    else {
        panic!("{} items", file.items.len())
    };
    let text = item.to_token_stream().to_string();
    assert!(text.contains("Places an order.") && text.contains("body ()"), "{text}");
    assert!(text.contains("async_trait") && !text.contains("rr (keyed"), "{text}");
    for (kind, name) in [(client, "OrdersClient"), (server, "OrdersServer")] {
        assert_eq!(kind.ident, name);
        assert!(matches!(&kind.vis, syn::Visibility::Restricted(_)));
    }
    let docs = client.to_token_stream().to_string();
    assert!(docs.contains("Client of [`Orders`]") && docs.contains("\" Orders.\""), "{docs}");
}

#[test]
fn a_refused_trait_stays_without_its_options_so_that_its_uses_compile() {
    let method = "#[rr(retry)] async fn place(&self, ctx: &Context) -> Result<(), Error>;";
    let code = expanded("\"orders\"".parse().unwrap(), with_method(method).parse().unwrap());
    let file: File = syn::parse2(code).unwrap();
    let kinds: Vec<_> = file.items.iter().map(|item| matches!(item, Item::Trait(_))).collect();
    assert_eq!(kinds, [false, true], "the error, then the trait");
    let text = file.items[1].to_token_stream().to_string();
    assert!(text.contains("async_trait") && !text.contains("retry"), "{text}");
}

#[test]
fn the_options_of_a_method_may_come_from_several_attributes_but_each_once() {
    let method = |attributes: &str| {
        with_method(&format!(
            "{attributes} async fn place(&self, ctx: &Context) -> Result<(), Error>;"
        ))
    };
    assert!(parse("\"a\"", &method("#[rr(safe)] #[rr(timeout = \"1s\")]")).is_ok());
    assert!(parse("\"a\"", &method("#[rr(timeout = \"1s\")] #[rr(timeout = \"1s\")]")).is_err());
}
