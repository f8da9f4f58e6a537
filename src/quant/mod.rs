//! Weight formats: how a row of numbers is stored in blocks, and how the rows
//! of a matrix are packed for the kernels. No arithmetic on whole matrices.
//!
//! The block formats are ggml's; each file cites what it implements. A new
//! format is a file here and a row in `DType::traits`.
#![forbid(unsafe_code)]

mod f16;
mod f32;
mod pack;
mod q4_0;
mod q8_0;

pub use pack::{GROUP, dequantize_packed_row, pack_group, pack_in_place, packable};

use crate::error::{Error, Result};
use core::num::NonZero;

/// A size in a table; the formats' are all above zero.
const fn at_least_one(n: usize) -> NonZero<usize> {
    match NonZero::new(n) {
        Some(n) => n,
        None => NonZero::<usize>::MIN,
    }
}

/// How the numbers of a tensor are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum DType {
    /// IEEE single precision.
    F32 = 0,
    /// IEEE half precision.
    F16 = 1,
    /// Blocks of 32: an f16 scale, then 32 four-bit numbers, offset by 8.
    Q4_0 = 2,
    /// Blocks of 32: an f16 scale, then 32 signed bytes.
    Q8_0 = 8,
}

/// One row of the table of formats.
pub(crate) struct Traits {
    pub name: &'static str,
    /// Numbers in a block.
    pub block_len: NonZero<usize>,
    /// Bytes of a block that are its scale, at its beginning.
    pub scale_bytes: usize,
    /// Bytes of a block.
    pub block_bytes: NonZero<usize>,
    dequantize: fn(&[u8], &mut [core::primitive::f32]),
}

impl DType {
    /// Every format, for tables and tests.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Q8_0, Self::Q4_0];

    pub(crate) fn traits(self) -> &'static Traits {
        match self.known() {
            Self::F32 => &f32::TRAITS,
            Self::F16 => &f16::TRAITS,
            Self::Q8_0 => &q8_0::TRAITS,
            Self::Q4_0 => &q4_0::TRAITS,
        }
    }

    /// Itself; without the feature `quant` there is F32 alone, and this says so
    /// to the compiler.
    #[inline(always)]
    pub(crate) fn known(self) -> Self {
        if cfg!(feature = "quant") { self } else { Self::F32 }
    }

    /// The format of a ggml type number, if it is one of these.
    #[must_use]
    pub fn from_ggml(ggml_type: u32) -> Option<Self> {
        let known = if cfg!(feature = "quant") { &Self::ALL[..] } else { &[Self::F32] };
        known.iter().copied().find(|dtype| *dtype as u32 == ggml_type)
    }

    /// The format of a name such as `q8_0`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// The name, such as `q8_0`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.traits().name
    }

    /// Numbers in a block.
    #[must_use]
    pub fn block_len(self) -> usize {
        self.traits().block_len.get()
    }

    /// Bytes of a block.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        self.traits().block_bytes.get()
    }

    /// Whether kernels take activations quantised to eight bits.
    #[must_use]
    pub fn is_quantized(self) -> bool {
        self.traits().scale_bytes != 0
    }

    /// Bytes of a row of `cols` numbers; `None` if it is not whole blocks.
    #[must_use]
    pub fn row_bytes(self, cols: usize) -> Option<usize> {
        let traits = self.traits();
        let blocks = cols / traits.block_len;
        if blocks * traits.block_len.get() != cols {
            return None;
        }
        blocks.checked_mul(traits.block_bytes.get())
    }
}

/// Quantises a row as ggml's reference does, to the byte.
///
/// # Errors
/// [`Error::BadParam`] if the sizes do not agree.
pub fn quantize_row(dtype: DType, src: &[core::primitive::f32], dst: &mut [u8]) -> Result<()> {
    check_row(dtype, src.len(), dst.len())?;
    // By name and not by the table, so that a build that never quantises has none of it.
    match dtype {
        DType::F32 => f32::quantize(src, dst),
        DType::F16 => f16::quantize(src, dst),
        DType::Q8_0 => q8_0::quantize(src, dst),
        DType::Q4_0 => q4_0::quantize(src, dst),
    }
    Ok(())
}

/// Turns a (not packed) row back into numbers.
///
/// # Errors
/// [`Error::BadParam`] if the sizes do not agree.
pub fn dequantize_row(dtype: DType, src: &[u8], dst: &mut [core::primitive::f32]) -> Result<()> {
    check_row(dtype, dst.len(), src.len())?;
    (dtype.traits().dequantize)(src, dst);
    Ok(())
}

fn check_row(dtype: DType, cols: usize, bytes: usize) -> Result<()> {
    match dtype.row_bytes(cols) {
        Some(need) if need == bytes => Ok(()),
        _ => Err(Error::BadParam { name: &"row" }),
    }
}

/// Whether the numbers (or scales) stored in a row are all finite.
pub(crate) fn row_is_finite(dtype: DType, row: &[u8]) -> bool {
    match dtype.known() {
        DType::F32 => {
            let numbers = row.as_chunks::<4>().0;
            numbers.iter().all(|b| core::primitive::f32::from_le_bytes(*b).is_finite())
        }
        // Each number itself, or the scale at the beginning of each block.
        DType::F16 | DType::Q8_0 | DType::Q4_0 => {
            row.chunks_exact(dtype.block_bytes()).all(half_is_finite)
        }
    }
}

/// Whether the half-precision number at the beginning of `bytes` is finite.
fn half_is_finite(bytes: &[u8]) -> bool {
    const EXPONENT: u8 = 0x7C;
    bytes.get(1).is_some_and(|high| high & EXPONENT != EXPONENT)
}

/// A finite half-precision number to single precision, by moves and one exact
/// multiplication, as the SIMD kernels do it.
#[inline(always)]
pub(crate) fn half_to_f32(bits: u16) -> core::primitive::f32 {
    const TWO_POW_112: core::primitive::f32 = 5.192_297e33;
    let sign = u32::from(bits & 0x8000) << 16;
    let rest = u32::from(bits & 0x7fff) << 13;
    core::primitive::f32::from_bits(sign | rest) * TWO_POW_112
}

/// Any half-precision number to single precision; one copy for all formats.
#[inline(never)]
fn half(bytes: [u8; 2]) -> core::primitive::f32 {
    let x = half_to_f32(u16::from_le_bytes(bytes));
    if half_is_finite(&bytes) {
        return x;
    }
    // The exponent is all ones in either precision; the fraction has its place.
    core::primitive::f32::from_bits(x.to_bits() | 0x7F80_0000)
}

/// The f16 scale at the beginning of a block.
fn scale(block: &[u8]) -> core::primitive::f32 {
    block.first_chunk().map_or(0.0, |bytes| half(*bytes))
}

/// The largest magnitude, and the (first) number that has it.
fn absmax(x: &[core::primitive::f32]) -> (core::primitive::f32, core::primitive::f32) {
    x.iter().fold(
        (0.0, 0.0),
        |(amax, signed), &v| {
            if v.abs() > amax { (v.abs(), v) } else { (amax, signed) }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_converted_as_the_half_crate_does() {
        for bits in 0..=u16::MAX {
            let want = half::f16::from_bits(bits).to_f32_const();
            let got = half(bits.to_le_bytes());
            assert_eq!(want.is_finite(), half_is_finite(&bits.to_le_bytes()));
            assert!(want.to_bits() == got.to_bits() || (want.is_nan() && got.is_nan()), "{bits:x}");
        }
    }
}
