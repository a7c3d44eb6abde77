//! Counts what is allocated while a closure runs.
//!
//! Counting is off while anything is timed, as it would cost those most who allocate most. Sizes are those
//! asked for: what the allocator rounds up or keeps for itself is left out.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static ON: AtomicBool = AtomicBool::new(false);
static BYTES: AtomicI64 = AtomicI64::new(0);
static CALLS: AtomicI64 = AtomicI64::new(0);

struct Counting;

fn count(bytes: i64, calls: i64) {
    if ON.load(Relaxed) {
        BYTES.fetch_add(bytes, Relaxed);
        CALLS.fetch_add(calls, Relaxed);
    }
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64, 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as i64), 0);
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64, 1);
        unsafe { System.realloc(at, layout, size) }
    }
}

/// What was allocated while a closure ran.
#[derive(Debug, Clone, Copy)]
pub struct Counted {
    /// Bytes allocated and not freed again.
    pub live_bytes: i64,
    /// Number of allocations, moves of a growing one included.
    pub calls: i64,
}

/// Runs `work` and counts; what it returns is still alive when the count is taken.
pub fn counted<R>(work: impl FnOnce() -> R) -> (R, Counted) {
    BYTES.store(0, Relaxed);
    CALLS.store(0, Relaxed);
    ON.store(true, Relaxed);
    let result = work();
    ON.store(false, Relaxed);
    let counted = Counted {
        live_bytes: BYTES.load(Relaxed),
        calls: CALLS.load(Relaxed),
    };
    (result, counted)
}

/// Heap of what `build` returns, for each of `elements`, in bytes.
pub fn heap_per<R>(elements: usize, build: impl FnOnce() -> R) -> f64 {
    let (result, counted) = counted(build);
    drop(result);
    counted.live_bytes as f64 / elements as f64
}
