#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod durations;
mod errors;
mod expand;
mod handler;
mod method;
mod method_options;
mod names;
mod service;
mod service_options;
mod signature;
#[cfg(test)]
mod tests;

use proc_macro2::TokenStream;
use quote::quote;

/// Turns a trait into a typed client and a server; see `rr_core::service`, which documents it.
#[proc_macro_attribute]
pub fn service(
    options: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    expanded(options.into(), item.into()).into()
}

/// Checks a function that is routed; see `rr_core::handler`, which documents it.
#[proc_macro_attribute]
pub fn handler(
    options: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    handler::expanded(options.into(), &item.into()).into()
}

/// Expands `#[service]`. In place of malformed input, returns its errors, each at its tokens.
fn expanded(options: TokenStream, item: TokenStream) -> TokenStream {
    match service::Service::parse(options, item.clone()) {
        Ok(service) => expand::expand(&service),
        Err(errors) => {
            let errors = errors.to_compile_error();
            // The item stays if it can, so that its uses do not fail as well.
            let item = service::without_options(item);
            quote!(#errors #item)
        }
    }
}
