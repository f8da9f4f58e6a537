//! Matrices bound to a model file, and the operations of a layer that are not attention.
#![forbid(unsafe_code)]

use crate::arena::Reserve;
use crate::error::{Checked, Error, Impossible, Result};
use crate::gguf::TensorInfo;
use crate::kernels::{self, Acts, BLOCK, Isa, Quant, Weights};
use crate::lanes::{self, Lanes, Real};
use crate::math;
use crate::quant::{DType, GROUP, dequantize_packed_row, dequantize_row, packable};
use bytemuck::{Pod, Zeroable};

/// Where a tensor lies in the file, as plain numbers that a model's table holds.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Slot {
    offset: usize,
    size: usize,
    rows: u32,
    cols: u32,
    dtype: u32,
    /// Where the file describes it.
    described_at: u32,
}

impl Slot {
    /// The slot of a tensor.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if a dimension does not fit 32 bits.
    pub fn new(info: &TensorInfo<'_>) -> Result<Self> {
        let narrow = |n: usize| u32::try_from(n).map_err(|_| Error::TooLarge);
        Ok(Self {
            offset: info.offset,
            size: info.size,
            rows: narrow(info.rows)?,
            cols: narrow(info.cols)?,
            dtype: info.dtype as u32,
            described_at: narrow(info.described_at)?,
        })
    }

    /// Whether there is such a tensor.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.size != 0
    }

    /// Whether it has this shape; a vector is one row.
    #[must_use]
    pub fn has_shape(&self, rows: usize, cols: usize) -> bool {
        self.rows as usize == rows && self.cols as usize == cols
    }

    /// Its rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows as usize
    }

    /// How its numbers are stored.
    #[must_use]
    pub fn dtype(&self) -> Option<DType> {
        DType::from_ggml(self.dtype)
    }

    fn bytes<'a>(&self, file: &'a [u8]) -> Checked<&'a [u8]> {
        let end = self.offset.saturating_add(self.size);
        file.get(self.offset..end).ok_or(Impossible)
    }

    /// The tensor as a packed matrix.
    ///
    /// # Errors
    /// [`Impossible`] if it is absent.
    pub fn matrix<'a>(&self, file: &'a [u8]) -> Checked<Matrix<'a>> {
        let dtype = self.dtype().ok_or(Impossible)?;
        let (rows, cols) = (self.rows as usize, self.cols as usize);
        let row_bytes = dtype.row_bytes(cols).filter(|&n| n > 0).ok_or(Impossible)?;
        let n_groups = if packable(dtype, cols) { rows / GROUP } else { 0 };
        Ok(Matrix { dtype, rows, cols, row_bytes, n_groups, data: self.bytes(file)? })
    }

    /// The tensor as a vector of numbers; empty if it is absent.
    ///
    /// # Errors
    /// [`Impossible`] if the file does not lie at a multiple of 8 bytes.
    pub fn vector<'a>(&self, file: &'a [u8]) -> Checked<&'a [f32]> {
        if !self.is_some() {
            return Ok(&[]);
        }
        bytemuck::try_cast_slice(self.bytes(file)?).map_err(|_| Impossible)
    }
}

/// A matrix (rows, cols) in a packed file.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    dtype: DType,
    rows: usize,
    cols: usize,
    row_bytes: usize,
    /// Groups of packed rows; the rows behind them are in file order.
    n_groups: usize,
    data: &'a [u8],
}

impl Matrix<'_> {
    /// Multiplications to apply it to one vector.
    #[must_use]
    pub fn work(&self) -> u64 {
        self.rows as u64 * self.cols as u64
    }

    /// Numbers in a row.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Row `row` as numbers, for an embedding.
    ///
    /// # Errors
    /// [`Impossible`] if there is no such row or `out` is not `cols` long.
    pub fn read_row(&self, row: usize, out: &mut [f32]) -> Checked<()> {
        if out.len() != self.cols || row >= self.rows {
            return Err(Impossible);
        }
        let group = row / GROUP;
        if group < self.n_groups {
            let size = self.row_bytes * GROUP;
            let bytes = self.data.get(group * size..(group + 1) * size).ok_or(Impossible)?;
            return dequantize_packed_row(self.dtype, bytes, row % GROUP, out).or(Err(Impossible));
        }
        dequantize_row(self.dtype, self.plain_row(row)?, out).or(Err(Impossible))
    }

    fn plain_row(&self, row: usize) -> Checked<&[u8]> {
        let start = row * self.row_bytes;
        self.data.get(start..start + self.row_bytes).ok_or(Impossible)
    }
}

/// What is left to spend in one call, in multiplications.
///
/// A stage that finds something left does at least one piece of work, so every
/// call gets on.
#[derive(Clone, Copy, Debug)]
pub struct Budget(u64);

impl Budget {
    /// The unit in which callers count: this many multiplications.
    pub const UNIT: u64 = 65_536;

    /// So many units; 0 is no limit.
    #[must_use]
    pub fn new(units: u32) -> Self {
        Self(if units == 0 { u64::MAX } else { u64::from(units) * Self::UNIT })
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        // Only texts are written in slices.
        cfg!(feature = "text") && self.0 == 0
    }

    /// How many pieces of `each` can be done, of `wanted`; at least one.
    fn pieces(&self, each: u64, wanted: usize) -> usize {
        if !cfg!(feature = "text") {
            return wanted;
        }
        let affordable = self.0 / each.max(1);
        usize::try_from(affordable).unwrap_or(usize::MAX).clamp(1, wanted.max(1))
    }

    /// Spends.
    pub fn spend(&mut self, work: u64) {
        if cfg!(feature = "text") {
            self.0 = self.0.saturating_sub(work);
        }
    }
}

/// Room for activations in the form that quantised weights take: n vectors of k.
pub struct ActsBuffer<'a> {
    /// (n, k)
    pub q: &'a mut [Quant],
    /// (n, k / 32)
    pub d: &'a mut [f32],
    /// (n, k / 32)
    pub s: &'a mut [i32],
}

impl<'a> ActsBuffer<'a> {
    /// Lays out room for `n` numbers in all.
    pub fn lay(r: &mut Reserve<'a>, n: usize) -> Self {
        if !cfg!(feature = "quant") {
            return Self { q: &mut [], d: &mut [], s: &mut [] };
        }
        let blocks = n.div_ceil(BLOCK);
        Self { q: r.take(n), d: r.take(blocks), s: r.take(blocks) }
    }
}

impl ActsBuffer<'_> {
    /// Puts n vectors of k numbers into the form that `matrix` takes, once for
    /// all its rows.
    ///
    /// # Errors
    /// [`Impossible`] if there is no room.
    pub fn prepare(&mut self, matrix: &Matrix<'_>, x: &[f32]) -> Checked<()> {
        if matrix.dtype.is_quantized() {
            let blocks = x.len() / BLOCK;
            let q = self.q.get_mut(..x.len()).ok_or(Impossible)?;
            let d = self.d.get_mut(..blocks).ok_or(Impossible)?;
            let s = self.s.get_mut(..blocks).ok_or(Impossible)?;
            kernels::quantize(matrix.dtype, x, q, d, s);
        }
        Ok(())
    }

    /// The prepared vectors, beside the numbers they were made from.
    #[must_use]
    pub fn acts<'b>(&'b self, x: &'b [f32]) -> Acts<'b> {
        if !cfg!(feature = "quant") {
            return Acts { f: x, ..Acts::default() };
        }
        Acts { f: x, q: self.q, d: self.d, s: self.s }
    }
}

/// [`linear`] on vectors as they are: at row 0 they are put into the form that
/// the matrix takes, and stay in `acts` until the last row is done.
///
/// # Errors
/// [`Impossible`] if the sizes do not agree.
#[inline(never)]
pub fn product(
    isa: Isa,
    acts: &mut ActsBuffer<'_>,
    (w, bias): (Matrix<'_>, &[f32]),
    (x, n): (&[f32], usize),
    y: &mut [f32],
    at: &mut u32,
    budget: &mut Budget,
) -> Checked<bool> {
    if *at == 0 {
        acts.prepare(&w, x)?;
    }
    linear(isa, (&w, bias), (acts.acts(x), n), y, at, budget)
}

/// y (n, rows) = x (n, cols) W^T + bias, from row `at` on for as long as the
/// budget lasts. Vector t's results begin at `y[t * rows]`. Returns whether
/// the last row is done.
///
/// # Errors
/// [`Impossible`] if the sizes do not agree.
pub fn linear(
    isa: Isa,
    (w, bias): (&Matrix<'_>, &[f32]),
    (x, n): (Acts<'_>, usize),
    y: &mut [f32],
    at: &mut u32,
    budget: &mut Budget,
) -> Checked<bool> {
    while (*at as usize) < w.rows {
        if budget.is_spent() {
            return Ok(false);
        }
        let first = *at as usize;
        let y_from = y.get_mut(first..).ok_or(Impossible)?;
        let done = if first / GROUP < w.n_groups {
            packed_rows(isa, w, (x, n), y_from, first / GROUP, budget)?
        } else {
            plain_rows(w, (x, n), y_from, first, budget)?
        };
        budget.spend(done as u64 * w.cols as u64 * n as u64);
        add_bias(bias.get(first..first + done).unwrap_or_default(), y_from, (n, w.rows));
        *at += done as u32;
    }
    Ok(true)
}

fn packed_rows(
    isa: Isa,
    w: &Matrix<'_>,
    (x, n): (Acts<'_>, usize),
    y: &mut [f32],
    group: usize,
    budget: &Budget,
) -> Checked<usize> {
    let each = GROUP as u64 * w.cols as u64 * n as u64;
    let n_groups = budget.pieces(each, w.n_groups - group);
    let stride = w.row_bytes * GROUP;
    let data = w.data.get(group * stride..).ok_or(Impossible)?;
    let weights = Weights { dtype: w.dtype, data, n_groups, stride, k: w.cols };
    kernels::matmul(isa, weights, x, n, y, w.rows)?;
    Ok(n_groups * GROUP)
}

fn plain_rows(
    w: &Matrix<'_>,
    (x, n): (Acts<'_>, usize),
    y: &mut [f32],
    first: usize,
    budget: &Budget,
) -> Checked<usize> {
    let n_rows = budget.pieces(w.cols as u64 * n as u64, w.rows - first);
    for r in 0..n_rows {
        let row = w.plain_row(first + r)?;
        for t in 0..n {
            let y = y.get_mut(t * w.rows + r).ok_or(Impossible)?;
            *y = kernels::row(w.dtype, row, x.vector(t, w.cols));
        }
    }
    Ok(n_rows)
}

/// Adds it to n vectors, `stride` apart; behind them `y` may go on.
fn add_bias(bias: &[f32], y: &mut [f32], (n, stride): (usize, usize)) {
    if !bias.is_empty() {
        for y in y.chunks_mut(stride.max(1)).take(n) {
            add(y, bias);
        }
    }
}

/// x += y.
pub fn add(x: &mut [f32], y: &[f32]) {
    lanes::update(x, y, |x, y| x + y);
}

/// Layer normalisation of n vectors: (x - mean) / sqrt(variance + eps) weight + bias.
///
/// Ba, Kiros and Hinton, <https://arxiv.org/abs/1607.06450>. `bias` may be empty.
pub fn layer_norm(x: &[f32], (weight, bias): (&[f32], &[f32]), eps: f32, out: &mut [f32]) {
    let width = weight.len().max(1);
    for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let mean = math::sum(x) / width as f32;
        let variance = math::sum_squares(x, mean) / width as f32;
        let (mean, scale) = (Lanes::splat(mean), Lanes::splat(1.0 / math::sqrt(variance + eps)));
        lanes::update2(out, [x, weight], |_, [x, weight]| (x - mean) * scale * weight);
        add(out, bias);
    }
}

/// Softmax of `x`, each first multiplied by `scale`, which is positive.
pub fn softmax(x: &mut [f32], scale: f32) {
    // Rounding keeps the order, so the largest product is the product of the largest.
    let max = math::max(x) * scale;
    math::exp_each(x, scale, max, 1.0);
    let inverse = Lanes::splat(1.0 / math::sum(x));
    lanes::map(x, |v| v * inverse);
}

/// A function of each element: between the matrices of a feed-forward layer, or
/// of the gates of a recurrent one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// x.
    #[default]
    None,
    /// GELU by its tanh form.
    GeluTanh,
    /// GELU by the error function.
    GeluErf,
    /// max(x, 0).
    Relu,
    /// The hyperbolic tangent, never beyond ±1.
    #[cfg(feature = "rnn")]
    Tanh,
    /// The logistic function, always in 0..=1.
    #[cfg(feature = "rnn")]
    Sigmoid,
    /// 0.2 x + 0.5 in 0..=1: Keras 1 and 2, TensorFlow.js.
    #[cfg(feature = "rnn")]
    HardSigmoid,
    /// x / 6 + 0.5 in 0..=1: Keras 3, PyTorch.
    #[cfg(feature = "rnn")]
    HardSigmoid6,
}

impl Activation {
    /// The function that Hugging Face's `activation_function` names.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        const NAMES: [(&str, Activation); 5] = [
            ("gelu_new", Activation::GeluTanh),
            ("gelu_pytorch_tanh", Activation::GeluTanh),
            ("gelu_fast", Activation::GeluTanh),
            ("gelu", Activation::GeluErf),
            ("relu", Activation::Relu),
        ];
        NAMES.iter().find(|of| of.0.as_bytes() == name).map(|of| of.1)
    }

    /// Applies it to every element.
    ///
    /// One loop for all of them: they are chosen again for each vector, which
    /// costs less than their loops would weigh.
    pub fn apply(self, x: &mut [f32]) {
        if self != Self::None {
            lanes::map(x, |v| self.of(v));
        }
    }

    #[inline(always)]
    fn of(self, x: Lanes) -> Lanes {
        match self {
            Self::None => x,
            Self::GeluTanh => math::gelu_tanh(x),
            Self::GeluErf => math::gelu_erf(x),
            Self::Relu => math::relu(x),
            #[cfg(feature = "rnn")]
            Self::Tanh => math::tanh(x),
            #[cfg(feature = "rnn")]
            Self::Sigmoid => math::sigmoid(x),
            #[cfg(feature = "rnn")]
            Self::HardSigmoid => ramp(x, 0.2, 1.0),
            #[cfg(feature = "rnn")]
            Self::HardSigmoid6 => ramp(x, 1.0, 6.0),
        }
    }
}

/// x factor / divisor + 0.5 in 0..=1.
#[cfg(feature = "rnn")]
#[inline(always)]
fn ramp(x: Lanes, factor: f32, divisor: f32) -> Lanes {
    let x = x * Lanes::splat(factor) / Lanes::splat(divisor);
    math::relu(x + Lanes::splat(0.5)).smaller(Lanes::splat(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_norm_is_the_definition() {
        let x = [1.0, 2.0, 3.0, 6.0];
        let mut out = [0.0; 4];
        layer_norm(&x, (&[1.0, 1.0, 1.0, 2.0], &[0.5; 4]), 0.0, &mut out);
        // mean 3, variance 3.5
        let s = 3.5f32.sqrt();
        for (got, want) in out.iter().zip([-2.0 / s + 0.5, -1.0 / s + 0.5, 0.5, 6.0 / s + 0.5]) {
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
    }

    #[test]
    fn softmax_sums_to_one_and_survives_large_arguments() {
        let mut x = [1e4, -1e4, 1e4];
        softmax(&mut x, 1.0);
        assert_eq!((x[0], x[2]), (0.5, 0.5));
        assert!(x[1] < 1e-30);
    }

    #[test]
    fn a_budget_always_allows_a_piece() {
        let budget = Budget::new(1);
        assert_eq!(budget.pieces(Budget::UNIT * 5, 9), 1);
        assert_eq!(budget.pieces(Budget::UNIT / 4, 9), 4);
        assert_eq!(Budget::new(0).pieces(1, 9), 9);
    }
}
