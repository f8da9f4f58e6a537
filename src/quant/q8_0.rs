//! Q8_0: 32 numbers as an f16 scale d and 32 signed bytes q; x = q d.
//!
//! ggml's `block_q8_0`. ggml writes q in -127..=127; a -128 in a file is taken
//! at its value.
#![forbid(unsafe_code)]

use super::{Traits, absmax, at_least_one, scale};
use half::f16;

pub(super) const TRAITS: Traits = Traits {
    name: "q8_0",
    block_len: at_least_one(32),
    scale_bytes: 2,
    block_bytes: at_least_one(34),
    dequantize,
};

pub(super) fn quantize(src: &[f32], dst: &mut [u8]) {
    for (x, block) in src.as_chunks::<32>().0.iter().zip(dst.as_chunks_mut::<34>().0) {
        let d = absmax(x).0 / 127.0;
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        let (head, quants) = block.split_at_mut(2);
        head.copy_from_slice(&f16::from_f32_const(d).to_le_bytes());
        for (q, &v) in quants.iter_mut().zip(x) {
            // ggml rounds half away from zero here (roundf).
            *q = libm::roundf(v * inverse) as i8 as u8;
        }
    }
}

fn dequantize(src: &[u8], dst: &mut [f32]) {
    for (block, x) in src.as_chunks::<34>().0.iter().zip(dst.as_chunks_mut::<32>().0) {
        let d = scale(block);
        for (v, &q) in x.iter_mut().zip(block.iter().skip(2)) {
            *v = f32::from(q as i8) * d;
        }
    }
}
