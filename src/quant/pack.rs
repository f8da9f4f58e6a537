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
use crate::slices;

/// Rows in a group.
pub const GROUP: usize = 8;
const WORD: usize = 4;

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

/// Interleaves one group: `rows` holds [`GROUP`] rows, `group` takes as many bytes.
///
/// # Errors
/// [`Error::BadParam`] if the sizes do not agree.
pub fn pack_group(dtype: DType, rows: &[u8], group: &mut [u8]) -> Result<()> {
    let (scale_bytes, word_bytes) = unit(dtype);
    let unit_bytes = (scale_bytes + word_bytes).max(1);
    let row_bytes = rows.len() / GROUP;
    if rows.len() != group.len() || row_bytes * GROUP != rows.len() || row_bytes == 0 {
        return Err(Error::BadParam { name: &"group" });
    }
    let mut streams = [[].as_slice(); GROUP];
    for (stream, row) in streams.iter_mut().zip(rows.chunks_exact(row_bytes.max(1))) {
        *stream = row;
    }
    if scale_bytes == 0 {
        interleave::<WORD>(&streams, group);
        return Ok(());
    }
    // Written in order: eight streams in, one out.
    for to in group.chunks_exact_mut((unit_bytes * GROUP).max(1)) {
        let (scales, words) = to.split_at_mut_checked(scale_bytes * GROUP).unwrap_or_default();
        let heads = streams.map(|row| row.get(..scale_bytes).unwrap_or_default());
        interleave::<2>(&heads, scales);
        let bodies = streams.map(|row| row.get(scale_bytes..unit_bytes).unwrap_or_default());
        interleave::<WORD>(&bodies, words);
        streams = streams.map(|row| row.get(unit_bytes..).unwrap_or_default());
    }
    Ok(())
}

/// Element 0 of every row, element 1 of every row, and so on; an element is `N` bytes.
fn interleave<const N: usize>(rows: &[&[u8]; GROUP], to: &mut [u8]) {
    let rows = rows.map(|row| row.as_chunks::<N>().0);
    let steps = to.as_chunks_mut::<N>().0.as_chunks_mut::<GROUP>().0;
    for (i, step) in steps.iter_mut().enumerate() {
        for (element, row) in step.iter_mut().zip(&rows) {
            if let Some(from) = row.get(i) {
                *element = *from;
            }
        }
    }
}

/// Packs a matrix where it lies, and checks that its numbers are finite.
///
/// `scratch` must hold [`GROUP`] rows.
///
/// # Errors
/// [`Error::NotFinite`] with the offset of the row inside `data`;
/// [`Error::BadParam`] if the sizes do not agree.
pub fn pack_in_place(dtype: DType, cols: usize, data: &mut [u8], scratch: &mut [u8]) -> Result<()> {
    let row_bytes =
        dtype.row_bytes(cols).filter(|&n| n > 0).ok_or(Error::BadParam { name: &"cols" })?;
    for (i, row) in data.chunks_exact(row_bytes.max(1)).enumerate() {
        if !row_is_finite(dtype, row) {
            return Err(Error::NotFinite { offset: i * row_bytes });
        }
    }
    let group_bytes = row_bytes * GROUP;
    if !packable(dtype, cols) || data.len() < group_bytes {
        return Ok(());
    }
    let too_small = Error::OutOfMemory { need: group_bytes };
    let scratch = scratch.get_mut(..group_bytes).ok_or(too_small)?;
    for group in data.chunks_exact_mut(group_bytes.max(1)) {
        slices::copy(scratch, group);
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
    // A unit of one row, gathered: at most the largest block.
    let mut gathered = [0u8; 64];
    let (scale_bytes, word_bytes) = unit(dtype);
    let unit_bytes = (scale_bytes + word_bytes).max(1);
    let unit_len = (unit_bytes / dtype.traits().block_bytes * dtype.block_len()).max(1);
    let gathered = gathered.get_mut(..unit_bytes).ok_or(Error::Internal)?;
    let units = group.chunks_exact(unit_bytes * GROUP).zip(dst.chunks_mut(unit_len));
    for (unit, numbers) in units {
        let (scales, words) = unit.split_at_checked(scale_bytes * GROUP).unwrap_or_default();
        let (head, body) = gathered.split_at_mut_checked(scale_bytes).unwrap_or_default();
        slices::copy(head, scales.get(row * scale_bytes..).unwrap_or_default());
        let steps = words.as_chunks::<WORD>().0.iter().skip(row).step_by(GROUP);
        for (word, step) in body.as_chunks_mut::<WORD>().0.iter_mut().zip(steps) {
            *word = *step;
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
