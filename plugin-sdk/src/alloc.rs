//! The allocator of lean guests: an arena for the first 48 KiB, dlmalloc beyond.
//!
//! An instance lives for one call and then goes as a whole, so giving memory back piece by piece is mostly
//! wasted work. The arena hands out rising addresses and takes back only the block on its end, which it can
//! also grow in place: that is what building a string does. What does not fit goes to dlmalloc, which does
//! free, so that an instance that is kept for many calls does not grow without end. It is not thread-safe
//! and need not be: a guest has one thread.
#![cfg(any(test, all(target_arch = "wasm32", feature = "lean")))]
#![expect(unsafe_code, reason = "an allocator is made of raw pointers")]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::{Cell, UnsafeCell};
use std::ptr;

/// With the 64 KiB stack and a plugin's data this fits two pages of linear memory; most calls use less.
#[cfg(all(target_arch = "wasm32", feature = "lean"))]
const ARENA_SIZE: usize = 48 * 1024;

#[cfg(all(target_arch = "wasm32", feature = "lean"))]
#[global_allocator]
static ALLOCATOR: Lean<dlmalloc::GlobalDlmalloc, ARENA_SIZE> = Lean::new(dlmalloc::GlobalDlmalloc);

/// An arena of `SIZE` octets in front of another allocator.
struct Lean<Rest, const SIZE: usize> {
    arena: UnsafeCell<[u8; SIZE]>,
    /// Offset of the first octet that is not handed out.
    next: Cell<usize>,
    rest: Rest,
}

// SAFETY: `wasm32-unknown-unknown` without the `atomics` feature has one thread. Natively the type is used
// only by the tests below, each of which keeps its own on one thread.
unsafe impl<Rest, const SIZE: usize> Sync for Lean<Rest, SIZE> {}

impl<Rest, const SIZE: usize> Lean<Rest, SIZE> {
    const fn new(rest: Rest) -> Self {
        Self { arena: UnsafeCell::new([0; SIZE]), next: Cell::new(0), rest }
    }

    fn base(&self) -> *mut u8 {
        self.arena.get().cast()
    }

    /// The offset of a block in the arena, if it is there.
    fn offset(&self, block: *mut u8) -> Option<usize> {
        (block as usize).checked_sub(self.base() as usize).filter(|offset| *offset < SIZE)
    }

    /// Whether the block is the one on the arena's end.
    fn is_last(&self, offset: usize, size: usize) -> bool {
        offset + size == self.next.get()
    }
}

// SAFETY: blocks of the arena are disjoint, since `next` only falls to the start of the block that ends at
// it; they are aligned, since `alloc` rounds the address up; everything else is the other allocator's.
unsafe impl<Rest: GlobalAlloc, const SIZE: usize> GlobalAlloc for Lean<Rest, SIZE> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.base() as usize;
        let start = (base + self.next.get()).next_multiple_of(layout.align()) - base;
        match start.checked_add(layout.size()) {
            Some(end) if end <= SIZE => {
                self.next.set(end);
                // SAFETY: `start` is at most SIZE, so the address is in the arena or just behind it.
                unsafe { self.base().add(start) }
            }
            // SAFETY: the caller's promises are passed on.
            _ => unsafe { self.rest.alloc(layout) },
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match self.offset(block) {
            Some(offset) if self.is_last(offset, layout.size()) => self.next.set(offset),
            Some(_) => {}
            // SAFETY: not of the arena, so it came from `rest` with this layout.
            None => unsafe { self.rest.dealloc(block, layout) },
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(offset) = self.offset(block) else {
            // SAFETY: not of the arena, so it came from `rest` with this layout.
            return unsafe { self.rest.realloc(block, layout, size) };
        };
        let end = offset.checked_add(size).filter(|end| *end <= SIZE);
        if let (true, Some(end)) = (self.is_last(offset, layout.size()), end) {
            self.next.set(end);
            return block;
        }
        if size <= layout.size() {
            return block;
        }
        // SAFETY: the caller promises that `size`, rounded up to the alignment, does not overflow.
        let grown = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: `size` is larger than a size, so it is not zero.
        let new = unsafe { self.alloc(grown) };
        if !new.is_null() {
            // SAFETY: both blocks hold `layout.size()` octets; the new one was not handed out before.
            unsafe { ptr::copy_nonoverlapping(block, new, layout.size()) };
        }
        new
    }
}

#[cfg(test)]
mod tests;
