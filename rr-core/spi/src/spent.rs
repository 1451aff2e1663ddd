//! Times that a server states about a request, and their form in the header `rr-spent`
//! (docs/src/wire.md#headers).

use std::fmt;
use std::time::Duration;

/// The header of a reply with the times of the handler, when the request asks for them.
pub const RR_SPENT: &str = "rr-spent";

/// Maximum number of calls below a request that the header lists.
const ENTRIES_MAX: usize = 8;

/// Maximum number of levels below a request that the header lists.
const LEVELS_MAX: usize = 2;

/// Longest header value that is read, in bytes: all entries with the longest numbers.
const BYTES_MAX: usize = (ENTRIES_MAX + 1) * (2 * DIGITS_MAX + 4);

/// Maximum number of digits of a time in milliseconds.
const DIGITS_MAX: usize = 10;

/// Times that a server states about a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spent {
    /// The time from the arrival of the request's head until its handler was entered. For a call
    /// that a handler made: its time outside of the called handler, on the way and in queues.
    pub queue: Duration,
    /// The time in the handler; zero for a call whose peer did not state it.
    pub handler: Duration,
    /// The calls that the handler made, the longest first.
    pub below: Vec<Self>,
}

impl Spent {
    /// Returns the time of the whole request.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.queue + self.handler
    }

    /// Returns the value of the header `rr-spent`: whole milliseconds, at most two levels of calls
    /// and 8 calls, the longest first.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = String::new();
        self.write("", 0, &mut 0, &mut out);
        out
    }

    fn write(&self, mark: &str, level: usize, entries: &mut usize, out: &mut String) {
        use fmt::Write as _;
        let (queue, handler) = (millis(self.queue), millis(self.handler));
        // Writing to a string cannot fail.
        let _ = write!(out, "{mark}{queue},{handler}");
        if level == LEVELS_MAX {
            return;
        }
        let mut below: Vec<_> = self.below.iter().collect();
        below.sort_by_key(|spent| std::cmp::Reverse(spent.total()));
        for spent in below {
            if *entries == ENTRIES_MAX {
                return;
            }
            *entries += 1;
            out.push(';');
            spent.write(if level == 0 { "" } else { "+" }, level + 1, entries, out);
        }
    }

    /// Reads a value of the header; `None` if it is malformed.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        if text.len() > BYTES_MAX {
            return None;
        }
        let mut entries = text.split(';');
        let mut spent = entry(entries.next()?)?;
        for text in entries {
            match text.strip_prefix('+') {
                None => spent.below.push(entry(text)?),
                Some(text) => spent.below.last_mut()?.below.push(entry(text)?),
            }
        }
        Some(spent)
    }
}

fn entry(text: &str) -> Option<Spent> {
    let (queue, handler) = text.split_once(',')?;
    let (queue, handler) = (duration(queue)?, duration(handler)?);
    Some(Spent { queue, handler, below: Vec::new() })
}

fn duration(text: &str) -> Option<Duration> {
    let is_number = !text.is_empty() && text.len() <= DIGITS_MAX;
    let is_number = is_number && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).map(Duration::from_millis)
}

/// Returns whole milliseconds, at most the largest number of 10 digits.
fn millis(time: Duration) -> u64 {
    let most = 10u64.pow(DIGITS_MAX as u32) - 1;
    u64::try_from(time.as_millis()).unwrap_or(most).min(most)
}

/// Says what the server stated, down to the call that took longest.
impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queue, handler, below } = self;
        write!(f, "the server queued the request for {queue:.2?}, its handler took {handler:.2?}")?;
        let mut slowest = below.iter().max_by_key(|spent| spent.total());
        while let Some(spent) = slowest {
            let (queue, handler) = (spent.queue, spent.handler);
            write!(
                f,
                "; its slowest call took {handler:.2?} in the handler and {queue:.2?} on the way"
            )?;
            slowest = spent.below.iter().max_by_key(|spent| spent.total());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spent(queue: u64, handler: u64, below: Vec<Spent>) -> Spent {
        let ms = Duration::from_millis;
        Spent { queue: ms(queue), handler: ms(handler), below }
    }

    #[test]
    fn calls_below_are_listed_by_their_time_and_cut_at_two_levels_and_eight_calls() {
        let deepest = spent(1, 2, vec![spent(9, 9, vec![])]);
        let all = spent(3, 400, vec![spent(2, 5, vec![]), spent(10, 300, vec![deepest])]);
        assert_eq!(all.encode(), "3,400;10,300;+1,2;2,5");
        assert_eq!(Spent::decode(&all.encode()).unwrap().encode(), all.encode());
        let many = spent(0, 9, (0..20).map(|at| spent(at, 0, vec![])).collect());
        assert_eq!(many.encode(), "0,9;19,0;18,0;17,0;16,0;15,0;14,0;13,0;12,0");
        let long = spent(u64::MAX, 0, vec![]);
        assert_eq!(long.encode(), "9999999999,0");
    }

    #[test]
    fn the_text_follows_the_slowest_call_down() {
        let deep = spent(5, 1700, vec![]);
        let all = spent(3, 1900, vec![spent(1, 2, vec![]), spent(20, 1800, vec![deep])]);
        assert_eq!(
            all.to_string(),
            "the server queued the request for 3.00ms, its handler took 1.90s; its slowest call \
             took 1.80s in the handler and 20.00ms on the way; its slowest call took 1.70s in the \
             handler and 5.00ms on the way"
        );
    }

    #[test]
    fn malformed_values_are_ignored() {
        for bad in ["", ",", "1", "1,", "1,x", "-1,2", "+1,2", "1,2;+", "1,2;;3,4", "1,12345678901"]
        {
            assert_eq!(Spent::decode(bad), None, "{bad}");
        }
        assert_eq!(Spent::decode(&"1,2;".repeat(100)), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_is_bounded(
            top in (any::<u64>(), any::<u64>()),
            calls in prop::collection::vec((any::<u64>(), any::<u64>(), 0..4usize), 0..20),
        ) {
            let below = calls.into_iter().map(|(queue, handler, deeper)| {
                spent(queue >> 1, handler >> 1, vec![spent(1, 1, vec![]); deeper])
            });
            let text = spent(top.0 >> 1, top.1 >> 1, below.collect()).encode();
            prop_assert!(text.len() <= BYTES_MAX);
            prop_assert_eq!(Spent::decode(&text).unwrap().encode(), text);
        }

        #[test]
        fn reading_never_panics(text in "[0-9,;+ x]{0,60}") {
            let _ = Spent::decode(&text);
        }
    }
}
