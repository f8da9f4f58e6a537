//! Activations: the vectors that weights are multiplied with.
#![forbid(unsafe_code)]

use crate::quant::DType;

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
    /// For quantised weights: whole numbers in -127..=127, (n, k). In a block
    /// they lie as the build's products take them, which [`quantize`] and
    /// `numbers` know.
    pub q: &'a [Quant],
    /// The scale of each block, (n, k / 32).
    pub d: &'a [f32],
    /// For each block, (n, k / 32), what the build's products ask for: the sum
    /// of its whole numbers, or in wasm with SIMD what the sum of products begins at.
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
pub(super) const TINY: f32 = 1e-30;

/// Quantises blocks of 32 for weights of a format: scale = max|x| / 127,
/// numbers rounded to even.
pub fn quantize(dtype: DType, x: &[f32], q: &mut [Quant], d: &mut [f32], s: &mut [i32]) {
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    super::wasm32::quantize(dtype, x, q, d, s);
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    reference(dtype, x, q, d, s);
}

/// What [`quantize`] must do, plainly.
#[cfg(any(test, feature = "_check", not(all(target_arch = "wasm32", target_feature = "simd128"))))]
pub(super) fn reference(dtype: DType, x: &[f32], q: &mut [Quant], d: &mut [f32], s: &mut [i32]) {
    use crate::math;
    let blocks = x.as_chunks::<BLOCK>().0.iter().zip(q.as_chunks_mut::<BLOCK>().0);
    for (((x, q), d), s) in blocks.zip(d).zip(s) {
        let amax = math::max(&x.map(f32::abs));
        let inverse = if amax < TINY { 0.0 } else { 127.0 / amax };
        let numbers = x.map(|v| math::round_to_int(v * inverse) as Quant);
        *d = if amax < TINY { 0.0 } else { amax / 127.0 };
        *s = layout::store(dtype, &numbers, q);
    }
}

/// The whole numbers of a block in order, whatever the build's layout.
#[inline(always)]
pub(super) fn numbers(dtype: DType, q: &[Quant; BLOCK]) -> [Quant; BLOCK] {
    layout::load(dtype, q)
}

/// In order.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod layout {
    use super::{BLOCK, DType, Quant};

    pub fn store(_: DType, numbers: &[Quant; BLOCK], q: &mut [Quant; BLOCK]) -> i32 {
        *q = *numbers;
        numbers.iter().map(|&n| i32::from(n)).sum()
    }

    #[inline(always)]
    pub fn load(_: DType, q: &[Quant; BLOCK]) -> [Quant; BLOCK] {
        *q
    }
}

/// As plain simd128 takes them: a word of four weights is cut into its even
/// and its odd bytes, so each four numbers lie in the order 0, 2, 1, 3. The
/// nibbles of a Q4_0 word stay at the power of two where they stand in it, and
/// the numbers carry what is missing to 256. Q4_0's sums begin at -8 x 256 times
/// the numbers' sum, as its nibbles are 8 too large; Q8_0's begin at 0.
#[cfg(all(
    target_arch = "wasm32",
    target_feature = "simd128",
    not(target_feature = "relaxed-simd")
))]
mod layout {
    use super::{BLOCK, DType};

    const QUAD: [usize; 4] = [0, 2, 1, 3];
    /// Powers of two of the first and the second half of a Q4_0 block, even and odd numbers.
    const SHIFTS: [[u32; 2]; 2] = [[8, 0], [4, 8]];

    /// Where number i lies, and by how many places it is moved up.
    #[inline(always)]
    fn place(dtype: DType, i: usize) -> (usize, u32) {
        let shift = if dtype == DType::Q4_0 { SHIFTS[i / 16 % 2][i % 2] } else { 0 };
        (i & !3 | QUAD[i & 3], shift)
    }

    #[cfg(any(test, feature = "_check"))]
    pub fn store(dtype: DType, numbers: &[i16; BLOCK], q: &mut [i16; BLOCK]) -> i32 {
        for (i, &n) in numbers.iter().enumerate() {
            let (at, shift) = place(dtype, i);
            if let Some(q) = q.get_mut(at) {
                *q = n.wrapping_shl(shift);
            }
        }
        numbers.iter().map(|&n| -2048 * i32::from(n)).sum()
    }

    #[inline(always)]
    pub fn load(dtype: DType, q: &[i16; BLOCK]) -> [i16; BLOCK] {
        core::array::from_fn(|i| {
            let (at, shift) = place(dtype, i);
            q.get(at).map_or(0, |q| q.wrapping_shr(shift))
        })
    }
}

/// As relaxed-simd takes them: bytes. For Q4_0 the numbers themselves, and the
/// sum of products begins at -8 times theirs; for Q8_0 their magnitudes and
/// then a mask of the negative ones, whose magnitudes make up what it begins at.
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
mod layout {
    use super::{BLOCK, DType};

    #[cfg(any(test, feature = "_check"))]
    pub fn store(dtype: DType, numbers: &[i16; BLOCK], q: &mut [i16; BLOCK]) -> i32 {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(q);
        let (first, second) = bytes.split_at_mut(BLOCK);
        let whole = dtype == DType::Q4_0;
        for ((first, second), &n) in first.iter_mut().zip(second).zip(numbers) {
            *first = if whole { n as u8 } else { n.unsigned_abs() as u8 };
            *second = if n < 0 { 0xff } else { 0 };
        }
        numbers.iter().map(|&n| if whole { -8 * i32::from(n) } else { i32::from(-n).max(0) }).sum()
    }

    #[inline(always)]
    pub fn load(dtype: DType, q: &[i16; BLOCK]) -> [i16; BLOCK] {
        let bytes: &[i8] = bytemuck::cast_slice(q);
        core::array::from_fn(|i| match (bytes.get(i), bytes.get(BLOCK + i)) {
            (Some(&n), Some(&mask)) if dtype != DType::Q4_0 && mask != 0 => -i16::from(n),
            (Some(&n), _) => i16::from(n),
            _ => 0,
        })
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
        let (mut q, mut d, mut s) = ([9; 96], [9.0; 3], [9; 3]);
        quantize(DType::Q8_0, &x, &mut q, &mut d, &mut s);
        assert_eq!((&q[..5], d, s), (&[127, 2, -4, 0, 0][..], [1.0, 0.0, 0.0], [125, 0, 0]));
        assert!(q[32..].iter().all(|&q| q == 0));
    }
}
