//! Facts about the service: its description, and the statics that calls and routes read.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::Path;
use syn::ext::IdentExt as _;

use super::{codecs, error_type, method_static, value_type};
use crate::method::{self, Method};
use crate::method_options::Declared;
use crate::names::target;
use crate::service::Service;

/// Writes the description of the service and a static for each method.
pub(super) fn statics(service: &Service) -> TokenStream {
    let Service { root, item, name, methods, .. } = service;
    let docs = method::docs(&item.attrs);
    let constants = methods.iter().map(|method| constant(service, method));
    let all = methods.iter().map(|method| {
        let (name, conditions) = (constant_name(method), &method.conditions);
        quote!(#(#conditions)* #name)
    });
    quote! {
        #(#constants)*
        static __RR_SERVICE: #root::__service::ServiceDescription =
            #root::__service::describe_service(#name, #docs, &[#(#all),*]);
    }
}

fn constant_name(method: &Method) -> proc_macro2::Ident {
    format_ident!("__RR_DESCRIBED_{}", method.constant())
}

fn constant(service: &Service, method: &Method) -> TokenStream {
    let root = &service.root;
    let Method { conditions, docs, name, options, .. } = method;
    let (constant, called) = (constant_name(method), method_static(method));
    let target = target(&service.name.value(), &name.value());
    let declared = declared(root, options.declared);
    let aliases = &options.aliases;
    let codecs = codecs(root, method);
    let schemas = schemas(root, method);
    let timeout = match options.timeout {
        None => quote!(::core::option::Option::None),
        Some(timeout) => {
            let (seconds, nanos) = (timeout.as_secs(), timeout.subsec_nanos());
            quote!(::core::option::Option::Some(::core::time::Duration::new(#seconds, #nanos)))
        }
    };
    quote! {
        #(#conditions)*
        const #constant: #root::__service::MethodDescription = #root::__service::describe_method(
            #name,
            #target,
            #docs,
            #declared,
            &[#(#aliases),*],
            #timeout,
            &[#(<#codecs as #root::__service::Codec>::CONTENT_TYPE),*],
            &[#(<#codecs as #root::__service::Codec>::REPLY_CONTENT_TYPE),*],
            #schemas,
        );
        #(#conditions)*
        static #called: #root::__service::Method = #root::__service::Method::new(&#constant);
    }
}

/// Writes the source of the schemas of a method, which the features of rr-core decide on.
fn schemas(root: &Path, method: &Method) -> TokenStream {
    let (output, error) = (value_type(root, method), error_type(root, method));
    let input = match &*method.parts.arguments {
        [] => quote!(()),
        [argument] => {
            let kind = &argument.kind;
            quote!((#kind))
        }
        several => {
            let fields = several.iter().map(|argument| {
                let (name, kind) = (argument.name.unraw().to_string(), &argument.kind);
                quote!(#name: #kind)
            });
            quote!({ #(#fields),* })
        }
    };
    quote!(#root::__service::schemas!(input: #input, output: #output, error: #error))
}

fn declared(root: &Path, declared: Declared) -> TokenStream {
    let kind = match declared {
        Declared::Unspecified => quote!(Unspecified),
        Declared::Safe => quote!(Safe),
        Declared::Idempotent => quote!(Idempotent),
        Declared::Keyed => quote!(Keyed),
    };
    quote!(#root::__service::Declared::#kind)
}
