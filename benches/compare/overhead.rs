//! What the measurement itself costs.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;

use rr_benches_peers::counting::{self, Counting};
use rr_benches_peers::process::thread_cpu_nanos;
use rr_benches_peers::statistics::median;

/// Pairs of allocation and release in a round.
const PAIRS: u32 = 100_000;

const ROUNDS: usize = 21;

/// Returns what an allocation and its release take: with the allocator that counts while it does
/// not, while it does, and without it; nanoseconds.
pub(crate) fn of_the_allocator() -> [f64; 3] {
    let mut rounds: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        rounds[0].push(pairs(&Counting));
        counting::start();
        rounds[1].push(pairs(&Counting));
        counting::stop();
        rounds[2].push(pairs(&System));
    }
    rounds.map(|values| median(&values))
}

#[inline(never)]
fn pairs(allocator: &impl GlobalAlloc) -> f64 {
    let layout = Layout::new::<[u8; 64]>();
    let before = thread_cpu_nanos();
    for _ in 0..PAIRS {
        // SAFETY: the layout has a size, and what was allocated is released once, with it.
        unsafe {
            let pointer = black_box(allocator.alloc(black_box(layout)));
            assert!(!pointer.is_null(), "there is memory");
            allocator.dealloc(pointer, layout);
        }
    }
    (thread_cpu_nanos() - before) as f64 / f64::from(PAIRS)
}
