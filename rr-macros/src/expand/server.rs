//! The server: a struct whose routes run an implementation of the trait.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};

use super::{Input, at, codecs, error_type, lints, method_static};
use crate::method::Method;
use crate::service::Service;

/// Writes the type of the server.
pub(super) fn kind(service: &Service) -> TokenStream {
    let Service { server, item, .. } = service;
    let (name, vis, lints) = (&item.ident, &item.vis, lints());
    let docs = format!(
        "Routes of an implementation of [`{name}`], to be served or merged into a router. Other \
         methods of the service are answered with `Unimplemented`."
    );
    quote! {
        #[doc = #docs]
        #lints
        #vis struct #server<T> {
            implementation: ::std::sync::Arc<T>,
        }
    }
}

/// Writes the implementations of the server.
pub(super) fn implementation(service: &Service) -> TokenStream {
    let Service { root, server, item, .. } = service;
    let (name, vis) = (&item.ident, &item.vis);
    let routes = service.methods.iter().map(|method| route(service, method));
    let text = server.to_string();
    quote! {
        #[automatically_derived]
        impl<T: #name> #server<T> {
            /// Makes the routes of an implementation, which all calls share.
            #[must_use]
            #vis fn new(implementation: T) -> Self {
                Self { implementation: ::std::sync::Arc::new(implementation) }
            }
        }

        #[automatically_derived]
        impl<T> ::core::clone::Clone for #server<T> {
            fn clone(&self) -> Self {
                Self { implementation: ::core::clone::Clone::clone(&self.implementation) }
            }
        }

        #[automatically_derived]
        impl<T> ::core::fmt::Debug for #server<T> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(#text).finish_non_exhaustive()
            }
        }

        #[automatically_derived]
        impl<__RrService: #name> ::core::convert::From<#server<__RrService>> for #root::__service::Router {
            fn from(server: #server<__RrService>) -> Self {
                use #root::__service::{IntoOwnError as _, LeaveHandler as _};
                let __rr_service = server.implementation;
                let routing = #root::__service::Routing::new(&__RR_SERVICE);
                #(#routes)*
                routing.into_router()
            }
        }

        #[automatically_derived]
        impl<__RrService: #name> ::core::convert::From<#server<__RrService>> for #root::__service::Routes {
            fn from(server: #server<__RrService>) -> Self {
                <#root::__service::Router as ::core::convert::From<#server<__RrService>>>::from(server).into()
            }
        }
    }
}

/// Writes the statement that adds the routes of one method.
fn route(service: &Service, method: &Method) -> TokenStream {
    let (root, name) = (&service.root, &service.item.ident);
    let Method { ident, conditions, parts, options, .. } = method;
    let input = Input::of(method);
    let (kind, pattern) = (input.kind(), input.value());
    let arguments: Vec<_> = parts.arguments.iter().map(|argument| &argument.name).collect();
    let called = method_static(method);
    let error = error_type(root, method);
    let codecs = match &*codecs(root, method) {
        [codec] => quote!(#codec),
        several => quote!((#(#several),*)),
    };
    let leaving = quote_spanned! {at(parts.error_span())=>
        (&&#root::__service::Leaving::<#error>::NEW).leave(error)
    };
    let call =
        quote!(<__RrService as #name>::#ident(&*__rr_service, &__rr_ctx, #(#arguments),*).await);
    let run = if options.run_to_end {
        quote! {
            #root::__service::run_to_end(&__rr_ctx, move |__rr_ctx| async move { #call }).await
        }
    } else {
        call
    };
    quote! {
        #(#conditions)*
        let routing = {
            let __rr_service = ::core::clone::Clone::clone(&__rr_service);
            routing.method(&#called, #codecs, move |__rr_ctx: #root::__service::Context, #pattern: #kind| {
                let __rr_service = ::core::clone::Clone::clone(&__rr_service);
                async move {
                    match #run {
                        ::core::result::Result::Ok(value) => ::core::result::Result::Ok(value),
                        ::core::result::Result::Err(error) => {
                            ::core::result::Result::Err(#leaving)
                        }
                    }
                }
            })
        };
    }
}
