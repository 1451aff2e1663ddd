//! Signature of a handler: `async fn place(ctx: Context, order: Order) -> Result<Receipt, Error>`.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::{ToTokens as _, quote_spanned};
use syn::punctuated::Punctuated;
use syn::{
    Error, FnArg, Receiver, ReceiverKind, ReturnType, Safety, Signature, Token, Type,
    TypeReference, parse_quote,
};

use super::options::First;
use crate::errors::Errors;
use crate::signature::{ends_with, type_arguments, ungrouped};

/// Types of a signature, each as written.
pub(super) struct Parts {
    pub(super) state: Option<State>,
    /// Type of the first of two arguments.
    pub(super) context: Option<Type>,
    pub(super) input: Type,
    /// Type of the outcome, a `Result`.
    pub(super) outcome: Type,
}

/// State of a service, the first argument of its methods.
pub(super) enum State {
    /// Type of `self`, in an `impl` block.
    Receiver(Type),
    /// Type of the first argument of a function.
    Argument(Type),
}

impl State {
    pub(super) const fn kind(&self) -> &Type {
        match self {
            Self::Receiver(kind) | Self::Argument(kind) => kind,
        }
    }
}

impl Parts {
    /// Types of the value and of the error, if the signature shows them.
    pub(super) fn value_and_error(&self) -> Option<(&Type, &Type)> {
        let mut types = type_arguments(&self.outcome);
        match (types.next(), types.next(), types.next()) {
            (Some(value), Some(error), None)
                if ends_with(&self.outcome, |name| name == "Result") =>
            {
                Some((value, error))
            }
            _ => None,
        }
    }

    /// Whether the input and the value have the names of a raw request and its response.
    pub(super) fn looks_raw(&self) -> bool {
        let value = type_arguments(&self.outcome).next();
        self.context.is_some()
            && ends_with(&self.input, |name| name == "Request")
            && value.is_some_and(|value| ends_with(value, |name| name == "Response"))
    }
}

/// Reads a signature.
///
/// # Errors
///
/// One error for each part that a handler cannot have.
pub(super) fn parse(signature: &Signature, first: First) -> syn::Result<Parts> {
    let mut errors = Errors::default();
    errors.keep(check_qualifiers(signature));
    let mut inputs = signature.inputs.iter().peekable();
    let state = match (inputs.peek(), first) {
        (Some(FnArg::Receiver(receiver)), _) => {
            inputs.next();
            if first == First::State {
                let text = "`self` is the state: leave the option `state` away";
                errors.push(Error::new_spanned(receiver, text));
            }
            errors.keep(receiver_type(receiver)).map(State::Receiver)
        }
        (Some(FnArg::Typed(argument)), First::State) => {
            inputs.next();
            errors.keep(check_state(&argument.ty));
            Some(State::Argument((*argument.ty).clone()))
        }
        (_, First::OfHandler) => None,
        (None, First::State) => {
            errors.push(Error::new_spanned(
                parentheses(signature),
                "the first argument is the state, then the input: `(): ()` if there is none",
            ));
            return errors.into_result(()).and(Err(unreadable(signature)));
        }
    };
    let arguments: Vec<&Type> = inputs.filter_map(|input| errors.keep(argument(input))).collect();
    for kind in &arguments {
        errors.keep(check_argument(kind));
    }
    let split = errors.keep(split(signature, &arguments));
    let outcome = errors.keep(outcome(signature));
    match (split, outcome) {
        (Some((context, input)), Some(outcome)) => {
            errors.into_result(Parts { state, context, input, outcome })
        }
        _ => errors.into_result(()).and(Err(unreadable(signature))),
    }
}

fn unreadable(signature: &Signature) -> Error {
    Error::new(signature.ident.span(), "the signature cannot be read")
}

/// Refuses everything before and behind the inputs that a handler cannot have.
fn check_qualifiers(signature: &Signature) -> syn::Result<()> {
    let mut errors = Errors::default();
    if signature.asyncness.is_none() {
        errors.push(Error::new(
            signature.fn_token.span,
            "a handler is `async`: write `async fn`; a function that returns a future has no need of `#[handler]`",
        ));
    }
    if let Safety::Unsafe(token) = &signature.safety {
        errors.push(Error::new(token.span, "a handler is not `unsafe`: it cannot be routed"));
    }
    if !signature.generics.params.is_empty() {
        let text = "a handler has no generic parameters here, since the checks need its types: name them, or remove `#[handler]`";
        errors.push(Error::new_spanned(&signature.generics.params, text));
    }
    if let Some(variadic) = &signature.variadic {
        errors.push(Error::new_spanned(variadic, "a handler is not variadic"));
    }
    errors.into_result(())
}

/// Returns the type of `self`, the state of a service.
fn receiver_type(receiver: &Receiver) -> syn::Result<Type> {
    match &receiver.kind {
        ReceiverKind::Value => {
            let token = &receiver.self_token;
            // The place of `self`, for the errors of its type.
            let kind = quote_spanned!(token.span=> Self);
            Ok(parse_quote!(#kind))
        }
        ReceiverKind::Typed(_, kind) => {
            check_state(kind)?;
            Ok((**kind).clone())
        }
        _ => Err(Error::new_spanned(
            receiver,
            "a handler owns its state: write `self: Arc<Self>`, and route it by `Service::method`",
        )),
    }
}

fn check_state(kind: &Type) -> syn::Result<()> {
    if let Some(token) = find_borrow(kind.to_token_stream()) {
        let text = "a handler owns its state, which each call receives as a clone: write `Arc<T>`";
        return Err(Error::new(token.span(), text));
    }
    Ok(())
}

/// Returns the type of an argument that is not the state.
fn argument(input: &FnArg) -> syn::Result<&Type> {
    let FnArg::Typed(argument) = input else {
        return Err(Error::new_spanned(input, "`self` is the first argument"));
    };
    Ok(&argument.ty)
}

/// Refuses types that cannot be those of a context or an input.
fn check_argument(kind: &Type) -> syn::Result<()> {
    match ungrouped(kind) {
        Type::Reference(TypeReference { elem, .. })
            if ends_with(elem, |name| name == "Context") =>
        {
            return Err(Error::new_spanned(kind, "a handler owns its context: `ctx: Context`"));
        }
        Type::ImplTrait(_) => {
            let text = "an input has a named type: it is decoded from the request";
            return Err(Error::new_spanned(kind, text));
        }
        _ => {}
    }
    if let Some(token) = find_borrow(kind.to_token_stream()) {
        let text = "an input is an owned type, such as `String` or `Vec<T>`: it is decoded from the request";
        return Err(Error::new(token.span(), text));
    }
    Ok(())
}

/// Splits the arguments behind the state into the type of the context, if there is one, and that of
/// the input.
fn split(signature: &Signature, arguments: &[&Type]) -> syn::Result<(Option<Type>, Type)> {
    let is_context = |kind: &Type| ends_with(kind, |name| name == "Context");
    let is_state_there = signature.inputs.len() > arguments.len();
    match *arguments {
        [] if is_state_there => Err(Error::new_spanned(
            parentheses(signature),
            "after the state, a handler takes its input: `(): ()` if there is none",
        )),
        [] => Err(Error::new_spanned(
            parentheses(signature),
            "a handler takes its input: `(): ()` if there is none",
        )),
        [only] if is_context(only) => Err(Error::new_spanned(
            only,
            "after the context, a handler takes its input: `(): ()` if there is none",
        )),
        [only] => Ok((None, only.clone())),
        [first, second] if is_context(second) && !is_context(first) => Err(Error::new_spanned(
            second,
            "the context comes before the input: `ctx: Context` first",
        )),
        [first, second] => Ok((Some(first.clone()), second.clone())),
        [_, _, ref rest @ ..] => {
            let rest: Punctuated<&Type, Token![,]> = rest.iter().copied().collect();
            let text = "a handler has one input after its context: put several into a struct, \
                        and mark a function over a state by `#[handler(state)]`";
            Err(Error::new_spanned(rest, text))
        }
    }
}

/// The parentheses of the inputs.
fn parentheses(signature: &Signature) -> TokenStream {
    let mut group = Group::new(Delimiter::Parenthesis, TokenStream::new());
    group.set_span(signature.paren_token.span.join());
    TokenTree::from(group).into()
}

fn outcome(signature: &Signature) -> syn::Result<Type> {
    match &signature.output {
        ReturnType::Default => Err(Error::new(
            signature.ident.span(),
            "a handler returns a `Result`: write `-> Result<T, rr_core::Error>`, or with an `AppError` of yours",
        )),
        ReturnType::Type(_, kind) => Ok((**kind).clone()),
    }
}

/// Finds the first `&` or `'lifetime`, other than of `'static`.
fn find_borrow(tokens: TokenStream) -> Option<TokenTree> {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let found = match &token {
            TokenTree::Punct(punct) if punct.as_char() == '&' => {
                // The lifetime behind it decides, if it has one.
                let has_lifetime = tokens.peek().is_some_and(|next| next.to_string() == "'");
                (!has_lifetime).then_some(token)
            }
            TokenTree::Punct(punct) if punct.as_char() == '\'' => {
                let is_static = tokens.next_if(|next| next.to_string() == "static").is_some();
                (!is_static).then_some(token)
            }
            TokenTree::Group(group) => find_borrow(group.stream()),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}
