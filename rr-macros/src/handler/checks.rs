//! Checks that the compiler makes of the types of a handler, each at the tokens of its type.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{Ident, Path, Type};

use super::Handler;
use super::signature::{Parts, State};
use crate::expand::{at, lints};

/// Writes the checks as a constant that no code uses. It has a name, since an `impl` block has no
/// anonymous constants.
pub(super) fn checks(handler: &Handler) -> TokenStream {
    let Handler { function, parts, options } = handler;
    let conditions = function.attributes.iter().filter(|each| each.path().is_ident("cfg"));
    let ident = &function.signature.ident;
    let name = format_ident!("__rr_handler_{}", ident.unraw(), span = Span::mixed_site());
    let (lints, root) = (lints(), &options.root);
    let types = types(root, handler);
    let sent = sent(root, parts, ident);
    quote! {
        #(#conditions)*
        #lints
        #[allow(missing_docs, non_upper_case_globals, unreachable_code)]
        #[doc(hidden)]
        const #name: () = {
            #types
            #sent
        };
    }
}

/// Writes the checks of the types.
fn types(root: &Path, handler: &Handler) -> TokenStream {
    let Handler { parts, options, .. } = handler;
    let state = parts
        .state
        .as_ref()
        .map(State::kind)
        .map(|kind| quote_spanned!(at(kind.span())=> #root::__handler::state::<#kind>();));
    let context = parts
        .context
        .as_ref()
        .map(|kind| quote_spanned!(at(kind.span())=> #root::__handler::context::<#kind>();));
    let input = &parts.input;
    if parts.looks_raw() && options.codecs.is_empty() {
        let bytes_or_typed = bytes_or_typed(root, parts);
        return quote!(#state #context #bytes_or_typed);
    }
    let input = match &*options.codecs {
        [] => quote_spanned!(at(input.span())=> #root::__handler::input::<#input>();),
        codecs => quote_spanned! {at(input.span())=>
            #(#root::__handler::input_by::<#codecs, #input>();)*
        },
    };
    let outcome = outcome(root, handler);
    quote!(#state #context #input #outcome)
}

/// Writes the checks of types whose names are those of a request and a response on bytes.
fn bytes_or_typed(root: &Path, parts: &Parts) -> TokenStream {
    let Parts { input, outcome, .. } = parts;
    let failure = match parts.value_and_error() {
        Some((_, error)) => {
            quote_spanned!(at(error.span())=> #root::__handler::error::<#error>();)
        }
        None => quote_spanned!(at(outcome.span())=> #root::__handler::failure::<#outcome>();),
    };
    quote_spanned! {at(input.span())=>
        #root::__handler::bytes_or_typed::<#input, #outcome, _>();
        #failure
    }
}

/// Writes the checks of the value and of the error.
fn outcome(root: &Path, handler: &Handler) -> TokenStream {
    let Handler { parts, options, .. } = handler;
    let outcome = &parts.outcome;
    let codecs = &options.codecs;
    if let Some((value, error)) = parts.value_and_error() {
        let error_check = quote_spanned!(at(error.span())=> #root::__handler::error::<#error>(););
        let value_check = match &**codecs {
            // A type without a name cannot be named here either.
            _ if has_impl(value) => TokenStream::new(),
            [] => quote_spanned!(at(value.span())=> #root::__handler::output::<#value, _>();),
            codecs => quote_spanned! {at(value.span())=>
                #(#root::__handler::output_by::<#codecs, #value, _>();)*
            },
        };
        return quote!(#value_check #error_check);
    }
    if has_impl(outcome) {
        return TokenStream::new();
    }
    match &**codecs {
        [] => quote_spanned!(at(outcome.span())=> #root::__handler::outcome::<#outcome, _>();),
        codecs => quote_spanned! {at(outcome.span())=>
            #(#root::__handler::outcome_by::<#codecs, #outcome, _>();)*
        },
    }
}

/// Writes the check that the future can be sent to another thread.
fn sent(root: &Path, parts: &Parts, ident: &Ident) -> TokenStream {
    let span = at(ident.span());
    let path = match &parts.state {
        Some(State::Receiver(_)) => quote_spanned!(span=> Self::#ident),
        _ => ident.to_token_stream(),
    };
    let state = parts.state.as_ref().map(State::kind);
    let types: Vec<&Type> = state.into_iter().chain(&parts.context).chain([&parts.input]).collect();
    let names: Vec<Ident> = (0..types.len())
        .map(|number| format_ident!("__rr_{number}", span = Span::mixed_site()))
        .collect();
    quote_spanned! {span=>
        let _ = |#(#names: #types),*| #root::__handler::future(&#path(#(#names),*));
    }
}

/// Whether a type has an `impl Trait` in it.
fn has_impl(kind: &Type) -> bool {
    fn find(tokens: TokenStream) -> bool {
        tokens.into_iter().any(|token| match token {
            proc_macro2::TokenTree::Ident(ident) => ident == "impl",
            proc_macro2::TokenTree::Group(group) => find(group.stream()),
            _ => false,
        })
    }
    find(kind.to_token_stream())
}
