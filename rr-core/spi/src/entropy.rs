//! Injected randomness for jitter and identifiers, so that a seed reproduces a run.

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Source of random numbers, which can be replaced by a seeded one.
pub trait Entropy: Send + Sync + 'static {
    /// Returns 64 random bits.
    fn next_u64(&self) -> u64;
}

/// Entropy from the operating system, through the standard library's hasher keys.
///
/// Suitable for jitter and for tokens that must not collide; not for secrets.
#[derive(Debug)]
pub struct OsEntropy {
    keys: RandomState,
    drawn: AtomicU64,
    /// Replaces the operating system on a thread with a [`SeedGuard`].
    seeded: Option<SeededEntropy>,
}

impl OsEntropy {
    /// Makes a source with fresh keys.
    #[must_use]
    pub fn new() -> Self {
        let seeded = SEED.get().map(|seed| {
            SEED.set(Some(seed.wrapping_add(1)));
            // Neighbouring seeds of the sequence overlap: its first number is far from the others.
            SeededEntropy::new(SeededEntropy::new(seed).next_u64())
        });
        Self { keys: RandomState::new(), drawn: AtomicU64::new(0), seeded }
    }
}

impl Default for OsEntropy {
    fn default() -> Self {
        Self::new()
    }
}

thread_local! {
    /// Seed of the next source that is made on this thread.
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Guard of [`SeededEntropy::for_this_thread`]: dropping it restores what was before.
#[derive(Debug)]
#[must_use = "dropping the guard restores the randomness of the operating system"]
pub struct SeedGuard {
    before: Option<u64>,
    /// The guard belongs to its thread.
    _thread: PhantomData<*const ()>,
}

impl Drop for SeedGuard {
    fn drop(&mut self) {
        SEED.set(self.before);
    }
}

impl Entropy for OsEntropy {
    fn next_u64(&self) -> u64 {
        if let Some(seeded) = &self.seeded {
            return seeded.next_u64();
        }
        let mut hasher = self.keys.build_hasher();
        hasher.write_u64(self.drawn.fetch_add(1, Ordering::Relaxed));
        hasher.finish()
    }
}

/// Reproducible sequence (SplitMix64), the same in every release: a printed seed replays a run.
#[derive(Debug)]
pub struct SeededEntropy(AtomicU64);

/// SplitMix64's increment: the golden ratio in 64 bits, odd, so that all states are visited.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl SeededEntropy {
    /// Makes the sequence of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// Makes every [`OsEntropy`] that this thread makes reproducible until the guard is dropped: the
    /// nth source is the same for the same seed. For simulations, where retries and balances make
    /// their own sources.
    pub fn for_this_thread(seed: u64) -> SeedGuard {
        SeedGuard { before: SEED.replace(Some(seed)), _thread: PhantomData }
    }
}

impl Entropy for SeededEntropy {
    fn next_u64(&self) -> u64 {
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Shortens a time by up to a tenth at random, so that what began simultaneously does not end or
/// repeat simultaneously.
#[must_use]
pub fn jittered(time: Duration, entropy: &dyn Entropy) -> Duration {
    let tenth = (time / 10).as_nanos();
    let drawn = (tenth * u128::from(entropy.next_u64() >> 32)) >> 32;
    time.saturating_sub(Duration::from_nanos(u64::try_from(drawn).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_takes_a_tenth_at_most_of_any_time() {
        let entropy = SeededEntropy::new(1);
        for whole in [Duration::ZERO, Duration::from_millis(1), Duration::from_secs(600)] {
            for _ in 0..100 {
                let time = jittered(whole, &entropy);
                assert!(time <= whole && time >= whole / 10 * 9, "{time:?} of {whole:?}");
            }
        }
        assert!(jittered(Duration::MAX, &entropy) > Duration::MAX / 2);
    }

    #[test]
    fn jitter_is_spread_over_the_whole_tenth() {
        let (entropy, whole) = (SeededEntropy::new(7), Duration::from_secs(1000));
        let times: Vec<_> = (0..1000).map(|_| jittered(whole, &entropy)).collect();
        let (least, most) = (*times.iter().min().unwrap(), *times.iter().max().unwrap());
        assert!(least >= Duration::from_secs(900) && least < Duration::from_secs(905), "{least:?}");
        assert!(most <= whole && most > Duration::from_secs(995), "{most:?}");
        assert_eq!(jittered(Duration::ZERO, &entropy), Duration::ZERO);
    }

    #[test]
    fn seeded_sequence_has_its_published_values() {
        let entropy = SeededEntropy::new(1_234_567);
        assert_eq!(entropy.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(entropy.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn a_thread_with_a_seed_makes_the_same_sources_again() {
        let drawn = |seed| -> Vec<u64> {
            let _seeded = SeededEntropy::for_this_thread(seed);
            (0..3).map(|_| OsEntropy::new().next_u64()).collect()
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        assert!(drawn(1)[0] != drawn(1)[1] && drawn(1)[1] != drawn(1)[2]);
        assert_ne!(OsEntropy::new().next_u64(), OsEntropy::new().next_u64());
    }

    #[test]
    fn two_os_sources_differ() {
        assert_ne!(OsEntropy::new().next_u64(), OsEntropy::new().next_u64());
    }
}
