//! Configurations: each option is declared once; code, files and URLs set it by the same name.

use serde::de::value::{Error as Unfit, MapDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};

use crate::error::Error;
use crate::excerpt::{excerpt, shown_value};
use crate::location::Location;

/// Configuration declared by [`options!`](crate::options!).
pub trait Options: Sized {
    /// Calls `each` with the name of every option that a URL can set, including those of the parts.
    fn names(each: &mut dyn FnMut(&'static str));

    /// Sets an option from text. Returns whether an option of that name exists.
    ///
    /// # Errors
    ///
    /// Serde's, when the text does not fit the option.
    fn set(&mut self, name: &str, text: &str) -> Result<bool, Unfit>;

    /// Returns the cargo feature that an option of this name needs, if the configuration lacks the
    /// option only because the feature is not enabled.
    #[must_use]
    fn missing_feature(_name: &str) -> Option<&'static str> {
        None
    }
}

/// Declares a configuration: each option is a field with its default and its setter.
///
/// Serde reads the configuration from files and refuses unknown fields; the calling crate needs
/// `serde` with `derive`. A URL sets each option by the name of its field, including the options of
/// `parts`, which are separate configurations. A part converts into the whole configuration, with
/// defaults for all other options.
///
/// `parts with "feature"` declares one part that exists only with a cargo feature of the calling
/// crate. `pub struct Name named "prefix_"` adds a prefix to the names that a URL uses, but not to
/// those in files: a part `tls` with the option `roots` is set by `tls_roots`.
///
/// The part that all transports have in common may follow as `common as Section`. The macro then
/// also declares `Section`: the same options without the common part, for a configuration that has
/// a section for each transport and the common part once. `Section::into_config` adds the common
/// part.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use rr_spi::{CallConfig, IntakeConfig, Location};
///
/// rr_spi::options! {
///     /// Limits of a client.
///     pub struct ClientConfig {
///         /// Maximum number of connections. Default 8.
///         pub connections_max: usize = 8, with_connections_max(usize);
///         /// The name that servers show. Default `rr`.
///         pub name: String = "rr".to_owned(), with_name(impl Into<String>);
///     }
///     common as ClientSection {
///         /// Timeout and limits of each call.
///         pub calls: CallConfig, with_calls;
///     }
/// }
///
/// let location = Location::parse("quic://host?name=orders&timeout=2s")?;
/// let (config, _) = location.configure(ClientConfig::default(), IntakeConfig::default())?;
/// assert_eq!((config.name.as_str(), config.connections_max), ("orders", 8));
/// assert_eq!(config.calls.timeout, Duration::from_secs(2));
///
/// let section = ClientSection::default().with_name("orders");
/// assert_eq!(section.into_config(config.calls.clone()), config);
/// # Ok::<(), rr_spi::Error>(())
/// ```
#[macro_export]
macro_rules! options {
    (
        $(#[$on_struct:meta])*
        pub struct $Config:ident {
            $(
                $(#[$on_field:meta])*
                pub $field:ident: $Kind:ty = $default:expr, $setter:ident($Given:ty);
            )*
        }
        $(parts {
            $($(#[$on_part:meta])* pub $part:ident: $Part:ty, $part_setter:ident;)*
        })?
        $(parts with $feature:literal {
            $(#[$on_gated:meta])* pub $gated:ident: $Gated:ty, $gated_setter:ident;
        })?
        common as $Section:ident {
            $(#[$on_common:meta])* pub $common:ident: $Common:ty, $common_setter:ident;
        }
    ) => {
        $crate::options! {
            $(#[$on_struct])*
            pub struct $Config {
                $($(#[$on_field])* pub $field: $Kind = $default, $setter($Given);)*
            }
            parts {
                $($($(#[$on_part])* pub $part: $Part, $part_setter;)*)?
                $(#[$on_common])* pub $common: $Common, $common_setter;
            }
            $(parts with $feature {
                $(#[$on_gated])* pub $gated: $Gated, $gated_setter;
            })?
        }

        $crate::options! {
            #[doc = concat!(
                "Options of [`", stringify!($Config), "`] without [`", stringify!($common), "`](",
                stringify!($Config), "::", stringify!($common), "), which all transports have in ",
                "common."
            )]
            pub struct $Section {
                $($(#[$on_field])* pub $field: $Kind = $default, $setter($Given);)*
            }
            parts {
                $($($(#[$on_part])* pub $part: $Part, $part_setter;)*)?
            }
            $(parts with $feature {
                $(#[$on_gated])* pub $gated: $Gated, $gated_setter;
            })?
        }

        impl $Section {
            /// Makes the whole configuration of this section and the common part.
            #[must_use]
            pub fn into_config(self, $common: $Common) -> $Config {
                $Config {
                    $($field: self.$field,)*
                    $($($part: self.$part,)*)?
                    $(#[cfg(feature = $feature)] $gated: self.$gated,)?
                    $common,
                }
            }
        }
    };
    (
        $(#[$on_struct:meta])*
        pub struct $Config:ident named $prefix:literal { $($fields:tt)* }
        $($parts:tt)*
    ) => {
        $crate::options! {
            @with $prefix;
            $(#[$on_struct])*
            pub struct $Config { $($fields)* }
            $($parts)*
        }
    };
    (
        $(#[$on_struct:meta])*
        pub struct $Config:ident { $($fields:tt)* }
        $($parts:tt)*
    ) => {
        $crate::options! {
            @with "";
            $(#[$on_struct])*
            pub struct $Config { $($fields)* }
            $($parts)*
        }
    };
    (
        @with $prefix:literal;
        $(#[$on_struct:meta])*
        pub struct $Config:ident {
            $(
                $(#[$on_field:meta])*
                pub $field:ident: $Kind:ty = $default:expr, $setter:ident($Given:ty);
            )*
        }
        $(parts {
            $($(#[$on_part:meta])* pub $part:ident: $Part:ty, $part_setter:ident;)*
        })?
        $(parts with $feature:literal {
            $(#[$on_gated:meta])* pub $gated:ident: $Gated:ty, $gated_setter:ident;
        })?
    ) => {
        $(#[$on_struct])*
        #[derive(Clone, Debug, PartialEq, Eq, ::serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        #[non_exhaustive]
        pub struct $Config {
            $($(#[$on_field])* pub $field: $Kind,)*
            $($($(#[$on_part])* pub $part: $Part,)*)?
            $(#[cfg(feature = $feature)] $(#[$on_gated])* pub $gated: $Gated,)?
        }

        impl ::std::default::Default for $Config {
            fn default() -> Self {
                Self {
                    $($field: $default,)*
                    $($($part: ::std::default::Default::default(),)*)?
                    $(
                        #[cfg(feature = $feature)]
                        $gated: ::std::default::Default::default(),
                    )?
                }
            }
        }

        impl $Config {
            $(
                #[doc = concat!("Replaces [`Self::", stringify!($field), "`].")]
                #[must_use]
                pub fn $setter(mut self, $field: $Given) -> Self {
                    self.$field = $field.into();
                    self
                }
            )*
            $($(
                #[doc = concat!("Replaces [`Self::", stringify!($part), "`].")]
                #[must_use]
                pub fn $part_setter(mut self, $part: $Part) -> Self {
                    self.$part = $part;
                    self
                }
            )*)?
            $(
                #[doc = concat!("Replaces [`Self::", stringify!($gated), "`].")]
                #[cfg(feature = $feature)]
                #[must_use]
                pub fn $gated_setter(mut self, $gated: $Gated) -> Self {
                    self.$gated = $gated;
                    self
                }
            )?
        }

        $($(
            impl ::std::convert::From<$Part> for $Config {
                #[doc = concat!("Makes the default with a [`Self::", stringify!($part), "`].")]
                fn from($part: $Part) -> Self {
                    Self { $part, ..Self::default() }
                }
            }
        )*)?

        $(
            #[cfg(feature = $feature)]
            impl ::std::convert::From<$Gated> for $Config {
                #[doc = concat!("Makes the default with a [`Self::", stringify!($gated), "`].")]
                fn from($gated: $Gated) -> Self {
                    Self { $gated, ..Self::default() }
                }
            }
        )?

        impl $crate::options::Options for $Config {
            fn names(each: &mut dyn FnMut(&'static str)) {
                $(each(concat!($prefix, stringify!($field)));)*
                $($(<$Part as $crate::options::Options>::names(each);)*)?
                $(
                    #[cfg(feature = $feature)]
                    <$Gated as $crate::options::Options>::names(each);
                )?
            }

            fn set(&mut self, name: &str, text: &str) -> Result<bool, ::serde::de::value::Error> {
                $(
                    if name == concat!($prefix, stringify!($field)) {
                        let read = $crate::options::read::<Self>(stringify!($field), text)?;
                        self.$field = read.$field;
                        return Ok(true);
                    }
                )*
                $($(
                    if $crate::options::Options::set(&mut self.$part, name, text)? {
                        return Ok(true);
                    }
                )*)?
                $(
                    #[cfg(feature = $feature)]
                    if $crate::options::Options::set(&mut self.$gated, name, text)? {
                        return Ok(true);
                    }
                )?
                Ok(false)
            }

            fn missing_feature(name: &str) -> Option<&'static str> {
                $(
                    #[cfg(not(feature = $feature))]
                    if name.starts_with(concat!(stringify!($gated), "_")) {
                        return Some($feature);
                    }
                )?
                let parts: &[Option<&'static str>] = &[
                    $($(<$Part as $crate::options::Options>::missing_feature(name),)*)?
                ];
                let _ = name;
                parts.iter().copied().flatten().next()
            }
        }
    };
}

/// Reads a configuration with one option set from text and defaults for all others.
///
/// # Errors
///
/// Serde's, when the text does not fit the option.
#[doc(hidden)]
pub fn read<C: DeserializeOwned>(name: &str, text: &str) -> Result<C, Unfit> {
    C::deserialize(MapDeserializer::new([(name, Text(text))].into_iter()))
}

impl Location {
    /// Applies the query to the configurations of both ends, so that both can share one URL.
    ///
    /// Both ends check every option, and each applies those that it has.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when a value does not fit or neither end has such an option.
    pub fn configure<C: Options, S: Options>(
        &self,
        mut client: C,
        mut server: S,
    ) -> Result<(C, S), Error> {
        for (name, text) in self.query() {
            let unfit = |error| unfit(name, text, &error);
            let is_known = client.set(name, text).map_err(unfit)?;
            if !server.set(name, text).map_err(unfit)? && !is_known {
                return Err(unknown::<C, S>(name));
            }
        }
        Ok((client, server))
    }
}

/// Returns the beginning of the value of an option for an error message, without credentials.
#[doc(hidden)]
#[must_use]
pub fn shown(name: &str, text: &str) -> String {
    excerpt(&shown_value(name, text), 64)
}

fn unfit(name: &str, text: &str, error: &Unfit) -> Error {
    let message = format!("parameter `{name}` cannot be `{}`", shown(name, text));
    Error::invalid_argument(message).with_hint(error.to_string())
}

fn unknown<C: Options, S: Options>(name: &str) -> Error {
    let mut known = Vec::new();
    let mut add = |name| {
        if !known.contains(&name) {
            known.push(name);
        }
    };
    C::names(&mut add);
    S::names(&mut add);
    let error = Error::invalid_argument(format!("unknown parameter `{}`", excerpt(name, 64)));
    match C::missing_feature(name).or_else(|| S::missing_feature(name)) {
        Some(feature) => error.with_hint(format!("enable the feature `{feature}`")),
        None => error.with_hint(format!("known parameters: {}", known.join(", "))),
    }
}

/// Value of a parameter, from which serde also reads numbers and booleans.
struct Text<'a>(&'a str);

impl<'de> IntoDeserializer<'de, Unfit> for Text<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Implements the methods for numbers: parses the text as the widest type; the target type checks
/// the range.
macro_rules! numbers {
    ($($visit:ident: $($method:ident)*;)*) => {
        $($(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
            match self.0.parse() {
                Ok(number) => visitor.$visit(number),
                Err(_) => Err(Unfit::custom("a number looks like `64`")),
            }
        })*)*
    };
}

impl<'de> Deserializer<'de> for Text<'_> {
    type Error = Unfit;

    numbers! {
        visit_u64: deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64;
        visit_i64: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64;
        visit_f64: deserialize_f32 deserialize_f64;
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        match self.0.parse() {
            Ok(truth) => visitor.visit_bool(truth),
            Err(_) => Err(Unfit::custom("it is `true` or `false`")),
        }
    }

    /// Reads an empty text as `None`.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        if self.0.is_empty() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        // Serde's own error would repeat the text, whatever its length.
        if !variants.contains(&self.0) {
            return Err(Unfit::custom(format!("it is `{}`", variants.join("` or `"))));
        }
        visitor.visit_enum(self.0.into_deserializer())
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_str(self.0)
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

#[cfg(test)]
#[allow(unreachable_pub, reason = "the macro declares public types")]
#[allow(dead_code, reason = "the macro declares a setter for each option")]
#[allow(unexpected_cfgs, reason = "a feature that the crate does not have")]
mod tests;
