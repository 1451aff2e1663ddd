//! One method of a service.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote};
use syn::ext::IdentExt as _;
use syn::{Attribute, Expr, ExprLit, Ident, Lit, LitStr, Meta, TraitItemFn};

use crate::errors::Errors;
use crate::method_options::MethodOptions;
use crate::signature::{self, Parts};

/// Method of a service.
pub(crate) struct Method {
    /// Name of the function.
    pub(crate) ident: Ident,
    /// Name on the wire; its span is that of the option, else that of the function.
    pub(crate) name: LitStr,
    pub(crate) options: MethodOptions,
    pub(crate) parts: Parts,
    /// Conditions of compilation, which hold for everything that is generated.
    pub(crate) conditions: Vec<Attribute>,
    /// Doc comment, as an expression of type `&'static str`.
    pub(crate) docs: TokenStream,
}

impl Method {
    /// Reads a function of a trait.
    ///
    /// # Errors
    ///
    /// Everything that a method of a service cannot have.
    pub(crate) fn parse(function: &TraitItemFn) -> syn::Result<Self> {
        let mut errors = Errors::default();
        errors.keep(function.modifiers.require_empty());
        let parts = errors.keep(signature::parse(&function.sig));
        let options = errors.keep(MethodOptions::parse(&function.attrs)).unwrap_or_default();
        let ident = function.sig.ident.clone();
        let default = || LitStr::new(&ident.unraw().to_string(), ident.span());
        let name = options.name.clone().unwrap_or_else(default);
        let attributes = function.attrs.iter();
        let conditions = attributes.filter(|attribute| attribute.path().is_ident("cfg"));
        let conditions = conditions.cloned().collect();
        let docs = docs(&function.attrs);
        let Some(parts) = parts else {
            errors.into_result(())?;
            return Err(syn::Error::new(ident.span(), "the signature cannot be read"));
        };
        errors.into_result(Self { ident, name, options, parts, conditions, docs })
    }

    /// Returns the name of the constant that holds the target.
    pub(crate) fn constant(&self) -> Ident {
        let name = self.ident.unraw().to_string().to_uppercase();
        Ident::new(&name, self.ident.span())
    }

    /// Returns the names on the wire: the method's, then its aliases.
    pub(crate) fn names(&self) -> impl Iterator<Item = &LitStr> {
        std::iter::once(&self.name).chain(&self.options.aliases)
    }
}

/// Joins the doc comments of an item to one text, as an expression.
pub(crate) fn docs(attributes: &[Attribute]) -> TokenStream {
    let mut lines = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("doc")) {
        let Meta::NameValue(pair) = &attribute.meta else { continue };
        if !lines.is_empty() {
            lines.push(quote!("\n"));
        }
        lines.push(match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) => {
                let line = line.value();
                line.strip_prefix(' ').unwrap_or(&line).to_token_stream()
            }
            // Such as `include_str!("..")`.
            other => other.to_token_stream(),
        });
    }
    quote!(::core::concat!(#(#lines),*))
}
