//! Options of a handler: `#[handler(codec = Text, state, crate = path)]`.

use proc_macro2::TokenStream;
use quote::ToTokens as _;
use syn::meta::{self, ParseNestedMeta};
use syn::parse::Parser as _;
use syn::{Ident, Path, parse_quote};

use crate::method_options::{flag, once, one_or_list};

/// Known keys, as an error lists them.
const KEYS: &str = "codec, state and crate";

/// Meaning of the first argument of a function without `self`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum First {
    /// The context or the input.
    #[default]
    OfHandler,
    /// The state of a service.
    State,
}

/// Options of a handler, as written.
pub(super) struct HandlerOptions {
    /// Codecs that carry the input and the output; JSON if there are none.
    pub(super) codecs: Vec<Path>,
    pub(super) state: First,
    /// Path of rr-core.
    pub(super) root: Path,
}

impl HandlerOptions {
    /// Reads the options.
    ///
    /// # Errors
    ///
    /// The first unknown or repeated key, or malformed value.
    pub(super) fn parse(options: TokenStream) -> syn::Result<Self> {
        let (mut codecs, mut state, mut root) = (None, None, None);
        let parser = meta::parser(|meta| {
            let key = meta.path.get_ident().map(Ident::to_string).unwrap_or_default();
            match key.as_str() {
                "codec" => once(&meta, &mut codecs, parse_codecs(&meta)?),
                "state" => {
                    flag(&meta)?;
                    once(&meta, &mut state, First::State)
                }
                "crate" => {
                    let path = meta.value()?.call(Path::parse_mod_style)?;
                    once(&meta, &mut root, path)
                }
                _ => {
                    let shown = meta.path.to_token_stream().to_string();
                    Err(meta.error(format!(
                        "unknown option `{shown}`; the options of a handler are {KEYS}"
                    )))
                }
            }
        });
        parser.parse2(options)?;
        Ok(Self {
            codecs: codecs.unwrap_or_default(),
            state: state.unwrap_or_default(),
            root: root.unwrap_or_else(|| parse_quote!(::rr_core)),
        })
    }
}

fn parse_codecs(meta: &ParseNestedMeta<'_>) -> syn::Result<Vec<Path>> {
    let codecs = one_or_list(meta, Path::parse_mod_style)?;
    if codecs.is_empty() {
        return Err(meta.error("name at least one codec, or leave this option away for JSON"));
    }
    Ok(codecs)
}
