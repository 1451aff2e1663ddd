//! Keys of a file that stand in the wrong place: the error names the right one.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, StringDeserializer};
use serde::de::{DeserializeSeed, Error, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Common, SECTIONS};

/// Returns the error for a key, if it stands in the wrong place.
type Refusal = fn(&str) -> Option<String>;

/// Refuses sections that are not compiled in, and options of the common part outside of it.
pub(super) fn outside<C: Common>(key: &str) -> Option<String> {
    if SECTIONS.iter().any(|(section, is_compiled)| *section == key && !is_compiled) {
        return Some(format!("unknown key `{key}`: enable the feature `{key}` of rr-core"));
    }
    is_common::<C>(key).then(|| format!("unknown key `{key}`: it belongs in `{}`", C::FIELD))
}

/// Refuses the common part and its options in the section of a transport.
#[cfg(any(feature = "http", feature = "nats"))]
pub(super) fn inside<C: Common>(key: &str) -> Option<String> {
    let text = || {
        format!(
            "unknown key `{key}`: options that all transports have in common stand in `{}`, \
             outside of the sections",
            C::FIELD
        )
    };
    (key == C::FIELD || is_common::<C>(key)).then(text)
}

fn is_common<C: Common>(key: &str) -> bool {
    let mut is_common = key == "limits";
    C::names(&mut |name| is_common |= name == key);
    is_common
}

/// Reads a value whose keys are checked first.
pub(super) fn read<'de, T, D>(from: D, refusal: Refusal) -> Result<T, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    from.deserialize_map(Reading { refusal, value: PhantomData })
}

struct Reading<T> {
    refusal: Refusal,
    value: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Reading<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("options by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(Keys { map, refusal: self.refusal }))
    }
}

/// Map whose keys are checked before they are read.
struct Keys<A> {
    map: A,
    refusal: Refusal,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Keys<A> {
    type Error = A::Error;

    fn next_key_seed<K>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error>
    where
        K: DeserializeSeed<'de>,
    {
        self.map.next_key_seed(Key { seed, refusal: self.refusal })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.map.size_hint()
    }
}

/// Key that is checked before it is read.
struct Key<K> {
    seed: K,
    refusal: Refusal,
}

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for Key<K> {
    type Value = K::Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<K::Value, D::Error> {
        let key = String::deserialize(from)?;
        if let Some(text) = (self.refusal)(&key) {
            return Err(D::Error::custom(text));
        }
        let key: StringDeserializer<D::Error> = key.into_deserializer();
        self.seed.deserialize(key)
    }
}
