//! A global allocator that counts; a program that wants it declares it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Hands everything to the system allocator, and counts once it was told to.
///
/// Until then all it adds to an allocation is one read of a flag that nobody writes.
#[derive(Debug)]
pub struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static ALLOCATED: AtomicU64 = AtomicU64::new(0);
static FREED: AtomicU64 = AtomicU64::new(0);

fn add(allocations: u64, allocated: usize, freed: usize) {
    if !COUNTS.load(Ordering::Relaxed) {
        return;
    }
    ALLOCATIONS.fetch_add(allocations, Ordering::Relaxed);
    ALLOCATED.fetch_add(allocated as u64, Ordering::Relaxed);
    FREED.fetch_add(freed as u64, Ordering::Relaxed);
}

// SAFETY: every call is handed to the system allocator as it is; only counters are added.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(1, layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(1, layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        add(0, 0, layout.size());
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(1, size, layout.size());
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Counts from now on.
pub fn start() {
    COUNTS.store(true, Ordering::Relaxed);
}

/// Counts no more.
pub fn stop() {
    COUNTS.store(false, Ordering::Relaxed);
}

/// Returns how many allocations there have been since [`start`].
#[must_use]
pub fn allocations() -> u64 {
    ALLOCATIONS.load(Ordering::Relaxed)
}

/// Returns how many bytes have been allocated since [`start`].
#[must_use]
pub fn allocated_bytes() -> u64 {
    ALLOCATED.load(Ordering::Relaxed)
}

/// Returns by how many bytes the heap has grown since [`start`].
#[must_use]
pub fn live_bytes() -> i64 {
    ALLOCATED.load(Ordering::Relaxed) as i64 - FREED.load(Ordering::Relaxed) as i64
}
