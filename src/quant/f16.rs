//! F16: IEEE half precision, little-endian.
#![forbid(unsafe_code)]

use super::{Traits, at_least_one, half};
use half::f16;

pub(super) const TRAITS: Traits = Traits {
    name: "f16",
    block_len: at_least_one(1),
    scale_bytes: 0,
    block_bytes: at_least_one(2),
    dequantize,
};

pub(super) fn quantize(src: &[f32], dst: &mut [u8]) {
    for (x, bytes) in src.iter().zip(dst.as_chunks_mut::<2>().0) {
        *bytes = f16::from_f32_const(*x).to_le_bytes();
    }
}

fn dequantize(src: &[u8], dst: &mut [f32]) {
    for (bytes, x) in src.as_chunks::<2>().0.iter().zip(dst) {
        *x = half(*bytes);
    }
}
