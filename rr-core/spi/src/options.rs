//! Configurations: each option is declared once; code, files and URLs set it by the same name.

use serde::de::value::{Error as Unfit, MapDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};

use crate::error::Error;
use crate::excerpt::excerpt;
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
}

/// Declares a configuration: each option is a field with its default and its setter.
///
/// Serde reads the configuration from files and refuses unknown fields; the calling crate needs
/// `serde` with `derive`. A URL sets each option by the name of its field, including the options of
/// `parts`, which are separate configurations. A part converts into the whole configuration, with
/// defaults for all other options.
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
/// assert_eq!(section.into_config(config.calls), config);
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
        }

        impl $Section {
            /// Makes the whole configuration of this section and the common part.
            #[must_use]
            pub fn into_config(self, $common: $Common) -> $Config {
                $Config {
                    $($field: self.$field,)*
                    $($($part: self.$part,)*)?
                    $common,
                }
            }
        }
    };
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
    ) => {
        $(#[$on_struct])*
        #[derive(Clone, Debug, PartialEq, Eq, ::serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        #[non_exhaustive]
        pub struct $Config {
            $($(#[$on_field])* pub $field: $Kind,)*
            $($($(#[$on_part])* pub $part: $Part,)*)?
        }

        impl ::std::default::Default for $Config {
            fn default() -> Self {
                Self {
                    $($field: $default,)*
                    $($($part: ::std::default::Default::default(),)*)?
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
        }

        $($(
            impl ::std::convert::From<$Part> for $Config {
                #[doc = concat!("Makes the default with a [`Self::", stringify!($part), "`].")]
                fn from($part: $Part) -> Self {
                    Self { $part, ..Self::default() }
                }
            }
        )*)?

        impl $crate::options::Options for $Config {
            fn names(each: &mut dyn FnMut(&'static str)) {
                $(each(stringify!($field));)*
                $($(<$Part as $crate::options::Options>::names(each);)*)?
            }

            fn set(&mut self, name: &str, text: &str) -> Result<bool, ::serde::de::value::Error> {
                match name {
                    $(stringify!($field) => {
                        self.$field = $crate::options::read::<Self>(name, text)?.$field;
                        return Ok(true);
                    })*
                    _ => {}
                }
                $($(
                    if $crate::options::Options::set(&mut self.$part, name, text)? {
                        return Ok(true);
                    }
                )*)?
                Ok(false)
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

fn unfit(name: &str, text: &str, error: &Unfit) -> Error {
    let message = format!("parameter `{name}` cannot be `{}`", excerpt(text, 64));
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
    let message = format!("unknown parameter `{}`", excerpt(name, 64));
    Error::invalid_argument(message).with_hint(format!("known parameters: {}", known.join(", ")))
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
mod tests {
    use std::time::Duration;

    use serde::Deserialize;

    use super::*;
    use crate::error::{Code, Delivery};
    use crate::{CallConfig, IntakeConfig};

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Colour {
        DarkRed,
        Green,
    }

    /// A number with a name.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
    pub struct Ratio(u8);

    crate::options! {
        /// One option of each kind.
        pub struct Kinds {
            /// A time.
            #[serde(deserialize_with = "crate::duration::deserialize")]
            pub pause: Duration = Duration::from_secs(1), with_pause(Duration);
            /// A small number.
            pub small: u32 = 1, with_small(u32);
            /// A number.
            pub count: usize = 2, with_count(usize);
            /// A signed number.
            pub offset: i32 = 0, with_offset(i32);
            /// A number of a type of its own.
            pub ratio: Ratio = Ratio(0), with_ratio(Ratio);
            /// A boolean.
            pub on: bool = false, with_on(bool);
            /// An optional text.
            pub group: Option<String> = Some("q".to_owned()), with_group(Option<String>);
            /// One of several.
            pub colour: Colour = Colour::Green, with_colour(Colour);
        }
        parts {
            /// A part.
            pub calls: CallConfig, with_calls;
        }
    }

    fn kinds(query: &str) -> Result<Kinds, Error> {
        let location = Location::parse(&format!("x://h?{query}"))?;
        Ok(location.configure(Kinds::default(), IntakeConfig::default())?.0)
    }

    #[test]
    fn a_url_sets_options_of_every_kind_and_those_of_parts() {
        let query = "pause=20ms&small=3&count=4&on=true&group=blue&colour=dark_red&timeout=5s\
                     &offset=-7&ratio=8";
        let expected = Kinds::default()
            .with_pause(Duration::from_millis(20))
            .with_small(3)
            .with_count(4)
            .with_on(true)
            .with_offset(-7)
            .with_ratio(Ratio(8))
            .with_group(Some("blue".to_owned()))
            .with_colour(Colour::DarkRed)
            .with_calls(CallConfig::default().with_timeout(Duration::from_secs(5)));
        assert_eq!(Kinds::from(expected.calls), Kinds::default().with_calls(expected.calls));
        assert_eq!(kinds(query).unwrap(), expected);
        assert_eq!(kinds("group=").unwrap().group, None);
        assert_eq!(kinds("").unwrap(), Kinds::default());
    }

    #[test]
    fn one_url_does_for_both_ends() {
        let location = Location::parse("x://h?request_bytes_max=7&in_flight_max=8&small=9");
        let both = location.unwrap().configure(Kinds::default(), IntakeConfig::default()).unwrap();
        assert_eq!(both.0.calls.limits.request_bytes_max, 7);
        assert_eq!(both.1.limits.request_bytes_max, 7);
        assert_eq!((both.0.small, both.1.in_flight_max), (9, 8));
    }

    #[test]
    fn mistakes_are_refused_by_name_and_the_hint_shows_the_good_form() {
        for (bad, hint) in [
            ("pause=5", "`1500ms`"),
            ("small=5000000000", "u32"),
            ("count=-1", "`64`"),
            ("count=", "`64`"),
            ("on=yes", "`true`"),
            ("colour=blue", "`dark_red` or `green`"),
            ("timeout=5", "`1500ms`"),
            ("in_flight_max=many", "`64`"),
            ("smal=3", "small, count"),
        ] {
            let error = kinds(bad).unwrap_err();
            let told = (error.code(), error.delivery());
            assert_eq!(told, (Code::InvalidArgument, Delivery::NotSent), "{bad}");
            let name = bad.split('=').next().unwrap();
            assert!(error.message().contains(&format!("`{name}`")), "{error}");
            assert!(error.hint().contains(hint), "{bad}: {}", error.hint());
        }
        for bad in ["pause=%0a%1b", "colour=%0a%1b", "count=%0a%1b", "on=%0a%1b", "%0a%1b=1"] {
            let error = kinds(bad).unwrap_err();
            let shown = format!("{} {}", error.message(), error.hint());
            assert!(!shown.contains(['\n', '\x1b']), "{bad}: {shown}");
        }
    }

    #[test]
    fn files_and_urls_name_the_same_options() {
        let text = r#"{"pause": "20ms", "small": 3, "calls": {"timeout": "5s"}}"#;
        let kinds: Kinds = serde_json::from_str(text).unwrap();
        assert_eq!((kinds.pause, kinds.small), (Duration::from_millis(20), 3));
        assert_eq!(kinds.calls.timeout, Duration::from_secs(5));
        assert!(serde_json::from_str::<Kinds>(r#"{"smal": 3}"#).is_err());
    }
}
