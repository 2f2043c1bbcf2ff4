//! Puts a million distinct keys through a store of 64 MiB, and says what that takes: resident memory against the size
//! that was configured, and time per key.
//!
//! `cargo run --release -p bascule-cache --example flood [KEYS]`

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

#[path = "flood/load.rs"]
mod load;

use std::{io, time::Instant};

use load::{Load, resident_bytes};

const MAX_SIZE: u64 = 64 << 20;

fn main() -> io::Result<()> {
    let keys: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let load = Load::new(MAX_SIZE);
    let before = resident_bytes()?;
    let start = Instant::now();
    let mut most = before;
    for index in 0..keys {
        load.put(index);
        if index.is_multiple_of(10_000) {
            most = most.max(resident_bytes()?);
        }
    }
    let (spent, stats, taken) = (start.elapsed(), load.stats(), most - before);
    println!("{keys} keys, {} held, {} bytes of {}", stats.entries, stats.bytes, stats.capacity);
    println!(
        "resident: {taken} bytes, {:.3} of the size; {:?} per key",
        taken as f64 / MAX_SIZE as f64,
        spent / u32::try_from(keys).unwrap_or(u32::MAX)
    );
    Ok(())
}
