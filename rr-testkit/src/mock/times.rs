//! Number of requests that an expectation expects.

use std::fmt;
use std::ops::{Range, RangeFrom, RangeInclusive, RangeTo, RangeToInclusive};

/// Number of requests that an expectation expects: a number or a range. See
/// [`Expectation::expect`](super::Expectation::expect).
///
/// # Examples
///
/// ```
/// use rr_testkit::Times;
///
/// assert_eq!(Times::from(2).to_string(), "exactly 2 requests");
/// assert_eq!(Times::from(1..=3).to_string(), "1 to 3 requests");
/// assert_eq!(Times::from(1..).to_string(), "at least 1 request");
/// assert_eq!(Times::from(..3).to_string(), "at most 2 requests");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    least: usize,
    /// `None` without an upper bound.
    most: Option<usize>,
}

impl Times {
    pub(super) const ANY: Self = Self { least: 0, most: None };

    pub(super) fn is_empty(self) -> bool {
        self.most.is_some_and(|most| most < self.least)
    }

    pub(super) fn contains(self, count: usize) -> bool {
        count >= self.least && self.allows(count)
    }

    /// Returns whether a count is not too many.
    pub(super) fn allows(self, count: usize) -> bool {
        self.most.is_none_or(|most| count <= most)
    }

    /// Makes a range whose end is excluded. One that excludes everything is empty.
    fn before(least: usize, end: usize) -> Self {
        match end.checked_sub(1) {
            Some(most) => Self { least, most: Some(most) },
            None => Self { least: least.max(1), most: Some(0) },
        }
    }
}

impl From<usize> for Times {
    fn from(count: usize) -> Self {
        Self { least: count, most: Some(count) }
    }
}

impl From<RangeInclusive<usize>> for Times {
    fn from(range: RangeInclusive<usize>) -> Self {
        Self { least: *range.start(), most: Some(*range.end()) }
    }
}

impl From<Range<usize>> for Times {
    fn from(range: Range<usize>) -> Self {
        Self::before(range.start, range.end)
    }
}

impl From<RangeFrom<usize>> for Times {
    fn from(range: RangeFrom<usize>) -> Self {
        Self { least: range.start, most: None }
    }
}

impl From<RangeTo<usize>> for Times {
    fn from(range: RangeTo<usize>) -> Self {
        Self::before(0, range.end)
    }
}

impl From<RangeToInclusive<usize>> for Times {
    fn from(range: RangeToInclusive<usize>) -> Self {
        Self { least: 0, most: Some(range.end) }
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.least, self.most) {
            (_, Some(0)) => f.write_str("no request"),
            (least, Some(most)) if least == most => write!(f, "exactly {}", requests(most)),
            (0, Some(most)) => write!(f, "at most {}", requests(most)),
            (least, Some(most)) => write!(f, "{least} to {}", requests(most)),
            (0, None) => f.write_str("any number of requests"),
            (least, None) => write!(f, "at least {}", requests(least)),
        }
    }
}

pub(super) fn requests(count: usize) -> String {
    if count == 1 { "1 request".to_owned() } else { format!("{count} requests") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_contain_what_ranges_of_numbers_contain() {
        for count in 0..6 {
            assert_eq!(Times::from(2).contains(count), count == 2);
            assert_eq!(Times::from(2..=4).contains(count), (2..=4).contains(&count));
            assert_eq!(Times::from(2..4).contains(count), (2..4).contains(&count));
            assert_eq!(Times::from(2..).contains(count), (2..).contains(&count));
            assert_eq!(Times::from(..4).contains(count), (..4).contains(&count));
            assert_eq!(Times::from(..=4).contains(count), (..=4).contains(&count));
            assert!(Times::ANY.contains(count));
        }
    }

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "they are what is tested")]
    fn ranges_without_a_number_are_empty() {
        for empty in [Times::from(2..2), Times::from(3..=2), Times::from(..0), Times::from(0..0)] {
            assert!(empty.is_empty(), "{empty:?}");
        }
        for some in [Times::from(0), Times::from(..1), Times::from(0..=0), Times::ANY] {
            assert!(!some.is_empty(), "{some:?}");
        }
    }
}
