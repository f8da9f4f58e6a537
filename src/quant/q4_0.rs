//! Q4_0: 32 numbers as an f16 scale d and 32 nibbles q; x = (q - 8) d.
//!
//! ggml's `block_q4_0`: byte j holds number j in its low nibble and number
//! j + 16 in its high one. The scale's sign is chosen so that the number of
//! largest magnitude becomes -8 exactly.
#![forbid(unsafe_code)]

use super::{Traits, absmax, at_least_one, scale};
use half::f16;

pub(super) const TRAITS: Traits = Traits {
    name: "q4_0",
    block_len: at_least_one(32),
    scale_bytes: 2,
    block_bytes: at_least_one(18),
    dequantize,
};

pub(super) fn quantize(src: &[f32], dst: &mut [u8]) {
    for (x, block) in src.as_chunks::<32>().0.iter().zip(dst.as_chunks_mut::<18>().0) {
        let d = absmax(x).1 / -8.0;
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        // The cast truncates, so adding 8.5 rounds the shifted number.
        let nibble = |v: f32| ((v * inverse + 8.5) as i8).min(15) as u8;
        let (head, bytes) = block.split_at_mut(2);
        head.copy_from_slice(&f16::from_f32_const(d).to_le_bytes());
        let (low, high) = x.split_at(16);
        for ((byte, &a), &b) in bytes.iter_mut().zip(low).zip(high) {
            *byte = nibble(a) | nibble(b) << 4;
        }
    }
}

fn dequantize(src: &[u8], dst: &mut [f32]) {
    for (block, x) in src.as_chunks::<18>().0.iter().zip(dst.as_chunks_mut::<32>().0) {
        let d = scale(block);
        let (low, high) = x.split_at_mut(16);
        for ((&byte, a), b) in block.iter().skip(2).zip(low).zip(high) {
            *a = (f32::from(byte & 15) - 8.0) * d;
            *b = (f32::from(byte >> 4) - 8.0) * d;
        }
    }
}
