//! Causal self-attention over a cache of keys and values.
//!
//! The cache is laid out as packed matrices, so that both halves of attention
//! are the F32 matrix product of [`crate::kernels`], with its order of sums:
//!
//! ```text
//! keys of a head:    rows are positions, columns the head's dimensions;
//!                    groups of 8 positions, (n_ctx / 8, head_dim, 8)
//! values of a head:  rows are the head's dimensions, columns positions;
//!                    groups of 8 dimensions, (head_dim / 8, n_ctx, 8)
//! ```
#![forbid(unsafe_code)]

use crate::arena::Reserve;
use crate::error::{Error, Result};
use crate::kernels::{self, Acts, Isa, Weights};
use crate::math;
use crate::quant::{DType, GROUP};
use crate::slices;
use crate::tensor;

/// Rounds up to whole groups.
fn whole(n: usize) -> usize {
    n.saturating_add(GROUP - 1) & !(GROUP - 1)
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
}

impl Shape {
    /// Numbers of one head's keys: positions rounded up to whole groups.
    fn keys(&self) -> usize {
        whole(self.n_ctx).saturating_mul(self.head_dim)
    }

    /// Numbers of one head's values: dimensions rounded up to whole groups.
    fn values(&self) -> usize {
        whole(self.head_dim).saturating_mul(self.n_ctx)
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
    k: &'a mut [f32],
    /// (n_layer, n_head, values)
    v: &'a mut [f32],
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
    /// [`Error::Internal`] if there is no such position.
    pub fn store(&mut self, layer: usize, pos: usize, k: &[f32], v: &[f32]) -> Result<()> {
        let Shape { n_head, head_dim, n_ctx, .. } = self.shape;
        let heads = k.chunks_exact(head_dim.max(1)).zip(v.chunks_exact(head_dim.max(1)));
        for (head, (k, v)) in heads.take(n_head).enumerate() {
            let head = layer * n_head + head;
            // The position's column of its group of keys, and its row of each group of values.
            let k_at = head * self.shape.keys() + pos / GROUP * GROUP * head_dim + pos % GROUP;
            let v_at = head * self.shape.values() + pos * GROUP;
            let column = self.k.get_mut(k_at..).ok_or(Error::Internal)?;
            for (to, k) in column.iter_mut().step_by(GROUP).zip(k) {
                *to = *k;
            }
            let groups = self.v.get_mut(v_at..).ok_or(Error::Internal)?;
            for (to, v) in groups.chunks_mut((GROUP * n_ctx).max(1)).zip(v.chunks(GROUP)) {
                slices::copy(to, v);
            }
        }
        Ok(())
    }

    /// out (head_dim) = softmax(q K^T / sqrt(head_dim)) V over the first `n`
    /// positions of one head.
    ///
    /// # Errors
    /// [`Error::Internal`] if the sizes do not agree.
    pub fn attend(
        &self,
        isa: Isa,
        (layer, head): (usize, usize),
        q: &[f32],
        n: usize,
        scratch: &mut Scratch<'_>,
        out: &mut [f32],
    ) -> Result<()> {
        let Shape { n_head, head_dim, n_ctx, .. } = self.shape;
        let index = layer * n_head + head;
        let keys =
            packed(self.k, index * self.shape.keys(), n.div_ceil(GROUP), head_dim, head_dim)?;
        kernels::matmul(isa, keys, floats(q), 1, scratch.scores, 0)?;
        let scores = scratch.scores.get_mut(..n).ok_or(Error::Internal)?;
        tensor::softmax(scores, 1.0 / math::sqrt(head_dim as f32));
        let groups = head_dim.div_ceil(GROUP);
        let values = packed(self.v, index * self.shape.values(), groups, n_ctx, n)?;
        kernels::matmul(isa, values, floats(scores), 1, scratch.mixed, 0)?;
        let mixed = scratch.mixed.get(..out.len()).ok_or(Error::Internal)?;
        slices::copy(out, mixed);
        Ok(())
    }

    /// Visits every number that the first `n` positions occupy, in an order
    /// that depends on the shape and `n` alone.
    pub fn visit_used(&mut self, n: usize, visit: &mut dyn FnMut(&mut [f32])) {
        let keys = whole(n) * self.shape.head_dim;
        for head in self.k.chunks_exact_mut(self.shape.keys().max(1)) {
            visit(head.get_mut(..keys).unwrap_or_default());
        }
        for group in self.v.chunks_exact_mut((self.shape.n_ctx * GROUP).max(1)) {
            visit(group.get_mut(..n * GROUP).unwrap_or_default());
        }
    }

    /// How many numbers [`Cache::visit_used`] visits.
    #[must_use]
    pub fn used_len(&self, n: usize) -> usize {
        let Shape { n_layer, n_head, head_dim, .. } = self.shape;
        n_layer * n_head * (whole(n) * head_dim + whole(head_dim) * n)
    }
}

/// Packed rows inside a cache: `n_groups` groups of width `width`, of which `k` columns are used.
fn packed(
    cache: &[f32],
    start: usize,
    n_groups: usize,
    width: usize,
    k: usize,
) -> Result<Weights<'_>> {
    let data = cache.get(start..).ok_or(Error::Internal)?;
    let data = bytemuck::try_cast_slice(data).map_err(|_| Error::Internal)?;
    Ok(Weights { dtype: DType::F32, data, n_groups, stride: width * GROUP * size_of::<f32>(), k })
}

fn floats(f: &[f32]) -> Acts<'_> {
    Acts { f, ..Acts::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn attention_is_the_definition() {
        // head_dim 5 and n_ctx 11 fill no group evenly
        let shape = Shape { n_layer: 2, n_head: 3, head_dim: 5, n_ctx: 11 };
        let mut count = Reserve::count();
        Cache::lay(&mut count, shape);
        Scratch::lay(&mut count, shape);
        let mut block = vec![0u64; count.finish().unwrap().div_ceil(8)];
        let mut r = Reserve::carve(bytemuck::cast_slice_mut(&mut block));
        let mut cache = Cache::lay(&mut r, shape);
        let mut scratch = Scratch::lay(&mut r, shape);
        let number = |i: usize| ((i * 37 % 101) as f32 / 50.0) - 1.0;
        let rows: Vec<Vec<f32>> =
            (0..11).map(|p| (0..30).map(|i| number(p * 30 + i)).collect()).collect();
        for (pos, row) in rows.iter().enumerate() {
            cache.store(1, pos, &row[..15], &row[15..]).unwrap();
        }
        let q: Vec<f32> = (0..5).map(|i| number(i + 7)).collect();
        for n in 1..=11 {
            for head in 0..3 {
                let mut out = [0.0; 5];
                cache.attend(Isa::SCALAR, (1, head), &q, n, &mut scratch, &mut out).unwrap();
                let scores = rows[..n].iter().map(|row| {
                    let dot: f64 =
                        q.iter().zip(&row[head * 5..]).map(|(a, b)| f64::from(a * b)).sum();
                    (dot / 5f64.sqrt()).exp()
                });
                let scores: Vec<f64> = scores.collect();
                let sum: f64 = scores.iter().sum();
                for (d, got) in out.iter().enumerate() {
                    let mix = scores
                        .iter()
                        .zip(&rows)
                        .map(|(s, row)| s / sum * f64::from(row[15 + head * 5 + d]));
                    let want: f64 = mix.sum();
                    assert!((f64::from(*got) - want).abs() < 1e-6, "{n} {head} {d}");
                }
            }
        }
    }
}
