//! Activations: the vectors that weights are multiplied with.
#![forbid(unsafe_code)]

use crate::math;

/// Numbers in a block of quantised activations.
pub const BLOCK: usize = 32;

/// A quantised activation, in -127..=127: as wide as the machine's products
/// take it, 16 bits in wasm and 8 elsewhere.
#[cfg(target_arch = "wasm32")]
pub type Quant = i16;
/// A quantised activation, in -127..=127: as wide as the machine's products
/// take it, 16 bits in wasm and 8 elsewhere.
#[cfg(not(target_arch = "wasm32"))]
pub type Quant = i8;

/// n vectors of k numbers, in the form that the weights' format asks for.
#[derive(Clone, Copy, Default)]
pub struct Acts<'a> {
    /// For F32 and F16 weights: the numbers, (n, k).
    pub f: &'a [f32],
    /// For quantised weights: whole numbers in -127..=127, (n, k).
    pub q: &'a [Quant],
    /// The scale of each block, (n, k / 32).
    pub d: &'a [f32],
    /// The sum of each block's whole numbers, (n, k / 32).
    pub s: &'a [i32],
}

impl<'a> Acts<'a> {
    /// Vector `t` alone, of k numbers.
    #[must_use]
    pub fn vector(&self, t: usize, k: usize) -> Self {
        let blocks = k / BLOCK;
        Self {
            f: part(self.f, t, k),
            q: part(self.q, t, k),
            d: part(self.d, t, blocks),
            s: part(self.s, t, blocks),
        }
    }
}

fn part<T>(all: &[T], t: usize, n: usize) -> &[T] {
    all.get(t * n..(t + 1) * n).unwrap_or_default()
}

/// Below this a block counts as zeros: its inverse scale would overflow.
const TINY: f32 = 1e-30;

/// Quantises blocks of 32: scale = max|x| / 127, numbers rounded to even.
pub fn quantize(x: &[f32], q: &mut [Quant], d: &mut [f32], s: &mut [i32]) {
    let blocks = x.as_chunks::<BLOCK>().0.iter().zip(q.as_chunks_mut::<BLOCK>().0);
    for (((x, q), d), s) in blocks.zip(d).zip(s) {
        let amax = math::max(&x.map(f32::abs));
        let inverse = if amax < TINY { 0.0 } else { 127.0 / amax };
        let mut sum = 0i32;
        for (q, &v) in q.iter_mut().zip(x) {
            let n = math::round_to_int(v * inverse);
            *q = n as Quant;
            sum = sum.wrapping_add(n);
        }
        *d = if amax < TINY { 0.0 } else { amax / 127.0 };
        *s = sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_their_own_scale_and_round_to_even() {
        let mut x = [0.0; 96];
        x[0] = 127.0;
        x[1] = 2.5;
        x[2] = -3.5;
        x[3] = 0.5;
        x[64] = 1e-35;
        let (mut q, mut d, mut s) = ([9 as Quant; 96], [9.0; 3], [9; 3]);
        quantize(&x, &mut q, &mut d, &mut s);
        assert_eq!((&q[..5], d, s), (&[127, 2, -4, 0, 0][..], [1.0, 0.0, 0.0], [125, 0, 0]));
        assert!(q[32..].iter().all(|&q| q == 0));
    }
}
