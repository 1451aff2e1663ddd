//! Options that concern several hosts or addresses.

use std::fmt;

use rr_spi::{Code, Delivery, Error};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use crate::config::HttpConfig;

/// Use of the addresses of a name that has several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum HttpAddresses {
    /// Each connection goes to the first address that answers (RFC 8305).
    #[default]
    First,
    /// Each address is an endpoint. Calls are balanced over all of them.
    All,
}

/// Deserializes hosts: a list, or text with commas.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    from.deserialize_any(TextOrList)
}

struct TextOrList;

impl<'de> Visitor<'de> for TextOrList {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hosts as a list, or as text with commas")
    }

    fn visit_str<E>(self, text: &str) -> Result<Vec<String>, E> {
        let hosts = text.split(',').map(|host| host.trim_ascii().to_owned());
        Ok(if text.trim_ascii().is_empty() { Vec::new() } else { hosts.collect() })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut texts: A) -> Result<Vec<String>, A::Error> {
        let mut hosts = Vec::new();
        while let Some(host) = texts.next_element()? {
            hosts.push(host);
        }
        Ok(hosts)
    }
}

/// Refuses options that one requester cannot follow, since it calls one host.
pub(crate) fn check_single(config: &HttpConfig) -> Result<(), Error> {
    if config.hosts.is_empty() && config.addresses == HttpAddresses::First {
        return Ok(());
    }
    let message = "one requester calls one host: `hosts` and `addresses=all` do not fit";
    Err(Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message)
        .with_hint("connect with rr_core::connect, which balances calls over several requesters"))
}
