//! What the store really takes from the system: this is a process of its own, with one test in it.
//!
//! The bound is on resident memory, not on what the store says of itself. `examples/flood.rs` does the same at full size.

#![cfg(target_os = "linux")]

#[path = "../examples/flood/load.rs"]
mod load;

use load::{Load, resident_bytes};

#[test]
fn a_flood_of_distinct_keys_takes_no_more_memory_than_the_store_is_given() {
    const MAX_SIZE: u64 = 16 << 20;
    let load = Load::new(MAX_SIZE);
    let before = resident_bytes().unwrap();
    let mut most = 0;
    for index in 0..100_000_usize {
        load.put(index);
        if index.is_multiple_of(5_000) {
            most = most.max(resident_bytes().unwrap());
        }
    }
    let (taken, held) = (most.saturating_sub(before), load.stats());
    assert!(held.entries > 1_000 && held.bytes > MAX_SIZE * 9 / 10, "{held:?}");
    assert!(taken <= MAX_SIZE * 13 / 10, "{taken} bytes resident for a store of {MAX_SIZE}: {held:?}");
}
