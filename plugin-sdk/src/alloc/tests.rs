//! The arena in front of the system's allocator.

use std::alloc::System;

use super::*;

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

#[test]
fn blocks_are_aligned_and_do_not_overlap() {
    let lean = Lean::<_, 1024>::new(System);
    let mut end = 0;
    for (size, align) in [(1, 1), (8, 8), (3, 1), (64, 32), (2, 2)] {
        // SAFETY: the size is not zero.
        let block = unsafe { lean.alloc(layout(size, align)) };
        let offset = lean.offset(block).expect("fits the arena");
        assert_eq!(block as usize % align, 0);
        assert!(offset >= end, "overlaps the block before");
        end = offset + size;
    }
}

#[test]
fn the_last_block_grows_in_place_and_is_taken_back() {
    let lean = Lean::<_, 256>::new(System);
    // SAFETY: sizes are not zero, blocks are used with the layout they have.
    unsafe {
        let block = lean.alloc(layout(16, 1));
        let grown = lean.realloc(block, layout(16, 1), 200);
        assert_eq!(block, grown);
        assert_eq!(lean.next.get(), 200);
        lean.dealloc(grown, layout(200, 1));
        assert_eq!(lean.next.get(), 0);
    }
}

#[test]
fn a_block_in_the_middle_moves_with_its_octets() {
    let lean = Lean::<_, 256>::new(System);
    // SAFETY: sizes are not zero, blocks are used with the layout they have.
    unsafe {
        let first = lean.alloc(layout(4, 1));
        first.write_bytes(7, 4);
        let second = lean.alloc(layout(4, 1));
        let moved = lean.realloc(first, layout(4, 1), 8);
        assert_ne!(first, moved);
        assert_eq!(std::slice::from_raw_parts(moved, 4), [7; 4]);
        assert_eq!(lean.realloc(second, layout(4, 1), 2), second);
    }
}

#[test]
fn what_does_not_fit_goes_to_the_other_allocator() {
    let lean = Lean::<_, 64>::new(System);
    // SAFETY: sizes are not zero, blocks are used with the layout they have.
    unsafe {
        let block = lean.alloc(layout(48, 1));
        block.write_bytes(9, 48);
        let moved = lean.realloc(block, layout(48, 1), 4096);
        assert!(lean.offset(moved).is_none());
        assert_eq!(std::slice::from_raw_parts(moved, 48), [9; 48]);
        let again = lean.realloc(moved, layout(4096, 1), 8192);
        assert_eq!(*again, 9);
        lean.dealloc(again, layout(8192, 1));
    }
}
