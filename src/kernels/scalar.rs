//! The reference kernels: obviously right, and fast enough for a machine
//! without SIMD.
#![forbid(unsafe_code)]

use super::{Acts, BLOCK, Product, Quant, acts};
use crate::quant::{DType, GROUP, half_to_f32};
use crate::slices;

/// One number per row of a group.
type Lanes<T> = [T; GROUP];
/// The same word of every row of a group.
const STEP: usize = 4 * GROUP;

/// Runs `group(bytes of the group, vector) -> its rows` over all groups and vectors.
fn for_each_group(p: &mut Product<'_, '_>, group: impl Fn(&[u8], Acts<'_>) -> Lanes<f32>) {
    let bytes = p.w.dtype.row_bytes(p.w.k).unwrap_or(0) * GROUP;
    for g in 0..p.w.n_groups {
        let start = g * p.w.stride;
        let Some(weights) = p.w.data.get(start..start + bytes) else { return };
        for t in 0..p.n {
            let rows = group(weights, p.x.vector(t, p.w.k));
            let at = t * p.y_stride + g * GROUP;
            if let Some(y) = p.y.get_mut(at..at + GROUP) {
                slices::copy(y, &rows);
            }
        }
    }
}

/// The stated fold of four partial sums.
fn fold<const N: usize>(p: [[f32; N]; 4]) -> [f32; N] {
    let mut out = [0.0; N];
    for (i, out) in out.iter_mut().enumerate() {
        *out = (p[0][i] + p[1][i]) + (p[2][i] + p[3][i]);
    }
    out
}

pub(super) fn f32(p: &mut Product<'_, '_>) {
    for_each_group(p, |group, x| {
        let mut sums = [[0.0; GROUP]; 4];
        for (i, (step, &x)) in group.as_chunks::<STEP>().0.iter().zip(x.f).enumerate() {
            for (sum, word) in sums[i % 4].iter_mut().zip(step.as_chunks::<4>().0) {
                *sum += f32::from_le_bytes(*word) * x;
            }
        }
        fold(sums)
    });
}

pub(super) fn f16(p: &mut Product<'_, '_>) {
    for_each_group(p, |group, x| {
        let mut sums = [[0.0; GROUP]; 4];
        let pairs = group.as_chunks::<STEP>().0.iter().zip(x.f.as_chunks::<2>().0);
        for (i, (step, &[x0, x1])) in pairs.enumerate() {
            let first = i % 2 * 2;
            for (r, &[a, b, c, d]) in step.as_chunks::<4>().0.iter().enumerate().take(GROUP) {
                sums[first][r] += half_to_f32(u16::from_le_bytes([a, b])) * x0;
                sums[first + 1][r] += half_to_f32(u16::from_le_bytes([c, d])) * x1;
            }
        }
        fold(sums)
    });
}

/// The blocks of a packed group: eight scales and the words.
fn blocks(group: &[u8], block_bytes: usize) -> impl Iterator<Item = (Lanes<f32>, &[u8])> {
    group.chunks_exact(block_bytes * GROUP).filter_map(|block| {
        let (scales, words) = block.split_at_checked(2 * GROUP)?;
        let mut d = [0.0; GROUP];
        for (d, half) in d.iter_mut().zip(scales.as_chunks::<2>().0) {
            *d = half_to_f32(u16::from_le_bytes(*half));
        }
        Some((d, words))
    })
}

/// Adds a block's integer sums to the rows: sum + dot x (scale x activation scale).
fn add_block(acc: &mut Lanes<f32>, dot: Lanes<i32>, d: Lanes<f32>, xd: f32) {
    for ((acc, dot), d) in acc.iter_mut().zip(dot).zip(d) {
        *acc += dot as f32 * (d * xd);
    }
}

pub(super) fn q8_0(p: &mut Product<'_, '_>) {
    for_each_group(p, |group, x| {
        let mut acc = [0.0; GROUP];
        let vectors = x.q.as_chunks::<BLOCK>().0.iter().zip(x.d);
        for ((d, words), (x, &xd)) in blocks(group, 34).zip(vectors) {
            let mut dot = [0i32; GROUP];
            let x = acts::numbers(DType::Q8_0, x);
            for (step, x) in words.as_chunks::<STEP>().0.iter().zip(x.as_chunks::<4>().0) {
                for (dot, word) in dot.iter_mut().zip(step.as_chunks::<4>().0) {
                    *dot += dot4(word.map(|b| i32::from(b as i8)), x);
                }
            }
            add_block(&mut acc, dot, d, xd);
        }
        acc
    });
}

pub(super) fn q4_0(p: &mut Product<'_, '_>) {
    for_each_group(p, |group, x| {
        let mut acc = [0.0; GROUP];
        let vectors = x.q.as_chunks::<BLOCK>().0.iter().zip(x.d);
        for ((d, words), (x, &xd)) in blocks(group, 18).zip(vectors) {
            let mut dot = [0i32; GROUP];
            let x = acts::numbers(DType::Q4_0, x);
            let (low, high) = x.split_at(BLOCK / 2);
            let x = low.as_chunks::<4>().0.iter().zip(high.as_chunks::<4>().0);
            for (step, (low, high)) in words.as_chunks::<STEP>().0.iter().zip(x) {
                for (dot, word) in dot.iter_mut().zip(step.as_chunks::<4>().0) {
                    *dot += dot4(word.map(|b| i32::from(b & 15) - 8), low);
                    *dot += dot4(word.map(|b| i32::from(b >> 4) - 8), high);
                }
            }
            add_block(&mut acc, dot, d, xd);
        }
        acc
    });
}

/// Four products, exact: at most 4 x 128 x 127 each, far from overflow over a block.
#[inline(always)]
fn dot4(w: [i32; 4], x: &[Quant; 4]) -> i32 {
    let x = x.map(i32::from);
    w[0] * x[0] + w[1] * x[1] + (w[2] * x[2] + w[3] * x[3])
}

/// One row in file order times one vector.
pub(super) fn row(dtype: DType, row: &[u8], x: Acts<'_>) -> f32 {
    let vectors = x.q.as_chunks::<BLOCK>().0.iter().zip(x.d);
    let mut acc = 0.0;
    match dtype.known() {
        DType::F32 => {
            return row_of(row.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)), x.f);
        }
        DType::F16 => {
            let halves = row.as_chunks::<2>().0.iter();
            return row_of(halves.map(|b| half_to_f32(u16::from_le_bytes(*b))), x.f);
        }
        DType::Q8_0 => {
            for (&[a, b, ref quants @ ..], (x, &xd)) in row.as_chunks::<34>().0.iter().zip(vectors)
            {
                let x = acts::numbers(dtype, x);
                let dot: i32 =
                    quants.iter().zip(&x).map(|(&q, &x)| i32::from(q as i8) * i32::from(x)).sum();
                acc += dot as f32 * (half_to_f32(u16::from_le_bytes([a, b])) * xd);
            }
        }
        DType::Q4_0 => {
            for (&[a, b, ref bytes @ ..], (x, &xd)) in row.as_chunks::<18>().0.iter().zip(vectors) {
                let x = acts::numbers(dtype, x);
                let (low, high) = x.split_at(BLOCK / 2);
                let mut dot = 0i32;
                for ((&byte, &low), &high) in bytes.iter().zip(low).zip(high) {
                    dot += (i32::from(byte & 15) - 8) * i32::from(low);
                    dot += (i32::from(byte >> 4) - 8) * i32::from(high);
                }
                acc += dot as f32 * (half_to_f32(u16::from_le_bytes([a, b])) * xd);
            }
        }
    }
    acc
}

fn row_of(weights: impl Iterator<Item = f32>, x: &[f32]) -> f32 {
    let mut sums = [[0.0]; 4];
    for (i, (w, &x)) in weights.zip(x).enumerate() {
        sums[i % 4][0] += w * x;
    }
    fold(sums)[0]
}
