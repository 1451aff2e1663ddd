//! The header `rr-dedup`: whether the responder of a keyed request suppresses duplicates.

use crate::idempotency::Dedup;

/// Reads every value of `rr-dedup`; what is written is [`Dedup::as_str`].
///
/// `None` unless it is there once, with a value that is known: a call is repeated on the strength
/// of it, and so nothing is guessed.
#[must_use]
pub fn decode_dedup<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<Dedup> {
    let mut values = values.into_iter();
    let only = values.next().filter(|_| values.next().is_none())?;
    [Dedup::On, Dedup::Replayed].into_iter().find(|known| known.as_str() == only)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_known_value_is_read_and_nothing_is_guessed() {
        for known in [Dedup::On, Dedup::Replayed] {
            assert_eq!(decode_dedup([known.as_str()]), Some(known));
        }
        for other in [&[][..], &[""], &["On"], &["off"], &["on, on"], &["on", "on"]] {
            assert_eq!(decode_dedup(other.iter().copied()), None, "{other:?}");
        }
    }
}
