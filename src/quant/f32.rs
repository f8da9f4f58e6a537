//! F32: IEEE single precision, little-endian.
#![forbid(unsafe_code)]

use super::{Traits, at_least_one};

pub(super) const TRAITS: Traits = Traits {
    name: "f32",
    block_len: at_least_one(1),
    scale_bytes: 0,
    block_bytes: at_least_one(4),
    dequantize,
};

pub(super) fn quantize(src: &[f32], dst: &mut [u8]) {
    for (x, bytes) in src.iter().zip(dst.as_chunks_mut::<4>().0) {
        *bytes = x.to_le_bytes();
    }
}

fn dequantize(src: &[u8], dst: &mut [f32]) {
    for (bytes, x) in src.as_chunks::<4>().0.iter().zip(dst) {
        *x = f32::from_le_bytes(*bytes);
    }
}
