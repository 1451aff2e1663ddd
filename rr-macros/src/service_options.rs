//! Options of a trait: `#[service("orders.v1", crate = path, client = Name, server = Name)]`.

use proc_macro2::Span;
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, LitStr, Path, Token};

use crate::names;

/// Options of a trait, as written.
pub(crate) struct ServiceOptions {
    /// Name of the service.
    pub(crate) name: LitStr,
    /// Path of rr-core.
    pub(crate) root: Option<Path>,
    /// Name of the client type.
    pub(crate) client: Option<Ident>,
    /// Name of the server type.
    pub(crate) server: Option<Ident>,
}

impl Parse for ServiceOptions {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if !input.peek(LitStr) {
            let span = if input.is_empty() { Span::call_site() } else { input.span() };
            return Err(Error::new(
                span,
                "the first argument is the name of the service: `#[service(\"orders.v1\")]`",
            ));
        }
        let name: LitStr = input.parse()?;
        names::check_service(&name.value()).map_err(|text| Error::new(name.span(), text))?;
        let mut options = Self { name, root: None, client: None, server: None };
        while !input.is_empty() {
            input.parse::<Token![,]>()?;
            if !input.is_empty() {
                options.parse_one(input)?;
            }
        }
        Ok(options)
    }
}

impl ServiceOptions {
    fn parse_one(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        let key = input.call(Ident::parse_any)?;
        let is_given = match key.to_string().as_str() {
            "crate" => self.root.is_some(),
            "client" => self.client.is_some(),
            "server" => self.server.is_some(),
            other => {
                let text = format!(
                    "unknown option `{other}`; the options of a service are crate, client and server"
                );
                return Err(Error::new(key.span(), text));
            }
        };
        if is_given {
            return Err(Error::new(key.span(), format!("`{key}` is given twice")));
        }
        input.parse::<Token![=]>()?;
        match key.to_string().as_str() {
            "crate" => self.root = Some(input.call(Path::parse_mod_style)?),
            "client" => self.client = Some(input.parse()?),
            _ => self.server = Some(input.parse()?),
        }
        Ok(())
    }
}
