//! Signature of a method: `async fn place(&self, ctx: &Context, order: Order) -> Result<Receipt, OrderError>`.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::spanned::Spanned as _;
use syn::{
    Error, FnArg, GenericArgument, Ident, Pat, PatType, PathArguments, Receiver, ReceiverKind,
    ReturnType, Safety, Signature, Type, TypeReference,
};

use crate::errors::Errors;

/// Parts of a signature that the generated code uses.
pub(crate) struct Parts {
    /// Type behind the reference of the context.
    pub(crate) context: Type,
    pub(crate) arguments: Vec<Argument>,
    /// Type of the outcome, a `Result`.
    pub(crate) outcome: Type,
}

/// Argument of a method that travels.
pub(crate) struct Argument {
    pub(crate) name: Ident,
    pub(crate) kind: Type,
}

impl Parts {
    /// Place of the type of a success, as far as the signature shows it.
    pub(crate) fn value_span(&self) -> Span {
        let first = self.outcome_types().next();
        first.map_or_else(|| self.outcome.span(), |kind| kind.span())
    }

    /// Type of the value within a `Reply<..>`, if the method returns one.
    pub(crate) fn reply_value(&self) -> Option<&Type> {
        let value = self.outcome_types().next()?;
        ends_with(value, |name| name == "Reply").then(|| type_arguments(value).next()).flatten()
    }

    /// Place of the error type, as far as the signature shows it.
    pub(crate) fn error_span(&self) -> Span {
        let second = self.outcome_types().nth(1);
        second.map_or_else(|| self.outcome.span(), |kind| kind.span())
    }

    /// Returns the types within `Result<..>`.
    fn outcome_types(&self) -> impl Iterator<Item = &Type> {
        type_arguments(&self.outcome)
    }
}

/// Returns the types in the angle brackets of a type.
pub(crate) fn type_arguments(kind: &Type) -> impl Iterator<Item = &Type> {
    let segment = match ungrouped(kind) {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    };
    let arguments = segment.into_iter().flat_map(|segment| match &segment.arguments {
        PathArguments::AngleBracketed(list) => list.args.iter().collect(),
        _ => Vec::new(),
    });
    arguments.filter_map(|argument| match argument {
        GenericArgument::Type(kind) => Some(kind),
        _ => None,
    })
}

/// Reads a signature.
///
/// # Errors
///
/// One error for each part that a service cannot have.
pub(crate) fn parse(signature: &Signature) -> syn::Result<Parts> {
    let mut errors = Errors::default();
    errors.keep(check_qualifiers(signature));
    let mut inputs = signature.inputs.iter();
    let context = match inputs.next() {
        Some(FnArg::Receiver(receiver)) => {
            errors.keep(check_receiver(receiver));
            errors.keep(context(&signature.ident, inputs.next()))
        }
        _ => {
            errors.push(Error::new(
                signature.ident.span(),
                "a method takes `&self` first: `async fn name(&self, ctx: &Context, ..)`",
            ));
            None
        }
    };
    // Without a context, the other arguments would be judged by their wrong places.
    let arguments = match &context {
        Some(_) => inputs.filter_map(|input| errors.keep(argument(input))).collect(),
        None => Vec::new(),
    };
    let outcome = errors.keep(outcome(signature));
    match (context, outcome) {
        (Some(context), Some(outcome)) => errors.into_result(Parts { context, arguments, outcome }),
        _ => errors
            .into_result(())
            .and_then(|()| Err(Error::new(signature.ident.span(), "the signature cannot be read"))),
    }
}

/// Refuses everything before and behind the inputs that a remote method cannot have.
fn check_qualifiers(signature: &Signature) -> syn::Result<()> {
    let mut errors = Errors::default();
    if signature.asyncness.is_none() {
        errors.push(Error::new(
            signature.fn_token.span,
            "a method of a service is `async`: write `async fn`; put other functions into a trait of their own",
        ));
    }
    let generics = &signature.generics;
    if !generics.params.is_empty() {
        let text = "a method of a service has no generic parameters: name the types that travel";
        errors.push(Error::new_spanned(&generics.params, text));
    }
    if let Some(clause) = &generics.where_clause {
        errors.push(Error::new_spanned(clause, "a method of a service has no `where` clause"));
    }
    if let Some(constness) = &signature.constness {
        errors.push(Error::new(constness.span, "a method of a service is not `const`"));
    }
    match &signature.safety {
        Safety::Unsafe(token) => {
            errors.push(Error::new(token.span, "a method of a service is not `unsafe`"));
        }
        Safety::Safe(token) => {
            errors.push(Error::new(
                token.span,
                "a method of a service is not marked `safe` here; write `#[rr(safe)]`",
            ));
        }
        Safety::Default => {}
    }
    if let Some(abi) = &signature.abi {
        errors.push(Error::new_spanned(abi, "a method of a service is not `extern`"));
    }
    if let Some(variadic) = &signature.variadic {
        errors.push(Error::new_spanned(variadic, "a method of a service is not variadic"));
    }
    errors.into_result(())
}

fn check_receiver(receiver: &Receiver) -> syn::Result<()> {
    match &receiver.kind {
        ReceiverKind::Reference(_, None, None) => Ok(()),
        ReceiverKind::Reference(_, None, Some(_)) => Err(Error::new_spanned(
            receiver,
            "a method takes `&self`: many calls share the service; use a lock for state that changes",
        )),
        _ => Err(Error::new_spanned(
            receiver,
            "a method takes `&self`: many calls share the service",
        )),
    }
}

/// Reads the context, the first argument after `&self`.
fn context(method: &Ident, input: Option<&FnArg>) -> syn::Result<Type> {
    const TEXT: &str = "the first argument after `&self` is the context: `ctx: &Context`";
    let Some(input) = input else {
        return Err(Error::new(method.span(), TEXT));
    };
    let FnArg::Typed(PatType { attrs, pat, ty, .. }) = input else {
        return Err(Error::new_spanned(input, TEXT));
    };
    let is_plain = attrs.is_empty() && matches!(**pat, Pat::Ident(_) | Pat::Wild(_));
    match ungrouped(ty) {
        Type::Reference(TypeReference { mutability: None, lifetime: None, elem, .. })
            if is_plain && ends_with(elem, |name| name == "Context") =>
        {
            Ok(ungrouped(elem).clone())
        }
        Type::Path(_) if ends_with(ty, |name| name == "Context") => {
            Err(Error::new_spanned(ty, "the context is borrowed: `ctx: &Context`"))
        }
        _ => Err(Error::new_spanned(input, TEXT)),
    }
}

/// Reads an argument that travels.
fn argument(input: &FnArg) -> syn::Result<Argument> {
    let FnArg::Typed(PatType { attrs, pat, ty, .. }) = input else {
        return Err(Error::new_spanned(input, "`self` is the first argument"));
    };
    if let Some(attribute) = attrs.first() {
        return Err(Error::new_spanned(
            attribute,
            "an argument has no attributes; put them on a field of a struct",
        ));
    }
    let name = match &**pat {
        Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => pat.ident.clone(),
        _ => {
            let text = "an argument is a name and a type, without a pattern: its name is sent, if there are several";
            return Err(Error::new_spanned(pat, text));
        }
    };
    check_owned(
        ty,
        "an argument is an owned type, such as `String` or `Vec<T>`: it is decoded from the request",
    )?;
    if let Type::ImplTrait(_) = ungrouped(ty) {
        return Err(Error::new_spanned(
            ty,
            "an argument has a named type: the client encodes it and the server decodes it",
        ));
    }
    Ok(Argument { name, kind: (**ty).clone() })
}

fn outcome(signature: &Signature) -> syn::Result<Type> {
    const TEXT: &str = "a method returns a `Result`: any call may fail; write `-> Result<T, rr_core::Error>`, \
                        or with an error type of yours";
    match &signature.output {
        ReturnType::Default => Err(Error::new(signature.ident.span(), TEXT)),
        ReturnType::Type(_, kind) if !ends_with(kind, |name| name.ends_with("Result")) => {
            Err(Error::new_spanned(kind, TEXT))
        }
        ReturnType::Type(_, kind) => {
            check_owned(
                kind,
                "a reply is an owned type, such as `String` or `Vec<T>`: the client decodes it",
            )?;
            Ok((**kind).clone())
        }
    }
}

/// Refuses references, lifetimes and `Self` anywhere in a type.
fn check_owned(kind: &Type, text: &str) -> syn::Result<()> {
    let Some(token) = find_borrow(kind.to_token_stream()) else { return Ok(()) };
    let text = match &token {
        TokenTree::Ident(_) => "a service has no `Self` in what travels: name the type",
        _ => text,
    };
    Err(Error::new(token.span(), text))
}

/// Finds the first `&`, `'lifetime` or `Self`.
fn find_borrow(tokens: TokenStream) -> Option<TokenTree> {
    tokens.into_iter().find_map(|token| match &token {
        TokenTree::Punct(punct) if matches!(punct.as_char(), '&' | '\'') => Some(token),
        TokenTree::Ident(ident) if ident == "Self" => Some(token),
        TokenTree::Group(group) => find_borrow(group.stream()),
        _ => None,
    })
}

/// Returns whether the last segment of a type's path satisfies a condition.
pub(crate) fn ends_with(kind: &Type, condition: impl Fn(&str) -> bool) -> bool {
    match ungrouped(kind) {
        Type::Path(path) => {
            let last = path.path.segments.last();
            last.is_some_and(|segment| condition(&segment.ident.to_string()))
        }
        _ => false,
    }
}

/// Returns the type within parentheses and the invisible groups of declarative macros.
pub(crate) fn ungrouped(kind: &Type) -> &Type {
    match kind {
        Type::Group(group) => ungrouped(&group.elem),
        Type::Paren(paren) => ungrouped(&paren.elem),
        other => other,
    }
}
