//! `#[handler]`: a function that stays as it is, and checks of its signature.

mod checks;
mod options;
mod signature;

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Error, Item, Signature, Visibility, token};

use crate::errors::Errors;
use options::HandlerOptions;
use signature::Parts;

/// Function under the attribute, with what the checks need.
pub(crate) struct Handler {
    options: HandlerOptions,
    function: Function,
    parts: Parts,
}

/// Function without its body, which the checks do not read.
struct Function {
    attributes: Vec<Attribute>,
    signature: Signature,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        input.parse::<Visibility>()?;
        let signature = input.parse()?;
        if !input.peek(token::Brace) {
            return Err(input.error("`#[handler]` belongs on a function that has a body"));
        }
        input.parse::<TokenStream>()?;
        Ok(Self { attributes, signature })
    }
}

impl Handler {
    /// Reads the options and the item of the attribute.
    ///
    /// # Errors
    ///
    /// All errors of the input together.
    pub(crate) fn parse(options: TokenStream, item: TokenStream) -> syn::Result<Self> {
        let mut errors = Errors::default();
        let options = errors.keep(HandlerOptions::parse(options));
        let function = errors.keep(parse_function(item));
        let (Some(options), Some(function)) = (options, function) else {
            errors.into_result(())?;
            return Err(Error::new(Span::call_site(), "the function cannot be read"));
        };
        let parts = errors.keep(signature::parse(&function.signature, options.state));
        let Some(parts) = parts else {
            errors.into_result(())?;
            return Err(Error::new(
                function.signature.ident.span(),
                "the signature cannot be read",
            ));
        };
        errors.into_result(Self { options, function, parts })
    }
}

fn parse_function(item: TokenStream) -> syn::Result<Function> {
    let first = item.clone().into_iter().next();
    syn::parse2(item.clone()).map_err(|error| match syn::parse2::<Item>(item) {
        // The whole item would be underlined, and its first token is enough.
        Ok(item) if !matches!(item, Item::Fn(_) | Item::Verbatim(_)) => {
            let span = first.map_or_else(Span::call_site, |token| token.span());
            Error::new(span, "`#[handler]` belongs on an `async fn`: on each handler by itself")
        }
        _ => error,
    })
}

/// Expands the attribute: the function, and behind it the checks of its types or the errors of its
/// signature.
pub(crate) fn expanded(options: TokenStream, item: &TokenStream) -> TokenStream {
    let added = match Handler::parse(options, item.clone()) {
        Ok(handler) => checks::checks(&handler),
        Err(errors) => errors.to_compile_error(),
    };
    quote!(#item #added)
}
