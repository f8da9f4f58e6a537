//! Packing: the rows of a matrix interleaved, so that one vector load serves
//! the same step of eight rows and a group of rows is one stream of memory.
//!
//! A matrix of `rows` rows is cut into groups of [`GROUP`] rows. Inside a
//! group, block after block along the row:
//!
//! ```text
//! 8 scales (if the format has them), one per row
//! word 0 of rows 0..8 | word 1 of rows 0..8 | ...        a word is 4 bytes
//! ```
//!
//! A word is one F32, two F16, four bytes of Q8_0, or eight nibbles of Q4_0.
//! The size does not change, so packing is done in place. Rows after the last
//! whole group, and matrices whose rows are not whole words (F16 with an odd
//! number of columns), stay as they are in the file.
#![forbid(unsafe_code)]

use super::{DType, dequantize_row, row_is_finite};
use crate::error::{Error, Result};

/// Rows in a group.
pub const GROUP: usize = 8;
const WORD: usize = 4;

/// The scratch that packing in place needs: one group of rows.
pub type PackScratch<'a> = &'a mut [u8];

/// Whether matrices of this format and width are packed at all.
#[must_use]
pub fn packable(dtype: DType, cols: usize) -> bool {
    dtype.row_bytes(cols).is_some_and(|bytes| bytes > 0)
        && (dtype.is_quantized() || (cols * dtype.block_bytes()).is_multiple_of(WORD))
}

/// Bytes of scales and of words in one unit of packing of a row.
fn unit(dtype: DType) -> (usize, usize) {
    let traits = dtype.traits();
    if traits.scale_bytes == 0 {
        (0, WORD)
    } else {
        (traits.scale_bytes, traits.block_bytes.get() - traits.scale_bytes)
    }
}

/// Copies each piece of every row of a group to its place in the other order.
///
/// `visit(position in the rows, position in the group, bytes)`.
fn for_each_piece(dtype: DType, row_bytes: usize, mut visit: impl FnMut(usize, usize, usize)) {
    let (scale_bytes, word_bytes) = unit(dtype);
    let unit_bytes = scale_bytes + word_bytes;
    for row in 0..GROUP {
        for u in 0..row_bytes / unit_bytes {
            let from = row * row_bytes + u * unit_bytes;
            let to = u * unit_bytes * GROUP;
            if scale_bytes > 0 {
                visit(from, to + row * scale_bytes, scale_bytes);
            }
            for w in 0..word_bytes / WORD {
                let word = from + scale_bytes + w * WORD;
                visit(word, to + scale_bytes * GROUP + (w * GROUP + row) * WORD, WORD);
            }
        }
    }
}

/// Interleaves one group: `rows` holds [`GROUP`] rows, `group` takes as many bytes.
///
/// # Errors
/// [`Error::BadParam`] if the sizes do not agree.
pub fn pack_group(dtype: DType, rows: &[u8], group: &mut [u8]) -> Result<()> {
    let row_bytes = rows.len() / GROUP;
    let (scale_bytes, word_bytes) = unit(dtype);
    let fits = rows.len().is_multiple_of(GROUP * (scale_bytes + word_bytes));
    if rows.len() != group.len() || !fits {
        return Err(Error::BadParam { name: &"group" });
    }
    for_each_piece(dtype, row_bytes, |from, to, n| {
        if let (Some(dst), Some(src)) = (group.get_mut(to..to + n), rows.get(from..from + n)) {
            dst.copy_from_slice(src);
        }
    });
    Ok(())
}

/// Packs a matrix where it lies, and checks that its numbers are finite.
///
/// `scratch` must hold [`GROUP`] rows.
///
/// # Errors
/// [`Error::NotFinite`] with the offset of the row inside `data`;
/// [`Error::BadParam`] if the sizes do not agree.
pub fn pack_in_place(
    dtype: DType,
    cols: usize,
    data: &mut [u8],
    scratch: PackScratch<'_>,
) -> Result<()> {
    let row_bytes =
        dtype.row_bytes(cols).filter(|&n| n > 0).ok_or(Error::BadParam { name: &"cols" })?;
    for (i, row) in data.chunks_exact(row_bytes).enumerate() {
        if !row_is_finite(dtype, row) {
            return Err(Error::NotFinite { offset: i * row_bytes });
        }
    }
    if !packable(dtype, cols) {
        return Ok(());
    }
    let group_bytes = row_bytes * GROUP;
    let too_small = Error::OutOfMemory { need: group_bytes };
    let scratch = scratch.get_mut(..group_bytes).ok_or(too_small)?;
    for group in data.chunks_exact_mut(group_bytes) {
        scratch.copy_from_slice(group);
        pack_group(dtype, scratch, group)?;
    }
    Ok(())
}

/// Row `row` (0..[`GROUP`]) of a packed group, as numbers.
///
/// # Errors
/// [`Error::BadParam`] if the sizes do not agree.
pub fn dequantize_packed_row(
    dtype: DType,
    group: &[u8],
    row: usize,
    dst: &mut [f32],
) -> Result<()> {
    const BAD: Error = Error::BadParam { name: &"group" };
    // A unit of one row, gathered: at most the largest block.
    let mut gathered = [0u8; 64];
    let (scale_bytes, word_bytes) = unit(dtype);
    let unit_bytes = scale_bytes + word_bytes;
    let unit_len = unit_bytes / dtype.block_bytes() * dtype.block_len();
    let gathered = gathered.get_mut(..unit_bytes).ok_or(BAD)?;
    let units = group.chunks_exact(unit_bytes * GROUP).zip(dst.chunks_mut(unit_len.max(1)));
    for (unit, numbers) in units {
        let (scales, words) = unit.split_at_checked(scale_bytes * GROUP).ok_or(BAD)?;
        let (head, body) = gathered.split_at_mut_checked(scale_bytes).ok_or(BAD)?;
        if scale_bytes > 0 {
            let scale = scales.get(row * scale_bytes..(row + 1) * scale_bytes).ok_or(BAD)?;
            head.copy_from_slice(scale);
        }
        let step = words.chunks_exact(WORD * GROUP);
        for (word, step) in body.chunks_exact_mut(WORD).zip(step) {
            word.copy_from_slice(step.get(row * WORD..(row + 1) * WORD).ok_or(BAD)?);
        }
        dequantize_row(dtype, gathered, numbers)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::quantize_row;
    use std::vec;
    use std::vec::Vec;

    /// Sixty-four columns and nineteen rows of numbers that all differ.
    fn matrix(dtype: DType) -> (Vec<u8>, Vec<f32>) {
        let (rows, cols) = (19, 64);
        let row_bytes = dtype.row_bytes(cols).unwrap();
        let mut bytes = vec![0; rows * row_bytes];
        let mut numbers = vec![0.0; rows * cols];
        for (r, row) in bytes.chunks_exact_mut(row_bytes).enumerate() {
            let x: Vec<f32> = (0..cols).map(|c| ((r * 64 + c) as f32 * 0.37).sin()).collect();
            quantize_row(dtype, &x, row).unwrap();
            dequantize_row(dtype, row, &mut numbers[r * cols..(r + 1) * cols]).unwrap();
        }
        (bytes, numbers)
    }

    #[test]
    fn every_row_of_a_packed_matrix_reads_back() {
        for dtype in DType::ALL {
            let (mut bytes, numbers) = matrix(dtype);
            let plain = bytes.clone();
            let row_bytes = bytes.len() / 19;
            let mut scratch = vec![0; row_bytes * GROUP];
            pack_in_place(dtype, 64, &mut bytes, &mut scratch).unwrap();
            assert_eq!(bytes[16 * row_bytes..], plain[16 * row_bytes..], "tail rows stay");
            assert_ne!(bytes, plain);
            for row in 0..16 {
                let group = &bytes[row / GROUP * GROUP * row_bytes..][..GROUP * row_bytes];
                let mut got = [0.0; 64];
                dequantize_packed_row(dtype, group, row % GROUP, &mut got).unwrap();
                assert_eq!(
                    got[..],
                    numbers[row * 64..(row + 1) * 64],
                    "{} row {row}",
                    dtype.name()
                );
            }
        }
    }

    #[test]
    fn numbers_that_are_not_finite_are_found() {
        let mut bytes: Vec<u8> =
            [0.0f32, 1.0, f32::NAN, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let err = pack_in_place(DType::F32, 2, &mut bytes, &mut [0; 64]);
        assert_eq!(err, Err(Error::NotFinite { offset: 8 }));
    }

    #[test]
    fn odd_half_rows_are_not_packed() {
        assert!(!packable(DType::F16, 45) && packable(DType::F16, 46) && packable(DType::F32, 45));
    }

    #[test]
    fn quantised_rows_are_near() {
        for (dtype, bound) in
            [(DType::F32, 0.0), (DType::F16, 5e-4), (DType::Q8_0, 5e-3), (DType::Q4_0, 0.14)]
        {
            let (_, numbers) = matrix(dtype);
            for (i, got) in numbers.iter().enumerate() {
                let want = (i as f32 * 0.37).sin();
                assert!((got - want).abs() <= bound, "{} {i}: {got} {want}", dtype.name());
            }
        }
    }
}
