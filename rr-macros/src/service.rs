//! A trait with its options: everything that the generated code is made of.

use std::collections::BTreeMap;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, format_ident};
use syn::{Attribute, Error, Ident, Item, ItemTrait, LitStr, Path, TraitItem, parse_quote};

use crate::errors::Errors;
use crate::method::Method;
use crate::method_options::is_options;
use crate::names;
use crate::service_options::ServiceOptions;

/// Service: a trait whose methods can be called from elsewhere.
pub(crate) struct Service {
    pub(crate) name: LitStr,
    /// Path of rr-core.
    pub(crate) root: Path,
    pub(crate) client: Ident,
    pub(crate) server: Ident,
    /// The trait, without the options of its methods.
    pub(crate) item: ItemTrait,
    pub(crate) methods: Vec<Method>,
}

impl Service {
    /// Reads the options and the item of the attribute.
    ///
    /// # Errors
    ///
    /// All errors of the input together.
    pub(crate) fn parse(options: TokenStream, item: TokenStream) -> syn::Result<Self> {
        let mut errors = Errors::default();
        let options = errors.keep(syn::parse2::<ServiceOptions>(options));
        let item = errors.keep(parse_trait(item));
        if let Some(item) = &item {
            errors.keep(check_trait(item));
        }
        let functions = item.iter().flat_map(|item| &item.items).filter_map(|item| match item {
            TraitItem::Fn(function) => Some(function),
            _ => None,
        });
        let methods: Vec<_> =
            functions.filter_map(|function| errors.keep(Method::parse(function))).collect();
        errors.keep(check_constants(&methods));
        let (Some(options), Some(mut item)) = (options, item) else {
            errors.into_result(())?;
            return Err(Error::new(Span::call_site(), "the trait cannot be read"));
        };
        errors.keep(check_names(&options.name, &methods));
        strip_options(&mut item);
        let client = options.client.unwrap_or_else(|| format_ident!("{}Client", item.ident));
        let server = options.server.unwrap_or_else(|| format_ident!("{}Server", item.ident));
        if client == server {
            errors.push(Error::new(server.span(), "client and server have the same name"));
        }
        let root = options.root.unwrap_or_else(|| parse_quote!(::rr_core));
        errors.into_result(Self { name: options.name, root, client, server, item, methods })
    }
}

/// Returns a refused item without the options of its methods, so that its uses do not fail as well;
/// nothing if it cannot be parsed.
pub(crate) fn without_options(item: TokenStream) -> TokenStream {
    match syn::parse2::<Item>(item) {
        Ok(Item::Trait(mut item)) => {
            strip_options(&mut item);
            item.attrs.retain(|attribute| check_attribute(attribute).is_ok());
            item.attrs.push(parse_quote!(#[::rr_core::async_trait]));
            item.into_token_stream()
        }
        Ok(other) => other.into_token_stream(),
        Err(_) => TokenStream::new(),
    }
}

fn strip_options(item: &mut ItemTrait) {
    for item in &mut item.items {
        if let TraitItem::Fn(function) = item {
            function.attrs.retain(|attribute| !is_options(attribute));
        }
    }
}

fn parse_trait(item: TokenStream) -> syn::Result<ItemTrait> {
    const TEXT: &str = "`#[service]` belongs on a trait; its implementations are ordinary, \
                        with `#[rr_core::async_trait]`";
    match syn::parse2::<Item>(item)? {
        Item::Trait(item) => Ok(item),
        // The whole item would be underlined, and its first token is enough.
        other => {
            let first = other.to_token_stream().into_iter().next();
            let span = first.map_or_else(Span::call_site, |token| token.span());
            Err(Error::new(span, TEXT))
        }
    }
}

/// Refuses what a trait of a service cannot have, besides in its methods.
fn check_trait(item: &ItemTrait) -> syn::Result<()> {
    let mut errors = Errors::default();
    if let Some(token) = &item.unsafety {
        errors.push(Error::new(token.span, "a service is not an `unsafe` trait"));
    }
    errors.keep(item.modifiers.require_empty());
    let generics = &item.generics;
    if !generics.params.is_empty() {
        let text = "a service has no generic parameters: a remote caller cannot choose them; write one trait for each type";
        errors.push(Error::new_spanned(&generics.params, text));
    }
    if let Some(clause) = &generics.where_clause {
        errors.push(Error::new_spanned(clause, "a service has no `where` clause"));
    }
    for attribute in &item.attrs {
        errors.keep(check_attribute(attribute));
    }
    for item in &item.items {
        let (tokens, what) = match item {
            TraitItem::Fn(_) => continue,
            TraitItem::Const(item) => (item.to_token_stream(), "constants"),
            TraitItem::Type(item) => (item.to_token_stream(), "types"),
            TraitItem::Macro(item) => (item.to_token_stream(), "macros"),
            other => (other.to_token_stream(), "items"),
        };
        let text = format!("a service has methods alone: move other {what} out of the trait");
        errors.push(Error::new_spanned(tokens, text));
    }
    errors.into_result(())
}

fn check_attribute(attribute: &Attribute) -> syn::Result<()> {
    let path = attribute.path();
    if path.segments.last().is_some_and(|segment| segment.ident == "async_trait") {
        let text = "remove `#[async_trait]`: `#[service]` adds it";
        return Err(Error::new_spanned(attribute, text));
    }
    if path.is_ident("cfg") {
        let text = "write `#[cfg(..)]` above `#[service]`, so that it holds for the client and the server too";
        return Err(Error::new_spanned(attribute, text));
    }
    Ok(())
}

/// Refuses methods that would share the name of a constant of the client.
fn check_constants(methods: &[Method]) -> syn::Result<()> {
    let mut errors = Errors::default();
    let mut taken = BTreeMap::new();
    for method in methods {
        let constant = method.constant().to_string();
        if constant == "SERVICE" {
            errors.push(Error::new(
                method.ident.span(),
                "the client has a constant `SERVICE` already; name the function otherwise and set `#[rr(name = \"service\")]`",
            ));
        }
        if let Some(other) = taken.insert(constant, &method.ident) {
            let text = format!(
                "`{}` is too similar to `{other}`: both are the same constant of the client",
                method.ident
            );
            errors.push(Error::new(method.ident.span(), text));
        }
        if method.ident == "with" {
            errors.push(Error::new(
                method.ident.span(),
                "the client has a method `with` already; name the function otherwise and set `#[rr(name = \"with\")]`",
            ));
        }
    }
    errors.into_result(())
}

/// Refuses names that are malformed or used twice.
fn check_names(service: &LitStr, methods: &[Method]) -> syn::Result<()> {
    let mut errors = Errors::default();
    let mut taken = BTreeMap::new();
    for method in methods {
        for name in method.names() {
            let text = name.value();
            let checked = names::check_method(&service.value(), &text);
            errors.keep(checked.map_err(|text| Error::new(name.span(), text)));
            if let Some(other) = taken.insert(text.clone(), &method.ident) {
                let text = format!(
                    "`{text}` is already a name of the method `{other}`; each name means one method"
                );
                errors.push(Error::new(name.span(), text));
            }
        }
    }
    errors.into_result(())
}
