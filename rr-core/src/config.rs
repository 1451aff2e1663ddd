//! Configuration of both ends: the part that all transports have in common, and a section for each.

mod environment;
mod keys;

use rr_spi::Error;
use rr_spi::observe::Observers;
use rr_spi::options::Options;
use serde::de::value::Error as Unfit;
use serde::{Deserialize, Deserializer};

#[cfg(feature = "http")]
pub use rr_http::{
    HttpAddresses, HttpEncoding, HttpOrigins, HttpProxy, HttpProxyProtocol, HttpRefusals,
    HttpSection, HttpServerSection, HttpStatusCodes, HttpVersion,
};
#[cfg(feature = "nats")]
pub use rr_nats::{
    NatsAuth, NatsAuthCallback, NatsConnectionConfig, NatsCredentials, NatsDispatch, NatsSection,
    NatsServerSection,
};
#[doc(inline)]
pub use rr_spi::{CallConfig, IntakeConfig, Limits};
#[cfg(feature = "tls")]
pub use rr_tls::{Pem, TlsClientAuth, TlsConfig, TlsServerConfig};

/// Configuration of [`connect_with`](crate::connect_with): one common part, and a section for each
/// transport that is compiled in.
///
/// The common part applies to every transport. The section of a transport has only the options that
/// this transport adds. The query of a URL overrides both.
///
/// Serde reads the configuration from any format and refuses unknown keys. A duration is text, such
/// as `"1500ms"`. [`ClientConfig::from_env`] reads it from the environment.
///
/// # Examples
///
#[cfg_attr(all(feature = "json", feature = "http"), doc = "```")]
#[cfg_attr(not(all(feature = "json", feature = "http")), doc = "```ignore")]
/// use std::time::Duration;
///
/// use rr_core::config::ClientConfig;
/// use rr_core::config::HttpVersion;
///
/// let file = r#"{
///     "calls": {"timeout": "1500ms", "limits": {"request_bytes_max": 4194304}},
///     "http": {"version": "h2c"}
/// }"#;
/// let config: ClientConfig = serde_json::from_str(file)?;
/// assert_eq!(config.calls.timeout, Duration::from_millis(1500));
/// assert_eq!(config.http.version, HttpVersion::H2c);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(remote = "Self", default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Timeout and body limits of calls, over every transport.
    pub calls: CallConfig,
    /// Options of `http://`, `https://` and `http+unix://` URLs.
    #[cfg(feature = "http")]
    #[serde(deserialize_with = "section::<CallConfig, _, _>")]
    pub http: HttpSection,
    /// Options of `nats://` URLs.
    #[cfg(feature = "nats")]
    #[serde(deserialize_with = "section::<CallConfig, _, _>")]
    pub nats: NatsSection,
}

/// Configuration of [`serve_with`](crate::serve_with): one common part, and a section for each
/// transport that is compiled in.
///
/// The common part applies to every transport. The section of a transport has only the options that
/// this transport adds. The query of a URL overrides both.
///
/// Serde reads the configuration from any format and refuses unknown keys. A duration is text, such
/// as `"1500ms"`. [`ServerConfig::from_env`] reads it from the environment.
///
/// # Examples
///
/// ```
/// use rr_core::{config::{IntakeConfig, ServerConfig}};
///
/// let config = ServerConfig::default().with_intake(IntakeConfig::default().with_in_flight_max(64));
/// assert_eq!(config, IntakeConfig::default().with_in_flight_max(64).into());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(remote = "Self", default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Limits and timeouts of requests, over every transport. They hold for each URL separately.
    pub intake: IntakeConfig,
    /// Options of `http://`, `https://` and `http+unix://` URLs.
    #[cfg(feature = "http")]
    #[serde(deserialize_with = "section::<IntakeConfig, _, _>")]
    pub http: HttpServerSection,
    /// Options of `nats://` URLs.
    #[cfg(feature = "nats")]
    #[serde(deserialize_with = "section::<IntakeConfig, _, _>")]
    pub nats: NatsServerSection,
}

/// Every section, its cargo feature, and whether that feature is enabled.
const SECTIONS: &[(&str, bool)] =
    &[("http", cfg!(feature = "http")), ("nats", cfg!(feature = "nats"))];

/// A configuration of a common part and sections.
trait Sections {
    /// Calls `each` with the section and the name of every option; the common part has an empty
    /// section.
    fn names(each: &mut dyn FnMut(&'static str, &'static str))
    where
        Self: Sized;

    /// Sets an option of a section from text. Returns whether it exists.
    fn set(&mut self, section: &str, name: &str, text: &str) -> Result<bool, Unfit>;
}

/// The name of the field that holds a common part.
trait Common: Options {
    const FIELD: &'static str;
}

/// Implements what both configurations have in common.
macro_rules! sections {
    ($Config:ident, $common:ident: $Common:ty, $with_common:ident, $Http:ident, $Nats:ident) => {
        impl $Config {
            #[doc = concat!("Replaces [`Self::", stringify!($common), "`].")]
            #[must_use]
            pub fn $with_common(mut self, $common: $Common) -> Self {
                self.$common = $common;
                self
            }

            #[doc = concat!(
                "Replaces the observers of [`Self::", stringify!($common), "`], for every transport."
            )]
            /// Set in code only: no file, variable or URL names them.
            #[must_use]
            pub fn with_observers(mut self, observers: Observers) -> Self {
                self.$common.observers = observers;
                self
            }

            /// Replaces [`Self::http`].
            #[cfg(feature = "http")]
            #[must_use]
            pub fn with_http(mut self, http: $Http) -> Self {
                self.http = http;
                self
            }

            /// Replaces [`Self::nats`].
            #[cfg(feature = "nats")]
            #[must_use]
            pub fn with_nats(mut self, nats: $Nats) -> Self {
                self.nats = nats;
                self
            }

            /// Reads the configuration from environment variables that begin with `prefix`; all
            /// other options keep their defaults.
            ///
            /// After the prefix follows the name of an option in upper case, as in a URL, and for
            /// the section of a transport its name before it: `RR_TIMEOUT`, `RR_HTTP_IDLE_TIMEOUT`
            /// and `RR_NATS_NAME` with the prefix `RR_`. [`connect`](crate::connect()) lists the
            /// options. Credentials are in the URL.
            ///
            /// Both ends may share one prefix: each checks every variable, and applies those that
            /// it has. Choose a prefix that no other variable of the environment begins with, since
            /// an unknown variable is an error.
            ///
            /// # Errors
            ///
            /// `InvalidArgument`, not sent, when the prefix is empty, when a value does not fit, or
            /// when neither end has such an option. The hint lists the known variables, or names
            /// the cargo feature of a transport that is not compiled in.
            pub fn from_env(prefix: &str) -> Result<Self, Error> {
                Self::default().with_env(prefix)
            }

            /// Applies environment variables to this configuration, such as one from a file. See
            #[doc = concat!("[`", stringify!($Config), "::from_env`].")]
            ///
            /// # Errors
            ///
            #[doc = concat!("As [`", stringify!($Config), "::from_env`].")]
            pub fn with_env(mut self, prefix: &str) -> Result<Self, Error> {
                environment::apply(prefix, std::env::vars_os(), &mut self)?;
                Ok(self)
            }
        }

        impl From<$Common> for $Config {
            #[doc = concat!("Makes the default with a [`Self::", stringify!($common), "`].")]
            fn from($common: $Common) -> Self {
                Self { $common, ..Self::default() }
            }
        }

        #[cfg(feature = "http")]
        impl From<$Http> for $Config {
            /// Makes the default with a [`Self::http`].
            fn from(http: $Http) -> Self {
                Self { http, ..Self::default() }
            }
        }

        #[cfg(feature = "nats")]
        impl From<$Nats> for $Config {
            /// Makes the default with a [`Self::nats`].
            fn from(nats: $Nats) -> Self {
                Self { nats, ..Self::default() }
            }
        }

        impl Sections for $Config {
            fn names(each: &mut dyn FnMut(&'static str, &'static str)) {
                <$Common>::names(&mut |name| each("", name));
                #[cfg(feature = "http")]
                $Http::names(&mut |name| each("http", name));
                #[cfg(feature = "nats")]
                $Nats::names(&mut |name| each("nats", name));
            }

            fn set(&mut self, section: &str, name: &str, text: &str) -> Result<bool, Unfit> {
                match section {
                    "" => self.$common.set(name, text),
                    #[cfg(feature = "http")]
                    "http" => self.http.set(name, text),
                    #[cfg(feature = "nats")]
                    "nats" => self.nats.set(name, text),
                    _ => Ok(false),
                }
            }
        }

        impl Common for $Common {
            const FIELD: &'static str = stringify!($common);
        }

        impl<'de> Deserialize<'de> for $Config {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                /// The configuration as serde derives it, without the hints for misplaced keys.
                struct Plain($Config);

                impl<'de> Deserialize<'de> for Plain {
                    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                        $Config::deserialize(from).map(Self)
                    }
                }

                let Plain(config) = keys::read(from, keys::outside::<$Common>)?;
                Ok(config)
            }
        }
    };
}

sections!(ClientConfig, calls: CallConfig, with_calls, HttpSection, NatsSection);
sections!(ServerConfig, intake: IntakeConfig, with_intake, HttpServerSection, NatsServerSection);

/// Reads the section of a transport, and refuses the options of the common part.
#[cfg(any(feature = "http", feature = "nats"))]
fn section<'de, C, S, D>(from: D) -> Result<S, D::Error>
where
    C: Common,
    S: Deserialize<'de>,
    D: Deserializer<'de>,
{
    keys::read(from, keys::inside::<C>)
}
