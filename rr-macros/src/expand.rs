//! Generation of the code of a service.
//!
//! The trait itself and the types of its client and server stand where the trait stood. Their
//! implementations are in an anonymous constant, whose private items no other code can name.

mod client;
mod description;
mod server;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, format_ident, quote, quote_spanned};
use syn::parse_quote;
use syn::spanned::Spanned as _;
use syn::{Attribute, Ident, Path, Type};

use crate::method::Method;
use crate::service::Service;

/// Writes the trait, its client, its server and its description.
pub(crate) fn expand(service: &Service) -> TokenStream {
    let item = trait_item(service);
    let client_type = client::kind(service);
    let server_type = server::kind(service);
    let inputs = service.methods.iter().filter_map(input_struct);
    let checks = service.methods.iter().map(|method| checks(service, method));
    let statics = description::statics(service);
    let root = &service.root;
    let (lints, shared) = (lints(), shared(service));
    let client = client::implementation(service);
    let server = server::implementation(service);
    quote! {
        #item
        #client_type
        #server_type
        #lints
        const _: () = {
            // serde takes a path as text, and `$crate` of a declarative macro cannot be written as text.
            use #root::__service::serde as __rr_serde;
            #(#checks)*
            #(#inputs)*
            #statics
            #shared
            #client
            #server
        };
    }
}

/// Writes the trait, with boxed futures.
fn trait_item(service: &Service) -> TokenStream {
    let (root, mut item) = (&service.root, service.item.clone());
    for bound in ["Send", "Sync"] {
        let bound = Ident::new(bound, Span::mixed_site());
        item.supertraits.push(parse_quote!(::core::marker::#bound));
    }
    item.supertraits.push(parse_quote!('static));
    quote!(#[#root::__service::async_trait] #item)
}

/// Writes the implementation for shared services, such as `Arc<dyn Orders>`.
fn shared(service: &Service) -> TokenStream {
    let name = &service.item.ident;
    let methods = service.methods.iter().map(|method| {
        let ident = &method.ident;
        let arguments = method.parts.arguments.iter().map(|argument| &argument.name);
        let call = quote! {
            <__RrService as #name>::#ident(&**self, __rr_ctx, #(#arguments),*)
        };
        boxed_method(method, &call)
    });
    quote! {
        #[automatically_derived]
        impl<__RrService: #name + ?::core::marker::Sized> #name for ::std::sync::Arc<__RrService> {
            #(#methods)*
        }
    }
}

/// Writes a method of the trait as `async_trait` declares it, without its box.
fn boxed_method(method: &Method, body: &TokenStream) -> TokenStream {
    let Method { ident, parts, conditions, .. } = method;
    let (context, outcome) = (&parts.context, &parts.outcome);
    let arguments = parts.arguments.iter().map(|argument| {
        let (name, kind) = (&argument.name, &argument.kind);
        quote!(#name: #kind)
    });
    quote_spanned! {at(ident.span())=>
        #(#conditions)*
        fn #ident<'service, 'context, 'future>(
            &'service self,
            __rr_ctx: &'context #context,
            #(#arguments),*
        ) -> ::core::pin::Pin<::std::boxed::Box<
            dyn ::core::future::Future<Output = #outcome> + ::core::marker::Send + 'future
        >>
        where
            'service: 'future,
            'context: 'future,
            Self: 'future,
        {
            #body
        }
    }
}

/// Input of a method on the wire.
enum Input<'a> {
    /// No argument: unit.
    Unit,
    /// One argument: its value.
    Value(&'a Ident, &'a Type),
    /// Several arguments: a struct with one field for each.
    Struct(Ident, Vec<&'a Ident>),
}

impl<'a> Input<'a> {
    fn of(method: &'a Method) -> Self {
        match &*method.parts.arguments {
            [] => Self::Unit,
            [argument] => Self::Value(&argument.name, &argument.kind),
            several => {
                let name = format_ident!("__Rr_{}", method.constant(), span = method.ident.span());
                Self::Struct(name, several.iter().map(|argument| &argument.name).collect())
            }
        }
    }

    /// Returns the type of the input.
    fn kind(&self) -> TokenStream {
        match self {
            Self::Unit => quote!(()),
            Self::Value(_, kind) => quote!(#kind),
            Self::Struct(name, _) => quote!(#name),
        }
    }

    /// Returns the expression that builds the input from the arguments; the same tokens are the
    /// pattern that takes it apart.
    fn value(&self) -> TokenStream {
        match self {
            Self::Unit => quote!(()),
            Self::Value(name, _) => quote!(#name),
            Self::Struct(name, fields) => quote!(#name { #(#fields),* }),
        }
    }
}

/// Writes checks whose errors stand at the types that cannot be sent.
fn checks(service: &Service, method: &Method) -> TokenStream {
    let (root, conditions) = (&service.root, &method.conditions);
    // Another codec says by itself which types it can carry.
    if !method.options.codecs.is_empty() {
        return TokenStream::new();
    }
    let value = value_type(root, method);
    let arguments = method.parts.arguments.iter().map(|argument| {
        let kind = &argument.kind;
        quote_spanned!(at(kind.span())=> #root::__service::sent::<#kind>();)
    });
    let value = quote_spanned!(at(method.parts.value_span())=> #root::__service::sent::<#value>(););
    quote! {
        #(#conditions)*
        const _: () = {
            #(#arguments)*
            #value
        };
    }
}

/// Writes the struct of a method with several arguments.
fn input_struct(method: &Method) -> Option<TokenStream> {
    let Input::Struct(name, _) = Input::of(method) else { return None };
    let wire_name = method.name.value();
    let conditions = &method.conditions;
    let fields = method.parts.arguments.iter().map(|argument| {
        let (name, kind) = (&argument.name, &argument.kind);
        quote!(#name: #kind)
    });
    Some(quote! {
        #(#conditions)*
        #[derive(__rr_serde::Serialize, __rr_serde::Deserialize)]
        #[serde(crate = "__rr_serde", rename = #wire_name)]
        struct #name { #(#fields),* }
    })
}

/// Returns the name of the static that describes a method to its calls.
fn method_static(method: &Method) -> Ident {
    format_ident!("__RR_CALLED_{}", method.constant(), span = Span::mixed_site())
}

/// Returns the codecs of a method: JSON, unless others are named.
fn codecs(root: &Path, method: &Method) -> Vec<Path> {
    match &*method.options.codecs {
        [] => vec![parse_quote!(#root::__service::Json)],
        named => named.to_vec(),
    }
}

/// Returns the error type of a method, with the span of its return type.
fn error_type(root: &Path, method: &Method) -> TokenStream {
    let outcome = &method.parts.outcome;
    quote_spanned!(at(method.parts.error_span())=> <#outcome as #root::__service::Outcome>::Error)
}

/// Returns the value type of a method, without the headers of a `Reply`, with the span of its return
/// type.
fn value_type(root: &Path, method: &Method) -> TokenStream {
    if let Some(value) = method.parts.reply_value() {
        return value.to_token_stream();
    }
    let outcome = &method.parts.outcome;
    quote_spanned!(at(method.parts.value_span())=> <#outcome as #root::__service::Outcome>::Value)
}

/// Attribute of generated code, whose lints are not the user's.
pub(crate) fn lints() -> TokenStream {
    quote! {
        #[allow(
            clippy::all,
            clippy::nursery,
            clippy::pedantic,
            clippy::restriction,
            dead_code,
            deprecated,
            non_camel_case_types,
            unreachable_pub,
            unused_imports,
            unused_qualifications
        )]
    }
}

/// Returns a span at the user's tokens whose names are those of the generated code.
pub(crate) fn at(place: Span) -> Span {
    Span::call_site().located_at(place)
}

/// The doc comments of the trait, after a sentence of the generated type.
fn docs_of_trait(service: &Service) -> Vec<&Attribute> {
    let attributes = service.item.attrs.iter();
    attributes.filter(|attribute| attribute.path().is_ident("doc")).collect()
}
