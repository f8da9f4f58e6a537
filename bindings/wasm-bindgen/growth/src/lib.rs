//! Patterns of allocation that never hold much, and how much memory they take.
//!
//! Each block is written at its ends and looked at when it is given back, so
//! that an allocator that hands out the same memory twice is noticed.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

#[path = "../../src/allocator.rs"]
mod allocator;

use alloc::vec;
use alloc::vec::Vec;

/// Replaces one of `live` blocks `times` times by one of `least` to `most`
/// bytes, all at random; the module's memory in bytes, or -1 if a block was
/// not as it was left.
fn replace(live: usize, least: u32, most: u32, times: u32) -> f64 {
    let mut blocks: Vec<Vec<u8>> = vec![Vec::new(); live];
    let mut random = 1u32;
    let mut next = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        random >> 8
    };
    for _ in 0..times {
        let at = next() as usize % live;
        let size = (least + next() % (most - least)) as usize;
        let mark = next() as u8;
        let old = core::mem::take(&mut blocks[at]);
        if old.first() != old.last() {
            return -1.0;
        }
        drop(old);
        let mut block = Vec::with_capacity(size);
        block.resize(size, mark);
        blocks[at] = block;
    }
    allocator::memory_size()
}

/// 16 blocks of 64 KB to 1 MB: 9 MB at a time.
#[unsafe(no_mangle)]
pub extern "C" fn large(times: u32) -> f64 {
    replace(16, 64 << 10, 1 << 20, times)
}

/// 512 blocks of up to 2 KB: half a megabyte at a time.
#[unsafe(no_mangle)]
pub extern "C" fn small(times: u32) -> f64 {
    replace(512, 1, 2048, times)
}
