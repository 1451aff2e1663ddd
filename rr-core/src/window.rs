//! Sliding window of counts.

use std::ops::SubAssign;
use std::time::Duration;

use tokio::time::Instant;

/// Counts of a recent time, in slices; the oldest slice is dropped as a whole.
#[derive(Debug)]
pub(crate) struct Window<C, const SLICES: usize> {
    slice: Duration,
    slices: [C; SLICES],
    sum: C,
    /// Index of the current slice; `ends` is the end of that slice.
    at: usize,
    ends: Option<Instant>,
}

impl<C: Copy + Default + SubAssign, const SLICES: usize> Window<C, SLICES> {
    /// Makes an empty window of this length.
    pub(crate) fn new(length: Duration) -> Self {
        let slice = length / u32::try_from(SLICES).unwrap_or(1);
        Self { slice, slices: [C::default(); SLICES], sum: C::default(), at: 0, ends: None }
    }

    /// Changes the counts, and returns those of the current slice.
    pub(crate) fn count(&mut self, now: Instant, change: impl Fn(&mut C)) -> C {
        self.roll(now);
        change(&mut self.slices[self.at]);
        change(&mut self.sum);
        self.slices[self.at]
    }

    /// Returns the counts of the window.
    pub(crate) fn sum(&mut self, now: Instant) -> C {
        self.roll(now);
        self.sum
    }

    /// Drops the slices that have left the window.
    fn roll(&mut self, now: Instant) {
        let ends = *self.ends.get_or_insert(now + self.slice);
        if now < ends {
            return;
        }
        let mut next = ends;
        for _ in 0..SLICES {
            self.at = (self.at + 1) % SLICES;
            self.sum -= std::mem::take(&mut self.slices[self.at]);
            next += self.slice;
            if next > now {
                break;
            }
        }
        // After a long silence the slices start again from `now`.
        self.ends = Some(if next > now { next } else { now + self.slice });
    }
}
