//! The client: a struct that implements the trait by calls.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;

use super::{
    Input, at, boxed_method, codecs, docs_of_trait, error_type, lints, method_static, value_type,
};
use crate::method::Method;
use crate::names::target;
use crate::service::Service;

/// Writes the type of the client.
pub(super) fn kind(service: &Service) -> TokenStream {
    let Service { root, client, item, .. } = service;
    let (name, vis) = (&item.ident, &item.vis);
    let first =
        format!("Client of [`{name}`] over any requester. It implements the trait by calls.");
    let (docs, lints) = (docs_of_trait(service), lints());
    let gap = (!docs.is_empty()).then(|| quote!(#[doc = ""]));
    quote! {
        #[doc = #first]
        #gap
        #(#docs)*
        #lints
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #vis struct #client {
            inner: #root::__service::Client,
        }
    }
}

/// Writes the implementations of the client.
pub(super) fn implementation(service: &Service) -> TokenStream {
    let Service { client, item, .. } = service;
    let name = &item.ident;
    let inherent = inherent(service);
    let methods = service.methods.iter().map(|method| {
        let body = body(service, method);
        boxed_method(method, &body)
    });
    quote! {
        #inherent
        #[automatically_derived]
        impl #name for #client {
            #(#methods)*
        }
    }
}

fn inherent(service: &Service) -> TokenStream {
    let Service { root, client, item, name: service_name, .. } = service;
    let vis = &item.vis;
    let constants = service.methods.iter().map(|method| {
        let Method { ident, conditions, name, .. } = method;
        let constant = method.constant();
        let target = target(&service_name.value(), &name.value());
        let docs = format!("Target of [`{}::{ident}`].", item.ident);
        quote! {
            #(#conditions)*
            #[doc = #docs]
            #vis const #constant: &'static str = #target;
        }
    });
    quote! {
        #[automatically_derived]
        impl #client {
            /// Name of the service.
            #vis const SERVICE: &'static str = #service_name;
            #(#constants)*

            /// Makes a client that calls the service through a requester.
            #[must_use]
            #vis fn new(requester: impl #root::__service::Requester) -> Self {
                Self { inner: #root::__service::Client::new(requester) }
            }

            /// Returns a client whose calls have these options, in place of this client's.
            #[must_use]
            #vis fn with(&self, options: #root::__service::CallOptions) -> Self {
                Self { inner: self.inner.with(options) }
            }

            /// Returns the description of the service: its methods, and what is declared of them.
            #[must_use]
            #vis fn description() -> &'static #root::__service::ServiceDescription {
                &__RR_SERVICE
            }
        }
    }
}

/// Writes the call of one method.
fn body(service: &Service, method: &Method) -> TokenStream {
    let root = &service.root;
    let input = Input::of(method).value();
    let called = method_static(method);
    let (value, error) = (value_type(root, method), error_type(root, method));
    let outcome = &method.parts.outcome;
    // At the server, the codec of the request is that of the reply.
    let codec = codecs(root, method).into_iter().next();
    let call = match method.parts.reply_value() {
        Some(_) => quote!(call_reply),
        None => quote!(call),
    };
    let converted = quote_spanned! {at(method.parts.error_span())=>
        (&&&#root::__service::Failed::<#error>::NEW).to_error(error)
    };
    // An input that cannot be encoded is an error at the last of the arguments.
    let place =
        method.parts.arguments.last().map_or_else(|| outcome.span(), |last| last.kind.span());
    let request = quote_spanned! {at(place)=>
        #root::__service::prepare::<#codec, _>(&self.inner, &#called, &#input)
    };
    // The request is made before the future, which then holds no argument.
    quote! {
        let __rr_request = #request;
        ::std::boxed::Box::pin(async move {
            use #root::__service::{FromAppError as _, FromCallError as _, FromError as _};
            let outcome = #root::__service::#call::<#codec, #value>(
                &self.inner,
                __rr_ctx,
                &#called,
                __rr_request,
            )
            .await;
            match outcome {
                ::core::result::Result::Ok(value) => ::core::result::Result::Ok(value),
                ::core::result::Result::Err(error) => ::core::result::Result::Err(#converted),
            }
        })
    }
}
