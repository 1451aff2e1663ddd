//! What is refused, at which tokens and with which words; and that no input makes a panic.

mod accepted;
mod handler;
mod odd;
mod refused;

use proc_macro2::TokenStream;

use crate::service::Service;

/// Parses the options and the item of the attribute.
fn parse(options: &str, item: &str) -> syn::Result<Service> {
    let tokens = |text: &str| text.parse::<TokenStream>().expect("it consists of tokens");
    Service::parse(tokens(options), tokens(item))
}

/// A trait of one method.
fn with_method(method: &str) -> String {
    format!("pub trait Orders {{ {method} }}")
}
