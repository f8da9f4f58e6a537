//! Causal self-attention over a cache of keys and values.
//!
//! The cache is laid out as packed matrices in F32 or F16, so that both halves
//! of attention are the matrix products of [`crate::kernels`], with their order
//! of sums:
//!
//! ```text
//! keys of a head:    rows are positions, columns the head's dimensions;
//!                    groups of 8 positions, (n_ctx / 8, words of head_dim, 8)
//! values of a head:  rows are the head's dimensions, columns positions;
//!                    groups of 8 dimensions, (head_dim / 8, words of n_ctx, 8)
//! ```
//!
//! A word is one F32 or two F16, as in packed weights.
#![forbid(unsafe_code)]

use crate::arena::Reserve;
use crate::error::{Checked, Impossible};
use crate::kernels::{self, Acts, Isa, Weights};
use crate::lanes::Real;
use crate::math;
use crate::quant::{DType, GROUP};
use crate::slices;
use crate::tensor;

/// Rounds up to whole groups.
fn whole(n: usize) -> usize {
    n.saturating_add(GROUP - 1) & !(GROUP - 1)
}

/// The bits of x in half precision, rounded to even and brought into its range,
/// which a NaN has none of: it becomes the least. The products take finite
/// halves only, and what made the NaN goes its own way to the logits.
fn half_bits(x: f32) -> u32 {
    const MAX: f32 = 65504.0;
    let x = (-MAX).larger(x).smaller(MAX);
    // 2^-14, below which halves are as far apart as there.
    const LEAST: u32 = 0x3880_0000;
    let size = x.abs();
    let exponent = (size.to_bits() & 0x7f80_0000).max(LEAST);
    // The last place of a number 2^13 times as large is that of the half.
    let large = exponent + (13 << 23);
    let places = (size + f32::from_bits(large)).to_bits().wrapping_sub(large);
    let sign = (x.to_bits() >> 16) & 0x8000;
    sign | (((exponent - LEAST) >> 13) + places)
}

/// The shape of a cache.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Layers.
    pub n_layer: usize,
    /// Heads in a layer.
    pub n_head: usize,
    /// Numbers in a head's key or value.
    pub head_dim: usize,
    /// Positions.
    pub n_ctx: usize,
    /// Keys and values are F16, not F32.
    pub half: bool,
}

impl Shape {
    /// Words of `n` numbers.
    fn words(&self, n: usize) -> usize {
        if self.half { n.div_ceil(2) } else { n }
    }

    /// Words of one head's keys: positions rounded up to whole groups.
    fn keys(&self) -> usize {
        whole(self.n_ctx).saturating_mul(self.words(self.head_dim))
    }

    /// Words of one head's values: dimensions rounded up to whole groups.
    fn values(&self) -> usize {
        whole(self.head_dim).saturating_mul(self.words(self.n_ctx))
    }

    /// Puts a number into row `row` and column `col` of packed rows.
    ///
    /// In F16 it is rounded to even and brought into its range. A row is
    /// written in order: the column behind an even one becomes 0.
    fn put(&self, words: &mut [u32], (row, col): (usize, usize), x: f32) {
        let at = if self.half { col / 2 } else { col };
        let Some(word) = words.get_mut(at * GROUP + row) else { return };
        if !self.half {
            *word = x.to_bits();
            return;
        }
        let bits = half_bits(x);
        *word = if col % 2 == 0 { bits } else { (*word & 0xffff) | (bits << 16) };
    }

    /// `n_groups` groups of rows of `width` columns, of which `k` are used, from word `start` on.
    fn packed<'c>(
        &self,
        cache: &'c [u32],
        start: usize,
        n_groups: usize,
        (width, k): (usize, usize),
    ) -> Checked<Weights<'c>> {
        let data = cache.get(start..).ok_or(Impossible)?;
        let data = bytemuck::try_cast_slice(data).map_err(|_| Impossible)?;
        let dtype = if self.half { DType::F16 } else { DType::F32 };
        let stride = self.words(width) * GROUP * size_of::<u32>();
        Ok(Weights { dtype, data, n_groups, stride, k })
    }

    /// Multiplications to attend with one head over `n` positions.
    #[must_use]
    pub fn work(&self, n: usize) -> u64 {
        2 * n as u64 * self.head_dim as u64
    }
}

/// The keys and values of all layers.
pub struct Cache<'a> {
    shape: Shape,
    /// (n_layer, n_head, keys)
    k: &'a mut [u32],
    /// (n_layer, n_head, values)
    v: &'a mut [u32],
}

/// Room to attend with one head.
pub struct Scratch<'a> {
    /// One score per position, rounded up to whole groups.
    scores: &'a mut [f32],
    /// One result per dimension, rounded up to whole groups.
    mixed: &'a mut [f32],
}

impl<'a> Scratch<'a> {
    /// Lays it out.
    pub fn lay(r: &mut Reserve<'a>, shape: Shape) -> Self {
        Self { scores: r.take(whole(shape.n_ctx)), mixed: r.take(whole(shape.head_dim)) }
    }

    /// The weights of the positions that [`Cache::attend`] looked at last.
    #[must_use]
    pub fn weights(&self, n: usize) -> &[f32] {
        self.scores.get(..n).unwrap_or_default()
    }
}

impl<'a> Cache<'a> {
    /// Lays it out.
    pub fn lay(r: &mut Reserve<'a>, shape: Shape) -> Self {
        let heads = shape.n_layer.saturating_mul(shape.n_head);
        let (k, v) = (heads.saturating_mul(shape.keys()), heads.saturating_mul(shape.values()));
        Self { shape, k: r.take(k), v: r.take(v) }
    }

    /// Stores position `pos` of a layer; `k` and `v` are (n_head, head_dim).
    ///
    /// # Errors
    /// [`Impossible`] if there is no such position.
    pub fn store(&mut self, layer: usize, pos: usize, k: &[f32], v: &[f32]) -> Checked<()> {
        let shape = self.shape;
        let Shape { n_head, head_dim, n_ctx, .. } = shape;
        let heads = k.chunks_exact(head_dim.max(1)).zip(v.chunks_exact(head_dim.max(1)));
        for (head, (k, v)) in heads.take(n_head).enumerate() {
            let head = layer * n_head + head;
            // The position's row of its group of keys, and its column of each group of values.
            let k_at = head * shape.keys() + pos / GROUP * GROUP * shape.words(head_dim);
            let v_at = head * shape.values();
            let group = self.k.get_mut(k_at..).ok_or(Impossible)?;
            for (d, &k) in k.iter().enumerate() {
                shape.put(group, (pos % GROUP, d), k);
            }
            let groups = self.v.get_mut(v_at..).ok_or(Impossible)?;
            let size = (GROUP * shape.words(n_ctx)).max(1);
            for (group, v) in groups.chunks_mut(size).zip(v.chunks(GROUP)) {
                for (row, &v) in v.iter().enumerate() {
                    shape.put(group, (row, pos), v);
                }
            }
        }
        Ok(())
    }

    /// out (head_dim) = softmax(q K^T / sqrt(head_dim)) V over the first `n`
    /// positions of one head.
    ///
    /// # Errors
    /// [`Impossible`] if the sizes do not agree.
    pub fn attend(
        &self,
        isa: Isa,
        (layer, head): (usize, usize),
        q: &[f32],
        n: usize,
        scratch: &mut Scratch<'_>,
        out: &mut [f32],
    ) -> Checked<()> {
        let shape = self.shape;
        let Shape { n_head, head_dim, n_ctx, .. } = shape;
        let index = layer * n_head + head;
        let groups = n.div_ceil(GROUP);
        let keys = shape.packed(self.k, index * shape.keys(), groups, (head_dim, head_dim))?;
        kernels::matmul(isa, keys, floats(q), 1, scratch.scores, 0)?;
        let scores = scratch.scores.get_mut(..n).ok_or(Impossible)?;
        tensor::softmax(scores, 1.0 / math::sqrt(head_dim as f32));
        // F16 is multiplied in pairs: behind an odd number of positions it is 0 times
        // 0, or times the next of the batch, which is finite.
        let n_cols = if shape.half { n.next_multiple_of(2) } else { n };
        let rest = scratch.scores.get_mut(n..n_cols).ok_or(Impossible)?;
        rest.iter_mut().for_each(|score| *score = 0.0);
        let groups = head_dim.div_ceil(GROUP);
        let values = shape.packed(self.v, index * shape.values(), groups, (n_ctx, n_cols))?;
        kernels::matmul(isa, values, floats(scratch.scores), 1, scratch.mixed, 0)?;
        let mixed = scratch.mixed.get(..out.len()).ok_or(Impossible)?;
        slices::copy(out, mixed);
        Ok(())
    }

    /// Visits every word that the first `n` positions occupy, as bytes, in an
    /// order that depends on the shape and `n` alone.
    pub fn visit_used(&mut self, n: usize, visit: &mut dyn FnMut(&mut [u8])) {
        let shape = self.shape;
        let mut visit = |words: &mut [u32], n: usize| {
            let used = words.get_mut(..n).unwrap_or_default();
            visit(bytemuck::try_cast_slice_mut(used).unwrap_or_default());
        };
        for head in self.k.chunks_exact_mut(shape.keys().max(1)) {
            visit(head, whole(n) * shape.words(shape.head_dim));
        }
        for group in self.v.chunks_exact_mut((shape.words(shape.n_ctx) * GROUP).max(1)) {
            visit(group, shape.words(n) * GROUP);
        }
    }

    /// How many words [`Cache::visit_used`] visits.
    #[must_use]
    pub fn used_len(&self, n: usize) -> usize {
        let shape = self.shape;
        let (keys, values) =
            (whole(n) * shape.words(shape.head_dim), whole(shape.head_dim) * shape.words(n));
        shape.n_layer * shape.n_head * (keys + values)
    }
}

fn floats(f: &[f32]) -> Acts<'_> {
    Acts { f, ..Acts::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;
    use std::vec;
    use std::vec::Vec;

    /// Numbers that F16 holds exactly, and F32 of course.
    fn number(i: usize) -> f32 {
        f16::from_f32_const(((i * 37 % 101) as f32 / 50.0) - 1.0).to_f32_const()
    }

    /// Holds a cache to the definition; the shapes fill no group evenly.
    fn hold(shape: Shape) {
        let Shape { n_head, head_dim, n_ctx, .. } = shape;
        let mut count = Reserve::count();
        Cache::lay(&mut count, shape);
        Scratch::lay(&mut count, shape);
        // What was there before must not matter.
        let mut block = vec![u64::MAX; count.finish().unwrap().div_ceil(8)];
        let mut r = Reserve::carve(bytemuck::cast_slice_mut(&mut block));
        let mut cache = Cache::lay(&mut r, shape);
        let mut scratch = Scratch::lay(&mut r, shape);
        let width = n_head * head_dim;
        let rows: Vec<Vec<f32>> =
            (0..n_ctx).map(|p| (0..2 * width).map(|i| number(p * 30 + i)).collect()).collect();
        let q: Vec<f32> = (0..head_dim).map(|i| number(i + 7)).collect();
        for n in 1..=n_ctx {
            let (k, v) = rows[n - 1].split_at(width);
            cache.store(1, n - 1, k, v).unwrap();
            for head in 0..n_head {
                let mut out = vec![0.0; head_dim];
                cache.attend(Isa::detect(), (1, head), &q, n, &mut scratch, &mut out).unwrap();
                let scores = rows[..n].iter().map(|row| {
                    let dot: f64 =
                        q.iter().zip(&row[head * head_dim..]).map(|(a, b)| f64::from(a * b)).sum();
                    (dot / (head_dim as f64).sqrt()).exp()
                });
                let scores: Vec<f64> = scores.collect();
                let sum: f64 = scores.iter().sum();
                for (d, got) in out.iter().enumerate() {
                    let mix = scores
                        .iter()
                        .zip(&rows)
                        .map(|(s, row)| s / sum * f64::from(row[width + head * head_dim + d]));
                    let want: f64 = mix.sum();
                    assert!((f64::from(*got) - want).abs() < 1e-6, "{n} {head} {d}: {got} {want}");
                }
            }
        }
    }

    #[test]
    fn halves_are_rounded_as_the_half_crate_does() {
        for bits in (0..u32::MAX).step_by(997) {
            // Arithmetic gives quiet NaN only, and processors take others differently.
            let quiet = if f32::from_bits(bits).is_nan() { bits | 0x0040_0000 } else { bits };
            let x = f32::from_bits(quiet);
            let inside = if x.is_nan() { -65504.0 } else { x.clamp(-65504.0, 65504.0) };
            let want = f16::from_f32_const(inside).to_bits();
            assert_eq!(half_bits(x), u32::from(want), "{x:e}");
        }
    }

    #[test]
    fn attention_is_the_definition() {
        hold(Shape { n_layer: 2, n_head: 3, head_dim: 5, n_ctx: 11, half: false });
        hold(Shape { n_layer: 2, n_head: 3, head_dim: 6, n_ctx: 11, half: true });
    }

    #[test]
    fn a_half_cache_takes_half_the_words_and_no_number_beyond_its_range() {
        let shape = Shape { n_layer: 1, n_head: 1, head_dim: 4, n_ctx: 8, half: true };
        assert_eq!((shape.keys(), shape.values()), (16, 32));
        let mut words = [u32::MAX; 32];
        shape.put(&mut words, (3, 0), 1e9);
        assert_eq!(words[3], 0x7bff, "the column behind is 0");
        shape.put(&mut words, (3, 1), -1e9);
        assert_eq!(words[3], 0xfbff_7bff);
    }
}
