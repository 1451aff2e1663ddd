//! Options of a method: `#[rr(name = "..", alias = "..", safe, timeout = "2s")]`.

use std::time::Duration;

use quote::ToTokens as _;
use syn::meta::ParseNestedMeta;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Error, Ident, LitStr, Meta, Path, Token, bracketed, token};

use crate::durations;
use crate::errors::Errors;

/// Known keys, as an error lists them.
const KEYS: &str = "name, alias, safe, idempotent, keyed, timeout, codec and run_to_end";

/// Longest list of codecs; rr's tuples of codecs end there.
const CODECS_MAX: usize = 6;

/// Declared idempotency of a method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Declared {
    #[default]
    Unspecified,
    Safe,
    Idempotent,
    Keyed,
}

/// Options of a method.
#[derive(Default)]
pub(crate) struct MethodOptions {
    /// Name on the wire, if it differs from the function's.
    pub(crate) name: Option<LitStr>,
    /// Further names on the wire.
    pub(crate) aliases: Vec<LitStr>,
    pub(crate) declared: Declared,
    /// Longest time that the client waits.
    pub(crate) timeout: Option<Duration>,
    /// Codecs that the server accepts, of which the client uses the first; JSON if there are none.
    pub(crate) codecs: Vec<Path>,
    /// Whether the server runs the method to its end although the caller leaves.
    pub(crate) run_to_end: bool,
}

/// Returns whether an attribute holds options of a method.
pub(crate) fn is_options(attribute: &Attribute) -> bool {
    attribute.path().is_ident("rr")
}

impl MethodOptions {
    /// Reads the options among the attributes of a method.
    ///
    /// # Errors
    ///
    /// Unknown and repeated keys, and malformed values; one error for each attribute.
    pub(crate) fn parse(attributes: &[Attribute]) -> syn::Result<Self> {
        let mut options = Self::default();
        let mut errors = Errors::default();
        for attribute in attributes.iter().filter(|attribute| is_options(attribute)) {
            errors.keep(options.parse_attribute(attribute));
        }
        errors.into_result(options)
    }

    fn parse_attribute(&mut self, attribute: &Attribute) -> syn::Result<()> {
        if !matches!(attribute.meta, Meta::List(_)) {
            let text = format!("write `#[rr(..)]` with the options of the method: {KEYS}");
            return Err(Error::new_spanned(attribute, text));
        }
        attribute.parse_nested_meta(|meta| self.parse_one(&meta))
    }

    fn parse_one(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        let key = meta.path.get_ident().map(Ident::to_string).unwrap_or_default();
        match key.as_str() {
            "name" => once(meta, &mut self.name, value(meta)?),
            "alias" => {
                self.aliases.extend(one_or_list(meta, <LitStr as Parse>::parse)?);
                Ok(())
            }
            "safe" => self.declare(meta, Declared::Safe),
            "idempotent" => self.declare(meta, Declared::Idempotent),
            "keyed" => self.declare(meta, Declared::Keyed),
            "timeout" => {
                let text: LitStr = value(meta)?;
                let timeout = durations::parse_timeout(&text.value());
                let timeout = timeout.map_err(|error| Error::new(text.span(), error))?;
                once(meta, &mut self.timeout, timeout)
            }
            "codec" => {
                let codecs = one_or_list(meta, Path::parse_mod_style)?;
                if codecs.is_empty() || codecs.len() > CODECS_MAX {
                    return Err(meta.error("a method has one to six codecs"));
                }
                if !self.codecs.is_empty() {
                    return Err(meta.error("this option is given twice"));
                }
                self.codecs = codecs;
                Ok(())
            }
            "run_to_end" => {
                flag(meta)?;
                self.run_to_end = true;
                Ok(())
            }
            _ => {
                let shown = meta.path.to_token_stream().to_string();
                let text = format!("unknown option `{shown}`; the options of a method are {KEYS}");
                Err(meta.error(text))
            }
        }
    }

    fn declare(&mut self, meta: &ParseNestedMeta<'_>, declared: Declared) -> syn::Result<()> {
        flag(meta)?;
        if self.declared != Declared::Unspecified {
            return Err(meta.error("a method is one of `safe`, `idempotent` and `keyed`"));
        }
        self.declared = declared;
        Ok(())
    }
}

/// Reads `= value` or `= [value, value]`.
pub(crate) fn one_or_list<T>(
    meta: &ParseNestedMeta<'_>,
    parse: fn(ParseStream<'_>) -> syn::Result<T>,
) -> syn::Result<Vec<T>> {
    let input = meta.value()?;
    if !input.peek(token::Bracket) {
        return Ok(vec![parse(input)?]);
    }
    let list;
    bracketed!(list in input);
    let values = list.parse_terminated(parse, Token![,])?;
    Ok(values.into_iter().collect())
}

/// Reads `= value`.
fn value<T: Parse>(meta: &ParseNestedMeta<'_>) -> syn::Result<T> {
    meta.value()?.parse()
}

/// Refuses a value after a key that has none.
pub(crate) fn flag(meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
    if meta.input.is_empty() || meta.input.peek(Token![,]) {
        return Ok(());
    }
    Err(meta.error("this option has no value"))
}

pub(crate) fn once<T>(
    meta: &ParseNestedMeta<'_>,
    place: &mut Option<T>,
    value: T,
) -> syn::Result<()> {
    match place.replace(value) {
        Some(_) => Err(meta.error("this option is given twice")),
        None => Ok(()),
    }
}
